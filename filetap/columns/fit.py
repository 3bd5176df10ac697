"""Fitting: a batch's columns get their types without losing or changing a value."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

from filetap.columns.nested import are_nested, on_one_line
from filetap.columns.patterns import any_match
from filetap.columns.types import (
    MISFIT_SUFFIX,
    NESTED,
    canonical,
    fits,
    fits_plainly,
    pattern_of,
)
from filetap.lazy import pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filetap.vendor import Documented


@dataclass(frozen=True, slots=True)
class Fitted:
    """A batch whose columns have their types.

    Attributes:
        frame: Text columns in the order of the types asked for, in canonical text; a value
            that does not fit its type is null there and whole in ``<column>__text``.
        misfits: Column → how many of its values do not fit.
    """

    frame: pl.DataFrame
    misfits: Mapping[str, int]


def fit(frame: pl.DataFrame, types: Mapping[str, str], documented: Documented) -> Fitted:
    """Fit a batch's columns to their types, without losing or changing a value.

    Args:
        frame: Text columns as read, or integers of columns with that type.
        types: Column → type of the columns that are wanted; one that the frame lacks is
            null. ``<column>__text`` columns are filled from their column's misfits.
        documented: For the columns that are yes or no.
    """
    there = dict(zip(frame.columns, frame.dtypes, strict=True))
    wanted = {c: t for c, t in types.items() if c in there}
    # Integers that were parsed as such fit.
    typed = {c: t for c, t in wanted.items() if t != "string" and there[c] == pl.String}
    # Most columns have nothing but plain values: for these, one pattern is all that is matched.
    nested = {c: t for c, t in typed.items() if t in NESTED}
    odd = _unmatched(frame, {c: fits_plainly(t) for c, t in typed.items() if c not in nested})
    checks = frame.select(
        *(fits(typed[c], pl.col(c), yes_no=c in documented.yes_no).alias(c) for c in sorted(odd)),
        *(are_nested(frame[c], t).alias(c) for c, t in nested.items()),
    )
    odd |= nested.keys()
    counts = checks.select((~pl.all()).sum()).row(0, named=True) if odd else {}
    misfits = {c: counts[c] for c in typed if counts.get(c)}
    empty = _which(frame, {c: pl.col(c) == "" for c in odd})
    columns: list[pl.Expr] = []
    for name in dict.fromkeys([*types, *(c + MISFIT_SUFFIX for c in misfits)]):
        origin = name.removesuffix(MISFIT_SUFFIX)
        if name in typed:
            good = pl.col(name)
            if name in misfits:
                good = pl.when(checks[name]).then(good)
            if name in empty:
                good = pl.when(good != "").then(good)
            if name in nested:
                good = on_one_line(good)
            else:
                good = canonical(typed[name], good, plain=name not in odd)
            columns.append(good.alias(name))
        elif name in wanted:
            columns.append(pl.col(name))
        elif name != origin and origin in misfits:
            columns.append(pl.when(~checks[origin]).then(pl.col(origin)).alias(name))
        else:
            # As long as the frame, also where it gives no other column.
            columns.append(pl.repeat(None, pl.len(), dtype=pl.String).alias(name))
    return Fitted(frame.select(columns), misfits)


def misfitting(
    frame: pl.DataFrame, types: Mapping[str, str], documented: Documented
) -> frozenset[str]:
    """The columns of *frame* with a value that does not fit its type among *types*."""
    typed = {c: kind for c in frame.columns if (kind := types.get(c, "string")) != "string"}
    nested = {c for c, t in typed.items() if t in NESTED and not are_nested(frame[c], t).all()}
    patterns = {
        c: pattern_of(t, c in documented.yes_no) for c, t in typed.items() if t not in NESTED
    }
    return _unmatched(frame, patterns) | nested


def _unmatched(frame: pl.DataFrame, patterns: Mapping[str, str]) -> frozenset[str]:
    """The columns with a value that does not match the column's pattern."""
    found: set[str] = set()
    for pattern in set(patterns.values()):
        names = [name for name, own in patterns.items() if own == pattern]
        columns = [frame[name] for name in names]
        found.update(compress(names, any_match(columns, pattern, but=True)))
    return frozenset(found)


def _which(frame: pl.DataFrame, tests: Mapping[str, pl.Expr]) -> frozenset[str]:
    """The columns for which a test is true of any row."""
    if not tests:
        return frozenset()
    found = frame.select(test.any().alias(name) for name, test in tests.items())
    return frozenset(name for name in found.columns if found[name][0])


def key_hashes(frame: pl.DataFrame, keys: Sequence[str]) -> pl.Series:
    """A number for each row's key, equal for equal keys; null where the key is not whole."""
    if not keys:
        return pl.zeros(frame.height, pl.UInt64, eager=True)
    whole = pl.all_horizontal(pl.col(keys).is_not_null())
    values = pl.struct(pl.col(keys).cast(pl.String))  # integers in one batch, text in another
    return frame.select(pl.when(whole).then(values.hash())).to_series()
