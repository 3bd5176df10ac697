"""Firstup's authorisation server, its Data Exports API and the S3 behind it, on one local port.

A test, or a demo, puts files in and changes attributes at will; the next request sees it. What a
client asked for is in ``requests``, what shall go wrong is queued with ``fail()``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import socket
import socketserver
import sys
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from gzip import compress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote, unquote, urlencode

from awscrt.checksums import crc64nvme

from tap_firstup_dde import sample_data

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Self

SCOPE: Final = "data_exports.read"
_SINGULAR: Final = {"campaigns": "campaign", "users": "user", "activities": "activity"}
_HOUR: Final = "%Y-%m-%d-%H"
_AMZ_DATE: Final = "%Y%m%dT%H%M%SZ"
_API: Final = "/v2/data_exports/type/([^/]+)"
_ROUTES: Final = (
    ("token", "POST", "/oauth/token"),
    ("list", "GET", _API),
    ("latest", "GET", f"{_API}/latest"),
    ("show", "GET", f"{_API}/files/([^/]+)"),
    ("download", "GET", "/s3/(.+)"),
    ("control", "POST", "/emulator/(generations)"),
    ("control", "GET|DELETE", "/emulator/(requests)"),
)


@dataclass(eq=False)
class EmulatedFile:
    """One export file as the emulator tells about it; change it, and it tells otherwise.

    Attributes:
        stream: ``campaigns``, ``users`` or ``activities``.
        id: Opaque id in the API.
        file_name: Name in the API, the same in every generation.
        generated_at: Text in the API, ``YYYY-MM-DD-HH``.
        base_name: Base name in the list.
        program_id: Program the file belongs to; others do not see it.
        key: Path in S3.
        body: Bytes as stored.
        size_bytes: Stated length.
        checksum: Stated checksum: base64 of 8 bytes, big-endian.
        checksum_function: Stated algorithm.
        gone: Whether the file is listed only: the file endpoint and S3 answer 404.
    """

    stream: str
    id: str
    file_name: str
    generated_at: str
    base_name: str
    program_id: str
    key: str
    body: bytes
    size_bytes: int
    checksum: str
    checksum_function: str = "CRC64NVME"
    gone: bool = False


@dataclass(frozen=True)
class Request:
    """One request the emulator got, and what it made of it.

    Attributes:
        method: HTTP method.
        route: ``token``, ``list``, ``latest``, ``show``, ``download``, ``control`` or ``other``.
        path: Path as the client sent it, still percent-encoded, without the query.
        headers: Headers, their names in lower case.
        status: Status of the answer.
        sent: Bytes of the answer's body, counted up to a wanted drop.
        body: Body of the request.
    """

    method: str
    route: str
    path: str
    headers: dict[str, str]
    status: int
    sent: int
    body: bytes = b""


@dataclass
class Fault:
    """Something that goes wrong with the next requests of a route.

    Attributes:
        route: Route it waits for, as in ``Request``.
        status: Answered instead of the true answer, with ``headers`` and ``body``.
        headers: Headers of that answer.
        body: Body of that answer.
        drop_after: Bytes of the body after which the connection closes; -1 closes it unanswered.
        stall: Seconds to wait before the answer or, with ``drop_after``, before the drop.
        corrupt_at: Byte of the whole file in which one bit is flipped.
        ignore_range: Whether the whole file is sent whatever range was asked for.
        content_range: Stated instead of the true Content-Range.
        etag: The file's ETag instead of the true one, in conditions too.
        headers_extra: Headers added to the true answer.
        skip: Matching requests that pass before it strikes.
        times: Requests it strikes; None for all.
        match: Part of the decoded path it waits for.
    """

    route: str
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | str = b""
    drop_after: int | None = None
    stall: float = 0.0
    corrupt_at: int | None = None
    ignore_range: bool = False
    content_range: str | None = None
    etag: str | None = None
    headers_extra: dict[str, str] = field(default_factory=dict)
    skip: int = 0
    times: int | None = 1
    match: str = ""

    def strikes(self, route: str, path: str) -> bool:
        """Tell whether this request is struck, and count it."""
        if route != self.route or self.match not in path or self.times == 0:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True)
class _Ask:
    method: str
    route: str
    path: str
    arguments: tuple[str, ...]
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    fault: Fault


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes
    headers: dict[str, str]


@dataclass(kw_only=True, eq=False)
class Emulator:
    """A Firstup of one's own; serves between ``start()`` and ``stop()``, or as a context manager.

    Attributes:
        client_id: The only client there is.
        client_secret: Its secret.
        program_id: Its program; files added under another one are not seen.
        scope: What its tokens may do, blank-separated.
        token_ttl: Seconds a token lives; None for ever, and then the answer has no ``expires_in``.
        url_ttl: Seconds a presigned URL lives.
        port: Port on 127.0.0.1; 0 takes a free one, and keeps it over a restart.
        page_size: Files in one answer of the list endpoint; None for all.
        list_extra: Further members of the list endpoint's answer.
        rate_limit: Requests to the API that are answered in `rate_window` seconds, others get 429;
            None for all. Firstup documents 1,000 a minute and program.
        rate_window: Seconds.
        seed: Picks the sample data.
        first_generation: When the sample data begin.
        rows: Rows of one sample activities file.
        parts: Files per stream in one sample generation.
        deliver: Folder into which sample data go as well, as Firstup pushes them to an SFTP server.
        now: The emulator's clock.
        up_to_now: Whether a generation of sample data without a time of its own is never later
            than the clock.
        files: The files there are, in the order they are listed.
        requests: The requests so far.
    """

    client_id: str = "demo-client"
    client_secret: str = "demo-secret"  # noqa: S105  # plainly no secret
    program_id: str = "23552"
    scope: str = SCOPE
    token_ttl: int | None = 7200
    url_ttl: int = 900
    port: int = 0
    page_size: int | None = None
    list_extra: dict[str, Any] = field(default_factory=dict)
    rate_limit: int | None = None
    rate_window: float = 60.0
    seed: int = 0
    first_generation: datetime = datetime(2026, 5, 14, 16, tzinfo=UTC)
    rows: int = 200
    parts: int = 2
    deliver: Path | None = None
    now: Callable[[], datetime] = field(default_factory=lambda: lambda: datetime.now(UTC))
    up_to_now: bool = False
    files: list[EmulatedFile] = field(default_factory=list, init=False)
    requests: list[Request] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Set up what only the emulator itself looks at."""
        self._lock = threading.RLock()
        self._key = secrets.token_bytes(32)
        self._session = 0  # every presigned URL carries it: a new one ends them all
        self._serial = 0
        self._tokens: dict[str, datetime | None] = {}
        self._faults: list[Fault] = []
        self._generations: list[datetime] = []
        self._answered: deque[float] = deque()
        self._stopped = threading.Event()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        """Start serving."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self.stop()

    def start(self) -> None:
        """Serve in a background thread until ``stop()``.

        Raises:
            OSError: The port cannot be had.
        """
        self._server = server = _Server(self)
        self.port = server.server_port
        self._stopped.clear()
        # Polls often, since stop() waits for a poll.
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stop serving and close every connection; files and settings stay."""
        server, self._server = self._server, None
        if server is not None:
            self._stopped.set()
            server.shutdown()
            server.server_close()
            server.hang_up()

    @property
    def url(self) -> str:
        """Base URL of all there is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """Settings with which a client reaches the emulator."""
        return {
            "api_url": self.url,
            "auth_url": self.url,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }

    def add(  # noqa: PLR0913  # each is something a test wants to choose
        self,
        stream: str,
        generated_at: str,
        content: str | bytes,
        *,
        file_name: str = "000.csv",
        file_id: str | None = None,
        gzip: bool = True,
        checksum_function: str = "CRC64NVME",
        listed_generated_at: str | None = None,
    ) -> EmulatedFile:
        """Add an export file.

        Args:
            stream: ``campaigns``, ``users`` or ``activities``.
            generated_at: Generation, ``YYYY-MM-DD-HH``.
            content: Text or bytes of the file.
            file_name: Name in the API.
            file_id: Opaque id; by default made as Firstup makes it.
            gzip: Whether the content is compressed; if not, it is stored as it is.
            checksum_function: Algorithm the API names.
            listed_generated_at: What the API says instead of ``generated_at``.

        Returns:
            The file, which may be changed while it is served.

        Raises:
            ValueError: The stream has a file of that id already.
        """
        body = content.encode() if isinstance(content, str) else content
        body = compress(body, 6, mtime=0) if gzip else body
        base_name = f"unload_{_SINGULAR[stream]}_data"
        folder = (
            f"us-east-1-prod-sc/sftp_exports/{base_name}_v2/program_id={self.program_id}"
            f"/generated_at={generated_at}/activity_type={_SINGULAR[stream]}"
        )
        with self._lock:
            self._serial += 1
            named = f"{folder}/{file_name}"
            file = EmulatedFile(
                stream=stream,
                id=file_id or base64.b64encode(named.encode()).decode(),
                file_name=file_name,
                generated_at=listed_generated_at or generated_at,
                base_name=base_name,
                program_id=self.program_id,
                key=f"{folder}/{self._serial}/{file_name}" if file_id else named,
                body=body,
                size_bytes=len(body),
                checksum=_checksum(body),
                checksum_function=checksum_function,
            )
            if any((file.stream, file.id) == (other.stream, other.id) for other in self.files):
                message = f"{stream} has a file {file_name} of {generated_at} already"
                raise ValueError(message)
            self.files.append(file)
        return file

    def add_generation(
        self, rows: int | None = None, parts: int | None = None, generated_at: str | None = None
    ) -> dict[str, int]:
        """Add one more generation of sample data.

        Args:
            rows: Rows of one activities file; by default the attribute's.
            parts: Files per stream; by default the attribute's.
            generated_at: Generation, ``YYYY-MM-DD-HH``; by default four hours after the newest,
                with `up_to_now` in the nearest free hour that is not in the future.

        Returns:
            Rows per stream.
        """
        rows = self.rows if rows is None else rows
        parts = self.parts if parts is None else parts
        with self._lock:
            if generated_at is not None:
                when = datetime.strptime(generated_at, _HOUR).replace(tzinfo=UTC)
            elif self._generations:
                when = self._next()
            else:
                when = self.first_generation
            sample = sample_data.generation(
                self.seed, len(self._generations), when, rows, parts=parts
            )
            for stream, texts in sample.items():
                for part, text in enumerate(texts):
                    self.add(stream, f"{when:{_HOUR}}", text, file_name=f"{part:03}.csv")
                self._deliver(stream, when, texts)
            self._generations.append(when)
        return {stream: size * parts for stream, size in sample_data.sizes(rows).items()}

    def _next(self) -> datetime:
        """When the next generation of sample data is dated."""
        newest = max(self._generations)
        usual, hour = newest + sample_data.INTERVAL, timedelta(hours=1)
        if not self.up_to_now or usual <= self.now():
            return usual
        if newest + hour <= self.now():
            return newest + hour
        when = newest
        while when in self._generations:
            when -= hour
        return when

    def _deliver(self, stream: str, when: datetime, texts: Sequence[str]) -> None:
        """Push one file, of all parts, to the folder of deliveries, under a documented name."""
        if self.deliver is None:
            return
        header, *_ = texts[0].splitlines(keepends=True)
        content = header + "".join(text.removeprefix(header) for text in texts)
        kind = f"{_SINGULAR[stream]}-incremental.gz"
        path = self.deliver / f"{self.program_id}-{when:%m-%d-%Y-%H}-{kind}"
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(compress(content.encode(), 6, mtime=0))
        part.rename(path)

    def remove(self, file: EmulatedFile) -> None:
        """Take a file away, from the list and from S3."""
        with self._lock:
            self.files.remove(file)

    def issue_token(self) -> str:
        """Give a token as the authorisation server would."""
        token = secrets.token_hex(16)
        ttl = self.token_ttl
        with self._lock:
            self._tokens[token] = None if ttl is None else self.now() + timedelta(seconds=ttl)
        return token

    def expire_tokens(self) -> None:
        """Make every token issued so far invalid."""
        with self._lock:
            self._tokens.clear()

    def expire_urls(self) -> None:
        """Make every presigned URL issued so far expired."""
        with self._lock:
            self._session += 1

    def fail(self, route: str, **fault: Any) -> Fault:
        """Let something go wrong with a route's next requests; faults strike in order.

        Args:
            route: Route of the requests, as in ``Request``.
            **fault: Fields of ``Fault``.

        Returns:
            The fault, whose ``times`` counts down.
        """
        queued = Fault(route, **fault)
        with self._lock:
            self._faults.append(queued)
        return queued

    def heal(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def count(self, route: str) -> int:
        """Count the requests of a route so far."""
        with self._lock:
            return sum(request.route == route for request in self.requests)

    def forget(self) -> None:
        """Forget all requests so far."""
        with self._lock:
            self.requests.clear()

    def _reply(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[_Answer, Fault]:
        path, _, query = target.partition("?")
        fields = {name: values[0] for name, values in parse_qs(query).items()}
        route, arguments = _route(method, path)
        with self._lock:
            found = (fault for fault in self._faults if fault.strikes(route, unquote(path)))
            fault = next(found, Fault(route))
            ask = _Ask(method, route, path, arguments, fields, headers, body, fault)
            if fault.status is not None:
                text = fault.body
                content = text.encode() if isinstance(text, str) else text
                answer = _Answer(fault.status, content, fault.headers)
            else:
                answer = self._answer(ask)
                answer.headers.update(fault.headers_extra)
            whole = len(answer.body)
            sent = whole if fault.drop_after is None else max(0, min(whole, fault.drop_after))
            # Before a byte is out, so that whoever has the answer finds the request here.
            self.requests.append(Request(method, route, path, headers, answer.status, sent, body))
        return answer, fault

    def _answer(self, ask: _Ask) -> _Answer:
        if ask.route == "token":
            return self._token(ask)
        if ask.route == "download":
            return self._download(ask)
        if ask.route == "control":
            return self._control(ask)
        if ask.route == "other":
            return _json(404, {"error": "not_found"})
        answer = _json(429, {"error": "too_many_requests"}) if self._is_busy() else self._api(ask)
        answer.headers.update({"X-Program-Id": self.program_id, "X-User-Id": "4100000"})
        return answer

    def _is_busy(self) -> bool:
        """Whether the API has answered as many requests as it does in so short a time."""
        now = time.monotonic()
        while self._answered and self._answered[0] <= now - self.rate_window:
            self._answered.popleft()
        if self.rate_limit is not None and len(self._answered) >= self.rate_limit:
            return True
        self._answered.append(now)
        return False

    def _token(self, ask: _Ask) -> _Answer:
        fields = _form(ask)
        client = (fields.get("client_id"), fields.get("client_secret"))
        granted = fields.get("grant_type") == "client_credentials"
        if not granted or client != (self.client_id, self.client_secret):
            return _json(401, {"error": "invalid_client"})
        token = {"access_token": self.issue_token(), "token_type": "Bearer"}
        lifetime = {} if self.token_ttl is None else {"expires_in": self.token_ttl}
        return _json(200, token | lifetime | {"realm": self.program_id, "scope": self.scope})

    def _api(self, ask: _Ask) -> _Answer:
        scheme, _, token = ask.headers.get("authorization", "").partition(" ")
        expires = self._tokens.get(token, datetime.min.replace(tzinfo=UTC))
        if scheme.lower() != "bearer" or (expires is not None and expires <= self.now()):
            return _json(401, {"error": "unauthorized"})
        if SCOPE not in self.scope.split():
            return _json(403, {"error": "forbidden"})
        stream, *ids = ask.arguments
        if stream not in _SINGULAR:
            return _json(400, {"error": "bad type_name"})
        files = [f for f in self.files if (f.stream, f.program_id) == (stream, self.program_id)]
        if ask.route == "list":
            return self._list(ask, files)
        files = [file for file in files if not file.gone]
        if ask.route == "show":
            files = [file for file in files if file.id == ids[0]][:1]
        else:
            newest = max((file.generated_at for file in files), default="")
            files = [file for file in files if file.generated_at == newest]
        if not files:
            return _json(404, {"error": "not_found"})
        return _json(200, {"data": [self._shown(file) for file in files]})

    def _list(self, ask: _Ask, files: list[EmulatedFile]) -> _Answer:
        meta: dict[str, Any] = {}
        if self.page_size is not None:
            page = int(ask.query.get("page", "1"))
            rest = files[(page - 1) * self.page_size :]
            files = rest[: self.page_size]
            if len(rest) > len(files):
                meta = {"meta": {"next": f"{self.url}{ask.path}?page={page + 1}"}}
        names = ("id", "file_name", "generated_at", "base_name")
        listed = [{name: getattr(file, name) for name in names} for file in files]
        return _json(200, {"data": {"files": listed}} | meta | self.list_extra)

    def _shown(self, file: EmulatedFile) -> dict[str, Any]:
        names = ("file_name", "size_bytes", "checksum_function", "checksum", "generated_at")
        url = {"presigned_url": self._sign(file), "presigned_url_ttl_seconds": self.url_ttl}
        return url | {name: getattr(file, name) for name in names}

    def _sign(self, file: EmulatedFile) -> str:
        date = f"{self.now().astimezone(UTC):{_AMZ_DATE}}"
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"EMULATED/{date[:8]}/us-east-1/s3/aws4_request",
            "X-Amz-Date": date,
            "X-Amz-Expires": str(self.url_ttl),
            "X-Amz-Security-Token": f"session/{self._session}",
            "X-Amz-SignedHeaders": "host",
            "x-amz-checksum-mode": "ENABLED",
            "x-id": "GetObject",
        }
        query["X-Amz-Signature"] = self._signature(file.key, query)
        return f"{self.url}/s3/{quote(file.key)}?{urlencode(query, quote_via=quote)}"

    def _signature(self, key: str, query: dict[str, str]) -> str:
        signed = ("X-Amz-Date", "X-Amz-Expires", "X-Amz-Security-Token")
        text = "\n".join((key, *(query.get(name, "") for name in signed)))
        return hmac.new(self._key, text.encode(), "sha256").hexdigest()

    def _refusal(self, key: str, ask: _Ask) -> _Answer | None:
        """Answer as S3 does to a request that its presigned URL does not carry."""
        if "authorization" in ask.headers:
            return _s3_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        signature = self._signature(key, ask.query)
        if not hmac.compare_digest(signature, ask.query.get("X-Amz-Signature", "")):
            return _s3_error(403, "SignatureDoesNotMatch", "The signature does not match")
        signed_at = datetime.strptime(ask.query["X-Amz-Date"], _AMZ_DATE).replace(tzinfo=UTC)
        ttl = timedelta(seconds=int(ask.query["X-Amz-Expires"]))
        session = f"session/{self._session}"
        if self.now() >= signed_at + ttl or ask.query["X-Amz-Security-Token"] != session:
            return _s3_error(403, "AccessDenied", "Request has expired")
        return None

    def _download(self, ask: _Ask) -> _Answer:
        key = ask.arguments[0]
        refusal = self._refusal(key, ask)
        if refusal is not None:
            return refusal
        file = next((file for file in self.files if file.key == key and not file.gone), None)
        if file is None:
            return _s3_error(404, "NoSuchKey", "The specified key does not exist.")
        body = file.body
        etag = ask.fault.etag or f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        headers = {"Accept-Ranges": "bytes", "Content-Type": "text/csv", "ETag": etag}
        if ask.headers.get("if-match", etag) not in {etag, "*"}:
            return _s3_error(412, "PreconditionFailed", "The file is another one")
        span = _span(ask.headers.get("range", ""))
        if ask.headers.get("if-range", etag) != etag or ask.fault.ignore_range:
            span = None
        first, last = span or (0, None)
        if span and first >= len(body):
            error = _s3_error(416, "InvalidRange", "The requested range is not satisfiable")
            error.headers["Content-Range"] = f"bytes */{len(body)}"
            return error
        last = len(body) - 1 if last is None else min(last, len(body) - 1)
        if span:
            headers["Content-Range"] = (
                ask.fault.content_range or f"bytes {first}-{last}/{len(body)}"
            )
        elif file.checksum_function == "CRC64NVME":
            headers["x-amz-checksum-crc64nvme"] = _checksum(body)
        sent, corrupt_at = body[first : last + 1], ask.fault.corrupt_at
        if corrupt_at is not None and first <= corrupt_at <= last:
            at = corrupt_at - first
            sent = sent[:at] + bytes([sent[at] ^ 1]) + sent[at + 1 :]
        return _Answer(206 if span else 200, sent, headers)

    def _control(self, ask: _Ask) -> _Answer:
        if ask.arguments == ("generations",):
            rows = self.add_generation()
            return _json(200, {"generated_at": f"{self._generations[-1]:{_HOUR}}", "rows": rows})
        counts = Counter(request.route for request in self.requests)
        del counts["control"]
        if ask.method == "DELETE":
            self.forget()
        return _json(200, counts)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", emulator.port), _Handler)

    def server_bind(self) -> None:
        # As HTTPServer does, but without asking DNS for the host's name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def hang_up(self) -> None:
        for connection in self.connections.copy():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client may leave when it likes; anything else is a fault of the emulator's own.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        """Log nothing: whoever wants to know looks at ``Emulator.requests``."""

    def do_GET(self) -> None:
        emulator = self.server.emulator
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        answer, fault = emulator._reply(self.command, self.path, headers, body)  # noqa: SLF001
        if fault.drop_after is None:
            emulator._stopped.wait(fault.stall)  # noqa: SLF001  # a sleep that stop() ends
        if fault.drop_after is None or fault.drop_after >= 0:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
        if fault.drop_after is None:
            self.wfile.write(answer.body)
            return
        self.wfile.write(answer.body[: max(0, fault.drop_after)])
        emulator._stopped.wait(fault.stall)  # noqa: SLF001
        self.close_connection = True

    do_POST = do_DELETE = do_GET  # noqa: N815  # names the base class looks for


def _route(method: str, path: str) -> tuple[str, tuple[str, ...]]:
    """Give a request's route and the decoded variable parts of its path."""
    for route, methods, pattern in _ROUTES:
        found = re.fullmatch(pattern, path)
        if found and method in methods.split("|"):
            return route, tuple(unquote(part) for part in found.groups())
    return "other", ()


def _form(ask: _Ask) -> dict[str, str]:
    """Read the fields of a form, urlencoded or multipart."""
    kind = ask.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return {name: values[0] for name, values in parse_qs(ask.body.decode()).items()}
    form = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + ask.body)
    return {
        str(part.get_param("name", header="content-disposition")): str(part.get_payload())
        for part in form.walk()
        if not part.is_multipart()
    }


def _span(text: str) -> tuple[int, int | None] | None:
    """Read a Range header: first and last byte; None where it asks for nothing we know."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", text)
    return found and (int(found[1]), int(found[2]) if found[2] else None)


def _checksum(body: bytes) -> str:
    return base64.b64encode(crc64nvme(body).to_bytes(8)).decode()


def _json(status: int, body: object) -> _Answer:
    return _Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _s3_error(status: int, code: str, message: str) -> _Answer:
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    declaration = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return _Answer(status, (declaration + error).encode(), {"Content-Type": "application/xml"})
