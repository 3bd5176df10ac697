"""Requests to HookBridge's exports API, the only place that the key is sent to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from filetap.errors import TransportError
from filetap.times import utc_now
from filetap.transports import http
from filetap.transports.connection import bare_session
from filetap.transports.oauth import Bearer
from filetap.transports.retry import with_retries
from tap_hookbridge.responses import (
    URL_HINT,
    data_of,
    joined,
    note_of,
    read_export,
    refusal,
    refuses_job,
)

if TYPE_CHECKING:
    from datetime import datetime

    import requests

    from filetap.settings import Retries
    from tap_hookbridge.responses import Export

EXPORTS: Final = "/v1/exports"
_MOST_PAGES: Final = 1000


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


class ExportsClient:
    """Lists and describes one project's exports.

    Args:
        connection: How it is reached.
        timeout: Seconds that one socket operation may take.
        retries: How often a request is repeated.

    Attributes:
        seen: Ids of all exports that responses have named.
        projects: Projects that they belong to.
        note: The last request id that a response stated, in words that end an error.
    """

    def __init__(self, connection: Connection, timeout: float, retries: Retries) -> None:
        self.seen: set[str] = set()
        self.projects: set[str] = set()
        self.note = ""
        self._to = connection
        self._timeout = timeout
        self._retries = retries
        self._session = bare_session()

    def list_all(self) -> tuple[list[Export], datetime]:
        """Every export, on all pages, and the API's clock."""
        return with_retries(self.list_once, self._retries)

    def list_once(self) -> tuple[list[Export], datetime]:
        """The same without retries."""
        what, cursor = "the list of exports", ""
        exports: list[Export] = []
        now: datetime | None = None
        seen = {""}
        for _ in range(_MOST_PAGES):
            query = {"cursor": cursor} if cursor else None
            response = self.send("GET", EXPORTS, what, params=query)
            now = now or http.http_date(response.headers.get("Date", ""))
            content, note = data_of(response, what)
            items = content["data"]
            if not isinstance(items, list):
                items = [items]
            exports += [self.read(item, what, note) for item in items]
            meta = content.get("meta")
            more = meta if isinstance(meta, dict) else {}
            cursor = str(more.get("next_cursor") or "") if more.get("has_more") else ""
            if cursor in seen:
                return exports, now or utc_now()
            seen.add(cursor)
        msg = f"{what}: its pages do not end"
        raise TransportError(msg, joined("report it to HookBridge", note))

    def show(self, export_id: str, what: str) -> tuple[Export, str]:
        """One export, and the note that errors about it end with.

        Raises:
            FileGoneError: It does not exist.
        """
        path = f"{EXPORTS}/{quote(export_id, safe='')}"
        response = with_retries(lambda: self.send("GET", path, what), self._retries)
        content, note = data_of(response, what)
        return self.read(content["data"], what, note), note

    def read(self, item: Any, what: str, note: str) -> Export:
        """An export in a response; its id and its project are remembered."""
        export = read_export(item, what, note)
        self.seen.add(export.id)
        if export.project:
            self.projects.add(export.project)
        return export

    def send(
        self, method: str, path: str, what: str, *, redirects: bool = False, **options: Any
    ) -> requests.Response:
        """Send a request to the API, the only place that the key is sent to.

        Raises:
            TransportError: The response is not a success, or a redirect that is expected.
        """
        response = http.send(
            self._session,
            method,
            self._to.api_url + path,
            what,
            hint=URL_HINT,
            refusals=True,
            auth=Bearer(self._to.api_key),
            headers={"Accept": "application/json"},
            timeout=self._timeout,
            **options,
        )
        self.note = note_of(response) or self.note
        of_one = path != EXPORTS
        success = 200 <= response.status_code < 300 and not (of_one and refuses_job(response))
        if success or (redirects and response.is_redirect):
            return response
        raise refusal(response, what, of_one=of_one)
