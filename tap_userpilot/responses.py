"""What Userpilot's answers hold, parsed; unknown members are ignored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from filetap.errors import FormatError
from filetap.redaction import SECRECY, printable

if TYPE_CHECKING:
    from datetime import date

    import requests

URL_HINT: Final = "check api_url, such as https://appex.userpilot.io, and the network"
_JOB_ID = re.compile(r'"job_id"\s*:\s*"([^"\\]+)"')
_COUNT = re.compile("[0-9]{1,18}")  # perhaps as text
_LONGEST = 300  # characters of an answer that messages show
DONE: Final = "completed"
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a job.

    Attributes:
        name: Its name, which several files of a job may have.
        url: Presigned URL; secret.
    """

    name: str
    url: str

    @property
    def place(self) -> tuple[str, str]:
        """Its name and the path of its URL, which stay when the URL is signed again."""
        try:
            return self.name, urlsplit(self.url).path
        except ValueError:
            return self.name, ""

    def __repr__(self) -> str:
        """Without the URL."""
        return f"StoredFile({self.name!r})"


@dataclass(frozen=True, slots=True)
class Job:
    """An export job.

    Attributes:
        id: Its id, opaque.
        status: ``completed``, ``failed`` or anything else while it runs.
        started: When it was started, as stated; empty if not stated.
        progress: How far it has come, in words; it may lag behind.
        chunks: The months that it exports, as the dates of their first days.
        completed: Those that are complete.
        files: Its files, in order of their names and paths.
    """

    id: str
    status: str
    started: str = ""
    progress: str = ""
    chunks: frozenset[str] = frozenset()
    completed: frozenset[str] = frozenset()
    files: tuple[StoredFile, ...] = ()

    @property
    def is_running(self) -> bool:
        """True unless it has ended: other words than the documented ones may come."""
        return self.status not in {DONE, FAILED}

    def missing(self, first: date, last: date) -> str:
        """A chunk that a completed job lacks; empty if it has every one.

        Args:
            first: First day that the job must have; a month that was not even planned counts as
                missing, unless no chunk is stated.
            last: Last day.
        """
        if unfinished := self.chunks - self.completed:
            return min(unfinished)
        months = {chunk[:7] for chunk in self.chunks}
        day = first.replace(day=1)
        while months and day <= last:
            if day.isoformat()[:7] not in months:
                return day.isoformat()
            day = (day + timedelta(days=32)).replace(day=1)
        return ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a lookup.

    Attributes:
        rows: Its objects, as they are written.
        after: Cursor of the next page; empty after the last one.
        total: How many rows there are; None if that is not stated, or not exact.
    """

    rows: list[bytes]
    after: str = ""
    total: int | None = None


def said(response: requests.Response) -> str:
    """What an error says, bounded and without secrets: its details, else its message."""
    try:
        first = response.json()["errors"][0]
        text = _text(first.get("details")) or _text(first.get("message"))
    except (ValueError, RecursionError, AttributeError, LookupError, TypeError):
        text = ""
    words = printable(SECRECY.scrub(text or response.text))[:_LONGEST]
    return words or "nothing"


def created_job(response: requests.Response, what: str) -> str:
    """The id of a job that was just made; the documented example is not quite JSON.

    Raises:
        FormatError: The answer names none.
    """
    try:
        found = response.json()
        job = found.get("job_id") if isinstance(found, dict) else None
    except (ValueError, RecursionError):
        match = _JOB_ID.search(response.text)
        job = match[1] if match else None
    if not isinstance(job, str) or not job:
        msg = f"{what}: the answer names no job"
        raise FormatError(msg, URL_HINT)
    return job


def job_of(found: Any, what: str) -> Job:
    """A job, as the list or its own page describes it.

    Raises:
        FormatError: It is not a job.
    """
    if not isinstance(found, dict) or not _text(found.get("job_id")):
        msg = f"{what}: the answer does not describe a job"
        raise FormatError(msg, URL_HINT)
    urls = found.get("presigned_urls") or []
    files = urls if isinstance(urls, list) else [urls]
    stored = [
        StoredFile(item["filename"], item["url"])
        for item in files
        if isinstance(item, dict) and _text(item.get("filename")) and _text(item.get("url"))
    ]
    if len(stored) != len(files):
        msg = f"{what}: a file of the job has no name or no URL"
        raise FormatError(msg, "report it to Userpilot")
    return Job(
        found["job_id"],
        _text(found.get("status")).strip().lower(),
        _text(found.get("start_time")),
        printable(_text(found.get("progress"))),
        _dates(found.get("all_chunks")),
        _dates(found.get("completed_chunks")),
        tuple(sorted(stored, key=lambda file: file.place)),
    )


def jobs_of(response: requests.Response, what: str) -> list[Job]:
    """The jobs in a list.

    Raises:
        FormatError: It is not a list of jobs.
    """
    try:
        found = response.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list):
        msg = f"{what}: the answer is not a list"
        raise FormatError(msg, URL_HINT)
    return [job_of(item, what) for item in found]


class _Cursor(msgspec.Struct):
    after: Any = None
    limit: Any = None
    total_count: Any = None
    total_count_cap_exceeded: Any = None


class _Metadata(msgspec.Struct):
    cursor: _Cursor | None = None
    total_count: Any = None
    total_count_cap_exceeded: Any = None


class _Paged(msgspec.Struct):
    data: list[msgspec.Raw]
    metadata: _Metadata | None = None


_PAGE: Final = msgspec.json.Decoder(list[msgspec.Raw] | _Paged)


def page_of(response: requests.Response, what: str) -> Page:
    """A page of a lookup: an array, or an object with the array, a cursor and a count.

    Raises:
        FormatError: It is neither.
    """
    try:
        found = _PAGE.decode(response.content)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        msg = f"{what}: the answer is not a list"
        raise FormatError(msg, URL_HINT) from None
    paged = found if isinstance(found, _Paged) else _Paged(found)
    rows = [bytes(row) for row in paged.data]
    if any(not row.startswith(b"{") for row in rows):
        msg = f"{what}: an item of the list is not an object"
        raise FormatError(msg, "report it to Userpilot")
    metadata = paged.metadata or _Metadata()
    cursor = metadata.cursor or _Cursor()
    # The description has the count within the cursor, the example beside it.
    counts = [
        int(count)
        for count in map(str, (metadata.total_count, cursor.total_count))
        if _COUNT.fullmatch(count)
    ]
    caps = (metadata.total_count_cap_exceeded, cursor.total_count_cap_exceeded)
    capped = any(str(stated).lower() == "true" for stated in caps)  # perhaps as text
    total = counts[0] if counts and not capped else None
    return Page(rows, _text(cursor.after), total)


def _text(value: Any) -> str:
    """A text; empty for any other value."""
    return value if isinstance(value, str) else ""


def _dates(value: Any) -> frozenset[str]:
    """The texts in a list; empty for any other value."""
    return frozenset(filter(None, map(_text, value))) if isinstance(value, list) else frozenset()
