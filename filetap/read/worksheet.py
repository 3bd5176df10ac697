"""Rows of a workbook: those of its first visible sheet with cells, and of others like it."""

from __future__ import annotations

import json
import logging
import re
from functools import lru_cache
from itertools import islice
from typing import IO, TYPE_CHECKING
from weakref import WeakSet

import polars as pl

from filetap.errors import FormatError
from filetap.read.batch import (
    LONGEST_HEADER,
    MALFORMED_HINT,
    MOST_COLUMNS,
    Batch,
    Malformed,
)
from filetap.read.cells import iso_moment, moment, plain, unescaped
from filetap.read.markup import LONGEST_ITEM, PART, Events, refuse, tags
from filetap.read.names import column_names, shown
from filetap.read.workbook import HINT
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from filetap.read.batch import ReadOptions
    from filetap.read.cells import Kind
    from filetap.read.workbook import Sheet, Workbook

_ROWS = 10_000  # of a batch
_CELLS = 2_000_000  # of a batch
_TEXT = 16 << 20  # characters of a batch
_MOST_ROWS = 1 << 20  # of a sheet
_MOST_CELLS = 1 << 14  # of a row
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789"
_BOOLEANS = {"0": "false", "1": "true"}
_TEXTS = frozenset({"inlineStr", "str"})
_INDEX = re.compile(r"[0-9]{1,9}")
_NO_RESULT = "a formula without a stored result"
# Files whose unread sheets were logged: a file is opened once for a sample and again for its rows.
_WARNED: WeakSet[IO[bytes]] = WeakSet()

logger = logging.getLogger(__name__)

# A cell: its column from 0, type, style, and value; None if it is a formula without a result.
_Stored = tuple[int, str | None, str | None, str | None]
# A row: its cells as text, and what is wrong with it.
_Row = tuple[list[str | None], str]


