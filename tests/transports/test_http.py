"""Requests are retried where that helps, downloads resume, and no message has a secret."""

from __future__ import annotations

import logging
import traceback
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests

from filetap.checksum import Checksum
from filetap.errors import (
    ExpiredURLError,
    ExportError,
    FileGoneError,
    FormatError,
    RangeRefusedError,
    RetriableTransportError,
    TransportError,
)
from filetap.settings import Retries
from filetap.transports import http, retry
from filetap.transports.connection import bare_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filetap.files import Body
    from tap_firstup_dde.emulator import EmulatedFile, Emulator

BYTES = bytes(range(256)) * 4000  # some chunks long
SECRETS = ("X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "session%2F")


@pytest.fixture
def file(emulator: Emulator) -> EmulatedFile:
    """Add a file of known bytes, stored as they are."""
    return emulator.add("users", "2026-05-14-16", BYTES, gzip=False)


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """A session without credentials."""
    with bare_session() as opened:
        yield opened


@pytest.fixture
def opened(emulator: Emulator, file: EmulatedFile, session: requests.Session) -> Iterator[Opener]:
    """An opener of the file."""
    with Opener(session, emulator.presigned_url(file)) as opener:
        yield opener


class Opener(ExitStack):
    """Opens a range of the file, and closes it at the end of the test."""

    def __init__(self, session: requests.Session, url: str) -> None:
        """Store what never changes."""
        super().__init__()
        self.session, self.url = session, url

    def __call__(self, offset: int = 0, version: str = "", timeout: float = 30.0) -> Body:
        """Open the bytes from *offset*."""
        return self.enter_context(
            http.open_range(
                self.session,
                self.url,
                "users 000.csv",
                offset=offset,
                version=version,
                size=len(BYTES),
                checksum=Checksum("CRC64NVME", "AAAA"),
                timeout=timeout,
            )
        )


def read(body: Body) -> bytes:
    """All bytes of a body."""
    return b"".join(body.chunks)


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("https://partner.socialchorus.com", True),
        ("HTTPS://partner.socialchorus.com", True),
        ("https://127.0.0.1:8443/x", True),
        ("http://127.0.0.1:8080", True),
        ("http://127.8.9.10", True),
        ("http://[::1]:8080/x", True),
        ("http://localhost:8080", True),
        ("http://partner.socialchorus.com", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("http://127.0.0.1@example.com", False),
        ("http://10.0.0.1", False),
        ("http://0.0.0.0", False),
        ("http://[::1", False),
        ("http://", False),
        ("https://", False),
        ("ftp://127.0.0.1", False),
        ("file:///etc/hosts", False),
        ("//127.0.0.1", False),
        ("127.0.0.1:8080", False),
        ("", False),
    ],
)
def test_is_secure(url: str, secure: bool) -> None:  # noqa: FBT001 - a column of the table
    """Only https is secure, and http on a loopback host."""
    assert http.is_secure(url) is secure


class Flaky:
    """Fails some times, then returns its count of calls."""

    def __init__(self, failures: int, error: Exception) -> None:
        """Fail *failures* times with *error*."""
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> int:
        """Fail, or succeed."""
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return self.calls


@pytest.mark.parametrize("failures", [0, 1, 5])
def test_retries(failures: int) -> None:
    """Transient errors are retried, with one pause before each retry."""
    pauses: list[float] = []
    action = Flaky(failures, RetriableTransportError("busy"))
    assert retry.with_retries(action, Retries(pause=pauses.append)) == failures + 1
    assert len(pauses) == failures


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_retries_end(retries: int) -> None:
    """The last error is raised after the allowed number of retries."""
    pauses: list[float] = []
    action = Flaky(99, RetriableTransportError("busy"))
    with pytest.raises(RetriableTransportError, match="busy"):
        retry.with_retries(action, Retries(retries, pause=pauses.append))
    assert (action.calls, len(pauses)) == (retries + 1, retries)


@pytest.mark.parametrize("error", [TransportError("no"), ExpiredURLError("no"), FormatError("no")])
def test_no_retries(error: ExportError) -> None:
    """Permanent errors are not retried."""
    pauses: list[float] = []
    action = Flaky(1, error)
    with pytest.raises(type(error)):
        retry.with_retries(action, Retries(pause=pauses.append))
    assert (action.calls, pauses) == (1, [])


