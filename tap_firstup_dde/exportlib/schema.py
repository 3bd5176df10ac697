"""Column types: inferred from every value seen, pinned for ever, fitted without loss.

A type is a word of JSON Schema: ``integer``, ``number``, ``boolean``, ``date``,
``date-time`` or ``string``. A value fits a type only when the type's text gives the value
back; so fitted columns stay text here, and a value that is written out is the value read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

TYPES = ("string", "integer", "number", "boolean", "date", "date-time")
MISFIT_SUFFIX = "__text"

# Patterns are Rust's: \d and \w would take every script's digits and letters.
_INTEGER = r"^(?:0|-?[1-9][0-9]{0,18})$"
# No exponent, no trailing zero, nothing that would print with an exponent again.
_NUMBER = (
    r"^(?:0|-?[1-9][0-9]*|-?[1-9][0-9]*\.[0-9]*[1-9]|-?0\.0{0,3}[1-9](?:[0-9]*[1-9])?)$"
)
_NUMBER_DIGITS = 15  # significant ones, which a double keeps
_BOOLEAN = r"^(?i:true|false)$"
_TRUE = r"^(?i:true|t|yes|1)$"
_YES_NO = r"^(?i:true|false|t|f|yes|no|1|0)$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_TIME = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]"
    r"(?::[0-5][0-9](?:\.[0-9]{1,6})?)?(?:Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?$"
)
_UTC = r"(?:Z|[+-]00(?::?00)?)$"
_OFFSET = r"[+-][0-9]{2}(?::?[0-9]{2})?$"


@dataclass(frozen=True, slots=True)
class Documented:
    """What a vendor documents about a stream's columns.

    Attributes:
        columns: Column → type to assume while it has no values.
        text: Columns that hold codes or free text: never inferred.
        yes_no: Columns that are boolean also when spelled t/f, yes/no or 1/0.
    """

    columns: Mapping[str, str]
    text: frozenset[str]
    yes_no: frozenset[str]


def fits(kind: str, text: pl.Expr, *, yes_no: bool = False) -> pl.Expr:
    """Whether each text fits a type, as a boolean expression; null for null.

    Args:
        kind: One of `TYPES`.
        text: Text expression.
        yes_no: Whether t/f, yes/no and 1/0 are booleans too.
    """
    match kind:
        case "integer":
            short = text.str.len_bytes() <= 18
            in_range = short | text.cast(pl.Int64, strict=False).is_not_null()
            return text.str.contains(_INTEGER) & in_range
        case "number":
            digits = text.str.replace_all(r"[-.]", "").str.strip_chars_start("0")
            return text.str.contains(_NUMBER) & (digits.str.len_bytes() <= _NUMBER_DIGITS)
        case "boolean":
            return text.str.contains(_YES_NO if yes_no else _BOOLEAN)
        case "date":
            return text.str.contains(_DATE) & _is_day(text)
        case "date-time":
            return text.str.contains(_TIME) & _is_day(text.str.slice(0, 10)) & _stays(text)
        case _:
            return text.is_not_null()


def _is_day(text: pl.Expr) -> pl.Expr:
    """Whether a text of a date's shape is a day of the calendar, from year 1."""
    day = text.str.to_date("%Y-%m-%d", strict=False)
    return day.is_not_null() & ~text.str.starts_with("0000")


def _stays(text: pl.Expr) -> pl.Expr:
    """Whether a time keeps within the years 1 to 9999 when its offset is taken off."""
    edge = text.str.contains(r"^(?:0001-01-01|9999-12-31)")
    return ~(edge & text.str.contains(_OFFSET) & ~text.str.contains(_UTC))


