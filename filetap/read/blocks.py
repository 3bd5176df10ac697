"""Blocks of CSV for polars: which bytes it may parse, and the proof that it parsed them right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from filetap.read.csv_careful import CR, LF, QUOTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    _Places = NDArray[np.intp]
    _Mask = NDArray[np.bool_]

BOM = b"\xef\xbb\xbf"
# What every block that polars parses begins with, a line to skip: of bytes that begin like
# compressed ones, as the text "x^" does, polars would make other bytes.
_FIRST_LINE = b"-\n"


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows at the beginning of some bytes, whose quotes all stand at the edge of a cell.

    Attributes:
        size: Bytes of them.
        opening: Positions of opening quotes, at least of those within *size*.
        closing: Positions of the closing ones, pairwise; of a doubled quote the first one
            closes and the second one opens.
        stopped: Whether a row follows that polars may read wrongly.
    """

    size: int
    opening: _Places
    closing: _Places
    stopped: bool

    def first(self, size: int) -> Block:
        """The first *size* bytes, which are whole rows too."""
        return replace(self, size=size, stopped=True)


def regular_rows(data: bytes, most: int, separator: int, *, ended: bool) -> Block:
    """The rows that polars may parse, at the beginning of *data*.

    Args:
        data: Bytes that begin with a row.
        most: How many of them to look at.
        separator: Byte between cells.
        ended: Whether the file ends after *most* bytes: a last row needs no line end then.
    """
    text = np.frombuffer(data, np.uint8, most)
    quotes = np.flatnonzero(text == QUOTE)
    if data.startswith(BOM):  # polars would drop it
        return Block(0, quotes[:0], quotes[:0], stopped=True)
    opening, closing = quotes[::2], quotes[1::2]
    limit, stopped = most, False
    if len(quotes):
        before = text[np.maximum(opening - 1, 0)]
        opens = (before == separator) | (before == LF) | (before == CR) | (opening == 0)
        after = text[np.minimum(closing + 1, most - 1)]
        closes = (after == separator) | (after == LF) | (after == CR) | (closing == most - 1)
        doubled = opening[1:] == closing[: len(opening) - 1] + 1
        opens[1:] |= doubled
        closes[: len(doubled)] |= doubled
        opens[: len(closing)] &= closes
        if not opens.all():
            limit, stopped = int(opening[np.argmin(opens)]), True
        elif len(opening) > len(closing):
            limit, stopped = int(opening[-1]), ended
    if ended and limit == most:
        return Block(most, opening, closing, stopped=False)
    size = _rows_end(data, limit, b"\n", opening, closing)
    size = size or _rows_end(data, limit, b"\r", opening, closing)
    return Block(size, opening, closing, stopped=stopped)


def _rows_end(data: bytes, limit: int, end: bytes, opening: _Places, closing: _Places) -> int:
    """Where the last row before *limit* ends whose line end is outside quotes; 0 if none does."""
    while (place := data.rfind(end, 0, limit)) >= 0:
        quoted = int(np.searchsorted(opening, place)) - 1
        if quoted < 0 or closing[quoted] < place:
            return place + 1
        limit = int(opening[quoted])
    return 0


def parse(data: bytes, block: Block, separator: int, columns: Sequence[str]) -> pl.DataFrame | None:
    """A block's rows as polars reads them, without blank lines; None unless they are proven."""
    lines = _plain_lines(data, block)
    schema = dict.fromkeys(columns, pl.String)
    if not lines:
        return pl.DataFrame(schema=schema)
    if lines[:3] == BOM:
        return None
    # Polars takes a last row with an empty cell too many when no line end follows.
    end = b"" if lines[-1] == LF else b"\n"
    try:
        frame = pl.read_csv(
            b"".join((_FIRST_LINE, lines, end)),
            has_header=False,
            skip_lines=1,
            schema=schema,
            quote_char='"',
            separator=chr(separator),
        )
    except pl.exceptions.PolarsError:
        return None
    return frame if _is_faithful(frame, data, block, separator) else None


def _is_faithful(frame: pl.DataFrame, data: bytes, block: Block, separator: int) -> bool:
    """Whether polars read no short row, which it fills with nulls.

    Too wide a row it refuses; so no row is short when there are as many separators between
    cells as the rows need.
    """
    if not frame.get_columns()[-1].null_count():
        return True
    separators = data.count(separator, 0, block.size)
    if (inside := _inside(block)) is not None:
        text = np.frombuffer(data, np.uint8, block.size)
        separators -= int(np.count_nonzero((text == separator) & inside))
    return frame.width > 1 and separators == frame.height * (frame.width - 1)


def _inside(block: Block) -> _Mask | None:
    """Which bytes of a block are within quotes; None if it has no quotes."""
    count = int(np.searchsorted(block.opening, block.size))
    if not count:
        return None
    edges = np.zeros(block.size + 1, np.int8)
    edges[block.opening[:count]] = 1
    edges[block.closing[:count]] = -1
    return np.cumsum(edges[:-1], dtype=np.int8).view(np.bool_)


def _plain_lines(data: bytes, block: Block) -> bytes | memoryview:
    """A block without its blank lines, and with LF where CR alone ends a line."""
    text = np.frombuffer(data, np.uint8, block.size)
    whole = memoryview(data)[: block.size]
    feeds = text == LF
    starts = np.ones(len(text), np.bool_)  # of lines
    starts[1:] = feeds[:-1]
    returns = alone = np.zeros(0, np.bool_)
    odd = feeds & starts
    if has_returns := data.find(b"\r", 0, block.size) >= 0:
        returns = text == CR
        alone = returns.copy()
        alone[:-1] &= ~feeds[1:]
        odd |= alone | (returns & starts)
    places = np.flatnonzero(odd)
    quoted = np.searchsorted(block.opening, places) > np.searchsorted(block.closing, places)
    if quoted.all():
        return whole
    if (inside := _inside(block)) is not None:
        feeds &= ~inside
        alone &= ~inside if has_returns else alone
    if not has_returns:
        starts[1:] = feeds[:-1]
        return bytes(text[~(feeds & starts)])
    text = np.where(alone, np.uint8(LF), text)
    starts[1:] = (feeds | alone)[:-1]
    pairs = returns & ~alone & starts  # CR of a blank line that ends with CRLF
    if inside is not None:
        pairs &= ~inside
    blank = (feeds | alone) & starts | pairs
    blank[1:] |= pairs[:-1]
    return bytes(text[~blank])


def first_odd_row(data: bytes, block: Block, separator: int, width: int) -> int:
    """Where the first row begins that has not *width* cells, or bytes that are not UTF-8.

    Returns:
        The block's size if there is none.
    """
    text = np.frombuffer(data, np.uint8, block.size)
    ends = (text == LF) | (text == CR)
    separators = text == separator
    if (inside := _inside(block)) is not None:
        ends &= ~inside
        separators &= ~inside
    lines = np.append(np.flatnonzero(ends), len(text))
    starts = np.append(0, lines[:-1] + 1)
    counts = np.diff(np.searchsorted(np.flatnonzero(separators), lines), prepend=0)
    odd = np.flatnonzero((counts != width - 1) & (lines > starts))
    first = int(starts[odd[0]]) if len(odd) else block.size
    try:
        str(memoryview(data)[: block.size], "utf-8")
    except UnicodeDecodeError as error:
        line = int(np.searchsorted(lines, error.start))
        first = min(first, int(starts[line]))
    return first
