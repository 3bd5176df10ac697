"""The client calls Firstup's API as documented, and misinterprets no response."""

from __future__ import annotations

import json
import logging
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from filetap.checksum import Checksum
from filetap.errors import (
    AuthenticationError,
    ExpiredURLError,
    ExportError,
    FileGoneError,
    FormatError,
    RetriableTransportError,
    TransportError,
)
from tap_firstup_dde.api import REGIONS, Connection, FirstupTransport
from tap_firstup_dde.emulator import Emulator
from tests.runs import connect, run, settings, tune

if TYPE_CHECKING:
    from pathlib import Path

    from filetap.files import ExportFile

CSV = "user_id\n1\n"
STREAMS = ("campaigns", "users", "activities")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait only a moment between tries."""
    tune(monkeypatch, first_pause=0.0)


@pytest.fixture
def transport(emulator: Emulator) -> FirstupTransport:
    """A client of the emulator."""
    return connecting(emulator)


def connecting(emulator: Emulator, **settings: Any) -> FirstupTransport:
    """A client of the emulator with further settings."""
    return connect({**emulator.settings, **settings})


def fetched(transport: FirstupTransport, file: ExportFile) -> bytes:
    """A file's bytes as stored."""
    with transport.fetch(file) as body:
        return b"".join(body.chunks)


