"""Firstup's Data Exports API as a transport of export files."""

from __future__ import annotations

import logging
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from requests.auth import AuthBase

from filetap.download.checksum import Checksum
from filetap.errors import (
    AuthenticationError,
    ExpiredURLError,
    FileGoneError,
    FormatError,
    TransportError,
)
from filetap.files import Body, ExportFile
from filetap.redaction import SECRECY, printable
from filetap.times import parse_generation
from filetap.transports.connection import bare_session
from filetap.transports.http import (
    content_type,
    is_secure,
    json_object,
    open_range,
    send,
    target_of,
    with_retries,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    import requests


# Firstup's developer portal, "Servers" and "Authentication methods".
REGIONS = {
    "us1": ("https://partner.socialchorus.com", "https://auth.socialchorus.com"),
    "us2": ("https://partner.us2.onfirstup.com", "https://auth.us2.onfirstup.com"),
    "eu": ("https://partner.onfirstup.eu", "https://auth.onfirstup.eu"),
}
SCOPE = "data_exports.read"
TOKEN_LIFETIME = 6600.0  # seconds; documented are two hours
_TOKEN_MARGIN = 60.0  # seconds
_URL_LIFETIME = 900.0  # seconds; "typically", by the documents
_CREDENTIALS_HINT = "check client_id, client_secret, region and auth_url"
GONE_HINT = (
    "Firstup keeps files for about seven days: run more often, or request a historical "
    "export in Creator Studio; start_date skips what can no longer be read"
)
_TOTAL = re.compile(r"total_?(?:count|files|items|results|entries|records|elements|pages)?")
_SHAPE_HINT = "report it: the documented answer looks different"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach one program's exports.

    Attributes:
        api_url: Base of the API, without ``/v2``.
        auth_url: Base of the authorisation server.
        client_id: OAuth client; empty with a ready token.
        client_secret: Its secret.
        scope: Sent with the token request unless empty.
        access_token: A ready token; empty to ask for tokens.
        region: The region that was chosen; empty if none was.
    """

    api_url: str
    auth_url: str
    client_id: str = ""
    client_secret: str = ""
    scope: str = ""
    access_token: str = ""
    region: str = field(default="", compare=False)

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Connection({self.api_url!r})"


def is_token(text: str) -> bool:
    """Whether *text* can be sent as a token: visible ASCII, at least one character."""
    return bool(text) and all("!" <= character <= "~" for character in text)


class _Bearer(AuthBase):
    """Sends the token, and nothing that a ``.netrc`` file says."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@dataclass(frozen=True, slots=True)
class _Signed:
    """A presigned URL and what was promised of the file behind it.

    Attributes:
        url: Its query is a credential.
        until: When to ask for a fresh one, in `time.monotonic` seconds.
        size: Bytes as stored; None if not stated.
        checksum: Of the stored bytes; None if not stated.
    """

    url: str
    until: float
    size: int | None
    checksum: Checksum | None


class FirstupTransport:
    """Lists and fetches one program's export files through the API."""

    def __init__(self, connection: Connection, timeout: float = 60.0, retries: int = 5) -> None:
        """Nothing is requested before the first listing.

        Args:
            connection: How to reach the API.
            timeout: Seconds that one socket operation may take.
            retries: How often one request is repeated.
        """
        self._to = connection
        self._timeout = timeout
        self._retries = retries
        self._api = bare_session()
        # Presigned URLs get a session of their own, which never carries the token.
        self._storage = bare_session()
        self._token = connection.access_token
        self._token_until = 0.0
        self._renewing = Lock()  # sizes are asked by several threads
        self._signed: tuple[str, _Signed] | None = None
        self._program_id: str | None = None

    @property
    def account(self) -> str | None:
        """The program that the token belongs to, as the API's answers say."""
        return self._program_id

    @property
    def accounts(self) -> tuple[str, ...]:
        """The one program there is, once known."""
        return (self._program_id,) if self._program_id else ()

    @property
    def hosts(self) -> tuple[str, str]:
        """Where the API and the authorisation server are: their base URLs."""
        return self._to.api_url, self._to.auth_url

    def authorise(self) -> None:
        """Have a token that can be sent.

        Raises:
            AuthenticationError: The credentials were refused.
            TransportError: The authorisation server cannot be reached.
        """
        with_retries(self._bearer, self._retries)

    def describe(self) -> str:
        """The API's host."""
        return urlsplit(self._to.api_url).hostname or ""

    def list_files(self, stream: str, since: datetime | None = None) -> list[ExportFile]:  # noqa: ARG002 - the API lists everything
        """Every available file of *stream*, in the order of the answer, pages followed.

        Raises:
            TransportError: The list cannot be had, or is not known to be whole.
            FormatError: The answer is not a list of files.
        """
        what = f"the list of {stream} files"
        url = f"{self._to.api_url}/v2/data_exports/type/{stream}"
        files: list[ExportFile] = []
        seen: set[str] = set()
        while url:
            if url in seen:
                msg = f"{what}: its pages lead round in a circle"
                raise TransportError(msg, _SHAPE_HINT)
            seen.add(url)
            answer = self._get(url, what)
            first = len(seen) == 1
            # No files yet, by the documents, is an empty payload or 404.
            if answer.status_code in {204, 404} and first:
                _warn_of_a_stranger(answer, what)
                break
            if answer.status_code != 200:
                msg = f"{what}: its page {len(seen)} answered {answer.status_code}"
                raise TransportError(msg, "run again: the list is not known to be whole")
            content = json_object(answer, what)
            items = _file_items(content, what, empty=first)
            files += [_listed(stream, item) for item in items]
            url = self._next_page(content, answer, url, (len(seen), len(files)), what)
        return [replace(file, account=self._program_id or "") for file in files]

    @contextmanager
    def fetch(self, file: ExportFile, offset: int = 0, version: str = "") -> Iterator[Body]:
        """Open *file*'s stored bytes from *offset*, behind a URL asked for just before.

        Raises:
            ExpiredURLError: The URL was refused; the next call asks for a fresh one.
            FileGoneError: The file expired since it was listed.
            TransportError: Anything else, of the passing kind or not.
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
            self._signed = None
            raise
        except FileGoneError as error:
            raise FileGoneError(error.message, GONE_HINT) from None

    def stored_size(self, file: ExportFile) -> int | None:
        """Bytes of *file* as stored, as its endpoint states them.

        Raises:
            FileGoneError: The file expired since it was listed.
            TransportError: The size cannot be had.
        """
        return self._ask_for(file).size

    def _sign(self, file: ExportFile, *, reuse: bool) -> _Signed:
        """A presigned URL of *file*: the one in use if it still lives and *reuse*, or fresh."""
        if reuse and self._signed and self._signed[0] == file.id:
            signed = self._signed[1]
            if time.monotonic() < signed.until:
                return signed
        signed = self._ask_for(file)
        self._signed = (file.id, signed)
        return signed

    def _ask_for(self, file: ExportFile) -> _Signed:
        """A fresh presigned URL of *file*, and what is promised of it."""
        url = f"{self._to.api_url}/v2/data_exports/type/{file.stream}/files/"
        answer = self._get(url + quote(file.id, safe=""), str(file))
        if answer.status_code == 404:
            msg = f"{file}: the file expired between list and download"
            raise FileGoneError(msg, GONE_HINT)
        return _signed(json_object(answer, str(file)), file, self._to.api_url)

    def _get(self, url: str, what: str) -> requests.Response:
        """An answer of the API: 200, 204 or 404; one new token when the first is refused."""
        used = ""

        def ask() -> requests.Response:
            nonlocal used
            used = self._bearer()
            return send(
                self._api,
                "GET",
                url,
                what,
                follow=self._is_api,
                auth=_Bearer(used),
                headers={"Accept": "application/json"},
                timeout=self._timeout,
            )

        answer = with_retries(ask, self._retries)
        if answer.status_code == 401 and not self._to.access_token:
            if self._token == used:
                self._token = ""
            answer = with_retries(ask, self._retries)
        _check(answer, what)
        # It is compared with states and stored in them: nothing secret, nothing unprintable.
        program = printable(SECRECY.scrub(answer.headers.get("X-Program-Id", "")))
        self._program_id = program or self._program_id
        return answer

    def _bearer(self) -> str:
        """The token in use, or a new one when it is about to expire."""
        with self._renewing:
            return self._current_token()

    def _current_token(self) -> str:
        if self._to.access_token or (self._token and time.monotonic() < self._token_until):
            return self._token
        what = "the access token"
        form = {
            "grant_type": "client_credentials",
            "client_id": self._to.client_id,
            "client_secret": self._to.client_secret,
        }
        if self._to.scope:
            form["scope"] = self._to.scope
        answer = send(
            self._api,
            "POST",
            f"{self._to.auth_url}/oauth/token",
            what,
            data=form,
            headers={"Accept": "application/json"},
            timeout=self._timeout,
        )
        if answer.status_code != 200:
            msg = f"{what}: {urlsplit(self._to.auth_url).hostname} answered {answer.status_code}"
            raise AuthenticationError(msg, _CREDENTIALS_HINT)
        content = json_object(answer, what)
        token = content.get("access_token")
        if not isinstance(token, str) or not is_token(token.strip()):
            msg = f"{what}: the answer holds no usable access_token"
            raise FormatError(msg, _CREDENTIALS_HINT)
        token = token.strip()
        SECRECY.guard(token)
        lifetime = content.get("expires_in")
        try:
            seconds = TOKEN_LIFETIME if lifetime is None else float(str(lifetime))
        except ValueError:
            seconds = TOKEN_LIFETIME
        self._token = token
        self._token_until = time.monotonic() + max(seconds - _TOKEN_MARGIN, seconds / 2)
        return token

    def _is_api(self, url: str) -> bool:
        """Whether the token may be sent to *url*: only to the scheme, host and port of the API."""
        return urlsplit(url)[:2] == urlsplit(self._to.api_url)[:2]

    def _next_page(
        self,
        content: Mapping[str, Any],
        answer: requests.Response,
        url: str,
        had: tuple[int, int],
        what: str,
    ) -> str:
        """The URL of the list's next page; empty at the end.

        No paging is documented for this list, but a general ``meta`` block is. So a link is
        followed, and any other sign of more is an error: a list cut short loses files.
        """
        links = [answer.links["next"]["url"]] if "next" in answer.links else []
        for path, value in _scalars(content):
            words = path.lower().replace("-", "_")
            name = words.rpartition(".")[2]
            if "next" in words and value:
                links.append(str(value))
            elif "more" in name and value is True:
                links.append("")
            elif _TOTAL.fullmatch(name) and isinstance(value, int):
                pages, files = had
                if value > (pages if "page" in name else files):
                    links.append("")
        if not links:
            return ""
        usable = [link for link in links if link.startswith(("http://", "https://", "/", "?"))]
        if not usable:
            msg = f"{what}: it has more pages, and no link to them that is understood"
            raise TransportError(msg, _SHAPE_HINT)
        try:
            following = urljoin(url, usable[0])
        except ValueError:
            following = ""
        if not self._is_api(following):
            msg = f"{what}: its next page is on another host than the API"
            raise TransportError(msg, "check api_url; the token is sent to no other host")
        return following


def _warn_of_a_stranger(answer: requests.Response, what: str) -> None:
    """Say so when "no files" is the answer of something that may be no API at all."""
    kind = content_type(answer)
    if answer.content and "json" not in kind and "X-Program-Id" not in answer.headers:
        logger.warning(
            "%s: %s answered %d with %s, which is taken for no files; check api_url and region if "
            "there should be some",
            what,
            urlsplit(answer.url).hostname,
            answer.status_code,
            kind or "no JSON",
        )


def _check(answer: requests.Response, what: str) -> None:
    """Turn the documented error answers into errors.

    Raises:
        AuthenticationError: 401 or 403.
        TransportError: Any other answer that is not 200, 204 or 404.
    """
    status = answer.status_code
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
        raise TransportError(msg, "check api_url; the documents know 400 for unknown types only")
    host = urlsplit(answer.url).hostname
    if answer.is_redirect:
        msg = f"{what}: {host} leads to another host ({status}), where the token is not sent"
        raise TransportError(msg, "check region and api_url")
    msg = f"{what}: {host} answered {status}"
    raise TransportError(msg, "check region and api_url")


def _file_items(content: Mapping[str, Any], what: str, *, empty: bool) -> list[Any]:
    """The entries of a list answer: ``{"data": {"files": […]}}``, or, if *empty*, nothing in it.

    Raises:
        FormatError: The answer has another shape.
    """
    data = content.get("data")
    files = data.get("files") if isinstance(data, dict) else data
    if empty and not files and (not content or "data" in content):
        return []
    if not isinstance(files, list):
        msg = f"{what}: the answer holds no list of files"
        raise FormatError(msg, _SHAPE_HINT)
    return files


def _listed(stream: str, item: Any) -> ExportFile:
    """One entry of a list answer; fields that are not documented are ignored.

    Raises:
        FormatError: The entry lacks its id, or its time is not one.
    """
    if not isinstance(item, dict) or not item.get("id"):
        msg = f"the list of {stream} files: an entry has no id"
        raise FormatError(msg, _SHAPE_HINT)
    name = str(item.get("file_name") or "")
    try:
        f"{item['id']}{name}{item.get('generated_at')}".encode()
    except UnicodeEncodeError:
        msg = f"the list of {stream} files: an entry is not Unicode text"
        raise FormatError(msg, _SHAPE_HINT) from None
    generation = item.get("generated_at")
    try:
        moment = parse_generation(generation if isinstance(generation, str) else "")
    except (ValueError, OverflowError):
        msg = f"{stream} file {name}: generated_at {generation!r} is not YYYY-MM-DD-HH"
        raise FormatError(msg, _SHAPE_HINT) from None
    return ExportFile(stream, str(item["id"]), name, str(generation), moment)


def _signed(content: Mapping[str, Any], file: ExportFile, api_url: str) -> _Signed:
    """What the answer of the file endpoint promises of *file*.

    Raises:
        FormatError: The answer has another shape, or is about several files or another one.
        TransportError: The download would not be encrypted.
    """
    data = content.get("data")
    entries = data if isinstance(data, list) else [data]
    if len(entries) > 1:
        entries = [e for e in entries if isinstance(e, dict) and e.get("id") == file.id]
    entry = entries[0] if len(entries) == 1 else None
    if not isinstance(entry, dict):
        msg = f"{file}: the answer does not speak of one file"
        raise FormatError(msg, _SHAPE_HINT)
    if not _is_about(entry, file):
        msg = f"{file}: the answer is about another file"
        raise FormatError(msg, "run again; if it stays, report it to Firstup")
    url = entry.get("presigned_url")
    if not isinstance(url, str) or not url:
        msg = f"{file}: the answer holds no presigned_url"
        raise FormatError(msg, _SHAPE_HINT)
    # An API with https has no reason to send anyone to this machine's own http.
    if not is_secure(url) or not target_of(api_url, url):
        msg = f"{file}: the download URL is not https"
        raise TransportError(msg, "report it to Firstup; nothing was downloaded")
    size, value = str(entry.get("size_bytes"))[:20], entry.get("checksum")
    lifetime = entry.get("presigned_url_ttl_seconds")
    seconds = min(lifetime, 86_400) if isinstance(lifetime, int | float) else _URL_LIFETIME
    return _Signed(
        url=url,
        until=time.monotonic() + seconds * 0.9,
        size=int(size) if size.isdecimal() else None,
        checksum=Checksum(str(entry.get("checksum_function")), value)
        if isinstance(value, str) and value
        else None,
    )


def _is_about(entry: Mapping[str, Any], file: ExportFile) -> bool:
    """Whether the name and the time in an answer are those of *file*, as far as it states them."""
    name, generation = (str(entry.get(key) or "") for key in ("file_name", "generated_at"))
    if name and file.file_name and name != file.file_name:
        return False
    if generation in {"", file.generation}:
        return True
    try:
        return parse_generation(generation) == file.generated_at
    except (ValueError, OverflowError):
        return False


def _scalars(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value inside JSON that is neither an object nor within a list, with its dotted path."""
    waiting: list[tuple[str, Any]] = [("", content)]
    while waiting:  # not by recursion: a server may nest more deeply than Python calls
        path, value = waiting.pop()
        if isinstance(value, dict):
            inner = [(f"{path}.{name}" if path else str(name), v) for name, v in value.items()]
            waiting += reversed(inner)
        elif not isinstance(value, list):
            yield path, value
