"""Columns of stored numbers as text, as `plain` and `moment` would convert each one.

Polars prints a double with its shortest digits, as Python does, and only the usual spellings are
left to it. For all others the functions of `filetap.read.cells` are called, once a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from filetap.read.cells import stored_value
from filetap.read.xml_text import mapped

if TYPE_CHECKING:
    from filetap.read.cells import Kind

_INTEGER = r"^(?:0|-?[1-9][0-9]*)$"
_DECIMAL = r"^-?(?:0|[1-9][0-9]{0,14})\.[0-9]{1,30}$"
_DAYS = r"^[0-9]{1,7}(?:\.[0-9]{1,30})?$"
_DAY = 86_400_000  # milliseconds
_FIRST_DAY, _LAST_DAY = 61, 2_958_465  # from 1900-03-01, the first day that all calendars have
_EPOCH = 25_569  # the number of 1970-01-01


def converted(
    stored: pl.Series, kind: str, shows: Kind | None, *, since_1904: bool
) -> pl.Series | None:
    """Stored values of one type as text; None if one cannot be read.

    Args:
        stored: The values, with references and blanks as they are stored.
        kind: The type of their cells.
        shows: The kind of their number format.
        since_1904: True if the workbook counts from 1904.
    """
    text = pl.Series([None], dtype=pl.String).new_from_index(0, len(stored))
    if kind == "n" and not shows:
        text = _numbers(stored)
    elif kind == "n" and shows != "duration" and not since_1904:
        text = _moments(stored, is_date=shows == "date")

    def convert(value: str) -> str | None:
        value = value.strip()
        if not value or "&" in value:
            return None
        return stored_value(value, kind, shows, since_1904=since_1904)

    odd = text.is_null()
    if not odd.any():
        return text
    others = mapped(stored, odd, convert)
    return None if others is None else text.zip_with(~odd, others)


def _numbers(stored: pl.Series) -> pl.Series:
    """Numbers as plain digits; null where the spelling is not a usual one."""
    is_integer = stored.str.contains(_INTEGER)
    if is_integer.all():
        return stored
    frame = stored.alias("").to_frame().filter(~is_integer)
    number = pl.col("").cast(pl.Float64, strict=False)
    is_usual = pl.col("").str.contains(_DECIMAL) & pl.col("shortest").str.contains(_DECIMAL)
    frame = frame.with_columns(number.alias("number"), number.cast(pl.String).alias("shortest"))
    text = pl.when(is_usual & (pl.col("number") != 0)).then(
        pl.col("shortest").str.strip_suffix(".0")
    )
    decimals = frame.select(text).to_series()
    places = np.arange(len(stored))
    places[~is_integer.to_numpy()] = np.arange(len(stored), len(stored) + len(decimals))
    return pl.concat((stored, decimals.alias(stored.name))).gather(places)


def _moments(stored: pl.Series, *, is_date: bool) -> pl.Series:
    """Numbers of days as dates and times; null where that is not the usual case."""
    days = pl.col("").cast(pl.Float64, strict=False)
    span = (days * _DAY).round(mode="half_to_even").cast(pl.Int64, strict=False)
    usual = pl.col("").str.contains(_DAYS)
    usual &= span.is_between(_FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY, closed="left")
    frame = stored.alias("").to_frame().select(pl.when(usual).then(span).alias("span"))
    moment = (pl.col("span") - _EPOCH * _DAY).cast(pl.Datetime("ms"))
    rest, fraction = pl.col("span") % _DAY, pl.col("span") % 1000
    if is_date and not frame.select((rest != 0).any()).item():
        return frame.select(moment.dt.strftime("%Y-%m-%d")).to_series()
    text = moment.dt.strftime("%Y-%m-%dT%H:%M:%S")
    if frame.select((fraction != 0).any()).item():
        text += pl.when(fraction != 0).then(moment.dt.strftime("%.6f")).otherwise(pl.lit(""))
    if is_date:
        text = pl.when(rest == 0).then(text.str.head(10)).otherwise(text)
    return frame.select(text).to_series()
