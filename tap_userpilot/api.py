"""Userpilot's bulk data export API: jobs and lookups.

Source: Userpilot's Help Center, "Bulk Data Export API".
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from requests.auth import AuthBase

from filetap.errors import AuthenticationError, FormatError, TransportError
from filetap.transports.connection import bare_session
from filetap.transports.http import http_date, json_object, send, target_of
from filetap.transports.retry import with_retries
from tap_userpilot.responses import (
    URL_HINT,
    created_job,
    job_of,
    jobs_of,
    page_of,
    said,
)

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import requests

    from filetap.settings import Retries
    from tap_userpilot.responses import Job, Page

_EXPORTS = "/api/v1/analytics/exports"
_PER_PAGE = 50  # rows, which is the documented default
KEY_HINT: Final = (
    "check api_key (Userpilot's Environment page has it), and that the plan has bulk data export: "
    "Enterprise, or Growth with the add-on"
)

logger = logging.getLogger(__name__)


class ConflictError(TransportError):
    """Another export job of the application is running."""


class NoJobError(TransportError):
    """A job does not exist, or not any more: its description is kept for three days."""


class RefusedError(TransportError):
    """The request itself was refused.

    Attributes:
        answer: All that the API answered, of which the message has the beginning.
    """

    def __init__(self, message: str, hint: str, answer: str) -> None:
        """Store the answer beside message and hint."""
        super().__init__(message, hint)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Connection:
    """How the API is reached.

    Attributes:
        api_url: Its base, without a path.
        api_key: The key of an environment.
    """

    api_url: str
    api_key: str = field(repr=False)


class _Token(AuthBase):
    """Sends a key as Userpilot wants it."""

    def __init__(self, key: str) -> None:
        self._value = f"Token {key}"

    @override
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._value
        return request


class UserpilotAPI:
    """Asks for export jobs, and reads jobs and lookups.

    The key is sent to the API's own origin only: a redirect that leads elsewhere is an error.

    Args:
        connection: How it is reached.
        timeout: Seconds that one socket operation may take.
        retries: How often a request is repeated.
    """

    def __init__(self, connection: Connection, timeout: float, retries: Retries) -> None:
        self._base = connection.api_url
        self._auth = _Token(connection.api_key)
        self._timeout = timeout
        self._retries = retries
        self._session = bare_session()
        self._slash = "/"

    @property
    def host(self) -> str:
        """The API's host."""
        return str(urlsplit(self._base).hostname)

    def create(self, request: Mapping[str, Any], what: str) -> str:
        """Ask for a job, and return its id.

        A request whose answer is lost is repeated, and then conflicts with the job that it made.

        Args:
            request: The body.
            what: The job, as messages name it.

        Raises:
            ConflictError: Another job is running.
            RefusedError: The request was refused.
            AuthenticationError: The key was refused.
            TransportError: The API cannot be reached.
        """
        response = with_retries(lambda: self._post(request, what), self._retries)
        return created_job(_checked(response, what), what)

    def _post(self, request: Mapping[str, Any], what: str) -> requests.Response:
        """Post a request; two documents spell the path with and without a slash at its end."""
        for _ in range(2):
            url = f"{self._base}{_EXPORTS}{self._slash}"
            response = send(
                self._session,
                "POST",
                url,
                what,
                hint=URL_HINT,
                auth=self._auth,
                json=request,
                timeout=self._timeout,
            )
            # Following a redirect would turn POST into GET.
            target = response.is_redirect and target_of(url, response.headers["Location"])
            moved = target and target.rstrip("/") == url.rstrip("/")
            if not moved and response.status_code not in {404, 405}:
                break
            self._slash = "" if self._slash else "/"
        return response

    def jobs(self) -> tuple[list[Job], datetime | None]:
        """The jobs of the last days, other people's among them, and the API's clock.

        The jobs come without their files; the time is None if none is stated.

        Raises:
            TransportError: They cannot be listed.
        """
        what = "the list of export jobs"
        response = self._get(f"{_EXPORTS}/jobs/", what)
        return jobs_of(response, what), http_date(response.headers.get("Date", ""))

    def job(self, job: str) -> Job:
        """A job as it is now.

        Raises:
            FormatError: The answer is about something else.
            NoJobError: It does not exist, or not any more.
            TransportError: It cannot be fetched.
        """
        what = f"export job {job}"
        response = self._get(f"{_EXPORTS}/jobs/{quote(job, safe='')}", what)
        found = job_of(json_object(response, what, URL_HINT), what)
        if found.id != job:
            msg = f"{what}: the answer describes another job"
            raise FormatError(msg, URL_HINT)
        return found

    def page(self, lookup: str, after: str = "") -> Page:
        """A page of a lookup.

        Args:
            lookup: Its name.
            after: Cursor of the page; empty for the first one.

        Raises:
            TransportError: It cannot be fetched.
        """
        query = {"after_cursor": after, "limit": str(_PER_PAGE)} if after else {}
        response = self._get(f"{_EXPORTS}/lookups/{lookup}", lookup, query)
        return page_of(response, lookup)

    def _get(
        self, path: str, what: str, query: Mapping[str, str] | None = None
    ) -> requests.Response:
        """A successful response.

        Raises:
            TransportError: There is none.
        """

        def get() -> requests.Response:
            return send(
                self._session,
                "GET",
                self._base + path,
                what,
                follow=self._is_own,
                hint=URL_HINT,
                auth=self._auth,
                params=query,
                timeout=self._timeout,
            )

        return _checked(with_retries(get, self._retries), what)

    def _is_own(self, url: str) -> bool:
        """True for a URL of the API's own origin."""
        own, other = urlsplit(self._base), urlsplit(url)
        return (own.scheme, own.netloc) == (other.scheme, other.netloc)


def _checked(response: requests.Response, what: str) -> requests.Response:
    """A response that is a success.

    Raises:
        TransportError: It is another one, with what it says.
    """
    status = response.status_code
    if 200 <= status < 300:
        return response
    if response.is_redirect:
        msg = f"{what}: the API redirects to another place, which does not get the key"
        raise TransportError(msg, URL_HINT)
    msg = f"{what}: Userpilot answered {status}: {said(response)}"
    if status in {401, 403}:
        raise AuthenticationError(msg, KEY_HINT)
    if status == 404:
        raise NoJobError(msg, URL_HINT)
    if status == 409:
        raise ConflictError(msg, "wait until it has ended")
    raise RefusedError(msg, "look at what Userpilot says", response.text)
