"""Keeps many small downloads in one unnamed file, which takes a single file descriptor."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING

from filetap.download.gunzip import PIECE
from filetap.download.views import Region
from filetap.errors import IntegrityError, SpoolError

if TYPE_CHECKING:
    from pathlib import Path

    from filetap.download.spool import Spooled
    from filetap.files import ExportFile


@dataclass
class Pack:
    """Downloads, and errors of downloads, that wait for their turn.

    Attributes:
        folder: Existing folder for the file; None for the system's temporary one.
        size: Bytes in the file.
    """

    folder: Path | None = None
    size: int = 0
    _waiting: dict[str, Spooled | IntegrityError] = field(default_factory=dict)
    _file: IO[bytes] | None = None

    def add(self, spooled: Spooled) -> None:
        """Copy a complete download into the file, and close the original.

        Raises:
            SpoolError: The local disk refused it; the original is closed, too.
        """
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115
            spooled.stored.seek(0)
            self._file.seek(self.size)
            while piece := spooled.stored.read(PIECE):
                left = memoryview(piece)
                # An almost full disk takes only a part, without an error before the next write.
                while left:
                    left = left[self._file.write(left) :]
        except OSError as error:
            spooled.close()
            msg = f"{spooled.file}: the download cannot be written to disk ({error.strerror})"
            raise SpoolError(msg, "free some space or set spool_dir to a larger disk") from None
        region = io.BufferedReader(Region(self._file, self.size, spooled.size), 1 << 16)
        self._waiting[spooled.file.key] = replace(spooled, stored=region)
        self.size += spooled.size
        spooled.close()

    def hold(self, file: ExportFile, download: Spooled | IntegrityError) -> None:
        """Keep a download as it is, or the error that downloading *file* twice ended with."""
        self._waiting[file.key] = download

    def take(self, file: ExportFile) -> Spooled | None:
        """Remove and return the download of *file*, to be closed by the caller.

        Returns:
            The download; None if it was never added.

        Raises:
            IntegrityError: The file was downloaded, and is damaged.
        """
        found = self._waiting.pop(file.key, None)
        if isinstance(found, IntegrityError):
            raise found
        return found

    def close(self) -> None:
        """Close all downloads and free the disk space."""
        for waiting in self._waiting.values():
            if not isinstance(waiting, IntegrityError):
                waiting.close()
        self._waiting.clear()
        if self._file:
            self._file.close()
            self._file = None
