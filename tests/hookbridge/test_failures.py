"""What can go wrong with a job, a download or a request, and what a run makes of it."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from filetap.columns.expected import Expected
from filetap.download.spool import Spooled
from filetap.errors import AuthenticationError, ExportError, IntegrityError, JobError
from filetap.files import ExportFile
from filetap.jobs.proof import Proof
from filetap.jobs.source import MadeFile
from filetap.redaction import SECRECY
from tap_hookbridge.documented import STREAMS
from tap_hookbridge.emulated_jobs import Span
from tap_hookbridge.tap import TapHookBridge
from tests.hookbridge.vendor import IN, OUT, Clock, at, emulated, ids, run, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_hookbridge.emulator import Emulator

S3_DENIED = b"<Error><Code>AccessDenied</Code></Error>"
RATE = "Rate limit exceeded for this authenticated project"
LOCKED = "Too many failed authentication attempts"
ELSEWHERE = {"Location": "http://example.com/x?sig=1"}
NAMED = json.dumps({"error": {"code": "MOVED"}, "meta": {"request_id": "own"}})


def _day(hookbridge: Emulator) -> None:
    """A day with three messages, and only outbound ones."""
    for number in range(3):
        hookbridge.add("outbound", at(0.5, seconds=number), message_id=str(number))


def _set(**values: Any) -> Callable[[Emulator], object]:
    """Set attributes of the emulator, or of its snapshot."""

    def change(hookbridge: Emulator) -> None:
        for name, value in values.items():
            target = hookbridge if hasattr(hookbridge, name) else hookbridge.snapshot
            assert hasattr(target, name)
            setattr(target, name, value)

    return change


# What happens → jobs that are requested for the only window with messages.
SURVIVED: dict[str, tuple[Callable[[Emulator], object], int]] = {
    "nothing": (_set(), 1),
    "accepted with 202": (_set(created_status=202), 1),
    "fails": (_set(failing=1), 2),
    "fails three times": (_set(failing=3), 4),
    "expires three times": (_set(expiring=3), 4),
    "not ready, 400": (_set(unready=3), 1),
    "not ready, 409": (_set(unready=3, unready_status=409), 1),
    "not ready, 503": (_set(unready=3, unready_status=503), 1),
    "not ready, 200": (_set(unready=3, unready_status=200), 1),
    "not ready, 202": (_set(unready=3, unready_status=202), 1),
    "job not ready, 202": (lambda h: h.refuse("show", 202, "EXPORT_NOT_READY", times=3), 1),
    "job not ready, 404": (lambda h: h.refuse("show", 404, "EXPORT_NOT_READY", times=3), 1),
    "job expired, 200": (lambda h: h.refuse("show", 200, "EXPORT_EXPIRED"), 2),
    "expired, 200": (lambda h: h.refuse("locate", 200, "EXPORT_EXPIRED"), 2),
    "expired, by code": (lambda h: h.refuse("locate", 400, "EXPORT_EXPIRED"), 2),
    "expired, by status": (lambda h: h.refuse("locate", 410, "GONE"), 2),
    "vanished": (lambda h: h.refuse("show", 404, "NOT_FOUND"), 2),
    "file vanished": (lambda h: h.store.fail("download", status=404), 2),
    "an unknown status": (
        lambda h: h.fail(
            "show",
            status=200,
            body=json.dumps(
                {"data": {"id": "x", "status": "warming", "created_at": "2026-05-12T00:05:00Z"}}
            ),
        ),
        1,
    ),
    "URL refused": (lambda h: h.store.fail("download", status=403, body=S3_DENIED), 1),
    "URL expired at once": (lambda h: h.store.fail("download", status=400, body=S3_DENIED), 1),
    "dropped": (lambda h: h.store.fail("download", drop_after=30), 1),
    "cut short": (
        lambda h: h.store.fail("download", status=200, body="message_id,created_at\n"),
        1,
    ),
    "stored size, compressed": (_set(compressed=True), 1),
    "decompressed size": (_set(compressed=True, counts="decompressed"), 1),
    "header counted": (_set(counts_header=True), 1),
    "nothing stated": (_set(states=False), 1),
    "CRLF": (_set(line_end="\r\n"), 1),
    "newest first": (_set(newest_first=True), 1),
    "filters not shown": (_set(show_filters=False), 1),
    "burst, to be obeyed": (
        lambda h: h.refuse("create", 429, "BURST_LIMIT_EXCEEDED", headers={"Retry-After": "0"}),
        1,
    ),
    "rate, to be obeyed": (
        lambda h: h.refuse("create", 429, "RATE_LIMITED", RATE, headers={"Retry-After": "0"}),
        1,
    ),
    "list is busy": (lambda h: h.refuse("list", 503, "INTERNAL"), 1),
    "answer lost": (lambda h: h.fail("create", drop_after=-1), 1),
    "answer lost twice": (lambda h: h.fail("create", drop_after=20, times=2), 1),
    "request refused once": (lambda h: h.refuse("create", 500, "INTERNAL"), 1),
    "another job active": (lambda h: h.refuse("create", 409, "EXPORT_ACTIVE", times=6), 1),
    "list in pages": (_set(page_size=1), 1),
}


@pytest.mark.parametrize("name", SURVIVED)
def test_survived(name: str) -> None:
    """A run goes on, has every row once, and requests no job without need."""
    change, jobs = SURVIVED[name]
    with emulated(1) as hookbridge:
        _day(hookbridge)
        change(hookbridge)
        done = run(hookbridge, only=OUT)
        assert sorted(ids(done)) == ["0", "1", "2"]
        assert len(hookbridge.exports) == jobs
        assert "job" not in done.state["bookmarks"][OUT]
        assert len(set(hookbridge_keys(hookbridge))) == 1
        assert not [r for r in hookbridge.store.requests if "authorization" in r.headers]


def hookbridge_keys(hookbridge: Emulator) -> list[str | None]:
    """The authorisation of each request to the API."""
    return [request.headers.get("authorization") for request in hookbridge.requests]


# What happens → the error, what its text must have, and how many requests of a route there are.
ENDED: dict[str, tuple[Callable[[Emulator], object], type[ExportError], str, dict[str, int]]] = {
    "fails too often": (
        _set(failing=4),
        JobError,
        r"job 0.* 2026-05-11T.* to 2026-05-12T.*: the job failed: .*3 times; .*request_id req_\d+$",
        {"create": 4},
    ),
    "expires too often": (
        _set(expiring=4),
        JobError,
        r"expired.*request_id req_\d+$",
        {"create": 4},
    ),
    "never ends": (
        _set(stuck=True),
        JobError,
        r"still processing after 0\.05 seconds; .*request_id req_\d+$",
        {"create": 1},
    ),
    "never ready": (
        _set(unready=10**6),
        JobError,
        r"still not ready.*request_id req_\d+$",
        {"create": 1},
    ),
    "wrong key": (
        _set(api_key="another-key"),
        AuthenticationError,
        r"401 UNAUTHORIZED: Invalid or missing API key; check api_key.*request_id req_\d+$",
        {"list": 1},
    ),
    "locked out": (
        lambda h: h.refuse("create", 429, "RATE_LIMITED", LOCKED, times=None),
        AuthenticationError,
        r"Too many failed authentication attempts; .*request_id req_\d+$",
        {"create": 1},
    ),
    "no quota": (
        lambda h: h.refuse("create", 429, "QUOTA_EXCEEDED", "usage quota exceeded", times=None),
        ExportError,
        r"429 QUOTA_EXCEEDED: usage quota exceeded; .*request_id req_\d+$",
        {"create": 3},
    ),
    "long wait": (
        lambda h: h.refuse("create", 429, "BURST", headers={"Retry-After": "9999"}),
        ExportError,
        r"asks to wait longer than 15 minutes .*request_id req_\d+$",
        {"create": 1},
    ),
    "plan": (
        lambda h: h.refuse("create", 403, "FORBIDDEN", "upgrade your plan"),
        AuthenticationError,
        r"upgrade your plan; .*request_id req_\d+$",
        {"create": 1},
    ),
    "too long": (
        _set(longest=1),
        ExportError,
        r"the time range is too long; .*window_hours lower; request_id req_\d+$",
        {"create": 5},
    ),
    "bytes missing": (
        _set(surplus_bytes=1),
        IntegrityError,
        r"bytes instead of .*request_id req_\d+$",
        {"locate": 2},
    ),
    "rows missing": (_set(surplus=2), IntegrityError, "3 rows instead of 5", {"locate": 2}),
    "rows too many": (_set(surplus=-1), IntegrityError, "3 rows instead of 2", {"locate": 2}),
    "no redirect": (
        lambda h: h.fail("locate", status=200, body="{}"),
        ExportError,
        "does not redirect to the file",
        {"locate": 1},
    ),
    "another redirect": (
        lambda h: h.fail("show", status=302, headers=ELSEWHERE, body=NAMED),
        ExportError,
        "answered 302 MOVED; check api_url: the key is sent to no other place; request_id own$",
        {"show": 1},
    ),
    "not encrypted": (
        lambda h: h.fail("locate", status=302, headers=ELSEWHERE, body=NAMED),
        ExportError,
        r"not https; .*; request_id own$",
        {"locate": 1},
    ),
    "a clock years ahead": (
        _set(now=Clock(at(5000))),
        ExportError,
        r"the API's clock cannot be right .*request_id req_\d+$",
        {"list": 1},
    ),
    "file vanishes each time": (
        lambda h: h.store.fail("download", status=404, times=None),
        JobError,
        r"the stored file no longer exists.* request_id req_\d+$",
        {"create": 4},
    ),
    "storage refuses": (
        lambda h: h.store.fail("download", status=403, body=S3_DENIED, times=None),
        ExportError,
        r"the download URL was refused \(403\); .*request_id req_\d+$",
        {"create": 1},
    ),
    "storage is down": (
        lambda h: h.store.fail("download", status=500, times=None),
        ExportError,
        r"answered 500; .*request_id req_\d+$",
        {"create": 1},
    ),
    "gzip is damaged": (
        lambda h: h.store.fail("download", status=200, body="\x1f\x08", times=None),
        ExportError,
        r"request_id req_\d+$",
        {"create": 1},
    ),
    "a web page": (
        lambda h: h.fail("list", status=200, body="<html>", times=None),
        ExportError,
        "not the API's",
        {"list": 1},
    ),
    "no export": (
        lambda h: h.fail("create", status=201, body='{"data": [1]}', times=None),
        ExportError,
        "does not describe an export",
        {"create": 1},
    ),
    "the key in a long text": (
        lambda h: h.refuse("create", 400, "INVALID", "x" * 293 + h.api_key),
        ExportError,
        r"x{293}\*\*\*; .*request_id req_\d+$",
        {"create": 1},
    ),
    "always down": (
        lambda h: h.refuse("show", 503, "INTERNAL", times=None),
        ExportError,
        r"503 INTERNAL; .*request_id req_\d+$",
        {"show": 3},
    ),
    "no download link": (
        lambda h: h.refuse("locate", 503, "INTERNAL", times=None),
        ExportError,
        r"503 INTERNAL; .*request_id req_\d+$",
        {"locate": 3},
    ),
    "another job active for ever": (
        lambda h: h.refuse("create", 409, "EXPORT_ACTIVE", times=None),
        ExportError,
        r"409 EXPORT_ACTIVE; run again later: the state is kept; request_id req_\d+$",
        {},
    ),
    "no such API": (
        lambda h: h.refuse("list", 404, "NOT_FOUND", times=None),
        ExportError,
        "check api_url",
        {"list": 1},
    ),
}


@pytest.mark.parametrize("name", ENDED)
def test_ended(name: str) -> None:
    """A run ends with one error that says why, and ends with the response's request id."""
    change, kind, text, counts = ENDED[name]
    with emulated(1) as hookbridge:
        _day(hookbridge)
        config = settings(hookbridge)
        change(hookbridge)
        with pytest.raises(kind) as caught:
            run(hookbridge, only=OUT, job_timeout=0.05, api_key=config["api_key"])
        assert re.search(text, str(caught.value))
        assert {route: hookbridge.count(route) for route in counts} == counts
        assert str(caught.value) == SECRECY.scrub(str(caught.value))
        assert "sig=" not in str(caught.value)


