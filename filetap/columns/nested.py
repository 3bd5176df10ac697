"""Columns of nested JSON: objects or arrays, kept as the text that they are written as."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from filetap.columns.types import NESTED, to_values
from filetap.lazy import pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SHAPES: Final = {"object": r"^(?s:\{.*\})$", "array": r"^(?s:\[.*\])$"}
# The members of an object are only skipped, the elements of an array left as they are written.
_DECODERS: Final[Mapping[str, Any]] = {
    "object": msgspec.json.Decoder(msgspec.defstruct("_Object", [])),
    "array": msgspec.json.Decoder(list[msgspec.Raw]),
}
_VALUES: Final = msgspec.json.Decoder(float_hook=Decimal)


def are_nested(values: pl.Series, kind: str) -> pl.Series:
    """For each text, True if it is empty or one JSON value of a kind; null for null.

    Args:
        values: Text column.
        kind: One of `NESTED`.
    """
    texts = values.filter(values != "")
    shaped = texts.str.contains(_SHAPES[kind]).all()
    if shaped and _count(texts.str.join("\n").item(), kind) == len(texts):
        return pl.select(pl.when(values.is_not_null()).then(pl.lit(value=True))).to_series()
    fits = {text: _is_one(text, kind) for text in texts.unique()} | {"": True}
    flags = [None if text is None else fits[text] for text in values]
    return pl.Series(values.name, flags, dtype=pl.Boolean)


def all_nested(values: pl.Series, kind: str) -> bool:
    """True if every text is empty or one JSON value of a kind."""
    return bool(are_nested(values, kind).all())


def _count(text: str, kind: str) -> int:
    """How many values of a kind a text has, one after the other; -1 if it is not valid.

    Texts that each begin and end with a bracket may be joined by a line end: no value can reach
    from one into the next, where neither a string nor a comma can be. So there are at least as
    many values as texts.
    """
    try:
        return len(_DECODERS[kind].decode_lines(text))
    except (RecursionError, UnicodeError, msgspec.MsgspecError):
        return -1


def _is_one(text: str, kind: str) -> bool:
    """True if a text is one JSON value of a kind, without anything around it."""
    return text[0] == ("{" if kind == "object" else "[") and _count(text, kind) == 1


def on_one_line(text: pl.Expr) -> pl.Expr:
    """Nested JSON with blanks in place of its line ends, which no string in it can have."""
    return text.str.replace_all("[\r\n]", " ")


def iter_records(frame: pl.DataFrame, types: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Rows of a fitted frame as dictionaries, nested JSON as objects and lists.

    Args:
        frame: Columns in canonical text, or integers as such.
        types: Column → type.
    """
    nested = [name for name in frame.columns if types.get(name) in NESTED]
    for record in to_values(frame, types).iter_rows(named=True):
        for name in nested:
            if record[name] is not None:
                record[name] = _VALUES.decode(record[name])
        yield record
