"""Stored values of a workbook's cells as text: escapes, numbers, dates, times and durations.

A spreadsheet stores a time as a number, and only the cell's number format shows that it is one.
"""

from __future__ import annotations

import math
import re
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Literal

_ESCAPE = re.compile(
    r"_x(?P<high>[Dd][89ABab][0-9A-Fa-f]{2})__x(?P<low>[Dd][C-Fc-f][0-9A-Fa-f]{2})_"
    r"|_x(?P<one>[0-9A-Fa-f]{4})_"
)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_SHORT = re.compile(r"-?(?:0|[1-9][0-9]*)\.(?!0000)[0-9]*[1-9]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MIDNIGHT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T00:00(?::00(?:\.0+)?)?Z?")
_BOOLEANS = {"0": "false", "1": "true"}
_DAY = 86_400_000  # milliseconds, the resolution of spreadsheets

# How a number format shows a number; a duration may exceed a day.
Kind = Literal["date", "time", "date-time", "duration"]

# Formats that have a number instead of a code. 34, 35, 55 and 56 are dates or times, depending on
# the locale: read as dates they lose nothing, because a value with a fraction keeps its time.
BUILT_IN: dict[int, Kind] = {
    **dict.fromkeys((*range(14, 18), *range(27, 32), *range(34, 37), *range(50, 59)), "date"),
    **dict.fromkeys((*range(71, 75), 81), "date"),
    **dict.fromkeys((*range(18, 22), 32, 33, 45, 47, 75, 76, 78, 80), "time"),
    **dict.fromkeys((22, 77), "date-time"),
    **dict.fromkeys((46, 79), "duration"),
}
# Literal text in a number format: quoted, escaped, a blank as wide as a character, a fill. Then
# brackets: colours, conditions and locales, but not elapsed hours, minutes or seconds.
_LITERAL = re.compile(r'"[^"]*"?|[\\_*].?|\[(?!(?:h+|m+|s+)\])[^\]]*\]?', re.IGNORECASE | re.DOTALL)
_ELAPSED = re.compile(r"\[(?:h+|m+|s+)\]")
_FRACTION = re.compile(r"(?<=[s\]])[.,]0+")


def unescaped(text: str) -> str:
    """*text* with each escape ``_xHHHH_`` replaced by its character, once.

    An escape for half of a surrogate pair, which is not a character, stays.
    """
    return _ESCAPE.sub(_character, text) if "_x" in text else text