@pytest.mark.parametrize(
    ("attempt", "ceiling"), [(1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (500, 60.0)]
)
def test_backoff(attempt: int, ceiling: float) -> None:
    """Pauses double up to a minute, each shortened by up to half at random."""
    error = RetriableTransportError("busy")
    seconds = [retry.delay(error, attempt, Retries(9)) for _ in range(200)]
    assert min(seconds) >= ceiling / 2
    assert max(seconds) <= ceiling
    assert len(set(seconds)) > 100


@pytest.mark.parametrize("seconds", [3.0, 3.5, retry.LONGEST_WAIT])
def test_wait_asked_for(seconds: float, caplog: pytest.LogCaptureFixture) -> None:
    """The server's wait is obeyed exactly, and logged."""
    error = RetriableTransportError("users: busy", retry_after=seconds)
    assert retry.delay(error, 2, Retries()) == seconds
    assert f"users: busy; trying again in {seconds:.1f} s (2 of 5)" in caplog.text


@pytest.mark.parametrize("asked", [None, -1.0, 0.0, 0.01, 15.9])
def test_wait_too_short(asked: float | None) -> None:
    """However short a wait the server requests, the pause is no shorter than the backoff's."""
    error = RetriableTransportError("users: busy", retry_after=asked)
    assert 16 <= min(retry.delay(error, 7, Retries(9)) for _ in range(50)) <= 32


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (901.0, "901 seconds"),
        (86_400.0, "86400 seconds"),
        (1e300, "more than a year"),
        (float("inf"), "more than a year"),
    ],
)
def test_wait_too_long(seconds: float, words: str) -> None:
    """A wait longer than a run should last ends it, with both spans in the message."""
    pauses: list[float] = []
    action = Flaky(1, RetriableTransportError("users: busy", retry_after=seconds))
    asks = rf"busy, and asks to wait longer than 15 minutes \({words}\); run again later"
    with pytest.raises(TransportError, match=asks) as caught:
        retry.with_retries(action, Retries(pause=pauses.append))
    assert not isinstance(caught.value, RetriableTransportError)
    assert not pauses


THERE = "Wed, 21 Oct 2015 07:28:00 GMT"  # the server's clock


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("0", THERE, 0.0),
        ("7", THERE, 7.0),
        (" 7 ", THERE, 7.0),
        ("0.5", THERE, 0.5),
        ("007", THERE, 7.0),
        ("9" * 400, THERE, float("inf")),
        ("Wed, 21 Oct 2015 07:28:30 GMT", THERE, 30.0),
        ("Wed, 21 Oct 2015 07:28:30 -0000", THERE, 30.0),
        ("Wed, 21 Oct 2015 08:28:30 +0100", THERE, 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", THERE, 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", "yesterday", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", THERE, 251_956_888_319.0),
        ("", THERE, None),
        ("soon", THERE, None),
        ("-1", THERE, None),
        ("1.5.2", THERE, None),
        ("1e9", THERE, None),
        ("inf", THERE, None),
        ("nan", THERE, None),
        ("Wed, 99 Oct 2015 07:28:30 GMT", THERE, None),
        ("Wed, 21 Oct 99999 07:28:30 GMT", THERE, None),
        ("Wed, 21 Oct 2015 07:28:30 +99999999999", THERE, None),
    ],
)
def test_retry_after(value: str, date: str, seconds: float | None) -> None:
    """Retry-After is seconds, or a date by the server's own clock; anything else is ignored."""
    answer = requests.Response()
    answer.headers.update({"Retry-After": value, "Date": date})
    assert http.retry_after(answer) == seconds


@pytest.mark.parametrize("zone", ["GMT", "+0000"])
def test_retry_after_without_a_clock(zone: str) -> None:
    """If the server states no time, its date is compared with this machine's clock."""
    answer = requests.Response()
    then = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=zone == "GMT")
    answer.headers["Retry-After"] = then
    seconds = http.retry_after(answer)
    assert seconds
    assert 7000 <= seconds <= 7200


def test_retry_after_is_carried(emulator: Emulator, session: requests.Session) -> None:
    """A transient error has the wait that the server requested."""
    emulator.fail("list", status=429, headers={"Retry-After": "7"})
    with pytest.raises(RetriableTransportError) as caught:
        http.send(session, "GET", f"{emulator.url}/v2/data_exports/type/users", "the list")
    assert caught.value.retry_after == 7


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599])
def test_passing_statuses(emulator: Emulator, opened: Opener, status: int) -> None:
    """429 and 5xx are transient; the message names what failed, the host and the status."""
    emulator.fail("download", status=status)
    with pytest.raises(
        RetriableTransportError, match=f"users 000.csv: 127.0.0.1 answered {status}"
    ):
        opened()