def headers_of(emulator: Emulator, route: str) -> list[dict[str, str]]:
    """The headers of a route's requests."""
    return [request.headers for request in emulator.requests if request.route == route]


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Make the client believe that it is later than it is."""
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + seconds)
    for module in ("filetap.transports.oauth", "tap_firstup_dde.api"):
        monkeypatch.setattr(f"{module}.time", clock)


def forms(emulator: Emulator) -> list[dict[str, list[str]]]:
    """The forms sent for a token."""
    return [parse_qs(r.body.decode()) for r in emulator.requests if r.route == "token"]


@pytest.mark.parametrize("region", [None, "us1", "us2", "eu"])
def test_regions(region: str | None) -> None:
    """A region selects both hosts; the default is us1; connecting requests nothing."""
    settings = {"region": region, "client_id": "i", "client_secret": "s"}
    api, auth = REGIONS[region or "us1"]
    assert connect(settings)._to == Connection(api, auth, "i", "s")


def test_urls_win() -> None:
    """URLs that are set override the region, with or without a slash at the end."""
    settings = {"region": "eu", "api_url": "https://a.example/", "auth_url": "https://b.example"}
    assert connect(settings)._to == Connection("https://a.example", "https://b.example")


def test_connection_shows_no_secret() -> None:
    """A connection can be printed without its secrets."""
    shown = repr(Connection("https://a", "https://b", "client", "secret", access_token="token"))  # noqa: S106 - no secret
    assert not [word for word in ("client", "secret", "token") if word in shown]


@pytest.mark.parametrize("stream", STREAMS)
def test_list(emulator: Emulator, transport: FirstupTransport, stream: str) -> None:
    """Every listed file of the stream has its id, name and generation."""
    added = [emulator.add(stream, "2026-05-14-16", CSV, file_name=f"{n}.csv") for n in "210"]
    emulator.add(next(s for s in STREAMS if s != stream), "2026-05-14-16", CSV)
    files = transport.list_files(stream)
    assert [(f.stream, f.id, f.file_name, f.generation) for f in files] == [
        (stream, file.id, file.file_name, "2026-05-14-16") for file in added
    ]
    (request,) = (r for r in emulator.requests if r.route == "list")
    assert request.path == f"/v2/data_exports/type/{stream}"
    assert request.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, '{"error": "not_found"}'),
        (404, "<html>"),
        (404, ""),
        (204, ""),
        (200, "{}"),
        (200, '{"data": {}}'),
        (200, '{"data": []}'),
        (200, '{"data": null}'),
        (200, '{"data": {"files": []}}'),
        (200, '{"data": {"files": null}, "meta": {"next": null, "total": 0, "has_more": false}}'),
    ],
)
def test_no_files(emulator: Emulator, transport: FirstupTransport, status: int, body: str) -> None:
    """An empty list is not an error, in every form that the API may give it."""
    emulator.fail("list", status=status, body=body)
    assert transport.list_files("users") == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>Sign in</html>",
        "[]",
        '{"error": "maintenance"}',
        '{"files": []}',
        '{"data": "none"}',
        '{"data": {"files": {"id": "1"}}}',
        '{"data": {"files": ["1"]}}',
        '{"data": {"files": [{"file_name": "000.csv", "generated_at": "2026-05-14-16"}]}}',
        '{"data": {"files": [{"id": null, "generated_at": "2026-05-14-16"}]}}',
        '{"data": {"files": [{"id": "", "generated_at": "2026-05-14-16"}]}}',
    ],
)
def test_odd_list(emulator: Emulator, transport: FirstupTransport, body: str) -> None:
    """A response that is not a list of files is an error, not an empty list."""
    emulator.fail("list", status=200, body=body, headers={"Content-Type": "application/json"})
    with pytest.raises(FormatError, match="the list of users files: "):
        transport.list_files("users")


@pytest.mark.parametrize("value", ["yesterday", "05-14-2026-16", "", None, 2026051416, ["2026"]])
def test_odd_generation(emulator: Emulator, transport: FirstupTransport, value: Any) -> None:
    """A generated_at that is not a time is an error that names the file and the value."""
    entry = {"id": "1", "file_name": "007.csv", "generated_at": value}
    emulator.fail("list", status=200, body=json.dumps({"data": {"files": [entry]}}))
    with pytest.raises(FormatError, match=r"users file 007\.csv: generated_at") as caught:
        transport.list_files("users")
    assert repr(value) in str(caught.value)


def test_unknown_fields(emulator: Emulator, transport: FirstupTransport) -> None:
    """Undocumented members are ignored."""
    entry = {"id": "1", "generated_at": "2026-05-14T16:00:00Z", "rows": 5, "next": "x", "total": 9}
    answer = {"data": {"files": [entry]}, "meta": {"request_id": "r"}, "links": {"self": "/x"}}
    emulator.fail("list", status=200, body=json.dumps(answer))
    (file,) = transport.list_files("users")
    assert (file.id, file.file_name, file.generation) == ("1", "", "2026-05-14T16:00:00Z")


def test_error_table_of_the_list(emulator: Emulator, transport: FirstupTransport) -> None:
    """An unknown type gets 400, which is a permanent error."""
    with pytest.raises(TransportError, match=r"unknown files: the API refused .* \(400\)"):
        transport.list_files("unknown")
    assert emulator.count("list") == 1


@pytest.mark.parametrize("route", ["list", "show"])
@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (400, TransportError, "400"),
        (401, AuthenticationError, "missing, invalid or expired"),
        (403, AuthenticationError, "data_exports.read"),
        (302, TransportError, "redirects to another host"),
        (409, TransportError, "answered 409"),
        (418, TransportError, "answered 418"),
    ],
)
def test_api_errors(  # noqa: PLR0917 - each is a column of the table
    emulator: Emulator,
    transport: FirstupTransport,
    route: str,
    status: int,
    kind: type[ExportError],
    words: str,
) -> None:
    """Every documented error of the API ends the run with what to try; none is retried."""
    emulator.add("users", "2026-05-14-16", CSV)
    (file,) = transport.list_files("users")
    emulator.forget()
    elsewhere = emulator.url.replace("127.0.0.1", "localhost")
    emulator.fail(route, status=status, times=None, headers={"Location": f"{elsewhere}/other"})
    with pytest.raises(kind, match=words) as caught:
        transport.list_files("users") if route == "list" else fetched(transport, file)
    assert type(caught.value) is kind
    assert caught.value.hint
    assert str(caught.value).startswith("the list of users" if route == "list" else f"{file}")
    assert emulator.count(route) == (2 if status == 401 else 1)
    assert emulator.count("other") == emulator.count("download") == 0


def test_missing_scope(emulator: Emulator, transport: FirstupTransport) -> None:
    """A token without the scope is an error that names the scope."""
    emulator.scope = "users.read"
    with pytest.raises(AuthenticationError, match=r"data_exports\.read"):
        transport.list_files("users")
    assert emulator.count("token") == 1


def test_one_new_token(emulator: Emulator, transport: FirstupTransport) -> None:
    """A token that is refused is replaced once, silently."""
    transport.list_files("users")
    emulator.expire_tokens()
    emulator.add("users", "2026-05-14-16", CSV)
    assert len(transport.list_files("users")) == 1
    assert (emulator.count("token"), emulator.count("list")) == (2, 3)


def test_only_one_new_token(emulator: Emulator, transport: FirstupTransport) -> None:
    """If the new token is refused as well, that is an error."""
    emulator.fail("list", status=401, times=None)
    with pytest.raises(AuthenticationError, match="401"):
        transport.list_files("users")
    assert (emulator.count("token"), emulator.count("list")) == (2, 2)


def test_token_is_kept(emulator: Emulator, transport: FirstupTransport) -> None:
    """One token serves all requests of its lifetime."""
    emulator.add("users", "2026-05-14-16", CSV)
    for stream in STREAMS:
        for file in transport.list_files(stream):
            fetched(transport, file)
    assert emulator.count("token") == 1


@pytest.mark.parametrize(("lifetime", "asked"), [(7200, 1), (90, 1), (0, 3), (-1, 3)])
def test_token_lifetime(
    emulator: Emulator, transport: FirstupTransport, lifetime: int, asked: int
) -> None:
    """A token is used for its stated lifetime, and then replaced."""
    answer = {"access_token": emulator.issue_token(), "expires_in": lifetime}
    emulator.fail("token", status=200, body=json.dumps(answer), times=None)
    for _ in range(3):
        transport.list_files("users")
    assert emulator.count("token") == asked


def test_token_without_lifetime(emulator: Emulator, transport: FirstupTransport) -> None:
    """A token without a stated lifetime is used for the documented one."""
    emulator.token_ttl = None
    for _ in range(3):
        transport.list_files("users")
    assert emulator.count("token") == 1


@pytest.mark.parametrize("expires_in", ["7200", "soon", None, "", [1]])
def test_odd_token_lifetime(emulator: Emulator, expires_in: Any) -> None:
    """A lifetime in another spelling is understood, or replaced by the documented one."""
    answer = {"access_token": emulator.issue_token(), "expires_in": expires_in}
    emulator.fail("token", status=200, body=json.dumps(answer))
    transport = connecting(emulator)
    for _ in range(3):
        transport.list_files("users")
    assert emulator.count("token") == 1


def test_token_ends_in_time(
    emulator: Emulator, transport: FirstupTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token is replaced before it expires, not after it was refused."""
    transport.list_files("users")
    later(monkeypatch, 7190)
    transport.list_files("users")
    assert emulator.count("token") == 2
    assert {r.status for r in emulator.requests} == {200}


