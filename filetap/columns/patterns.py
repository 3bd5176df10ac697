"""Patterns matched against many columns at a time."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from filetap.lazy import pl

if TYPE_CHECKING:
    from collections.abc import Sequence

_FEW_ROWS = 4096
_AT_ONCE = 500  # columns: each pattern takes memory of its own while it is matched


def any_match(columns: Sequence[pl.Series], pattern: str, *, but: bool = False) -> list[bool]:
    """For each text column, True if *pattern* is found in any of its values.

    Columns of few rows are put one below the other: compiling a pattern for each of them would take
    longer than matching it.

    Args:
        columns: Columns of one length.
        pattern: Regular expression of Rust.
        but: True to look for values in which *pattern* is not found; nulls never count.
    """
    if not columns:
        return []
    count, height = len(columns), len(columns[0])
    if height <= _FEW_ROWS:
        found = pl.concat(columns).str.contains(pattern)
        found = ~found if but else found
        if not found.any():
            return [False] * count
        return found.fill_null(value=False).reshape((count, height)).arr.any().to_list()
    result: list[bool] = []
    rest = iter(columns)
    while some := list(islice(rest, _AT_ONCE)):
        frame = pl.DataFrame([column.alias(str(n)) for n, column in enumerate(some)])
        matches = pl.all().str.contains(pattern)
        result += frame.select((~matches if but else matches).any()).row(0)
    return result
