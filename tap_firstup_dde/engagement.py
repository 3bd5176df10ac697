"""The report's section about engagement: what people did, by day, from the activities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from filetap.columns.types import canonical, fits
from filetap.people.report.command import Extra, report_command
from filetap.people.report.html import DAY, Axis, bars, details, midnight
from tap_firstup_dde.dictionary import ACTIONS, DELIVERIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    import click

    from filetap.people.cli import Program

_COUNTS: Final = ("impressions", "opens", "clicks")
_MERGED_AT_ONCE = 64  # batches


@dataclass(frozen=True, slots=True)
class Engagement:
    """Activities of one day, in UTC.

    Attributes:
        day: The day.
        people: Distinct users who did something; what was delivered to them does not count.
        events: Rows of activities.
        impressions: Sum of the column.
        opens: Sum of the column.
        clicks: Sum of the column.
    """

    day: date
    people: int
    events: int
    impressions: int
    opens: int
    clicks: int


def engagement(frames: Iterable[pl.DataFrame]) -> list[Engagement]:
    """Add up activities by UTC day.

    Args:
        frames: Batches of text columns. Rows without a readable date are ignored; a value that is
            not a number counts as 0.
    """
    sums: list[pl.DataFrame] = []
    people: list[pl.DataFrame] = []
    for frame in frames:
        block = frame.select(
            _day(frame).alias("day"),
            _column(frame, "user_id").alias("user_id"),
            _acts(frame).alias("acts"),
            *(_number(frame, name).alias(name) for name in _COUNTS),
        ).filter(pl.col("day").is_not_null())
        sums.append(
            block.group_by("day").agg(pl.len().cast(pl.Int64).alias("events"), pl.sum(*_COUNTS))
        )
        active = block.filter(pl.col("acts") & (pl.col("user_id") != ""))
        people.append(active.select("day", "user_id").unique())
        if len(sums) == _MERGED_AT_ONCE:
            sums, people = [_added(sums)], [pl.concat(people).unique()]
    if not sums:
        return []
    heads = dict(pl.concat(people).unique().group_by("day").len().iter_rows())
    return [
        Engagement(day, heads.get(day, 0), *counts) for day, *counts in _added(sums).iter_rows()
    ]


def _acts(frame: pl.DataFrame) -> pl.Expr:
    """True unless an event does nothing but deliver something to its user."""
    delivers, acts = (
        pl.any_horizontal(
            pl.lit(value=False), *(_number(frame, name) > 0 for name in sorted(names))
        )
        for names in (DELIVERIES & {*frame.columns}, ACTIONS & {*frame.columns})
    )
    return acts | ~delivers


def _added(sums: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The sums of several batches by day, in order."""
    return pl.concat(sums).group_by("day").sum().sort("day")


def _column(frame: pl.DataFrame, name: str) -> pl.Expr:
    """The column as text without surrounding blanks; nulls if it does not exist."""
    column = pl.col(name) if name in frame.columns else pl.lit(None)
    return column.cast(pl.String).str.strip_chars()


def _day(frame: pl.DataFrame) -> pl.Expr:
    """The day of the column ``date`` in UTC; null if it is not readable."""
    text = _column(frame, "date")
    times = pl.when(fits("date-time", text)).then(text)
    in_utc = canonical("date-time", times).str.slice(0, 10)
    return pl.coalesce(pl.when(fits("date", text)).then(text), in_utc).str.to_date(
        "%Y-%m-%d", strict=False
    )


def _number(frame: pl.DataFrame, name: str) -> pl.Expr:
    """The column as whole numbers; a sum of many does not overflow."""
    text = _column(frame, name)
    exact, rough = (text.cast(kind, strict=False) for kind in (pl.Int64, pl.Float64))
    whole = pl.when(rough.is_finite()).then(rough).cast(pl.Int64, strict=False)
    return pl.coalesce(exact, whole, 0).cast(pl.Int128)


def section(days: Sequence[Engagement]) -> str:
    """Charts and a table of the days, as HTML."""
    if not days:
        return "<p>No activities were read.</p>"
    days = sorted(days, key=lambda each: each.day)
    moments = [midnight(each.day) for each in days]
    axis = Axis.of(moments)
    charts = "".join(
        bars(f"e-{name}", f"{name} per day", axis, list(zip(moments, values, strict=True)), DAY)
        for name, values in (
            ("People", [each.people for each in days]),
            ("Opens", [each.opens for each in days]),
            ("Clicks", [each.clicks for each in days]),
        )
    )
    return charts + details(
        "Engagement by day (UTC)",
        ("Day", "People", "Events", "Impressions", "Opens", "Clicks"),
        ((e.day, e.people, e.events, e.impressions, e.opens, e.clicks) for e in days),
    )


def report(program: Program) -> click.Command:
    """The command ``report``."""
    extra = Extra("engagement", "Engagement", "activities", lambda f: section(engagement(f)))
    return report_command(program, extra)
