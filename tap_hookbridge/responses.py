"""What HookBridge's API answers: exports, and refusals with a code.

Source: HookBridge's API reference, "Download export", "Create export" and "Get export".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from filetap.errors import (
    AuthenticationError,
    FileGoneError,
    FormatError,
    NotReadyError,
    RetriableTransportError,
    TooLongError,
    TransportError,
)
from filetap.files import ExportFile
from filetap.jobs.source import finds_too_long
from filetap.redaction import SECRECY, printable
from filetap.times import parse_generation
from filetap.transports.http import retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import requests

    from filetap.jobs.windows import Window

URL_HINT: Final = "check api_url, the network and any proxy in between"
KEY_HINT: Final = (
    "check api_key: it begins with hb_live_ or hb_test_, belongs to one project and must be active"
)
AGAIN_HINT: Final = "run again later: the state is kept"
_SPAN_HINT: Final = "if the span is too long, set window_hours lower"
_SHAPE_HINT: Final = "report it: HookBridge's API may have changed"
_LONGEST = 300  # characters of the vendor's own text that a message shows
_FILTERS: Final = ("filter_status", "filter_endpoint_id", "filter_inbound_endpoint_id")


class BusyError(TransportError):
    """No export is accepted while another one is active."""


@dataclass(frozen=True, slots=True)
class Export:
    """An export job as the API describes it.

    Attributes:
        id: Its id, opaque.
        status: ``pending``, ``processing``, ``completed``, ``failed`` or ``expired``.
        direction: ``outbound`` or ``inbound``; empty if not stated, which may mean either.
        start: Beginning of the requested span; None if not stated.
        end: End of the requested span; None if not stated.
        filtered: True if it was restricted further: to a status or an endpoint.
        created: When it was requested, as stated.
        created_at: The same as a time.
        expires_at: When its file expires; None if not stated.
        rows: Number of rows; None if not stated.
        size: Bytes of the file; None if not stated.
        error: Why it failed; empty if not stated.
        project: Whose it is; empty if not stated.
    """

    id: str
    status: str
    direction: str
    start: datetime | None
    end: datetime | None
    filtered: bool
    created: str
    created_at: datetime
    expires_at: datetime | None
    rows: int | None
    size: int | None
    error: str
    project: str

    @property
    def is_active(self) -> bool:
        """True if it has not ended."""
        return self.status in {"pending", "processing"}

    def covers(self, direction: str, asked: Window) -> bool:
        """True if it has all messages of a direction in exactly this span."""
        return (self.direction, self.start, self.end) == (
            direction,
            asked.start,
            asked.end,
        ) and not self.filtered

    def touches(self, window: Window) -> bool:
        """False if it is about another time altogether."""
        if self.start is None or self.end is None:
            return True
        return self.start < window.end and window.start < self.end

    def file(self, stream: str) -> ExportFile:
        """Its file; an export has one."""
        span = "-".join(f"{moment:%Y%m%dT%H%M%SZ}" for moment in (self.start, self.end) if moment)
        name = f"{self.direction}-{span or self.id}.csv"
        return ExportFile(stream, self.id, name, self.created, self.created_at)


def read_export(item: Any, what: str, note: str) -> Export:
    """An export in a response.

    Args:
        item: Its JSON.
        what: What was requested, as messages name it.
        note: The response's request id, in words.

    Raises:
        FormatError: It is not one.
    """
    try:
        created = item["created_at"]
        return Export(
            _text(item["id"]),
            _text(item["status"]).lower(),
            str(item.get("direction") or "").lower(),
            _time(item.get("filter_start_time")),
            _time(item.get("filter_end_time")),
            any(
                item.get(f"filter_{name}")
                for name in ("status", "endpoint_id", "inbound_endpoint_id")
            ),
            _text(created),
            parse_generation(created),
            _time(item.get("expires_at")),
            _count(item.get("row_count")),
            _count(item.get("file_size_bytes")),
            str(item.get("error_message") or ""),
            str(item.get("project_id") or ""),
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        msg = f"{what}: the response does not describe an export"
        raise FormatError(msg, joined(_SHAPE_HINT, note)) from None


def _text(value: Any) -> str:
    """A text that is not empty, and can be stored."""
    if not isinstance(value, str) or not value:
        raise ValueError
    value.encode()
    return value


def _time(value: Any) -> datetime | None:
    """A time, or None."""
    return None if value in (None, "") else parse_generation(value)


def _count(value: Any) -> int | None:
    """A number that is not negative, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError
    return value


