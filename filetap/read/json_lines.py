"""Rows from JSON: objects one after the other, in an array, or in an array within one object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec
import numpy as np
import polars as pl

from filetap.errors import FormatError
from filetap.read.batch import DEFAULTS, MALFORMED_HINT, MOST_COLUMNS, Batch, Malformed
from filetap.read.json_columns import Columns, are_objects
from filetap.read.json_fast import LARGEST, Run, Runs, object_ends
from filetap.read.json_held import HeldRows
from filetap.read.json_text import JSONText
from filetap.read.names import column_names, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from filetap.read.batch import ReadOptions
    from filetap.read.json_text import Element


ROWS = 10_000  # of a batch
_SIZE = 16 << 20  # bytes of a batch's objects
_NOT_JSON = "it is not valid JSON"

_SKIMMED = 1 << 18  # bytes decoded at a time for their names only

Cell = str | None
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
        self._whole = self._held.frame(self.columns)

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*."""
        self._refused = reason

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rows in batches of at most `ROWS`, cut where objects exceed `_SIZE` bytes.

        Raises:
            FormatError: An object cannot be read, and malformed rows are not diverted.
        """
        if self._whole is not None and not self._refused:
            yield from self._slices(self._whole)
            return
        columns = Columns(self.labels, self.columns)
        waiting = _Waiting(self.columns)

        def rows(run: Run) -> _Rows | None:
            frame = None if self._refused else columns.frame(run)
            return None if frame is None else _Rows(frame, run.text)

        runs = Runs(rows)

        def take(text: JSONText, *, array: bool) -> _Rows | None:
            most, room = waiting.room()
            limit = int(most * waiting.average)
            return runs.take(text, array=array, most=most, room=room, limit=limit)

        number = 0
        for part in self._parts(take):
            if isinstance(part, _Rows):
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

    def _slices(self, frame: pl.DataFrame) -> Iterator[Batch]:
        """The rows that were kept, in batches."""
        most = min(ROWS, max(1, _SIZE * frame.height // max(1, self._held.size)))
        for start in range(0, frame.height, most):
            part = frame[start : start + most].rechunk()
            numbers = range(start + 1, start + 1 + part.height)
            yield Batch(part, pl.Series(numbers, dtype=pl.Int64))

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
        """The names of all rows' members, in order of first appearance; few rows are held.

        Raises:
            FormatError: They are too many.
        """
        labels: dict[str, None] = {}
        columns, held = Columns(()), self._held

        def known(run: Run) -> Run | None:
            nonlocal columns
            if len(labels) > len(columns.labels):
                columns = Columns(list(labels), [str(n) for n in range(len(labels))])
            if held.is_open and (frame := columns.frame(run)) is not None:
                held.add(frame, len(run.text))
                return run
            if columns.know(run) is None:
                return None
            held.close()
            return run

        runs = Runs(known)
        for part in self._parts(partial(runs.take, limit=_SKIMMED)):
            if isinstance(part, Run):
                continue
            if part[2]:
                held.close()
                continue
            labels.update(dict.fromkeys(part[1]))
            if held.is_open:
                self._hold(part[0].encode(errors="surrogateescape"), labels)
            if len(labels) > MOST_COLUMNS:
                msg = f"{self._what}: it has more than {MOST_COLUMNS} columns"
                raise FormatError(msg, "look at the file: it is not an export")
        return list(labels)

    def _hold(self, stored: bytes, labels: Collection[str]) -> None:
        """Keep an object that was read carefully, unless it is odd."""
        members = _members(stored)
        if members is None:
            self._held.close()
        else:
            self._held.add_single((_cell(members.get(label)) for label in labels), len(stored))

    def _text(self) -> JSONText:
        """The file's text, from the beginning."""
        options = self._options
        return JSONText(self._pieces(), self._what, cut=options.cut, nested=options.nested)

    def _parts(self, take: _Take[_T]) -> Iterator[_T | Element]:
        """Yield what *take* makes of regular objects, and each other value that should be a row."""
        text = self._text()
        if self._envelope is not None:
            text.by_line = False
            for name in _member_names(text):
                if name in self._envelope and text.skip("["):
                    yield from _parts(text, take, array=True)
                    return
                text.value()
        elif text.skip("["):
            yield from _parts(text, take, array=True)
            while text.skip("["):  # arrays one after the other
                yield from _parts(text, take, array=True)
            for raw, _, _ in text.elements(array=False):
                yield raw, None, "it follows the end of the array"
        else:
            yield from _parts(text, take, array=False)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Some rows, and the text of their objects."""

    frame: pl.DataFrame
    text: bytes


class _Waiting:
    """Rows of the next batch.

    Attributes:
        average: Bytes of one of the objects that were added last.

    Args:
        columns: The column names.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        """Begin a batch."""
        self._schema = dict.fromkeys(columns, pl.String)
        self.average = float(LARGEST)
        self._clear()

    def _clear(self) -> None:
        """Begin a batch."""
        self._frames: list[pl.DataFrame] = []
        self._cells: list[Sequence[Cell]] = []  # of rows after those of the frames
        self._numbers: list[int] = []
        self._malformed: list[Malformed] = []
        self._size = 0  # bytes of the objects, except those in the texts
        self._texts: list[bytes] = []  # of objects, with what is between them
        self._texts_size = 0

    def add_rows(self, rows: _Rows, before: int) -> None:
        """Add rows that follow row number *before*."""
        self._end_cells()
        self._frames.append(rows.frame)
        self._numbers += range(before + 1, before + 1 + rows.frame.height)
        self._texts.append(rows.text)
        self._texts_size += len(rows.text)
        self.average = len(rows.text) / rows.frame.height

    def add_row(self, row: Sequence[Cell] | Malformed, number: int, size: int) -> None:
        """Add one row: its cells, its number, and its object's bytes."""
        self._size += size
        if isinstance(row, Malformed):
            self._malformed.append(row)
        else:
            self._cells.append(row)
            self._numbers.append(number)

    def room(self) -> tuple[int, int]:
        """How many objects, and bytes of them, are too few to fill the batch, or just enough."""
        # What is between the objects does not count, but takes time to find: so only if it matters.
        if self._size + self._texts_size > _SIZE - LARGEST:
            self._size += sum(int(np.diff(object_ends(t), axis=0).sum()) for t in self._texts)
            self._texts, self._texts_size = [], 0
        count = len(self._numbers) + len(self._malformed)
        return ROWS - count, _SIZE - self._size - self._texts_size

    @property
    def is_full(self) -> bool:
        """True if the rows are enough for a batch."""
        rows, size = self.room()
        return not rows or size < 0

    @property
    def is_empty(self) -> bool:
        """True if there are no rows."""
        return not self._numbers and not self._malformed

    def batch(self) -> Batch:
        """The rows as a batch; begins the next one."""
        self._end_cells()
        frame = pl.concat(self._frames) if self._frames else pl.DataFrame(schema=self._schema)
        batch = Batch(frame.rechunk(), pl.Series(self._numbers, dtype=pl.Int64), self._malformed)
        self._clear()
        return batch

    def _end_cells(self) -> None:
        """Make a frame of the cells."""
        if self._cells:
            self._frames.append(pl.DataFrame(self._cells, self._schema, orient="row"))
            self._cells = []


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