@pytest.mark.parametrize("scope", ["", "data_exports.read", "a b"])
def test_token_request(emulator: Emulator, scope: str) -> None:
    """The token is requested with a form of the documented fields; scope only if it is set."""
    connecting(emulator, scope=scope).list_files("users")
    fields = {
        "grant_type": ["client_credentials"],
        "client_id": [emulator.client_id],
        "client_secret": [emulator.client_secret],
    }
    assert forms(emulator) == [fields | ({"scope": [scope]} if scope else {})]
    (headers,) = headers_of(emulator, "token")
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in headers


def test_credentials_with_odd_characters(emulator: Emulator) -> None:
    """Secrets arrive unchanged, whatever characters they have."""
    emulator.client_secret = "a&b=c%20+é "  # noqa: S105 - no secret
    assert connecting(emulator).list_files("users") == []


@pytest.mark.parametrize("wrong", [{"client_id": "x"}, {"client_secret": "x"}])
def test_wrong_credentials(emulator: Emulator, wrong: dict[str, str]) -> None:
    """Wrong credentials are an error that names the settings but no secret."""
    transport = connecting(emulator, **wrong)
    with pytest.raises(AuthenticationError, match="client_id, client_secret") as caught:
        transport.list_files("users")
    assert emulator.client_secret not in str(caught.value)
    assert (emulator.count("token"), emulator.count("list")) == (1, 0)


@pytest.mark.parametrize("status", [302, 400, 403, 404])
def test_token_errors(emulator: Emulator, transport: FirstupTransport, status: int) -> None:
    """Any other response of the authorisation server is an error; no redirect is followed."""
    emulator.fail("token", status=status, headers={"Location": f"{emulator.url}/other"})
    with pytest.raises(AuthenticationError, match=f"127.0.0.1 answered {status}; check client_id"):
        transport.list_files("users")
    assert emulator.count("other") == emulator.count("list") == 0


