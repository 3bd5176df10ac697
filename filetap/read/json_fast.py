"""JSON objects read by columns, with the careful reader of `json_text` behind it.

Where the members' names are known ahead, msgspec decodes objects without a dictionary for each,
and leaves every value as text or as it is written. It is stricter than Python's parser, except
that it keeps silent about a member that appears twice. So text is cut after a complete object
here, msgspec decodes its objects in one call, and a count proves that no member was dropped:
the names and texts that came out must be as many as the strings that the text has. Whatever is
not proven is left to the careful reader, which is slow and names what is wrong.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import numpy as np
import polars as pl

from filetap.read.csv_careful import QUOTE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from filetap.read.json_text import JSONText

_BLOCK = 1 << 18  # bytes decoded at a time: few enough for the processor's cache
LARGEST = 1 << 22  # bytes of a block if objects are larger
_FEW = 1 << 13  # bytes that the careful reader gets through in the time of some attempts
_MOST_LABELS = 1_000  # msgspec may compare each name with all of them
_DEEP = 500  # levels of brackets that any parser reads
_BACKSLASH = ord("\\")
_CASE = 0x20  # the bit that makes "[" and "]" what "{" and "}" are
_LINE_END = ord("\n")
_OPEN, _CLOSED = ord("{"), ord("}")
_BLANKS = re.compile(rb"(?:[ \t\r\n,]|\xef\xbb\xbf)*+")
_END_OF_OBJECT = re.compile(rb"[ \t\r,]*+(?:[\n{]|\Z)")  # what may follow one in its line
_FIRST_NAME = re.compile(rb'\{[ \t\r\n]*+"[^"]*+"')
_ODD = re.compile(r'[\x00-\x1f"\\]')  # in a name: msgspec cannot look for it
_BETWEEN = "\x1f"  # two values: it cannot occur in one, nor outside strings

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Run:
    """Text that should be complete objects, one after the other.

    Attributes:
        text: It, from the first bracket to the last, in UTF-8 unless it is damaged.
        array: True if a comma is between two objects, False if only blanks are.
    """

    text: bytes
    array: bool


def object_ends(text: bytes, deep: int = sys.maxsize) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where the objects at the beginning of some text begin and end.

    Args:
        text: Text that begins with an object.
        deep: Levels of brackets from which on there are no such objects.
    """
    data = np.frombuffer(text, np.uint8)
    folded = data | _CASE
    brackets = np.flatnonzero((folded == _OPEN) | (folded == _CLOSED))
    brackets = brackets[np.searchsorted(_quotes(data), brackets) % 2 == 0]
    opens = folded[brackets] == _OPEN
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


def _closed(text: bytes) -> int:
    """How many closing brackets some text has, those in strings included."""
    return int(np.count_nonzero((np.frombuffer(text, np.uint8) | _CASE) == _CLOSED))


def _count_strings(text: bytes) -> int:
    """How many strings some valid JSON has."""
    quotes = np.count_nonzero(np.frombuffer(text, np.uint8) == QUOTE)
    if b"\\" in text:
        quotes -= text.replace(b"\\\\", b"").count(b'\\"')
    return int(quotes) // 2


@dataclass(frozen=True, slots=True)
class _Traits:
    """What a member has had so far.

    Attributes:
        other: Values other than text and null.
        null: Nulls.
        missing: Objects without it.
    """

    other: bool = False
    null: bool = False
    missing: bool = False

    def __or__(self, more: _Traits) -> _Traits:
        return _Traits(
            self.other or more.other, self.null or more.null, self.missing or more.missing
        )

    @property
    def field(self) -> tuple[Any, ...]:
        """The type to decode its values as; and the value of a missing one, if it may be."""
        if self.other:
            return msgspec.Raw, msgspec.Raw(b"")
        if self.null:
            return (str | None, msgspec.UNSET) if self.missing else (str | None,)
        return str, None


_VERBATIM = _Traits(other=True)


