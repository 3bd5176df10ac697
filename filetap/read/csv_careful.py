"""CSV read row by row: slow, and exact about what is wrong with a row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SEPARATORS = b",|\t;"  # what may stand between cells
FIRST_ROWS = 50  # that a separator is tried on, beside the header row
QUOTE, LF, CR = b'"\n\r'


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
    for separator in SEPARATORS
}
_UNCLOSED = "a quote is never closed"
_LINE_END = re.compile(rb"\r\n|\r|\n")


def careful_rows(
    data: bytes, *, ended: bool, width: int | None = None, separator: int = SEPARATORS[0]
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


def choose_separator(sample: bytes, *, ended: bool, known: Callable[[Sequence[str]], int]) -> int:
    """The byte between the cells of a file, by its header row and first rows.

    Only a separator that parts the header row is considered. Of several, one that also parts
    some first row into as many cells comes first, then the one with most known labels, then the
    one that most of the first rows agree with, then the order of `SEPARATORS`.

    Args:
        sample: The beginning of the file.
        ended: Whether it is the whole file.
        known: How many of some labels are known.

    Returns:
        A comma where nothing parts the header row.
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
