"""The available export files, and how far they were read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from filetap.errors import FileGoneError
from filetap.jobs.state import read_job_state
from filetap.plan import in_order, plan_files
from filetap.times import format_time, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from filetap.files import ExportFile, Transport
    from filetap.jobs.state import JobState
    from filetap.singer.tap import FileTap

_ASKED_AT_ONCE = 8  # requests for sizes

PENDING: Final = "pending"  # the next run reads it
PARTLY: Final = "partly read"  # the next run reads the rest
READ: Final = "read"
LEFT_OUT: Final = "left out"  # older than start_date, or than lookback_days allows
GONE: Final = "gone"  # listed, and expired since


@dataclass(frozen=True, slots=True)
class Available:
    """An export file that is listed.

    Attributes:
        file: The file.
        status: `PENDING`, `PARTLY`, `READ` or `LEFT_OUT`; None if no state was given, or if the
            state does not say: of files made on request it names those of the open job only;
            `GONE` if it had expired when its size was requested.
        rows_read: Rows emitted of a partly read file; else 0.
        size: Bytes as stored; None if not stated, or not requested.
        expires_at: When it expires, as documented; None for a delivered file, which stays.
    """

    file: ExportFile
    status: str | None
    rows_read: int
    size: int | None
    expires_at: datetime | None

    def as_json(self, now: datetime) -> dict[str, Any]:
        """The object that ``files --output json`` prints."""
        file = self.file
        return {
            "stream": file.stream,
            "generated_at": format_time(file.generated_at),
            "file_name": file.file_name,
            "key": file.key,
            "id": file.id,
            "source": file.source,
            "size_bytes": self.size,
            "age_seconds": int((now - file.generated_at).total_seconds()),
            "expires_at": self.expires_at and format_time(self.expires_at),
            "historical": file.historical,
            "status": self.status,
            "rows_read": self.rows_read,
        }


def take_stock(
    tap: FileTap,
    streams: Iterable[str],
    *,
    since: datetime | None = None,
    has_state: bool = True,
) -> list[Available]:
    """List the available files by stream, in the order in which the tap reads them.

    Args:
        tap: The tap with its settings and state.
        streams: Names of streams.
        since: Leave out files generated before; None for none.
        has_state: False if no state was given; then the files have no status.

    Raises:
        StateError: The state cannot be read.
        TransportError: A listing failed.
    """
    found = []
    if has_state:
        tap.warn_of_given()
    bookmarks = tap.state.get("bookmarks", {}) if has_state else {}
    for stream in streams:
        files = {file.id: file for file in tap.transport.list_files(stream)}.values()
        entries = _judged(stream, list(files), bookmarks.get(stream, {}), tap)
        if not has_state:
            entries = [replace(entry, status=None) for entry in entries]
        found += [entry for entry in entries if since is None or entry.file.generated_at >= since]
    return found


def weigh(transport: Transport, entries: list[Available]) -> list[Available]:
    """Fetch sizes (one API request per file); files that have expired get the status `GONE`.

    Raises:
        TransportError: A request failed.
    """
    return _at_once(partial(_sized, transport), entries)


def _at_once(work: Callable[[Available], Available], entries: list[Available]) -> list[Available]:
    """Apply *work* to each entry, in order; daemon threads, so that Ctrl-C ends the process."""
    todo: SimpleQueue[tuple[int, Available]] = SimpleQueue()
    done: SimpleQueue[tuple[int, Available | Exception]] = SimpleQueue()
    for item in enumerate(entries):
        todo.put(item)

    def run() -> None:
        while True:
            try:
                position, entry = todo.get_nowait()
            except Empty:
                return
            try:
                done.put((position, work(entry)))
            except Exception as error:  # noqa: BLE001 - raised in the calling thread
                done.put((position, error))

    for _ in range(min(_ASKED_AT_ONCE, len(entries))):
        Thread(target=run, daemon=True).start()
    found = list(entries)
    for _ in entries:
        position, result = done.get()
        if isinstance(result, Exception):
            raise result
        found[position] = result
    return found


def _sized(transport: Transport, entry: Available) -> Available:
    """*entry* with its size, or as expired."""
    try:
        return replace(entry, size=transport.stored_size(entry.file))
    except FileGoneError:
        return replace(entry, status=GONE)


def _judged(
    stream: str, files: list[ExportFile], state: Mapping[str, Any], tap: FileTap
) -> list[Available]:
    """The files of one stream in order, compared with its part of a state."""
    settings = tap.settings
    spec = tap.specs[stream]
    if spec.times:
        return _judged_by_job(files, read_job_state(state, spec), tap)
    again, now = spec.full_table, utc_now()
    plan = plan_files(stream, files, state, settings, now=now, incremental=not again)
    if spec.ordered:
        plan = in_order(plan, (), settings)
    pending = {file.id for file in plan.files}
    kept = None if settings.delivered or spec.full_table else tap.vendor.retention
    found = []
    for file in sorted(files, key=lambda file: (file.generated_at, file.id)):
        rows = plan.bookmark.rows_read(file) if file.id in pending else 0
        status = PENDING if file.id in pending else LEFT_OUT
        if file.key in plan.bookmark.finished and file.id not in pending:
            status = READ
        expires = None if kept is None else _expiry(file.generated_at, kept)
        found.append(Available(file, PARTLY if rows else status, rows, None, expires))
    return found


def _judged_by_job(files: list[ExportFile], reached: JobState, tap: FileTap) -> list[Available]:
    """The files that jobs have made; the next run goes on with those of the open job only."""
    found, kept = [], tap.vendor.retention
    for file in sorted(files, key=lambda file: (file.generated_at, file.id)):
        is_open = reached.job is not None and file.id.partition("/")[0] == reached.job.id
        rows = reached.rows if file.key == reached.file else 0
        status = PARTLY if rows else PENDING if is_open else None
        expires = None if kept is None else _expiry(file.generated_at, kept)
        found.append(Available(file, status, rows, None, expires))
    return found


def _expiry(generated_at: datetime, kept: timedelta) -> datetime:
    """When a file of that time expires; at most the last moment of the calendar."""
    last = datetime.max.replace(microsecond=0, tzinfo=UTC)
    return last if last - generated_at < kept else generated_at + kept


def sum_known(values: Iterable[int | None]) -> int | None:
    """The sum, or None if one of them is not known."""
    known = list(values)
    return None if None in known else sum(value or 0 for value in known)


def size_words(size: int | None) -> str:
    """Bytes in words: ``764 B``, ``12.3 MB``; empty for None."""
    if size is None:
        return ""
    amount, units = float(size), iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while amount >= 1000 and (larger := next(units, None)):
        amount, unit = amount / 1000, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def span_words(span: timedelta) -> str:
    """A span in words: ``6d 4h``, ``3h``, ``12m``."""
    if span < timedelta():
        return "-" + span_words(-span)
    minutes = int(span.total_seconds()) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h" if hours else f"{minutes}m"
