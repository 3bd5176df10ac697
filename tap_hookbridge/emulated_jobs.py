"""Export jobs of an emulated HookBridge, and the files that they make."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from filetap.times import format_time, parse_generation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_TICK: Final = timedelta(microseconds=1)
_BORDERS: Final = {
    "half-open": (timedelta(), timedelta()),
    "inclusive": (timedelta(), _TICK),
    "exclusive": (_TICK, timedelta()),
}


@dataclass(frozen=True, slots=True)
class Span:
    """The time that a job is about."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Taken:
    """The rows of a job, as a file.

    Attributes:
        body: Bytes as stored; None if there is no file.
        rows: Number of rows that is stated.
        size: Bytes that are stated.
    """

    body: bytes | None
    rows: int
    size: int


@dataclass(kw_only=True, eq=False)
class Snapshot:
    """What files look like, and what is stated of them. Mutable: the next job sees a change.

    Attributes:
        columns: Columns of a file; None for those of its messages.
        compressed: True to compress it, under the same name.
        line_end: Between rows.
        empty: What a job without rows makes: ``header``, ``nothing`` (zero bytes) or ``missing``.
        counts_header: True to count the header row as a row.
        surplus: Rows that are stated too many.
        counts: ``stored`` or ``decompressed``: the bytes that are stated.
        surplus_bytes: Bytes that are stated too many.
        states: True to state rows and bytes at all.
        newest_first: True to put the youngest message first.
    """

    columns: tuple[str, ...] | None = None
    compressed: bool = False
    line_end: str = "\n"
    empty: str = "header"
    counts_header: bool = False
    surplus: int = 0
    counts: str = "stored"
    surplus_bytes: int = 0
    states: bool = True
    newest_first: bool = False


@dataclass(kw_only=True, eq=False)
class EmulatedExport:
    """An export job. Mutable: changes show in the next response.

    Attributes:
        id: Its id.
        span: The requested span.
        direction: ``outbound`` or ``inbound``.
        created_at: When it was requested.
        filters: Further restrictions that are stated, such as ``filter_status``.
        fails: True if it will fail.
        expires: True if it expires as soon as it is completed.
        stuck: True if it never ends.
        status: How far it is.
        started_at: When its rows were taken.
        completed_at: When it was completed.
        expires_at: When it expires.
        error_message: Why it failed.
        taken: Its rows; None before they are taken.
    """

    id: str
    span: Span
    direction: str
    created_at: datetime
    filters: Mapping[str, str] = field(default_factory=dict)
    fails: bool = False
    expires: bool = False
    stuck: bool = False
    status: str = "pending"
    started_at: datetime | None = None
    completed_at: datetime | None = None
    expires_at: datetime | None = None
    error_message: str = "the export worker ran out of memory"
    taken: Taken | None = None

    @property
    def is_active(self) -> bool:
        """True if it has not ended."""
        return self.status in {"pending", "processing"}

    def is_due(self, now: datetime, pending: float) -> bool:
        """True if its rows are to be taken, *pending* seconds after it was requested."""
        return self.status == "pending" and now >= self.created_at + timedelta(seconds=pending)

    def take(self, now: datetime, taken: Taken) -> None:
        """Take its rows."""
        self.status, self.started_at, self.taken = "processing", now, taken

    def is_done(self, now: datetime, processing: float) -> bool:
        """True if it ends, *processing* seconds after its rows were taken."""
        if self.status != "processing" or self.stuck or not self.started_at:
            return False
        return now >= self.started_at + timedelta(seconds=processing)

    def end(self, now: datetime, lifetime: float) -> None:
        """Complete it, for *lifetime* seconds, or let it fail."""
        self.status = "failed" if self.fails else "completed"
        if not self.fails:
            self.completed_at = now
            self.expires_at = now if self.expires else now + timedelta(seconds=lifetime)

    def expire(self, now: datetime) -> None:
        """Let it expire if its time has come."""
        if self.status == "completed" and self.expires_at and now >= self.expires_at:
            self.status = "expired"

    def described(self, project_id: str, *, show_filters: bool) -> dict[str, Any]:
        """The job as the API describes it: what is not known is absent."""
        found: dict[str, Any] = {
            "id": self.id,
            "project_id": project_id,
            "status": self.status,
            "created_at": _stamp(self.created_at),
        }
        if show_filters:
            found |= {
                "direction": self.direction,
                "filter_start_time": _stamp(self.span.start),
                "filter_end_time": _stamp(self.span.end),
                **self.filters,
            }
        for name in ("started_at", "completed_at", "expires_at"):
            if moment := getattr(self, name):
                found[name] = _stamp(moment)
        if self.status == "failed":
            found["error_message"] = self.error_message
        if self.status == "completed" and self.taken and self.taken.rows >= 0:
            found |= {"row_count": self.taken.rows, "file_size_bytes": self.taken.size}
        return found


def requested(body: bytes, longest: float | None) -> tuple[Span, str]:
    """The span and the direction that a request is about.

    Args:
        body: Its body.
        longest: Hours of the longest span that is accepted; None for any.

    Raises:
        ValueError: It cannot be accepted; says why.
    """
    try:
        wanted = json.loads(body)
        start, end = (parse_generation(wanted[f"{name}_time"]) for name in ("start", "end"))
    except (KeyError, TypeError, ValueError):
        message = "start_time and end_time are required"
        raise ValueError(message) from None
    if start >= end:
        message = "end_time must be after start_time"
        raise ValueError(message)
    if longest is not None and end - start > timedelta(hours=longest):
        message = "the time range is too long"
        raise ValueError(message)
    return Span(start, end), str(wanted.get("direction") or "outbound")


def _stamp(moment: datetime) -> str:
    """A time as the API prints it: in whole seconds."""
    return format_time(moment.replace(microsecond=0))


def snapshot(
    options: Snapshot, rows: Sequence[Mapping[str, Any]], span: Span, border: str
) -> Taken:
    """The messages of a span as a file.

    Args:
        options: What it looks like.
        rows: All messages of the direction.
        span: The span.
        border: How the span's ends count.
    """
    before, after = _BORDERS[border]
    inside = [row for row in rows if span.start + before <= time_of(row) < span.end + after]
    inside.sort(key=time_of, reverse=options.newest_first)
    known = dict.fromkeys(name for row in inside or rows[:1] for name in row)
    columns = options.columns or tuple(known) or ("message_id", "created_at")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=options.line_end)
    if inside or options.empty == "header":
        writer.writerow(columns)
    writer.writerows([row.get(name) for name in columns] for row in inside)
    plain = text.getvalue().encode()
    body = gzip.compress(plain, mtime=0) if options.compressed and plain else plain
    stated = (len(plain) if options.counts == "decompressed" else len(body)) + options.surplus_bytes
    count = len(inside) + (options.counts_header and bool(plain)) + options.surplus
    missing = not inside and options.empty == "missing"
    return Taken(None if missing else body, count if options.states else -1, stated)


def time_of(row: Mapping[str, Any]) -> datetime:
    """When a message was created or received, exactly, whatever its row prints."""
    exact = row.get("_exact") or row.get("created_at") or row.get("received_at")
    return parse_generation(str(exact))