@pytest.mark.parametrize("path", ["/x?X-Amz-Signature=secret", "/x"])
def test_no_connection(session: requests.Session, emulator: Emulator, path: str) -> None:
    """A refused connection is transient, and its message has no query."""
    url = emulator.url + path
    emulator.stop()
    with pytest.raises(RetriableTransportError, match="connection was refused") as caught:
        http.send(session, "GET", url, "the list")
    assert "secret" not in str(caught.value)


def test_unusable_url(session: requests.Session) -> None:
    """An unusable URL is a permanent error that does not show it."""
    with pytest.raises(TransportError, match="the list: InvalidSchema") as caught:
        http.send(session, "GET", "gopher://host/x?secret", "the list")
    assert not isinstance(caught.value, RetriableTransportError)
    assert "secret" not in str(caught.value)


def test_bad_certificate(session: requests.Session, emulator: Emulator) -> None:
    """A server that does not speak TLS is an error without the URL's query."""
    url = emulator.url.replace("http:", "https:") + "/x?secret"
    with pytest.raises(TransportError, match=r"127\.0\.0\.1") as caught:
        http.send(session, "GET", url, "the list", timeout=10)
    assert "secret" not in str(caught.value)


def test_whole(emulator: Emulator, opened: Opener) -> None:
    """A file is fetched completely, as stored, in small chunks, with its promises."""
    body = opened()
    chunks = list(body.chunks)
    assert b"".join(chunks) == BYTES
    assert max(map(len, chunks)) <= http.CHUNK
    assert (body.offset, body.size) == (0, len(BYTES))
    assert body.checksum == Checksum("CRC64NVME", "AAAA")
    assert body.version
    headers = emulator.requests[-1].headers
    assert headers["accept-encoding"] == "identity"
    assert {"range", "if-range", "authorization"}.isdisjoint(headers)


def test_as_stored(emulator: Emulator, session: requests.Session) -> None:
    """Gzip stays gzip, even if the server calls it a content encoding."""
    stored = emulator.add("users", "2026-05-14-20", "user_id\n1\n")
    emulator.fail("download", headers_extra={"Content-Encoding": "gzip"})
    with Opener(session, emulator.presigned_url(stored)) as opened:
        assert read(opened()) == stored.body


@pytest.mark.parametrize("offset", [1, 255_999, 256_000, len(BYTES) - 1])
def test_range(emulator: Emulator, opened: Opener, offset: int) -> None:
    """A download resumes at a byte, of the same version."""
    version = opened().version
    body = opened(offset, version)
    assert (body.offset, body.version, read(body)) == (offset, version, BYTES[offset:])
    headers = emulator.requests[-1].headers
    assert (headers["range"], headers["if-range"]) == (f"bytes={offset}-", version)


def test_changed_file(opened: Opener, file: EmulatedFile) -> None:
    """A file that changed since is sent from its beginning."""
    version = opened().version
    file.body = BYTES[::-1]
    body = opened(10, version)
    assert (body.offset, read(body)) == (0, BYTES[::-1])
    assert body.version != version


def test_careless_server(emulator: Emulator, opened: Opener) -> None:
    """A range of another version is refused, if a server ignores If-Range."""
    version = opened().version
    emulator.fail("download", headers_extra={"ETag": '"newer"'})
    with pytest.raises(RangeRefusedError, match="changed during the download"):
        opened(10, version)


def test_ignored_range(emulator: Emulator, opened: Opener) -> None:
    """A server that ignores ranges sends the complete file, and the body says so."""
    emulator.fail("download", ignore_range=True)
    body = opened(10, "")
    assert (body.offset, read(body)) == (0, BYTES)


@pytest.mark.parametrize(
    "content_range",
    ["bytes 11-99/1000", "bytes 9-99/1000", "bytes */1000", "lines 10-99/1000", "x"],
)
def test_wrong_range(emulator: Emulator, opened: Opener, content_range: str) -> None:
    """A range that was not requested is refused."""
    emulator.fail("download", content_range=content_range)
    with pytest.raises(RangeRefusedError, match="a range that was not requested"):
        opened(10)


def test_range_past_the_end(opened: Opener) -> None:
    """A range beyond the end of the file (416) means to start over."""
    with pytest.raises(RangeRefusedError, match="shorter"):
        opened(len(BYTES))


@pytest.mark.parametrize("status", [400, 401, 403])
def test_refused_url(emulator: Emulator, opened: Opener, status: int) -> None:
    """A URL that S3 refuses has expired."""
    emulator.fail("download", status=status)
    with pytest.raises(ExpiredURLError, match=str(status)):
        opened()


