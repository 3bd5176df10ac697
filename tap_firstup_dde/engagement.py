"""The report's section about engagement: what people did, from the activities and users at hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import polars as pl

from filetap.columns.types import canonical, fits
from filetap.people.report.command import Extra, report_command
from filetap.people.report.html import DAY, Axis, Series, bars, details, midnight, table
from tap_firstup_dde.dictionary import ACTIONS, DELIVERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date

    import click

    from filetap.people.cli import Program

_COUNTS: Final = ("impressions", "opens", "clicks")
_MERGED_AT_ONCE = 64  # batches
_TOP = 10  # campaigns
# Firstup does not document the values of platform, so the counters tell.
_CHANNELS: Final = {
    "email": ("emails_delivered", "email_opens", "emails_clicks"),
    "push": ("push_delivered", "push_clicks"),
    "notification center": ("assistant_delivered_count", "assistant_opens"),
    "feed": ("feed_clicks",),
}
_UNKNOWN: Final = "unknown"


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
        is_partial: True if the files may hold only a part of the day.
    """

    day: date
    people: int
    events: int
    impressions: int
    opens: int
    clicks: int
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What the section shows.

    Attributes:
        days: Engagement by day, in order.
        campaigns: Name, id, people who had an impression, people who did something, opens and
            clicks of those that reached most people.
        channels: Channel, events, people who did something; most events first.
        departments: Department, users at hand, those who did something; most users first.
    """

    days: Sequence[Engagement] = ()
    campaigns: Sequence[tuple[str, str, int, int, int, int]] = ()
    channels: Sequence[tuple[str, int, int]] = ()
    departments: Sequence[tuple[str, int, int]] = ()


class _Merged:
    """A table that is made of batches, and merged now and then, so that it stays small."""

    def __init__(self, merge: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        self._merge = merge
        self._parts: list[pl.DataFrame] = []

    def add(self, part: pl.DataFrame) -> None:
        """Add a batch."""
        self._parts.append(self._merge(part))
        if len(self._parts) == _MERGED_AT_ONCE:
            self._parts = [self.whole()]

    def whole(self) -> pl.DataFrame:
        """All batches together."""
        return self._merge(pl.concat(self._parts))


def figures(frames: Iterable[tuple[str, pl.DataFrame]]) -> Figures:
    """Add up activities.

    Args:
        frames: Streams and batches of text columns, oldest first. Rows without a readable date
            count for no day; a value that is not a number counts as 0.
    """
    days = _Merged(
        lambda f: f.group_by("day").agg(pl.sum("events", *_COUNTS), pl.min("first"), pl.max("last"))
    )
    active = _Merged(lambda f: f.select("day", "user_id").unique())
    readers = _Merged(
        lambda f: f.group_by("content_id", "user_id").agg(
            pl.col("content_name").drop_nulls().last(),
            pl.any("reached", "acts"),
            pl.sum("opens", "clicks"),
        )
    )
    channels = _Merged(
        lambda f: f.group_by("channel", "user_id").agg(pl.sum("events"), pl.any("acts"))
    )
    users = _Merged(lambda f: f.unique("user_id", keep="last", maintain_order=True))
    users.add(pl.DataFrame(schema={"user_id": pl.String, "department": pl.String}))
    any_activity = False
    for stream, frame in frames:
        if stream == "users":
            users.add(
                frame.select(
                    _column(frame, "user_id").alias("user_id"),
                    _column(frame, "attribute_department").alias("department"),
                )
            )
            continue
        block = _block(frame)
        any_activity = True
        dated = block.filter(pl.col("day").is_not_null())
        days.add(dated)
        active.add(dated.filter(pl.col("acts") & (pl.col("user_id") != "")))
        readers.add(block)
        channels.add(block)
    if not any_activity:
        return Figures()
    return Figures(
        _days(days.whole(), active.whole()),
        _campaigns(readers.whole()),
        _channels(channels.whole()),
        _departments(users.whole(), readers.whole()),
    )


def _block(frame: pl.DataFrame) -> pl.DataFrame:
    """What is counted of a batch of activities."""
    counters = frame.select(
        _is_positive(frame, name).alias(name) for name in sorted(ACTIONS | DELIVERIES)
    )
    counted = frame.select(
        _moment(frame).alias("first"),
        _date(frame).alias("day"),
        *(_column(frame, name).alias(name) for name in ("user_id", "content_id", "content_name")),
        *(_number(frame, name).alias(name) for name in _COUNTS),
        pl.lit(1, pl.Int64).alias("events"),
    )
    acts, delivers = (pl.any_horizontal(sorted(names)) for names in (ACTIONS, DELIVERIES))
    found: pl.Expr = pl.lit("other")
    for channel, names in reversed(_CHANNELS.items()):
        found = pl.when(pl.any_horizontal(names)).then(pl.lit(channel)).otherwise(found)
    judged = counters.select(
        (acts | ~delivers).alias("acts"),
        pl.col("impressions").alias("reached"),
        found.alias("channel"),
    )
    # The time is computed once: it costs more than all else together.
    return counted.hstack(judged).with_columns(
        pl.coalesce("day", pl.col("first").str.slice(0, 10)).str.to_date("%Y-%m-%d", strict=False),
        pl.col("first").alias("last"),
    )


def _days(sums: pl.DataFrame, active: pl.DataFrame) -> list[Engagement]:
    """The days, in order.

    The first and the last one are partial, unless there is an event in the first and in the last
    hour.
    """
    heads = dict(active.group_by("day").len().iter_rows())
    rows = sums.sort("day").select("day", "events", *_COUNTS, "first", "last").rows()
    found = [Engagement(day, heads.get(day, 0), *counts) for day, *counts, _, _ in rows]
    if rows and (rows[0][-2] or "")[11:13] != "00":
        found[0] = replace(found[0], is_partial=True)
    if rows and (rows[-1][-1] or "")[11:13] != "23":
        found[-1] = replace(found[-1], is_partial=True)
    return found


def _campaigns(readers: pl.DataFrame) -> list[tuple[str, str, int, int, int, int]]:
    """The campaigns that reached most people."""
    named = pl.col("user_id").fill_null("") != ""
    sums = (
        readers.filter(pl.col("content_id").fill_null("") != "")
        .group_by("content_id")
        .agg(
            pl.col("content_name").drop_nulls().last().fill_null(""),
            (pl.col("reached") & named).sum().cast(pl.Int64),
            (pl.col("acts") & named).sum().cast(pl.Int64).alias("people"),
            pl.sum("opens", "clicks"),
        )
        .sort("reached", "people", "content_id", descending=[True, True, False])
        .head(_TOP)
    )
    return sums.select("content_name", "content_id", "reached", "people", "opens", "clicks").rows()


def _channels(sums: pl.DataFrame) -> list[tuple[str, int, int]]:
    """Every channel with its events and people."""
    named = pl.col("user_id").fill_null("") != ""
    return (
        sums.group_by("channel")
        .agg(pl.sum("events"), (pl.col("acts") & named).sum().cast(pl.Int64).alias("people"))
        .sort("events", "channel", descending=[True, False])
        .rows()
    )


def _departments(users: pl.DataFrame, readers: pl.DataFrame) -> list[tuple[str, int, int]]:
    """Every department with the users at hand and those who did something."""
    people = (
        readers.filter(pl.col("user_id").fill_null("") != "")
        .group_by("user_id")
        .agg(pl.any("acts"))
        .join(users, on="user_id", how="full", coalesce=True)
    )
    department = pl.col("department").replace("", None).fill_null(_UNKNOWN)
    return (
        people.group_by(department.alias("department"))
        .agg(pl.len().cast(pl.Int64), pl.col("acts").fill_null(value=False).sum().cast(pl.Int64))
        .sort("len", "department", descending=[True, False])
        .rows()
    )


def _column(frame: pl.DataFrame, name: str) -> pl.Expr:
    """The column as text without surrounding blanks; nulls if it does not exist."""
    column = pl.col(name) if name in frame.columns else pl.lit(None)
    return column.cast(pl.String).str.strip_chars()


def _moment(frame: pl.DataFrame) -> pl.Expr:
    """The column ``date`` as a time in UTC; null if it has no time."""
    text = _column(frame, "date")
    return canonical("date-time", pl.when(fits("date-time", text)).then(text))


def _date(frame: pl.DataFrame) -> pl.Expr:
    """The column ``date`` if it is a day without a time, otherwise null."""
    text = _column(frame, "date")
    return pl.when(fits("date", text)).then(text)


def _is_positive(frame: pl.DataFrame, name: str) -> pl.Expr:
    """True where the column is a number above zero."""
    number = _column(frame, name).cast(pl.Float64, strict=False)
    return (number.is_finite() & (number > 0)).fill_null(value=False)


def _number(frame: pl.DataFrame, name: str) -> pl.Expr:
    """The column as whole numbers; a sum of many does not overflow."""
    text = _column(frame, name)
    exact, rough = (text.cast(kind, strict=False) for kind in (pl.Int64, pl.Float64))
    whole = pl.when(rough.is_finite()).then(rough).cast(pl.Int64, strict=False)
    return pl.coalesce(exact, whole, 0).cast(pl.Int128)


def section(found: Figures) -> str:
    """Charts and tables of the figures, as HTML."""
    if not found.days and not found.channels:
        return "<p>No activities were read.</p>"
    days = sorted(found.days, key=lambda each: each.day)
    moments = [midnight(each.day) for each in days]
    partial = {moment for moment, each in zip(moments, days, strict=True) if each.is_partial}
    axis = Axis.of(moments)
    charts = "".join(
        bars(
            f"e-{name}",
            f"{name} per day",
            axis,
            Series(list(zip(moments, values, strict=True)), DAY, partial),
        )
        for name, values in (
            ("People", [each.people for each in days]),
            ("Opens", [each.opens for each in days]),
            ("Clicks", [each.clicks for each in days]),
        )
    )
    if partial:
        charts += "<p>A dashed bar is a day that the files hold only a part of.</p>"
    return (
        charts
        + details(
            "Engagement by day (UTC)",
            ("Day", "People", "Events", "Impressions", "Opens", "Clicks", "Complete"),
            (
                (
                    *(e.day, e.people, e.events, e.impressions, e.opens, e.clicks),
                    "no" if e.is_partial else "yes",
                )
                for e in days
            ),
        )
        + "<p>People are distinct users who did something: an email, a push or a notification that "
        "was only delivered to them does not count. All figures are those of the files at hand.</p>"
        + _top(found)
    )


def _top(found: Figures) -> str:
    """The tables of campaigns, channels and departments."""
    tables = (
        (
            "Campaigns",
            "Those that reached most people: distinct users with an impression",
            ("Campaign", "ID", "Reached", "People", "Opens", "Clicks"),
            found.campaigns,
        ),
        (
            "Channels",
            "Events by the counters that are above zero",
            ("Channel", "Events", "People"),
            found.channels,
        ),
        (
            "Departments",
            "Users in the files, by their newest department",
            ("Department", "Users", "People"),
            found.departments,
        ),
    )
    return "".join(
        f"<h3>{title}</h3>{table(caption, heads, rows)}"
        for title, caption, heads, rows in tables
        if rows
    )


def report(program: Program) -> click.Command:
    """The command ``report``."""
    streams = ("users", "activities")
    extra = Extra("engagement", "Engagement", streams, lambda frames: section(figures(frames)))
    return report_command(program, extra)
