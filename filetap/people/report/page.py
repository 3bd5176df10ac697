"""One HTML page about the export files of an account; it fetches nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from filetap.columns.types import TYPES
from filetap.people.inventory import LEFT_OUT, PARTLY, PENDING, READ, sum_known
from filetap.people.report.generations import (
    HOUR,
    MISSING,
    SOON,
    SOON_SPAN,
    UNKNOWN,
    Generation,
    StreamTypes,
    missing,
    usual_distance,
)
from filetap.people.report.html import (
    CSS,
    DAY,
    Axis,
    Series,
    bars,
    details,
    escaped,
    many,
    midnight,
    short,
    svg,
    table,
    when,
)
from filetap.people.report.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page.

    Attributes:
        ident: Its id, which links lead to.
        title: Its heading, as HTML.
        body: What follows the heading, as HTML.
    """

    ident: str
    title: str
    body: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page shows.

    Attributes:
        heading: Heading of the page, as text.
        source: Host or folder that the files come from.
        now: When the page is made; it decides what expires soon.
        generations: What is available.
        types: Column types that were emitted; empty if no state was given.
        damaged: Messages about files that cannot be read.
        more: Sections of the vendor's own.
    """

    heading: str
    source: str
    now: datetime
    generations: Sequence[Generation]
    types: Sequence[StreamTypes]
    more: Sequence[Section] = ()
    damaged: Sequence[str] = ()


def page(report: Report) -> str:
    """The whole page, which is XML as well; the same for an equal report."""
    name, now, found = escaped(report.heading), report.now, report.generations
    streams: dict[str, list[Generation]] = {}
    for each in sorted(found, key=lambda g: g.generated_at):
        streams.setdefault(each.stream, []).append(each)
    lost = {
        name: missing([each.generated_at for each in entries if each.is_regular])
        for name, entries in streams.items()
    }
    unread = Section("damaged", "Files that cannot be read", _damaged(report.damaged))
    sections = [
        Section("summary", "Summary", _summary(found, sum(map(len, lost.values())), now)),
        *([unread] if report.damaged else []),
        Section("coverage", "Coverage and size", _coverage(streams, lost, now)),
        Section("types", "Column types", _types(report.types)),
        *report.more,
    ]
    links = " ".join(f'<a href="#{each.ident}">{each.title}</a>' for each in sections)
    bodies = "\n".join(
        f'<section aria-labelledby="{each.ident}"><h2 id="{each.ident}">{each.title}</h2>\n'
        f"{each.body}</section>"
        for each in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/><title>{name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'"/>
<style>{CSS}</style></head><body>
<a class="skip" href="#main">Skip to the report</a>
<header><h1>{name}</h1>
<p>From <bdi>{escaped(report.source)}</bdi>, as of <span class="t">{when(now)}</span>.</p>
{judge(found, lost, report.damaged, now).html()}</header>
<nav aria-label="Sections">{links}</nav>
<main id="main" tabindex="-1">
{bodies}
</main></body></html>
"""


def _damaged(messages: Sequence[str]) -> str:
    """Each file that cannot be read, and why."""
    items = "".join(f"<li><bdi>{escaped(message)}</bdi></li>" for message in messages)
    return f"<p>Their rows are missing below, and a run fails on them.</p><ul>{items}</ul>"


def _coverage(
    streams: Mapping[str, Sequence[Generation]],
    lost: Mapping[str, Sequence[datetime]],
    now: datetime,
) -> str:
    """The generations of every stream.

    Args:
        streams: Stream → its generations, in order.
        lost: Stream → the times of those that are missing.
        now: When the page is made.
    """
    if not streams:
        return "<p>There are no export files.</p>"
    every = [each for found in streams.values() for each in found]
    axis = Axis.of(each.generated_at for each in every)
    charts = (
        _stream(f"s{number}", axis, found, lost[stream], now)
        for number, (stream, found) in enumerate(streams.items())
    )
    return _legend(every, now) + "".join(charts)


