"""Export files that were delivered into a folder: local, SFTP, or whatever fsspec has."""

from __future__ import annotations

import logging
import posixpath
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tap_firstup_dde.exportlib.background import ahead
from tap_firstup_dde.exportlib.checksum import parse_sidecar
from tap_firstup_dde.exportlib.exceptions import (
    ExportError,
    FileGoneError,
    RetriableTransportError,
    TransportError,
)
from tap_firstup_dde.exportlib.http import with_retries
from tap_firstup_dde.exportlib.models import Body, ExportFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fsspec import AbstractFileSystem

    from tap_firstup_dde.exportlib.checksum import Checksum

CHUNK = 8 << 20  # bytes read at a time: SFTP asks for the parts of one chunk all at once
YOUNG = 120.0  # seconds; a file that was changed later than that ago may still be written
SETTLE = 1.0  # seconds between the two looks at a young file
_GONE_HINT = "put it back, or move files only once they were read"
_DEEPEST = 64  # folders within each other
_LARGEST_SIDECAR = 1 << 12  # bytes
_CHECKSUMS = {"md5", "sha1", "sha256", "sha512", "crc64nvme", "crc64", "crc", "checksum", "digest"}
_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".swp")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Named:
    """What a delivered file's name says.

    Attributes:
        stream: The stream its rows belong to.
        generation: When it was generated, as written.
        generated_at: The same as an aware time in UTC.
        historical: Whether it holds the past.
        program: Whose file it is.
    """

    stream: str
    generation: str
    generated_at: datetime
    historical: bool
    program: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A file in the folder: where it is and what it weighs."""

    path: str
    size: int
    version: str
    changed: float | None  # seconds since the epoch

    @property
    def name(self) -> str:
        return posixpath.basename(self.path)


class FolderTransport:
    """Lists and reads the export files in a folder, and changes nothing in it.

    Args:
        url: The folder: a path, or a URL of fsspec's.
        options: Options of its file system; they are secret.
        parse: Tells what a file's name says; None for a foreign file.
        program: The program whose files are read; empty for all.
        retries: How often the listing is tried again.
        pause: Waits that many seconds.
    """

    def __init__(  # noqa: PLR0913 - what is read, and how
        self,
        url: str,
        options: Mapping[str, Any],
        parse: Callable[[str], Named | None],
        *,
        program: str = "",
        retries: int = 5,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        """Nothing is asked before the first listing."""
        self._url = url
        self._options = dict(options)
        self._parse = parse
        self._program = program
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
    def programs(self) -> frozenset[str]:
        """The programs whose files are in the folder, once it was looked at."""
        listing = self.__dict__.get("_listing", {})
        return frozenset(named.program for _, named in listing.values())

    @property
    def program_id(self) -> str | None:
        """The program whose files are read, where one was picked."""
        return self._program or None

    def list_files(self, stream: str) -> list[ExportFile]:
        """The files of *stream*; the folder is looked at once for all streams.

        Raises:
            TransportError: The folder cannot be read.
        """
        return [
            ExportFile(
                stream,
                found.name,
                found.name,
                named.generation,
                named.generated_at,
                historical=named.historical,
                version=found.version,
                program=named.program,
                paths=(found.path, *self._sidecars.get(found.path, ())),
            )
            for found, named in self._listing.values()
            if named.stream == stream
        ]

    @contextmanager
    def fetch(self, file: ExportFile, offset: int = 0, version: str = "") -> Iterator[Body]:
        """Open *file* from *offset*; no listing is needed for it.

        Raises:
            FileGoneError: It is no longer there.
            TransportError: It is another one than when it was listed.
            RetriableTransportError: The connection failed.
        """
        del version  # a file that changed is refused
        path, *beside = file.paths
        now = self._look(path, str(file))
        if now.version != file.version:
            msg = f"{file}: the file changed since it was listed"
            raise TransportError(msg, "run again when it has been delivered as a whole")
        checksum = self._checksum(file, beside)
        with self._errors(str(file)):
            fs, _ = self._connect()
            source: IO[bytes] = fs.open(path, "rb")
        try:
            # The next chunk is on its way while one is held against its checksum.
            chunks = ahead(self._chunks(source, offset, str(file)))
            yield Body(chunks, offset, now.size, checksum, now.version, promises=False)
        finally:
            # A connection that is gone cannot be closed.
            with suppress(Exception):
                source.close()

    def stored_size(self, file: ExportFile) -> int:
        """Bytes of *file* as stored, when it was listed.

        Raises:
            FileGoneError: It was not.
        """
        if file.id not in self._listing:
            msg = f"{file}: the file is no longer in the folder"
            raise FileGoneError(msg, _GONE_HINT)
        return self._listing[file.id][0].size

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
    def _listing(self) -> dict[str, tuple[_Found, Named]]:
        """The export files by name; the newest, where one name is there several times."""
        everything = with_retries(self._find, self._retries, self._pause)
        paths = [found.path for found in everything if _ending(found.path) not in _CHECKSUMS]
        beside = {path.rpartition(".")[0]: path for path in paths} | {path: path for path in paths}
        foreign: Counter[str] = Counter()
        files: dict[str, tuple[_Found, Named]] = {}
        self._sidecars: dict[str, list[str]] = {}
        unsettled = []
        for found in sorted(everything, key=lambda found: (found.changed or 0, found.path)):
            named = self._parse(found.name)
            stem = found.path.rpartition(".")[0]
            if _ending(found.path) in _CHECKSUMS:
                if stem in beside and self._parse(posixpath.basename(beside[stem])):
                    self._sidecars.setdefault(beside[stem], []).append(found.path)
                else:
                    foreign["files"] += 1
            elif found.name.lower().endswith(_UNFINISHED):
                unsettled.append(found.name)
            elif named is None:
                foreign["files"] += 1
            elif self._program in {"", named.program}:
                if found.name in files:
                    logger.warning(
                        "%s: %s is there twice; the newer is read", self.where, found.name
                    )
                files[found.name] = (found, named)
            else:
                foreign["files of other programs"] += 1
        unsettled += [name for name, (found, _) in files.items() if self._is_young(found)]
        return self._settled(files, unsettled, foreign)

    def _settled(
        self,
        files: dict[str, tuple[_Found, Named]],
        unsettled: list[str],
        foreign: Mapping[str, int],
    ) -> dict[str, tuple[_Found, Named]]:
        """The files that are not being written: a second look at the young ones tells."""
        young = [name for name in unsettled if name in files]
        if young:
            self._pause(SETTLE)
        for name in young:
            found, _ = files[name]
            if self._look(found.path, name).version == found.version:
                unsettled.remove(name)
            else:
                del files[name]
        if unsettled:
            logger.info(
                "%s: still being written, left for the next run: %s",
                self.where,
                ", ".join(sorted(unsettled)),
            )
        for kind, count in foreign.items():
            logger.info("%s: %d %s are ignored", self.where, count, kind)
        return files

    def _is_young(self, found: _Found) -> bool:
        """Whether a file may still be written."""
        return found.changed is None or time.time() - found.changed < YOUNG

    def _find(self) -> list[_Found]:
        """Every file in the folder and below."""
        with self._errors(self.where):
            fs, root = self._connect()
            found = _walk(fs, root) if fs.exists(root) else None
        if found is None:
            msg = f"{self.where}: the folder is not there"
            hint = "check folder.url; in a bucket it is there once it holds a file"
            raise TransportError(msg, hint)
        return [_found(path, info) for path, info in found.items()]

    def _look(self, path: str, what: str) -> _Found:
        """A file as it is now."""
        with self._errors(what):
            fs, _ = self._connect()
            fs.invalidate_cache(posixpath.dirname(path))
            return _found(path, _followed(fs, fs.info(path)))

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
        """The file system, and the folder's path in it; a lost connection is made anew."""
        if self._opened is None:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - slow, and needed by folders only

            # At DEBUG these tell of errors with tracebacks, which are told in words here.
            for name in ("asyncssh", "botocore", "aiobotocore", "fsspec", "s3fs"):
                logging.getLogger(name).setLevel(logging.INFO)
            options = {**self._options, "skip_instance_cache": True}
            try:
                if self._url.startswith(("sftp://", "ssh://")):
                    options = _verifying(options, self._refused)
                fs, root = url_to_fs(self._url, **options)
            except FileNotFoundError:
                msg = f"{self.where}: a file that folder.options name is not there"
                raise TransportError(msg, "check client_keys and known_hosts") from None
            self._opened = (fs, root)
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
            raise (self._refused.pop() if self._refused else _translated(error, what)) from None


