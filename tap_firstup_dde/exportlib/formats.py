"""From decompressed bytes to batches of text columns, proven as they are read.

Polars parses CSV at the speed of the machine, but it is lenient where a row is short or a
quote stands in the wrong place. So the bytes are cut into blocks of whole rows here, each
block is parsed by polars, and cheap counts prove that the result is what the bytes say. A
block that polars refuses, or whose counts differ, is read again by a careful reader, which
is slow and names the row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tap_firstup_dde.exportlib.exceptions import FormatError, StateError
from tap_firstup_dde.exportlib.models import STATE_HINT
from tap_firstup_dde.exportlib.rows import CR, LF, QUOTE, SEPARATORS, Row, careful_rows
from tap_firstup_dde.exportlib.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    _Spans = tuple[NDArray[np.intp], NDArray[np.intp]]

BLOCK = 2 << 20  # bytes of CSV parsed at a time
LONGEST_ROW = 256 << 20  # bytes
LONGEST_HEADER = 16 << 20  # bytes
MOST_COLUMNS = 10_000  # of a file; no database takes as many
HELD = 48 << 20  # bytes of a batch in memory, from which on it waits for no more rows
_BOM = b"\xef\xbb\xbf"
_NOT_CSV = {  # how other files begin
    "a zip archive or a workbook": re.compile(rb"PK\x03\x04"),
    "JSON": re.compile(rb'\s*+(?:\[\s*+)?\{\s*+"'),
    "HTML or XML": re.compile(rb"\s*+<(?:[!?]|html)", re.IGNORECASE),
    "headed by a sep= line": re.compile(rb"sep=.\r?\n"),
}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")  # in no label, but in files of other kinds
# What every block that polars parses begins with, a line to skip: of bytes that begin like
# compressed ones, as the text "x^" does, polars would make other bytes.
_FIRST_LINE = b"-\n"


@dataclass(frozen=True, slots=True)
class Malformed:
    r"""A row that cannot be read.

    Attributes:
        number: Its number in the file, counted with the others.
        raw: Its text without the line end; a byte that is not UTF-8 as ``\xe9``.
        reason: What is wrong with it.
    """

    number: int
    raw: str
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a CSV file, as text.

    Attributes:
        frame: Text columns in the file's order; an unquoted empty cell is null, a quoted
            one is ``""``.
        numbers: Each row's number in the file, from 1; blank lines are not counted.
        malformed: Rows among them that cannot be read.
    """

    frame: pl.DataFrame
    numbers: pl.Series
    malformed: Sequence[Malformed] = ()

    @property
    def last(self) -> int:
        """The highest row number; 0 when there is no row."""
        numbers = (*self.numbers.tail(1), *(row.number for row in self.malformed[-1:]))
        return max(numbers, default=0)

    def between(self, after: int, upto: int) -> Batch:
        """The rows with a number above *after*, up to and including *upto*."""
        start, stop = (int(self.numbers.search_sorted(n, side="right")) for n in (after, upto))
        malformed = tuple(row for row in self.malformed if after < row.number <= upto)
        return Batch(self.frame[start:stop], self.numbers[start:stop], malformed)


def _joined(batches: Sequence[Batch]) -> Batch:
    """Batches that follow each other as one."""
    if len(batches) == 1:
        return batches[0]
    frame = pl.concat((batch.frame for batch in batches), rechunk=True)
    numbers = pl.concat((batch.numbers for batch in batches), rechunk=True)
    return Batch(frame, numbers, tuple(row for batch in batches for row in batch.malformed))


def _bytes(frame: pl.DataFrame) -> int:
    """Bytes that text columns take in memory, about: a cell has a view of 16 beside its text."""
    return 16 * frame.height * frame.width + int(frame.estimated_size())


