"""Decompresses gzip, and verifies it as it is read."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any
from zlib import crc32

from isal import isal_zlib

from filetap.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 1 << 20  # bytes of decompressed data yielded at a time, at most
# Deflate's own limit is 1,032 times. Rows of usual length stay far below this, even if all are
# alike; one byte repeated without end, which is how to fill a memory, does not.
HIGHEST_RATIO = 1000
_RATIO_FROM = 256 << 20  # bytes; less decompressed data is harmless, whatever its ratio
LONGEST_HEADER = 1 << 20  # bytes of a gzip member's header: names and comments, not data
_DEFLATE = 8
_CRC, _EXTRA, _NAME, _COMMENT, _RESERVED = 2, 4, 8, 16, 0xE0  # flags of a header
_GARBAGE = "other bytes follow the gzip data"


class _Header:
    """A gzip member's header, collected until it is complete (RFC 1952, section 2.3).

    isal 1.9.1 resumes wrongly if its input ends within a header, so it gets complete ones only.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._steps = self._parse()

    def take(self, data: bytes) -> bytes:
        """Add *data*; return all bytes so far once the header is complete, b"" before that.

        Raises:
            ValueError: The header is damaged, too long, or of an unknown kind.
        """
        self._data += data
        if next(self._steps, True):
            return bytes(self._data)
        if len(self._data) > LONGEST_HEADER:
            msg = f"a header longer than {LONGEST_HEADER} bytes"
            raise ValueError(msg)
        return b""

    def _parse(self) -> Iterator[bool]:
        """Parse the bytes so far, yielding False each time that more are needed.

        A generator, so that it resumes where it stopped and a long header takes linear time.
        """
        data, at = self._data, 10
        while len(data) < at:
            yield False
        flags = data[3]
        if data[2] != _DEFLATE or flags & _RESERVED:
            msg = "an unknown method or flag"
            raise ValueError(msg)
        if flags & _EXTRA:
            while len(data) < at + 2:
                yield False
            at += 2 + int.from_bytes(data[at : at + 2], "little")
        for flag in (_NAME, _COMMENT):
            if flags & flag:
                seen = at
                while (end := data.find(0, seen)) < 0:
                    seen = max(at, len(data))
                    yield False
                at = end + 1
        checked = at
        at += 2 if flags & _CRC else 0
        while len(data) < at:
            yield False
        if flags & _CRC and data[checked:at] != (crc32(data[:checked]) & 0xFFFF).to_bytes(
            2, "little"
        ):
            msg = "the checksum of a header"
            raise ValueError(msg)


class Gunzip:
    """Decompresses gzip of any number of members as it arrives; passes other bytes unchanged."""

    def __init__(self) -> None:
        """Start before the first byte."""
        self._head = b""
        self._header: _Header | None = None
        self._member: Any = None
        self._plain = False
        self._error = ""
        self._members = 0
        self._taken = self._returned = 0  # bytes

    @property
    def fault(self) -> str:
        """What is wrong with the data, if those so far are all; empty if nothing is."""
        if self._error:
            return self._error
        if self._members and self._head:
            return _GARBAGE
        return "the gzip data end too early" if self._member or self._header else ""

    def check(self, chunk: bytes) -> None:
        """Decompress the next bytes only to find a `fault`."""
        for _ in self.feed(chunk):
            pass

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Decompress the next stored bytes, and yield pieces of at most `PIECE` bytes."""
        data, self._head = self._head + chunk, b""
        self._taken += len(chunk)
        while data and not self._error:
            if self._plain:
                yield data
                return
            if self._header:
                data = self._open(self._header, data)
            elif self._member is None:
                data = self._begin(data)
            else:
                piece, data = self._inflate(data)
                if piece:
                    yield piece

    def _begin(self, data: bytes) -> bytes:
        """Detect what *data* is by its first bytes; return the bytes to continue with."""
        if self._members:
            # As in gzip itself, only zeros may follow the last member.
            data = data.lstrip(b"\0")
        if len(data) < 2:
            self._head = data
            return b""
        if is_gzip(data):
            self._header = _Header()
        elif self._members:
            self._error = _GARBAGE
        else:
            self._plain = True
        return data

    def _open(self, header: _Header, data: bytes) -> bytes:
        """Start a member once its *header* is complete; return the bytes to continue with."""
        try:
            data = header.take(data)
        except ValueError as error:
            self._error = f"the gzip data are broken ({error})"
            return b""
        if data:
            self._header, self._member = None, isal_zlib.decompressobj(wbits=31)
        return data

    def _inflate(self, data: bytes) -> tuple[bytes, bytes]:
        """Decompress a piece from *data*; return it and the rest of *data*."""
        member = self._member
        try:
            piece = member.decompress(data, PIECE)
        except isal_zlib.error as error:  # type: ignore[misc]  # an instance, by the stub
            self._error = f"the gzip data are broken ({error})"
            return b"", b""
        self._returned += len(piece)
        if self._returned > max(_RATIO_FROM, HIGHEST_RATIO * self._taken):
            self._error = f"it decompresses to more than {HIGHEST_RATIO} times its size"
            return b"", b""
        if not member.eof:
            return piece, member.unconsumed_tail
        self._member = None
        self._members += 1
        return piece, member.unused_data

    def end(self) -> bytes:
        """Return what is left at the end: the byte of data too short to be detected, or b""."""
        return b"" if self._members else self._head


def is_gzip(data: bytes) -> bool:
    """True if *data* begins like gzip."""
    return data[:2] == b"\x1f\x8b"


def decompress(
    stored: IO[bytes], what: str, most: int | None = None, *, cut: bool = False
) -> Iterator[bytes]:
    """Decompress a file from its current position.

    Args:
        stored: Bytes as stored: gzip, or plain.
        what: The file, as messages name it.
        most: Stored bytes to read; None for all.
        cut: True if the bytes may end anywhere, as they also may with *most*: a fault is then
            not an error.

    Yields:
        Pieces of at most `PIECE` bytes.

    Raises:
        IntegrityError: The gzip data are damaged or incomplete.
    """
    gunzip = Gunzip()
    left = PIECE if most is None else most
    while chunk := stored.read(min(PIECE, left)):
        yield from gunzip.feed(chunk)
        left -= 0 if most is None else len(chunk)
    if most is None and not cut and gunzip.fault:
        msg = f"{what}: the file is damaged: {gunzip.fault}"
        raise IntegrityError(msg, "run again; if it happens again, report the file to its vendor")
    yield gunzip.end()
