"""Rows of a workbook on their way into batches: single ones, blocks of them, malformed ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from filetap.read.batch import Batch, Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Waiting:
    """Rows that wait until they fill a batch.

    Attributes:
        number: Rows so far, malformed and skipped ones included.

    Args:
        columns: Column names.
        most: Rows that fill a batch, malformed ones included.
        longest: Characters above which a batch is full.
        skip: Number of the first row that is not dropped.
    """

    def __init__(self, columns: Sequence[str], most: int, longest: int, skip: int) -> None:
        self.number = 0
        self._columns = columns
        self._most = most
        self._longest = longest
        self._skip = skip
        self._frames: list[pl.DataFrame] = []
        self._rows: list[Sequence[str | None]] = []
        self._numbers: list[int] = []
        self._malformed: list[Malformed] = []
        self._size = 0

    def add(self, cells: Sequence[str | None], fault: str) -> Iterator[Batch]:
        """Add one row, malformed if it has a *fault*, and yield the batch that it fills."""
        self.number += 1
        if self.number < self._skip:
            return
        if fault:
            raw = json.dumps(cells, ensure_ascii=False)
            self._malformed.append(Malformed(self.number, raw, fault))
            self._size += len(raw)
        else:
            self._rows.append(cells)
            self._numbers.append(self.number)
            self._size += sum(map(len, filter(None, cells)))
        yield from self._full()

    def add_all(self, frame: pl.DataFrame) -> Iterator[Batch]:
        """Add rows, and yield the batches that they fill."""
        first = self.number + 1
        self.number += frame.height
        start = min(frame.height, max(0, self._skip - first))
        if start == frame.height:
            return
        self._flush()
        sizes = frame.select(pl.sum_horizontal(pl.all().str.len_chars())).to_series()
        ends = np.concatenate(([0], np.cumsum(sizes.to_numpy(), dtype=np.int64)))
        while start < frame.height:
            room = self._most - len(self._numbers) - len(self._malformed)
            # The row that makes the batch too long is its last one.
            fitting = np.searchsorted(ends, self._longest - self._size + ends[start], "right")
            stop = min(start + room, int(fitting), frame.height)
            self._frames.append(frame[start:stop])
            self._numbers += range(first + start, first + stop)
            self._size += int(ends[stop] - ends[start])
            start = stop
            yield from self._full()

    def rest(self) -> Iterator[Batch]:
        """Yield what waits, at the end of all rows."""
        if self.number < self._skip:  # fewer rows than were read before: only their count is of use
            self._rows, self._numbers = [[None] * len(self._columns)], [self.number]
        if self._numbers or self._malformed:
            yield self._take()

    def _full(self) -> Iterator[Batch]:
        """Yield what waits, if it fills a batch."""
        count = len(self._numbers) + len(self._malformed)
        if count >= self._most or self._size > self._longest:
            yield self._take()

    def _take(self) -> Batch:
        """All rows as a batch; none wait afterwards."""
        self._flush()
        empty = pl.DataFrame(schema=dict.fromkeys(self._columns, pl.String))
        frame = pl.concat(self._frames or [empty], rechunk=True)
        batch = Batch(frame, pl.Series(self._numbers, dtype=pl.Int64), self._malformed)
        self._frames, self._numbers, self._malformed, self._size = [], [], [], 0
        return batch

    def _flush(self) -> None:
        """Make a frame of the rows that were added one by one."""
        if self._rows:
            columns = zip(*self._rows, strict=True)
            types = (pl.String,) * len(self._columns)
            self._frames.append(pl.DataFrame(list(map(pl.Series, self._columns, columns, types))))
            self._rows = []
