"""Columns that stream maps change, and the misfit columns beside them."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from filetap.columns.types import MISFIT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def is_mapped_away(name: str, stream: str, maps: Mapping[str, Any]) -> bool:
    """True if a stream map changes or drops the base column: its misfits must not leak.

    Maps that make another stream of this one (``__source__``) do not count: this one would
    lose the values.
    """
    origin = name.removesuffix(MISFIT_SUFFIX)
    return name != origin and any(
        members.get(origin, origin) != origin and name not in _names_in(members)
        for members in _maps_of(stream, maps)
        if "__source__" not in members
    )


def mapped_misfits(types: Collection[str], stream: str, maps: Mapping[str, Any]) -> list[str]:
    """The misfit columns that a stream map names, of columns among *types*."""
    named = {name for members in _maps_of(stream, maps) for name in _names_in(members)}
    return [name + MISFIT_SUFFIX for name in types if name + MISFIT_SUFFIX in named]


def _maps_of(stream: str, maps: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The stream maps of one stream, including those that make another stream of it."""
    return [
        members
        for pattern, members in maps.items()
        if isinstance(members, dict) and fnmatch(members.get("__source__") or stream, stream)
        if "__source__" in members or fnmatch(stream, pattern)
    ]


def _names_in(members: Mapping[str, Any]) -> set[str]:
    """The words of a stream map that may be columns: its members, and what expressions name."""
    expressions = " ".join(text for text in members.values() if isinstance(text, str))
    return {*members, *re.findall(r"\w+", expressions)}