def _character(match: re.Match[str]) -> str:
    """The character of one escape, or of two that are a surrogate pair."""
    if match["one"] is None:
        high, low = int(match["high"], 16), int(match["low"], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    code = int(match["one"], 16)
    return match[0] if 0xD800 <= code <= 0xDFFF else chr(code)


def plain(text: str) -> str | None:
    """The digits of a stored number, without an exponent; None if *text* is not a number.

    An integer written in full keeps its digits, even more of them than a double can hold. Any
    other number is a double: it gets the shortest digits, so that the program that wrote the file
    makes no difference.
    """
    if text.isdecimal() and text[0] != "0" and text.isascii():
        return text
    # A double keeps fifteen digits, so these are its shortest ones already.
    if len(text) <= 16 and _SHORT.fullmatch(text):
        return text
    if _INTEGER.fullmatch(text):
        digits = text.lstrip("+-").lstrip("0") or "0"
        return f"-{digits}" if text[0] == "-" and digits != "0" else digits
    if not _NUMBER.fullmatch(text):
        return None
    shortest = repr(float(text))
    if "e" in shortest:
        shortest = format(Decimal(shortest), "f")
    elif shortest.endswith("inf"):
        return None
    digits = shortest.removesuffix(".0")
    return "0" if digits == "-0" else digits


def kind_of(code: str) -> Kind | None:
    """The kind of a number format's *code*; None for numbers and text.

    Only its first section counts, without literal text.
    """
    shown = _LITERAL.sub("", code).partition(";")[0].lower()
    if _ELAPSED.search(shown):
        return "duration"
    letters = _FRACTION.sub("", shown)
    if "general" in letters or set(letters) & set("0#?@"):
        return None
    rest = letters.replace("am/pm", "h").replace("a/p", "h")
    has_time = "h" in rest or "s" in rest
    # Minutes and months are both "m", but months come with years or days, or as names.
    has_date = bool(set(rest) & set("yde")) or "mmm" in rest or ("m" in rest and not has_time)
    if has_date:
        return "date-time" if has_time else "date"
    return "time" if has_time else None


@lru_cache(1 << 14)
def moment(text: str, kind: Kind, *, since_1904: bool) -> str | None:
    """The time or duration that a stored number represents; None if *text* is not a number.

    Args:
        text: A number of days: since the last day of 1899, or since 1904-01-01.
        kind: The kind of its number format.
        since_1904: True if the workbook counts from 1904.

    Returns:
        ``2026-05-14``, ``2026-05-14T10:30:00``, ``10:30:00``, ``27:15:30`` or ``-1:30:00``;
        a fraction of a second has six decimals. A date whose value has a fraction keeps its
        time. 29 February 1900, which exists only in spreadsheets, is written as such. A number
        outside the calendar stays a number.
    """
    days = float(text) if _NUMBER.fullmatch(text) else math.inf
    if abs(days) > 1e9:  # 2.7 million years
        return plain(text)
    span = round(days * _DAY)
    if kind == "duration" or (kind == "time" and days < 1):
        return _clock(span)
    day, rest = divmod(span, _DAY)
    if day == 0 and not since_1904 and (rest or kind == "date-time"):
        return _clock(rest)
    shown = _date(day, since_1904)
    if not shown:
        return plain(text)
    return shown if kind == "date" and not rest else f"{shown}T{_clock(rest)}"


def stored_value(
    stored: str, kind: str | None, shows: Kind | None, *, since_1904: bool
) -> str | None:
    """The text of a cell's number, time, boolean or error; None if a number is not one.

    Args:
        stored: The value as it is stored.
        kind: The cell's type.
        shows: The kind of its number format.
        since_1904: True if the workbook counts from 1904.
    """
    if kind is None or kind == "n":
        return moment(stored, shows, since_1904=since_1904) if shows else plain(stored)
    if kind == "b":
        return _BOOLEANS.get(stored, stored)
    return iso_moment(stored, shows) if kind == "d" else stored


def iso_moment(text: str, kind: Kind | None) -> str:
    """A time stored as ISO 8601 text; midnight is dropped if the format shows a date."""
    midnight = _MIDNIGHT.fullmatch(text) if kind == "date" else None
    return midnight[1] if midnight else text


def _clock(span: int) -> str:
    """Milliseconds as hours, minutes and seconds."""
    seconds, fraction = divmod(abs(span), 1000)
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    hour = f"-{hours}" if span < 0 else f"{hours:02}"
    text = f"{hour}:{minutes:02}:{seconds:02}"
    return f"{text}.{fraction:03}000" if fraction else text


@lru_cache(1 << 12)
def _date(day: int, since_1904: bool) -> str:  # noqa: FBT001 - a key of the cache
    """The date of a day's number: 1 for 1900-01-01, or 0 for 1904-01-01.

    Returns:
        ISO 8601; empty before that day and after 9999-12-31.
    """
    if since_1904:
        return (date(1904, 1, 1) + timedelta(day)).isoformat() if 0 <= day <= 2_957_003 else ""
    if day == 60:  # spreadsheets take 1900 for a leap year, as Lotus 1-2-3 did
        return "1900-02-29"
    if not 1 <= day <= 2_958_465:
        return ""
    return (date(1899, 12, 31 if day < 60 else 30) + timedelta(day)).isoformat()