@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", "{}", '{"access_token": ""}', '{"access_token": 5}']
)
def test_no_token_in_the_answer(emulator: Emulator, transport: FirstupTransport, body: str) -> None:
    """A response without a token is an error."""
    emulator.fail("token", status=200, body=body)
    with pytest.raises(FormatError, match="the access token: the response"):
        transport.list_files("users")


def test_ready_token(emulator: Emulator) -> None:
    """A ready-made token is used unchanged, and no other is requested."""
    token = emulator.issue_token()
    connecting(emulator, access_token=token).list_files("users")
    assert headers_of(emulator, "list")[0]["authorization"] == f"Bearer {token}"
    assert emulator.count("token") == 0


def test_ready_token_is_never_renewed(emulator: Emulator) -> None:
    """A ready-made token that is refused is an error, even if there are credentials."""
    transport = connecting(emulator, access_token="lapsed")  # noqa: S106 - no secret
    with pytest.raises(AuthenticationError, match="use a new access_token"):
        transport.list_files("users")
    assert (emulator.count("token"), emulator.count("list")) == (0, 1)


@pytest.mark.parametrize(
    "file_id", ["a/b", "a+b", "50%", "%2F", "a?b=c", "a=b==", "a b", "é", "../x", "#"]
)
def test_ids(emulator: Emulator, transport: FirstupTransport, file_id: str) -> None:
    """Ids are opaque: every character of one is percent-encoded into one path segment."""
    added = emulator.add("users", "2026-05-14-16", CSV, file_id=file_id)
    (file,) = transport.list_files("users")
    assert file.id == file_id
    assert fetched(transport, file) == added.body
    (request,) = (r for r in emulator.requests if r.route == "show")
    segment = request.path.removeprefix("/v2/data_exports/type/users/files/")
    assert not set(segment) & set("/+?= #")


@pytest.mark.parametrize(("size", "pages"), [(1, 5), (2, 3), (5, 1)])
def test_pages(emulator: Emulator, transport: FirstupTransport, size: int, pages: int) -> None:
    """All linked pages are read, in order."""
    added = [emulator.add("users", f"2026-05-14-{n:02}", CSV).id for n in range(5)]
    emulator.page_size = size
    assert [file.id for file in transport.list_files("users")] == added
    assert emulator.count("list") == pages


def page(*ids: str, **more: Any) -> str:
    """A response of the list endpoint."""
    files = [{"id": i, "file_name": "0.csv", "generated_at": "2026-05-14-16"} for i in ids]
    return json.dumps({"data": {"files": files}} | more)


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ({}, {"meta": {"next": "{path}?page=2"}}),
        ({}, {"meta": {"next": "?page=2"}}),
        ({}, {"meta": {"pagination": {"next_url": "{url}{path}?page=2"}}}),
        ({}, {"links": {"next": {"href": "{url}{path}?page=2"}}}),
        ({}, {"next-page": "{path}?page=2", "has_more": True}),
        ({"Link": '<{url}{path}?page=2>; rel="next"'}, {}),
        ({"Link": '<{path}?page=2>; rel="next", </x>; rel="prev"'}, {}),
    ],
)
def test_links(
    emulator: Emulator, transport: FirstupTransport, headers: dict[str, str], more: dict[str, Any]
) -> None:
    """A link to the next page is followed wherever the response has it."""

    def filled(text: str) -> str:
        path = "/v2/data_exports/type/users"
        return text.replace("{url}", emulator.url).replace("{path}", path)

    links = {name: filled(value) for name, value in headers.items()}
    emulator.fail("list", status=200, body=filled(page("a", **more)), headers=links)
    emulator.fail("list", status=200, body=page("b"))
    assert [file.id for file in transport.list_files("users")] == ["a", "b"]
    assert len({h["authorization"] for h in headers_of(emulator, "list")}) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"has_more": True}, "more pages"),
        ({"meta": {"has_more": True}}, "more pages"),
        ({"meta": {"hasMore": True}}, "more pages"),
        ({"meta": {"total_pages": 2}}, "more pages"),
        ({"meta": {"page": 1, "total-pages": 3}}, "more pages"),
        ({"meta": {"total": 3}}, "more pages"),
        ({"meta": {"total_count": 3}}, "more pages"),
        ({"meta": {"next_cursor": "abc"}}, "more pages"),
        ({"meta": {"next": 2}}, "more pages"),
        ({"meta": {"next": "https://elsewhere.example/v2?page=2"}}, "another host"),
        ({"meta": {"next": "//elsewhere.example/v2?page=2"}}, "another host"),
        ({"meta": {"next": "http://[/v2?page=2"}}, "page"),
        ({"meta": {"next": "/v2/data_exports/type/users"}}, "circle"),
    ],
)
def test_unknown_pages(
    emulator: Emulator, transport: FirstupTransport, more: dict[str, Any], words: str
) -> None:
    """A list that may be incomplete is an error: it would lose files."""
    emulator.fail("list", status=200, body=page("a", "b", **more), times=None)
    with pytest.raises(TransportError, match=f"the list of users files: .*{words}"):
        transport.list_files("users")


