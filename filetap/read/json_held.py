"""Rows of JSON that are kept while a file is read for its names, and so are read once only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from filetap.read.batch import HELD, Batch
from filetap.read.integers import as_integers
from filetap.read.json_waiting import ROWS, SIZE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from filetap.read.json_waiting import Cell

_MOST_SINGLE = 5_000  # rows that were read one by one


class HeldRows:
    """The first rows of a file: all of them, unless they are too many or one is irregular.

    A frame's columns are the positions of its names among all names, in order of first appearance.

    Attributes:
        is_open: True as long as every row was kept.
        size: Bytes of their objects.
        end: Bytes of the file up to the end of the rows, once there are more.
    """

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._single: list[Mapping[str, Cell]] = []  # after those of the frames
        self._count = 0
        self.size = 0
        self.end = 0
        self.is_open = True

    def close(self) -> None:
        """Keep no more rows, and none after the last frame: it is not known where they end."""
        self.is_open = False
        self._single = []

    def add(self, frame: pl.DataFrame, size: int, end: int) -> None:
        """Add rows, the bytes of their objects, and those of the file up to their end."""
        self._end_single()
        self._parts.append(frame)
        self.end = end
        self._grow(size)

    def add_single(self, cells: Iterable[Cell], size: int) -> None:
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

    def batches(self, columns: Sequence[str], integers: Collection[str]) -> Iterator[Batch]:
        """Yield the rows in batches, with column names for the positions; then they are gone.

        Args:
            columns: The names.
            integers: Those of them that may come as integers, where all their cells are some.
        """
        self._end_single()
        positions = [str(n) for n in range(len(columns))]
        asked = [n for n, name in zip(positions, columns, strict=True) if name in integers]
        parts, whole = self._parts, list[str]()
        for position in asked:
            found = [as_integers(part[position]) for part in parts if position in part.columns]
            whole += [position] if all(one is not None for one in found) else []
        kinds = {position: pl.Int64 if position in whole else pl.String for position in positions}
        parts = [part.cast({n: kinds[n] for n in part.columns}) for part in parts]
        frame = pl.concat([pl.DataFrame(schema=kinds), *parts], how="diagonal")
        frame = frame.rename(dict(zip(positions, columns, strict=True)))
        del parts
        self._parts = []
        most = min(ROWS, max(1, SIZE * frame.height // max(1, self.size)))
        for start in range(0, frame.height, most):
            part = frame[start : start + most].rechunk()
            numbers = range(start + 1, start + 1 + part.height)
            yield Batch(part, pl.Series(numbers, dtype=pl.Int64))