class _Decoders:
    """Msgspec's decoders of objects, in an array or one after the other.

    Attributes:
        empty: An object without members; None if it is not valid.

    Args:
        labels: The names of the members that the objects may have.
        traits: What each may have.
        strict: False if the objects may have other members, too.
    """

    def __init__(
        self, labels: Sequence[str], traits: Sequence[_Traits], *, strict: bool = True
    ) -> None:
        names = {f"f{i}": label for i, label in enumerate(labels)}
        fields = [(own, *one.field) for own, one in zip(names, traits, strict=True)]
        kind: Any = msgspec.defstruct(
            "Row",
            fields,
            rename=names.get,
            forbid_unknown_fields=strict,
            kw_only=True,
            gc=False,
        )
        self.empty = None if any(one.null and not one.missing for one in traits) else kind()
        self._array = msgspec.json.Decoder(list[kind])
        self._lines = msgspec.json.Decoder(kind)

    def objects(self, run: Run) -> list[Any] | None:
        """The objects of *run*; None unless all are valid."""
        try:
            if run.array:
                return self._array.decode(b"[%b]" % run.text)
            return self._lines.decode_lines(run.text)
        except (RecursionError, UnicodeDecodeError, msgspec.MsgspecError):
            return None


_ANY = _Decoders((), (), strict=False)


def are_objects(run: Run) -> Run | None:
    """*run* if its text is objects in an array, whatever their members."""
    return run if _ANY.objects(run) is not None else None


def _is_clear(run: Run, count: int) -> bool:
    """True if a parser that refuses what is nested too deeply finds the same *count* of objects.

    That may depend on the parser where lines hold objects, and one takes several lines.
    """
    if run.array:
        return True
    data = np.frombuffer(run.text, np.uint8)
    ends = np.flatnonzero(data == _LINE_END)
    regular = (data[ends - 1] == _CLOSED) & (data[ends + 1] == _OPEN)
    if len(ends) == count - 1 and regular.all():
        return True
    return object_ends(run.text, _DEEP)[1].size == count


class Columns:
    """Makes columns of objects that have known members only.

    Attributes:
        labels: The members' names.

    Args:
        labels: The same.
        names: The column names made of them.
    """

    def __init__(self, labels: Sequence[str], names: Sequence[str] = ()) -> None:
        """Make a decoder that leaves every value as it is written."""
        self.labels = labels
        self._names = names
        self._traits = [_Traits() for _ in labels]
        self._verbatim: _Decoders | None = None
        if 0 < len(labels) <= _MOST_LABELS and not any(map(_ODD.search, labels)):
            self._verbatim = _Decoders(labels, [_VERBATIM] * len(labels))
        self._decoders = self._verbatim

    def know(self, run: Run) -> Run | None:
        """*run* if its text is objects that have no other members."""
        objects = self._verbatim.objects(run) if self._verbatim else None
        return run if objects and _is_clear(run, len(objects)) else None

    def frame(self, run: Run) -> pl.DataFrame | None:
        """The objects of *run* as text columns; None unless it is proven that each is a row."""
        if not self._decoders or not self._verbatim:
            return None
        decoders = self._decoders
        if (objects := decoders.objects(run)) is None and decoders is not self._verbatim:
            # Unless it is broken, some members have values that they did not have before.
            decoders = self._verbatim
            objects = decoders.objects(run)
        if not objects:
            return None
        is_new = decoders is self._verbatim
        traits = [_VERBATIM] * len(self.labels) if is_new else self._traits
        # No tuple outlives its turn: many of them would keep the garbage collector busy.
        values = list(chain.from_iterable(map(msgspec.structs.astuple, objects)))
        columns = []
        for i, (name, one) in enumerate(zip(self._names, traits, strict=True)):
            of_member = values[i :: len(traits)]
            column = _verbatim(name, of_member) if one.other else _text(name, of_member, one)
            if column is None:
                return None
            columns.append(column)
        if sum(column.strings for column in columns) != _count_strings(run.text):
            return None
        if all(column.traits.missing for column in columns) and decoders.empty in objects:
            return None
        if is_new:
            pairs = zip(self._traits, columns, strict=True)
            self._traits = [before | column.traits for before, column in pairs]
            self._decoders = _Decoders(self.labels, self._traits)
        return pl.DataFrame([column.series for column in columns])


@dataclass(frozen=True, slots=True)
class _Column:
    """A member's values.

    Attributes:
        series: They, as text.
        strings: The strings that they are made of, the members' names included.
        traits: What the member has.
    """

    series: pl.Series
    strings: int
    traits: _Traits


