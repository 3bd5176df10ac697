"""Rows from JSON: objects one after the other, in an array, or in an array within one object."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from filetap.errors import FormatError
from filetap.read.batch import DEFAULTS, MALFORMED_HINT, MOST_COLUMNS, Batch, Malformed
from filetap.read.integers import others_as_text
from filetap.read.json_columns import Columns, are_objects
from filetap.read.json_fast import Runs
from filetap.read.json_held import HeldRows
from filetap.read.json_text import JSONText
from filetap.read.json_waiting import Rows, WaitingRows
from filetap.read.names import column_names, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    import polars as pl

    from filetap.read.batch import ReadOptions
    from filetap.read.json_fast import Run
    from filetap.read.json_text import Element
    from filetap.read.json_waiting import Cell


_NOT_JSON = "it is not valid JSON"
_SKIMMED = 1 << 18  # bytes decoded at a time for their names only

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class _Take(Protocol[_T_co]):
    """Makes something of the objects at the position of some text; None if they are irregular."""

    def __call__(self, text: JSONText, *, array: bool) -> _T_co | None: ...


class JSONReader:
    """Reads JSON objects in batches; each member name is a column.

    A number becomes the text it is written as, a nested value its JSON, true and false the words.

    Attributes:
        labels: The members' names, in order of first appearance.
        columns: The column names made of them.

    Args:
        pieces: Returns the file's bytes, decompressed and in UTF-8, from the beginning at each
            call.
        what: The file, as messages name it.
        options: How to read it; *block*, *most* and *skip* have no effect.
    """

    def __init__(
        self, pieces: Callable[[], Iterator[bytes]], what: str, options: ReadOptions = DEFAULTS
    ) -> None:
        """Read all objects once to collect their names.

        Raises:
            FormatError: They have too many names, or it is not clear which array holds the rows.
        """
        self._pieces = pieces
        self._what = what
        self._options = options
        self._refused = ""
        self._held = HeldRows()
        self._envelope = _envelope(self._text(), what, options.known, cut=options.cut)
        self.labels: Sequence[str] = self._all_labels()
        self.columns = column_names(self.labels, options.reserved)

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*."""
        self._refused = reason

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rows in batches of at most `ROWS`, cut where objects exceed `SIZE` bytes.

        Raises:
            FormatError: An object cannot be read, and malformed rows are not diverted.
        """
        number = begin = 0
        if not self._refused:
            for batch in self._held.batches(self.columns, self._options.integers):
                yield batch
                number += batch.frame.height
            if self._held.is_open:
                return
            begin = self._held.end
        columns, integers = Columns(self.labels, self.columns), self._options.integers
        waiting = WaitingRows(self.columns)

        def rows(run: Run) -> Rows | None:
            frame = None if self._refused else columns.frame(run)
            return None if frame is None else Rows(others_as_text(frame, integers), run.text)

        runs = Runs(rows)

        def take(text: JSONText, *, array: bool) -> Rows | None:
            most, room = waiting.room()
            limit = int(most * waiting.average)
            return runs.take(text, array=array, most=most, room=room, limit=limit)

        for part in self._parts(take, begin):
            if isinstance(part, Rows):
                waiting.add_rows(part, number)
                number += part.frame.height
            else:
                number += 1
                size = len(part[0].encode(errors="surrogateescape"))
                waiting.add_row(self._row(part, number), number, size)
            if waiting.is_full:
                yield waiting.batch()
        if not waiting.is_empty:
            yield waiting.batch()

    def _row(self, element: Element, number: int) -> Sequence[Cell] | Malformed:
        """The cells of an element that was read carefully, in the order of the labels.

        Raises:
            FormatError: It cannot be read, and malformed rows are not diverted.
        """
        text, _, unreadable = element
        fault = unreadable or self._refused
        stored = text.encode(errors="surrogateescape")
        if not fault and (members := _members(stored)) is not None:
            return [_cell(members.get(label)) for label in self.labels]
        if self._options.divert:
            raw = stored.rstrip(b" \t\r\n,").decode(errors="backslashreplace")
            return Malformed(number, raw, fault or _NOT_JSON)
        msg = f"{self._what}: row {number}: {fault or _NOT_JSON}"
        raise FormatError(msg, MALFORMED_HINT)

    def _all_labels(self) -> list[str]:
        """The names of all rows' members, in order of first appearance; the first rows are kept.

        Raises:
            FormatError: They are too many.
        """
        names = _Names(self._held)
        for part in self._parts(names.take):
            if isinstance(part, _Known):
                continue
            names.add(part)
            if len(names.labels) > MOST_COLUMNS:
                msg = f"{self._what}: it has more than {MOST_COLUMNS} columns"
                raise FormatError(msg, "look at the file: it is not an export")
        return list(names.labels)

    def _text(self) -> JSONText:
        """The file's text, from the beginning."""
        options = self._options
        return JSONText(self._pieces(), self._what, cut=options.cut, nested=options.nested)

    def _parts(self, take: _Take[_T], begin: int = 0) -> Iterator[_T | Element]:
        """Yield what *take* makes of regular objects, and each other value that should be a row.

        Args:
            take: It.
            begin: Bytes of the file with rows that are left out.
        """
        text = self._text()
        if self._envelope is not None:
            text.by_line = False
            for name in _member_names(text):
                if name in self._envelope and text.skip("["):
                    text.move_to(begin)
                    yield from _parts(text, take, array=True)
                    return
                text.value()
        elif text.skip("["):
            text.move_to(begin)
            yield from _parts(text, take, array=True)
            while text.skip("["):  # arrays one after the other
                yield from _parts(text, take, array=True)
            for raw, _, _ in text.elements(array=False):
                yield raw, None, "it follows the end of the array"
        else:
            text.move_to(begin)
            yield from _parts(text, take, array=False)


