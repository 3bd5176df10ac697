"""An emulated HookBridge: the exports API, and storage on a port of its own.

A test or a demo may add messages and change attributes at any time; the next request sees the
change. HookBridge documents little of its files and borders: each reading can be switched on.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

from filetap.testing.faults import Fault
from filetap.testing.server import UNKNOWN, LocalServer, Request, Response, Route, json_response
from filetap.testing.storage import DOWNLOAD, Storage, StoredFile
from filetap.times import format_time
from tap_hookbridge import sample_data
from tap_hookbridge.emulated_jobs import (
    EmulatedExport,
    requested,
    time_of,
)
from tap_hookbridge.emulated_queue import JobQueue

if TYPE_CHECKING:
    from filetap.testing.server import Call

__all__ = ["EmulatedExport", "Emulator", "Fault", "Request"]

_ONE: Final = "/v1/exports/([^/]+)"
_ROUTES: Final = (
    Route("create", "POST", "/v1/exports"),
    Route("list", "GET", "/v1/exports"),
    Route("show", "GET", _ONE),
    Route("delete", "DELETE", _ONE),
    Route("locate", "GET", f"{_ONE}/download"),
    Route("control", "POST", "/emulator/(messages)"),
    Route("control", "GET", "/emulator/(requests)"),
    Route("control", "DELETE", "/emulator/(requests)"),
)


@dataclass(kw_only=True, eq=False)
class StorageServer(LocalServer):
    """Where export files are: another origin than the API, which refuses the API's key."""

    ROUTES: ClassVar[tuple[Route, ...]] = (DOWNLOAD,)

    files: dict[str, StoredFile] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Set up the state that is not among the fields."""
        super().__post_init__()
        self.storage = Storage()

    def respond(self, call: Call) -> Response:
        """Answer a request as S3 does."""
        if call.route == UNKNOWN:
            return Response(404, b"", {})
        return self.storage.respond(call, list(self.files.values()), self.now())


@dataclass(kw_only=True, eq=False)
class Emulator(JobQueue, LocalServer):
    """An emulated HookBridge; serves between ``start()`` and ``stop()``, or as a context manager.

    Messages and jobs are those of `JobQueue`. Routes are ``create``, ``list``, ``show``,
    ``delete``, ``locate`` and ``control``; the storage is a server of its own with the route
    ``download``. Faults of either are queued by `fail` of that server; `refuse` queues a refusal of
    the API's.

    Attributes:
        api_key: The only key.
        project_id: Its project.
        unready: How many of the next downloads of completed jobs answer EXPORT_NOT_READY.
        unready_status: HTTP status of that answer.
        created_status: HTTP status of an accepted POST.
        longest: Hours of the longest span that is accepted; None for any.
        exclusive: True to refuse a job with 409 while another one is active.
        page_size: Exports on one page of the list; None for all.
        url_ttl: Seconds until a presigned URL expires.
        lockout: Refused keys after which every request is answered with 429; None for never.
        show_filters: True to state direction and span of a job.
        direction: How a job's direction is stated: ``lower``, ``upper`` or ``null``.
        seed: Seed of the sample data.
    """

    ROUTES: ClassVar[tuple[Route, ...]] = _ROUTES

    api_key: str = "emulated-key"
    project_id: str = "01935abc-0000-7000-8000-000000000001"
    unready: int = 0
    unready_status: int = 400
    created_status: int = 201
    longest: float | None = None
    exclusive: bool = False
    page_size: int | None = None
    url_ttl: int = 300
    lockout: int | None = None
    show_filters: bool = True
    direction: str = "lower"
    seed: int = 0

    def __post_init__(self) -> None:
        """Set up the state that is not among the fields."""
        super().__post_init__()
        self.store = StorageServer(now=self._clock)
        self._serial = 0  # of requests
        self._refused = 0  # keys
        self._batches = 0  # of sample data

    @property
    def settings(self) -> dict[str, Any]:
        """Settings with which a client reaches the emulator."""
        rows = [row for rows in self.messages.values() for row in rows]
        first = min(map(time_of, rows), default=self.now() - timedelta(days=1))
        start = first.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return {
            "api_key": self.api_key,
            "api_url": self.url,
            "start_date": format_time(start),
            "poll_seconds": 1,  # sample data take no time
        }

    def start(self) -> None:
        """Serve the API and the storage in background threads until ``stop()``."""
        super().start()
        self.store.start()

    def stop(self) -> None:
        """Stop serving both."""
        super().stop()
        self.store.stop()

    def add(self, stream: str, moment: datetime, /, **columns: Any) -> dict[str, Any]:
        """Add a message.

        Args:
            stream: ``outbound`` or ``inbound``.
            moment: Its time.
            columns: Its other columns, or others than a sample message has.

        Returns:
            The message, which may be changed at any time.
        """
        with self.lock:
            number = sum(map(len, self.messages.values()))
            row = sample_data.message(self.seed, number, stream, moment) | columns
            self.messages[stream].append(row)
        return row

    def add_messages(self, count: int = 100) -> None:
        """Add sample messages of both directions up to now, and move some statuses on."""
        with self.lock:
            self._batches += 1
            end = self.now()
            start = end - (timedelta(days=3) if self._batches == 1 else timedelta(minutes=30))
            for stream, rows in self.messages.items():
                sample_data.move_on(self.seed + self._batches, rows)
                for moment in sample_data.moments(start, end, count):
                    self.add(stream, moment)

    def refuse(self, route: str, status: int, code: str, message: str = "", **fault: Any) -> Fault:
        """Have the next requests of a route refused, as the API refuses them."""
        body = json.dumps(self._refusal(code, message))
        headers = {"Content-Type": "application/json", **fault.pop("headers", {})}
        return self.fail(route, status=status, body=body, headers=headers, **fault)

    # Responses

    def respond(self, call: Call) -> Response:
        """Answer a request as HookBridge does."""
        if call.route == "control":
            return self._control(call)
        response = self._answer(call)
        response.headers["Date"] = format_datetime(self._clock().astimezone(UTC), usegmt=True)
        return response

    def _clock(self) -> datetime:
        """The clock, which may be replaced at any time."""
        return self.now()

    def _answer(self, call: Call) -> Response:
        """Answer a request of the API."""
        if call.headers.get("authorization") != f"Bearer {self.api_key}":
            self._refused += 1
            if self.lockout is not None and self._refused > self.lockout:
                message = "Too many failed authentication attempts"
                return self._refuse(429, "RATE_LIMITED", message)
            return self._refuse(401, "UNAUTHORIZED", "Invalid or missing API key")
        self.advance(self.now(), self.store.files)
        answers = {
            "create": self._create,
            "list": self._list,
            "show": self._show,
            "delete": self._delete,
            "locate": self._locate,
        }
        answer = answers.get(call.route)
        return answer(call) if answer else self._refuse(404, "NOT_FOUND", "Not found")

    def _meta(self, **more: Any) -> dict[str, Any]:
        self._serial += 1
        return {"request_id": f"req_{self._serial:06}", **more}

    def _success(self, status: int, data: object, **meta: Any) -> Response:
        return json_response(status, {"data": data, "meta": self._meta(**meta)})

    def _described(self, export: EmulatedExport) -> dict[str, Any]:
        found = export.described(self.project_id, show_filters=self.show_filters)
        if "direction" in found:
            stated = {"upper": export.direction.upper(), "null": None}
            found["direction"] = stated.get(self.direction, export.direction)
        return found

    def _refusal(self, code: str, message: str) -> dict[str, Any]:
        return {"error": {"code": code, "message": message}, "meta": self._meta()}

    def _refuse(self, status: int, code: str, message: str) -> Response:
        return json_response(status, self._refusal(code, message))

    def _create(self, call: Call) -> Response:
        try:
            span, direction = requested(call.body, self.longest)
        except ValueError as error:
            return self._refuse(400, "INVALID_REQUEST", str(error))
        if self.exclusive and any(export.is_active for export in self.exports):
            return self._refuse(409, "EXPORT_ACTIVE", "Another export is active")
        export = self.add_export(span, direction, self.now())
        return self._success(self.created_status, self._described(export))

    def _list(self, call: Call) -> Response:
        first = int(call.query.get("cursor", "0"))
        size = self.page_size or max(1, len(self.exports))
        page = self.exports[first : first + size]
        more = first + size < len(self.exports)
        meta: dict[str, Any] = {"has_more": more}
        if more:
            meta["next_cursor"] = str(first + size)
        return self._success(200, [self._described(export) for export in page], **meta)

    def _show(self, call: Call) -> Response:
        export = self.find(call.arguments[0])
        if export is None:
            return self._refuse(404, "NOT_FOUND", "Message not found")
        return self._success(200, self._described(export))

    def _delete(self, call: Call) -> Response:
        export = self.find(call.arguments[0])
        if export is None:
            return self._refuse(404, "NOT_FOUND", "Message not found")
        if export.is_active:
            return self._refuse(409, "EXPORT_ACTIVE", "The export is active")
        self.exports.remove(export)
        self.store.files.pop(export.id, None)
        return Response(204, b"", {})

    def _locate(self, call: Call) -> Response:
        export = self.find(call.arguments[0])
        if export is None:
            return self._refuse(404, "NOT_FOUND", "Message not found")
        if export.status == "expired":
            return self._refuse(410, "EXPORT_EXPIRED", "Export download link has expired")
        if export.status != "completed" or self.unready:
            self.unready -= export.status == "completed"
            message = "Export is not yet completed"
            return self._refuse(self.unready_status, "EXPORT_NOT_READY", message)
        key = f"exports/{export.id}.csv"
        url = self.store.storage.sign(self.store.url, key, self.now(), self.url_ttl)
        return Response(302, b"", {"Location": url, "X-Request-Id": self._meta()["request_id"]})

    def _control(self, call: Call) -> Response:
        """Let a program add sample data, and count or clear requests."""
        if call.arguments == ("messages",):
            self.add_messages()
            return json_response(200, {name: len(rows) for name, rows in self.messages.items()})
        counts = Counter(request.route for request in [*self.requests, *self.store.requests])
        del counts["control"]
        if call.method == "DELETE":
            self.forget()
            self.store.forget()
        return json_response(200, counts)
