"""CSV read row by row: slow, but exact about what is wrong with a row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SEPARATORS = b",|\t;"  # bytes that may separate cells, the most likely first
FIRST_ROWS = 50  # rows below the header row that a separator is tried on
QUOTE, LF, CR = b'"\n\r'


@dataclass(frozen=True, slots=True)
class Row:
    """One row of CSV.

    Attributes:
        cells: Its cells; None for an empty unquoted one. Empty if the row has a fault.
        start: Offset of its first byte.
        end: Offset after its line end.
        fault: Why it cannot be read; empty if it can.
    """

    cells: Sequence[str | None]
    start: int
    end: int
    fault: str


# One cell, quoted or plain, by separator: a pattern each, because the separator is in a character
# class, where a backreference or a group cannot be. The atomic group and `*+` never backtrack, so
# a quote that is not closed costs one pass over the data, not one for each doubled quote.
_FIELDS = {
    separator: re.compile(
        rb'"((?>[^"]*(?:""[^"]*)*+))"|([^%c\r\n"][^%c\r\n]*)?' % (separator, separator)
    )
    for separator in SEPARATORS
}
_UNCLOSED = "a quote is never closed"
_LINE_END = re.compile(rb"\r\n|\r|\n")


def careful_rows(
    data: bytes, *, ended: bool, width: int | None = None, separator: int = SEPARATORS[0]
) -> Iterator[Row]:
    """Yield the rows of CSV one by one, without blank lines.

    Lines end with LF, CRLF or CR. A quote opens a quoted cell only at the start of the cell;
    elsewhere it is an ordinary character. A row whose quotes are broken ends at the next line
    end.

    Args:
        data: Bytes that begin with a row.
        ended: True if the file ends with *data*; if not, a last row is dropped unless its end is
            certain.
        width: Number of cells that a row must have; None for any.
        separator: Byte between cells.

    Yields:
        Each row, including those with a fault.
    """
    position, size = 0, len(data)
    while position < size:
        start = position
        cells: list[bytes | None] = []
        fault = ""
        while True:
            field = _FIELDS[separator].match(data, position)
            assert field is not None  # noqa: S101 - the pattern matches an empty cell
            position = field.end()
            following = data[position] if position < size else -1
            if following == QUOTE:
                fault = _UNCLOSED
                break
            if following not in (separator, LF, CR, -1):
                fault = "text follows a closing quote"
                break
            quoted, plain = field.groups()
            cells.append(plain if quoted is None else quoted.replace(b'""', b'"'))
            if following != separator:
                break
            position += 1
        line_end = _LINE_END.search(data, start if fault else position)
        # A CR at the very end of the data may be half of a CRLF.
        if not ended and (line_end is None or line_end.end() == size or fault == _UNCLOSED):
            return
        position = line_end.end() if line_end else size
        if not fault and cells == [None]:
            continue
        yield _row(cells, start, position, fault, width)


def _row(cells: Sequence[bytes | None], start: int, end: int, fault: str, width: int | None) -> Row:
    """Decode and count a row's cells."""
    if not fault and width is not None and len(cells) != width:
        fault = f"{len(cells)} cells instead of {width}"
    texts: list[str | None] = []
    try:
        for cell in () if fault else cells:
            texts.append(None if cell is None else cell.decode())  # noqa: PERF401 - len(texts)
    except UnicodeDecodeError as error:
        fault = f"bytes that are not UTF-8 in cell {len(texts) + 1} ({error.reason})"
    return Row([] if fault else texts, start, end, fault)


def choose_separator(sample: bytes, *, ended: bool, known: Callable[[Sequence[str]], int]) -> int:
    """Choose the byte that separates a file's cells, by its header row and first rows.

    Only separators that split the header row are candidates. These decide, in this order: some
    first row has as many cells as the header row; more labels are known; more of the first rows
    have as many cells; the order of `SEPARATORS`.

    Args:
        sample: The beginning of the file.
        ended: True if it is the whole file.
        known: Counts how many of some labels are known.

    Returns:
        The separator; a comma if none splits the header row.
    """
    found: list[tuple[int, Sequence[str | None]]] = []
    for separator in SEPARATORS:
        if separator in sample:
            header = next(careful_rows(sample, ended=ended, separator=separator), None)
            if header and len(header.cells) > 1:
                found.append((separator, header.cells))
    if len(found) < 2:
        return found[0][0] if found else SEPARATORS[0]

    def rank(candidate: tuple[int, Sequence[str | None]]) -> tuple[bool, int, int]:
        separator, header = candidate
        rows = careful_rows(sample, ended=ended, separator=separator)
        widths = [len(row.cells) for row in islice(rows, 1, 1 + FIRST_ROWS)]
        alike = widths.count(len(header))
        return alike > 0 or not widths, known([cell or "" for cell in header]), alike

    return max(found, key=rank)[0]
