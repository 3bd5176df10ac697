"""HookBridge's exports API: jobs that make one CSV file each."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from filetap.bookmark import earlier
from filetap.errors import ExpiredURLError, FileGoneError, NotReadyError, TransportError
from filetap.jobs.source import Job, Lost, MadeFile, Outcome, Ready, Running
from filetap.jobs.windows import Schedule, Window
from filetap.times import format_time, utc_now
from filetap.transports.connection import bare_session
from filetap.transports.http import http_date, is_secure, open_range, send, target_of
from filetap.transports.oauth import Bearer
from filetap.transports.retry import with_retries
from tap_hookbridge.responses import (
    OUTBOUND,
    URL_HINT,
    data_of,
    joined,
    note_of,
    read_export,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import requests

    from filetap.files import Body, ExportFile
    from filetap.settings import Settings
    from tap_hookbridge.responses import Export

DIRECTIONS: Final = {"outbound_messages": OUTBOUND, "inbound_messages": "inbound"}
_PADDING: Final = timedelta(seconds=1)  # whether the API's borders are inclusive is not documented
_AHEAD: Final = timedelta(days=1)  # a clock, or a time zone, may be off by that much
_IMPLAUSIBLE: Final = timedelta(days=3660)
_EXPORTS: Final = "/v1/exports"
_MOST_PAGES: Final = 1000
_URL_LIFETIME: Final = 60.0  # seconds; how long a download URL is valid is not documented

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach one project's exports, and what is requested.

    Attributes:
        api_url: Base of the API, without ``/v1``.
        api_key: The project's key.
        window: Length of the span of one export.
        settle: Messages younger than that, by the API's clock, are not requested yet.
        lookback: How far back messages may still change.
    """

    api_url: str
    api_key: str
    window: timedelta = timedelta(hours=24)
    settle: timedelta = timedelta(minutes=5)
    lookback: timedelta = timedelta(days=30)

    def __repr__(self) -> str:
        """Without the key."""
        return f"Connection({self.api_url!r})"


