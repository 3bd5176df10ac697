"""CSV read by polars in blocks, each block verified, with a careful reader behind it.

Polars parses CSV at the speed of the machine, but accepts short rows and misplaced quotes
without complaint. So the bytes are cut into blocks of complete rows here, polars parses each
block, and cheap counts prove that the result is what the bytes say. A row that polars might
misread goes, with a few rows after it, to the careful reader, which is slow and names what is
wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filetap.errors import FormatError
from filetap.lazy import pl
from filetap.read.batch import (
    DEFAULTS,
    LONGEST_HEADER,
    LONGEST_ROW,
    MALFORMED_HINT,
    MOST_COLUMNS,
    Batch,
    Malformed,
    join,
)
from filetap.read.blocks import BOM, Block, first_odd_row, parse, regular_rows, seems_regular
from filetap.read.csv_careful import SEPARATORS, Row, careful_rows, choose_separator
from filetap.read.names import column_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from filetap.read.batch import ReadOptions

_SAMPLE = 1 << 16  # bytes that the separator is chosen from, unless the header row is longer
_NOT_CSV = {  # how other files begin
    "a zip archive or a workbook": re.compile(rb"PK\x03\x04"),
    "JSON": re.compile(rb'\s*+(?:\[\s*+)?\{\s*+"'),
    "Parquet": re.compile(rb"PAR1[\x00-\x08\x0e-\x1f\x80-\xff]"),
    "Avro": re.compile(rb"Obj\x01"),
    "HTML or XML": re.compile(rb"\s*+<(?:[!?]|html)", re.IGNORECASE),
    "headed by a sep= line": re.compile(rb"sep=.\r?\n"),
}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")  # never in a label, but in binary files


class CSVReader:
    """Reads one CSV file's decompressed bytes in batches of complete rows.

    Attributes:
        labels: The header row's cells.
        columns: The column names made of them.

    Args:
        pieces: The file's bytes, decompressed.
        what: The file, as messages name it.
        options: How to read it; *most* and *skip* have no effect.
    """

    def __init__(self, pieces: Iterable[bytes], what: str, options: ReadOptions = DEFAULTS) -> None:
        """Read the header row.

        Raises:
            FormatError: The header row cannot be read.
        """
        self._pieces = iter(pieces)
        self._what = what
        self._options = options
        self._buffer = b""
        self._ended = False
        self._rows = 0
        self._separator = SEPARATORS[0]
        self._refused = ""
        self.labels: Sequence[str] = self._header()
        self.columns = column_names(self.labels, options.reserved)
        self._integers = frozenset(options.integers).intersection(self.columns)
        self._unproven = 0  # blocks whose integers could not be proven, less the others
        # Each column of a block has a fixed cost: the more columns, the larger the blocks.
        self._block = options.block * min(2, 1 + len(self.columns) // 100)
        # Bytes that the careful reader gets through in the time one call of polars takes.
        self._few = max(1, self._block // 1024)
        self._wary = False  # True after an odd row: then rows are counted before they are parsed

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*."""
        self._refused = reason

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rows in order; a file without rows yields nothing.

        Raises:
            FormatError: A row cannot be read; the message names it.
        """
        waiting: list[Batch] = []
        size = 0
        for batch, used in self._batches():
            waiting += [batch] if batch.last else []
            size += used
            if waiting and size >= self._block // 2:
                yield join(waiting)
                waiting.clear()
                size = 0
        if waiting:
            yield join(waiting)

    def _batches(self) -> Iterator[tuple[Batch, int]]:
        """Yield batches as they are parsed, some small or empty, and the bytes each took."""
        # Bytes to look at next, and bytes that the careful reader takes from an odd row on.
        wanted, careful = self._block, self._few
        while self._fill(wanted):
            have = len(self._buffer)
            rest = self._ended and not self._options.cut and have <= wanted
            block = regular_rows(self._buffer, min(have, wanted), self._separator, ended=rest)
            more = have > wanted or not self._ended
            if not block.size and not block.stopped and more and wanted < 4 * self._block:
                wanted *= 2  # no row ends within these bytes
                continue
            frame, block = self._parse(block)
            if frame is not None:
                yield self._take(self._numbered(frame), block.size), block.size
            done = 0 if frame is None else block.size
            # Where odd rows are frequent, the careful reader takes longer and longer stretches:
            # each search for the next odd row costs as much as a block.
            careful = self._few if done else min(2 * careful, self._block)
            if block.stopped or frame is None:
                batch, used = self._read_carefully(block.size - done + careful)
                if not used and not done and self._ended:
                    return
                yield self._take(batch, used), used
                done += used
            # If no byte was used, the row is longer than what is buffered.
            wanted = min(self._block, max(8 * self._few, 2 * done)) if done else 2 * have

    def _take(self, batch: Batch, used: int) -> Batch:
        """Count a batch's rows, and drop the *used* bytes that they came from."""
        self._buffer = self._buffer[used:]
        self._rows = max(self._rows, batch.last)
        return batch

    def _numbered(self, frame: pl.DataFrame) -> Batch:
        """The next rows as a batch."""
        start = self._rows + 1
        return Batch(frame, pl.int_range(start, start + frame.height, eager=True))

    def _parse(self, block: Block) -> tuple[pl.DataFrame | None, Block]:
        """The rows of *block* that polars reads correctly, and the block that they fill.

        Returns:
            None and the block if polars reads none of them correctly, or too few to be worth a
            call of it.
        """
        few = not block.size or (block.stopped and block.size < 2 * self._few)
        if few or self._refused:
            return None, block
        width = len(self.columns)
        frame = None
        if not self._wary or seems_regular(self._buffer, block, self._separator, width):
            frame = self._parse_as(block, self._integers)
        if frame is not None:
            self._unproven -= bool(self._integers)
            self._wary &= block.size < self._block // 2
            return frame, block
        odd = first_odd_row(self._buffer, block, self._separator, width)
        self._wary = odd < block.size
        if self._wary:
            block = block.first(odd)
            frame = self._parse_as(block, self._integers) if odd >= 2 * self._few else None
        elif self._integers:
            self._unproven += 1
        if frame is None and self._integers and odd >= 2 * self._few:
            frame = self._parse_as(block, ())
        if self._unproven > 0:  # it costs more than it saves
            self._integers = frozenset()
        if frame is None and not self._wary:
            block = block.first(0)
        return frame, block

    def _parse_as(self, block: Block, integers: Collection[str]) -> pl.DataFrame | None:
        """The rows of *block*, some columns as integers; None unless that is proven."""
        return parse(self._buffer, block, self._separator, self.columns, integers)

    def _fill(self, size: int) -> bool:
        """Buffer *size* bytes, or all that are left; return False if there are none.

        Raises:
            FormatError: The next row is longer than `LONGEST_ROW`.
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
            Its cells; empty if the file has no row.
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
            is_all = self._ended and not self._options.cut and len(self._buffer) <= wanted
            separator = choose_separator(sample, ended=is_all, known=self._count_known)
            if row := next(careful_rows(sample, ended=is_all, separator=separator), None):
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
        """The number of labels that become the name of a known column."""
        names = column_names(labels, self._options.reserved)
        return len(frozenset(self._options.known).intersection(names))

    def _labels(self, row: Row) -> list[str]:
        """The header row's cells.

        Raises:
            FormatError: They cannot be column labels.
        """
        if len(row.cells) > MOST_COLUMNS:
            msg = f"{self._what}: it has more than {MOST_COLUMNS} columns"
            raise FormatError(msg, "look at the file: it is not an export")
        labels = [cell or "" for cell in row.cells]
        odd = "control characters" if _CONTROL.search("".join(labels)) else ""
        if fault := row.fault or odd:
            msg = f"{self._what}: the header row cannot be read: {fault}"
            raise FormatError(msg, "look at the file: it should be CSV in UTF-8")
        return labels

    def _read_carefully(self, most: int) -> tuple[Batch, int]:
        """Read the rows of the first *most* bytes one by one; return how many bytes they took.

        Raises:
            FormatError: A row cannot be read, and malformed rows are not diverted.
        """
        is_all = self._ended and not self._options.cut
        # A quote that is still open after LONGEST_ROW bytes costs only its own line, but only
        # where that line can be diverted.
        given_up = self._options.divert and len(self._buffer) >= LONGEST_ROW
        cells: list[Sequence[str | None]] = []
        numbers: list[int] = []
        malformed: list[Malformed] = []
        used = 0
        for row in careful_rows(
            self._buffer,
            ended=is_all or given_up,
            width=len(self.columns),
            separator=self._separator,
        ):
            if row.end == len(self._buffer) and not is_all:
                break
            number = self._rows + len(numbers) + len(malformed) + 1
            fault = row.fault or self._refused
            if not fault:
                numbers.append(number)
                cells.append(row.cells)
            elif self._options.divert:
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
            used = len(self._buffer) if is_all else used
        frame = pl.DataFrame(cells, dict.fromkeys(self.columns, pl.String), orient="row")
        return Batch(frame, pl.Series(numbers, dtype=pl.Int64), malformed), used
