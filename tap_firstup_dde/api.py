"""Firstup's Data Exports API as a transport of export files."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from filetap.errors import AuthenticationError, ExpiredURLError, FileGoneError, TransportError
from filetap.redaction import SECRECY, printable
from filetap.transports.connection import bare_session
from filetap.transports.http import content_type, json_object, open_range, send
from filetap.transports.oauth import Bearer, Client, Tokens
from filetap.transports.rate import RateLimit
from filetap.transports.retry import with_retries
from tap_firstup_dde.responses import SHAPE_HINT, listed_files, next_link, signed_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import requests

    from filetap.files import Body, ExportFile
    from filetap.settings import Retries
    from tap_firstup_dde.responses import Signed

# From Firstup's developer portal, "Servers" and "Authentication methods".
REGIONS = {
    "us1": ("https://partner.socialchorus.com", "https://auth.socialchorus.com"),
    "us2": ("https://partner.us2.onfirstup.com", "https://auth.us2.onfirstup.com"),
    "eu": ("https://partner.onfirstup.eu", "https://auth.onfirstup.eu"),
}
SCOPE = "data_exports.read"
# Firstup documents 1,000 a minute for each program; other clients of it may send some, too.
REQUESTS_PER_MINUTE = 900
_TOKEN_LIFETIME = 6600.0  # seconds; the documentation says two hours
URL_HINT = "check region, api_url, auth_url, the network and any proxy in between"
_URLS = 64  # kept, more than files are fetched at once
_CREDENTIALS_HINT = "check client_id, client_secret, region and auth_url"
GONE_HINT = (
    "Firstup keeps files for about seven days: run more often, or request a historical "
    "export in Creator Studio; start_date skips what can no longer be read"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach one program's exports.

    Attributes:
        api_url: Base of the API, without ``/v2``.
        auth_url: Base of the authorisation server.
        client_id: OAuth client; empty with a ready-made token.
        client_secret: Its secret.
        scope: Sent with the token request unless empty.
        access_token: A ready-made token; empty to request tokens.
        requests_per_minute: Requests to the API in any minute, at most.
        region: The region that was chosen; empty if none was.
    """

    api_url: str
    auth_url: str
    client_id: str = ""
    client_secret: str = ""
    scope: str = ""
    access_token: str = ""
    requests_per_minute: int = REQUESTS_PER_MINUTE
    region: str = field(default="", compare=False)

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Connection({self.api_url!r})"