class HookBridgeTransport:
    """Requests, lists and fetches one project's exports: a `JobSource`.

    Args:
        settings: The tap's settings; their source is a `Connection`.
    """

    def __init__(self, settings: Settings) -> None:
        self._to: Connection = settings.source
        self._settings = settings
        self._api = bare_session()
        # Presigned URLs get a session of their own, which never carries the key.
        self._storage = bare_session()
        self._urls: dict[str, tuple[str, float]] = {}  # export → URL, and until when it is used
        self._listed: dict[str, Export] = {}  # when the run began; those that were adopted are out
        self._seen: set[str] = set()
        self._projects: set[str] = set()

    @property
    def account(self) -> str | None:
        """The project that the key belongs to, once an export names it."""
        return next(iter(self._projects)) if len(self._projects) == 1 else None

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
        listed, now = self._list()
        ahead = now - utc_now()
        if ahead > _IMPLAUSIBLE:
            msg = f"{stream}: the API's clock cannot be right ({format_time(now)})"
            raise TransportError(msg, URL_HINT)
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
            running = export.status in {"pending", "processing"}
            if running and self._matches(export, stream, window):
                del self._listed[export.id]
                return Job(stream, export.id, window)
        return None

    def request(self, stream: str, window: Window) -> Job:
        """Request an export; after an answer that got lost, the export that it was about."""
        what, asked = f"{stream}: an export of {window}", padded(window)
        body = {
            "start_time": format_time(asked.start),
            "end_time": format_time(asked.end),
            "direction": DIRECTIONS[stream],
        }
        known, tries = self._seen.copy(), 0

        def attempt() -> str:
            nonlocal tries
            tries += 1
            if tries > 1:
                for export in self._list_once()[0]:
                    if export.id not in known and self._matches(export, stream, window):
                        return export.id
            content, note = data_of(self._send("POST", _EXPORTS, what, json=body), what)
            return self._read(content["data"], what, note).id

        return Job(stream, with_retries(attempt, self._settings.retries), window)

    def poll(self, job: Job) -> Outcome:
        """How far an export is."""
        try:
            export, note = self._show(job.id, str(job))
        except FileGoneError as error:
            return Lost("no longer exists", error.hint)
        except NotReadyError as error:
            return Running("not ready", error.hint)
        if export.direction != DIRECTIONS[job.stream] or not export.touches(job.window):
            return Lost("is another one than was requested", note)
        if export.status == "completed":
            return Ready((MadeFile(export.file(job.stream), export.size, export.rows, note),))
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
        exports, now = self._list()
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
        url, until = self._urls.pop(file.id, ("", 0.0))
        if not offset or time.monotonic() >= until:
            url, until = self._location(file), time.monotonic() + _URL_LIFETIME
        self._urls[file.id] = (url, until)
        try:
            with open_range(
                self._storage,
                url,
                str(file),
                offset=offset,
                version=version,
                size=None,  # what the API states may be the length of the decompressed bytes
                checksum=None,
                timeout=self._settings.timeout,
            ) as body:
                yield replace(body, promises=False)
        except ExpiredURLError:
            self._urls.pop(file.id, None)
            raise

    def stored_size(self, file: ExportFile) -> int | None:
        """Bytes of an export's file, as the API states them."""
        return self._show(file.id, str(file))[0].size

    def _location(self, file: ExportFile) -> str:
        """A new download URL.

        Raises:
            TransportError: There is none, or the download would not be encrypted.
        """
        path, what = f"{_EXPORTS}/{quote(file.id, safe='')}/download", str(file)
        response = self._call("GET", path, what, redirects=True)
        if not response.is_redirect:
            msg = f"{what}: the API does not redirect to the file ({response.status_code})"
            raise TransportError(msg, joined(URL_HINT, note_of(response)))
        url = target_of(self._to.api_url + path, response.headers["Location"])
        if not url or not is_secure(url):
            msg = f"{what}: the download URL is not https"
            raise TransportError(msg, "report it to HookBridge; nothing was downloaded")
        return url

    # Requests

    def _list(self) -> tuple[list[Export], datetime]:
        """Every export, on all pages, and the API's clock."""
        return with_retries(self._list_once, self._settings.retries)

    def _list_once(self) -> tuple[list[Export], datetime]:
        """The same without retries."""
        what, cursor = "the list of exports", ""
        exports: list[Export] = []
        now: datetime | None = None
        seen = {""}
        for _ in range(_MOST_PAGES):
            query = {"cursor": cursor} if cursor else None
            response = self._send("GET", _EXPORTS, what, params=query)
            now = now or http_date(response.headers.get("Date", ""))
            content, note = data_of(response, what)
            items = content["data"]
            if not isinstance(items, list):
                items = [items]
            exports += [self._read(item, what, note) for item in items]
            meta = content.get("meta")
            more = meta if isinstance(meta, dict) else {}
            cursor = str(more.get("next_cursor") or "") if more.get("has_more") else ""
            if cursor in seen:
                return exports, now or utc_now()
            seen.add(cursor)
        msg = f"{what}: its pages do not end"
        raise TransportError(msg, joined("report it to HookBridge", note))

    def _show(self, export_id: str, what: str) -> tuple[Export, str]:
        """One export, and the note that errors about it end with.

        Raises:
            FileGoneError: It does not exist.
        """
        response = self._call("GET", f"{_EXPORTS}/{quote(export_id, safe='')}", what)
        content, note = data_of(response, what)
        return self._read(content["data"], what, note), note

    def _read(self, item: Any, what: str, note: str) -> Export:
        """An export in a response; its id and its project are remembered."""
        export = read_export(item, what, note)
        self._seen.add(export.id)
        if export.project:
            self._projects.add(export.project)
        return export

    def _call(self, method: str, path: str, what: str, **options: Any) -> requests.Response:
        """Send a request, and repeat it after transient errors."""
        return with_retries(
            lambda: self._send(method, path, what, **options), self._settings.retries
        )

    def _send(
        self, method: str, path: str, what: str, *, redirects: bool = False, **options: Any
    ) -> requests.Response:
        """Send a request to the API, the only place that the key is sent to.

        Raises:
            TransportError: The response is not a success, or a redirect that is expected.
        """
        response = send(
            self._api,
            method,
            self._to.api_url + path,
            what,
            hint=URL_HINT,
            refusals=True,
            auth=Bearer(self._to.api_key),
            headers={"Accept": "application/json"},
            timeout=self._settings.timeout,
            **options,
        )
        if 200 <= response.status_code < 300 or (redirects and response.is_redirect):
            return response
        raise refusal(response, what, of_one=path != _EXPORTS)


def padded(window: Window) -> Window:
    """The span that is requested for a window."""
    return Window(earlier(window.start, _PADDING), window.end + _PADDING)