@dataclass(frozen=True, slots=True)
class _Known:
    """Objects whose names are known: their bytes, and their rows, if they are kept."""

    size: int
    frame: pl.DataFrame | None


class _Names:
    """Collects the names of all rows' members, and keeps the first rows.

    Attributes:
        labels: The names, in order of first appearance.

    Args:
        held: Where rows are kept.
    """

    def __init__(self, held: HeldRows) -> None:
        self.labels: dict[str, None] = {}
        self._held = held
        self._columns = Columns(())
        self._runs = Runs(self._known)

    def take(self, text: JSONText, *, array: bool) -> _Known | None:
        """Take objects that have no other names."""
        part = self._runs.take(text, array=array, limit=_SKIMMED)
        if part and part.frame is not None:
            self._held.add(part.frame, part.size, text.offset())
        elif part:
            self._held.close()
        return part

    def _known(self, run: Run) -> _Known | None:
        """*run*, if its text is objects that have no other names."""
        if len(self.labels) > len(self._columns.labels):
            self._columns = Columns(list(self.labels), [str(n) for n in range(len(self.labels))])
        frame = self._columns.frame(run) if self._held.is_open else None
        is_known = frame is not None or self._columns.know(run)
        return _Known(len(run.text), frame) if is_known else None

    def add(self, element: Element) -> None:
        """Add the names of an element that was read carefully; it is kept unless it is odd."""
        text, value, fault = element
        if not fault:
            self.labels.update(dict.fromkeys(value))
        if self._held.is_open:
            stored = text.encode(errors="surrogateescape")
            members = None if fault else _members(stored)
            if members is None:
                self._held.close()
            else:
                cells = (_cell(members.get(label)) for label in self.labels)
                self._held.add_single(cells, len(stored))


def _parts(text: JSONText, take: _Take[_T], *, array: bool) -> Iterator[_T | Element]:
    """Yield what *take* makes of regular objects, and each other value.

    Args:
        text: Text, at the beginning of a value.
        take: Returns what it makes of the next objects; None if they are not regular.
        array: True if the position is in an array, up to whose end the values are read.
    """
    for element in chain((None,), text.elements(array=array)):
        if element:
            yield element
        while (part := take(text, array=array)) is not None:
            yield part


def _members(element: bytes) -> dict[str, msgspec.Raw] | None:
    """An object's members, not decoded; None if msgspec, stricter than Python, refuses it."""
    try:
        return msgspec.json.decode(element, type=dict[str, msgspec.Raw])
    except (RecursionError, msgspec.MsgspecError):
        return None


def _cell(value: msgspec.Raw | None) -> Cell:
    """A member's value as text."""
    text = b"null" if value is None else bytes(value)
    if text == b"null":
        return None
    return msgspec.json.decode(text, type=str) if text.startswith(b'"') else text.decode()


def _member_names(text: JSONText) -> Iterator[str]:
    """Yield the member names of the object that *text* begins with; the caller reads each value.

    In a broken object it stops early.
    """
    text.skip("{")
    while text.peek() == '"':
        name, is_valid = text.value()
        if not is_valid or not text.skip(":"):
            return
        yield name


def _envelope(
    text: JSONText, what: str, known: Collection[str], *, cut: bool
) -> Sequence[str] | None:
    """The member that holds the rows, if the file is one object that is not itself a row.

    It is such an envelope if no member is a known column, one member is an array of objects,
    and no other one is an array, unless an empty one.

    Returns:
        The member's name; nothing if all arrays are empty; None if the object is a row like
        any other, or not the only value.

    Raises:
        FormatError: Several members are arrays of objects.
    """
    if text.peek() != "{":
        return None
    text.by_line = False
    try:
        names, arrays, is_alone = _walk(text, cut=cut)
    except FormatError:  # one value is longer than the limit
        return None
    if not is_alone or not arrays or not set(known).isdisjoint(column_names(names)):
        return None
    with_rows = [name for name, is_empty in arrays if not is_empty]
    if len(with_rows) > 1:
        msg = f"{what}: several members hold rows: {', '.join(map(shown, with_rows))}"
        raise FormatError(msg, "ask for exports that are one array of objects")
    return with_rows


def _walk(text: JSONText, *, cut: bool) -> tuple[list[str], list[tuple[str, bool]], bool]:
    """Read the object that *text* begins with, its arrays of objects element by element.

    Returns:
        The members' names; the names of its arrays of objects and empty arrays, each with True
        if it is empty; and True if it has no other array and nothing follows it in the file.
    """
    names: list[str] = []
    arrays: list[tuple[str, bool]] = []
    for name in _member_names(text):
        names.append(name)
        first = text.peek(after=1) if text.peek() == "[" else ""
        if first == "{":
            arrays.append((name, False))
            text.skip("[")
            for _ in _parts(text, Runs(are_objects).take, array=True):
                pass
            if not text.closed:
                return names, arrays, cut
        elif first not in ("", "]") or not text.value()[1]:
            return names, arrays, False
        elif first:
            arrays.append((name, True))
    return names, arrays, text.skip("}") and not text.peek()