def data_of(response: requests.Response, what: str) -> tuple[Mapping[str, Any], str]:
    """The JSON object of a successful response, and the note that errors about it end with.

    Raises:
        FormatError: It is another kind of response.
    """
    content = _json(response)
    if "data" not in content:
        msg = f"{what}: the response is not the API's (no data)"
        raise FormatError(msg, joined(URL_HINT, note_of(response)))
    return content, note_of(response)


def note_of(response: requests.Response) -> str:
    """The response's request id, in words that end an error; empty if it has none."""
    meta = _json(response).get("meta")
    stated = meta.get("request_id") if isinstance(meta, dict) else None
    found = stated or response.headers.get("X-Request-Id") or ""
    return f"request_id {_shown(found)}" if found else ""


def refusal(response: requests.Response, what: str, *, of_one: bool) -> TransportError:
    """The error that a response other than a success means, by its code and then its status.

    Args:
        response: The response.
        what: What was requested, as messages name it.
        of_one: True if the request was about one export, which may no longer exist.
    """
    status, note = response.status_code, note_of(response)
    error = _error_in(response)
    code, said = (_shown(error.get(name) or "") for name in ("code", "message"))
    words = f"{what}: HookBridge answered {status}"
    words += f" {code}" if code else ""
    words += f": {said}" if said else ""
    # A message about a rate may well have "authenticated" in it.
    failures = "failed" in said.lower() and re.search("auth|attempt", said, re.IGNORECASE)
    locked_out = status == 429 and code == "RATE_LIMITED" and bool(failures)
    meanings: tuple[tuple[bool, type[TransportError], str], ...] = (
        (code == "EXPORT_NOT_READY", NotReadyError, ""),
        (code == "EXPORT_EXPIRED" or status == 410, FileGoneError, ""),
        (response.is_redirect, TransportError, "check api_url: the key is sent to no other place"),
        (status == 401, AuthenticationError, KEY_HINT),
        (locked_out, AuthenticationError, f"{KEY_HINT}; wait before the next run"),
        (status == 403, AuthenticationError, "the plan or the project does not permit it"),
        (status == 404 and of_one, FileGoneError, ""),
        (status == 409 and response.request.method == "POST", BusyError, AGAIN_HINT),
        (status in {409, 429} or status >= 500, RetriableTransportError, AGAIN_HINT),
        (status == 400 and finds_too_long(said), TooLongError, _SPAN_HINT),
        (status == 400, TransportError, _SPAN_HINT),
        (True, TransportError, URL_HINT),
    )
    kind, hint = next((kind, hint) for applies, kind, hint in meanings if applies)
    if issubclass(kind, RetriableTransportError):
        return kind(words, joined(hint, note), retry_after(response))
    return kind(words, joined(hint, note))


def refuses_job(response: requests.Response) -> bool:
    """True if the code says that an export has no file yet, or none any more."""
    return _error_in(response).get("code") in {"EXPORT_NOT_READY", "EXPORT_EXPIRED"}


def _error_in(response: requests.Response) -> dict[str, Any]:
    """The error that a response states; empty if it states none."""
    error = _json(response).get("error")
    return error if isinstance(error, dict) else {}


def _shown(text: Any) -> str:
    """What a message shows of the vendor's own text."""
    # Redacted before it is shortened: the beginning of a secret would not be recognised.
    return printable(SECRECY.scrub(str(text)))[:_LONGEST]


def joined(hint: str, note: str) -> str:
    """A hint that ends with a note."""
    return "; ".join(filter(None, (hint, note)))


def _json(response: requests.Response) -> dict[str, Any]:
    """The JSON object in a response; empty if it holds none."""
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
