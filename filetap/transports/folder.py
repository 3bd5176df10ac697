"""Export files that were delivered into a folder: local, SFTP, or whatever fsspec has."""

from __future__ import annotations

import logging
import posixpath
import time
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import IO, TYPE_CHECKING

from filetap.checksum import parse_sidecar
from filetap.errors import (
    ExportError,
    FileGoneError,
    RangeRefusedError,
    RetriableTransportError,
    TransportError,
)
from filetap.files import Body, ExportFile
from filetap.prefetch import ahead
from filetap.redaction import printable
from filetap.transports.file_system import open_folder, translated
from filetap.transports.folder_files import Contents, Delivered, Named, sort_out
from filetap.transports.folder_walk import Found, followed, found, shown, walk
from filetap.transports.retry import with_retries
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from fsspec import AbstractFileSystem

    from filetap.checksum import Checksum
    from filetap.settings import Folder

CHUNK = 8 << 20  # bytes read at a time: SFTP asks for the parts of one chunk all at once
YOUNG = 120.0  # seconds; a file that was changed later than that ago may still be written
# Seconds between the two looks at a young file. Times of change are in whole seconds on some
# servers, and lag a clock tick behind: whatever is written after the second look has another one.
SETTLE = 1.1
_NAMED = 20  # files that one warning names at most
_GONE_HINT = "put it back, or move files only once they were read"
_LARGEST_SIDECAR = 1 << 12  # bytes

logger = logging.getLogger(__name__)