@pytest.mark.parametrize(
    "meta",
    [
        {"total": 2, "total_pages": 1, "page": 1, "per_page": 100, "has_more": False},
        {"next": None, "prev": "/x", "total_count": 2},
        {"next": ""},
        {"total": "many"},
    ],
)
def test_last_page(emulator: Emulator, transport: FirstupTransport, meta: dict[str, Any]) -> None:
    """A statement that there are no more pages is not treated as one that there are."""
    emulator.fail("list", status=200, body=page("a", "b", meta=meta))
    assert [file.id for file in transport.list_files("users")] == ["a", "b"]


def test_circle_of_pages(emulator: Emulator, transport: FirstupTransport) -> None:
    """Pages that link to each other in a circle are an error, not an endless run."""
    for number in (2, 3, 2):
        more = {"next": f"{emulator.url}/v2/data_exports/type/users?page={number}"}
        emulator.fail("list", status=200, body=page("a", meta=more))
    with pytest.raises(TransportError, match="circle"):
        transport.list_files("users")
    assert emulator.count("list") == 3


def test_fetch(emulator: Emulator, transport: FirstupTransport) -> None:
    """A file is fetched as stored, with the promised length and checksum."""
    added = emulator.add("users", "2026-05-14-16", CSV)
    (file,) = transport.list_files("users")
    with transport.fetch(file) as body:
        assert b"".join(body.chunks) == added.body
        assert (body.offset, body.size) == (0, len(added.body))
        assert body.checksum == Checksum("CRC64NVME", added.checksum)


