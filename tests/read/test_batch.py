"""Batches are merged and split without losing a row, and never exceed a bound."""

from __future__ import annotations

import polars as pl
import pytest

from filetap.errors import StateError
from filetap.read import batch
from filetap.read.batch import Batch, Malformed, rebatch


@pytest.mark.parametrize("size", [1, 5, 40])
@pytest.mark.parametrize("most", [1, 7, 100])
@pytest.mark.parametrize("fill", [True, False])
def test_rebatch(size: int, most: int, fill: bool) -> None:  # noqa: FBT001 - a table of one column
    """However rows are batched, each row after the skipped ones is emitted once, numbered."""
    bad = {3, 4, 5, 20, 37}
    good = [n for n in range(1, 38) if n not in bad]
    batches = []
    for low in range(0, 37, size):
        numbers = pl.Series([n for n in good if low < n <= low + size], dtype=pl.Int64)
        rows = [Malformed(n, str(n), "odd") for n in sorted(bad) if low < n <= low + size]
        batches.append(Batch(pl.DataFrame({"a": numbers.cast(pl.String)}), numbers, rows))
    for skip in range(38):
        found = list(rebatch(batches, "the file", skip=skip, most=most, fill=fill))
        assert all(0 < p.frame.height + len(p.malformed) <= most for p in found)
        assert all(p.frame["a"].cast(pl.Int64).equals(p.numbers) for p in found)
        numbered = [sorted([*p.numbers, *(row.number for row in p.malformed)]) for p in found]
        assert [number for part in numbered for number in part] == list(range(skip + 1, 38))
        assert {row.number for p in found for row in p.malformed} == {n for n in bad if n > skip}
        if fill:
            assert all(len(part) == most for part in numbered[:-1])
    with pytest.raises(StateError, match=r"the file: .* 38 rows .* the file has 37"):
        list(rebatch(batches, "the file", skip=38, most=most, fill=fill))


def test_rebatch_bounds_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows with huge cells are emitted before a batch is full; none is lost."""
    monkeypatch.setattr(batch, "HELD", 1 << 20)
    cell = "x" * 300_000
    batches = [
        Batch(pl.DataFrame({"a": [cell] * 2}), pl.Series([n, n + 1])) for n in range(1, 20, 2)
    ]
    parts = rebatch(batches, "the file", skip=1, most=100, fill=True)
    found = [list(part.numbers) for part in parts]
    assert [number for part in found for number in part] == list(range(2, 21))
    assert max(map(len, found)) == 4


def test_many_malformed_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Malformed rows count as memory: a batch that has many does not wait for more."""
    monkeypatch.setattr(batch, "HELD", 10_000)
    none = pl.Series([], dtype=pl.Int64)
    frame = pl.DataFrame(schema={"user_id": pl.String})
    batches = [Batch(frame, none, [Malformed(n + 1, "x" * 1000, "why")]) for n in range(100)]
    sizes = [
        len(part.malformed) for part in rebatch(batches, "file", skip=0, most=100_000, fill=True)
    ]
    assert sum(sizes) == 100
    assert max(sizes) <= 11