@pytest.mark.parametrize("empty", ["header", "nothing", "missing"])
@pytest.mark.parametrize("compressed", [False, True])
def test_windows_without_rows(empty: str, compressed: bool) -> None:  # noqa: FBT001 - of a table
    """A window without messages is finished, whether its file has a header, nothing or is none."""
    with emulated(3) as hookbridge:
        hookbridge.snapshot.empty, hookbridge.snapshot.compressed = empty, compressed
        hookbridge.add("outbound", at(1.5), message_id="a")
        done = run(hookbridge)
        assert ids(done) == ["a"]
        assert done.state["bookmarks"][IN]["replication_key_value"] == "2026-05-14T00:00:00Z"
        assert len(hookbridge.exports) == 6


@pytest.mark.parametrize(
    ("files", "faulty"),
    [
        ([(3, 3), (2, 2)], []),
        ([(3, 4), (0, 1), (2, 3)], []),
        ([(0, 1), (3, 3), (0, 0)], []),
        ([(3, 3), (2, 3)], [1]),
        ([(3, 3), (0, 1)], [1]),
        ([(3, 4), (0, 0)], []),
        ([(-1, 1), (-1, 0)], [0]),
        ([(3, 4), (2, 2)], [1]),
        ([(3, 2)], [0]),
        ([(0, 5), (3, None)], [0]),
    ],
)
def test_header_counts_in_every_file_or_in_none(
    files: list[tuple[int, int | None]], faulty: list[int]
) -> None:
    """The stated number of rows may count the header, but then it does so in every file.

    A file of -1 rows has no header either.
    """
    proof, found = Proof(logging.getLogger("hookbridge")), []
    for number, (rows, stated) in enumerate(files):
        content = b"message_id\n" + b"x\n" * rows if rows >= 0 else b""
        file = ExportFile(OUT, str(number), "x.csv", "2026-05-11", at(0))
        spooled = Spooled(file, io.BytesIO(content), len(content), "")
        expected = Expected({}, STREAMS[OUT].documented)
        if proof.fault(MadeFile(file, rows=stated), spooled, expected):
            found.append(number)
    assert found == faulty


