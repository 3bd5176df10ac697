"""Events, which a job exports for a range of days, and lookups, which a request returns.

Userpilot runs one job of an application at a time, whoever asked for it. Its list of jobs shows
neither days nor filters, so a job of somebody else is never used: it is waited for.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from filetap.errors import ExpiredURLError, FileGoneError, JobError, TooLongError, TransportError
from filetap.files import Body, ExportFile
from filetap.jobs.source import Job, Lost, MadeFile, Ready, Running, finds_too_long
from filetap.jobs.windows import Schedule
from filetap.times import format_time, parse_generation, utc_now
from filetap.transports.connection import bare_session
from filetap.transports.http import is_secure, open_range
from tap_userpilot.api import ConflictError, NoJobError, RefusedError, UserpilotAPI
from tap_userpilot.documented import EVENT_TYPES, EVENTS
from tap_userpilot.lookups import read_lookup
from tap_userpilot.responses import DONE, FAILED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from filetap.jobs.source import Outcome
    from filetap.jobs.windows import Window
    from filetap.settings import Settings
    from tap_userpilot.api import Connection
    from tap_userpilot.responses import Job as Described

_DAY: Final = timedelta(days=1)
_LONGEST_PAUSE: Final = 60.0  # seconds
_PATIENCE: Final = 12  # times that a job may be completed without all of its chunks
_UNKNOWN_TIME: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NEW_TYPE: Final = "session_start"  # which an older API does not know

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """What is read, and how.

    Attributes:
        connection: How the API is reached.
        window_days: Days of a job, at most.
        settle_hours: How long after its end a day counts as whole.
        job_wait: Seconds that other jobs are waited for.
        filters: Members of a request besides its days, types and format.
        event_types: Types of events; empty for all.
    """

    connection: Connection
    window_days: int = 28
    settle_hours: int = 3
    job_wait: float = 3600.0
    filters: Mapping[str, Any] = field(default_factory=dict)
    event_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Listed:
    """A file as one answer lists it.

    Attributes:
        file: The file.
        url: Its presigned URL; secret.
        shifting: True if only the order of the answer tells it from another one of its name.
    """

    file: ExportFile
    url: str = field(repr=False)
    shifting: bool


class UserpilotExports:
    """Asks for jobs, and fetches their files; lookups are files that are made when fetched.

    Args:
        settings: The tap's settings; their source is a `Source`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._source: Source = settings.source
        self._api = UserpilotAPI(self._source.connection, settings.timeout, settings.retries)
        self._storage = bare_session()
        self._now = utc_now()
        self._types = self._source.event_types or EVENT_TYPES
        self._format = "json"
        self._incomplete: Counter[str] = Counter()
        self._expired: set[str] = set()
        self._urls: dict[str, _Listed] = {}  # of files that share their names, by id

    def jobs(self) -> list[Described]:
        """The export jobs of the last days, other people's among them.

        Raises:
            TransportError: They cannot be listed.
        """
        return self._api.jobs()[0]

    # Windows and jobs

    def schedule(self, stream: str) -> Schedule:  # noqa: ARG002 - only events have jobs
        """Whole days, once they have settled by the clock of the API."""
        self._now = self._api.jobs()[1] or utc_now()
        settled = self._now - timedelta(hours=self._source.settle_hours)
        return Schedule(
            length=self._source.window_days * _DAY,
            end=datetime(settled.year, settled.month, settled.day, tzinfo=UTC),
            lookback=self._settings.lookback,
            start=self._settings.start,
            grid=_DAY,
            unit=_DAY,
        )

    def fingerprint(self, stream: str) -> str:  # noqa: ARG002 - only events have jobs
        """A hash of the filters."""
        body = {**self._source.filters, "event_type": sorted(self._source.event_types)}
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]

    def find(self, stream: str, window: Window) -> None:
        """No job can be recognised."""

    def request(self, stream: str, window: Window) -> Job:
        """Ask for a job, waiting for others to end.

        It gets a day more on each side, or two where they are over, so that all rows of the window
        come, whether the last day counts or not, and in whatever zone days are.

        Raises:
            JobError: Another job did not end in time.
            TooLongError: The request was refused because of its length.
            TransportError: The request was refused.
        """
        first, last = _days(window)
        after = last + 2 * _DAY if last + 2 * _DAY <= self._now.date() else last + _DAY
        days = {"from": _before(first).isoformat(), "to": after.isoformat()}
        what = f"{stream}: the export of {first} to {last}"
        while True:
            body = {**days, "event_type": list(self._types), **self._source.filters}
            body["format"] = self._format
            try:
                return Job(stream, self._ask(body, what), window)
            except RefusedError as error:
                if not self._adapts(error):
                    raise _refusal(error) from None

    def _adapts(self, error: RefusedError) -> bool:
        """True if a refused request is worth another form: two documents differ in names."""
        is_known = _NEW_TYPE not in error.answer.lower()
        if not is_known and _NEW_TYPE in self._types and not self._source.event_types:
            logger.warning("Userpilot does not know %s events; they are left out", _NEW_TYPE)
            self._types = tuple(kind for kind in self._types if kind != _NEW_TYPE)
            return True
        if "format" in error.message.lower() and self._format == "json":
            self._format = "ndjson"
            return True
        return False

    def _ask(self, body: Mapping[str, Any], what: str) -> str:
        """The id of a new job, once no other one is running.

        Raises:
            JobError: Another job did not end in time.
            TransportError: The request was refused.
        """
        deadline = time.monotonic() + self._source.job_wait
        pause, has_logged = self._settings.poll, False
        while True:
            try:
                return self._api.create(body, what)
            except ConflictError:
                running = next((job for job in self.jobs() if job.is_running), None)
            other = f"job {running.id} (started {running.started})" if running else "a job"
            left = deadline - time.monotonic()
            if left <= 0:
                msg = f"{what}: {other} of the same application is still running"
                hint = (
                    "Userpilot runs one export job at a time, and a job of somebody else is never "
                    "used; run again later, or raise job_wait"
                )
                raise JobError(msg, hint)
            if not has_logged:
                logger.info("%s: waiting until %s of the same application ends", what, other)
                has_logged = True
            self._settings.retries.pause(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def poll(self, job: Job) -> Outcome:
        """How far a job is; a job without all of its chunks is never used."""
        try:
            found = self._api.job(job.id)
        except NoJobError:
            return Lost("no longer exists")
        if found.status == FAILED:
            return Lost("failed")
        if found.status != DONE:
            progress = found.progress and f" ({found.progress})"
            return Running(f"{found.status or 'in an unknown state'}{progress}")
        first, last = _days(job.window)  # the day after it may not count
        if missing := found.missing(_before(first), last):
            self._incomplete[job.id] += 1
            if self._incomplete[job.id] > _PATIENCE:
                return Lost(f"was completed without the chunk {missing}")
            return Running(f"completed without the chunk {missing}")
        return Ready(
            tuple(
                MadeFile(listed.file, shifting=listed.shifting)
                for listed in _files(job.stream, found)
            )
        )

    # Files

    def list_files(self, stream: str, since: datetime | None = None) -> Iterable[ExportFile]:
        """The files of jobs that are still described, whoever asked for them; or a lookup."""
        if stream != EVENTS:
            yield self._lookup(stream)
            return
        for listed in self.jobs():
            if listed.status != DONE:
                continue
            try:
                found = self._api.job(listed.id)
            except NoJobError:
                continue
            for one in _files(stream, found):
                if since is None or one.file.generated_at >= since:
                    yield one.file

    def _lookup(self, stream: str) -> ExportFile:
        """A lookup as a file of this moment."""
        moment = utc_now().replace(microsecond=0)
        name, generation = f"{stream}.json", format_time(moment)
        return ExportFile(stream, stream, name, generation, moment)

    def fetch(
        self, file: ExportFile, offset: int = 0, version: str = ""
    ) -> AbstractContextManager[Body]:
        """Open a file; its URL is requested anew each time.

        Raises:
            FileGoneError: Its job is no longer described.
            ExpiredURLError: The URL was refused.
            TransportError: It cannot be fetched.
        """
        return self._fetch(file, offset, version)

    @contextmanager
    def _fetch(self, file: ExportFile, offset: int, version: str) -> Iterator[Body]:
        """Open a file, as `fetch` does."""
        if file.stream != EVENTS:
            data = read_lookup(file.stream, lambda after: self._api.page(file.stream, after))
            yield Body(iter([data] if data else []), 0, len(data), None, promises=False)
            return
        try:
            with self._opened(file, offset, version) as body:
                yield body
        except ExpiredURLError as error:
            # Whether a job gets new URLs is not documented: a second refusal settles it. So does
            # the first one where another answer may list the files in another order.
            used = self._urls.pop(file.id, None)
            if file.id in self._expired or (used and used.shifting):
                raise FileGoneError(error.message, "Userpilot keeps files for two days") from None
            self._expired.add(file.id)
            raise

    @contextmanager
    def _opened(self, file: ExportFile, offset: int, version: str) -> Iterator[Body]:
        """Open a file at a new URL, as `fetch` does."""
        with open_range(
            self._storage,
            self._url(file),
            str(file),
            offset=offset,
            version=version,
            size=None,
            checksum=None,
            timeout=self._settings.timeout,
        ) as body:
            yield replace(body, promises=False)

    def _url(self, file: ExportFile) -> str:
        """A presigned URL of a file.

        Raises:
            FileGoneError: Its job is no longer described.
            TransportError: The URL is not safe to use.
        """
        listed = self._urls.get(file.id) or self._listed_again(file)
        if not is_secure(listed.url):
            msg = f"{file}: its download URL is not an https URL"
            raise TransportError(msg, "report it to Userpilot")
        return listed.url

    def _listed_again(self, file: ExportFile) -> _Listed:
        """A file as its job lists it now; others of its name are kept as this answer has them.

        Raises:
            FileGoneError: The job is no longer described, or has other files.
        """
        listed = _of_one_name(self._api, file)
        if len(listed) > 1:
            self._urls |= listed
        return listed[file.id]

    def stored_size(self, file: ExportFile) -> int | None:  # noqa: ARG002 - nothing states it
        """None: neither jobs nor lookups state it."""
        return None

    def describe(self) -> str:
        """Where files come from."""
        return f"Userpilot's API at {self._api.host}"

    @property
    def account(self) -> str | None:
        """None: files do not name their application."""
        return None

    @property
    def accounts(self) -> Collection[str]:
        """Nothing, likewise."""
        return ()


def _refusal(error: RefusedError) -> TransportError:
    """The error that a refused request ends with."""
    if finds_too_long(error.answer):
        return TooLongError(error.message, "set window_days lower")
    return error


def _days(window: Window) -> tuple[date, date]:
    """The first and the last day that a window is about."""
    return window.start.date(), (window.end - timedelta(microseconds=1)).date()


def _before(day: date) -> date:
    """The day before, or the first one of the calendar."""
    return day - _DAY if day > date.min else day


def _of_one_name(api: UserpilotAPI, file: ExportFile) -> dict[str, _Listed]:
    """The files with a file's name, by id, as one answer lists them.

    Raises:
        FileGoneError: The job is no longer described, or has other files.
        TransportError: It cannot be fetched.
    """
    try:
        found = api.job(file.id.partition("/")[0])
    except NoJobError:
        msg = f"{file}: its job no longer exists"
        raise FileGoneError(msg, "Userpilot keeps files for two days") from None
    files = _files(file.stream, found)
    listed = {one.file.id: one for one in files if one.file.file_name == file.file_name}
    if file.id not in listed:
        msg = f"{file}: its job no longer has this file"
        raise FileGoneError(msg, "Userpilot keeps files for two days")
    return listed


def _files(stream: str, found: Described) -> list[_Listed]:
    """The files of a job; those of one name are counted in the order of their URLs' paths."""
    try:
        moment = parse_generation(found.started)
    except ValueError:
        moment = _UNKNOWN_TIME
    generation, seen = format_time(moment), Counter[str]()
    places = Counter(stored.place for stored in found.files)
    files = []
    for stored in found.files:
        seen[stored.name] += 1
        identity = f"{found.id}/{stored.name}/{seen[stored.name]}"
        file = ExportFile(stream, identity, stored.name, generation, moment)
        files.append(_Listed(file, stored.url, places[stored.place] > 1))
    return files
