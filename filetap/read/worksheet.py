"""Rows of a workbook: those of its first visible sheet with cells, and of others like it."""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import IO, TYPE_CHECKING
from weakref import WeakSet

import polars as pl

from filetap.errors import FormatError
from filetap.read.batch import LONGEST_HEADER, MALFORMED_HINT, MOST_COLUMNS
from filetap.read.cells import stored_value, unescaped
from filetap.read.markup import LONGEST_ITEM, PART, Events, refuse, tags
from filetap.read.names import column_names, shown
from filetap.read.sheet_fast import FastRows
from filetap.read.waiting import Waiting
from filetap.read.workbook import HINT
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from filetap.read.batch import Batch, ReadOptions
    from filetap.read.items import Block
    from filetap.read.workbook import Sheet, Workbook

_ROWS = 10_000  # of a batch
_CELLS = 2_000_000  # of a batch
_TEXT = 16 << 20  # characters of a batch
_MOST_ROWS = 1 << 20  # of a sheet
_MOST_CELLS = 1 << 14  # of a row
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "0123456789"
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
        most = min(_ROWS, _CELLS // max(1, len(self.columns)))
        waiting = Waiting(self.columns, most, _TEXT, self._options.skip)
        for found in self._rows():
            if isinstance(found, pl.DataFrame):
                batches = waiting.add_all(found)
            else:
                self._check(waiting.number + 1, found[1])
                batches = waiting.add(*found)
            for batch in batches:
                yield batch
                if self._options.cut:
                    return
        yield from waiting.rest()

    def _check(self, number: int, fault: str) -> None:
        """Raise a FormatError for a *fault* of a row that is neither skipped nor diverted."""
        if fault and number >= self._options.skip and not self._options.divert:
            msg = f"{self._workbook.what}: row {number}: {fault}"
            raise FormatError(msg, MALFORMED_HINT)

    def _rows(self) -> Iterator[_Row | pl.DataFrame]:
        """Yield the rows below the headers: a cell for each column; a faulty one has all others."""
        done = 0
        for sheet, places in self._sheets:
            fast = FastRows(self._workbook, len(places), _CELLS, min(_TEXT, LONGEST_ITEM))
            skip = self._options.skip - done
            headers = 1  # still to come
            for found in _rows(self._workbook, sheet, skip, fast, careful=bool(self._refused)):
                if isinstance(found, pl.DataFrame):
                    columns = found[headers:].get_columns()
                    headers -= min(headers, found.height)
                    named = zip(self.columns, places, strict=True)
                    frame = pl.DataFrame([columns[place].alias(name) for name, place in named])
                    done += frame.height
                    yield frame
                elif headers:
                    headers = 0
                else:
                    cells, fault = found
                    done += 1
                    cells = cells if fault else [cells[place] for place in places]
                    yield cells, fault or self._refused

    def _labels(self, sheet: Sheet) -> list[str]:
        """A sheet's first row that is not blank; empty if it has none.

        Raises:
            FormatError: The row cannot be read, or is too wide or too long.
        """
        handler = _Cells()
        rows = (
            row
            for _ in self._workbook.events(sheet.part, handler)
            for row in _converted(self._workbook, sheet, handler, _MOST_CELLS)
        )
        cells, fault = next(rows, ([], ""))
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


def _rows(
    workbook: Workbook, sheet: Sheet, skip: int, fast: FastRows, *, careful: bool
) -> Iterator[_Row | pl.DataFrame]:
    """Yield the rows of a sheet that have a value, the header row first.

    Rows before number *skip*, counted from 0 at the header, may come without values. Rows that
    *fast* reads come as a frame; if *careful*, none do.

    Raises:
        FormatError: The sheet or the shared texts cannot be read.
    """
    handler = _Cells()
    number = 0

    def read(block: Block) -> pl.DataFrame | None:
        found = None if careful else fast.read(block)
        if found is None:
            return None
        handler.count(found.elements)
        return found.frame

    for frame in workbook.items(sheet.part, handler, ("sheetData", "row"), read):
        if frame is not None:
            number += frame.height
            yield frame
        for row in _converted(workbook, sheet, handler, fast.width, skip - number):
            number += 1
            yield row


def _converted(
    workbook: Workbook, sheet: Sheet, handler: _Cells, width: int, skip: int = 0
) -> Iterator[_Row]:
    """Yield the rows that *handler* has collected and that have a value, *width* cells each.

    Of the first *skip* ones all cells are null.

    Raises:
        FormatError: The shared texts cannot be read, or a row is too long.
    """
    number = 0
    for stored in handler.rows:
        if number < skip:
            if any(_has_value(workbook, cell) for cell in stored):
                number += 1
                yield [None] * width, ""
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
            shows = workbook.kinds.get(style or "0")
            text = stored_value(stored, kind, shows, since_1904=workbook.since_1904)
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


class _Cells(Events):
    """Collects a sheet's cells with a value or a formula, row by row.

    Attributes:
        rows: Complete rows that the caller has not taken yet.
    """

    _TAGS = tags("sheetData", "row", "c", "v", "f", "is", "t", "rPh")

    def __init__(self) -> None:
        self.rows: list[list[_Stored]] = []
        self._count = 0
        self._row: list[_Stored] = []
        self._column = -1
        self._cell: dict[str, str] = {}
        self._value: list[str] = []
        self._has_formula = self._has_value = self._is_open = self._is_phonetic = False
        self._is_within = False
        self._depth = 0  # of rows

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
            self._depth += 1
            self.count(1)
        elif tag == "f":
            self._has_formula = True
        elif tag == "is":
            self._value.clear()
        elif tag == "rPh":
            self._is_phonetic = True
        elif tag == "sheetData":
            self._is_within = True

    def count(self, rows: int) -> None:
        """Count rows.

        Raises:
            ValueError: The sheet has too many.
        """
        self._count += rows
        if self._count > _MOST_ROWS:
            refuse(f"it has more than {_MOST_ROWS} rows")

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
            self._depth -= 1
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

    @property
    def is_between(self) -> bool:
        is_inside = self._depth or self._value or self._is_open or self._is_phonetic
        return self._is_within and not is_inside

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