def test_job_that_is_gone_is_requested_again() -> None:
    """A job that was deleted, its id now another job's, is requested again for its window."""
    with emulated(1) as hookbridge:
        _day(hookbridge)
        cut = run(hookbridge, only=OUT, most=1)
        assert cut.state["bookmarks"][OUT]["job"]["from"] == "2026-05-11T00:00:00Z"
        hookbridge.exports.clear()
        hookbridge.number = 0
        hookbridge.add_export(Span(at(0), at(1)), "inbound", hookbridge.now())
        assert ids(run(hookbridge, cut.state, only=OUT)) == ["0", "1", "2"]
        assert len(hookbridge.exports) == 2


def test_waits_for_another_export() -> None:
    """A request that is refused for another active export is made once more when that has ended."""
    with emulated(1, step=0.5, exclusive=True, processing=3) as hookbridge:
        _day(hookbridge)
        hookbridge.add_export(Span(at(-9), at(-8)), "outbound", hookbridge.now())
        assert ids(run(hookbridge, only=OUT, max_retries=0)) == ["0", "1", "2"]
        # One was refused, and the other export was not requested here.
        assert hookbridge.count("create") == len(hookbridge.exports)


def test_wrong_state() -> None:
    """A state that cannot be read is one error."""
    with emulated(1) as hookbridge:
        for part in ({"job": {"id": "x"}}, {"in_progress": {"file": "a", "rows": -1}}, {"job": 7}):
            with pytest.raises(ExportError, match="job or bookmark cannot be read"):
                run(hookbridge, {"bookmarks": {OUT: part}}, only=OUT)


@pytest.mark.parametrize(
    "stated", [{}, {"direction": "upper"}, {"direction": "null"}, {"show_filters": False}]
)
def test_both_directions(stated: dict[str, Any]) -> None:
    """Each stream has the messages of its direction, however an export states it, or not at all.

    An export whose direction is not stated is neither adopted nor listed: it may be the other.
    """
    with emulated(1) as hookbridge:
        hookbridge.add("outbound", at(0.5), message_id="o")
        hookbridge.add("inbound", at(0.5), message_id="i")
        _set(**stated)(hookbridge)
        is_known = stated.get("direction") != "null" and hookbridge.show_filters
        if not is_known:
            span = Span(at(0, seconds=-1), at(1, seconds=1))
            hookbridge.add_export(span, "inbound", hookbridge.now(), stuck=True)
        done = run(hookbridge, job_timeout=1)
        assert (ids(done, OUT), ids(done, IN)) == (["o"], ["i"])
        listed = TapHookBridge(config=settings(hookbridge)).transport.list_files(IN)
        assert len([*listed]) == is_known
