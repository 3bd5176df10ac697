"""From stored bytes to batches of text columns: gzip, then CSV, each proven as it is read.

Polars parses CSV at the speed of the machine, but it is lenient where a row is short or a
quote stands in the wrong place. So the bytes are cut into blocks of whole rows here, each
block is parsed by polars, and cheap counts prove that the result is what the bytes say. A
block that polars refuses, or whose counts differ, is read again by a careful reader, which
is slow and names the row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import polars as pl
from isal import isal_zlib

from tap_firstup_dde.exportlib.exceptions import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    _Spans = tuple[NDArray[np.intp], NDArray[np.intp]]

PIECE = 1 << 20  # bytes of decompressed data handed on at a time
BLOCK = 4 << 20  # bytes of CSV parsed at a time
LONGEST_ROW = 256 << 20  # bytes
_BOM = b"\xef\xbb\xbf"
_GARBAGE = "other bytes follow the gzip data"
_QUOTE, _LF, _CR = b'"\n\r'
_SEPARATORS = b",|\t;"  # the first one that parts the header row; a comma if none does
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


class Gunzip:
    """Decompresses gzip as it arrives, all its members; other bytes pass unchanged.

    Attributes:
        fault: What is wrong with the gzip data; empty when nothing is. Complete only once
            all bytes were given.
    """

    def __init__(self) -> None:
        """Start before the first byte."""
        self._head = b""
        self._member: Any = None
        self._plain = False
        self._error = ""
        self._members = 0

    @property
    def fault(self) -> str:
        """What is wrong with the data so far, taken as the whole."""
        if self._error:
            return self._error
        if self._members and self._head:
            return _GARBAGE
        return "the gzip data end too early" if self._member else ""

    def check(self, chunk: bytes) -> None:
        """Take the next bytes only to learn of a `fault`."""
        for _ in self.feed(chunk):
            pass

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The decompressed bytes that the next stored bytes give, in small pieces."""
        data, self._head = self._head + chunk, b""
        while data and not self._error:
            if self._member is None and not self._plain:
                data = self._begin(data)
            elif self._plain:
                yield data
                return
            else:
                piece, data = self._inflate(data)
                if piece:
                    yield piece

    def _begin(self, data: bytes) -> bytes:
        """Tell by its first bytes what *data* is; returns what to go on with."""
        if self._members:
            # As gzip does it: zeros may follow the last member, nothing else.
            data = data.lstrip(b"\0")
        if len(data) < 2:
            self._head = data
            return b""
        if is_gzip(data):
            self._member = isal_zlib.decompressobj(wbits=31)
        elif self._members:
            self._error = _GARBAGE
        else:
            self._plain = True
        return data

    def _inflate(self, data: bytes) -> tuple[bytes, bytes]:
        """A piece decompressed from *data*, and what of *data* is left."""
        member = self._member
        try:
            piece = member.decompress(data, PIECE)
        except isal_zlib.error as error:  # type: ignore[misc]  # an instance, by the stub
            self._error = f"the gzip data are broken ({error})"
            return b"", b""
        if not member.eof:
            return piece, member.unconsumed_tail
        self._member = None
        self._members += 1
        return piece, member.unused_data

    def end(self) -> bytes:
        """What is left at the end of data too short to tell; one byte or none."""
        return b"" if self._members else self._head


def is_gzip(data: bytes) -> bool:
    """Whether *data* begins like gzip."""
    return data[:2] == b"\x1f\x8b"


def decompress(stored: IO[bytes], most: int | None = None) -> Iterator[bytes]:
    """The decompressed bytes of a proven file, from its current position.

    Args:
        stored: Bytes as stored: gzip, or plain.
        most: How many of the stored bytes to read; None for all.

    Yields:
        Pieces of at most `PIECE` bytes.
    """
    gunzip = Gunzip()
    left = PIECE if most is None else most
    while chunk := stored.read(min(PIECE, left)):
        yield from gunzip.feed(chunk)
        left -= 0 if most is None else len(chunk)
    yield gunzip.end()


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

    def __add__(self, other: Batch) -> Batch:
        """Both, one after the other."""
        frame = pl.concat((self.frame, other.frame))
        numbers = pl.concat((self.numbers, other.numbers))
        return Batch(frame, numbers, (*self.malformed, *other.malformed))