class FirstupTransport:
    """Lists and fetches one program's export files through the API."""

    def __init__(self, connection: Connection, timeout: float, retries: Retries) -> None:
        """Nothing is requested before the first listing.

        Args:
            connection: How to reach the API.
            timeout: Seconds that one socket operation may take.
            retries: How often a request is repeated.
        """
        self._to = connection
        self._timeout = timeout
        self._retries = retries
        self._api = bare_session()
        # Presigned URLs get a session of their own, which never carries the token.
        self._storage = bare_session()
        client = Client(
            url=f"{connection.auth_url}/oauth/token",
            client_id=connection.client_id,
            client_secret=connection.client_secret,
            scope=connection.scope,
            lifetime=_TOKEN_LIFETIME,
            timeout=timeout,
            hint=_CREDENTIALS_HINT,
            url_hint=URL_HINT,
        )
        self._tokens = Tokens(self._api, client, connection.access_token)
        self._limit = RateLimit(connection.requests_per_minute, retries.pause)
        # The URLs in use: file id → the URL with its promises, and when to request a new one.
        self._signed: dict[str, tuple[Signed, float]] = {}
        self._program_id: str | None = None

    @property
    def account(self) -> str | None:
        """The program that the token belongs to, as stated by the API's responses."""
        return self._program_id

    @property
    def accounts(self) -> tuple[str, ...]:
        """The only program, once known."""
        return (self._program_id,) if self._program_id else ()

    def authorise(self) -> None:
        """Make sure that there is a token to send.

        Raises:
            AuthenticationError: The credentials were refused.
            TransportError: The authorisation server cannot be reached.
        """
        with_retries(self._tokens.current, self._retries)

    def describe(self) -> str:
        """The API's host."""
        return urlsplit(self._to.api_url).hostname or ""

    def list_files(self, stream: str, since: datetime | None = None) -> list[ExportFile]:  # noqa: ARG002 - the API lists everything
        """List every available file of *stream*, on all pages, in the order of the API.

        Raises:
            TransportError: The list is not available, or may be incomplete.
            FormatError: The response is not a list of files.
        """
        what = f"the list of {stream} files"
        url = f"{self._to.api_url}/v2/data_exports/type/{stream}"
        files: list[ExportFile] = []
        seen: set[str] = set()
        while url:
            if url in seen:
                msg = f"{what}: its pages link to each other in a circle"
                raise TransportError(msg, SHAPE_HINT)
            seen.add(url)
            response = self._get(url, what)
            first = len(seen) == 1
            # The documentation says that without files there is an empty payload, or 404.
            if response.status_code in {204, 404} and first:
                _warn_if_not_the_api(response, what)
                break
            if response.status_code != 200:
                msg = f"{what}: its page {len(seen)} answered {response.status_code}"
                raise TransportError(msg, "run again: the list may be incomplete")
            content = json_object(response, what, URL_HINT)
            files += listed_files(content, stream, what, empty=first)
            header = [response.links["next"]["url"]] if "next" in response.links else []
            link = next_link(content, header, pages=len(seen), files=len(files), what=what)
            url = self._next_page(url, link, what) if link else ""
        return [replace(file, account=self._program_id or "") for file in files]

    @contextmanager
    def fetch(self, file: ExportFile, offset: int = 0, version: str = "") -> Iterator[Body]:
        """Open *file*'s stored bytes from *offset*; only a later part reuses the last URL.

        Raises:
            ExpiredURLError: The URL was refused; the next call requests a new one.
            FileGoneError: The file expired since it was listed.
            TransportError: Anything else, transient or not.
        """
        signed = self._sign(file, reuse=offset > 0)
        try:
            with open_range(
                self._storage,
                signed.url,
                str(file),
                offset=offset,
                version=version,
                size=signed.size,
                checksum=signed.checksum,
                timeout=self._timeout,
            ) as body:
                yield body
        except ExpiredURLError:
            self._signed.pop(file.id, None)
            raise
        except FileGoneError:
            raise _expired(file) from None

    def stored_size(self, file: ExportFile) -> int | None:
        """Bytes of *file* as stored, as its endpoint states them.

        Raises:
            FileGoneError: The file expired since it was listed.
            TransportError: The size is not available.
        """
        return self._signed_file(file).size

    def _sign(self, file: ExportFile, *, reuse: bool) -> Signed:
        """A presigned URL of *file*: the last one, if *reuse* and still valid, or a new one."""
        signed, until = self._signed.pop(file.id, (None, 0.0))
        if not reuse or signed is None or time.monotonic() >= until:
            signed = self._signed_file(file)
            until = time.monotonic() + signed.lifetime * 0.9
        self._signed[file.id] = (signed, until)
        for unused in [*self._signed][:-_URLS]:
            self._signed.pop(unused, None)
        return signed

    def _signed_file(self, file: ExportFile) -> Signed:
        """A new presigned URL of *file*, and what is promised of it."""
        url = f"{self._to.api_url}/v2/data_exports/type/{file.stream}/files/"
        response = self._get(url + quote(file.id, safe=""), str(file))
        if response.status_code == 404:
            raise _expired(file)
        return signed_file(json_object(response, str(file), URL_HINT), file, self._to.api_url)

    def _get(self, url: str, what: str) -> requests.Response:
        """Send a GET request, with a new token if the first is refused; returns 200, 204 or 404."""
        used = ""

        def request() -> requests.Response:
            nonlocal used
            used = self._tokens.current()
            self._limit.wait()
            return send(
                self._api,
                "GET",
                url,
                what,
                follow=self._is_api,
                hint=URL_HINT,
                auth=Bearer(used),
                headers={"Accept": "application/json"},
                timeout=self._timeout,
            )

        response = with_retries(request, self._retries, self._limit.hold)
        if response.status_code == 401 and self._tokens.discard(used):
            response = with_retries(request, self._retries, self._limit.hold)
        _check(response, what)
        # Goes into the state, so it must be neither secret nor unprintable.
        program = printable(SECRECY.scrub(response.headers.get("X-Program-Id", "")))
        self._program_id = program or self._program_id
        return response

    def _is_api(self, url: str) -> bool:
        """True if *url* has the scheme, host and port of the API: only then is the token sent."""
        return urlsplit(url)[:2] == urlsplit(self._to.api_url)[:2]

    def _next_page(self, url: str, link: str, what: str) -> str:
        """The URL that a *link* on the page at *url* leads to.

        Raises:
            TransportError: The link does not lead to the API.
        """
        try:
            following = urljoin(url, link)
        except ValueError:
            following = ""
        if not self._is_api(following):
            msg = f"{what}: its next page is on another host than the API"
            raise TransportError(msg, "check api_url; the token is sent to no other host")
        return following


def _warn_if_not_the_api(response: requests.Response, what: str) -> None:
    """Warn if an empty response may not come from the API."""
    kind = content_type(response)
    if response.content and "json" not in kind and "X-Program-Id" not in response.headers:
        logger.warning(
            "%s: %s answered %d with %s, which is treated as no files; check api_url and region if "
            "there should be some",
            what,
            urlsplit(response.url).hostname,
            response.status_code,
            kind or "no JSON",
        )


def _expired(file: ExportFile) -> FileGoneError:
    """The error of a listed file that neither the API nor the storage has any more."""
    return FileGoneError(f"{file}: the file expired between list and download", GONE_HINT)


def _check(response: requests.Response, what: str) -> None:
    """Raise the error that a response's status means.

    Raises:
        AuthenticationError: 401 or 403.
        TransportError: Any other status than 200, 204 or 404.
    """
    status = response.status_code
    if status in {200, 204, 404}:
        return
    if status == 401:
        msg = f"{what}: the access token is missing, invalid or expired (401)"
        raise AuthenticationError(msg, f"use a new access_token, or {_CREDENTIALS_HINT}")
    if status == 403:
        msg = f"{what}: the access token lacks a scope (403)"
        raise AuthenticationError(msg, f"ask Firstup for a client with the scope {SCOPE}")
    if status == 400:
        msg = f"{what}: the API refused the request (400)"
        raise TransportError(msg, "check api_url; 400 is documented for unknown types only")
    host = urlsplit(response.url).hostname
    if response.is_redirect:
        msg = f"{what}: {host} redirects to another host ({status}), where the token is not sent"
        raise TransportError(msg, "check region and api_url")
    msg = f"{what}: {host} answered {status}"
    raise TransportError(msg, "check region and api_url")
