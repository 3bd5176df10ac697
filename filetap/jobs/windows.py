"""Windows of time, cut at fixed borders, and which of them a run reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from filetap.bookmark import earlier
from filetap.times import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time whose rows are requested together.

    A source requests a wider span, so that rows at the borders come however the vendor counts;
    only rows whose own time is in the window are emitted.

    Attributes:
        start: First moment; aware, in UTC.
        end: First moment after it.
    """

    start: datetime
    end: datetime

    def __str__(self) -> str:
        """As messages name it."""
        return f"{format_time(self.start)} to {format_time(self.end)}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a source makes of the settings and of its clock.

    Attributes:
        length: Of a window; borders are multiples of it since 1970, in UTC.
        end: Rows from this moment on are not requested yet. It may lie within a window, which is
            then requested up to it.
        lookback: How far before the bookmark windows are read again; zero to begin there.
        start: Rows before it are never requested; None if it is not set.
        repeats: True to read the lookback again even if no time has passed since the bookmark.
        grid: The lookback begins at a multiple of it; None for that of the windows.
        unit: A window that the vendor finds too long is halved at a multiple of it.
    """

    length: timedelta
    end: datetime
    lookback: timedelta = timedelta()
    start: datetime | None = None
    repeats: bool = False
    grid: timedelta | None = None
    unit: timedelta = timedelta(hours=1)


def plan_windows(
    schedule: Schedule,
    bookmark: datetime | None,
    opened: Window | None = None,
    again: Sequence[Window] = (),
) -> list[Window]:
    """The windows that a run reads: the open one first, then the others in order.

    No moment is in two of them.

    Args:
        schedule: What is due.
        bookmark: End of the windows that were finished; None before the first.
        opened: The window whose job an earlier run left open; it is dropped if it is not due.
        again: Spans that are read again even if they end before the lookback begins.
    """
    begin = first_moment(schedule, bookmark)
    if begin is None:
        return []
    # Everything before the end of a finished window is finished, too: no gap may be left.
    front = max(bookmark or begin, begin)
    usual = Window(begin, schedule.end)
    spans: list[Window] = []
    for span in again:
        spans += outside(span, [*_never(schedule), Window(begin, _LAST), *spans])
    spans = [*sorted(spans, key=lambda span: span.start), usual]
    due = opened and opened.start < opened.end and opened.start <= front
    first = [opened] if opened and due and not outside(opened, spans) else []
    if bookmark and bookmark >= schedule.end and not schedule.repeats:
        return first
    others = [piece for span in spans for piece in outside(span, first)]
    return [
        *first,
        *(window for span in others for window in _cut(span.start, span.end, schedule.length)),
    ]


def first_moment(schedule: Schedule, bookmark: datetime | None) -> datetime | None:
    """The first moment that a run requests; None if it is not known."""
    if bookmark is None:
        return schedule.start
    begin = bookmark
    if schedule.lookback:
        # At a border, so that each run requests the same windows.
        grid = schedule.grid or schedule.length
        begin = _border(earlier(bookmark, schedule.lookback), grid)
    return max(begin, schedule.start) if schedule.start else begin


def _never(schedule: Schedule) -> list[Window]:
    """The time that is never requested."""
    return [Window(_FIRST, schedule.start)] if schedule.start else []


def outside(span: Window, others: Iterable[Window]) -> list[Window]:
    """The parts of a span that are in none of some others, in order."""
    pieces = [span] if span.start < span.end else []
    for other in others:
        pieces = [
            Window(start, end)
            for piece in pieces
            for start, end in (
                (piece.start, min(piece.end, other.start)),
                (max(piece.start, other.end), piece.end),
            )
            if start < end
        ]
    return pieces


def common(one: Window, other: Window) -> list[Window]:
    """What two spans have in common: one span or none."""
    start, end = max(one.start, other.start), min(one.end, other.end)
    return [Window(start, end)] if start < end else []


def halves(window: Window, unit: timedelta) -> list[Window]:
    """A window in two, cut at a multiple of *unit*; itself if it has none within."""
    border = _border(window.start + (window.end - window.start) / 2, unit)
    if border <= window.start:
        border = _border(window.end - timedelta.resolution, unit)
    return outside(window, [Window(border, border)])


def _cut(begin: datetime, end: datetime, length: timedelta) -> Iterator[Window]:
    """Cut a span at the fixed borders."""
    while begin < end:
        into = begin - _border(begin, length)
        border = end if end - begin <= length - into else begin + (length - into)
        yield Window(begin, border)
        begin = border


def _border(moment: datetime, length: timedelta) -> datetime:
    """The last border at or before *moment*, or the first moment of the calendar."""
    return earlier(moment, (moment - _EPOCH) % length)
