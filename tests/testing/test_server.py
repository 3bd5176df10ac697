"""Any vendor's emulator is a few lines on top of the engine's server and storage."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import pytest
import requests

from filetap.testing.server import UNKNOWN, Call, LocalServer, Response, Route, json_response
from filetap.testing.storage import DOWNLOAD, Storage, StoredFile
from filetap.testing.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = ("id", "secret")
FORM = {"grant_type": "client_credentials", "client_id": "id", "client_secret": "secret"}
BODY = bytes(range(100))


class Bucket(LocalServer):
    """Storage on a port of its own, as behind the redirect of an API."""

    ROUTES: ClassVar[tuple[Route, ...]] = (DOWNLOAD,)

    def __post_init__(self) -> None:
        """Start without files."""
        super().__post_init__()
        self.storage = Storage()
        self.files: list[StoredFile] = []

    def respond(self, call: Call) -> Response:
        """Respond as the storage does."""
        return self.storage.respond(call, self.files, self.now())


class Jobs(LocalServer):
    """An API that makes a file on request, and redirects a download to a bucket."""

    ROUTES: ClassVar[tuple[Route, ...]] = (
        Route("token", "POST", "/token"),
        Route("job", "POST", "/exports/([^/]+)"),
        Route("download", "GET", "/exports/([^/]+)/download"),
    )

    def __post_init__(self) -> None:
        """Start with a bucket that is not yet served."""
        super().__post_init__()
        self.bucket = Bucket()
        self.tokens = Tokens()

    def respond(self, call: Call) -> Response:
        """Answer a request."""
        if call.route == UNKNOWN:
            return json_response(404, {})
        if call.route == "token":
            return self.tokens.respond(call, CLIENT, self.now(), None, realm="7")
        if not self.tokens.accept(call.headers.get("authorization", ""), self.now()):
            return json_response(401, {})
        if call.route == "job":
            self.bucket.files.append(StoredFile(key=call.arguments[0], body=BODY))
            return json_response(201, {"from": call.query.get("from")})
        url = self.bucket.storage.sign(self.bucket.url, call.arguments[0], self.now(), 60)
        return Response(302, b"", {"Location": url})


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    """Serve the API and its bucket."""
    server = Jobs()
    with server, server.bucket:
        yield server


@pytest.fixture
def session(jobs: Jobs) -> Iterator[requests.Session]:
    """A session that sends a token."""
    with requests.Session() as opened:
        token = opened.post(f"{jobs.url}/token", data=FORM).json()
        assert token["realm"] == "7"
        opened.headers["Authorization"] = f"Bearer {token['access_token']}"
        yield opened


def test_job_and_redirect(jobs: Jobs, session: requests.Session) -> None:
    """A job's file is downloaded from another origin, where no token may be sent."""
    job = session.post(f"{jobs.url}/exports/a%2Fb?from=2026&from=2027")
    assert (job.status_code, job.json()) == (201, {"from": "2026"})
    redirect = session.get(f"{jobs.url}/exports/a%2Fb/download", allow_redirects=False)
    url = redirect.headers["Location"]
    assert url.startswith(f"{jobs.bucket.url}/")
    assert session.get(url).status_code == 400
    answer = requests.get(url, headers={"Range": "bytes=90-"}, timeout=10)
    assert (answer.status_code, answer.content) == (206, BODY[90:])
    assert answer.headers["Content-Type"] == "binary/octet-stream"
    assert [request.route for request in jobs.requests] == ["token", "job", "download"]
    assert [request.status for request in jobs.bucket.requests] == [400, 206]


def test_redirect_expires(jobs: Jobs, session: requests.Session) -> None:
    """The bucket has a clock, a file list and faults of its own."""
    session.post(f"{jobs.url}/exports/a")
    download = f"{jobs.url}/exports/a/download"
    url = session.get(download, allow_redirects=False).headers["Location"]
    jobs.bucket.fail("download", status=503)
    statuses = [requests.get(url, timeout=10).status_code for _ in range(2)]
    jobs.bucket.now = lambda: datetime(2099, 1, 1, tzinfo=UTC)
    assert [*statuses, requests.get(url, timeout=10).status_code] == [503, 200, 403]
    assert session.get(download, allow_redirects=False).status_code == 302


def test_method_is_part_of_a_route(jobs: Jobs, session: requests.Session) -> None:
    """A known path with another method is a request of no route."""
    assert session.delete(f"{jobs.url}/exports/a").status_code == 404
    assert jobs.count(UNKNOWN) == 1
