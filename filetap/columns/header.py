"""Recognises a first line that is a row of data, because the file has no header."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_VALUE = re.compile(
    r"""
    [+-]?[0-9]+(?:\.[0-9]+)?                            # a number
    | [0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T\ ][0-9:.,+Z\ -]*)?  # a date or a time
    | [0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}       # a UUID
    | [^@\s]+@[^@\s]+\.[a-z]+                           # an address
    | true | false | null | \\N
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+", re.IGNORECASE)  # snake case


def looks_like_values(labels: Sequence[str]) -> bool:
    """True if some labels can only be values, and none is certainly a column's name."""
    cells = [label.strip() for label in labels]
    return any(map(_VALUE.fullmatch, cells)) and not any(map(_NAME.fullmatch, cells))
