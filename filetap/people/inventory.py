"""Which export files there are, and how far they have been read: what people's tools show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from filetap.bookmark import Bookmark
from filetap.errors import FileGoneError
from filetap.files import format_time, parse_generation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from filetap.files import ExportFile, Transport

# Firstup's knowledge base, "Direct Data Export": how long files can be downloaded.
KEPT: Final = timedelta(days=7)
_ASKED_AT_ONCE = 8  # requests for sizes

PENDING: Final = "pending"  # the next run reads it
PARTLY: Final = "partly read"  # the next run goes on in it
READ: Final = "read"
LEFT_OUT: Final = "left out"  # older than start_date, or than lookback_days allows
GONE: Final = "gone"  # listed, but it has expired since


@dataclass(frozen=True, slots=True)
class Available:
    """An export file that can be fetched now.

    Attributes:
        file: The file.
        status: `PENDING`, `PARTLY`, `READ` or `LEFT_OUT`; None when no state was given; `GONE`
            when its size was asked for and it was not there.
        rows_read: Rows of it that have gone out, while it is partly read; else 0.
        size: Bytes as stored; None if not stated, or not asked for.
        expires_at: When it will be gone, as documented; None for a delivered file, which stays.
    """

    file: ExportFile
    status: str | None
    rows_read: int
    size: int | None
    expires_at: datetime | None

    def as_json(self, now: datetime) -> dict[str, Any]:
        """The object that ``firstup-dde files --output json`` prints of it."""
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


@dataclass(frozen=True, slots=True)
class Limits:
    """What the tap's settings say of which files are read.

    Attributes:
        lookback: How long after the bookmark a late file is still read.
        start: Files generated before it are never read; None for all.
        keeps: Whether files stay where they are, as delivered ones do.
    """

    lookback: timedelta
    start: datetime | None = None
    keeps: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Limits:
        """What validated settings say."""
        start = config.get("start_date")
        return cls(
            lookback=timedelta(days=config["lookback_days"]),
            start=parse_generation(start) if start else None,
            keeps=bool(config.get("folder")),
        )


def take_stock(  # noqa: PLR0913 - what is asked, and what is known
    transport: Transport,
    streams: Iterable[str],
    state: Mapping[str, Any] | None,
    limits: Limits,
    *,
    since: datetime | None = None,
    sizes: bool = True,
) -> list[Available]:
    """Every file that can be fetched, by stream, and in the order in which the tap reads them.

    Args:
        transport: Where they are.
        streams: Which types.
        state: The tap's state; None for none, and then nothing is said of what was read.
        limits: What the settings say.
        since: Leave out what was generated before.
        sizes: Whether to ask for each file's size: one request a file of the API.

    Raises:
        StateError: The state cannot be read.
        TransportError: A list, or a size, cannot be had.
    """
    found = []
    for stream in streams:
        files = {file.id: file for file in transport.list_files(stream)}.values()
        bookmarks = None if state is None else state.get("bookmarks", {}).get(stream, {})
        ordered = sorted(files, key=lambda file: (file.generated_at, file.id))
        judged = _judged(ordered, bookmarks, limits)
        found += [entry for entry in judged if since is None or entry.file.generated_at >= since]
    return weigh(transport, found) if sizes else found


def weigh(transport: Transport, entries: list[Available]) -> list[Available]:
    """The same files with their sizes, one request a file of the API; what is not there is `GONE`.

    Raises:
        TransportError: A size cannot be had.
    """
    return _at_once(partial(_sized, transport), entries)


def _at_once(work: Callable[[Available], Available], entries: list[Available]) -> list[Available]:
    """What *work* makes of each, in order. Its threads keep no process alive that is to end."""
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
            except Exception as error:  # noqa: BLE001 - raised by whoever waits
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
    """*entry* with its size, or that it is gone."""
    try:
        return replace(entry, size=transport.stored_size(entry.file))
    except FileGoneError:
        return replace(entry, status=GONE)


def _judged(
    files: list[ExportFile], bookmarks: Mapping[str, Any] | None, limits: Limits
) -> list[Available]:
    """The files of one stream, held against its part of a state."""
    bookmark = Bookmark.from_state(bookmarks or {}, utc_now()).settle(files)
    pending = {file.id for file in bookmark.pending(files, limits.lookback, limits.start)}
    found = []
    for file in files:
        rows = bookmark.rows_read(file) if file.id in pending else 0
        status = PENDING if file.id in pending else LEFT_OUT
        if file.key in bookmark.finished and file.id not in pending:
            status = READ
        found.append(
            Available(
                file,
                None if bookmarks is None else PARTLY if rows else status,
                rows,
                None,
                None if limits.keeps else _expiry(file.generated_at),
            )
        )
    return found


def _expiry(generated_at: datetime) -> datetime:
    """When a file of that time will be gone, or the last moment there is."""
    last = datetime.max.replace(microsecond=0, tzinfo=UTC)
    return last if last - generated_at < KEPT else generated_at + KEPT


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


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