def _verifying(options: dict[str, Any], refused: list[TransportError]) -> dict[str, Any]:
    """Options of SFTP under which only a known host key, or the pinned one, is accepted.

    What is said of a key that is not goes to *refused*.
    """
    import asyncssh  # noqa: PLC0415 - of the extra sftp

    pinned = options.pop("fingerprint", None)
    if not options.get("known_hosts"):
        # Not None, which would accept any; with a pinned key the user's own file does not count.
        options["known_hosts"] = ([], [], []) if pinned else ()

    class Client(asyncssh.SSHClient):
        """Accepts the pinned key, and else says which one it was."""

        def validate_host_public_key(
            self, host: str, addr: str, port: int, key: asyncssh.SSHKey
        ) -> bool:
            del addr
            seen = key.get_fingerprint()
            if pinned and seen in {pinned, f"SHA256:{pinned}"}:
                return True
            place = host if port == 22 else f"[{host}]:{port}"
            why = "is not folder.options.fingerprint" if pinned else "is not the known one"
            msg = f"{host}: its host key, {key.get_algorithm()} {seen}, {why}"
            hint = (
                "if whoever runs the server confirms that fingerprint, set it as "
                f"folder.options.fingerprint or add the key of {place} to known_hosts"
            )
            refused.append(TransportError(msg, hint))
            return False

    options["client_factory"] = Client
    # Of the usual ciphers the one that machines are fastest at; the server may want another.
    options.setdefault("encryption_algs", "^aes128-gcm@openssh.com")
    return options


