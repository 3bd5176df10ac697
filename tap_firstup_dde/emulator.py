"""An emulated Firstup on one local port: authorisation server, Data Exports API and storage.

A test or a demo may add files and change attributes at any time; the next request sees the change.
"""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from gzip import compress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from filetap.testing.faults import Fault
from filetap.testing.rate import Rate
from filetap.testing.server import UNKNOWN, LocalServer, Request, Route, json_response
from filetap.testing.storage import DOWNLOAD, Storage, StoredFile, crc64nvme
from filetap.testing.tokens import Tokens
from tap_firstup_dde import sample_data

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from filetap.testing.server import Call, Response

__all__ = ["EmulatedFile", "Emulator", "Fault", "Request"]

SCOPE: Final = "data_exports.read"
_SINGULAR: Final = {"campaigns": "campaign", "users": "user", "activities": "activity"}
_HOUR: Final = "%Y-%m-%d-%H"
_API: Final = "/v2/data_exports/type/([^/]+)"
_ROUTES: Final = (
    Route("token", "POST", "/oauth/token"),
    Route("list", "GET", _API),
    Route("latest", "GET", f"{_API}/latest"),
    Route("show", "GET", f"{_API}/files/([^/]+)"),
    DOWNLOAD,
    Route("control", "POST", "/emulator/(generations)"),
    Route("control", "GET", "/emulator/(requests)"),
    Route("control", "DELETE", "/emulator/(requests)"),
)


@dataclass(kw_only=True, eq=False)
class EmulatedFile(StoredFile):
    """An export file the emulator serves. Mutable: changes show in the next response.

    Attributes:
        stream: ``campaigns``, ``users`` or ``activities``.
        id: Opaque id in the API.
        file_name: Name in the API, the same in every generation.
        generated_at: Text in the API, ``YYYY-MM-DD-HH``.
        base_name: Base name in the list.
        program_id: Program the file belongs to; other programs do not see it.
        size_bytes: Size that the API states.
        checksum: Checksum that the API states: base64 of 8 bytes, big-endian.
        checksum_function: Algorithm that the API states; see `StoredFile` as well.
        gone: True if the file is listed only: the file endpoint and the storage answer 404.
    """

    stream: str
    id: str
    file_name: str
    generated_at: str
    base_name: str
    program_id: str
    size_bytes: int
    checksum: str
    content_type: str = "text/csv"


