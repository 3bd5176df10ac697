"""From stored bytes to the bytes that were compressed: gzip, proven as it is read."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 1 << 20  # bytes of decompressed data handed on at a time
# Deflate's own limit is 1,032 times. Rows of usual length, be they all alike, stay far below this;
# one byte repeated for ever, the way to fill a memory, does not.
HIGHEST_RATIO = 1000
_RATIO_FROM = 256 << 20  # bytes decompressed; what is less does no harm
_GARBAGE = "other bytes follow the gzip data"


class Gunzip:
    """Decompresses gzip as it arrives, all its members; other bytes pass unchanged.

    Attributes:
        fault: What is wrong with the gzip data; empty when nothing is. Complete only once
            all bytes were given.
    """

    def __init__(self) -> None:
        """Start before the first byte."""
        self._head = b""
        self._member: Any = None
        self._plain = False
        self._error = ""
        self._members = 0
        self._taken = self._given = 0

    @property
    def fault(self) -> str:
        """What is wrong with the data so far, taken as the whole."""
        if self._error:
            return self._error
        if self._members and self._head:
            return _GARBAGE
        return "the gzip data end too early" if self._member else ""

    def check(self, chunk: bytes) -> None:
        """Take the next bytes only to learn of a `fault`."""
        for _ in self.feed(chunk):
            pass

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The decompressed bytes that the next stored bytes give, in small pieces."""
        data, self._head = self._head + chunk, b""
        self._taken += len(chunk)
        while data and not self._error:
            if self._member is None and not self._plain:
                data = self._begin(data)
            elif self._plain:
                yield data
                return
            else:
                piece, data = self._inflate(data)
                if piece:
                    yield piece

    def _begin(self, data: bytes) -> bytes:
        """Tell by its first bytes what *data* is; returns what to go on with."""
        if self._members:
            # As gzip does it: zeros may follow the last member, nothing else.
            data = data.lstrip(b"\0")
        if len(data) < 2:
            self._head = data
            return b""
        if is_gzip(data):
            self._member = isal_zlib.decompressobj(wbits=31)
        elif self._members:
            self._error = _GARBAGE
        else:
            self._plain = True
        return data

    def _inflate(self, data: bytes) -> tuple[bytes, bytes]:
        """A piece decompressed from *data*, and what of *data* is left."""
        member = self._member
        try:
            piece = member.decompress(data, PIECE)
        except isal_zlib.error as error:  # type: ignore[misc]  # an instance, by the stub
            self._error = f"the gzip data are broken ({error})"
            return b"", b""
        self._given += len(piece)
        if self._given > max(_RATIO_FROM, HIGHEST_RATIO * self._taken):
            self._error = f"it decompresses to more than {HIGHEST_RATIO} times its size"
            return b"", b""
        if not member.eof:
            return piece, member.unconsumed_tail
        self._member = None
        self._members += 1
        return piece, member.unused_data

    def end(self) -> bytes:
        """What is left at the end of data too short to tell; one byte or none."""
        return b"" if self._members else self._head


def is_gzip(data: bytes) -> bool:
    """Whether *data* begins like gzip."""
    return data[:2] == b"\x1f\x8b"


def decompress(stored: IO[bytes], most: int | None = None) -> Iterator[bytes]:
    """The decompressed bytes of a proven file, from its current position.

    Args:
        stored: Bytes as stored: gzip, or plain.
        most: How many of the stored bytes to read; None for all.

    Yields:
        Pieces of at most `PIECE` bytes.
    """
    gunzip = Gunzip()
    left = PIECE if most is None else most
    while chunk := stored.read(min(PIECE, left)):
        yield from gunzip.feed(chunk)
        left -= 0 if most is None else len(chunk)
    yield gunzip.end()