def parts(
    batches: Iterable[Batch], what: str, *, skip: int, most: int, full: bool = False
) -> Iterator[Batch]:
    """The rows after the first *skip* ones, in batches of at most *most* rows.

    Args:
        batches: All rows of a file.
        what: The file, for messages.
        skip: Rows to leave out.
        most: Rows of one batch.
        full: Whether each has that many, but the last one and those that would take more than
            `HELD` bytes; otherwise none waits for more.

    Raises:
        StateError: The file has fewer rows than *skip*.
    """
    done, size, there = skip, 0, 0
    held: list[Batch] = []
    for batch in batches:
        there = batch.last
        if batch.last <= done:
            continue
        held.append(batch)
        size += _bytes(batch.frame) + sum(len(row.raw) for row in batch.malformed)
        waits = full and size < HELD
        if waits and batch.last - done < most:
            continue
        joined = _joined(held)
        held.clear()  # not twice in memory
        while joined.last - done >= (most if waits else 1):
            upto = min(done + most, joined.last)
            yield joined.between(done, upto)
            done = upto
        rest = joined.between(done, joined.last)
        held += [rest] if joined.last > done else []
        size = size * rest.frame.height // max(1, joined.frame.height)
    if held:
        joined = _joined(held)
        yield joined.between(done, joined.last)
    if skip > there:
        read = counted(skip, "row")
        msg = f"{what}: the state counts {read} of it as read, and it has {there}"
        raise StateError(msg, STATE_HINT)


def column_names(header: Sequence[str], reserved: Iterable[str] = ()) -> list[str]:
    """Snake case names of CSV columns, each different from the others and from *reserved*.

    Vendors' documents and header rows spell names differently (``User ID``, ``user_id``); so
    every spelling becomes the same name.

    Returns:
        A name for each column: lower-cased, runs of other characters than letters and
        digits as one ``_``; ``column_<position>`` (from 1) for an empty one; ``_`` before a
        leading digit; ``_2``, ``_3``, … after a name that is taken.
    """
    taken = set(reserved)
    names = []
    for position, label in enumerate(header, start=1):
        text = "".join(c if c.isalnum() else "_" for c in label.lower())
        name = re.sub("__+", "_", text).strip("_") or f"column_{position}"
        if name[0].isdigit():
            name = f"_{name}"
        stem, number = name, 2
        while name in taken:
            name, number = f"{stem}_{number}", number + 1
        taken.add(name)
        names.append(name)
    return names