@dataclass(kw_only=True, eq=False)
class Emulator(LocalServer):
    """An emulated Firstup; serves between ``start()`` and ``stop()``, or as a context manager.

    Routes are ``token``, ``list``, ``latest``, ``show``, ``download`` and ``control``; any other
    request is ``other``.

    Attributes:
        client_id: The only client.
        client_secret: Its secret.
        program_id: Its program; files added under another one are not visible.
        scope: Scopes of its tokens, separated by blanks.
        token_ttl: Seconds until a token expires; None for never, and then the response has no
            ``expires_in``.
        url_ttl: Seconds until a presigned URL expires.
        page_size: Files in one response of the list endpoint; None for all.
        list_extra: Further members of the list endpoint's response.
        rate_limit: Requests to the API that are accepted in `rate_window` seconds, others get 429;
            None for all. Firstup documents 1,000 per minute and program.
        rate_window: Seconds.
        seed: Seed of the sample data.
        first_generation: Time of the first generation of sample data.
        rows: Rows of one sample activities file.
        parts: Files per stream in one sample generation.
        deliver: Folder that sample data are written to as well, as Firstup delivers them to an
            SFTP server.
        up_to_now: True to date a generation of sample data that has no time of its own no later
            than now.
        files: The files, in the order they are listed.
    """

    ROUTES: ClassVar[tuple[Route, ...]] = _ROUTES

    client_id: str = "demo-client"
    client_secret: str = "demo-secret"  # noqa: S105  # plainly no secret
    program_id: str = "23552"
    scope: str = SCOPE
    token_ttl: int | None = 7200
    url_ttl: int = 900
    page_size: int | None = None
    list_extra: dict[str, Any] = field(default_factory=dict)
    rate_limit: int | None = None
    rate_window: float = 60.0
    seed: int = 0
    first_generation: datetime = datetime(2026, 5, 14, 16, tzinfo=UTC)
    rows: int = 200
    parts: int = 2
    deliver: Path | None = None
    up_to_now: bool = False
    files: list[EmulatedFile] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Set up the state that is not among the fields."""
        super().__post_init__()
        self._tokens = Tokens()
        self._storage = Storage()
        self._serial = 0  # of the files added so far
        self._generations: list[datetime] = []  # of sample data
        self._rate = Rate()

    @property
    def settings(self) -> dict[str, str]:
        """Settings with which a client reaches the emulator."""
        return {
            "api_url": self.url,
            "auth_url": self.url,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }

    def add(  # noqa: PLR0913  # each is something that a test needs to choose
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
            gzip: False to store the content without compressing it.
            checksum_function: Algorithm that the API states.
            listed_generated_at: Stated by the API instead of ``generated_at``.

        Returns:
            The file, which may be changed while it is served.

        Raises:
            ValueError: The stream already has a file of that id.
        """
        body = content.encode() if isinstance(content, str) else content
        body = compress(body, 6, mtime=0) if gzip else body
        folder = _folder(stream, self.program_id, generated_at)
        with self.lock:
            self._serial += 1
            named = f"{folder}/{file_name}"
            file = EmulatedFile(
                stream=stream,
                id=file_id or base64.b64encode(named.encode()).decode(),
                file_name=file_name,
                generated_at=listed_generated_at or generated_at,
                base_name=f"unload_{_SINGULAR[stream]}_data",
                program_id=self.program_id,
                key=f"{folder}/{self._serial}/{file_name}" if file_id else named,
                body=body,
                size_bytes=len(body),
                checksum=crc64nvme(body),
                checksum_function=checksum_function,
            )
            if any((file.stream, file.id) == (other.stream, other.id) for other in self.files):
                message = f"{stream} already has a file {file_name} of {generated_at}"
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
        with self.lock:
            if generated_at is not None:
                when = datetime.strptime(generated_at, _HOUR).replace(tzinfo=UTC)
            elif self._generations:
                when = _next(self._generations, self.now() if self.up_to_now else None)
            else:
                when = self.first_generation
            sample = sample_data.generation(
                self.seed, len(self._generations), when, rows, parts=parts
            )
            for stream, texts in sample.items():
                for part, text in enumerate(texts):
                    self.add(stream, f"{when:{_HOUR}}", text, file_name=f"{part:03}.csv")
                if self.deliver is not None:
                    _deliver(self.deliver, self.program_id, stream, when, texts)
            self._generations.append(when)
        return {stream: size * parts for stream, size in sample_data.sizes(rows).items()}

    def remove(self, file: EmulatedFile) -> None:
        """Remove a file from the list and from storage."""
        with self.lock:
            self.files.remove(file)

    def issue_token(self) -> str:
        """Issue a token as the authorisation server does."""
        with self.lock:
            return self._tokens.issue(self.now(), self.token_ttl)

    def expire_tokens(self) -> None:
        """Expire every token issued so far."""
        with self.lock:
            self._tokens.expire()

    def presigned_url(self, file: EmulatedFile) -> str:
        """A new URL from which a file can be downloaded."""
        return self._storage.sign(self.url, file.key, self.now(), self.url_ttl)

    def expire_urls(self) -> None:
        """Expire every presigned URL issued so far."""
        with self.lock:
            self._storage.expire_urls()

    def respond(self, call: Call) -> Response:
        """Answer a request as Firstup does."""
        if call.route == "token":
            return self._token(call)
        if call.route == "download":
            return self._storage.respond(call, self.files, self.now())
        if call.route == "control":
            return self._control(call)
        if call.route == UNKNOWN:
            return json_response(404, {"error": "not_found"})
        admitted = self._rate.admits(self.rate_limit, self.rate_window)
        busy = json_response(429, {"error": "too_many_requests"})
        response = self._api(call) if admitted else busy
        response.headers.update({"X-Program-Id": self.program_id, "X-User-Id": "4100000"})
        return response

    def _token(self, call: Call) -> Response:
        client = (self.client_id, self.client_secret)
        more = {"realm": self.program_id, "scope": self.scope}
        return self._tokens.respond(call, client, self.now(), self.token_ttl, **more)

    def _api(self, call: Call) -> Response:
        if not self._tokens.accept(call.headers.get("authorization", ""), self.now()):
            return json_response(401, {"error": "unauthorized"})
        if SCOPE not in self.scope.split():
            return json_response(403, {"error": "forbidden"})
        stream = call.arguments[0]
        if stream not in _SINGULAR:
            return json_response(400, {"error": "bad type_name"})
        files = [f for f in self.files if (f.stream, f.program_id) == (stream, self.program_id)]
        if call.route == "list":
            return self._list(call, files)
        files = _requested(call, [file for file in files if not file.gone])
        if not files:
            return json_response(404, {"error": "not_found"})
        return json_response(200, {"data": [self._described(file) for file in files]})

    def _list(self, call: Call, files: list[EmulatedFile]) -> Response:
        meta: dict[str, Any] = {}
        if self.page_size is not None:
            page = int(call.query.get("page", "1"))
            rest = files[(page - 1) * self.page_size :]
            files = rest[: self.page_size]
            if len(rest) > len(files):
                meta = {"meta": {"next": f"{self.url}{call.path}?page={page + 1}"}}
        listed = [_members(f, "id", "file_name", "generated_at", "base_name") for f in files]
        return json_response(200, {"data": {"files": listed}} | meta | self.list_extra)

    def _described(self, file: EmulatedFile) -> dict[str, Any]:
        described = _members(
            file, "file_name", "size_bytes", "checksum_function", "checksum", "generated_at"
        )
        url, seconds = self.presigned_url(file), self.url_ttl
        return {"presigned_url": url, "presigned_url_ttl_seconds": seconds} | described

    def _control(self, call: Call) -> Response:
        """Let a program add sample data, and count or clear requests."""
        if call.arguments == ("generations",):
            rows = self.add_generation()
            newest = f"{self._generations[-1]:{_HOUR}}"
            return json_response(200, {"generated_at": newest, "rows": rows})
        counts = Counter(request.route for request in self.requests)
        del counts["control"]
        if call.method == "DELETE":
            self.forget()
        return json_response(200, counts)


