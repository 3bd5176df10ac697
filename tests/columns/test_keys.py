"""Keys made of whole rows."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from filetap.columns.keys import with_row_hashes
from filetap.read.batch import Batch

NAMES = ("a", "ab", "b", "_1")
CELLS = st.none() | st.text("ab\x1e\x1f\x1b_1é", max_size=4)
ROWS = st.lists(st.tuples(*[CELLS] * len(NAMES)), min_size=1, max_size=6)


def _keys(rows: list[tuple[str | None, ...]], names: list[str]) -> list[tuple[str, int]]:
    """The keys of a file's rows, each in a batch of its own."""
    frame = pl.DataFrame(rows, dict.fromkeys(NAMES, pl.String), orient="row").select(names)
    numbers = pl.int_range(1, frame.height + 1, eager=True)
    batches = [Batch(frame[i : i + 1], numbers[i : i + 1]) for i in range(frame.height)]
    whole = [Batch(frame, numbers)]
    found = [
        [key for batch in with_row_hashes(parts) for key in batch.frame.rows()]
        for parts in (batches, whole)
    ]
    assert found[0] == found[1]
    return [row[-2:] for row in found[0]]


@given(ROWS, st.permutations(NAMES))
def test_row_hashes(rows: list[tuple[str | None, ...]], names: list[str]) -> None:
    """Rows share a hash if and only if their cells are equal, in any order of columns.

    The occurrence is which of the equal rows of its file a row is.
    """
    keys = _keys(rows, names)
    assert keys == _keys(rows, [*NAMES])
    for i, row in enumerate(rows):
        same = [j for j in range(len(rows)) if keys[j][0] == keys[i][0]]
        assert same == [j for j in range(len(rows)) if rows[j] == row]
        assert keys[i][1] == same.index(i) + 1
