"""Bearer tokens: a ready-made one, or those an OAuth client requests with its credentials."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from requests.auth import AuthBase

from filetap.errors import AuthenticationError, FormatError
from filetap.redaction import SECRECY
from filetap.transports.http import json_object, send

if TYPE_CHECKING:
    import requests

_MARGIN = 60.0  # seconds before a token expires when a new one is requested
_WHAT = "the access token"


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth client, and where it gets its tokens.

    Attributes:
        url: Token endpoint.
        client_id: Id of the client.
        client_secret: Its secret.
        scope: Sent with the request unless empty.
        lifetime: Seconds that a token is used if the server does not say how long it is valid.
        timeout: Seconds that one socket operation may take.
        hint: What to check if no token is issued, for error messages.
        url_hint: What to check if the server cannot be reached.
        as_json: True to send the request as JSON instead of a form.
    """

    url: str
    client_id: str
    client_secret: str
    scope: str
    lifetime: float
    timeout: float
    hint: str
    url_hint: str
    as_json: bool = False

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Client({self.url!r})"


class Bearer(AuthBase):
    """Sends a token, and nothing from a ``.netrc`` file."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Tokens:
    """The token in use, renewed when it is about to expire; several threads may share it."""

    def __init__(self, session: requests.Session, client: Client, ready: str = "") -> None:
        """No token is requested yet.

        Args:
            session: Session to request tokens with.
            client: The client to request them for.
            ready: A ready-made token to use instead, which is never renewed; empty for none.
        """
        self._session = session
        self._client = client
        self._ready = ready
        self._token = ""
        self._until = 0.0  # in `time.monotonic` seconds
        self._renewing = Lock()

    def current(self) -> str:
        """The token to send; requests one if there is none, or if it is about to expire.

        Raises:
            AuthenticationError: The credentials were refused.
            FormatError: The response has no token that can be sent.
            TransportError: The authorisation server cannot be reached.
        """
        if self._ready:
            return self._ready
        with self._renewing:
            if not self._token or time.monotonic() >= self._until:
                self._token, seconds = self._request()
                self._until = time.monotonic() + max(seconds - _MARGIN, seconds / 2)
            return self._token

    def discard(self, token: str) -> bool:
        """Forget a token that was refused; return True if another one can be requested."""
        if self._ready:
            return False
        with self._renewing:
            if self._token == token:  # else another thread has a new one already
                self._token = ""
        return True

    def _request(self) -> tuple[str, float]:
        """Request a token; returns it and the seconds it is valid. Raises as `current` does."""
        client = self._client
        form = {
            "grant_type": "client_credentials",
            "client_id": client.client_id,
            "client_secret": client.client_secret,
        }
        if client.scope:
            form["scope"] = client.scope
        response = send(
            self._session,
            "POST",
            client.url,
            _WHAT,
            data=None if client.as_json else form,
            json=form if client.as_json else None,
            headers={"Accept": "application/json"},
            hint=client.url_hint,
            timeout=client.timeout,
        )
        if response.status_code != 200:
            msg = f"{_WHAT}: {urlsplit(client.url).hostname} answered {response.status_code}"
            raise AuthenticationError(msg, client.hint)
        content = json_object(response, _WHAT, client.url_hint)
        token = content.get("access_token")
        if not isinstance(token, str) or not is_token(token.strip()):
            msg = f"{_WHAT}: the response holds no usable access_token"
            raise FormatError(msg, client.hint)
        token = token.strip()
        SECRECY.guard(token)
        lifetime = content.get("expires_in")
        try:
            return token, client.lifetime if lifetime is None else float(str(lifetime))
        except ValueError:
            return token, client.lifetime


def is_token(text: str) -> bool:
    """True if *text* can be sent as a token: visible ASCII, at least one character."""
    return bool(text) and all("!" <= character <= "~" for character in text)
