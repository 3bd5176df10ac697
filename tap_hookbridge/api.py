"""HookBridge's exports API: jobs that make one CSV file each."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from filetap.bookmark import earlier
from filetap.errors import ExpiredURLError, FileGoneError, NotReadyError, TransportError
from filetap.jobs.reader import LONGEST_POLL
from filetap.jobs.source import Job, Lost, MadeFile, Outcome, Ready, Running
from filetap.jobs.windows import Schedule, Window
from filetap.times import format_time, utc_now
from filetap.transports.connection import bare_session
from filetap.transports.http import is_secure, open_range, target_of
from filetap.transports.retry import with_retries
from tap_hookbridge.client import EXPORTS, Connection, ExportsClient
from tap_hookbridge.responses import (
    URL_HINT,
    BusyError,
    data_of,
    joined,
    note_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from filetap.files import Body, ExportFile
    from filetap.settings import Settings
    from tap_hookbridge.responses import Export

DIRECTIONS: Final = {"outbound_messages": "outbound", "inbound_messages": "inbound"}
_PADDING: Final = timedelta(seconds=1)  # whether the API's borders are inclusive is not documented
_AHEAD: Final = timedelta(days=1)  # a clock, or a time zone, may be off by that much
_IMPLAUSIBLE: Final = timedelta(days=3660)
_URL_LIFETIME: Final = 60.0  # seconds; how long a download URL is valid is not documented

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Location:
    """Where a file can be downloaded.

    Attributes:
        url: A presigned URL.
        until: Monotonic time, in seconds, after which a new one is requested.
        note: The request id of the response that stated it, in words that end an error.
    """

    url: str
    until: float
    note: str


class HookBridgeTransport:
    """Requests, lists and fetches one project's exports: a `JobSource`.

    Args:
        settings: The tap's settings; their source is a `Connection`.
    """

    def __init__(self, settings: Settings) -> None:
        self._to: Connection = settings.source
        self._settings = settings
        self._client = ExportsClient(self._to, settings.timeout, settings.retries)
        # Presigned URLs get a session of their own, which never carries the key.
        self._storage = bare_session()
        self._urls: dict[str, _Location] = {}  # by export
        self._listed: dict[str, Export] = {}  # when the run began; those that were adopted are out

    @property
    def account(self) -> str | None:
        """The project that the key belongs to, once an export names it."""
        return next(iter(self._client.projects)) if len(self._client.projects) == 1 else None

    @property
    def accounts(self) -> tuple[str, ...]:
        """None that rows have to name: a key belongs to one project."""
        return ()

    def describe(self) -> str:
        """The API's host."""
        return urlsplit(self._to.api_url).hostname or ""

    # Jobs

    def schedule(self, stream: str) -> Schedule:
        """All whole seconds before the settle time, by the clock of the API."""
        listed, now = self._client.list_all()
        ahead = now - utc_now()
        if ahead > _IMPLAUSIBLE:
            msg = f"{stream}: the API's clock cannot be right ({format_time(now)})"
            raise TransportError(msg, joined(URL_HINT, self._client.note))
        if ahead > _AHEAD:
            logger.warning(
                "%s: the API's clock is far ahead of this machine's (%s); messages are requested "
                "by the API's",
                stream,
                format_time(now),
            )
        self._listed = {export.id: export for export in listed}
        settings = self._settings
        return Schedule(
            self._to.window,
            earlier(now, self._to.settle).replace(microsecond=0),
            lookback=max(self._to.lookback, settings.lookback),
            start=settings.start,
            repeats=True,
        )

    def fingerprint(self, stream: str) -> str:
        """The direction and the padding."""
        return f"{DIRECTIONS[stream]} {_PADDING.total_seconds():+g}"

    def find(self, stream: str, window: Window) -> Job | None:
        """An export of the window that had not ended when the run began: it is as good as new."""
        for export in self._listed.values():
            if export.is_active and self._matches(export, stream, window):
                del self._listed[export.id]
                asked = earlier(export.created_at, self._to.settle)
                return Job(stream, export.id, window, asked)
        return None

    def request(self, stream: str, window: Window) -> Job:
        """Request an export; after an answer that got lost, the export that it was about.

        While another one is active, it waits, at most as long as for its own.

        Raises:
            BusyError: Another one is still active.
            TransportError: The API cannot be reached, or refuses.
        """
        what, asked = f"{stream}: an export of {window}", padded(window)
        body = {
            "start_time": format_time(asked.start),
            "end_time": format_time(asked.end),
            "direction": DIRECTIONS[stream],
        }
        known, tries = self._client.seen.copy(), 0

        def attempt() -> str:
            nonlocal tries
            tries += 1
            if tries > 1:
                for export in self._client.list_once()[0]:
                    if export.id not in known and self._matches(export, stream, window):
                        return export.id
            content, note = data_of(self._client.send("POST", EXPORTS, what, json=body), what)
            return self._client.read(content["data"], what, note).id

        settings = self._settings
        deadline, pause = time.monotonic() + settings.job_timeout, settings.poll
        while True:
            try:
                return Job(stream, with_retries(attempt, settings.retries), window)
            except BusyError as error:
                busy = error
            logger.info("%s; waiting until no other export is active", busy.message)
            waits = True
            while waits:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise busy
                settings.retries.pause(min(pause, left))
                pause = max(pause, min(pause * 1.5, LONGEST_POLL))
                waits = any(export.is_active for export in self._client.list_all()[0])

    def poll(self, job: Job) -> Outcome:
        """How far an export is."""
        try:
            export, note = self._client.show(job.id, str(job))
        except FileGoneError as error:
            return Lost("no longer exists", error.hint)
        except NotReadyError as error:
            return Running("not ready", error.hint)
        direction = DIRECTIONS[job.stream]
        # What an export that was requested here is about is known, even if it is not stated.
        if export.direction not in {direction, ""} or not export.touches(job.window):
            return Lost("is another one than was requested", note)
        if export.status == "completed":
            file = replace(export, direction=direction).file(job.stream)
            return Ready((MadeFile(file, export.size, export.rows, note),))
        ends = {
            "failed": f"failed: {export.error or 'no reason is stated'}",
            "expired": "has expired",
        }
        reason = ends.get(export.status)
        return Lost(reason, note) if reason else Running(export.status, note)

    def _matches(self, export: Export, stream: str, window: Window) -> bool:
        """True if an export has all messages of a window; younger ones may have been missed."""
        settled = export.created_at >= window.end + self._to.settle
        return settled and export.covers(DIRECTIONS[stream], padded(window))

    # Files

    def list_files(self, stream: str, since: datetime | None = None) -> list[ExportFile]:
        """The files of all exports of a stream that can be downloaded."""
        exports, now = self._client.list_all()
        return [
            export.file(stream)
            for export in exports
            if export.direction == DIRECTIONS[stream]
            and export.status == "completed"
            and (export.expires_at is None or export.expires_at > now)
            and (since is None or export.created_at >= since)
        ]

    @contextmanager
    def fetch(self, file: ExportFile, offset: int = 0, version: str = "") -> Iterator[Body]:
        """Open an export's file from *offset*; only a later part reuses the last URL.

        Raises:
            ExpiredURLError: The URL was refused; the next call requests a new one.
            FileGoneError: The export, or its file, has expired.
            NotReadyError: The export has not ended.
            TransportError: Anything else, transient or not.
        """
        location = self._urls.pop(file.id, None)
        if not offset or location is None or time.monotonic() >= location.until:
            location = self._location(file)
        self._urls[file.id] = location
        try:
            with open_range(
                self._storage,
                location.url,
                str(file),
                offset=offset,
                version=version,
                size=None,  # what the API states may be the length of the decompressed bytes
                checksum=None,
                timeout=self._settings.timeout,
            ) as body:
                yield replace(body, promises=False)
        except TransportError as error:
            if isinstance(error, ExpiredURLError):
                self._urls.pop(file.id, None)
            error.end_with(location.note)  # the storage states no request id of the API's
            raise

    def stored_size(self, file: ExportFile) -> int | None:
        """Bytes of an export's file, as the API states them."""
        return self._client.show(file.id, str(file))[0].size

    def _location(self, file: ExportFile) -> _Location:
        """A new download URL.

        Raises:
            TransportError: There is none, or the download would not be encrypted.
        """
        path, what = f"{EXPORTS}/{quote(file.id, safe='')}/download", str(file)
        # Not repeated here: the download has retries of its own, which would multiply these.
        response = self._client.send("GET", path, what, redirects=True)
        note = note_of(response)
        if not response.is_redirect:
            msg = f"{what}: the API does not redirect to the file ({response.status_code})"
            raise TransportError(msg, joined(URL_HINT, note))
        url = target_of(self._to.api_url + path, response.headers["Location"])
        if not url or not is_secure(url):
            msg = f"{what}: the download URL is not https"
            hint = "report it to HookBridge; nothing was downloaded"
            raise TransportError(msg, joined(hint, note))
        return _Location(url, time.monotonic() + _URL_LIFETIME, note)


def padded(window: Window) -> Window:
    """The span that is requested for a window."""
    return Window(earlier(window.start, _PADDING), window.end + _PADDING)
