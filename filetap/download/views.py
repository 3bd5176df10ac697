"""Readable views of a file's bytes, each with a position of its own."""

from __future__ import annotations

import io
import os
import sys
from abc import abstractmethod
from typing import IO, TYPE_CHECKING

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _View(io.RawIOBase):
    """Bytes that are read from the position of the view.

    Args:
        size: How many bytes it has.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._at = 0

    @abstractmethod
    def _read(self, view: memoryview, at: int) -> int:
        """Fill *view* with bytes from offset *at*; return how many, 0 at the end."""

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    @override
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        count = self._read(view, self._at) if view else 0
        self._at += count
        return count


class Region(_View):
    """A range of a file on disk, whose own position does not matter.

    Args:
        file: The file.
        start: Offset of the first byte.
        size: How many bytes there are.
    """

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        super().__init__(size)
        self._file = file
        self._start = start

    @override
    def _read(self, view: memoryview, at: int) -> int:
        return os.preadv(self._file.fileno(), [view], self._start + at)


class Again(_View):
    """A file for a second reader, which leaves the first one's position as it is.

    Args:
        file: The file; it need not be on disk.
        size: How many bytes it has.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        super().__init__(size)
        self._file = file

    @override
    def _read(self, view: memoryview, at: int) -> int:
        before = self._file.tell()
        self._file.seek(at)
        data = self._file.read(len(view))
        self._file.seek(before)
        view[: len(data)] = data
        return len(data)
