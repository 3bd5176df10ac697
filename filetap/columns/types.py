"""Column types: what each one accepts, and how its values are written.

A type is a word of JSON Schema: ``integer``, ``number``, ``boolean``, ``date``, ``date-time`` or
``string``. A value fits a type only if the type's text gives the value back; so typed columns stay
text, and a value that is written out is the value that was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filetap.lazy import pl

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPES = ("string", "integer", "number", "boolean", "date", "date-time")
NESTED = ("object", "array")  # JSON that is kept as text; only streams that have such columns
MISFIT_SUFFIX = "__text"


def _up_to(limit: str) -> str:
    """A pattern of the whole numbers from 1 to *limit* without leading zeros."""
    shorter = f"[1-9][0-9]{{0,{len(limit) - 2}}}"
    smaller = [
        f"{limit[:i]}[{'0' if i else '1'}-{int(digit) - 1}][0-9]{{{len(limit) - i - 1}}}"
        for i, digit in enumerate(limit)
        if int(digit) > (0 if i else 1)
    ]
    return "|".join((shorter, *smaller, limit))


def _day(years: str, leap_years: str) -> str:
    """A pattern of the days of the calendar in some years."""
    return (
        rf"(?:(?:{years})-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
        r"|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
        rf"|(?:{leap_years})-02-29)"
    )


# One pattern a type, for Rust's regular expressions: \d and \w would take every script's
# digits and letters. Integers are those of 64 bits. Numbers have at most 15 significant
# digits, which a double keeps, no trailing zero, and nothing that prints with an exponent.
# Letters of any case are ASCII's: (?i) alone would take the long s for an s.
_INTEGER = rf"0|{_up_to(str(2**63 - 1))}|-(?:{_up_to(str(2**63))})"
_NUMBER = "|".join(
    (
        r"0|-?[1-9][0-9]{0,14}|-?0\.0{0,3}[1-9](?:[0-9]{0,13}[1-9])?",
        *(rf"-?[1-9][0-9]{{{n - 1}}}\.[0-9]{{0,{14 - n}}}[1-9]" for n in range(1, 15)),
    )
)
_BOOLEAN = r"(?i-u:true|false)"
_YES_NO = r"(?i-u:true|false|t|f|yes|no|1|0)"
_TRUE = r"^(?i-u:true|t|yes|1)$"
# The first and the last year are left out where an offset might lead out of them.
_LEAP = r"[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00"
_DATE = _day(r"[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9]", _LEAP)
_INNER_DATE = _day(
    r"[1-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8]|0[1-9][0-9]{2}|00[1-9][0-9]|000[2-9]",
    _LEAP,
)
_CLOCK = r"[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
_OFFSET = r"[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?"
_UTC = r"(?:Z|[+-]00(?::?00)?)"
_DATE_TIME = rf"{_DATE}{_CLOCK}{_UTC}?|{_INNER_DATE}{_CLOCK}{_OFFSET}"
_PLAIN_TIME = rf"{_DATE}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{{1,6}})?Z?"

_VALUES = frozenset({"integer", "number", "boolean"})  # not text in JSON
_PATTERNS = {
    "integer": _INTEGER,
    "number": _NUMBER,
    "boolean": _BOOLEAN,
    "date": _DATE,
    "date-time": _DATE_TIME,
}


def fits(kind: str, text: pl.Expr, *, yes_no: bool = False) -> pl.Expr:
    """A boolean expression: true for text that is empty or fits a type, null for null.

    Args:
        kind: One of `TYPES`.
        text: Text expression.
        yes_no: True if t/f, yes/no and 1/0 are booleans too.
    """
    return text.is_not_null() if kind == "string" else text.str.contains(pattern_of(kind, yes_no))


def pattern_of(kind: str, yes_no: bool = False) -> str:  # noqa: FBT001, FBT002 - one of two patterns
    """A pattern of the values that fit a type other than ``string``, and of empty text."""
    return f"^(?:|{_YES_NO if yes_no and kind == 'boolean' else _PATTERNS[kind]})$"


def fits_plainly(kind: str) -> str:
    """A pattern of a type's values that need least work; no empty one is among them."""
    return f"^(?:{_PLAIN_TIME if kind == 'date-time' else _PATTERNS[kind]})$"


