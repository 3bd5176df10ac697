"""Rows of JSON that are kept while a file is read for its names, so that it is read once only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from filetap.read.batch import HELD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_MOST_SINGLE = 5_000  # rows that were read one by one


class HeldRows:
    """The rows of a file so far, unless they are too many or one of them is irregular.

    A frame's columns are the positions of its names among all names, in order of first appearance.

    Attributes:
        is_open: True as long as every row was kept.
        size: Bytes of their objects.
    """

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._single: list[Mapping[str, str | None]] = []  # after those of the frames
        self._count = 0
        self.size = 0
        self.is_open = True

    def close(self) -> None:
        """Forget the rows: the file has to be read again."""
        self.is_open = False
        self._parts, self._single = [], []

    def add(self, frame: pl.DataFrame, size: int) -> None:
        """Add rows, and the bytes of their objects."""
        self._end_single()
        self._parts.append(frame)
        self._grow(size)

    def add_single(self, cells: Iterable[str | None], size: int) -> None:
        """Add a row, its cells in order of their names, and the bytes of its object."""
        self._count += 1
        self._single.append({str(n): cell for n, cell in enumerate(cells)})
        self._grow(size)

    def _grow(self, size: int) -> None:
        """Count bytes."""
        self.size += size
        if self.size > HELD or self._count > _MOST_SINGLE:
            self.close()

    def _end_single(self) -> None:
        """Make a frame of the rows that were read one by one."""
        if self._single:
            names = dict.fromkeys(name for row in self._single for name in row)
            schema = dict.fromkeys(names, pl.String)
            self._parts.append(pl.DataFrame(self._single, schema))
            self._single = []

    def frame(self, names: Sequence[str]) -> pl.DataFrame | None:
        """All rows, with names for the columns; None if they were not kept."""
        if not self.is_open:
            return None
        self._end_single()
        positions = [str(n) for n in range(len(names))]
        empty = pl.DataFrame(schema=dict.fromkeys(positions, pl.String))
        frame = pl.concat([empty, *self._parts], how="diagonal")
        self.close()
        return frame.rename(dict(zip(positions, names, strict=True)))
