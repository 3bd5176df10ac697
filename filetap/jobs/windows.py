"""Windows of time, cut at fixed borders, and which of them a run reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from filetap.bookmark import earlier
from filetap.times import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    """

    length: timedelta
    end: datetime
    lookback: timedelta = timedelta()
    start: datetime | None = None
    repeats: bool = False
    grid: timedelta | None = None


def plan_windows(
    schedule: Schedule, bookmark: datetime | None, opened: Window | None = None
) -> list[Window]:
    """The windows that a run reads: the open one first, then the others in order.

    No moment is in two of them.

    Args:
        schedule: What is due.
        bookmark: End of the windows that were finished; None before the first.
        opened: The window whose job an earlier run left open; it is dropped if it is not due.
    """
    begin = _begin(schedule, bookmark)
    if begin is None:
        return []
    # Everything before the end of a finished window is finished, too: no gap may be left.
    front = max(bookmark or begin, begin)
    due = opened and begin <= opened.start <= front and opened.start < opened.end <= schedule.end
    first = [opened] if opened and due else []
    if bookmark and bookmark >= schedule.end and not schedule.repeats:
        return first
    if not first:
        return list(_cut(begin, schedule.end, schedule.length))
    before = _cut(begin, first[0].start, schedule.length)
    return [*first, *before, *_cut(first[0].end, schedule.end, schedule.length)]


def _begin(schedule: Schedule, bookmark: datetime | None) -> datetime | None:
    """The first moment that a run requests; None if it is not known."""
    if bookmark is None:
        return schedule.start
    begin = bookmark
    if schedule.lookback:
        # At a border, so that each run requests the same windows.
        grid = schedule.grid or schedule.length
        begin = _border(earlier(bookmark, schedule.lookback), grid)
    return max(begin, schedule.start) if schedule.start else begin


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
