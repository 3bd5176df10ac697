"""Export files delivered to a folder: local, on an SFTP server, or in any fsspec file system."""

from __future__ import annotations

import logging
import posixpath
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from filetap.checksum import parse_sidecar
from filetap.errors import (
    FileGoneError,
    RangeRefusedError,
    TransportError,
)
from filetap.files import Body, ExportFile
from filetap.prefetch import ahead
from filetap.redaction import printable
from filetap.transports.folder_access import GONE_HINT, OpenFolder
from filetap.transports.folder_files import Contents, Delivered, Named, sort_out
from filetap.transports.retry import with_retries
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from filetap.checksum import Checksum
    from filetap.settings import Folder, Retries
    from filetap.transports.folder_walk import Found

YOUNG = 120.0  # seconds; a file that was changed more recently may still be incomplete
# Seconds until a young file is checked again. Some servers state times of change in whole seconds,
# and a clock tick late: whatever is written after the second check has a later time.
RECHECK = 1.1
_NAMED = 20  # paths in one warning, at most
_ALIKE = 3  # names of ignored files in one message, at most
_LARGEST_SIDECAR = 1 << 12  # bytes

logger = logging.getLogger(__name__)


class FolderTransport:
    """Lists and reads the export files in a folder, and changes nothing in it.

    Args:
        folder: Where it is, and whose files to read.
        parse: Parses a file's path below the folder; returns None for a foreign file.
        resembles: Returns True if a foreign file's path may be a misspelt export file's.
        names: How export files are named, for messages; empty to leave that out.
        retries: How often the listing is retried.

    Attributes:
        foreign: How many files were ignored because of their names.
        alike: Those of them whose names resemble those of export files.
        expected_names: How export files are named.
    """

    def __init__(
        self,
        folder: Folder,
        parse: Callable[[str], Named | None],
        *,
        resembles: Callable[[str], bool] = lambda _: False,
        names: str = "",
        retries: Retries,
    ) -> None:
        """Open nothing before the first listing."""
        self.expected_names = names
        self.foreign = 0
        self.alike: list[str] = []
        self._folder = OpenFolder(folder)
        self._account = folder.account
        self._parse = parse
        self._resembles = resembles
        self._retries = retries
        self._warned: set[str] = set()
        self._files: dict[str, Delivered] = {}  # by id, as far as they are listed
        self._unsettled: list[Delivered] = []  # found, but still being written
        self._is_listed = False

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts whose files are in the folder, once it has been listed."""
        return frozenset(one.named.account for one in self._files.values() if one.named.account)

    @property
    def account(self) -> str | None:
        """The account whose files are read, if one was chosen."""
        return self._account or None

    def describe(self) -> str:
        """The folder's path or URL, without credentials."""
        return self._folder.where

    def list_files(self, stream: str, since: datetime | None = None) -> list[ExportFile]:
        """List the files of *stream* generated at *since* or later; one listing serves all streams.

        Raises:
            TransportError: The folder cannot be read.
        """
        self._list(since)
        return [
            _listed(one)
            for one in self._files.values()
            if one.named.stream == stream
            if since is None or one.named.generated_at >= since
        ]

    def unsettled(self, stream: str) -> list[ExportFile]:
        """The files of *stream* that a listing found and left out: they are still being written."""
        return [_listed(one) for one in self._unsettled if one.named.stream == stream]

    @contextmanager
    def fetch(self, file: ExportFile, offset: int = 0, version: str = "") -> Iterator[Body]:
        """Open *file* from *offset*, or from 0 if it is no longer *version*.

        Needs no listing. Once the bytes have been consumed the file is checked again: if it was
        rewritten in place meanwhile, they are half old and half new.

        Raises:
            FileGoneError: The file no longer exists.
            TransportError: It changed since it was listed.
            RangeRefusedError: It changed while it was read.
            RetriableTransportError: The connection failed.
        """
        path, *beside = file.paths
        before = self._folder.stat(path, str(file))
        if before.version != file.version:
            msg = f"{file}: the file changed since it was listed"
            raise TransportError(msg, "run again once it is complete")
        if version != before.stamp:
            offset = 0
        checksum = self._checksum(file, beside)
        source = self._folder.open(path, str(file))
        try:
            # The next chunk is read ahead while one is hashed.
            chunks = ahead(self._folder.chunks(source, offset, str(file), before.size))
            yield Body(chunks, offset, before.size, checksum, before.stamp, promises=False)
            # Before it is closed: some mounted file systems then give a file another inode number.
            self._check_unchanged(before, str(file))
        finally:
            # A connection that is gone cannot be closed.
            with suppress(Exception):
                source.close()

    def _check_unchanged(self, before: Found, what: str) -> None:
        """Raise an error unless a file is still as it was *before* it was read.

        Raises:
            RangeRefusedError: It changed.
            TransportError: It cannot be checked.
        """
        try:
            now = with_retries(lambda: self._folder.stat(before.path, what), self._retries)
        except FileGoneError:
            return  # moved away after it was read; a rewrite in place would not remove it
        if now.stamp != before.stamp:
            msg = f"{what}: the file changed while it was read"
            raise RangeRefusedError(msg, "run again once it is complete")

    def stored_size(self, file: ExportFile) -> int | None:
        """Bytes of *file* as stored, from the listing; None if the server did not state them.

        Raises:
            FileGoneError: The file is not in the listing.
        """
        self._list(file.generated_at)
        if file.id not in self._files:
            msg = f"{file}: the file is no longer in the folder"
            raise FileGoneError(msg, GONE_HINT)
        return self._files[file.id].found.size

    def _list(self, since: datetime | None) -> None:
        """List the files of *since* and later, unless they are listed: here all of them."""
        del since
        if not self._is_listed:
            self._add(*with_retries(self._folder.find, self._retries))
            self._is_listed = True

    def _add(self, everything: Iterable[Found], others: Iterable[str]) -> None:
        """Add the export files among *everything*; of several with one id the newest.

        Args:
            everything: Files in the folder.
            others: Paths of what cannot be opened.
        """
        contents = sort_out(
            everything, self._folder.root, self._parse, self._resembles, self._account
        )
        for name in contents.twice:
            logger.warning("%s: %s exists twice; the newer file is read", self._folder.where, name)
        _warn_of(sorted(others), self._folder.where)
        files = self._complete(contents)
        for kind, count in contents.foreign.items():
            verb = "is" if count == 1 else "are"
            logger.info(
                "%s: %s%s %s ignored", self._folder.where, counted(count, "file"), kind, verb
            )
        self.foreign += contents.foreign.get("", 0)
        self.alike += contents.alike
        if contents.alike:
            logger.warning(
                "%s: %s %s ignored, though nearly named like export files: %s%s",
                self._folder.where,
                counted(len(contents.alike), "file"),
                "is" if len(contents.alike) == 1 else "are",
                shown_names(contents.alike),
                f"; these are named {self.expected_names}" if self.expected_names else "",
            )
        self._files |= files

    def _complete(self, contents: Contents) -> dict[str, Delivered]:
        """The files that are not being written; young ones are checked a second time."""
        files = dict(contents.files)
        young = [name for name, one in files.items() if _is_young(one.found)]
        if young:
            self._retries.pause(RECHECK)
        changed = [name for name in young if self._has_changed(files[name].found)]
        self._unsettled += [files[name] for name in changed]
        incomplete = {*contents.unfinished, *changed}
        if incomplete:
            logger.info(
                "%s: still being written, left for the next run: %s",
                self._folder.where,
                ", ".join(map(printable, sorted(incomplete))),
            )
        return {name: one for name, one in files.items() if name not in incomplete}

    def _has_changed(self, before: Found) -> bool:
        """True if a file has changed or no longer exists."""
        with suppress(FileGoneError):
            return self._folder.stat(before.path, before.name).version != before.version
        return True

    def _checksum(self, file: ExportFile, beside: Iterable[str]) -> Checksum | None:
        """The checksum in a file beside *file*; warns about one that is not understood."""
        for path in beside:
            text = self._folder.read(path, _LARGEST_SIDECAR + 1, str(file))
            words = text.decode(errors="replace") if len(text) <= _LARGEST_SIDECAR else ""
            if checksum := parse_sidecar(words, file.file_name):
                return checksum
            if path not in self._warned:
                self._warned.add(path)
                name = posixpath.basename(path)
                logger.warning("%s: %s beside it is not a known kind of checksum", file, name)
        return None


def _listed(one: Delivered) -> ExportFile:
    """An export file as it is listed."""
    return ExportFile(
        one.named.stream,
        one.named.id,
        one.found.name,
        one.named.generation,
        one.named.generated_at,
        historical=one.named.historical,
        version=one.found.version,
        account=one.named.account,
        paths=(one.found.path, *one.beside),
    )


def shown_names(names: Sequence[str]) -> str:
    """The first three of some files' names, in order, for a message."""
    shown = ", ".join(map(printable, sorted(names)[:_ALIKE]))
    return f"{shown}, …" if len(names) > _ALIKE else shown


def _is_young(one: Found) -> bool:
    """True if a file is so new that it may be incomplete."""
    return one.changed is None or time.time() - one.changed < YOUNG


def _warn_of(others: Sequence[str], where: str) -> None:
    """Warn about paths that cannot be opened: export files may be among them."""
    if others:
        logger.warning(
            "%s: skipped %s (neither a readable file nor a folder, or not a UTF-8 name): %s",
            where,
            counted(len(others), "path"),
            ", ".join(printable(posixpath.basename(path)) for path in others[:_NAMED]),
        )
