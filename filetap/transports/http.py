"""HTTP for any vendor: requests, errors without secrets, and resumable downloads."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from filetap.errors import (
    ExpiredURLError,
    FileGoneError,
    FormatError,
    RangeRefusedError,
    RateLimitError,
    RetriableTransportError,
    TransportError,
)
from filetap.files import Body
from filetap.redaction import SECRECY
from filetap.transports.connection import in_time
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filetap.checksum import Checksum

CHUNK = 1 << 18  # bytes
# Bytes, decompressed. A list of 100,000 files is about 30 MB.
LARGEST_RESPONSE = 64 << 20
_REDIRECTS = 5  # followed for one request, at most
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)(?:/([0-9]+|\*))?")


URL_HINT = "check the URL, the network and any proxy in between"


def is_secure(url: str) -> bool:
    """True if *url* is https, or http on a loopback host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    host = parts.hostname or ""
    if parts.scheme == "https":
        return bool(host)
    if parts.scheme != "http":
        return False
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def send(  # noqa: PLR0913 - what is sent, and what errors say
    session: requests.Session,
    method: str,
    url: str,
    what: str,
    *,
    follow: Callable[[str], bool] = lambda _: False,
    hint: str = URL_HINT,
    refusals: bool = False,
    **options: object,
) -> requests.Response:
    """Send a request; errors never show the URL's query.

    Args:
        session: Session to send with.
        method: HTTP method.
        url: Complete URL.
        what: What the request is for, as messages name it.
        follow: Returns True if a redirect to that URL may be followed, with all that the request
            carries.
        hint: What to check if the host cannot be reached, or seems to be another one.
        refusals: True to return 429 and 5xx, too, and the bodies of redirects, for a caller that
            reads what they say.
        options: Those of `requests.Session.request`.

    Returns:
        The response, with any status below 500 except 429. A redirect is returned only if it is not
        followed, and without its body unless *refusals*; any other body is complete, unless the
        options have ``stream``.

    Raises:
        RetriableTransportError: No connection, a timeout, a broken response, 429 or 5xx.
        TransportError: The URL or the server's certificate is not usable, or the response is too
            large.
    """
    for _ in range(_REDIRECTS):
        response = _send_once(session, method, url, what, hint, refusals, **options)
        if not response.is_redirect:
            return response
        if not refusals:
            response.close()
        target = target_of(url, response.headers["Location"])
        if not target or not follow(target):
            return response
        url = target
    msg = f"{what}: {urlsplit(url).hostname} redirects in a circle"
    raise TransportError(msg, hint)


def target_of(url: str, location: str) -> str:
    """The URL that *location* leads to from *url*; empty if invalid or no longer encrypted."""
    try:
        target = urljoin(url, location)
        schemes = urlsplit(url).scheme, urlsplit(target).scheme
    except ValueError:
        return ""
    return "" if schemes[0] == "https" != schemes[1] else target


def _send_once(  # noqa: PLR0913, PLR0917 - those of `send`
    session: requests.Session,
    method: str,
    url: str,
    what: str,
    hint: str,
    refusals: bool,  # noqa: FBT001 - as above
    **options: object,
) -> requests.Response:
    """Send a request without following a redirect; raises as `send` does."""
    host = urlsplit(url).hostname
    try:
        response = session.request(
            method,
            url,
            allow_redirects=False,
            **{**options, "stream": True},  # type: ignore[arg-type]
        )
    except requests.exceptions.SSLError:
        msg = f"{what}: the certificate of {host} cannot be verified"
        raise TransportError(msg, "check the host and the local certificate store") from None
    except (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    ) as error:
        msg = f"{what}: {describe(error)} ({host})"
        raise RetriableTransportError(msg, hint) from None
    except (urllib3.exceptions.HTTPError, ValueError, OSError) as error:  # as RequestException is
        msg = f"{what}: {type(error).__name__} ({host})"
        raise TransportError(msg, hint) from None
    if not refusals and (response.status_code == 429 or response.status_code >= 500):
        response.close()
        msg = f"{what}: {host} answered {response.status_code}"
        hint, wait = "run again later: the state is kept", retry_after(response)
        if response.status_code == 429:
            raise RateLimitError(msg, hint, wait)
        raise RetriableTransportError(msg, hint, wait)
    if not options.get("stream") and (refusals or not response.is_redirect):
        try:
            body = _body(response, what, hint, options.get("timeout"))
        finally:
            response.close()
        response.raw = BytesIO(body)
    return response


def _body(response: requests.Response, what: str, hint: str, timeout: object) -> bytes:
    """The whole body of a response, decompressed; raises as `send` does."""
    body = bytearray()
    host = urlsplit(response.url).hostname
    try:
        with in_time(timeout, response.raw.shutdown):
            for piece in response.raw.stream(CHUNK, decode_content=True):
                body += piece
                if len(body) > LARGEST_RESPONSE:
                    break
    except urllib3.exceptions.DecodeError:
        msg = f"{what}: the response from {host} cannot be decompressed"
        raise TransportError(msg, hint) from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        msg = f"{what}: {describe(error)} ({host})"
        raise RetriableTransportError(msg, hint) from None
    if len(body) > LARGEST_RESPONSE:
        msg = f"{what}: the response from {host} is larger than {LARGEST_RESPONSE >> 20} MiB"
        raise TransportError(msg, hint)
    return bytes(body)


