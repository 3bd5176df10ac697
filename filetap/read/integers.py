"""Integer columns parsed as integers at once, with the proof that nothing of the text is lost.

Text that parses to an integer is never shorter than the integer's canonical form: a plus sign,
leading zeros, blanks and the minus of ``-0`` only make it longer. So if the cells of a block,
integers counted by their canonical lengths, take as many bytes as the block has beside separators,
quotes and line ends, every integer in it is written canonically. That no row is short is proven
before: a separator that it lacks would be counted, and make up for a zero that was lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filetap.lazy import pl

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 10**18  # its digits can be counted, and those of its negative


def content_length(frame: pl.DataFrame) -> int | None:
    """Bytes of all cells, integers by their canonical text; None if an integer is too large."""
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    numbers = [name for name, kind in frame.schema.items() if kind == pl.Int64]
    lengths = _digits(frame.select(numbers)) if numbers else 0
    if lengths is None or not texts:
        return lengths
    return lengths + int(sum(frame.select(pl.col(texts).str.len_bytes().sum()).row(0)))


def _digits(frame: pl.DataFrame) -> int | None:
    """Characters of all integers; None if one has 19 digits or more."""
    lowest, highest = frame.min().row(0), frame.max().row(0)
    counts: list[pl.Expr] = []
    total = 0
    for position, (low, high) in enumerate(zip(lowest, highest, strict=True)):
        if low is None:
            continue
        if low <= -_MOST or high >= _MOST:
            return None
        value = pl.nth(position)
        fewest = len(str(max(low, 0)))
        total += fewest * (frame.height - frame.to_series(position).null_count())
        steps = [value >= 10**n for n in range(fewest, len(str(max(high, 0))))]
        if low < 0:
            steps += [value < 0, *(value <= -(10**n) for n in range(1, len(str(-low))))]
        counts += [step.sum().alias(str(len(counts) + n)) for n, step in enumerate(steps)]
    return total + (sum(frame.select(counts).row(0)) if counts else 0)


def as_text(frames: Sequence[pl.DataFrame]) -> Sequence[pl.DataFrame]:
    """Frames of the same columns, integers as text if they are text in any of them."""
    if all(frame.dtypes == frames[0].dtypes for frame in frames):
        return frames
    return [frame.cast(pl.String) for frame in frames]
