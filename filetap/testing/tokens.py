"""An emulated authorisation server: issues bearer tokens for client credentials."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from filetap.testing.server import json_response

if TYPE_CHECKING:
    from filetap.testing.server import Call, Response

_NEVER_ISSUED = datetime.min.replace(tzinfo=UTC)


class Tokens:
    """The tokens issued so far, and when they expire."""

    def __init__(self) -> None:
        self._expiry: dict[str, datetime | None] = {}

    def issue(self, now: datetime, lifetime: int | None) -> str:
        """Issue a token that is valid for *lifetime* seconds from *now*; None for always."""
        token = secrets.token_hex(16)
        self._expiry[token] = None if lifetime is None else now + timedelta(seconds=lifetime)
        return token

    def respond(
        self,
        call: Call,
        client: tuple[str, str],
        now: datetime,
        lifetime: int | None,
        **more: str,
    ) -> Response:
        """Answer a request for a token.

        Args:
            call: The request; its body is the form of the client-credentials grant.
            client: Id and secret of the only client.
            now: Time of the request, aware.
            lifetime: Seconds until the token expires; None for never, and then the response has no
                ``expires_in``.
            **more: Further members of the response.
        """
        fields = call.form()
        granted = fields.get("grant_type") == "client_credentials"
        if not granted or client != (fields.get("client_id"), fields.get("client_secret")):
            return json_response(401, {"error": "invalid_client"})
        token: dict[str, Any] = {"access_token": self.issue(now, lifetime), "token_type": "Bearer"}
        if lifetime is not None:
            token["expires_in"] = lifetime
        return json_response(200, token | more)

    def accept(self, authorization: str, now: datetime) -> bool:
        """True if an Authorization header has a valid token."""
        scheme, _, token = authorization.partition(" ")
        expires = self._expiry.get(token, _NEVER_ISSUED)
        return scheme.lower() == "bearer" and (expires is None or now < expires)

    def expire(self) -> None:
        """Expire every token issued so far."""
        self._expiry.clear()