def _translated(error: Exception, what: str) -> ExportError:
    """An error of a file system as one of ours."""
    kind = type(error).__name__
    if isinstance(error, PermissionError) or "Permission" in kind or "Credential" in kind:
        msg = f"{what}: access was denied"
        return TransportError(
            msg, "check folder.options: user name, password or key, and its rights"
        )
    if "KeyImport" in kind or "KeyEncryption" in kind:
        msg = f"{what}: the private key cannot be used ({kind})"
        return TransportError(msg, "check client_keys and passphrase in folder.options")
    if "HostKey" in kind:
        msg = f"{what}: the server's host key cannot be verified"
        return TransportError(msg, "check known_hosts or fingerprint in folder.options")
    msg = f"{what}: the folder cannot be reached ({kind})"
    return RetriableTransportError(
        msg, "check folder.url and the network; run again: the state is kept"
    )


def _walk(fs: AbstractFileSystem, root: str) -> dict[str, Mapping[str, Any]]:
    """Every file below *root* by its path; links are followed, names that are no text left out.

    A folder that cannot be read is an error, which fsspec's own ways would pass over.
    """
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    if not protocols & {"file", "local", "sftp", "ssh"}:
        every = fs.find(root, detail=True)
        return {path: info for path, info in every.items() if info["type"] == "file"}
    local = bool(protocols & {"file", "local"})
    found: dict[str, Mapping[str, Any]] = {}
    seen: set[str] = set()
    folders = [root]
    while folders:
        folder = folders.pop()
        # Links may lead round in a circle.
        real = posixpath.realpath(folder) if local else folder
        if real in seen or folder.count("/") > _DEEPEST:
            continue
        seen.add(real)
        for listed in fs.ls(folder, detail=True):
            path = listed["name"]
            info = _followed(fs, listed) if _is_text(path) else {"type": "other"}
            if info["type"] == "directory":
                folders.append(path)
            elif info["type"] == "file":
                found[path] = info
    return found


def _followed(fs: AbstractFileSystem, info: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a file system tells of a file or a folder, or of what a link leads to."""
    path = info["name"]
    if not info.get("islink") and info["type"] in {"file", "directory"}:
        return info
    if fs.isdir(path):
        return {**info, "type": "directory"}
    if not fs.isfile(path):
        return {**info, "type": "other"}
    if info.get("islink"):  # told by local folders only
        status = Path(path).stat()
        return {**info, "type": "file", "size": status.st_size, "mtime": status.st_mtime}
    return {**fs.info(path), "type": "file"}


def _is_text(path: str) -> bool:
    """Whether a path can be written down."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _found(path: str, info: Mapping[str, Any]) -> _Found:
    """A file as a file system tells of it."""
    changed = info.get("mtime") or info.get("LastModified") or info.get("last_modified")
    if isinstance(changed, datetime):
        changed = changed.timestamp()
    # Whole seconds: not every way to a file tells more.
    seconds = float(int(changed)) if isinstance(changed, int | float) else None
    tag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    size = int(info.get("size") or 0)
    return _Found(path, size, tag or f"{size}-{seconds or 0:.0f}", seconds)


def _ending(path: str) -> str:
    """What stands behind a name's last dot, in lower case."""
    return posixpath.basename(path).rpartition(".")[2].lower()
