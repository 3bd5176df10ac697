"""Simpplr's API: which entities are exported, and how often. The tap itself never calls it.

Source: Simpplr's API reference, "Register data export requests" and its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from filetap.errors import (
    FormatError,
    RateLimitError,
    RetriableTransportError,
    TransportError,
)
from filetap.redaction import SECRECY, printable
from filetap.transports.connection import bare_session
from filetap.transports.http import json_object, send
from filetap.transports.oauth import Bearer, Client, Tokens
from filetap.transports.retry import with_retries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import requests

    from filetap.settings import Retries

_TOKEN_PATH = "/identity/oauth/token"  # noqa: S105 - a path
_EXPORT = "/b2b/analytics/export"
_FULL_LOAD = "/b2b/analytics/export-full-load"
_TEST = "/b2b/identity/test"
_LIFETIME = 600.0  # seconds; the response does not say how long a token is valid
_LONGEST_BODY = 400  # characters of a refusal that messages show
_MOST_PAGES = 1000
_AGAIN = "run again later"
# By path: a request that failed midway may have been carried out.
_DOUBTS = {
    _EXPORT: "the list may have been replaced: look at it with simpplr-exports registrations",
    _FULL_LOAD: "the full load may have been queued; asking for it again makes it certain",
}
_FLAGS = {"true": True, "1": True, "false": False, "0": False}

FREQUENCIES: Final = ("daily", "weekly", "monthly")
URL_HINT: Final = "check api_url, such as https://platform.app.simpplr.com/v1, and the network"
CLIENT_HINT: Final = "check client_id, client_secret, scope and auth_url"
SCOPE_HINT: Final = "set scope to write or everything, if the OAuth client may have it"


@dataclass(frozen=True, slots=True)
class Connection:
    """How the API is reached.

    Attributes:
        api_url: Base of the API.
        auth_url: Where tokens are requested; empty for the API's own place.
        client_id: Id of the OAuth client.
        client_secret: Its secret.
        scope: Sent with the token request unless empty.
    """

    api_url: str
    auth_url: str
    client_id: str
    client_secret: str
    scope: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Connection({self.api_url!r})"

    @property
    def token_url(self) -> str:
        """Where tokens are requested: auth_url may be a server or the whole URL."""
        base = self.auth_url or self.api_url
        return base if base.endswith("/token") else base + _TOKEN_PATH


@dataclass(frozen=True, slots=True)
class Registration:
    """An entity that is, or was, exported.

    Attributes:
        entity: Its name, as Simpplr states it.
        frequency: ``daily``, ``weekly`` or ``monthly``.
        active: True if it is exported now.
        registered_at: When it was registered, as stated; empty if not.
        updated_at: When that was changed, as stated; empty if not.
    """

    entity: str
    frequency: str
    active: bool
    registered_at: str = ""
    updated_at: str = ""


class SimpplrAPI:
    """Reads and replaces the list of exported entities.

    Args:
        connection: How it is reached.
        timeout: Seconds that one socket operation may take.
        retries: How often a request that changes nothing is repeated.
    """

    def __init__(self, connection: Connection, timeout: float, retries: Retries) -> None:
        self._url = connection.api_url
        self._timeout = timeout
        self._retries = retries
        self._session = bare_session()
        client = Client(
            connection.token_url,
            connection.client_id,
            connection.client_secret,
            connection.scope,
            lifetime=_LIFETIME,
            timeout=timeout,
            hint=CLIENT_HINT,
            url_hint=URL_HINT,
            as_json=True,
        )
        self._tokens = Tokens(self._session, client)

    def check(self) -> None:
        """Check that the API accepts the client.

        Raises:
            TransportError: It does not, or cannot be reached.
        """
        self._get(_TEST, "the connection", {})

    def registrations(self) -> list[Registration]:
        """Every entity that is or was exported, complete.

        Raises:
            FormatError: The list cannot be read to its end.
            TransportError: It cannot be fetched.
        """
        return [_registration(item) for page in self._pages() for item in page]

    def register(self, entities: Sequence[str], frequency: str) -> None:
        """Export these entities, and no others; none switches all exports off.

        Raises:
            TransportError: The API refused it, or cannot be reached.
        """
        body: dict[str, Any] = {"exportOption": "disable export"}
        if entities:
            option = "export selected"
            body = {"exportOption": option, "entityList": [*entities], "frequency": frequency}
        self._send(_EXPORT, "the list of exports", body=body)

    def full_load(self, entities: Sequence[str]) -> None:
        """Have the next scheduled file of each of these entities be complete.

        Raises:
            TransportError: The API refused it, or cannot be reached.
        """
        body = {"exportOption": "export selected", "entityList": [*entities]}
        self._send(_FULL_LOAD, "the full load", body=body)

    def _pages(self) -> Iterator[list[Any]]:
        """The pages of the list of exports."""
        what, page, seen = "the list of exports", "", {""}
        while len(seen) <= _MOST_PAGES:
            # The name of the parameter is not documented.
            more = {"pageToken": page, "nextPageToken": page} if page else {}
            answer = self._get(_EXPORT, what, {"includeInactive": "true", **more})
            result = answer.get("result")
            items = result.get("listOfItems") if isinstance(result, dict) else None
            if not isinstance(result, dict) or not isinstance(items, list):
                msg = f"{what}: the response holds no list"
                raise FormatError(msg, URL_HINT)
            yield items
            page = str(result.get("nextPageToken") or "")
            if not page:
                return
            if page in seen:
                break
            seen.add(page)
        msg = f"{what}: its pages do not end, so it is not complete"
        raise FormatError(msg, "nothing was changed; report it to Simpplr")

    def _get(self, path: str, what: str, query: dict[str, str]) -> dict[str, Any]:
        """The JSON object at a path."""
        response = with_retries(lambda: self._send(path, what, query=query), self._retries)
        return dict(json_object(response, what, URL_HINT))

    def _token(self) -> str:
        """The token to send; nothing has been posted if there is none."""
        try:
            return self._tokens.current()
        except RetriableTransportError as error:
            raise _stateless(error) from None

    def _send(
        self, path: str, what: str, *, query: object = None, body: object = None
    ) -> requests.Response:
        """Send *body*, or GET without one; a token that is refused is renewed once."""
        for may_renew in (True, False):
            token = self._token()
            try:
                response = send(
                    self._session,
                    "GET" if body is None else "POST",
                    self._url + path,
                    what,
                    hint=URL_HINT,
                    auth=Bearer(token),
                    timeout=self._timeout,
                    params=query,
                    json=body,
                )
            except RetriableTransportError as error:
                is_doubtful = body is not None and not isinstance(error, RateLimitError)
                raise _stateless(error, _DOUBTS[path] if is_doubtful else "") from None
            if response.status_code != 401 or not may_renew:
                break
            self._tokens.discard(token)
        if 200 <= response.status_code < 300:
            return response
        raise _refusal(response, what)


def _stateless(error: RetriableTransportError, hint: str = "") -> RetriableTransportError:
    """The error with *hint*, or with one that speaks of no state: there is none here."""
    plain = URL_HINT if error.hint == URL_HINT else _AGAIN
    return type(error)(error.message, hint or plain, error.retry_after)


def _refusal(response: requests.Response, what: str) -> TransportError:
    """The error for a response that is not a success; bodies have many shapes, so it is quoted."""
    status = response.status_code
    hint = {401: CLIENT_HINT, 403: SCOPE_HINT}.get(status, "look at what the API says")
    # Redacted before it is shortened: the beginning of a secret would not be recognised.
    said = printable(SECRECY.scrub(response.text)[:_LONGEST_BODY])
    msg = f"{what}: the API answered {status}: {said}"
    return TransportError(msg, hint)


def _registration(item: Any) -> Registration:
    """An item of the list.

    Raises:
        FormatError: It names no entity, or does not state if it is exported.
    """
    if not isinstance(item, dict) or not isinstance(item.get("entity"), str):
        msg = "the list of exports: an item names no entity"
        raise FormatError(msg, "nothing was changed; report it to Simpplr")
    active = _FLAGS.get(str(item.get("is_active")).strip().lower())
    if active is None:
        msg = f"the list of exports: is_active of {item['entity']} is neither true nor false"
        raise FormatError(msg, "nothing was changed; report it to Simpplr")
    return Registration(
        item["entity"],
        str(item.get("frequency") or "").strip().lower(),
        active,
        str(item.get("registered_at") or ""),
        str(item.get("updated_at") or ""),
    )
