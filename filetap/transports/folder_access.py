"""A folder that is open: what is in it, with the errors of its file system translated."""

from __future__ import annotations

import posixpath
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from filetap.errors import ExportError, FileGoneError, TransportError
from filetap.transports.file_system import KEY_ERRORS, open_folder, translated
from filetap.transports.folder_walk import Entry, Found, entries, followed, found, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fsspec import AbstractFileSystem

    from filetap.settings import Folder

CHUNK = 8 << 20  # bytes read at a time: SFTP requests all parts of one chunk at once
GONE_HINT = "put it back, and move files only after they have been read"


class OpenFolder:
    """A folder on a file system, which is connected to when it is needed.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Folder) -> None:
        """Open nothing yet."""
        self._url = folder.url
        self._options = dict(folder.options)
        self._refused: list[TransportError] = []
        self._opened: tuple[AbstractFileSystem, str] | None = None

    @property
    def where(self) -> str:
        """The folder as messages name it, without any credentials in its URL."""
        before, at, after = self._url.partition("?")[0].rpartition("@")
        scheme, sign, _ = before.partition("://")
        return f"{scheme}{sign}{after}" if at and sign else after

    @property
    def root(self) -> str:
        """The folder's path in its file system."""
        with self.errors(self.where):
            return self._connect()[1]

    def find(self) -> tuple[list[Found], list[str]]:
        """Every file in the folder and below, and the paths that are not files."""
        with self.errors(self.where):
            fs, root = self._connect()
            everything = walk(fs, root) if fs.exists(root) else None
        if everything is None:
            msg = f"{self.where}: the folder does not exist"
            hint = "check folder.url; in a bucket, a folder exists once it contains a file"
            raise TransportError(msg, hint)
        if any(file.path.strip("/") == root.strip("/") for file in everything[0]):
            msg = f"{self.where}: it is a file, not a folder"
            raise TransportError(msg, "set folder.url to the folder that holds it")
        return everything

    def entries(self, path: str) -> tuple[list[Entry], list[str]]:
        """The folders and files in one folder, and the paths of anything else.

        Raises:
            FileGoneError: It does not exist.
        """
        with self.errors(self.where):
            fs, _ = self._connect()
            return entries(fs, path)

    def stat(self, path: str, what: str) -> Found:
        """The file as it is now."""
        with self.errors(what):
            fs, _ = self._connect()
            fs.invalidate_cache(posixpath.dirname(path))
            return found(path, followed(fs, fs.info(path)))

    def open(self, path: str, what: str) -> IO[bytes]:
        """Open a file for reading."""
        with self.errors(what):
            fs, _ = self._connect()
            source: IO[bytes] = fs.open(path, "rb")
        return source

    def read(self, path: str, most: int, what: str) -> bytes:
        """The first *most* bytes of a file."""
        with self.errors(what):
            fs, _ = self._connect()
            with fs.open(path, "rb") as stored:
                data: bytes = stored.read(most)
        return data

    def chunks(
        self, source: IO[bytes], offset: int, what: str, size: int | None
    ) -> Iterator[bytes]:
        """The bytes from *offset* to the end of a file that should have *size* bytes."""
        with self.errors(what):
            source.seek(offset)
        while True:
            # SFTP sends a request for each part of what is asked for, there or not.
            wanted = CHUNK if size is None else min(CHUNK, max(1, size - offset))
            with self.errors(what):
                chunk = source.read(wanted)
            if not chunk:
                return
            offset += len(chunk)
            yield chunk

    def _connect(self) -> tuple[AbstractFileSystem, str]:
        """The file system, and the folder's path in it; reconnects if the connection was lost."""
        if self._opened is None:
            try:
                self._opened = open_folder(self._url, self._options, self._refused)
            except FileNotFoundError:
                msg = f"{self.where}: a file named in folder.options does not exist"
                raise TransportError(msg, "check client_keys and known_hosts") from None
        return self._opened

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Translate what a file system raises into the package's errors, which hold no secret."""
        try:
            yield
        except ExportError:
            raise
        except FileNotFoundError:
            msg = f"{what}: the file is no longer in the folder"
            raise FileGoneError(msg, GONE_HINT) from None
        except (ImportError, ValueError, TypeError, KeyError) as error:
            if type(error).__name__ in KEY_ERRORS:
                raise translated(error, what) from None
            scheme = self._url.partition("://")[0]
            msg = f"{what}: the folder cannot be opened ({type(error).__name__})"
            extra = {"sftp": " (the extra sftp)", "s3": " (the extra s3)"}.get(scheme, "")
            hint = f"check folder.url and folder.options; install what {scheme}:// needs{extra}"
            if isinstance(error, TypeError):
                hint = "check the names in folder.options, and the types of their values"
            raise TransportError(msg, hint) from None
        except Exception as error:  # noqa: BLE001 - each file system has its own errors
            self._opened = None
            raise (self._refused.pop() if self._refused else translated(error, what)) from None
