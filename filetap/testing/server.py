"""An HTTP server on a local port, for emulators of a vendor to build on.

A test changes attributes at any time, and the next request sees the change. The requests so far
are in ``requests``; ``fail()`` queues faults.
"""

from __future__ import annotations

import json
import re
import socket
import socketserver
import sys
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, unquote

from filetap.testing.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

UNKNOWN = "other"  # the route of a request that no route matches


@dataclass(frozen=True, slots=True)
class Route:
    """A kind of request.

    Attributes:
        name: Name in faults and in the request log.
        method: HTTP method.
        pattern: Regular expression of the whole path, percent-encoded as sent; its groups are the
            arguments.
    """

    name: str
    method: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request that needs a response.

    Attributes:
        method: HTTP method.
        route: Name of its route, or `UNKNOWN`.
        path: Path as sent, still percent-encoded, without the query.
        arguments: Decoded variable parts of the path.
        query: Decoded fields of the query; the first value of a repeated field.
        headers: Headers, their names in lower case.
        body: Body as sent.
        fault: Fault that strikes it; a fault without effect if none does.
    """

    method: str
    route: str
    path: str
    arguments: tuple[str, ...]
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    fault: Fault

    def form(self) -> dict[str, str]:
        """The fields of the form in the body, urlencoded or multipart."""
        kind = self.headers.get("content-type", "")
        if not kind.startswith("multipart/form-data"):
            return _first_values(self.body.decode())
        message = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + self.body)
        return {
            str(part.get_param("name", header="content-disposition")): str(part.get_payload())
            for part in message.walk()
            if not part.is_multipart()
        }


@dataclass(frozen=True, slots=True)
class Response:
    """The response to a request; Content-Length is added when it is sent."""

    status: int
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """A request in the log, with what was sent in response.

    Attributes:
        method: HTTP method.
        route: Name of its route, or `UNKNOWN`.
        path: Path as sent, still percent-encoded, without the query.
        headers: Headers, their names in lower case.
        status: Status of the response.
        sent: Bytes of the response's body, up to the drop if a fault drops the connection.
        body: Body of the request.
    """

    method: str
    route: str
    path: str
    headers: dict[str, str]
    status: int
    sent: int
    body: bytes = b""


@dataclass(kw_only=True, eq=False)
class LocalServer(ABC):
    """A server on 127.0.0.1 between ``start()`` and ``stop()``, or as a context manager.

    Attributes:
        ROUTES: Routes it knows; the first that matches counts.
        port: Port; 0 picks a free one when started, and keeps it over a restart.
        now: The server's clock.
        latency: Seconds before each response.
        requests: The requests so far.
        lock: Held while a request is answered; whatever changes the server's state takes it.
    """

    ROUTES: ClassVar[tuple[Route, ...]] = ()

    port: int = 0
    now: Callable[[], datetime] = field(default_factory=lambda: lambda: datetime.now(UTC))
    latency: float = 0.0
    requests: list[Request] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Set up the state that is not among the fields."""
        self.lock = threading.RLock()
        self._faults: list[Fault] = []
        self._listener: _Listener | None = None

    def __enter__(self) -> Self:
        """Start serving."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self.stop()

    @abstractmethod
    def respond(self, call: Call) -> Response:
        """Answer a request that no fault answers; called with the lock held."""

    def start(self) -> None:
        """Serve in a background thread until ``stop()``.

        Raises:
            OSError: The port is not available.
        """
        self._listener = listener = _Listener(self.port, self._reply)
        self.port = listener.server_port
        # A short interval, since stop() waits for a poll.
        threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stop serving and close every connection; attributes keep their values."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.stopped.set()
            listener.shutdown()
            listener.server_close()
            listener.hang_up()

    @property
    def url(self) -> str:
        """Base URL of every route."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """Number of connections open at the moment."""
        return len(self._listener.connections) if self._listener else 0

    def fail(self, route: str, **fault: Any) -> Fault:
        """Queue a fault for the next requests of a route; faults strike in order.

        Args:
            route: Name of the route.
            **fault: Fields of `Fault`.

        Returns:
            The fault, whose ``times`` counts down.
        """
        queued = Fault(route, **fault)
        with self.lock:
            self._faults.append(queued)
        return queued

    def heal(self) -> None:
        """Drop all faults."""
        with self.lock:
            self._faults.clear()

    def count(self, route: str) -> int:
        """Number of requests of a route so far."""
        with self.lock:
            return sum(request.route == route for request in self.requests)

    def forget(self) -> None:
        """Empty the log of requests."""
        with self.lock:
            self.requests.clear()

    def _reply(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[Response, Fault]:
        """Answer and log a request; returns the fault that strikes it as well."""
        path, _, query = target.partition("?")
        route, arguments = self._route(method, path)
        with self.lock:
            striking = (fault for fault in self._faults if fault.strikes(route, unquote(path)))
            fault = next(striking, Fault(route))
            if fault.status is not None:
                text = fault.body
                content = text.encode() if isinstance(text, str) else text
                response = Response(fault.status, content, fault.headers)
            else:
                fields = _first_values(query)
                call = Call(method, route, path, arguments, fields, headers, body, fault)
                response = self.respond(call)
                response.headers.update(fault.headers_extra)
            whole = len(response.body)
            sent = whole if fault.drop_after is None else max(0, min(whole, fault.drop_after))
            # Logged before any byte is sent: a client that has the response finds its request here.
            self.requests.append(Request(method, route, path, headers, response.status, sent, body))
        return response, replace(fault, stall=fault.stall + self.latency)

    def _route(self, method: str, path: str) -> tuple[str, tuple[str, ...]]:
        """The name of a request's route, and the decoded variable parts of its path."""
        for route in self.ROUTES:
            found = re.fullmatch(route.pattern, path)
            if found and method == route.method:
                return route.name, tuple(unquote(part) for part in found.groups())
        return UNKNOWN, ()


class _Listener(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(
        self,
        port: int,
        reply: Callable[[str, str, dict[str, str], bytes], tuple[Response, Fault]],
    ) -> None:
        self.reply = reply
        self.stopped = threading.Event()
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        # As HTTPServer does, but without a DNS lookup of the host's name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def hang_up(self) -> None:
        for connection in self.connections.copy():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client may leave at any time; any other error is a bug of the emulator.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        """Log nothing: the requests are in ``LocalServer.requests``."""

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        response, fault = self.server.reply(self.command, self.path, headers, body)
        stall = self.server.stopped.wait  # a sleep that stop() ends
        if fault.drop_after is None:
            stall(fault.stall)
        if fault.drop_after is None or fault.drop_after >= 0:
            self.send_response_only(response.status)
            self.send_header("Date", response.headers.pop("Date", self.date_time_string()))
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
        if fault.drop_after is None:
            self.wfile.write(response.body)
            return
        self.wfile.write(response.body[: max(0, fault.drop_after)])
        stall(fault.stall)
        self.close_connection = True

    do_POST = do_DELETE = do_GET  # noqa: N815  # names that the base class calls


def json_response(status: int, body: object) -> Response:
    """A response with *body* as JSON."""
    return Response(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _first_values(text: str) -> dict[str, str]:
    """The fields of an urlencoded text; the first value of a repeated field."""
    return {name: values[0] for name, values in parse_qs(text).items()}
