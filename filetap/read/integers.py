"""Integer columns parsed as integers at once, with the proof that nothing of the text is lost.

Text that parses to an integer is never shorter than the integer's canonical form: a plus sign,
leading zeros, blanks and the minus of ``-0`` only make it longer. So if the cells of a block,
integers counted by their canonical lengths, take as many bytes as the block has beside separators,
quotes and line ends, every integer in it is written canonically. That no row is short is proven
before: a separator that it lacks would be counted, and make up for a zero that was lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from filetap.lazy import pl

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_MOST = 10**18  # its digits can be counted, and those of its negative


def content_length(frame: pl.DataFrame) -> int | None:
    """Bytes of all cells, integers by their canonical text; None if an integer is too large."""
    total = 0
    # A method of each column: for one block, planning a query would take longer than counting.
    for column in frame.get_columns():
        is_text = column.dtype == pl.String
        length = int(column.str.len_bytes().sum()) if is_text else _digits(column)
        if length is None:
            return None
        total += length
    return total


def _digits(column: pl.Series) -> int | None:
    """Characters of all integers of a column; None if one has 19 digits or more."""
    low, high = cast("int | None", column.min()), cast("int | None", column.max())
    if low is None or high is None:
        return 0
    if low <= -_MOST or high >= _MOST:
        return None
    fewest = len(str(max(low, 0)))
    longer = [column >= 10**digits for digits in range(fewest, len(str(max(high, 0))))]
    if low < 0:
        longer += [column < 0, *(column <= -(10**digits) for digits in range(1, len(str(-low))))]
    return fewest * (len(column) - column.null_count()) + sum(int(one.sum()) for one in longer)


def unify_types(frames: Sequence[pl.DataFrame]) -> Sequence[pl.DataFrame]:
    """Frames of the same columns, each as integers in all of them or as text in all of them."""
    if all(frame.dtypes == frames[0].dtypes for frame in frames):
        return frames
    columns = [_unify([frame[name] for frame in frames]) for name in frames[0].columns]
    return [pl.DataFrame(list(parts)) for parts in zip(*columns, strict=True)]


def _unify(parts: Sequence[pl.Series]) -> Sequence[pl.Series]:
    """Parts of one column, all as integers or all as text."""
    if all(part.dtype == pl.String for part in parts):
        return parts
    integers = [whole for part in parts if (whole := as_integers(part)) is not None]
    return integers if len(integers) == len(parts) else [part.cast(pl.String) for part in parts]


def as_integers(column: pl.Series) -> pl.Series | None:
    """A column of text as integers; None unless all are integers of 64 bits in canonical form."""
    if column.dtype == pl.Int64:
        return column
    integers = column.cast(pl.Int64, strict=False)
    return integers if integers.cast(pl.String).equals(column) else None


def others_as_text(frame: pl.DataFrame, integers: Collection[str]) -> pl.DataFrame:
    """*frame* with text in place of integers in all columns but *integers*."""
    return pl.DataFrame(
        [
            column.cast(pl.String)
            if column.dtype == pl.Int64 and column.name not in integers
            else column
            for column in frame.get_columns()
        ]
    )
