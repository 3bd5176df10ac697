"""A sheet's rows by columns, without a Python call a cell.

A block that is not regular is declined, and so is one with a row that is malformed: the parser
behind this names what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from filetap.read.number_columns import converted
from filetap.read.sheet_cells import CellSplitter
from filetap.read.xml_text import texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filetap.read.cells import Kind
    from filetap.read.items import Block
    from filetap.read.sheet_cells import Cells
    from filetap.read.workbook import Workbook

_INDEX_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Columns:
    """The rows of a block that have a value.

    Attributes:
        frame: Their cells as text, a column for each position.
        elements: Row elements in the block, with those of blank rows.
    """

    frame: pl.DataFrame
    elements: int


class FastRows:
    """Reads blocks of one sheet's rows.

    Attributes:
        width: Columns.

    Args:
        workbook: The file.
        width: Columns.
        most: Cells of a block, blank ones included.
        longest: Bytes of all shared texts in a block.
    """

    def __init__(self, workbook: Workbook, width: int, most: int, longest: int) -> None:
        self.width = width
        self._workbook = workbook
        self._most = most
        self._longest = longest
        self._cells = CellSplitter(self._type)
        # A cell's type, and the kind that its format shows.
        self._types: list[tuple[str, Kind | None]] = []

    def read(self, block: Block) -> Columns | None:
        """The rows of a block; None if they are not proven regular."""
        cells = self._cells.split(block)
        if cells is None or cells.height * self.width > self._most:
            return None
        frame = self._frame(cells)
        return None if frame is None else Columns(frame, cells.elements)

    def _frame(self, cells: Cells) -> pl.DataFrame | None:
        """Cells as rows of text; None if one cannot be read, or two are at the same place."""
        texts: list[pl.Series] = []
        order = [np.zeros(0, np.int64)]
        for number, (kind, shows) in enumerate(self._types):
            places = np.flatnonzero(cells.attributes == number)
            if len(places):
                text = self._convert(cells.values.gather(places), kind, shows)
                if text is None:
                    return None
                texts.append(text)
                order.append(places)
        places = np.concatenate(order)
        rows, columns = cells.rows[places], cells.columns[places]
        # The last text is that of places without a cell.
        text = pl.concat((*texts, pl.Series([None], dtype=pl.String)), rechunk=True)
        is_full = (text.str.len_bytes() > 0).fill_null(value=False).to_numpy()[:-1]
        if (columns[is_full] >= self.width).any():
            return None
        has_value = np.zeros(cells.height, np.bool_)
        has_value[rows[is_full]] = True
        kept = np.flatnonzero(has_value[rows] & (columns < self.width))
        height = int(np.count_nonzero(has_value))
        at = columns[kept] * height + (np.cumsum(has_value) - 1)[rows[kept]]
        grid = np.full(height * self.width, len(places))
        grid[at] = kept
        if np.count_nonzero(grid < len(places)) < len(at):
            return None
        text = text.gather(grid)
        slices = (text.slice(place * height, height) for place in range(self.width))
        return pl.DataFrame([one.alias(str(place)) for place, one in enumerate(slices)])

    def _convert(self, stored: pl.Series, kind: str, shows: Kind | None) -> pl.Series | None:
        """Stored values of one type as text; None if one cannot be read."""
        if kind == "s":
            return self._shared(stored)
        if kind in {"str", "inlineStr"}:
            return texts(stored)
        return converted(stored, kind, shows, since_1904=self._workbook.since_1904)

    def _shared(self, stored: pl.Series) -> pl.Series | None:
        """Shared texts by their numbers; None if one is not known, or they are too long."""
        if not stored.str.contains(f"^[0-9]{{1,{_INDEX_DIGITS}}}$").all():
            return None
        return self._workbook.texts.take(stored.cast(pl.Int64).to_numpy(), self._longest)

    def _type(self, attributes: Mapping[str, str]) -> int:
        """The number of the type that a cell with those attributes is of."""
        kind = attributes.get("t", "n")
        style = attributes.get("s") or "0"
        found = kind, self._workbook.kinds.get(style) if kind in {"n", "d"} else None
        if found not in self._types:
            self._types.append(found)
        return self._types.index(found)