class CSVReader:
    """Reads one CSV file's decompressed bytes in batches of whole rows.

    Args:
        pieces: The file's bytes, decompressed.
        what: The file, as messages name it.
        reserved: Column names that the file's own columns may not take.
        block: Bytes parsed at a time.
        divert: Whether a row that cannot be read comes as a `Malformed` one; otherwise it
            is an error.
        cut: Whether *pieces* may end within a row, which is left out.
    """

    def __init__(  # noqa: PLR0913 - ways of one reading
        self,
        pieces: Iterable[bytes],
        what: str,
        reserved: Iterable[str] = (),
        *,
        block: int = BLOCK,
        divert: bool = False,
        cut: bool = False,
    ) -> None:
        """Read the header row.

        Raises:
            FormatError: The header row cannot be read.
        """
        self._pieces = iter(pieces)
        self._what = what
        self._block = block
        self._divert = divert
        self._cut = cut
        self._buffer = b""
        self._ended = False
        self._rows = 0
        self._separator = SEPARATORS[0]
        self._refused = ""
        self.columns = column_names(self._header(), reserved)
        # Each column of a block has its own cost: the more columns, the larger the blocks.
        self._block *= min(2, 1 + len(self.columns) // 100)

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*."""
        self._refused = reason

    def __iter__(self) -> Iterator[Batch]:
        """Each batch, in order; a file without rows has none.

        Raises:
            FormatError: A row cannot be read; the message names it.
        """
        wanted = self._block
        while self._fill(wanted):
            have = len(self._buffer)
            rest = self._ended and not self._cut and have <= wanted
            used = have if rest else _last_row_end(self._buffer, wanted)
            more = have > wanted or not self._ended
            if not used and more and wanted < 4 * self._block:
                wanted *= 2
                continue
            frame = self._parse(used) if used and not self._refused else None
            if frame is None:
                batch, used = self._read_carefully()
            else:
                start = self._rows + 1
                batch = Batch(frame, pl.int_range(start, start + frame.height, eager=True))
            if not used and self._ended:
                return
            # Nothing used: the row is longer than what is at hand.
            wanted = self._block if used else 2 * have
            self._buffer = self._buffer[used:]
            if batch.last:
                yield batch
                self._rows = batch.last

    def _fill(self, size: int) -> bool:
        """Have *size* bytes at hand, or all that are left; whether there are any.

        Raises:
            FormatError: The row at hand is longer than any may be.
        """
        if size > len(self._buffer) >= LONGEST_ROW:
            msg = f"{self._what}: row {self._rows + 1} is longer than {LONGEST_ROW} bytes"
            hint = "look for a quote that is never closed, or set malformed_rows to divert"
            raise FormatError(msg, hint)
        parts, have = [self._buffer], len(self._buffer)
        while have < min(size, LONGEST_ROW) and not self._ended:
            piece = next(self._pieces, None)
            if piece is None:
                self._ended = True
            else:
                parts.append(piece)
                have += len(piece)
        self._buffer = b"".join(parts)
        return bool(self._buffer)

    def _header(self) -> list[str]:
        """The cells of the first row that is not blank, and by the way what separates cells.

        Returns:
            No cell when there is no row.
        """
        wanted = 1 << 16
        while self._fill(wanted):
            self._buffer = self._buffer.removeprefix(_BOM)
            for kind, beginning in _NOT_CSV.items():
                if beginning.match(self._buffer):
                    msg = f"{self._what}: the file is {kind}, not CSV"
                    raise FormatError(msg, "ask for exports as CSV")
            whole = self._ended and not self._cut
            # The first one that parts the header row; a comma if none does.
            for separator in SEPARATORS:
                row = next(careful_rows(self._buffer, ended=whole, separator=separator), None)
                if row and len(row.cells) > 1:
                    self._separator = separator
                    break
            else:
                row = next(careful_rows(self._buffer, ended=whole), None)
            if row:
                names = self._labels(row)
                self._buffer = self._buffer[row.end :]
                return names
            if self._ended:
                self._buffer = b""
            if len(self._buffer) > LONGEST_HEADER:
                msg = f"{self._what}: the header row is longer than {LONGEST_HEADER} bytes"
                raise FormatError(msg, "look at the file: it is not an export")
            wanted = 2 * len(self._buffer)
        return []

    def _labels(self, row: Row) -> list[str]:
        """The header row's cells.

        Raises:
            FormatError: They are no labels.
        """
        if len(row.cells) > MOST_COLUMNS:
            msg = f"{self._what}: it has more than {MOST_COLUMNS} columns"
            raise FormatError(msg, "look at the file: it is not an export")
        names = [cell or "" for cell in row.cells]
        odd = "control characters" if _CONTROL.search("".join(names)) else ""
        if fault := row.fault or odd:
            msg = f"{self._what}: the header row cannot be read: {fault}"
            raise FormatError(msg, "look at the file: it should be CSV in UTF-8")
        return names

    def _parse(self, size: int) -> pl.DataFrame | None:
        """The first *size* bytes' rows by polars; None when they need the careful reader."""
        # Polars takes a last row with an empty cell too many when no line end follows.
        end = b"" if self._buffer.endswith(b"\n", 0, size) else b"\n"
        block = b"".join((_FIRST_LINE, memoryview(self._buffer)[:size], end))
        lone_cr = b"\r" in block and block.count(b"\r") != block.count(b"\r\n")
        if lone_cr or self._buffer.startswith(_BOM):
            return None
        spans = _quoted_spans(block, self._separator)
        if spans is None:
            return None
        try:
            frame = pl.read_csv(
                block,
                has_header=False,
                skip_lines=1,
                schema=dict.fromkeys(self.columns, pl.String),
                quote_char='"',
                separator=chr(self._separator),
            )
        except pl.exceptions.PolarsError:
            return None
        return frame if _is_faithful(frame, block, spans, self._separator) else None

    def _read_carefully(self) -> tuple[Batch, int]:
        """A block's worth of the buffer's rows, one by one, and how many bytes they took.

        Raises:
            FormatError: A row cannot be read, and none is diverted.
        """
        whole = self._ended and not self._cut
        # A quote that is not closed by now is given up only where its row can be diverted.
        given_up = self._divert and len(self._buffer) >= LONGEST_ROW
        cells: list[Sequence[str | None]] = []
        numbers: list[int] = []
        malformed: list[Malformed] = []
        used = 0
        for row in careful_rows(
            self._buffer,
            ended=whole or given_up,
            width=len(self.columns),
            separator=self._separator,
        ):
            if row.end == len(self._buffer) and not whole:
                break
            number = self._rows + len(numbers) + len(malformed) + 1
            fault = row.fault or self._refused
            if not fault:
                numbers.append(number)
                cells.append(row.cells)
            elif self._divert:
                line = self._buffer[row.start : row.end].removesuffix(b"\n").removesuffix(b"\r")
                raw = line.decode(errors="backslashreplace")
                malformed.append(Malformed(number, raw, fault))
            else:
                msg = f"{self._what}: row {number}: {fault}"
                raise FormatError(msg, MALFORMED_HINT)
            used = row.end
            if used >= self._block:
                break
        else:
            used = len(self._buffer) if whole else used
        frame = pl.DataFrame(cells, dict.fromkeys(self.columns, pl.String), orient="row")
        return Batch(frame, pl.Series(numbers, dtype=pl.Int64), malformed), used


MALFORMED_HINT = (
    "nothing of the file is marked finished; set malformed_rows to divert to go on without "
    "the row, and report the file to its vendor"
)


def _last_row_end(data: bytes, most: int) -> int:
    """Where the last whole row in *data*'s first bytes ends; 0 if none does.

    Every quote is taken for a real one.
    """
    end = most
    odd = data.count(b'"', 0, end) % 2 == 1
    while (newline := data.rfind(b"\n", 0, end)) >= 0:
        odd ^= data.count(b'"', newline, end) % 2 == 1
        if not odd:
            return newline + 1
        end = newline
    return 0


def _quoted_spans(block: bytes, separator: int) -> _Spans | None:
    """Where quotes open and close in a block of whole rows.

    Returns:
        Positions of opening and of closing quotes, pairwise, a doubled quote being a closing
        and an opening one; None unless every one stands at the edge of its cell.
    """
    if b'"' not in block:
        none = np.empty(0, np.intp)
        return none, none
    data = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(data == QUOTE)
    if len(quotes) % 2:
        return None
    opening, closing = quotes[::2], quotes[1::2]
    before = data[np.maximum(opening - 1, 0)]
    opens = (before == separator) | (before == LF) | (before == CR) | (opening == 0)
    opens[1:] |= opening[1:] == closing[:-1] + 1
    after = data[np.minimum(closing + 1, len(data) - 1)]
    closes = (after == separator) | (after == LF) | (after == CR) | (closing == len(data) - 1)
    closes[:-1] |= opening[1:] == closing[:-1] + 1
    return (opening, closing) if opens.all() and closes.all() else None


def _is_faithful(frame: pl.DataFrame, block: bytes, spans: _Spans, separator: int) -> bool:
    """Whether polars read no short row and no blank line: it fills both with nulls.

    Too wide a row it refuses; so no row is short when there are as many separators between
    cells as the rows need.
    """
    last = frame.get_columns()[-1]
    if not last.null_count():
        return True
    if frame.width == 1 or frame.select(pl.all_horizontal(pl.all().is_null()).any()).item():
        return False
    return _unquoted(separator, block, spans) == frame.height * (frame.width - 1)


def _unquoted(separator: int, block: bytes, spans: _Spans) -> int:
    """How many separators of *block* stand outside quotes."""
    opening, closing = spans
    every = block.count(separator)
    if not len(opening):
        return every
    data = np.frombuffer(block, np.uint8)
    edges = np.zeros(len(data) + 1, np.int8)
    edges[opening] = 1
    edges[closing] = -1
    inside = np.cumsum(edges[:-1], dtype=np.int8).view(np.bool_)
    return every - int(np.count_nonzero((data == separator) & inside))