class FolderTransport:
    """Lists and reads the export files in a folder, and changes nothing in it.

    Args:
        folder: Where it is, and whose files are read.
        parse: What a file's path below the folder says; None for a foreign file.
        resembles: True if a foreign file's path might be meant for an export file's.
        retries: How often the listing is tried again.
        pause: Waits that many seconds.
    """

    def __init__(
        self,
        folder: Folder,
        parse: Callable[[str], Named | None],
        *,
        resembles: Callable[[str], bool] = lambda _: False,
        retries: int = 5,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        """Nothing is asked before the first listing."""
        self._url = folder.url
        self._options = dict(folder.options)
        self._account = folder.account
        self._parse = parse
        self._resembles = resembles
        self._retries = retries
        self._pause = pause
        self._refused: list[TransportError] = []
        self._opened: tuple[AbstractFileSystem, str] | None = None
        self._told: set[str] = set()

    @property
    def where(self) -> str:
        """The folder, as messages name it: without what a URL may hold of credentials."""
        before, at, after = self._url.partition("?")[0].rpartition("@")
        scheme, sign, _ = before.partition("://")
        return f"{scheme}{sign}{after}" if at and sign else after

    @property
    def accounts(self) -> frozenset[str]:
        """Everyone whose files are in the folder, once it was listed."""
        listing = self.__dict__.get("_listing", {})
        return frozenset(one.named.account for one in listing.values() if one.named.account)

    @property
    def account(self) -> str | None:
        """Whose files are read, if one account was chosen."""
        return self._account or None

    def describe(self) -> str:
        """The folder's path or URL, without credentials."""
        return self.where

    def list_files(self, stream: str, since: datetime | None = None) -> list[ExportFile]:
        """The files of *stream*, generated at *since* or later; one listing serves all streams.

        Raises:
            TransportError: The folder cannot be read.
        """
        return [
            ExportFile(
                stream,
                one.named.id,
                one.found.name,
                one.named.generation,
                one.named.generated_at,
                historical=one.named.historical,
                version=one.found.version,
                account=one.named.account,
                paths=(one.found.path, *one.beside),
            )
            for one in self._listing.values()
            if one.named.stream == stream
            if since is None or one.named.generated_at >= since
        ]

    @contextmanager
    def fetch(self, file: ExportFile, offset: int = 0, version: str = "") -> Iterator[Body]:
        """Open *file* from *offset*, or from 0 if it changed since it was *version*.

        No listing is needed for it. Whether it changed is checked once more when the bytes have
        been taken: a file that is rewritten in place meanwhile is half old and half new.

        Raises:
            FileGoneError: It is no longer there.
            TransportError: It is another one than when it was listed.
            RangeRefusedError: It changed while it was read.
            RetriableTransportError: The connection failed.
        """
        path, *beside = file.paths
        before = self._look(path, str(file))
        if before.version != file.version:
            msg = f"{file}: the file changed since it was listed"
            raise TransportError(msg, "run again when it has been delivered as a whole")
        if version != before.stamp:
            offset = 0
        checksum = self._checksum(file, beside)
        with self._errors(str(file)):
            fs, _ = self._connect()
            source: IO[bytes] = fs.open(path, "rb")
        try:
            # The next chunk is on its way while one is checked against its checksum.
            chunks = ahead(self._chunks(source, offset, str(file)))
            yield Body(chunks, offset, before.size, checksum, before.stamp, promises=False)
            # Not once it is closed: some mounted file systems number a file anew after that.
            self._check_unchanged(before, str(file))
        finally:
            # A connection that is gone cannot be closed.
            with suppress(Exception):
                source.close()

    def _check_unchanged(self, before: Found, what: str) -> None:
        """Refuse what was read of a file that is no longer as it was *before*.

        Raises:
            RangeRefusedError: It changed.
            TransportError: Whether it did cannot be found out.
        """
        try:
            now = with_retries(lambda: self._look(before.path, what), self._retries, self._pause)
        except FileGoneError:
            return  # moved away once it was read; the rewrite of a file does not remove it
        except RetriableTransportError as error:
            # For good: to whoever tries again, all bytes would seem to be in order.
            raise TransportError(error.message, error.hint) from None
        if now.stamp != before.stamp:
            msg = f"{what}: the file changed while it was read"
            raise RangeRefusedError(msg, "run again when it has been delivered as a whole")

    def stored_size(self, file: ExportFile) -> int | None:
        """Bytes of *file* as stored, when it was listed; None if the server did not state them.

        Raises:
            FileGoneError: It was not.
        """
        if file.id not in self._listing:
            msg = f"{file}: the file is no longer in the folder"
            raise FileGoneError(msg, _GONE_HINT)
        return self._listing[file.id].found.size

    def _chunks(self, source: IO[bytes], offset: int, what: str) -> Iterator[bytes]:
        """The bytes from *offset*."""
        with self._errors(what):
            source.seek(offset)
        while True:
            with self._errors(what):
                chunk = source.read(CHUNK)
            if not chunk:
                return
            yield chunk

    @cached_property
    def _listing(self) -> dict[str, Delivered]:
        """The export files by name; the newest, where one name is there several times."""
        everything, others = with_retries(self._find, self._retries, self._pause)
        contents = sort_out(
            everything, self._connect()[1], self._parse, self._resembles, self._account
        )
        for name in contents.twice:
            logger.warning("%s: %s is there twice; the newer is read", self.where, name)
        _warn_of(sorted(others), self.where)
        files = self._settled(contents)
        for kind, count in contents.foreign.items():
            verb = "is" if count == 1 else "are"
            logger.info("%s: %s%s %s ignored", self.where, counted(count, "file"), kind, verb)
        if contents.alike:
            logger.warning(
                "%s: ignored, since their names are almost those of export files: %s",
                self.where,
                ", ".join(map(printable, sorted(contents.alike)[:10])),
            )
        return files

    def _settled(self, contents: Contents) -> dict[str, Delivered]:
        """The files that are not being written: a second look at the young ones tells."""
        files = dict(contents.files)
        young = [name for name, one in files.items() if _is_young(one.found)]
        if young:
            self._pause(SETTLE)
        unsettled = [*contents.unfinished, *(n for n in young if self._has_changed(files[n].found))]
        if unsettled:
            logger.info(
                "%s: still being written, left for the next run: %s",
                self.where,
                ", ".join(shown(name) for name in sorted(unsettled)),
            )
        return {name: one for name, one in files.items() if name not in unsettled}

    def _has_changed(self, before: Found) -> bool:
        """Whether a file is no longer there as it was."""
        with suppress(FileGoneError):
            return self._look(before.path, before.name).version != before.version
        return True

    def _find(self) -> tuple[list[Found], list[str]]:
        """Every file in the folder and below, and what is not a file."""
        with self._errors(self.where):
            fs, root = self._connect()
            everything = walk(fs, root) if fs.exists(root) else None
        if everything is None:
            msg = f"{self.where}: the folder is not there"
            hint = "check folder.url; in a bucket it is there once it holds a file"
            raise TransportError(msg, hint)
        return everything

    def _look(self, path: str, what: str) -> Found:
        """A file as it is now."""
        with self._errors(what):
            fs, _ = self._connect()
            fs.invalidate_cache(posixpath.dirname(path))
            return found(path, followed(fs, fs.info(path)))

    def _checksum(self, file: ExportFile, beside: Iterable[str]) -> Checksum | None:
        """What a file beside it says of its content; a warning where that is not understood."""
        for path in beside:
            with self._errors(str(file)):
                fs, _ = self._connect()
                with fs.open(path, "rb") as stored:
                    text = stored.read(_LARGEST_SIDECAR + 1)
            words = text.decode(errors="replace") if len(text) <= _LARGEST_SIDECAR else ""
            if checksum := parse_sidecar(words, file.id):
                return checksum
            if path not in self._told:
                self._told.add(path)
                name = posixpath.basename(path)
                logger.warning("%s: %s beside it is no checksum that is known", file, name)
        return None

    def _connect(self) -> tuple[AbstractFileSystem, str]:
        """The file system, and the folder's path in it; a lost connection is made again."""
        if self._opened is None:
            try:
                self._opened = open_folder(self._url, self._options, self._refused)
            except FileNotFoundError:
                msg = f"{self.where}: a file that folder.options name is not there"
                raise TransportError(msg, "check client_keys and known_hosts") from None
        return self._opened

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Tell what a file system raises in words of ours, which hold no secret."""
        try:
            yield
        except ExportError:
            raise
        except FileNotFoundError:
            msg = f"{what}: the file is no longer in the folder"
            raise FileGoneError(msg, _GONE_HINT) from None
        except (ImportError, ValueError, TypeError, KeyError) as error:
            scheme = self._url.partition("://")[0]
            msg = f"{what}: the folder cannot be opened ({type(error).__name__})"
            extra = {"sftp": " (the extra sftp)", "s3": " (the extra s3)"}.get(scheme, "")
            hint = f"check folder.url and folder.options; install what {scheme}:// needs{extra}"
            raise TransportError(msg, hint) from None
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            self._opened = None
            raise (self._refused.pop() if self._refused else translated(error, what)) from None


def _is_young(one: Found) -> bool:
    """Whether a file may still be written."""
    return one.changed is None or time.time() - one.changed < YOUNG


def _warn_of(others: Sequence[str], where: str) -> None:
    """Name what cannot be opened as a file or a folder, though an export file may be there."""
    if others:
        logger.warning(
            "%s: left out, as they are neither files nor folders that can be opened, or as "
            "their names are not UTF-8 (%d): %s",
            where,
            len(others),
            ", ".join(shown(posixpath.basename(path)) for path in others[:_NAMED]),
        )