class WorkbookReader:
    """A workbook's rows, its sheets with the same columns one after the other.

    Attributes:
        labels: The header row's cells.
        columns: The column names made of them.

    Args:
        workbook: The file.
        options: How to read it. The rows that *skip* drops are not converted; of a *cut* one
            only the first batch is read; *block*, *known* and *most* have no effect.
    """

    def __init__(self, workbook: Workbook, options: ReadOptions) -> None:
        """Read the header row of each visible sheet.

        Raises:
            FormatError: The workbook, or a header row, cannot be read.
        """
        self.labels: Sequence[str] = []
        self.columns: list[str] = []
        self._workbook = workbook
        self._options = options
        self._refused = ""
        # Each sheet with the positions of the columns in it.
        self._sheets: list[tuple[Sheet, list[int]]] = []
        self._unread: list[str] = []
        for sheet in workbook.sheets:
            labels = self._labels(sheet)
            names = column_names(labels, options.reserved)
            if not self.columns:
                self.labels, self.columns = labels, names
            if names and set(names) == set(self.columns):
                self._sheets.append((sheet, [names.index(name) for name in self.columns]))
            elif names:
                self._unread.append(sheet.name)

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*."""
        self._refused = reason

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rows in batches.

        Raises:
            FormatError: The workbook cannot be read, or a row cannot and malformed rows are not
                diverted.
        """
        self._warn()
        rows: list[list[str | None]] = []
        numbers: list[int] = []
        malformed: list[Malformed] = []
        size = 0
        most = min(_ROWS, _CELLS // max(1, len(self.columns)))
        number, skip = 0, self._options.skip
        for number, (cells, unreadable) in enumerate(self._rows(), start=1):
            if number < skip:
                continue
            fault = unreadable or self._refused
            if not fault:
                rows.append(cells)
                numbers.append(number)
                size += sum(map(len, filter(None, cells)))
            elif self._options.divert:
                malformed.append(Malformed(number, json.dumps(cells, ensure_ascii=False), fault))
                size += len(malformed[-1].raw)
            else:
                msg = f"{self._workbook.what}: row {number}: {fault}"
                raise FormatError(msg, MALFORMED_HINT)
            if len(rows) + len(malformed) == most or size > _TEXT:
                yield self._batch(rows, numbers, malformed)
                if self._options.cut:
                    return
                rows, numbers, malformed, size = [], [], [], 0
        if number < skip:  # fewer rows than were read before: only the last number is of use
            rows, numbers = [[None] * len(self.columns)], [number]
        if rows or malformed:
            yield self._batch(rows, numbers, malformed)

    def _batch(
        self, rows: Sequence[Sequence[str | None]], numbers: list[int], malformed: list[Malformed]
    ) -> Batch:
        """Rows and malformed rows as a batch."""
        columns = zip(*rows, strict=True) if rows else ((),) * len(self.columns)
        series = map(pl.Series, self.columns, columns, (pl.String,) * len(self.columns))
        return Batch(pl.DataFrame(list(series)), pl.Series(numbers, dtype=pl.Int64), malformed)

    def _rows(self) -> Iterator[_Row]:
        """Yield the rows below the headers: a cell for each column; a faulty one has all others."""
        width, done = len(self.columns), 0
        for sheet, places in self._sheets:
            in_order = places == sorted(places)
            below = islice(_rows(self._workbook, sheet, width, self._options.skip - done), 1, None)
            for cells, fault in below:
                done += 1
                yield cells if in_order or fault else [cells[place] for place in places], fault

    def _labels(self, sheet: Sheet) -> list[str]:
        """A sheet's first row that is not blank; empty if it has none.

        Raises:
            FormatError: The row cannot be read, or is too wide or too long.
        """
        cells, fault = next(_rows(self._workbook, sheet, _MOST_CELLS), ([], ""))
        labels = [cell or "" for cell in cells]
        while labels and not labels[-1]:
            labels.pop()
        what = self._workbook.what
        if fault:
            msg = f"{what}: the header row cannot be read: {fault}"
            raise FormatError(msg, HINT)
        if len(labels) > MOST_COLUMNS:
            msg = f"{what}: it has more than {MOST_COLUMNS} columns"
            raise FormatError(msg, "look at the file: it is not an export")
        if sum(map(len, labels)) > LONGEST_HEADER:
            msg = f"{what}: the header row is longer than {LONGEST_HEADER} bytes"
            raise FormatError(msg, "look at the file: it is not an export")
        return labels

    def _warn(self) -> None:
        """Log the sheets that are not read, once for each file."""
        stored = self._workbook.stored
        if stored is None or stored in _WARNED:
            return
        _WARNED.add(stored)
        if self._unread:
            logger.warning(
                "%s: not reading %s whose columns differ from the first sheet's: %s",
                self._workbook.what,
                counted(len(self._unread), "sheet"),
                ", ".join(map(shown, self._unread[:10])),
            )
        if not self.columns and self._workbook.has_hidden:
            logger.warning(
                "%s: no visible sheet has cells; hidden sheets are not read", self._workbook.what
            )


def _rows(workbook: Workbook, sheet: Sheet, width: int, skip: int = 0) -> Iterator[_Row]:
    """Yield the rows of a sheet that have a value, the header row first, *width* cells each.

    Rows before number *skip*, counted from 0 at the header, are not converted: their cells are
    null.

    Raises:
        FormatError: The sheet or the shared texts cannot be read.
    """
    handler = _Cells()
    number = 0
    skipped: _Row = ([None] * width, "")
    for _ in workbook.events(sheet.part, handler):
        for stored in handler.rows:
            if number < skip:
                if any(_has_value(workbook, cell) for cell in stored):
                    number += 1
                    yield skipped
                continue
            cells, fault = _texts(workbook, sheet, stored, width)
            if fault or any(cells):
                yield cells, fault
        handler.rows.clear()


def _texts(workbook: Workbook, sheet: Sheet, row: Iterable[_Stored], width: int) -> _Row:
    """A row's cells as text, and what is wrong with them.

    A value that cannot be read appears as it is stored; values beyond *width* come last.
    """
    cells: list[str | None] = [None] * width
    beyond: list[str] = []
    fault, size, last = "", 0, 0
    for column, kind, style, stored in row:
        text: str | None = stored
        if stored is None:
            fault = fault or _NO_RESULT
        elif kind == "s":
            text = workbook.texts.get(int(stored)) if _INDEX.fullmatch(stored) else None
            size += len(text or "")
            if size > LONGEST_ITEM:
                raise workbook.error(sheet.part, f"a row is longer than {LONGEST_ITEM} bytes")
        elif kind in _TEXTS:
            text = unescaped(stored)
        else:
            text = _value(stored, kind, workbook.kinds.get(style or "0"), workbook.since_1904)
        if text is None and stored:
            what = "the number of a shared text" if kind == "s" else "a number"
            fault = fault or f"cell {column + 1} does not hold {what}"
            text = stored
        if column < width:
            fault = fault or ("two cells of one column" if cells[column] else "")
            cells[column] = text
        elif text:
            beyond.append(text)
            last = max(last, column + 1)
    if beyond:
        return [*cells, *beyond], fault or f"{last} cells instead of {width}"
    return cells, fault


def _has_value(workbook: Workbook, cell: _Stored) -> bool:
    """True if a cell has text, a number or a formula, so that its row is not blank."""
    _, kind, _, stored = cell
    if kind != "s" or not stored or not _INDEX.fullmatch(stored):
        return stored != ""
    return workbook.texts.get(int(stored)) != ""


def _value(stored: str, kind: str | None, shows: Kind | None, since_1904: bool) -> str | None:  # noqa: FBT001 - called for each cell
    """The text of a number, time, boolean or error; None if a number is not one."""
    if kind is None or kind == "n":
        return moment(stored, shows, since_1904=since_1904) if shows else plain(stored)
    if kind == "b":
        return _BOOLEANS.get(stored, stored)
    return iso_moment(stored, shows) if kind == "d" else stored


class _Cells(Events):
    """Collects a sheet's cells with a value or a formula, row by row.

    Attributes:
        rows: Complete rows that the caller has not taken yet.
    """

    _TAGS = tags("row", "c", "v", "f", "is", "t", "rPh")

    def __init__(self) -> None:
        self.rows: list[list[_Stored]] = []
        self._count = 0
        self._row: list[_Stored] = []
        self._column = -1
        self._cell: dict[str, str] = {}
        self._value: list[str] = []
        self._has_formula = self._has_value = self._is_open = self._is_phonetic = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        tag = self._TAGS.get(name)
        if tag == "c":
            self._cell = attributes
            self._has_formula = self._has_value = False
        elif tag in {"v", "t"}:
            self._is_open = not self._is_phonetic
            self._has_value = True
        elif tag == "row":
            self._row = []
            self._column = -1
            self._count += 1
            if self._count > _MOST_ROWS:
                refuse(f"it has more than {_MOST_ROWS} rows")
        elif tag == "f":
            self._has_formula = True
        elif tag == "is":
            self._value.clear()
        elif tag == "rPh":
            self._is_phonetic = True

    def data(self, text: str) -> None:
        if self._is_open:
            self._value.append(text)

    def end(self, name: str) -> None:
        tag = self._TAGS.get(name)
        if tag in {"v", "t"}:
            self._is_open = False
        elif tag == "c":
            reference = self._cell.get("r")
            letters = reference.rstrip(_DIGITS) if reference else ""
            self._column = _column(letters) if letters else self._column + 1
            if self._column >= _MOST_CELLS:
                refuse(f"a row has more than {_MOST_CELLS} cells")
            if self._has_value or self._has_formula:
                self._add()
        elif tag == "row":
            if self._row:
                self.rows.append(self._row)
                self._row = []
        elif tag == "rPh":
            self._is_phonetic = False

    def _add(self) -> None:
        """Add the current cell, now complete, to its row."""
        kind = self._cell.get("t")
        value = "".join(self._value)
        self._value.clear()
        if kind not in _TEXTS:
            value = value.strip()
        # A formula's result may be the empty text, but not an empty number.
        unknown = self._has_formula and not value and (kind != "str" or not self._has_value)
        self._row.append((self._column, kind, self._cell.get("s"), None if unknown else value))

    def unfinished(self) -> int:
        if len(self._row) > _MOST_CELLS:
            refuse(f"a row has more than {_MOST_CELLS} cells")
        values = (value or "" for *_, value in self._row)
        return sum(len(value) + PART for value in (*values, *self._value))


@lru_cache
def _column(letters: str) -> int:
    """A column's position, from 0, by its letters: A, B, …, Z, AA, …, XFD.

    Raises:
        ValueError: They are not the letters of a column.
    """
    place = 0
    for letter in letters.upper():
        place = 26 * place + _LETTERS.find(letter) + 1
        if letter not in _LETTERS or place > _MOST_CELLS:
            refuse("a cell has an invalid reference")
    return place - 1