def test_expired_url(emulator: Emulator, opened: Opener) -> None:
    """A URL that is too old by S3's own clock has expired."""
    emulator.expire_urls()
    with pytest.raises(ExpiredURLError):
        opened()


def test_gone(opened: Opener, file: EmulatedFile) -> None:
    """A file that is no longer in S3 is gone."""
    file.gone = True
    with pytest.raises(FileGoneError, match="no longer exists"):
        opened()


@pytest.mark.parametrize("status", [204, 304, 412])
def test_other_statuses(emulator: Emulator, opened: Opener, status: int) -> None:
    """Any other response is a permanent error."""
    emulator.fail("download", status=status, headers={"Location": f"{emulator.url}/s3/elsewhere"})
    with pytest.raises(TransportError, match=f"answered {status} to a download") as caught:
        opened()
    assert type(caught.value) is TransportError
    assert emulator.count("download") == 1


@pytest.mark.parametrize("after", [0, 1, 300_000, len(BYTES) - 1])
def test_drop(emulator: Emulator, opened: Opener, after: int) -> None:
    """A connection that drops within the bytes is transient; earlier bytes remain usable."""
    emulator.fail("download", drop_after=after)
    chunks = opened().chunks
    got = bytearray()
    with pytest.raises(RetriableTransportError, match=r"000\.csv: the download was interrupted"):
        got.extend(byte for chunk in chunks for byte in chunk)
    assert BYTES.startswith(got)


def test_drop_unanswered(emulator: Emulator, opened: Opener) -> None:
    """A connection that drops without a response is transient."""
    emulator.fail("download", drop_after=-1)
    with pytest.raises(RetriableTransportError, match=r"users 000.csv: .* \(127\.0\.0\.1\)"):
        opened()


@pytest.mark.parametrize(("after", "words"), [(None, "no response in time"), (9, "interrupted")])
def test_stall(emulator: Emulator, opened: Opener, after: int | None, words: str) -> None:
    """A server that stalls before or within the bytes is given up after the timeout."""
    emulator.fail("download", stall=20, drop_after=after)
    with pytest.raises(RetriableTransportError, match=words):
        read(opened(timeout=0.2))


FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "expired": {"status": 403},
    "gone": {"status": 404},
    "range": {"status": 416},
    "busy": {"status": 503},
    "odd": {"status": 418},
    "redirect": {"status": 302, "headers": {"Location": "http://127.0.0.1:1/?X-Amz-Signature=1"}},
    "dropped": {"drop_after": 99},
    "unanswered": {"drop_after": -1},
    "stalled": {"stall": 20},
    "wrong range": {"content_range": "x"},
    "broken header": {"headers_extra": {"X-Odd": "1\r\nno header"}, "drop_after": 9},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("logger", [None, "urllib3", "urllib3.connectionpool"])
def test_no_secret(
    emulator: Emulator,
    opened: Opener,
    caplog: pytest.LogCaptureFixture,
    logger: str | None,
    fault: dict[str, Any],
) -> None:
    """Whatever happens, no message and no log line at any level has the URL's query."""
    emulator.fail("download", **fault)
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger):
        try:
            text = repr(len(read(opened(5, timeout=0.2))))
        except ExportError as error:
            text = "".join(traceback.format_exception(error))
    assert not [secret for secret in SECRETS if secret in text + caplog.text]


@pytest.mark.parametrize("body", ["", "<html>", "[]", "null", "1", '"x"', '{"a": 1', b"\xff\xfe"])
def test_not_json(emulator: Emulator, session: requests.Session, body: str | bytes) -> None:
    """A response that is not a JSON object is an error that names its kind, not its content."""
    emulator.fail("list", status=200, body=body, headers={"Content-Type": "text/html"})
    url = f"{emulator.url}/v2/data_exports/type/users"
    answer = http.send(session, "GET", url, "the list")
    says = r"the list: .* not a JSON object \(text/html, \d+ bytes?\)"
    with pytest.raises(FormatError, match=says):
        http.json_object(answer, "the list", "check")


def test_json(emulator: Emulator, session: requests.Session) -> None:
    """A response that is a JSON object is that object."""
    emulator.fail("list", status=200, body='{"data": {"é": [1, null]}}')
    answer = http.send(session, "GET", f"{emulator.url}/v2/data_exports/type/users", "the list")
    assert http.json_object(answer, "the list", "check") == {"data": {"é": [1, None]}}