def _summary(found: Sequence[Generation], lost: int, now: datetime) -> str:
    """The figures that matter, and a paragraph about them."""
    ends = [(g.deadline, g.unread) for g in found if g.deadline is not None]
    first, second = (sum(n for end, n in ends if end - now <= span) for span in (DAY, SOON_SPAN))
    total = sum(g.files for g in found)
    unsure = [g for g in found if g.status is None]
    unknown = sum(g.files for g in unsure if not g.on_request)
    unread = sum(g.unread for g in found) - sum(g.files for g in unsure)
    size = sum_known(g.size for g in found)
    times = len({g.generated_at for g in found})
    words = f"{many(total, 'file')} of {many(times, 'generation')} can be fetched"
    words += f", {short(size, 'B')} in all." if size else "."
    if found:
        newest = when(max(g.generated_at for g in found))
        words += f' The newest generation is of <span class="t">{newest}</span>.'
    if unread or not unknown:
        words += f" {many(unread, 'file')} {_is(unread)} still to be read."
    if unknown:
        words += f" {many(unknown, 'file')} may be unread: no state was given."
    if second:
        words += f" Of these, {first:,} will be gone within 24 hours, {second:,} within 48 hours."
    elif ends:
        words += " None of these will be gone within 48 hours."
    elif found and not any(g.expires_at for g in found):
        words += " The files do not expire."
    if found:
        words += f" {many(lost, 'generation')} {_is(lost)} missing between the first and the last."
    tiles = {
        "Files available": total,
        "Files pending": "not known" if unknown else unread,
        "Gone within 24 h": first,
        "Gone within 48 h": second,
        "Missing generations": lost,
    }
    texts = {k: f"{v:,}" if isinstance(v, int) else v for k, v in tiles.items()}
    shown = "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in texts.items())
    return f"<p>{words}</p><dl>{shown}</dl>"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


# State → name in the style sheet, mark in the middle of a cell, meaning.
_STATES: Final = {
    READ: ("read", "", "every row was emitted"),
    PENDING: ("pending", "M-1 0h2", "the next run reads it"),
    PARTLY: ("partly", "", "some rows were emitted; the next run reads the rest"),
    SOON: ("soon", "M0-4V1M0 3.5V4", "not read, and expires within 48 hours"),
    LEFT_OUT: ("left", "M-2.5 3L2.5-3", "older than the settings allow, so no run reads it"),
    MISSING: ("missing", "M-2.5-3L2.5 3M-2.5 3L2.5-3", "a generation was due, but is not listed"),
    UNKNOWN: ("unknown", "", "no state was given, or it does not say"),
}
_CELL = 16  # height of a cell and the gap below it


def _cell(state: str) -> str:
    """One cell, as wide as it is used: its colour and its shape both show its state."""
    ident, mark, _ = _STATES[state]
    half = '<rect class="half" y="1" width="50%" height="12"/>' if state == PARTLY else ""
    return (
        f'<path id="mark-{ident}" class="mark on-{ident}" d="{mark}"/>'
        f'<symbol id="cell-{ident}"><rect class="{ident}" y="1" width="100%" height="12" rx="2"/>'
        f'{half}<use href="#mark-{ident}" x="50%" y="7"/></symbol>'
    )


def _legend(found: Sequence[Generation], now: datetime) -> str:
    """What the cells mean; charts use the cells that are defined here."""
    used = {each.state(now) for each in found}
    cells = "".join(map(_cell, _STATES))
    items = "".join(
        f'<li><svg role="img" aria-labelledby="key-{ident}" width="24" height="14">'
        f'<title id="key-{ident}">Cell: {state}</title><use href="#cell-{ident}" x="1" width="22" '
        f'height="14"/></svg><span><b>{state}</b>: {meaning}</span></li>'
        for state, (ident, _, meaning) in _STATES.items()
        if state != UNKNOWN or state in used
    )
    return (
        '<svg class="defs" width="0" height="0" aria-hidden="true"><title>Cells</title>'
        f'<defs>{cells}</defs></svg><ul class="legend">{items}</ul>'
    )