def _text(name: str, values: list[Any], traits: _Traits) -> _Column:
    """A column of decoded text, null, and what stands for missing values."""
    missing = 0
    if traits.null and traits.missing:
        missing = sum(value is msgspec.UNSET for value in values)
        values = [None if value is msgspec.UNSET else value for value in values]
    series = pl.Series(name, values, dtype=pl.String)
    empty = series.null_count()
    missing = missing if traits.null else empty
    return _Column(series, 2 * len(values) - empty - missing, _Traits(missing=missing > 0))


def _verbatim(name: str, values: list[msgspec.Raw]) -> _Column | None:
    """A column of values as they are written; None if they are not UTF-8, or nested too oddly."""
    data = _BETWEEN.encode().join(values)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    cells: list[str | None] = [*text.split(_BETWEEN)]
    missing = cells.count("")
    nulls = cells.count("null") if "null" in text else 0
    if missing or nulls:
        cells = [None if cell in ("", "null") else cell for cell in cells]
    if "{" in text or "[" in text:
        nested = {cell for cell in cells if cell and cell[0] in "{["}
        if not _are_regular(nested):
            return None
    quoted = [i for i, cell in enumerate(cells) if cell and cell[0] == '"'] if '"' in text else []
    if quoted:
        encoded = ",".join(cells[i] or "" for i in quoted)
        decoded = msgspec.json.decode(f"[{encoded}]", type=list[str])
        for i, one in zip(quoted, decoded, strict=True):
            cells[i] = one
    other = len(quoted) + missing + nulls < len(cells)
    series = pl.Series(name, cells, dtype=pl.String)
    strings = len(cells) - missing + _count_strings(data)
    return _Column(series, strings, _Traits(other, nulls > 0, missing > 0))


def _are_regular(nested: Collection[str]) -> bool:
    """True if nested values are not too deep, and none of their names appears twice in an object.

    Of two members with one name, msgspec would drop one without a word.
    """
    text = f"[{','.join(nested)}]".encode()
    if any(
        len(value) >= 2 * _DEEP and len(object_ends(value.encode(), _DEEP)[1]) != 1
        for value in nested
    ):
        return False
    try:
        kept = msgspec.json.encode(msgspec.json.decode(text)) if b"{" in text else text
    except (RecursionError, msgspec.MsgspecError):  # such as a number that is too large
        return False
    return _count_strings(text) == _count_strings(kept)


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
        self, text: JSONText, *, array: bool, most: int = sys.maxsize, room: int = sys.maxsize
    ) -> _T | None:
        """Take the next objects of *text*.

        Args:
            text: The text, where an object may begin.
            array: True if that is in an array.
            most: Objects to take.
            room: Bytes of objects to take; the last one may exceed them.

        Returns:
            What is made of them; None if the careful reader has to read the next one.
        """
        if text.position < self._careful or not text.is_clear:
            return None
        size, may_grow = self._size, True
        while True:
            data = text.ahead(size)
            ended = len(data) < size
            blanks = _BLANKS.match(data)
            start = blanks.end() if blanks else 0
            run = None
            for run in _runs(data[start:], array=array, ended=ended, most=most, room=room):
                if (made := self._accept(run)) is not None:
                    text.move(start + len(run.text))
                    self._size = max(min(2 * size, _BLOCK), size)
                    self._stretch = _FEW
                    return made
            if run is None and may_grow and not ended and size < LARGEST:
                size *= 4
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
        guess = len(data) if ended else data.rfind(b"\n") + 1
        data = data[:guess]
    text = data[:guess].rstrip()
    if text and len(text) <= room and (len(text) <= most or _closed(text) <= most):
        yield Run(text, array)
    starts, ends = object_ends(data)
    if not len(ends):
        return
    sizes = np.cumsum(ends - starts)
    count = min(most, len(ends), 1 + int(np.searchsorted(sizes, room, side="right")))
    end = int(ends[count - 1])
    if end != len(text) and (array or _END_OF_OBJECT.match(data, end)):
        yield Run(data[:end], array)


def _guess(data: bytes) -> int:
    """Where the objects of an array before its last one probably end; 0 if that is not clear."""
    first = _FIRST_NAME.match(data)
    last = data.rfind(first[0], 1) if first else 0
    before = data[: max(0, last)].rstrip()
    text = before.removesuffix(b",").rstrip()
    return len(text) if len(text) < len(before) and text.endswith(b"}") else 0