def parts(batches: Iterable[Batch], *, skip: int, most: int, full: bool = False) -> Iterator[Batch]:
    """The rows after the first *skip* ones, in batches of at most *most* rows.

    Args:
        batches: All rows of a file.
        skip: Rows to leave out.
        most: Rows of one batch.
        full: Whether each but the last one has that many; otherwise none waits for more.
    """
    done, held = skip, None
    for batch in batches:
        held = held + batch if held else batch
        while held.last - done >= (most if full else 1):
            upto = min(done + most, held.last)
            yield held.between(done, upto)
            done = upto
        held = held.between(done, held.last) if held.last > done else None
    if held:
        yield held


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
        self._separator = _SEPARATORS[0]
        self.columns = column_names(self._header(), reserved)

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
            frame = self._parse(used) if used else None
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
            for separator in _SEPARATORS:
                row = next(careful_rows(self._buffer, ended=whole, separator=separator), None)
                if row and len(row.cells) > 1:
                    self._separator = separator
                    break
            else:
                row = next(careful_rows(self._buffer, ended=whole), None)
            if row:
                names = [cell or "" for cell in row.cells]
                odd = "control characters" if _CONTROL.search("".join(names)) else ""
                if fault := row.fault or odd:
                    msg = f"{self._what}: the header row cannot be read: {fault}"
                    raise FormatError(msg, "look at the file: it should be CSV in UTF-8")
                self._buffer = self._buffer[row.end :]
                return names
            if self._ended:
                self._buffer = b""
            wanted = 2 * len(self._buffer)
        return []

    def _parse(self, size: int) -> pl.DataFrame | None:
        """The first *size* bytes' rows by polars; None when they need the careful reader."""
        # Polars takes a last row with an empty cell too many when no line end follows.
        end = b"" if self._buffer.endswith(b"\n", 0, size) else b"\n"
        block = b"".join((_FIRST_LINE, memoryview(self._buffer)[:size], end))
        crlf = block.count(b"\r\n")
        if self._buffer.startswith(_BOM) or block.count(b"\r") != crlf:
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
            if not row.fault:
                numbers.append(number)
                cells.append(row.cells)
            elif self._divert:
                line = self._buffer[row.start : row.end].removesuffix(b"\n").removesuffix(b"\r")
                raw = line.decode(errors="backslashreplace")
                malformed.append(Malformed(number, raw, row.fault))
            else:
                msg = f"{self._what}: row {number}: {row.fault}"
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


@dataclass(frozen=True, slots=True)
class Row:
    """One row as the careful reader sees it.

    Attributes:
        cells: Its cells; null where empty and unquoted. Empty when there is a fault.
        start: First byte.
        end: First byte after its line end.
        fault: Why it cannot be read; empty when it can.
    """

    cells: Sequence[str | None]
    start: int
    end: int
    fault: str


_FIELDS = {
    separator: re.compile(
        rb'"((?>[^"]*(?:""[^"]*)*+))"|([^%c\r\n"][^%c\r\n]*)?' % (separator, separator)
    )
    for separator in _SEPARATORS
}
_UNCLOSED = "a quote is never closed"
_LINE_END = re.compile(rb"\r\n|\r|\n")


def careful_rows(
    data: bytes, *, ended: bool, width: int | None = None, separator: int = _SEPARATORS[0]
) -> Iterator[Row]:
    """Rows of CSV one by one, blank lines left out.

    Lines end with LF, CRLF or CR. A quote opens a quoted cell only at the cell's begin;
    elsewhere it is a character like any other. Where quotes are broken, the row is what
    stands up to the next line end.

    Args:
        data: Bytes that begin with a row.
        ended: Whether the file ends with *data*; if not, the last row is left out unless
            a further one proves it whole.
        width: Cells a row must have; None for any number.
        separator: Byte between cells.

    Yields:
        Each row, also those with a fault.
    """
    position, size = 0, len(data)
    while position < size:
        start = position
        cells: list[bytes | None] = []
        fault = ""
        while True:
            field = _FIELDS[separator].match(data, position)
            assert field is not None  # noqa: S101 - it matches the empty cell
            position = field.end()
            following = data[position] if position < size else -1
            if following == _QUOTE:
                fault = _UNCLOSED
                break
            if following not in (separator, _LF, _CR, -1):
                fault = "text follows a closing quote"
                break
            quoted, plain = field.groups()
            cells.append(plain if quoted is None else quoted.replace(b'""', b'"'))
            if following != separator:
                break
            position += 1
        line_end = _LINE_END.search(data, start if fault else position)
        # CR at the very end of what is at hand may be half of CRLF.
        if not ended and (line_end is None or line_end.end() == size or fault == _UNCLOSED):
            return
        position = line_end.end() if line_end else size
        if not fault and cells == [None]:
            continue
        yield _row(cells, start, position, fault, width)


def _row(cells: Sequence[bytes | None], start: int, end: int, fault: str, width: int | None) -> Row:
    """Decode a row's cells and count them."""
    if not fault and width is not None and len(cells) != width:
        fault = f"{len(cells)} cells instead of {width}"
    texts: list[str | None] = []
    try:
        for cell in () if fault else cells:
            texts.append(None if cell is None else cell.decode())  # noqa: PERF401 - counts
    except UnicodeDecodeError as error:
        fault = f"bytes that are not UTF-8 in cell {len(texts) + 1} ({error.reason})"
    return Row([] if fault else texts, start, end, fault)


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
    quotes = np.flatnonzero(data == _QUOTE)
    if len(quotes) % 2:
        return None
    opening, closing = quotes[::2], quotes[1::2]
    before = data[np.maximum(opening - 1, 0)]
    opens = (before == separator) | (before == _LF) | (before == _CR) | (opening == 0)
    opens[1:] |= opening[1:] == closing[:-1] + 1
    after = data[np.minimum(closing + 1, len(data) - 1)]
    closes = (after == separator) | (after == _LF) | (after == _CR) | (closing == len(data) - 1)
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
