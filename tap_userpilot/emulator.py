"""An emulated Userpilot: its API, and the storage on another origin that has the files."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from itertools import repeat
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from filetap.testing.server import LocalServer, Response, Route, json_response
from filetap.testing.storage import DOWNLOAD, Storage, StoredFile
from tap_userpilot.emulated_jobs import EmulatedJob, Jobs
from tap_userpilot.sample_data import APP, lookups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from filetap.testing.server import Call

_EXPORTS = "/api/v1/analytics/exports"
_ERRORS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Resource not found",
    409: "Conflict",
}
_BUSY = (
    "There is already an export job in progress, you can only have one export job in progress at "
    "a time."
)
_PLAN = (
    f"Your current plan for application {APP} does not support the feature you are trying to "
    "access."
)


def error(status: int, details: str | None, message: str = "") -> Response:
    """An error as Userpilot words it."""
    body = {
        "details": details,
        "error": _ERRORS.get(status, "Error"),
        "error_code": str(status),
        "message": message or _ERRORS.get(status, ""),
    }
    return json_response(status, {"errors": [body]})


@dataclass(kw_only=True, eq=False)
class Bucket(LocalServer):
    """Storage that refuses a request with an Authorization header.

    Attributes:
        files: Returns the files in it.
        storage: Signs URLs.
    """

    ROUTES: ClassVar[tuple[Route, ...]] = (DOWNLOAD,)

    files: Callable[[], list[StoredFile]]
    storage: Storage = field(default_factory=Storage)

    def respond(self, call: Call) -> Response:
        """Answer a request."""
        if call.route != DOWNLOAD.name:
            return error(404, None)
        if wanted := call.query.get("file"):
            (body,) = (stored.body for stored in self.files() if stored.key == wanted)
            return Response(200, body, {"ETag": '"1"'})
        return self.storage.respond(call, self.files(), self.now())


@dataclass(kw_only=True, eq=False)
class Emulator(LocalServer):
    """Userpilot's API in front of some jobs and lookups.

    Attributes:
        key: The only API key.
        jobs: The jobs.
        lookups: Lookup → its rows.
        plan: False if the plan lacks the feature.
        plan_status: Status of that answer: 401 or 403.
        slash: True if the path of a new job ends in a slash; the other form is redirected.
        url_life: How long a download URL is valid.
        fresh_urls: True if each description of a job has new URLs.
        order: Of the files of each description of a job: 1, or -1 for the reverse.
        one_path: True if the URLs of all files differ in their queries only.
        page: Rows of a page of the lookups that have pages.
        shift: Called after each page of a lookup with its rows, to change their order.
        last_cursor: What follows the last page: ``null``, ``missing`` or ``repeated``.
        cap: Highest count that is stated.
        bucket: The storage.
    """

    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("create", "POST", f"{_EXPORTS}/?"),
        Route("jobs", "GET", f"{_EXPORTS}/jobs/?"),
        Route("job", "GET", f"{_EXPORTS}/jobs/([^/]+)"),
        Route("lookup", "GET", f"{_EXPORTS}/lookups/([a-z_]+)"),
    )
    PAGED: ClassVar[frozenset[str]] = frozenset({"events_properties", "segments"})

    key: str = "emulated-key"
    jobs: Jobs = field(default_factory=Jobs)
    lookups: dict[str, list[dict[str, Any]]] = field(default_factory=lookups)
    plan: bool = True
    plan_status: int = 403
    slash: bool = True
    url_life: timedelta = timedelta(days=2)
    fresh_urls: bool = True
    order: Iterator[int] = field(default_factory=lambda: repeat(-1))
    one_path: bool = False
    page: int = 50
    shift: Callable[[list[dict[str, Any]]], object] = lambda _: None
    last_cursor: str = "null"
    cap: int = 10_000

    def __post_init__(self) -> None:
        """Set up the storage."""
        super().__post_init__()
        self.bucket = Bucket(files=self._stored, now=lambda: self.now())  # noqa: PLW0108 - a test may replace it
        self._urls: dict[str, str] = {}

    def start(self) -> None:
        """Serve the storage and the API."""
        self.bucket.start()
        super().start()

    def stop(self) -> None:
        """Stop serving both."""
        super().stop()
        self.bucket.stop()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The tap's settings, once it has started."""
        days = [event.at.date() for event in self.jobs.events]
        start = min(days, default=self.now().date())
        return {
            "api_key": self.key,
            "api_url": self.url,
            "start_date": f"{start.isoformat()}T00:00:00Z",
        }

    def respond(self, call: Call) -> Response:
        """Answer a request."""
        if call.headers.get("authorization") != f"Token {self.key}":
            return error(401, None, "You are not authorized to perform the requested action.")
        response = self._answer(call) if self.plan else error(self.plan_status, _PLAN)
        response.headers["Date"] = format_datetime(self.now(), usegmt=True)
        return response

    def _answer(self, call: Call) -> Response:
        """Answer a request that is allowed."""
        now = self.now()
        if call.route == "create":
            return self._create(call)
        if call.route == "jobs":
            found = [self.jobs.summary(job, now) for job in self.jobs.listed(now)]
            return json_response(200, found[::-1])
        if call.route == "job":
            return self._job(call.arguments[0])
        if call.route == "lookup" and call.arguments[0] in self.lookups:
            return self._lookup(call)
        return error(404, None)

    def _create(self, call: Call) -> Response:
        """Start a job."""
        if call.path.endswith("/") != self.slash:
            other = f"{_EXPORTS}/" if self.slash else _EXPORTS
            return Response(301, b"", {"Location": f"{self.url}{other}"})
        now, request = self.now(), json.loads(call.body or b"{}")
        if fault := self.jobs.fault(request, now):
            return error(400, fault)
        if self.jobs.active(now):
            return error(409, _BUSY)
        job = self.jobs.start(request, now)
        # As documented, with a comma too many.
        body = (
            f'{{"environment_app_token": "{APP}", "environment_name": "production", '
            f'"job_id": "{job.id}", "links": "{_EXPORTS}/jobs/{job.id}", '
            f'"start_time": "{now.replace(tzinfo=None).isoformat()}", }}'
        )
        return Response(201, body.encode(), {"Content-Type": "application/json"})

    def _job(self, job_id: str) -> Response:
        """Describe a job."""
        now = self.now()
        job = self.jobs.find(job_id, now)
        if job is None:
            words = f"Failed to retrieve job with id {job_id} for application {APP}: job not found"
            return error(404, None, words)
        found = self.jobs.summary(job, now)
        chunks = self.jobs.chunks(job)
        ended = self.jobs.has_ended(job, now)
        complete = chunks if ended and not job.fails else chunks[:-1]
        if ended and job.lacks:
            job.lacks -= 1
            complete = chunks[:-1]
        found |= {
            "app_token": APP,
            "type": "export",
            "all_chunks": chunks,
            "completed_chunks": complete,
            "current_chunk": chunks[-1],
        }
        files = self.jobs.export(job) if ended and not job.fails else []
        if len(complete) < len(chunks):
            files = files[:-1]
        if files or self.jobs.without_files == "empty":
            urls = [{"filename": n, "url": self._url(job, stored)} for n, stored in files]
            found["presigned_urls"] = urls[:: next(self.order)]
        return json_response(200, found)

    def _url(self, job: EmulatedJob, stored: StoredFile) -> str:
        """The URL of a file, valid since the job ended or from now on."""
        if self.one_path:
            return f"{self.bucket.url}/s3/file?file={quote(stored.key)}"
        begin = self.now() if self.fresh_urls else job.started + (job.takes or timedelta())
        life = int(self.url_life.total_seconds())
        url = self.bucket.storage.sign(self.bucket.url, stored.key, begin, life)
        return url if self.fresh_urls else self._urls.setdefault(stored.key, url)

    def _stored(self) -> list[StoredFile]:
        """Every file of every job."""
        return [stored for job in self.jobs.made for _, stored in job.files or ()]

    def _lookup(self, call: Call) -> Response:
        """A lookup, or a page of it."""
        name = call.arguments[0]
        rows = self.lookups[name]
        if name not in self.PAGED:
            return json_response(200, rows)
        first, after = 0, call.query.get("after_cursor", "")
        if after:
            first = int(base64.b64decode(after))
        size = int(call.query.get("limit", self.page))
        size = min(size, self.page)
        found = rows[first : first + size]
        more = first + size < len(rows)
        cursor: dict[str, Any] = {"before": None}
        if more:
            cursor["after"] = base64.b64encode(f"{first + size:08}".encode()).decode()
        elif self.last_cursor != "missing":
            cursor["after"] = after or None if self.last_cursor == "repeated" else None
        metadata = {
            "cursor": cursor,
            "limit": size,
            "total_count": min(len(rows), self.cap),
            "total_count_cap_exceeded": len(rows) > self.cap,
        }
        body = {"data": found, "metadata": metadata}
        response = json_response(200, body)
        self.shift(rows)
        return response