def test_no_authorization_to_storage(
    emulator: Emulator,
    transport: FirstupTransport,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The token goes to the API only; a .netrc is used for neither."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login zoe password netrc-secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    added = emulator.add("users", "2026-05-14-16", CSV)
    (file,) = transport.list_files("users")
    assert fetched(transport, file) == added.body
    (token,) = {h["authorization"] for r in ("list", "show") for h in headers_of(emulator, r)}
    assert token.startswith("Bearer ")
    for route in ("token", "download"):
        (headers,) = headers_of(emulator, route)
        assert "authorization" not in headers


def test_download_redirect(emulator: Emulator, transport: FirstupTransport) -> None:
    """A download may redirect to another host, without the token, if it stays encrypted."""
    emulator.add("users", "2026-05-14-16", CSV)
    (file,) = transport.list_files("users")
    for target in ("http://198.51.100.7/file", "ftp://127.0.0.1/file"):
        emulator.fail("download", status=307, headers={"Location": target})
        with pytest.raises(TransportError, match="answered 307 to a download"):
            fetched(transport, file)
    with transport.fetch(file):
        pass  # for a presigned URL
    ((signed, _),) = transport._signed.values()
    emulator.fail("download", status=307, headers={"Location": signed.url})
    assert fetched(transport, file) == emulator.files[0].body
    assert all("authorization" not in headers for headers in headers_of(emulator, "download"))


def test_redirect_in_a_circle(emulator: Emulator, transport: FirstupTransport) -> None:
    """Redirects are not followed forever."""
    path = "/v2/data_exports/type/users"
    for n in range(9):
        emulator.fail("list", status=302, headers={"Location": f"{emulator.url}{path}?{n}"})
    with pytest.raises(TransportError, match="redirects in a circle"):
        transport.list_files("users")
    assert emulator.count("list") == 5


def test_redirect_of_the_api(emulator: Emulator, transport: FirstupTransport) -> None:
    """The API may redirect to a path on its own host; no other host gets the token."""
    emulator.add("users", "2026-05-14-16", CSV)
    path = "/v2/data_exports/type/users"
    emulator.fail("list", status=301, headers={"Location": f"{path}?page=1"})
    assert len(transport.list_files("users")) == 1
    with Emulator() as other:
        emulator.fail("list", status=301, headers={"Location": f"{other.url}{path}"})
        with pytest.raises(TransportError, match=r"another host \(301\), where the token"):
            transport.list_files("users")
        assert other.requests == []


def test_url_is_asked_for_anew(emulator: Emulator, transport: FirstupTransport) -> None:
    """Each file's URL is requested just before use; resuming the file reuses it."""
    for hour in ("16", "20"):
        emulator.add("users", f"2026-05-14-{hour}", CSV)
    one, two = transport.list_files("users")
    assert emulator.count("show") == 0
    for file, offset, shows in ((one, 0, 1), (one, 5, 1), (two, 0, 2), (one, 5, 2), (one, 0, 3)):
        with transport.fetch(file, offset) as body:
            assert body.offset == offset
            list(body.chunks)
        assert emulator.count("show") == shows


@pytest.mark.parametrize(("seconds", "shows"), [(0, 1), (700, 1), (890, 2), (5000, 2)])
def test_url_lifetime(
    emulator: Emulator,
    transport: FirstupTransport,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    shows: int,
) -> None:
    """A URL is not used after it has expired."""
    emulator.add("users", "2026-05-14-16", CSV)
    (file,) = transport.list_files("users")
    fetched(transport, file)
    later(monkeypatch, seconds)
    with transport.fetch(file, 5) as body:
        list(body.chunks)
    assert emulator.count("show") == shows


def test_expired_url(emulator: Emulator, transport: FirstupTransport) -> None:
    """After a URL was refused, a new one is requested."""
    added = emulator.add("users", "2026-05-14-16", CSV)
    (file,) = transport.list_files("users")
    fetched(transport, file)
    emulator.expire_urls()
    with pytest.raises(ExpiredURLError), transport.fetch(file, 5):
        pass
    with transport.fetch(file, 5) as body:
        assert b"".join(body.chunks) == added.body[5:]
    assert emulator.count("show") == 2


@pytest.mark.parametrize("how", ["gone", "removed", "storage"])
def test_expired_file(emulator: Emulator, transport: FirstupTransport, how: str) -> None:
    """A file that expired after it was listed is an error that says what to do."""
    added = emulator.add("users", "2026-05-14-16", CSV)
    (file,) = transport.list_files("users")
    if how == "gone":
        added.gone = True
    elif how == "removed":
        emulator.remove(added)
    else:
        emulator.fail("download", status=404)
    with pytest.raises(
        FileGoneError, match=r"expired between list and download; .*seven days"
    ) as e:
        fetched(transport, file)
    assert str(e.value).startswith(f"users 2026-05-14-16/000.csv/{file.key}: ")
    assert emulator.count("show") == 1


URL = "https://storage.example/x"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "does not describe one file"),
        (None, "does not describe one file"),
        (["x"], "does not describe one file"),
        ([{"presigned_url": URL}, {"presigned_url": URL}], "does not describe one file"),
        ([{}], "no presigned_url"),
        ([{"presigned_url": ""}], "no presigned_url"),
        ([{"presigned_url": 5}], "no presigned_url"),
    ],
)
def test_odd_file_answer(
    emulator: Emulator, transport: FirstupTransport, data: Any, words: str
) -> None:
    """A response that does not state the URL of one file is an error."""
    emulator.add("users", "2026-05-14-16", CSV)
    (file,) = transport.list_files("users")
    emulator.fail("show", status=200, body=json.dumps({"data": data}))
    with pytest.raises(FormatError, match=words):
        fetched(transport, file)


def test_several_shown(emulator: Emulator, transport: FirstupTransport) -> None:
    """Of several files in a response, the one with the right id is used."""
    added = emulator.add("users", "2026-05-14-16", CSV)
    (file,) = transport.list_files("users")
    other = {"id": "x", "presigned_url": f"{emulator.url}/other"}
    right = {"id": file.id, "presigned_url": emulator.presigned_url(added)}
    emulator.fail("show", status=200, body=json.dumps({"data": [other, right]}))
    assert fetched(transport, file) == added.body


