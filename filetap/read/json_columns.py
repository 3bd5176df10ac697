"""Columns from JSON objects that msgspec decodes, and the proof that nothing is lost.

Where the members' names are known ahead, msgspec decodes objects without a dictionary for each,
and makes text or an integer of a value, or leaves it as it is written. It is stricter than Python's
parser, except that it keeps silent about a member that appears twice. So the strings are counted:
the names and texts that come out must be as many as the JSON has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import polars as pl

from filetap.read.integers import as_integers
from filetap.read.json_fast import CLOSED, OPEN, Run, count_strings, object_ends

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_MOST_LABELS = 1_000  # msgspec may compare each name with all of them
_DEEP = 500  # levels of brackets that any parser reads
_LINE_END, _SPACE, _MINUS, _ZERO, _COLON = map(ord, "\n -0:")
_ENDS_VALUE = np.isin(np.arange(256), [ord(end) for end in "\t\n\r ,]}"])
_ODD = re.compile(r'[\x00-\x1f"\\]')  # in a name: msgspec cannot look for it
_OPTIONAL = 3  # parts of a field that an object may lack: its name, its type, and a default
_BETWEEN = "\x1f"  # two values: no JSON has it


@dataclass(frozen=True, slots=True)
class _Traits:
    """What a member has had so far.

    Attributes:
        text: Text.
        integer: Integers of 64 bits as they are usually written.
        other: Other values than these and null.
        null: Nulls.
        missing: Objects without it.
    """

    text: bool = False
    integer: bool = False
    other: bool = False
    null: bool = False
    missing: bool = False

    def __or__(self, more: _Traits) -> _Traits:
        return _Traits(
            self.text or more.text,
            self.integer or more.integer,
            self.other or more.other,
            self.null or more.null,
            self.missing or more.missing,
        )

    @property
    def verbatim(self) -> bool:
        """True if its values are of several kinds, and left as they are written."""
        return self.other or (self.text and self.integer)

    @property
    def field(self) -> tuple[Any, ...]:
        """The type to decode its values as; and the value of a missing one, if it may be."""
        if self.verbatim:
            return msgspec.Raw, msgspec.Raw(b"")
        kind: Any = _INTEGER if self.integer else str
        if self.null:
            return (kind | None, msgspec.UNSET) if self.missing else (kind | None,)
        return kind, None


_VERBATIM = _Traits(other=True)
_INTEGER = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


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
        self.empty = kind() if all(len(field) == _OPTIONAL for field in fields) else None
        self._integers = any(one.integer and not one.verbatim for one in traits)
        self._array = msgspec.json.Decoder(list[kind])
        self._lines = msgspec.json.Decoder(kind)

    def objects(self, run: Run) -> list[Any] | None:
        """The objects of *run*; None unless all are valid, and no integer would lose its sign."""
        if self._integers and _may_have_negative_zero(run.text):
            return None
        try:
            if run.array:
                return self._array.decode(b"[%b]" % run.text)
            return self._lines.decode_lines(run.text)
        except (RecursionError, UnicodeDecodeError, msgspec.MsgspecError):
            return None


def _may_have_negative_zero(text: bytes) -> bool:
    """True if ``-0`` stands where a value may: it would be decoded as 0.

    Of other values that are numbers but not written as integers, such as 1.0, msgspec makes none.
    """
    data = np.frombuffer(text, np.uint8)
    place = np.flatnonzero(data[:-2] == _MINUS)
    place = place[data[place + 1] == _ZERO]
    before, after = data[place - 1], data[place + 2]
    return bool((((before == _COLON) | (before <= _SPACE)) & _ENDS_VALUE[after]).any())


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
    regular = (data[ends - 1] == CLOSED) & (data[ends + 1] == OPEN)
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
        """The objects of *run* as columns of text, or of integers where all values are integers.

        Returns:
            A frame; None unless it is proven that each object is a row.
        """
        if not self._decoders or not self._verbatim:
            return None
        decoders = self._decoders
        if (objects := decoders.objects(run)) is None and decoders is not self._verbatim:
            # Unless it is broken, some members have values that they did not have before.
            decoders = self._verbatim
            objects = decoders.objects(run)
        if not objects or len(objects) > run.most:
            return None
        is_new = decoders is self._verbatim
        traits = [_VERBATIM] * len(self.labels) if is_new else self._traits
        # No tuple outlives its turn: many of them would keep the garbage collector busy.
        values = list(chain.from_iterable(map(msgspec.structs.astuple, objects)))
        columns = []
        for i, (name, one) in enumerate(zip(self._names, traits, strict=True)):
            of_member = values[i :: len(traits)]
            if one.verbatim:
                column = _verbatim(name, of_member, learn=is_new)
            else:
                column = _typed(name, of_member, one)
            if column is None:
                return None
            columns.append(column)
        if sum(column.strings for column in columns) != count_strings(run.text):
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
        series: They, as text or as integers.
        strings: The strings that they are made of, the members' names included.
        traits: What the member has.
    """

    series: pl.Series
    strings: int
    traits: _Traits


def _typed(name: str, values: list[Any], traits: _Traits) -> _Column:
    """A column of decoded texts or integers, null, and what stands for missing values."""
    missing = 0
    if traits.null and traits.missing:
        missing = len(values) - len([value for value in values if value is not msgspec.UNSET])
        values = [None if value is msgspec.UNSET else value for value in values]
    series = pl.Series(name, values, dtype=pl.Int64 if traits.integer else pl.String)
    empty = series.null_count()
    missing = missing if traits.null else empty
    texts = 0 if traits.integer else len(values) - empty
    return _Column(series, len(values) - missing + texts, _Traits(missing=missing > 0))


def _verbatim(name: str, values: list[msgspec.Raw], *, learn: bool) -> _Column | None:
    """A column of values as they are written; None if they are not UTF-8, or nested too oddly.

    Args:
        name: Its name.
        values: The values.
        learn: True to find out what kinds of values they are.
    """
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
    series = pl.Series(name, cells, dtype=pl.String)
    strings = len(cells) - missing + (count_strings(data) if '"' in text else 0)
    traits = _Traits(bool(quoted), null=nulls > 0, missing=missing > 0)
    if learn and len(quoted) + missing + nulls < len(cells):
        integers = None if quoted else as_integers(series)
        traits = replace(traits, integer=integers is not None, other=integers is None)
        series = series if integers is None else integers
    return _Column(series, strings, traits)


def _are_regular(nested: Collection[str]) -> bool:
    """True if nested values are not too deep, and none of their names appears twice in an object.

    Of two members with one name, msgspec would drop one without a word.
    """
    text = f"[{','.join(nested)}]".encode()
    if max(map(len, nested), default=0) >= 2 * _DEEP and any(
        len(value) >= 2 * _DEEP and len(object_ends(value.encode(), _DEEP)[1]) != 1
        for value in nested
    ):
        return False
    try:
        kept = msgspec.json.encode(msgspec.json.decode(text)) if b"{" in text else text
    except (RecursionError, msgspec.MsgspecError):  # such as a number that is too large
        return False
    return count_strings(text) == count_strings(kept)