@contextmanager
def open_range(  # noqa: PLR0913 - each describes the one download
    session: requests.Session,
    url: str,
    what: str,
    *,
    offset: int,
    version: str,
    size: int | None,
    checksum: Checksum | None,
    timeout: float,
) -> Iterator[Body]:
    """Open the stored bytes behind a presigned URL from *offset*, without decompressing them.

    Args:
        session: A session that sends no credentials.
        url: Presigned URL; its query is never shown.
        what: The file, as messages name it.
        offset: First byte to request, from 0.
        version: ETag that the bytes before *offset* belong to; empty if not known.
        size: Promised length of the whole file in bytes; None if not promised.
        checksum: Promised checksum of the whole file; None if not promised.
        timeout: Seconds that one socket operation may take.

    Yields:
        The bytes; from 0 if the server does not resume at *offset*.

    Raises:
        ExpiredURLError: The URL is no longer accepted.
        FileGoneError: The file no longer exists.
        RetriableTransportError: Any transient error, also in the middle of the bytes.
        TransportError: Any other response.
    """
    # Stored bytes, not decoded ones: the checksum covers what S3 holds.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if version:
            headers["If-Range"] = version
    # The request has no credentials, so a redirect to any host with encryption is safe.
    with send(
        session,
        "GET",
        url,
        what,
        follow=is_secure,
        headers=headers,
        stream=True,
        timeout=timeout,
    ) as response:
        status = response.status_code
        # S3 answers 400 if the token that signed the URL expired before the URL did.
        if status in {400, 401, 403}:
            msg = f"{what}: the download URL was refused ({status})"
            raise ExpiredURLError(msg, "check that the clock and the network path are right")
        if status == 404:
            msg = f"{what}: the stored file no longer exists"
            raise FileGoneError(msg)
        if status == 416:
            msg = f"{what}: the stored file is shorter than the part already read"
            raise RangeRefusedError(msg)
        if status not in {200, 206}:
            msg = f"{what}: {urlsplit(url).hostname} answered {status} to a download"
            raise TransportError(msg, "report the status")
        sent = _sent(response)
        if sent.start not in {0, offset}:
            msg = f"{what}: the server sent a range that was not requested"
            raise RangeRefusedError(msg)
        etag = response.headers.get("ETag", "")
        if sent.start and version and etag and etag != version:
            msg = f"{what}: the stored file changed during the download"
            raise RangeRefusedError(msg)
        total = sent.total if size is None else size
        yield Body(_chunks(response, what, sent), sent.start, total, checksum, etag)


def _chunks(response: requests.Response, what: str, sent: _Sent) -> Iterator[bytes]:
    """The body as sent, in chunks of at most `CHUNK` bytes."""
    why = "" if sent.reaches_end else "only a part of it was sent"
    try:
        yield from response.raw.stream(CHUNK, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        why = type(error).__name__
    if why:
        msg = f"{what}: the download was interrupted ({why})"
        raise RetriableTransportError(msg, "run again: the state is kept")


@dataclass(frozen=True, slots=True)
class _Sent:
    """Which bytes of a file a response has.

    Attributes:
        start: The first one, from 0; -1 if that is not stated.
        total: Bytes of the whole file; None if not stated.
        reaches_end: False if bytes of the file follow after them.
    """

    start: int
    total: int | None
    reaches_end: bool = True


def _sent(response: requests.Response) -> _Sent:
    """The bytes that a response has; a part of a file may end anywhere (RFC 9110, 15.3.7)."""
    if response.status_code != 206:
        length = response.headers.get("Content-Length", "")
        return _Sent(0, int(length) if length.isdecimal() else None)
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None:
        return _Sent(-1, None)
    start, end, total = match.groups()
    if total in {None, "*"}:
        return _Sent(int(start), None)
    return _Sent(int(start), int(total), int(end) + 1 >= int(total))


def retry_after(response: requests.Response) -> float | None:
    """Seconds of a ``Retry-After``, stated as seconds or as a date; None if there is none.

    A date is compared with the response's own ``Date``: either clock may be wrong.
    """
    value = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", value):
        return float(value)
    if (moment := http_date(value)) is None:
        return None
    now = http_date(response.headers.get("Date", "")) or datetime.now(UTC)
    return max(0.0, (moment - now).total_seconds())


def http_date(text: str) -> datetime | None:
    """The time that a header states, aware; None if it does not state one."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def describe(error: Exception) -> str:
    """Describe what went wrong with a connection, without its URL."""
    text = str(error)
    for sign, words in (
        ("NameResolutionError", "the host name cannot be resolved"),
        ("refused", "the connection was refused"),
        ("timed out", "no response in time"),
        ("reset by peer", "the connection was reset"),
    ):
        if sign in text:
            return words
    return "the connection was lost"


def json_object(response: requests.Response, what: str, hint: str) -> dict[str, object]:
    """The JSON object in the body of a response.

    Args:
        response: The response.
        what: What it is about, as messages name it.
        hint: What to check if it is something else.

    Raises:
        FormatError: The body is not a JSON object.
    """
    try:
        content = response.json()
    except (ValueError, RecursionError):  # also raised for long numbers and deep nesting
        content = None
    if not isinstance(content, dict):
        kind = content_type(response) or "no content type"
        size = counted(len(response.content), "byte")
        msg = f"{what}: the response is not a JSON object ({kind}, {size})"
        raise FormatError(msg, hint)
    return content


def content_type(response: requests.Response) -> str:
    """The content type of a response, short enough for a message; empty if it has none."""
    # Redacted before it is shortened: the beginning of a secret would not be recognised.
    kind = SECRECY.scrub(response.headers.get("Content-Type", ""))
    return kind.partition(";")[0].strip()[:40]