def _stream(
    ident: str, axis: Axis, found: Sequence[Generation], lost: Sequence[datetime], now: datetime
) -> str:
    """The charts of one stream, and their numbers."""
    stream = found[0].stream
    step = usual_distance(each.generated_at for each in found if each.is_regular)
    cells = sorted(
        [(each.generated_at, each.state(now)) for each in found]
        + [(moment, MISSING) for moment in lost]
    )
    counts = Counter(state for _, state in cells)
    about = ", ".join(f"{counts[state]} {state}" for state in _STATES if counts[state])
    span = f"from {when(found[0].generated_at)} to {when(found[-1].generated_at)}"
    slot = min(max(step, HOUR), DAY)
    places = list(_places(cells, slot))
    bottom = _CELL * (max(place for *_, place in places) + 1)
    hours = "".join(
        f'<text class="tick" x="-6" y="{row * _CELL + 11}">{label}</text>'
        for row, label in enumerate(_hours(places, slot))
    )
    drawn = "\n".join(
        f'<use href="#cell-{_STATES[state][0]}" x="{100 * axis.share(midnight(moment)):.2f}%" '
        f'y="{place * _CELL}" width="{max(0.05, 97 / axis.days):.2f}%" height="14">'
        f"<title>{when(moment)}: {state}</title></use>"
        for moment, state, place in places
    )
    charts = svg(
        f"{ident}-coverage",
        f"Generations of {stream}: days across, times of day down (UTC)",
        f"{many(len(found), 'generation')} {span}. By state: {about}.",
        (axis.least, bottom + 18),
        f"{hours}{drawn}{axis.days_at(bottom + 13)}",
    )
    for name, values in (
        ("Rows", [(each.generated_at, each.rows) for each in found]),
        ("Bytes", [(each.generated_at, each.size) for each in found]),
    ):
        title = f"{name} per generation of {stream}"
        charts += bars(f"{ident}-{name}", title, axis, Series(values, step))
    rows: list[tuple[datetime, Sequence[object]]] = [
        (
            each.generated_at,
            (
                each.state(now) + (", historical" if each.historical else ""),
                each.files,
                UNKNOWN if each.rows is None else each.rows,
                UNKNOWN if each.size is None else each.size,
                when(each.expires_at) if each.expires_at else "never",
            ),
        )
        for each in found
    ]
    rows += [(moment, (MISSING, 0, "", "", "")) for moment in lost]
    rows.sort(key=lambda row: row[0])
    return f"<h3><bdi>{escaped(stream)}</bdi></h3>{charts}" + details(
        f"Generations of {stream}",
        ("Generated at", "State", "Files", "Rows", "Bytes", "Expires at"),
        ((when(moment), *cells) for moment, cells in rows),
    )


def _hours(places: Sequence[tuple[datetime, str, int]], slot: timedelta) -> Iterator[str]:
    """The time of day of each row of cells: that of its cells, or when the row begins.

    A row for the whole day has none if its cells differ.
    """
    rows = max(place for *_, place in places) + 1
    for row in range(min(rows, -int(-DAY // slot))):
        times = {moment - midnight(moment) for moment, _, place in places if place == row}
        start = "" if slot == DAY else _clock(row * slot)
        yield _clock(times.pop()) if len(times) == 1 else start


def _clock(since_midnight: timedelta) -> str:
    """A time of day."""
    hours, rest = divmod(since_midnight, HOUR)
    return f"{hours:02}:{rest.seconds // 60:02}"


def _places(
    cells: Iterable[tuple[datetime, str]], slot: timedelta
) -> Iterator[tuple[datetime, str, int]]:
    """Place each cell in the row of its day for its time of day, or in the next free row."""
    day, taken = date.min, -1
    for moment, state in cells:
        if moment.date() != day:
            day, taken = moment.date(), -1
        taken = max(taken + 1, (moment - midnight(moment)) // slot)
        yield moment, state, taken


def _types(types: Sequence[StreamTypes]) -> str:
    """A table of each stream's columns by type."""
    if not types:
        return "<p>No state was given, so no column has a type yet.</p>"
    kinds = list(dict.fromkeys([*TYPES, *(k for each in types for k in each.types.values())]))
    rows = (
        (
            each.stream,
            len(each.types),
            *(Counter(each.types.values())[kind] for kind in kinds),
            ", ".join(sorted(each.misfits)) or "none",
        )
        for each in types
    )
    return table(
        "Columns by type, as emitted",
        ("Stream", "Columns", *kinds, "Columns with values that do not fit"),
        rows,
    )
