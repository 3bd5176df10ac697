"""Column names made from a file's labels."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING
from unicodedata import category, combining, normalize

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Lower-casing a dotted capital I leaves a combining dot behind.
_DOTTED_I = re.compile("i\N{COMBINING DOT ABOVE}+")
_JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
_VIRAMA = 9  # canonical combining class of the signs that join two consonants
_LONGEST_SHOWN = 60  # characters of a label in a message
_MOST_SHOWN = 5  # pairs of labels in a message


def column_names(header: Sequence[str], reserved: Iterable[str] = ()) -> list[str]:
    """Unique column names in snake case, none of them in *reserved*.

    Vendors' documents and header rows spell names differently (``User ID``, ``user_id``); all
    spellings become the same name.

    Returns:
        A name for each label: its `normal_form`; ``column_<position>`` (from 1) if that is empty;
        with ``_2``, ``_3``, … appended if the name is taken.
    """
    taken = set(reserved)
    following: dict[str, int] = {}  # name → the first number that may be free after it
    names = []
    for position, label in enumerate(header, start=1):
        name = stem = normal_form(label) or f"column_{position}"
        number = following.get(stem, 2)
        while name in taken:
            name, number = f"{stem}_{number}", number + 1
        following[stem] = number
        taken.add(name)
        names.append(name)
    return names


def composed(label: str) -> str:
    """A label in lower case and composed (NFC), with its spaces and punctuation."""
    return normalize("NFC", _DOTTED_I.sub("i", normalize("NFC", label).lower()))


def normal_form(label: str) -> str:
    """A label in snake case; empty if it has no letters or digits.

    It is lower-cased and composed (NFC). Each run of characters that are not letters or digits
    becomes one ``_``, or is dropped at the ends; ``_`` is put before a leading digit. A combining
    mark belongs to the letter or digit before it. A zero-width joiner stays within a conjunct,
    as in Devanagari and Sinhala; elsewhere, as between the parts of a Persian word, it becomes
    ``_`` like any other character.
    """
    text = composed(label)
    if not text.isascii():
        text = _letters(text)
    name = re.sub(r"[\x00-/:-@\[-`{-\x7f]+", "_", text).strip("_")
    return f"_{name}" if name[:1].isdigit() else name


def _letters(text: str) -> str:
    """*text* with ``_`` for each character that is not part of a letter or digit."""
    kept = []
    before = "_"
    for here, after in pairwise(f"{text}_"):
        belongs = here.isalnum() or (before != "_" and _is_mark(here))
        if here in _JOINERS:
            belongs = combining(before) == _VIRAMA and after.isalnum()
        before = here if belongs else "_"
        kept.append(before)
    return "".join(kept)


@lru_cache(maxsize=4096)
def _is_mark(character: str) -> bool:
    """True for a combining mark."""
    return category(character).startswith("M")


def clashes(labels: Sequence[str], names: Sequence[str]) -> str:
    """Describe different labels with the same normal form: their order decides the names.

    Args:
        labels: The labels of a file's columns.
        names: Their `column_names`.

    Returns:
        The first pair of labels for each such form; empty if there is none.
    """
    owners = dict(zip(names, labels, strict=False))
    pairs: dict[str, str] = {}
    for label, name in zip(labels, names, strict=False):
        form = normal_form(label)
        owner = owners.get(form, label)
        if form != name and owner != label and form not in pairs:
            pairs[form] = f"{shown(owner)!r} is {form} and {shown(label)!r} is {name}"
    more = f", and {len(pairs) - _MOST_SHOWN} more" if len(pairs) > _MOST_SHOWN else ""
    return ", ".join(islice(pairs.values(), _MOST_SHOWN)) + more


def shown(text: str) -> str:
    """A name from outside, shortened and without control characters, for a message."""
    cut = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut)
