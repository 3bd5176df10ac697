"""Bytes of a file as text that can be put back, and read once more as bytes."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PIECE = 1 << 15  # bytes added at a time: Python's parser counts the lines before each error


class Source:
    """Bytes as text; one that is not UTF-8 becomes a lone surrogate, and can be turned back.

    Attributes:
        offset: Bytes of the file before the next one.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.offset = 0
        self._piece = b""
        self._at = 0  # in the piece
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def read(self) -> str:
        """The next characters, of at most `_PIECE` bytes; empty at the end of the file."""
        text = ""
        while not text and (data := self.ahead(_PIECE, fill=False)):
            text = self._decoder.decode(data)
            self.skip(len(data))
        return text or self._decoder.decode(b"", final=True)

    def ahead(self, size: int, *, fill: bool = True) -> bytes:
        """The next *size* bytes without reading them.

        Args:
            size: How many.
            fill: False if fewer will do, though more than none.
        """
        have = len(self._piece) - self._at
        parts: list[bytes] = []
        while have < (size if fill else 1) and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            have += len(piece)
        if parts:
            self._piece, self._at = b"".join((self._piece[self._at :], *parts)), 0
        return self._piece[self._at : self._at + size]

    def skip(self, count: int) -> None:
        """Go past *count* bytes that are ahead."""
        self._at += count
        self.offset += count

    def skip_to(self, offset: int) -> int:
        """Go past the bytes before *offset*, unless there are fewer; return how many."""
        before = self.offset
        while (left := offset - self.offset) > 0 and (data := self.ahead(left, fill=False)):
            self.skip(len(data))
        return self.offset - before

    def put_back(self, text: str) -> None:
        """Have *text* read once more, before what follows it."""
        rest, _ = self._decoder.getstate()  # the beginning of a character
        self._decoder.reset()
        if data := text.encode(errors="surrogateescape") + rest:
            self._piece, self._at = data + self._piece[self._at :], 0
            self.offset -= len(data)