def _requested(call: Call, files: list[EmulatedFile]) -> list[EmulatedFile]:
    """The files that the file endpoint, or that of the latest generation, describes."""
    if call.route == "show":
        return [file for file in files if file.id == call.arguments[1]][:1]
    newest = max((file.generated_at for file in files), default="")
    return [file for file in files if file.generated_at == newest]


def _members(file: EmulatedFile, *names: str) -> dict[str, Any]:
    """Attributes of a file as members of a JSON object."""
    return {name: getattr(file, name) for name in names}


def _folder(stream: str, program_id: str, generated_at: str) -> str:
    """The folder of a generation in storage, as Firstup names it."""
    kind = _SINGULAR[stream]
    return (
        f"us-east-1-prod-sc/sftp_exports/unload_{kind}_data_v2/program_id={program_id}"
        f"/generated_at={generated_at}/activity_type={kind}"
    )


def _next(generations: Collection[datetime], latest: datetime | None) -> datetime:
    """The time of the generation after *generations*, none of them later than *latest*."""
    newest = max(generations)
    usual, hour = newest + sample_data.INTERVAL, timedelta(hours=1)
    if latest is None or usual <= latest:
        return usual
    if newest + hour <= latest:
        return newest + hour
    when = newest
    while when in generations:
        when -= hour
    return when


def _deliver(
    folder: Path, program_id: str, stream: str, when: datetime, texts: Sequence[str]
) -> None:
    """Write the parts of a generation as one file, under a documented name."""
    header, *_ = texts[0].splitlines(keepends=True)
    content = header + "".join(text.removeprefix(header) for text in texts)
    kind = f"{_SINGULAR[stream]}-incremental.gz"
    path = folder / f"{program_id}-{when:%m-%d-%Y-%H}-{kind}"
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(compress(content.encode(), 6, mtime=0))
    part.rename(path)