@pytest.mark.parametrize(
    "url",
    [
        "http://storage.example/x?X-Amz-Signature=secret",
        "ftp://storage.example/x?secret",
        "//storage.example/x?secret",
        "http://[/x?secret",
    ],
)
def test_insecure_url(emulator: Emulator, transport: FirstupTransport, url: str) -> None:
    """A URL that is not https is refused, unless it never leaves the machine."""
    emulator.add("users", "2026-05-14-16", CSV)
    (file,) = transport.list_files("users")
    emulator.fail("show", status=200, body=json.dumps({"data": [{"presigned_url": url}]}))
    with pytest.raises(TransportError, match="the download URL is not https") as caught:
        fetched(transport, file)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("size", [-1, 3.5, "ten", True])
def test_impossible_size(
    emulator: Emulator, transport: FirstupTransport, caplog: pytest.LogCaptureFixture, size: object
) -> None:
    """A size that no file can have is not checked, and a warning names the file."""
    added = emulator.add("users", "2026-05-14-16", CSV)
    added.size_bytes = size  # type: ignore[assignment]
    (file,) = transport.list_files("users")
    assert fetched(transport, file) == added.body
    assert f"{file}: size_bytes is {size}, so the size is not checked" in caplog.text


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("route", ["token", "list", "show"])
def test_retries(emulator: Emulator, status: int, route: str) -> None:
    """Transient errors are retried up to the set number of times, and then leave no trace."""
    added = emulator.add("users", "2026-05-14-16", CSV)
    transport = connecting(emulator, max_retries=3)
    emulator.fail(route, status=status, times=3)
    (file,) = transport.list_files("users")
    assert fetched(transport, file) == added.body
    assert emulator.count(route) == 4


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop_after": -1}, {"stall": 20}], ids=str)
@pytest.mark.parametrize("route", ["token", "list"])
def test_retries_end(emulator: Emulator, route: str, fault: dict[str, Any]) -> None:
    """A permanent fault ends the run after the retries."""
    transport = connecting(emulator, max_retries=2, request_timeout=0.2)
    emulator.fail(route, times=None, **fault)
    with pytest.raises(RetriableTransportError, match=r"127\.0\.0\.1"):
        transport.list_files("users")
    assert emulator.count(route) == 3


@pytest.mark.parametrize("route", ["show", "download"])
def test_one_budget(emulator: Emulator, route: str) -> None:
    """A link, and the bytes behind it, are asked for max_retries times more, not their product."""
    emulator.add("users", "2026-05-14-16", CSV)
    emulator.fail(route, status=503, times=None)
    with pytest.raises(RetriableTransportError, match="answered 503"):
        run(settings(emulator, max_retries=2))
    assert emulator.count(route) == 3


def test_retry_after(
    emulator: Emulator, transport: FirstupTransport, caplog: pytest.LogCaptureFixture
) -> None:
    """The API's Retry-After is obeyed; a wait too long ends the run at once."""
    emulator.fail("list", status=429, headers={"Retry-After": "0"})
    assert transport.list_files("users") == []
    assert "answered 429; trying again in 0.0 s (1 of 5)" in caplog.text
    emulator.fail("list", status=429, headers={"Retry-After": "86400"})
    with pytest.raises(TransportError, match=r"longer than 15 minutes \(86400 seconds\)"):
        transport.list_files("users")


def test_program_id(emulator: Emulator, transport: FirstupTransport) -> None:
    """The program is the one that the latest response names."""
    assert transport.account is None
    for program in ("23552", "777"):
        emulator.program_id = program
        transport.list_files("users")
        assert transport.account == program
    emulator.fail("list", status=404)
    transport.list_files("users")
    assert transport.account == "777"


def test_nothing_secret_is_logged(
    emulator: Emulator, transport: FirstupTransport, caplog: pytest.LogCaptureFixture
) -> None:
    """No log line at any level has the secret, the token or the query of a presigned URL."""
    caplog.set_level(logging.DEBUG)
    emulator.add("users", "2026-05-14-16", CSV)
    emulator.fail("token", status=503)
    emulator.fail("list", status=503)
    (file,) = transport.list_files("users")
    fetched(transport, file)
    emulator.fail("download", status=403)
    with pytest.raises(ExpiredURLError):
        fetched(transport, file)
    (token,) = {h["authorization"] for h in headers_of(emulator, "list")}
    secrets = (emulator.client_secret, token.removeprefix("Bearer "), "X-Amz-", "Signature")
    assert caplog.text
    assert not [secret for secret in secrets if secret in caplog.text]
