"""From decompressed bytes to batches of text columns, proven as they are read.

Polars parses CSV at the speed of the machine, but it is lenient where a row is short or a
quote stands in the wrong place. So the bytes are cut into blocks of whole rows here, each
block is parsed by polars, and cheap counts prove that the result is what the bytes say. A
row that polars may read otherwise is read by a careful reader, which is slow and names what is
wrong with it, and with it a few rows that follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from filetap.errors import STATE_HINT, FormatError, StateError
from filetap.read.blocks import BOM, Block, first_odd_row, parse, regular_rows
from filetap.read.csv_careful import SEPARATORS, Row, careful_rows, choose_separator
from filetap.read.names import column_names
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

BLOCK = 2 << 20  # bytes of CSV parsed at a time
LONGEST_ROW = 256 << 20  # bytes
LONGEST_HEADER = 16 << 20  # bytes
MOST_COLUMNS = 10_000  # of a file; no database takes as many
_SAMPLE = 1 << 16  # bytes that tell what separates cells, unless the header row is longer
HELD = 48 << 20  # bytes of a batch in memory, from which on it waits for no more rows
_NOT_CSV = {  # how other files begin
    "a zip archive or a workbook": re.compile(rb"PK\x03\x04"),
    "JSON": re.compile(rb'\s*+(?:\[\s*+)?\{\s*+"'),
    "HTML or XML": re.compile(rb"\s*+<(?:[!?]|html)", re.IGNORECASE),
    "headed by a sep= line": re.compile(rb"sep=.\r?\n"),
}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")  # in no label, but in files of other kinds


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


class CSVReader:
    """Reads one CSV file's decompressed bytes in batches of whole rows.

    Attributes:
        labels: The header row's cells.
        columns: Their names.

    Args:
        pieces: The file's bytes, decompressed.
        what: The file, as messages name it.
        reserved: Column names that the file's own columns may not take.
        known: Names of columns that such a file may have; they tell what separates its cells.
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
        known: Collection[str] = (),
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
        self._reserved = tuple(reserved)
        self._known = frozenset(known)
        self._block = block
        self._divert = divert
        self._cut = cut
        self._buffer = b""
        self._ended = False
        self._rows = 0
        self._separator = SEPARATORS[0]
        self._refused = ""
        self.labels: Sequence[str] = self._header()
        self.columns = column_names(self.labels, self._reserved)
        # Each column of a block has its own cost: the more columns, the larger the blocks.
        self._block *= min(2, 1 + len(self.columns) // 100)
        # So many bytes the careful reader reads in the time that a call of polars takes.
        self._few = max(1, self._block // 256)

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*."""
        self._refused = reason

    def __iter__(self) -> Iterator[Batch]:
        """Each batch, in order; a file without rows has none.

        Raises:
            FormatError: A row cannot be read; the message names it.
        """
        held: list[Batch] = []
        size = 0
        for batch, used in self._batches():
            held += [batch] if batch.last else []
            size += used
            if held and size >= self._block // 2:
                yield _joined(held)
                held.clear()
                size = 0
        if held:
            yield _joined(held)

    def _batches(self) -> Iterator[tuple[Batch, int]]:
        """Batches as they are parsed, some of them small or empty, with their bytes."""
        wanted, careful = self._block, self._few
        while self._fill(wanted):
            have = len(self._buffer)
            rest = self._ended and not self._cut and have <= wanted
            block = regular_rows(self._buffer, min(have, wanted), self._separator, ended=rest)
            more = have > wanted or not self._ended
            if not block.size and not block.stopped and more and wanted < 4 * self._block:
                wanted *= 2
                continue
            frame, block = self._parse(block)
            if frame is not None:
                yield self._take(self._numbered(frame), block.size), block.size
            done = 0 if frame is None else block.size
            # Where odd rows are many, less time goes into finding them.
            careful = self._few if done else min(2 * careful, self._block)
            if block.stopped or frame is None:
                batch, used = self._read_carefully(block.size - done + careful)
                if not used and not done and self._ended:
                    return
                yield self._take(batch, used), used
                done += used
            # Nothing used: the row is longer than what is at hand.
            wanted = min(self._block, max(8 * self._few, 4 * done)) if done else 2 * have

    def _take(self, batch: Batch, used: int) -> Batch:
        """Count a batch's rows, and drop the *used* bytes that they were made of."""
        self._buffer = self._buffer[used:]
        self._rows = max(self._rows, batch.last)
        return batch

    def _numbered(self, frame: pl.DataFrame) -> Batch:
        """The next rows as a batch."""
        start = self._rows + 1
        return Batch(frame, pl.int_range(start, start + frame.height, eager=True))

    def _parse(self, block: Block) -> tuple[pl.DataFrame | None, Block]:
        """The rows of *block* that polars reads right, and how far they reach.

        Returns:
            None and the same block, where that is none of them, or too few for a call of polars.
        """
        few = not block.size or (block.stopped and block.size < 2 * self._few)
        if few or self._refused:
            return None, block
        if (frame := parse(self._buffer, block, self._separator, self.columns)) is not None:
            return frame, block
        odd = first_odd_row(self._buffer, block, self._separator, len(self.columns))
        if 2 * self._few <= odd < block.size:
            frame = parse(self._buffer, block.first(odd), self._separator, self.columns)
        return frame, block.first(odd if odd < block.size else 0)

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
        """Read the first row that is not blank; detects the separator as a side effect.

        Returns:
            Its cells; none when there is no row.
        """
        wanted = _SAMPLE
        self._fill(wanted)
        self._buffer = self._buffer.removeprefix(BOM)
        while self._fill(wanted):
            self._buffer = self._buffer.lstrip(b"\r\n")
            if len(self._buffer) < wanted and not self._ended:
                continue
            for kind, beginning in _NOT_CSV.items():
                if beginning.match(self._buffer):
                    msg = f"{self._what}: the file is {kind}, not CSV"
                    raise FormatError(msg, "ask for exports as CSV")
            sample = self._buffer[:wanted]
            whole = self._ended and not self._cut and len(self._buffer) <= wanted
            separator = choose_separator(sample, ended=whole, known=self._count_known)
            if row := next(careful_rows(sample, ended=whole, separator=separator), None):
                self._separator = separator
                self._buffer = self._buffer[row.end :]
                return self._labels(row)
            if len(self._buffer) <= wanted and self._ended:
                self._buffer = b""
            if len(self._buffer) > LONGEST_HEADER:
                msg = f"{self._what}: the header row is longer than {LONGEST_HEADER} bytes"
                raise FormatError(msg, "look at the file: it is not an export")
            wanted *= 2
        return []

    def _count_known(self, labels: Sequence[str]) -> int:
        """How many of some labels are those of known columns."""
        return len(self._known.intersection(column_names(labels, self._reserved)))

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

    def _read_carefully(self, most: int) -> tuple[Batch, int]:
        """The first *most* bytes' rows, one by one, and how many bytes they took.

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
            if used >= most:
                break
        else:
            used = len(self._buffer) if whole else used
        frame = pl.DataFrame(cells, dict.fromkeys(self.columns, pl.String), orient="row")
        return Batch(frame, pl.Series(numbers, dtype=pl.Int64), malformed), used


MALFORMED_HINT = (
    "nothing of the file is marked finished; set malformed_rows to divert to go on without "
    "the row, and report the file to its vendor"
)
