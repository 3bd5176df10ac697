"""Rows of JSON that wait until they are enough for a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from filetap.read.batch import Batch, Malformed
from filetap.read.integers import unify_types
from filetap.read.json_fast import LARGEST, object_ends

if TYPE_CHECKING:
    from collections.abc import Sequence

ROWS = 10_000  # of a batch
SIZE = 16 << 20  # bytes of a batch's objects

Cell = str | None


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows, and the text of their objects."""

    frame: pl.DataFrame
    text: bytes


class WaitingRows:
    """Rows of the next batch.

    Attributes:
        average: Bytes of one of the objects that were added last.

    Args:
        columns: The column names.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        """Begin a batch."""
        self._schema = dict.fromkeys(columns, pl.String)
        self.average = float(LARGEST)
        self._clear()

    def _clear(self) -> None:
        """Begin a batch."""
        self._frames: list[pl.DataFrame] = []
        self._cells: list[Sequence[Cell]] = []  # of rows after those of the frames
        self._numbers: list[int] = []
        self._malformed: list[Malformed] = []
        self._size = 0  # bytes of the objects, except those in the texts
        self._texts: list[bytes] = []  # of objects, with what is between them
        self._texts_size = 0

    def add_rows(self, rows: Rows, before: int) -> None:
        """Add rows that follow row number *before*."""
        self._end_cells()
        self._frames.append(rows.frame)
        self._numbers += range(before + 1, before + 1 + rows.frame.height)
        self._texts.append(rows.text)
        self._texts_size += len(rows.text)
        self.average = len(rows.text) / rows.frame.height

    def add_row(self, row: Sequence[Cell] | Malformed, number: int, size: int) -> None:
        """Add one row: its cells, its number, and its object's bytes."""
        self._size += size
        if isinstance(row, Malformed):
            self._malformed.append(row)
        else:
            self._cells.append(row)
            self._numbers.append(number)

    def room(self) -> tuple[int, int]:
        """How many objects, and bytes of them, are too few to fill the batch, or just enough."""
        # What is between the objects does not count, but takes time to find: so only if it matters.
        if self._size + self._texts_size > SIZE - LARGEST:
            self._size += sum(int(np.diff(object_ends(t), axis=0).sum()) for t in self._texts)
            self._texts, self._texts_size = [], 0
        count = len(self._numbers) + len(self._malformed)
        return ROWS - count, SIZE - self._size - self._texts_size

    @property
    def is_full(self) -> bool:
        """True if the rows are enough for a batch."""
        rows, size = self.room()
        return not rows or size < 0

    @property
    def is_empty(self) -> bool:
        """True if no rows are waiting."""
        return not self._numbers and not self._malformed

    def batch(self) -> Batch:
        """The rows as a batch; begins the next one."""
        self._end_cells()
        frame = (
            pl.concat(unify_types(self._frames))
            if self._frames
            else pl.DataFrame(schema=self._schema)
        )
        batch = Batch(frame.rechunk(), pl.Series(self._numbers, dtype=pl.Int64), self._malformed)
        self._clear()
        return batch

    def _end_cells(self) -> None:
        """Make a frame of the cells."""
        if self._cells:
            self._frames.append(pl.DataFrame(self._cells, self._schema, orient="row"))
            self._cells = []