def canonical(kind: str, text: pl.Expr) -> pl.Expr:
    """How fitting texts are written out: booleans in JSON's words, times in RFC 3339, UTC.

    Everything else is written as it was read.
    """
    if kind == "boolean":
        words = pl.when(text.str.contains(_TRUE)).then(pl.lit("true")).otherwise(pl.lit("false"))
        return pl.when(text.is_not_null()).then(words)
    if kind == "date-time":
        # Parsing and printing costs more than all else: only other offsets need it.
        bare = text.str.replace(_UTC, "")
        moved = pl.when(bare.str.slice(16).str.contains(r"[+-]")).then(_in_utc(bare))
        bare = moved.otherwise(bare)
        seconds = pl.when(bare.str.len_bytes() == 16).then(pl.lit(":00")).otherwise(pl.lit(""))
        return pl.concat_str(
            bare.str.slice(0, 10), pl.lit("T"), bare.str.slice(11), seconds, pl.lit("Z")
        )
    return text


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


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the values of some columns have shown so far.

    Attributes:
        candidates: Column → types that every value fits; all types while there is none.
        valued: Columns with at least one value that is not empty.
    """

    candidates: Mapping[str, frozenset[str]]
    valued: frozenset[str]

    def __or__(self, other: Evidence) -> Evidence:
        """The evidence of both together; columns keep the order of first sight."""
        names = dict.fromkeys([*self.candidates, *other.candidates])
        every = frozenset(TYPES)
        return Evidence(
            {c: self.candidates.get(c, every) & other.candidates.get(c, every) for c in names},
            self.valued | other.valued,
        )


NO_EVIDENCE = Evidence({}, frozenset())


def observe(frame: pl.DataFrame, known: Collection[str], documented: Documented) -> Evidence:
    """Look at every value of the columns whose type is not *known* yet.

    Args:
        frame: Text columns.
        known: Columns that need no look.
        documented: For the columns that are text, and those that are yes or no.
    """
    open_columns = [c for c in frame.columns if c not in known and c not in documented.text]
    kinds = [kind for kind in TYPES if kind != "string"]
    seen = {
        column: frame.select(
            *(
                fits(kind, _value(column), yes_no=column in documented.yes_no)
                .all()
                .alias(kind)
                for kind in kinds
            ),
            _value(column).is_not_null().any().alias("valued"),
        ).row(0, named=True)
        for column in open_columns
    }
    every = frozenset(TYPES)
    return Evidence(
        {
            column: frozenset({"string", *(k for k in kinds if seen[column][k])})
            if column in seen
            else every
            for column in frame.columns
        },
        frozenset(column for column in open_columns if seen[column]["valued"]),
    )


def _value(column: str) -> pl.Expr:
    """A column's texts, empty ones as null: outside string columns they mean nothing."""
    return pl.when(pl.col(column) != "").then(pl.col(column))


def infer(column: str, evidence: Evidence, documented: Documented) -> str:
    """The type of a column that nothing pins: the narrowest that every value fits.

    A column without values takes its documented type, else ``string``.
    """
    if column in documented.text:
        return "string"
    if column not in evidence.valued:
        return documented.columns.get(column, "string")
    candidates = evidence.candidates[column]
    if column in documented.yes_no and "boolean" in candidates:
        return "boolean"
    order = ("integer", "number", "boolean", "date", "date-time", "string")
    return next(kind for kind in order if kind in candidates)


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
    """Give a batch's columns their types without losing or changing a value.

    Args:
        frame: Text columns as read.
        types: Column → type of the columns that are wanted; one that the frame lacks is
            null. ``<column>__text`` columns are filled from their column's misfits.
        documented: For the columns that are yes or no.
    """
    wanted = {c: t for c, t in types.items() if c in frame.columns}
    typed = {c: t for c, t in wanted.items() if t != "string"}
    checks = frame.select(
        fits(t, _value(c), yes_no=c in documented.yes_no).alias(c) for c, t in typed.items()
    )
    counts = checks.select((~pl.all()).sum()).row(0, named=True) if typed else {}
    misfits = {c: n for c, n in counts.items() if n}
    columns: list[pl.Expr] = []
    for name in dict.fromkeys([*types, *(c + MISFIT_SUFFIX for c in misfits)]):
        origin = name.removesuffix(MISFIT_SUFFIX)
        if name in typed:
            good = _value(name)
            if name in misfits:
                good = pl.when(checks[name]).then(good)
            columns.append(canonical(typed[name], good).alias(name))
        elif name in wanted:
            columns.append(pl.col(name))
        elif name != origin and origin in misfits:
            columns.append(pl.when(~checks[origin]).then(pl.col(origin)).alias(name))
        else:
            columns.append(pl.lit(None, pl.String).alias(name))
    return Fitted(frame.select(columns), misfits)


_POLARS: Mapping[str, Callable[[pl.Expr], pl.Expr]] = {
    "integer": lambda text: text.cast(pl.Int64),
    "number": lambda text: text.cast(pl.Float64),
    "boolean": lambda text: text == "true",
}


def to_values(frame: pl.DataFrame, types: Mapping[str, str]) -> pl.DataFrame:
    """A fitted frame with integers, numbers and booleans as such; dates and times stay text."""
    return frame.with_columns(
        _POLARS[types[name]](pl.col(name)) for name in frame.columns if types.get(name) in _POLARS
    )


def json_schema(kind: str) -> dict[str, Any]:
    """A nullable column's JSON Schema."""
    if kind in {"date", "date-time"}:
        return {"type": ["string", "null"], "format": kind}
    return {"type": [kind, "null"]}


def type_of(schema: Mapping[str, Any]) -> str:
    """The type that a catalog's JSON Schema of a column stands for; ``string`` if in doubt."""
    kinds = schema.get("type", [])
    words = {kinds} if isinstance(kinds, str) else set(kinds)
    words.discard("null")
    if len(words) != 1:
        return "string"
    (word,) = words
    if word == "string" and schema.get("format") in {"date", "date-time"}:
        return str(schema["format"])
    return word if word in TYPES else "string"


def merge(looks: Iterable[Evidence]) -> Evidence:
    """The evidence of all looks together."""
    return reduce(Evidence.__or__, looks, NO_EVIDENCE)
