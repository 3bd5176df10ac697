"""An emulated Simpplr: its API, and the folder that it delivers to, also on an SFTP server."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from filetap.testing.server import LocalServer, Response, Route, json_response
from filetap.testing.tokens import Tokens
from tap_simpplr.delivered import ENTITIES, stream_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filetap.testing.server import Call
    from filetap.testing.sftp import SFTP
    from tap_simpplr.schedule import Schedule

_FREQUENCIES = ("daily", "weekly", "monthly")


@dataclass(kw_only=True, eq=False)
class Emulator(LocalServer):
    """Simpplr's API in front of a schedule.

    Attributes:
        schedule: What is delivered.
        sftp: The server that the folder is read from; None for the folder itself.
        client: Id and secret of the OAuth client.
        scope: What its tokens may do: ``read``, ``write`` or ``everything``.
        page: Registrations of a page of the list.
    """

    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("token", "POST", "/v1/identity/oauth/token"),
        Route("test", "GET", "/v1/b2b/identity/test"),
        Route("list", "GET", "/v1/b2b/analytics/export"),
        Route("register", "POST", "/v1/b2b/analytics/export"),
        Route("full load", "POST", "/v1/b2b/analytics/export-full-load"),
        Route("day", "POST", "/emulator/days"),
    )

    schedule: Schedule
    sftp: SFTP | None = None
    client: tuple[str, str] = ("emulated-client", "emulated-secret")
    scope: str = "everything"
    page: int = 10
    tokens: Tokens = field(default_factory=Tokens)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The tap's settings, once it has started."""
        folder: dict[str, Any] = {"url": str(self.schedule.folder)}
        if self.sftp:
            user, password = self.sftp.login
            folder["url"] = f"sftp://{user}@127.0.0.1:{self.sftp.port}/"
            folder["options"] = {"password": password, "fingerprint": self.sftp.fingerprint}
        base = f"{self.url}/v1"
        return {
            "folder": folder,
            "api_url": base,
            "auth_url": f"{base}/identity/oauth/token",
            "client_id": self.client[0],
            "client_secret": self.client[1],
            "scope": self.scope,
        }

    def next_day(self) -> dict[str, Any]:
        """Let a day pass; returns it, and the rows that were delivered by stream."""
        with self.lock:
            rows = {stream_of(name): count for name, count in self.schedule.next_day().items()}
            return {"generated_at": str(self.schedule.today), "rows": rows}

    def respond(self, call: Call) -> Response:
        """Answer a request."""
        if call.route == "day":
            return json_response(200, self.next_day())
        if call.route == "token":
            return self._token(call)
        if not self.tokens.accept(call.headers.get("authorization", ""), self.now()):
            return json_response(401, {"message": "Unauthorized"})
        if call.route == "list":
            return self._list(call)
        if call.route in {"register", "full load"}:
            return self._change(call)
        known = call.route == "test"
        answer: dict[str, Any] = {
            "status": "SUCCESS" if known else "NOT_FOUND",
            "result": {},
            "message": "",
        }
        return json_response(200 if known else 404, answer)

    def _change(self, call: Call) -> Response:
        """Change what is exported, which the scope must allow."""
        if self.scope == "read":
            return json_response(403, {"error_code": 403, "message": "Forbidden"})
        body = json.loads(call.body or b"{}")
        return self._register(body) if call.route == "register" else self._full_load(body)

    def _token(self, call: Call) -> Response:
        """A token for the client, without a lifetime."""
        given = json.loads(call.body or b"{}")
        if (given.get("client_id"), given.get("client_secret")) != self.client:
            fault = {"seq_id": 1, "field_name": "client_id", "error_message": "invalid client"}
            return json_response(400, [fault])
        return json_response(200, {"access_token": self.tokens.issue(self.now(), None)})

    def _list(self, call: Call) -> Response:
        """A page of the registrations."""
        inactive = call.query.get("includeInactive") == "true"
        every = [
            {
                "tenant_code": "emulated",
                "entity": entity,
                "grouped_by": "",
                "is_active": export.active,
                "frequency": export.frequency,
                "columns_list": None,
                "registered_at": _moment(export.registered),
                "updated_at": _moment(export.registered),
            }
            for entity, export in self.schedule.exports.items()
            if export.active or inactive
        ]
        first = int(call.query.get("nextPageToken", "0"))
        after = first + self.page
        token = str(after) if after < len(every) else ""
        items = every[first:after]
        result = {"nextPageToken": token, "listOfItems": items}
        return json_response(200, {"status": "SUCCESS", "message": "", "result": result})

    def _entities(self, body: Mapping[str, Any]) -> list[str] | None:
        """The entities that a request names; None if one of them does not exist."""
        given = body.get("entityList") or []
        names = given.split(",") if isinstance(given, str) else given
        found = [str(name).strip() for name in names]
        return found if set(found) <= {*ENTITIES} else None

    def _register(self, body: Mapping[str, Any]) -> Response:
        """Replace the registrations."""
        option = body.get("exportOption", "export selected")
        frequency = body.get("frequency", "daily")
        entities = [*ENTITIES] if option == "export all" else self._entities(body)
        if option == "disable export":
            entities = []
        elif not entities or frequency not in _FREQUENCIES:
            return json_response(400, {"status": 400, "message": "entityList is not valid"})
        self.schedule.register(entities or [], frequency)
        return json_response(200, {"status": "SUCCESS", "message": "", "result": {}})

    def _full_load(self, body: Mapping[str, Any]) -> Response:
        """Queue full loads."""
        active = [name for name, one in self.schedule.exports.items() if one.active]
        if body.get("exportOption") == "export all":
            if not active:
                return json_response(404, {"message": "no active registration"})
            entities: list[str] | None = active
        else:
            entities = self._entities(body)
        if not entities or not set(entities) <= {*active}:
            return json_response(400, {"errors": [{"message": "an entity is not registered"}]})
        self.schedule.queue_full_load(entities)
        result = {"entities": entities, "count": len(entities), "status": "full_load_queued"}
        return json_response(200, {"status": 200, "message": "", "result": result})


def _moment(day: Any) -> str:
    """A day as the API states times."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC).isoformat()