def canonical(kind: str, text: pl.Expr, *, plain: bool = False) -> pl.Expr:
    """How fitting texts are written out: booleans in JSON's words, times in RFC 3339, UTC.

    Everything else is written as it was read.

    Args:
        kind: One of `TYPES`.
        text: Text expression; its values fit, none is empty.
        plain: True if every time has seconds, and no offset but perhaps a Z.
    """
    if kind == "boolean":
        words = pl.when(text.str.contains(_TRUE)).then(pl.lit("true")).otherwise(pl.lit("false"))
        return pl.when(text.is_not_null()).then(words)
    if kind != "date-time":
        return text
    if plain:
        bare = text.str.strip_suffix("Z")
    else:
        bare = text.str.replace(f"{_UTC}$", "")
        bare = pl.when(bare.str.slice(16).str.contains(r"[+-]")).then(_in_utc(bare)).otherwise(bare)
        seconds = pl.when(bare.str.len_bytes() == 16).then(pl.lit(":00")).otherwise(pl.lit(""))
        bare = bare + seconds
    # Parsing and printing would cost more than all else.
    return bare.str.replace(" ", "T", literal=True) + pl.lit("Z")


def _in_utc(text: pl.Expr) -> pl.Expr:
    """Times with an offset as text without one, the same instant, digits kept."""
    local = text.str.extract(r"^(.{16})")
    rest = text.str.extract(r"^.{16}([^+-]*)")  # seconds and fraction do not move
    sign = pl.when(text.str.slice(16).str.contains("-", literal=True)).then(-1).otherwise(1)
    hours = text.str.extract(r"[+-]([0-9]{2}):?(?:[0-9]{2})?$").cast(pl.Int64, strict=False)
    minutes = text.str.extract(r"[+-][0-9]{2}:?([0-9]{2})$").cast(pl.Int64, strict=False)
    shift = pl.duration(minutes=sign * (hours * 60 + minutes.fill_null(0)))
    moved = local.str.replace("T", " ").str.to_datetime("%Y-%m-%d %H:%M", strict=False) - shift
    return pl.concat_str(moved.dt.strftime("%Y-%m-%d %H:%M"), rest)


def to_values(frame: pl.DataFrame, types: Mapping[str, str]) -> pl.DataFrame:
    """A fitted frame with integers, numbers and booleans as such; dates and times stay text."""
    values: list[pl.Expr] = []
    for position, (name, stored) in enumerate(frame.schema.items()):
        kind = types.get(name)
        if stored == pl.String and kind in _VALUES:
            values.append(_value_of(kind, pl.nth(position)).alias(name))
    return frame.with_columns(values) if values else frame


def _value_of(kind: str, text: pl.Expr) -> pl.Expr:
    """Fitted texts of one of `_VALUES` as JSON has them."""
    if kind == "boolean":
        return text == "true"
    return text.cast(pl.Int64 if kind == "integer" else pl.Float64)


def json_schema(kind: str) -> dict[str, Any]:
    """A nullable column's JSON Schema."""
    if kind in {"date", "date-time"}:
        return {"type": ["string", "null"], "format": kind}
    # Without `properties`: loaders would make a column of each, and have none for the rest.
    more: dict[str, Any] = {"additionalProperties": True} if kind == "object" else {}
    return {"type": [kind, "null"], **({"items": {}} if kind == "array" else more)}


def type_of(schema: object, *, nested: bool = False) -> str:
    """The type that a column's JSON Schema in a catalog describes; ``string`` if in doubt.

    Empty where it names no type but null: Meltano writes such a schema.

    Args:
        schema: The column's schema.
        nested: True if it may be an object or an array.
    """
    if not isinstance(schema, dict) or "type" not in schema:
        return "string"
    kinds = schema["type"]
    names = kinds if isinstance(kinds, list) else [kinds]
    words = [kind for kind in names if kind not in ("null", None)]
    if not words:
        return ""
    if len(words) != 1:
        return "string"
    (word,) = words
    if word == "string" and schema.get("format") in {"date", "date-time"}:
        return str(schema["format"])
    return word if word in (*TYPES, *(NESTED if nested else ())) else "string"
