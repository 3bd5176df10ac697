"""Inference: the narrowest type that every value of a column fits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

from filetap.columns.nested import all_nested
from filetap.columns.patterns import any_match
from filetap.columns.types import NESTED, TYPES, pattern_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import polars as pl

    from filetap.vendor import Documented


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the values of some columns have shown so far.

    Attributes:
        candidates: Column → types that every value fits; all types before the first value.
        valued: Columns with at least one value that is not empty.
    """

    candidates: Mapping[str, frozenset[str]]
    valued: frozenset[str]

    def __or__(self, other: Evidence) -> Evidence:
        """The evidence of both together; columns keep the order of first sight."""
        names = dict.fromkeys([*self.candidates, *other.candidates])
        return Evidence(
            {c: self.candidates.get(c, _ALL) & other.candidates.get(c, _ALL) for c in names},
            self.valued | other.valued,
        )


_ALL = frozenset((*TYPES, *NESTED))
_NARROW = tuple(kind for kind in TYPES if kind != "string")
_FIRST_ROWS = 256  # enough to rule most types out before every value is checked
NO_EVIDENCE = Evidence({}, frozenset())


def observe(
    frame: pl.DataFrame, columns: Collection[str], documented: Documented, before: Evidence
) -> Evidence:
    """Look at every value of *columns*, and add it to what was seen *before*.

    Args:
        frame: Text columns.
        columns: Those of its columns whose type is open.
        documented: For the columns that are yes or no.
        before: Evidence so far: types that it rules out are not checked again.
    """
    if not columns:
        return before
    if frame.height > 2 * _FIRST_ROWS:
        before = _narrow(frame.head(_FIRST_ROWS), columns, documented, before)
    return _narrow(frame, columns, documented, before)


def _narrow(
    frame: pl.DataFrame, columns: Collection[str], documented: Documented, before: Evidence
) -> Evidence:
    """Rule out the types that a value of *frame* does not fit."""
    found = {name: frame[name] for name in columns}
    fitting: dict[str, set[str]] = {name: {"string"} for name in columns}
    for kind in _NARROW:
        for yes_no in (False, True):
            names = [
                name
                for name in columns
                if kind in before.candidates.get(name, _ALL) - {"string"}
                and (name in documented.yes_no) == yes_no
            ]
            odd = any_match([found[name] for name in names], pattern_of(kind, yes_no), but=True)
            for name, has_odd in zip(names, odd, strict=True):
                if not has_odd:
                    fitting[name].add(kind)
    if documented.nested:
        for name in columns:
            possible = before.candidates.get(name, _ALL).intersection(NESTED)
            fitting[name].update(kind for kind in possible if all_nested(found[name], kind))
    valued = any_match([found[name] for name in columns], "(?s).")
    return before | Evidence(
        {name: frozenset(fitting[name]) for name in columns},
        frozenset(compress(columns, valued)),
    )


def infer(column: str, evidence: Evidence, documented: Documented) -> str:
    """The type of a column that nothing pins: the narrowest that every value fits.

    A column without values takes the type that its name suggests, else ``string``.
    """
    if documented.is_text(column):
        return "string"
    if column not in evidence.valued:
        return documented.assume(column)
    candidates = evidence.candidates[column]
    if column in documented.yes_no and "boolean" in candidates:
        return "boolean"
    order = ("integer", "number", "boolean", "date", "date-time", *NESTED, "string")
    return next(kind for kind in order if kind in candidates)
