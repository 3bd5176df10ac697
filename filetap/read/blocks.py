"""Blocks of CSV for polars: which bytes it may parse, and the proof that it parsed them correctly.

All of it counts bytes with numpy, without a Python loop over rows: the proof must cost less than
the parsing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from filetap.lazy import np, pl
from filetap.read.csv_careful import CR, LF, QUOTE
from filetap.read.integers import content_length

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    _Offsets = NDArray[np.intp]
    _Mask = NDArray[np.bool_]

BOM = b"\xef\xbb\xbf"
# Put before every block, and skipped by polars. Polars decompresses input whose first bytes look
# compressed, and the text "x^" does: without this line, such a cell would break a good file.
_FIRST_LINE = b"-\n"


@dataclass(frozen=True, slots=True)
class Block:
    """Complete rows at the beginning of some bytes, with quotes only at the edges of cells.

    Attributes:
        size: Bytes of the rows.
        opening: Offsets of opening quotes, of all within *size* and perhaps some after it.
        closing: Offsets of the matching closing quotes. A doubled quote counts as one that
            closes and one that opens again.
        doubled: For each of *opening*, True if it is the second half of a doubled quote.
        stopped: True if the block ends before a row that polars might misread.
    """

    size: int
    opening: _Offsets
    closing: _Offsets
    doubled: _Mask
    stopped: bool

    def first(self, size: int) -> Block:
        """The block of the first *size* bytes, which must be complete rows."""
        return replace(self, size=size, stopped=True)


def regular_rows(data: bytes, most: int, separator: int, *, ended: bool) -> Block:
    """Find the rows at the beginning of *data* that polars may parse.

    Quotes are paired as they come, which is right as long as each opening one starts a cell and
    each closing one ends it. The block ends before the first quote where that does not hold.

    Args:
        data: Bytes that begin with a row.
        most: Bytes to look at.
        separator: Byte between cells.
        ended: True if the file ends after *most* bytes: a last row then needs no line end.
    """
    text = np.frombuffer(data, np.uint8, most)
    quotes = np.flatnonzero(text == QUOTE)
    if data.startswith(BOM):  # polars would drop it, here and wherever a block begins
        return Block(0, quotes[:0], quotes[:0], np.zeros(0, np.bool_), stopped=True)
    opening, closing = quotes[::2], quotes[1::2]
    limit, stopped = most, False
    # Before the first byte is the last one, after the last the first: these two are edges.
    before, after = text[opening - 1], text[closing + 1 - most]
    doubled = before == QUOTE  # that quote is the one which closed
    doubled[:1] &= opening[:1] > 0
    if len(quotes):
        opens = doubled | _is_edge(before, separator)
        closes = (after == QUOTE) | _is_edge(after, separator)
        opens[:1] |= opening[:1] == 0
        closes[-1:] |= closing[-1:] == most - 1
        opens[: len(closing)] &= closes
        if not opens.all():
            limit, stopped = int(opening[np.argmin(opens)]), True
        elif len(opening) > len(closing):
            limit, stopped = int(opening[-1]), ended
    if ended and limit == most:
        return Block(most, opening, closing, doubled, stopped=False)
    size = _rows_end(data, limit, b"\n", opening, closing)
    size = size or _rows_end(data, limit, b"\r", opening, closing)
    return Block(size, opening, closing, doubled, stopped=stopped)


def _is_edge(text: NDArray[np.uint8], separator: int) -> _Mask:
    """True for each byte that may stand before or after a quoted cell."""
    edges: _Mask = (text == separator) | (text == LF) | (text == CR)
    return edges


def _rows_end(data: bytes, limit: int, end: bytes, opening: _Offsets, closing: _Offsets) -> int:
    """The offset after the last line end before *limit* that is outside quotes; 0 if none is."""
    while (place := data.rfind(end, 0, limit)) >= 0:
        quoted = int(np.searchsorted(opening, place)) - 1
        if quoted < 0 or closing[quoted] < place:
            return place + 1
        limit = int(opening[quoted])
    return 0


def parse(
    data: bytes,
    block: Block,
    separator: int,
    columns: Sequence[str],
    integers: Collection[str] = (),
) -> pl.DataFrame | None:
    """Parse a block's rows with polars, without blank lines; None unless the result is proven.

    Args:
        data: Bytes that begin with the block.
        block: Its rows.
        separator: Byte between cells.
        columns: Names of the columns.
        integers: Those of them that are parsed as integers; all others are text.
    """
    schema: dict[str, type[pl.DataType]] = {
        name: pl.Int64 if name in integers else pl.String for name in columns
    }
    lines = _plain_lines(data, block)
    frame = _read(lines, separator, schema)
    if frame is None or not _is_faithful(frame, data, block, separator):
        return None
    if not integers or not lines:
        return frame
    if not _adds_up(frame, data, block, lines) or _lacks_empty_texts(frame, block):
        return None
    return frame


def _read(
    lines: bytes | memoryview, separator: int, schema: Mapping[str, type[pl.DataType]]
) -> pl.DataFrame | None:
    """Parse rows with polars; None if it refuses them, or would drop a mark before them."""
    if not lines:
        return pl.DataFrame(schema=schema)
    if lines[:3] == BOM:
        return None
    try:
        return pl.read_csv(
            # Without a final line end, polars accepts a last row with one empty cell too many.
            b"".join((_FIRST_LINE, lines, b"" if lines[-1] == LF else b"\n")),
            has_header=False,
            skip_lines=1,
            schema=schema,
            quote_char='"',
            separator=chr(separator),
        )
    except pl.exceptions.PolarsError:
        return None


def _adds_up(frame: pl.DataFrame, data: bytes, block: Block, lines: bytes | memoryview) -> bool:
    """True if a frame's cells take all bytes of its lines, beside separators and the like.

    A cell that a short row lacks would make up for a zero that an integer has lost.

    Args:
        frame: The parsed rows, integers among their cells, none of them short.
        data: Bytes that begin with the block.
        block: The block.
        lines: Its plain lines, which are what was parsed.
    """
    content = content_length(frame)
    if content is None:
        return False
    count = int(np.searchsorted(block.opening, block.size))
    quotes = 2 * count - int(np.count_nonzero(block.doubled[:count]))
    # Of line ends, only CRLF has a CR still.
    returns = 0
    if data.find(b"\r", 0, block.size) >= 0:  # far faster than counting
        plain, size = (lines, len(lines)) if isinstance(lines, bytes) else (data, block.size)
        returns = plain.count(b"\r", 0, size)
    if returns and (inside := _inside(block)) is not None:
        text = np.frombuffer(data, np.uint8, block.size)
        returns -= int(np.count_nonzero((text == CR) & inside))
    size = len(lines) + (lines[-1] != LF)
    return content + quotes + returns + frame.height * frame.width == size


def _lacks_empty_texts(frame: pl.DataFrame, block: Block) -> bool:
    """True if a cell of a column of integers is empty and quoted: polars makes a null of it."""
    integers, texts = (
        [column for column in frame.get_columns() if column.dtype == kind]
        for kind in (pl.Int64, pl.String)
    )
    if not any(column.null_count() for column in integers):
        return False
    count = int(np.searchsorted(block.opening, block.size))
    empty = block.closing[:count] == block.opening[:count] + 1
    empty &= ~block.doubled[:count]
    empty[:-1] &= ~block.doubled[1:count]
    return int(np.count_nonzero(empty)) != sum(int((column == "").sum()) for column in texts)


def _is_faithful(frame: pl.DataFrame, data: bytes, block: Block, separator: int) -> bool:
    """True if polars read no short row, which it would fill with nulls.

    It refuses rows that are too wide. So if the separators between cells are as many as the rows
    need, no row is short; without a null in the last column, none can be.
    """
    if not frame.get_columns()[-1].null_count():
        return True
    separators = np.frombuffer(data, np.uint8, block.size) == separator
    if (inside := _inside(block)) is not None:
        separators &= ~inside
    count = int(np.count_nonzero(separators))
    return frame.width > 1 and count == frame.height * (frame.width - 1)


def _inside(block: Block) -> _Mask | None:
    """A mask of the bytes of a block that are within quotes; None if it has no quotes."""
    count = int(np.searchsorted(block.opening, block.size))
    if not count:
        return None
    borders = np.zeros(2 * count + 2, np.intp)
    borders[1:-1:2], borders[2:-1:2] = block.opening[:count], block.closing[:count]
    borders[-1] = block.size
    parts = np.zeros(2 * count + 1, np.bool_)  # outside and inside by turns
    parts[1::2] = True
    mask: _Mask = np.repeat(parts, np.diff(borders))
    return mask


def _plain_lines(data: bytes, block: Block) -> bytes | memoryview:
    """A block without blank lines, with LF for each CR that ends a line alone.

    Polars would read a blank line as a row, and a lone CR as text. Most blocks have neither, and
    are returned without a copy.
    """
    whole = memoryview(data)[: block.size]
    if not block.size:
        return whole
    text = np.frombuffer(data, np.uint8, block.size)
    feeds = text == LF
    places = np.flatnonzero(feeds[1:] & feeds[:-1]) + 1
    if feeds[0]:
        places = np.append(0, places)
    if data.find(b"\r", 0, block.size) < 0:
        blank = places[~_quoted(block, places)]
        return np.delete(text, blank).tobytes() if len(blank) else whole
    returns = np.flatnonzero(text == CR)
    following = text[np.minimum(returns + 1, len(text) - 1)]
    odd = (following != LF) | (returns == 0) | (text[returns - 1] == LF)
    if _quoted(block, np.concatenate((places, returns[odd]))).all():
        return whole
    return _without_blank_lines(text, _inside(block))


def _quoted(block: Block, places: _Offsets) -> _Mask:
    """True for each of some offsets that is within quotes."""
    if not len(block.closing):
        return np.zeros(len(places), np.bool_)
    before = np.searchsorted(block.opening, places)  # opening quotes before each
    quoted: _Mask = (before > 0) & (block.closing[before - 1] > places)
    return quoted


def _without_blank_lines(text: NDArray[np.uint8], inside: _Mask | None) -> bytes:
    """Rows without the blank lines among them, with LF for each CR that ends a line alone.

    Args:
        text: The rows.
        inside: A mask of their quoted bytes; None if nothing is quoted.
    """
    feeds, returns = text == LF, text == CR
    if inside is not None:
        feeds &= ~inside
        returns &= ~inside
    alone = returns.copy()
    alone[:-1] &= ~feeds[1:]
    starts = np.ones(len(text), np.bool_)  # of lines
    starts[1:] = (feeds | alone)[:-1]
    pairs = returns & ~alone & starts  # CR of a blank line that ends with CRLF
    if inside is not None:
        pairs &= ~inside
    blank = (feeds | alone) & starts | pairs
    blank[1:] |= pairs[:-1]
    return bytes(np.where(alone, np.uint8(LF), text)[~blank])


def seems_regular(data: bytes, block: Block, separator: int, width: int) -> bool:
    """True if a block is UTF-8, and has as many separators as its lines need."""
    text = np.frombuffer(data, np.uint8, block.size)
    ends, separators = text == LF, text == separator
    if data.find(b"\r", 0, block.size) >= 0:
        ends[:-1] |= (text[:-1] == CR) & ~ends[1:]  # alone
    if (inside := _inside(block)) is not None:
        ends &= ~inside
        separators &= ~inside
    if np.count_nonzero(separators) != np.count_nonzero(ends) * (width - 1):
        return False
    try:
        str(memoryview(data)[: block.size], "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def first_odd_row(data: bytes, block: Block, separator: int, width: int) -> int:
    """Find the first row that does not have *width* cells, or is not UTF-8.

    Returns:
        The offset where it begins; the block's size if there is no such row.
    """
    text = np.frombuffer(data, np.uint8, block.size)
    ends = (text == LF) | (text == CR)
    marks = ends | (text == separator)
    if (inside := _inside(block)) is not None:
        marks &= ~inside
    places = np.flatnonzero(marks)
    last = np.append(np.flatnonzero(ends[places]), len(places))  # of each line's marks
    counts = np.diff(last, prepend=-1) - 1
    lines = np.append(places, len(text))[last]
    starts = np.append(0, lines[:-1] + 1)
    odd = np.flatnonzero((counts != width - 1) & (lines > starts))
    first = int(starts[odd[0]]) if len(odd) else block.size
    try:
        str(memoryview(data)[:first], "utf-8")
    except UnicodeDecodeError as error:
        return int(starts[np.searchsorted(lines, error.start)])
    return first
