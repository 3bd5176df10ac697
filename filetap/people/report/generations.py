"""Generations: the files of a stream by their time, and the times that are missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from statistics import median_high
from typing import TYPE_CHECKING, Final

from filetap.people.inventory import LEFT_OUT, PARTLY, PENDING, READ, sum_known

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from filetap.people.inventory import Available

SOON: Final = "expires soon"
MISSING: Final = "missing"
UNKNOWN: Final = "not known"

HOUR: Final = timedelta(hours=1)
SOON_SPAN: Final = timedelta(hours=48)
_MOST_SLOTS = 10_000  # generations; with more the distance is no cadence


@dataclass(frozen=True, slots=True)
class Generation:
    """The files of one stream that were generated at one time.

    Attributes:
        stream: Their stream.
        generated_at: Their time, in UTC.
        files: Their number.
        size: Their bytes as stored; None unless known of all.
        rows: Their rows; None unless known of all.
        status: `PENDING`, `PARTLY`, `READ` or `LEFT_OUT`; None if no state was given.
        expires_at: When the first of them expires; None if they stay.
        historical: True if all are backfill exports, which have no cadence.
        on_request: True if they are made on request: they have no cadence, and no run needs those
            that have expired.
        unread: How many of them are not completely read, as far as is known.
    """

    stream: str
    generated_at: datetime
    files: int
    size: int | None
    rows: int | None
    status: str | None
    expires_at: datetime | None
    historical: bool = False
    on_request: bool = False
    unread: int = 0

    def state(self, now: datetime) -> str:
        """How it is shown: `SOON` if about to expire unread, else its status or `UNKNOWN`."""
        is_close = self.deadline is not None and self.deadline - now <= SOON_SPAN
        return SOON if is_close else self.status or UNKNOWN

    @property
    def is_regular(self) -> bool:
        """True if it should have followed the one before it in time."""
        return not (self.historical or self.on_request)

    @property
    def deadline(self) -> datetime | None:
        """When it must have been read; None if it was, as far as is known, or need not be."""
        waits = self.status not in {READ, LEFT_OUT} and not self.on_request
        return self.expires_at if waits else None


@dataclass(frozen=True, slots=True)
class StreamTypes:
    """The types that a stream's columns were emitted with.

    Attributes:
        stream: The stream.
        types: Column → type, as the state pins it.
        misfits: Columns with values that did not fit, which are in ``<column>__text``.
    """

    stream: str
    types: Mapping[str, str]
    misfits: Collection[str]


def generations(
    stock: Iterable[Available], rows: Mapping[str, int], on_request: Collection[str] = ()
) -> list[Generation]:
    """Group files by stream, in order of first appearance, and by generation.

    Args:
        stock: The files.
        rows: Key of a file → its rows, if known.
        on_request: Streams whose files are made on request.
    """
    groups: dict[str, dict[datetime, list[Available]]] = {}
    for entry in stock:
        times = groups.setdefault(entry.file.stream, {})
        times.setdefault(entry.file.generated_at, []).append(entry)
    return [
        Generation(
            stream,
            moment,
            len(entries),
            sum_known(entry.size for entry in entries),
            sum_known(rows.get(entry.file.key) for entry in entries),
            _status({entry.status for entry in entries}),
            min((e.expires_at for e in entries if e.expires_at is not None), default=None),
            all(entry.file.historical for entry in entries),
            stream in on_request,
            sum(entry.status not in {READ, LEFT_OUT} for entry in entries),
        )
        for stream, times in groups.items()
        for moment, entries in sorted(times.items())
    ]


def _status(statuses: set[str | None]) -> str | None:
    """The status of all files together; `READ` only if all were read."""
    if len(statuses) == 1:
        return next(iter(statuses))
    if statuses == {READ, LEFT_OUT}:
        return LEFT_OUT
    return PENDING if statuses == {PENDING, LEFT_OUT} else PARTLY


def missing(times: Sequence[datetime]) -> list[datetime]:
    """The times at which a generation was due, and none exists.

    Due times follow from the median distance, the longer one of two, to avoid false alarms. A
    generation may be late by up to half of it.
    """
    known = sorted(set(times))
    cadence = usual_distance(known)
    if not known or (known[-1] - known[0]) / cadence > _MOST_SLOTS:
        return []
    lost = []
    for before, after in pairwise(known):
        late = cadence  # a span, not a time: there may be no such time in the calendar
        while after - before - late > cadence / 2:
            lost.append(before + late)
            late += cadence
    return lost


def usual_distance(times: Iterable[datetime]) -> timedelta:
    """The median distance between two times; a day if there are fewer than two."""
    known = sorted(set(times))
    return median_high([after - before for before, after in pairwise(known)] or [timedelta(days=1)])
