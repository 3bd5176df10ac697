"""Runs of JSON objects to be decoded in one call, with the careful reader behind them.

A parser that calls Python for each object is slow. So text is cut after a complete object here,
by a guess if that is right, and handed on to be decoded at once. Whatever is not proven to be
regular is left to the reader in `json_text`, which is slow and names what is wrong.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from filetap.read.csv_careful import QUOTE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from filetap.read.json_text import JSONText

_BLOCK = 1 << 19  # bytes decoded at a time: few enough for the processor's cache
LARGEST = 1 << 22  # bytes of a block if objects are larger
_FEW = 1 << 15  # bytes that the careful reader gets through in the time of some attempts
_BACKSLASH = ord("\\")
_CASE = 0x20  # the bit that makes "[" and "]" what "{" and "}" are
OPEN, CLOSED = ord("{"), ord("}")
_SPACE = b" \t\r\n"  # of JSON: fewer characters than of Python
_BLANKS = re.compile(rb"(?:[ \t\r\n,]|\xef\xbb\xbf)*+")
_END_OF_OBJECT = re.compile(rb"[ \t\r,]*+(?:[\n{]|\Z)")  # what may follow one in its line
_ESCAPES = re.compile(rb'\\["\\]')  # of a quote or a backslash
_FIRST_NAME = re.compile(rb'\{[ \t\r\n]*+"[^"]*+"')

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Run:
    """Text that should be complete objects, one after the other.

    Attributes:
        text: It, from the first bracket to the last, in UTF-8 unless it is damaged.
        array: True if a comma is between two objects, False if only blanks are.
        most: Objects that it may be, at most.
    """

    text: bytes
    array: bool
    most: int


def object_ends(text: bytes, deep: int = sys.maxsize) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where the objects at the beginning of some text begin and end.

    Args:
        text: Text that begins with an object.
        deep: Levels of brackets from which on there are no such objects.
    """
    data = np.frombuffer(text, np.uint8)
    folded = data | _CASE
    brackets = np.flatnonzero((folded == OPEN) | (folded == CLOSED))
    brackets = brackets[np.searchsorted(_quotes(data), brackets) % 2 == 0]
    opens = folded[brackets] == OPEN
    depth = np.cumsum(np.where(opens, 1, -1))
    beyond = np.flatnonzero((depth < 0) | (depth > deep))  # such as the end of the array
    inside = slice(beyond[0] if len(beyond) else None)
    brackets, opens, depth = brackets[inside], opens[inside], depth[inside]
    ends = brackets[depth == 0] + 1
    return brackets[opens & (depth == 1)][: len(ends)], ends


def _quotes(data: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The offsets of the quotes that are not escaped."""
    quotes = data == QUOTE
    slashes = np.flatnonzero(data == _BACKSLASH)
    if len(slashes):
        # Of backslashes in a row, every other one escapes what follows it.
        index = np.arange(len(slashes))
        first = np.append(True, np.diff(slashes) > 1)
        escapes = (index - np.maximum.accumulate(np.where(first, index, 0))) % 2 == 0
        escaped = slashes[escapes] + 1
        quotes[escaped[escaped < len(data)]] = False
    return np.flatnonzero(quotes)


def count_strings(text: bytes) -> int:
    """How many strings some valid JSON has."""
    data = np.frombuffer(text, np.uint8)
    quotes, slashes = data == QUOTE, data == _BACKSLASH
    count = np.count_nonzero(quotes)
    if (slashes[:-1] & slashes[1:]).any():
        count -= _ESCAPES.findall(text).count(b'\\"')
    else:
        count -= np.count_nonzero(slashes[:-1] & quotes[1:])
    return int(count) // 2


class Runs(Generic[_T]):
    """Takes objects from some text for as long as they are proven to be regular.

    Where they are not, the careful reader gets a stretch of the text, a longer one each time.

    Args:
        accept: Returns what is made of a run; None unless it is regular.
    """

    def __init__(self, accept: Callable[[Run], _T | None]) -> None:
        """Begin with small blocks."""
        self._accept = accept
        self._size = self._stretch = _FEW
        self._careful = 0  # where the careful reader's stretch of the text ends

    def take(
        self,
        text: JSONText,
        *,
        array: bool,
        most: int = sys.maxsize,
        room: int = sys.maxsize,
        limit: int = sys.maxsize,
    ) -> _T | None:
        """Take the next objects of *text*.

        Args:
            text: The text, where an object may begin.
            array: True if that is in an array.
            most: Objects to take.
            room: Bytes of objects to take; the last one may exceed them.
            limit: Bytes to look at, unless they are too few.

        Returns:
            What is made of them; None if the careful reader has to read the next one.
        """
        if text.position < self._careful or not text.is_clear:
            return None
        size = wanted = min(self._size, max(limit, _FEW))
        may_grow = True
        while True:
            data = text.ahead(size)
            ended = len(data) < size
            blanks = _BLANKS.match(data)
            start = blanks.end() if blanks else 0
            run = None
            for run in _runs(data[start:], array=array, ended=ended, most=most, room=room):
                if (made := self._accept(run)) is not None:
                    text.move(start + len(run.text))
                    larger = max(size, min(2 * size, _BLOCK))
                    self._size = max(larger, self._size) if size == wanted else larger
                    self._stretch = _FEW
                    return made
            if run is None and may_grow and not ended and size < LARGEST:
                size *= 4  # no object is complete
            elif run is not None and size > _FEW:
                size, may_grow = max(_FEW, size // 8), False
            else:
                self._size = _FEW
                self._careful = text.position + self._stretch
                self._stretch = min(2 * self._stretch, _BLOCK)
                return None


def _runs(data: bytes, *, array: bool, ended: bool, most: int, room: int) -> Iterator[Run]:
    """Yield what may be the objects at the beginning of some text: first a guess, then for sure.

    Args:
        data: The text.
        array: True if it is within an array.
        ended: True if nothing follows it.
        most: Objects to take.
        room: Bytes of objects to take; the last one may exceed them.
    """
    if not data.startswith(b"{"):
        return
    if array:
        guess = _guess(data)
    else:
        guess = len(data) if ended else max(0, data.rfind(b"\n"))
        data = data[:guess]
    text = data[:guess].rstrip(_SPACE)
    if text and len(text) <= room:
        yield Run(text, array, most)
    starts, ends = object_ends(data)
    if not len(ends):
        return
    sizes = np.cumsum(ends - starts)
    count = min(most, len(ends), 1 + int(np.searchsorted(sizes, room, side="right")))
    end = int(ends[count - 1])
    if end != len(text) and (array or _END_OF_OBJECT.match(data, end)):
        yield Run(data[:end], array, most)


def _guess(data: bytes) -> int:
    """Where the objects of an array before its last one probably end; 0 if that is not clear."""
    first = _FIRST_NAME.match(data)
    last = data.rfind(first[0], 1) if first else 0
    before = data[: max(0, last)].rstrip(_SPACE)
    text = before.removesuffix(b",").rstrip(_SPACE)
    return len(text) if len(text) < len(before) and text.endswith(b"}") else 0
