"""Arrow files that stream readers accept too.

A file is a stream between a magic word and a footer, and many readers skip the footer. polars
writes the schema after the magic word without the header of a message, so that they fail
(https://github.com/pola-rs/polars/issues/22323).
"""

from __future__ import annotations

import io
import os
from collections import deque
from pathlib import Path
from struct import pack, pack_into, unpack_from
from typing import IO, TYPE_CHECKING

from filetap.lazy import pl

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = b"ARROW1\0\0"  # with its padding
_MESSAGE = b"\xff" * 4  # what a message begins with; its length follows
_END = 8  # bytes that end the stream
_BLOCK = 24  # bytes of a record batch's entry in the footer
_TRAILER = 10  # bytes after the footer: its length, and the magic word without padding


def write_arrow(frame: pl.DataFrame, file: IO[bytes]) -> None:
    """Write a frame as an Arrow file, its text not as views, which many readers do not know."""
    header, empty = _missing_header(frame)
    if not header:
        frame.write_ipc(file, compat_level=pl.CompatLevel.oldest())
        return
    if isinstance(file, io.BufferedWriter):
        _write_in_place(frame, file, header)
        return
    mended = _Mended(file, header, empty)
    frame.write_ipc(mended, compat_level=pl.CompatLevel.oldest())  # type: ignore[call-overload]
    mended.finish()


def _missing_header(frame: pl.DataFrame) -> tuple[bytes, int]:
    """The header that polars leaves out, if it does; and the bytes of a file without rows."""
    content = io.BytesIO()
    frame.clear().write_ipc(content, compat_level=pl.CompatLevel.oldest())
    empty = content.getvalue()
    if empty.startswith(_MESSAGE, len(_MAGIC)):
        return b"", len(empty)
    schema = _footer(empty) - _END - len(_MAGIC)
    return _MESSAGE + pack("<i", schema), len(empty)


def _write_in_place(frame: pl.DataFrame, file: io.BufferedWriter, header: bytes) -> None:
    """Let polars write a local file itself, with no copy for Python, and mend it afterwards.

    The header takes the place of the magic word that polars writes after another one.
    """
    file.write(_MAGIC)
    file.flush()
    frame.write_ipc(file, compat_level=pl.CompatLevel.oldest())
    with Path(file.name).open("rb") as written:
        written.seek(-_TRAILER, os.SEEK_END)
        (length,) = unpack_from("<i", written.read())
        written.seek(-_TRAILER - length, os.SEEK_END)
        rest = bytearray(written.read())
    _correct(rest, len(header))
    file.seek(len(_MAGIC))
    file.write(header)
    file.seek(-len(rest), os.SEEK_END)
    file.write(rest)


def _correct(rest: bytearray, moved: int) -> None:
    """Add to the positions of the batches in the footer of a file, of which *rest* is the end."""
    for block in _blocks(rest):
        (position,) = unpack_from("<q", rest, block)
        pack_into("<q", rest, block, position + moved)


class _Mended:
    """Passes on what polars writes, as it comes, with the missing header.

    Args:
        file: Where it is written.
        header: The header of the first message.
        empty: Bytes of a file without batches: what is written last is kept back, so that the
            footer can be corrected.
    """

    def __init__(self, file: IO[bytes], header: bytes, empty: int) -> None:
        self._file = file
        self._header = header
        self._footer = empty
        self._started = False
        self._kept: deque[bytes] = deque()
        self._size = 0

    def write(self, piece: bytes) -> int:
        """Write some bytes, or keep them back."""
        self._footer += _BLOCK  # a batch takes one write at least, and one entry in the footer
        self._kept.append(piece)
        self._size += len(piece)
        while self._size - len(self._kept[0]) >= self._footer:
            first = self._kept.popleft()
            self._size -= len(first)
            self._pass_on(first)
        return len(piece)

    def flush(self) -> None:
        """Nothing: the file is flushed by whoever opened it."""

    def finish(self) -> None:
        """Write what was kept back, the batches' positions in the footer corrected."""
        rest = bytearray().join(self._kept)
        _correct(rest, len(self._header))
        self._pass_on(rest)

    def _pass_on(self, piece: bytes | bytearray) -> None:
        """Write some bytes, the header after the magic word."""
        if not self._started:
            self._started = True
            self._file.write(_MAGIC + self._header)
            piece = piece[len(_MAGIC) :]
        self._file.write(piece)


def _footer(content: bytes | bytearray) -> int:
    """Where the footer of a file begins, of which *content* is the last part."""
    (length,) = unpack_from("<i", content, len(content) - _TRAILER)
    return int(len(content) - _TRAILER - length)


def _blocks(content: bytes | bytearray) -> Iterator[int]:
    """Where the footer has its record batches: each a position and two lengths.

    The footer is a FlatBuffers table whose fourth field is a vector of them.
    """
    table = _target(content, _footer(content))
    (fields,) = unpack_from("<i", content, table)
    (place,) = unpack_from("<H", content, table - fields + 4 + 2 * 3)
    vector = _target(content, table + place)
    (count,) = unpack_from("<I", content, vector)
    yield from range(vector + 4, vector + 4 + _BLOCK * count, _BLOCK)


def _target(content: bytes | bytearray, at: int) -> int:
    """Where the offset that is stored at a position points to."""
    (offset,) = unpack_from("<I", content, at)
    return int(at + offset)
