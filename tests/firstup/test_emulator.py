"""The emulator follows Firstup's documentation, and the sample data keep their promises."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import re
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests

from tap_firstup_dde import sample_data
from tap_firstup_dde.emulator import EmulatedFile, Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOON = datetime(2026, 5, 14, 12, tzinfo=UTC)
BODY = bytes(range(200))
STREAMS = ("campaigns", "users", "activities")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """Serve an emulator without files."""
    with Emulator() as serving:
        yield serving


@pytest.fixture
def session(emulator: Emulator) -> Iterator[requests.Session]:
    """A session that sends a valid token."""
    with requests.Session() as opened:
        opened.headers["Authorization"] = f"Bearer {emulator.issue_token()}"
        yield opened


@pytest.fixture
def plain() -> Iterator[requests.Session]:
    """A session that sends no token, as for presigned URLs."""
    with requests.Session() as opened:
        yield opened


@pytest.fixture
def file(emulator: Emulator) -> EmulatedFile:
    """Add a file of known bytes, stored as they are."""
    return emulator.add("users", "2026-05-14-16", BODY, gzip=False)


@pytest.fixture
def url(emulator: Emulator, session: requests.Session, file: EmulatedFile) -> str:
    """Request the presigned URL of the file of known bytes."""
    return presigned(emulator, session, file)


def api(emulator: Emulator, path: str) -> str:
    """The URL of an API path."""
    return f"{emulator.url}/v2/data_exports/type/{path}"


def show(emulator: Emulator, session: requests.Session, file: EmulatedFile) -> dict[str, Any]:
    """Request a file's metadata."""
    path = f"{file.stream}/files/{quote(file.id, safe='')}"
    answer = session.get(api(emulator, path))
    answer.raise_for_status()
    (shown,) = answer.json()["data"]
    return dict(shown)


def presigned(emulator: Emulator, session: requests.Session, file: EmulatedFile) -> str:
    """Request a file's presigned URL."""
    return str(show(emulator, session, file)["presigned_url"])


def code(answer: requests.Response) -> str:
    """The code of an S3 error."""
    assert answer.headers["Content-Type"] == "application/xml"
    found = re.search("<Code>(.+)</Code>", answer.text)
    assert found
    return found[1]


CREDENTIALS = {
    "grant_type": "client_credentials",
    "client_id": "demo-client",
    "client_secret": "demo-secret",
}


@pytest.mark.parametrize("form", ["data", "files"])
def test_token(emulator: Emulator, plain: requests.Session, form: str) -> None:
    """A token is issued for an urlencoded and for a multipart form, and opens the API."""
    multipart = {name: (None, value) for name, value in CREDENTIALS.items()}
    body: dict[str, Any] = {form: CREDENTIALS if form == "data" else multipart}
    answer = plain.post(f"{emulator.url}/oauth/token", **body)
    token = answer.json()
    assert answer.status_code == 200
    assert {name: token[name] for name in ("token_type", "expires_in", "realm", "scope")} == {
        "token_type": "Bearer",
        "expires_in": 7200,
        "realm": "23552",
        "scope": "data_exports.read",
    }
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    assert plain.get(api(emulator, "users"), headers=headers).status_code == 200
    assert emulator.requests[0].body


@pytest.mark.parametrize(
    "wrong", [{"client_secret": "x"}, {"client_id": "x"}, {"grant_type": "password"}]
)
def test_wrong_client(emulator: Emulator, plain: requests.Session, wrong: dict[str, str]) -> None:
    """Wrong credentials, or another grant, get 401 and invalid_client."""
    answer = plain.post(f"{emulator.url}/oauth/token", data=CREDENTIALS | wrong)
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"})


def test_token_without_lifetime(emulator: Emulator, plain: requests.Session) -> None:
    """With token_ttl None the token's response has no expires_in, and the token stays valid."""
    emulator.token_ttl = None
    token = plain.post(f"{emulator.url}/oauth/token", data=CREDENTIALS).json()
    emulator.now = lambda: datetime(2099, 1, 1, tzinfo=UTC)
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    assert "expires_in" not in token
    assert plain.get(api(emulator, "users"), headers=headers).status_code == 200


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer", "Basic eDp5", "wrong"])
@pytest.mark.parametrize("path", ["users", "users/latest", "users/files/x", "badtype"])
def test_no_token(
    emulator: Emulator, plain: requests.Session, authorization: str | None, path: str
) -> None:
    """Requests with no token, or an invalid one, get 401 everywhere."""
    headers = {} if authorization is None else {"Authorization": authorization}
    assert plain.get(api(emulator, path), headers=headers).status_code == 401


def test_expired_token(emulator: Emulator, session: requests.Session) -> None:
    """A token is refused once it has expired by the emulator's clock."""
    assert session.get(api(emulator, "users")).status_code == 200
    emulator.now = lambda: datetime.now(UTC) + timedelta(hours=2)
    assert session.get(api(emulator, "users")).status_code == 401


def test_expire_tokens(emulator: Emulator, session: requests.Session) -> None:
    """After expire_tokens() a token issued before is refused, one issued later is not."""
    emulator.expire_tokens()
    assert session.get(api(emulator, "users")).status_code == 401
    session.headers["Authorization"] = f"Bearer {emulator.issue_token()}"
    assert session.get(api(emulator, "users")).status_code == 200


@pytest.mark.usefixtures("file")
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("users", 200),
        ("campaigns", 200),
        ("badtype", 400),
        ("badtype/latest", 400),
        ("badtype/files/x", 400),
        ("users/files/x", 404),
        ("users/latest", 200),
        ("campaigns/latest", 404),
    ],
)
def test_statuses(emulator: Emulator, session: requests.Session, path: str, status: int) -> None:
    """Each response has its documented status and names the program and the user."""
    answer = session.get(api(emulator, path))
    assert answer.status_code == status
    assert answer.headers["X-Program-Id"] == "23552"
    assert answer.headers["X-User-Id"]


@pytest.mark.parametrize("path", ["users", "users/latest", "users/files/x", "badtype"])
def test_scope(emulator: Emulator, session: requests.Session, path: str) -> None:
    """A token without data_exports.read gets 403 everywhere."""
    emulator.scope = "users.read"
    assert session.get(api(emulator, path)).status_code == 403


def test_wrong_type(emulator: Emulator, session: requests.Session, file: EmulatedFile) -> None:
    """A file requested under another type is a 404."""
    answer = session.get(api(emulator, f"campaigns/files/{quote(file.id, safe='')}"))
    assert answer.status_code == 404


def test_wrong_program(emulator: Emulator, session: requests.Session, file: EmulatedFile) -> None:
    """A file of another program is a 404 and is not listed."""
    emulator.program_id = "7"
    answer = session.get(api(emulator, f"users/files/{quote(file.id, safe='')}"))
    assert (answer.status_code, answer.headers["X-Program-Id"]) == (404, "7")
    assert session.get(api(emulator, "users")).json() == {"data": {"files": []}}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("POST", "/v2/data_exports/type/users"), ("GET", "/oauth/token")],
)
def test_other_path(emulator: Emulator, plain: requests.Session, method: str, path: str) -> None:
    """Any other request gets 404 and counts as other."""
    assert plain.request(method, emulator.url + path).status_code == 404
    assert emulator.count("other") == 1


def test_list(emulator: Emulator, session: requests.Session, file: EmulatedFile) -> None:
    """The list has each file's documented members, in the documented shape."""
    assert session.get(api(emulator, "users")).json() == {
        "data": {
            "files": [
                {
                    "id": file.id,
                    "file_name": "000.csv",
                    "generated_at": "2026-05-14-16",
                    "base_name": "unload_user_data",
                }
            ]
        }
    }


def test_pages(emulator: Emulator, session: requests.Session) -> None:
    """With page_size the list comes in pages, each but the last with a link to the next."""
    added = [emulator.add("users", f"2026-05-14-{hour:02}", "") for hour in range(0, 20, 4)]
    emulator.page_size = 2
    url: str | None = api(emulator, "users")
    pages = []
    while url:
        answer = session.get(url).json()
        pages.append([listed["id"] for listed in answer["data"]["files"]])
        url = answer.get("meta", {}).get("next")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sum(pages, []) == [file.id for file in added]  # noqa: RUF017  # three pages


def test_list_extra(emulator: Emulator, session: requests.Session) -> None:
    """list_extra is merged into the root of the list's response."""
    emulator.list_extra = {"meta": {"total": 0}}
    answer = session.get(api(emulator, "users")).json()
    assert answer == {"data": {"files": []}, "meta": {"total": 0}}


def test_show(emulator: Emulator, session: requests.Session, file: EmulatedFile) -> None:
    """The file endpoint states the length and checksum of the bytes as stored."""
    shown = show(emulator, session, file)
    assert shown.pop("presigned_url").startswith(f"{emulator.url}/s3/")
    assert shown == {
        "presigned_url_ttl_seconds": 900,
        "file_name": "000.csv",
        "size_bytes": 200,
        "checksum_function": "CRC64NVME",
        "checksum": file.checksum,
        "generated_at": "2026-05-14-16",
    }


def test_latest(emulator: Emulator, session: requests.Session) -> None:
    """Latest returns all parts of the newest generation and nothing older."""
    for name in ("000.csv", "001.csv"):
        emulator.add("users", "2026-05-14-16", name, file_name=name)
    emulator.add("users", "2026-05-14-12", "old")
    emulator.add("campaigns", "2026-05-14-20", "other")
    shown = session.get(api(emulator, "users/latest")).json()["data"]
    assert [(part["generated_at"], part["file_name"]) for part in shown] == [
        ("2026-05-14-16", "000.csv"),
        ("2026-05-14-16", "001.csv"),
    ]


@pytest.mark.parametrize("odd", ["a/b", "a+b", "a%2Fb", "a?b", "a#b", "a b", "ä=", "a==", "latest"])
def test_ids(
    emulator: Emulator, session: requests.Session, plain: requests.Session, odd: str
) -> None:
    """An id of any characters works percent-encoded, and is decoded exactly once."""
    other = emulator.add("users", "2026-05-14-16", "other", file_id="other")
    file = emulator.add("users", "2026-05-14-16", odd, file_id=odd, gzip=False)
    assert plain.get(presigned(emulator, session, file)).content == odd.encode()
    assert file.key != other.key


def test_same_id(emulator: Emulator, file: EmulatedFile) -> None:
    """A second file of the same stream and id is refused."""
    with pytest.raises(ValueError, match="already"):
        emulator.add(file.stream, "2026-05-14-16", "")


def test_id_is_a_path(file: EmulatedFile) -> None:
    """By default an id is base64 of the path in S3, as in Firstup's example."""
    assert base64.b64decode(file.id).decode() == file.key
    assert file.key == (
        "us-east-1-prod-sc/sftp_exports/unload_user_data_v2/program_id=23552"
        "/generated_at=2026-05-14-16/activity_type=user/000.csv"
    )


def test_listed_generated_at(emulator: Emulator, session: requests.Session) -> None:
    """The API may state another generation than the path."""
    file = emulator.add("users", "2026-05-14-16", "", listed_generated_at="yesterday")
    assert show(emulator, session, file)["generated_at"] == "yesterday"
    assert "2026-05-14-16" in file.key


def test_checksum(emulator: Emulator) -> None:
    """The checksum is CRC64NVME over the stored bytes: eight bytes, big-endian, base64."""
    file = emulator.add("users", "2026-05-14-16", b"123456789", gzip=False)
    assert file.checksum == "rosUhgp5mIg="


def test_gzip(emulator: Emulator) -> None:
    """Text is stored gzipped, the same bytes every time, and described as stored."""
    first = emulator.add("users", "2026-05-14-12", "user_id\nß\n")
    second = emulator.add("users", "2026-05-14-16", "user_id\nß\n")
    assert gzip.decompress(first.body).decode() == "user_id\nß\n"
    assert (first.body, first.checksum) == (second.body, second.checksum)
    assert first.size_bytes == len(first.body)


def test_lies(emulator: Emulator, session: requests.Session, file: EmulatedFile) -> None:
    """A file that is changed while it is served is described as changed."""
    file.size_bytes, file.checksum, file.checksum_function = 7, "AAAAAAAAAAA=", "MD5"
    shown = show(emulator, session, file)
    assert shown["size_bytes"] == 7
    assert shown["checksum"] == "AAAAAAAAAAA="
    assert shown["checksum_function"] == "MD5"


def test_gone(
    emulator: Emulator, session: requests.Session, plain: requests.Session, file: EmulatedFile
) -> None:
    """A file that is gone stays listed, while its metadata and its bytes are a 404."""
    url = presigned(emulator, session, file)
    file.gone = True
    assert len(session.get(api(emulator, "users")).json()["data"]["files"]) == 1
    assert session.get(api(emulator, f"users/files/{quote(file.id)}")).status_code == 404
    assert session.get(api(emulator, "users/latest")).status_code == 404
    answer = plain.get(url)
    assert (answer.status_code, code(answer)) == (404, "NoSuchKey")


def test_remove(
    emulator: Emulator, session: requests.Session, plain: requests.Session, file: EmulatedFile
) -> None:
    """A removed file is neither listed nor downloadable."""
    url = presigned(emulator, session, file)
    emulator.remove(file)
    assert session.get(api(emulator, "users")).json()["data"]["files"] == []
    assert plain.get(url).status_code == 404


def test_download(
    emulator: Emulator, session: requests.Session, plain: requests.Session, file: EmulatedFile
) -> None:
    """A presigned URL returns the bytes as stored, with S3's headers and no Content-Encoding."""
    answer = plain.get(presigned(emulator, session, file))
    assert (answer.status_code, answer.content) == (200, BODY)
    assert re.fullmatch('"[0-9a-f]{32}"', answer.headers["ETag"])
    wanted = {
        "Accept-Ranges": "bytes",
        "Content-Type": "text/csv",
        "Content-Length": "200",
        "x-amz-checksum-crc64nvme": file.checksum,
    }
    assert {name: answer.headers[name] for name in wanted} == wanted
    assert "Content-Encoding" not in answer.headers


def test_presigned_url(emulator: Emulator, session: requests.Session, file: EmulatedFile) -> None:
    """A presigned URL has the file's path and the query that S3 signs with."""
    emulator.now = lambda: NOON
    session.headers["Authorization"] = f"Bearer {emulator.issue_token()}"
    url = urlsplit(presigned(emulator, session, file))
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert url.path.endswith(
        "program_id%3D23552/generated_at%3D2026-05-14-16/activity_type%3Duser/000.csv"
    )
    assert query["X-Amz-Date"] == "20260514T120000Z"
    assert query["X-Amz-Expires"] == "900"
    assert query["x-amz-checksum-mode"] == "ENABLED"
    assert len(query["X-Amz-Signature"]) == 64


@pytest.mark.parametrize(("seconds", "status"), [(0, 200), (899, 200), (900, 403), (100_000, 403)])
def test_url_expiry(
    emulator: Emulator, plain: requests.Session, url: str, seconds: int, status: int
) -> None:
    """A URL works for its stated number of seconds and then gets 403, as with S3."""
    (date,) = parse_qs(urlsplit(url).query)["X-Amz-Date"]
    moment = datetime.strptime(f"{date}+0000", "%Y%m%dT%H%M%SZ%z") + timedelta(seconds=seconds)
    emulator.now = lambda: moment
    answer = plain.get(url)
    assert answer.status_code == status
    assert ("<Message>Request has expired</Message>" in answer.text) == (status == 403)


def test_expire_urls(
    emulator: Emulator, session: requests.Session, plain: requests.Session, file: EmulatedFile
) -> None:
    """After expire_urls() a URL issued before gets 403, one issued right after does not."""
    url = presigned(emulator, session, file)
    emulator.expire_urls()
    assert "expired" in plain.get(url).text
    assert plain.get(presigned(emulator, session, file)).status_code == 200


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/000.csv", "/001.csv"),
        ("Expires=900", "Expires=9000"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
        ("?", "?x="),
    ],
)
def test_bad_signature(plain: requests.Session, url: str, old: str, new: str) -> None:
    """A URL that was tampered with gets 403."""
    changed = url.partition("?")[0] if old == "?" else url.replace(old, new)
    answer = plain.get(changed)
    assert (answer.status_code, code(answer)) == (403, "SignatureDoesNotMatch")


def test_authorization_at_s3(
    emulator: Emulator, session: requests.Session, file: EmulatedFile
) -> None:
    """S3 refuses a presigned URL that comes with an Authorization header."""
    answer = session.get(presigned(emulator, session, file))
    assert (answer.status_code, code(answer)) == (400, "InvalidArgument")
    assert "Only one auth mechanism allowed" in answer.text


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("bytes=0-", (206, "bytes 0-199/200", BODY)),
        ("bytes=150-", (206, "bytes 150-199/200", BODY[150:])),
        ("bytes=10-19", (206, "bytes 10-19/200", BODY[10:20])),
        ("bytes=199-199", (206, "bytes 199-199/200", BODY[199:])),
        ("bytes=190-1000", (206, "bytes 190-199/200", BODY[190:])),
        ("lines=1-2", (200, None, BODY)),
    ],
)
def test_range(
    plain: requests.Session, url: str, wanted: str, expected: tuple[int, str | None, bytes]
) -> None:
    """A range returns exactly its bytes."""
    answer = plain.get(url, headers={"Range": wanted})
    assert (answer.status_code, answer.headers.get("Content-Range"), answer.content) == expected


@pytest.mark.parametrize("wanted", ["bytes=200-", "bytes=1000-2000"])
def test_range_beyond_the_end(plain: requests.Session, url: str, wanted: str) -> None:
    """A range that starts beyond the end gets 416, with the length."""
    answer = plain.get(url, headers={"Range": wanted})
    assert (answer.status_code, code(answer)) == (416, "InvalidRange")
    assert answer.headers["Content-Range"] == "bytes */200"


@pytest.mark.parametrize(
    ("header", "etag", "expected"),
    [
        ("If-Match", None, (206, "100")),
        ("If-Match", '"other"', (412, None)),
        ("If-Range", None, (206, "100")),
        ("If-Range", '"other"', (200, "200")),
    ],
)
def test_conditions(
    plain: requests.Session,
    url: str,
    header: str,
    etag: str | None,
    expected: tuple[int, str | None],
) -> None:
    """If-Match and If-Range guard a range against a file that has changed."""
    etag = etag or plain.get(url).headers["ETag"]
    answer = plain.get(url, headers={"Range": "bytes=100-", header: etag})
    length = answer.headers["Content-Length"] if answer.ok else None
    assert (answer.status_code, length) == expected


def test_requests(
    emulator: Emulator, session: requests.Session, plain: requests.Session, file: EmulatedFile
) -> None:
    """Requests are recorded in order, with route, path, headers, status and bytes sent."""
    url = presigned(emulator, session, file)
    plain.get(url, headers={"Range": "bytes=150-"})
    shown, download = emulator.requests
    assert (shown.method, shown.route, shown.status) == ("GET", "show", 200)
    assert shown.path.endswith(f"/files/{quote(file.id, safe='')}")
    assert (download.route, download.status, download.sent) == ("download", 206, 50)
    assert download.headers["range"] == "bytes=150-"
    assert "?" not in download.path
    assert emulator.count("download") == 1
    emulator.forget()
    assert (emulator.requests, emulator.count("download")) == ([], 0)


def test_keep_alive(emulator: Emulator) -> None:
    """Many requests go over one connection."""
    with closing(HTTPConnection("127.0.0.1", emulator.port)) as connection:
        sockets = []
        for _ in range(3):
            connection.request("GET", "/v2/data_exports/type/users")
            connection.getresponse().read()
            sockets.append(connection.sock)
    assert sockets[0] is not None
    assert sockets == sockets[:1] * 3


def test_fault_status(emulator: Emulator, session: requests.Session) -> None:
    """A fault sends its response as often as it is set to; then requests succeed again."""
    emulator.fail("list", status=503, headers={"Retry-After": "7"}, body="later", times=2)
    answers = [session.get(api(emulator, "users")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert (answers[0].headers["Retry-After"], answers[0].text) == ("7", "later")


def test_fault_order(emulator: Emulator, session: requests.Session) -> None:
    """Faults strike on their route in the order they were queued, each after what it skips."""
    emulator.fail("show", status=500)
    emulator.fail("list", status=429)
    emulator.fail("list", status=502, skip=1)
    emulator.fail("list", status=400, match="/campaigns")
    paths = ["users", "users", "users", "campaigns", "users"]
    statuses = [session.get(api(emulator, path)).status_code for path in paths]
    assert statuses == [429, 200, 502, 400, 200]


def test_fault_for_ever(emulator: Emulator, session: requests.Session) -> None:
    """A fault with times None stays until heal()."""
    emulator.fail("list", status=500, times=None)
    assert [session.get(api(emulator, "users")).status_code for _ in range(4)] == [500] * 4
    emulator.heal()
    assert session.get(api(emulator, "users")).status_code == 200


def test_unknown_fault(emulator: Emulator) -> None:
    """A misspelt field of a fault is refused immediately."""
    with pytest.raises(TypeError, match="drop_afer"):
        emulator.fail("list", drop_afer=3)


@pytest.mark.parametrize("drop_after", [0, 1, 150])
def test_drop(emulator: Emulator, plain: requests.Session, url: str, drop_after: int) -> None:
    """A drop promises the complete body and closes the connection after some bytes of it."""
    emulator.fail("download", drop_after=drop_after)
    got: list[bytes] = []
    with plain.get(url, stream=True) as answer:
        assert (answer.status_code, answer.headers["Content-Length"]) == (200, "200")
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            got.extend(answer.iter_content(1))
    assert b"".join(got) == BODY[:drop_after]
    assert emulator.requests[-1].sent == drop_after
    assert plain.get(url).content == BODY


def test_drop_unanswered(emulator: Emulator, session: requests.Session) -> None:
    """A drop after -1 bytes closes the connection without a response."""
    emulator.fail("list", drop_after=-1)
    with pytest.raises(requests.ConnectionError):
        session.get(api(emulator, "users"))
    assert session.get(api(emulator, "users")).status_code == 200


@pytest.mark.parametrize("drop_after", [None, 100])
def test_stall(
    emulator: Emulator, plain: requests.Session, url: str, drop_after: int | None
) -> None:
    """A stall delays the response, or what would follow the drop, for that many seconds."""
    emulator.fail("download", stall=30, drop_after=drop_after)
    with pytest.raises(requests.RequestException, match="timed out"):  # noqa: SIM117
        with plain.get(url, timeout=0.2, stream=True) as answer:
            assert answer.content
    assert emulator.requests[-1].route == "download"


def test_stop_ends_a_stall() -> None:
    """stop() waits neither for a stalled response nor for an open connection."""
    with requests.Session() as session:
        with Emulator() as emulator:
            emulator.fail("other", stall=60)
            with pytest.raises(requests.ReadTimeout):
                session.get(emulator.url, timeout=0.1)
            session.get(emulator.url)
            start = time.monotonic()
        assert time.monotonic() - start < 5
        with pytest.raises(requests.ConnectionError):
            session.get(emulator.url)


@pytest.mark.parametrize(
    ("wanted", "changed"), [(None, [42]), ("bytes=40-", [2]), ("bytes=43-", []), ("bytes=0-41", [])]
)
def test_corrupt(
    emulator: Emulator, plain: requests.Session, url: str, wanted: str | None, changed: list[int]
) -> None:
    """One bit of the file's byte is flipped, if that byte is sent at all."""
    headers = {} if wanted is None else {"Range": wanted}
    good = plain.get(url, headers=headers).content
    emulator.fail("download", corrupt_at=42)
    pairs = zip(good, plain.get(url, headers=headers).content, strict=True)
    assert [at for at, (one, two) in enumerate(pairs) if one ^ two == 1] == changed
    assert plain.get(url).content == BODY


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"ignore_range": True}, (200, "Content-Length", "200")),
        ({"content_range": "bytes 0-99/200"}, (206, "Content-Range", "bytes 0-99/200")),
        ({"etag": '"other"'}, (206, "ETag", '"other"')),
        ({"headers_extra": {"X-Cache": "miss"}}, (206, "X-Cache", "miss")),
    ],
)
def test_odd_answers(
    emulator: Emulator,
    plain: requests.Session,
    url: str,
    fault: dict[str, Any],
    expected: tuple[int, str, str],
) -> None:
    """A server may ignore ranges, misstate them, change the file or add headers."""
    emulator.fail("download", **fault)
    answer = plain.get(url, headers={"Range": "bytes=100-"})
    assert (answer.status_code, expected[1], answer.headers[expected[1]]) == expected


def test_etag_fault_fails_conditions(emulator: Emulator, plain: requests.Session, url: str) -> None:
    """A file that is said to have changed does not match its earlier ETag."""
    etag = plain.get(url).headers["ETag"]
    emulator.fail("download", etag='"other"')
    assert plain.get(url, headers={"If-Match": etag}).status_code == 412


def test_restart() -> None:
    """A stopped emulator starts again on its port with its files."""
    emulator = Emulator()
    emulator.add("users", "2026-05-14-16", "")
    with emulator:
        url = emulator.url
    with emulator, requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {emulator.issue_token()}"
        assert emulator.url == url
        assert len(session.get(api(emulator, "users")).json()["data"]["files"]) == 1


def test_settings(emulator: Emulator) -> None:
    """The settings are those that a client needs, and no others."""
    assert emulator.settings == {
        "api_url": emulator.url,
        "auth_url": emulator.url,
        "client_id": "demo-client",
        "client_secret": "demo-secret",
    }


def test_silent(
    emulator: Emulator, session: requests.Session, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither requests nor clients that disconnect write anything."""
    emulator.add("users", "2026-05-14-16", bytes(20_000_000), gzip=False)
    url = session.get(api(emulator, "users/latest")).json()["data"][0]["presigned_url"]
    with requests.get(url, stream=True, timeout=5):
        pass
    emulator.stop()
    assert capfd.readouterr() == ("", "")


def test_control(emulator: Emulator, plain: requests.Session) -> None:
    """The control routes add generations, and count and clear requests."""
    emulator.rows = 40
    first = plain.post(f"{emulator.url}/emulator/generations").json()
    second = plain.post(f"{emulator.url}/emulator/generations").json()
    rows = {"campaigns": 4, "users": 20, "activities": 80}
    assert first == {"generated_at": "2026-05-14-16", "rows": rows}
    assert second == {"generated_at": "2026-05-14-20", "rows": rows}
    plain.get(api(emulator, "users"))
    plain.get(api(emulator, "users"))
    url = f"{emulator.url}/emulator/requests"
    assert plain.get(url).json() == {"list": 2}
    assert plain.delete(url).json() == {"list": 2}
    assert plain.get(url).json() == {}


def test_add_generation() -> None:
    """Sample generations are four hours apart and have the requested rows in every stream."""
    emulator = Emulator(first_generation=NOON, rows=30)
    counts = [emulator.add_generation(), emulator.add_generation(rows=100, parts=1)]
    assert counts == [
        {"campaigns": 4, "users": 14, "activities": 60},
        {"campaigns": 5, "users": 25, "activities": 100},
    ]
    emulator.add_generation(generated_at="2026-05-10-00")
    emulator.add_generation()
    assert sorted({file.generated_at for file in emulator.files}) == [
        "2026-05-10-00",
        "2026-05-14-12",
        "2026-05-14-16",
        "2026-05-14-20",
    ]
    first = [file for file in emulator.files if file.generated_at == "2026-05-14-12"]
    read: dict[str, int] = dict.fromkeys(STREAMS, 0)
    for file in first:
        read[file.stream] += len(rows(gzip.decompress(file.body).decode()))
    assert [file.file_name for file in first] == ["000.csv", "001.csv"] * 3
    assert read == counts[0]


def rows(text: str) -> list[dict[str, str]]:
    """Read a CSV text with the standard library, strictly."""
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def sample(seed: int = 1, number: int = 0, size: int = 200) -> dict[str, list[str]]:
    """A sample generation at noon."""
    return sample_data.generation(seed, number, NOON, size)


def together(parts: list[str]) -> list[dict[str, str]]:
    """Read all parts of a stream."""
    return [row for part in parts for row in rows(part)]


def test_sample_is_deterministic() -> None:
    """The same arguments result in the same text; another seed or number in another."""
    assert sample() == sample()
    assert sample() != sample(seed=2)
    assert sample() != sample(number=1)


@pytest.mark.parametrize("stream", STREAMS)
def test_sample_columns(stream: str) -> None:
    """Every part has the documented columns in the documented order, and full rows only."""
    for part in sample()[stream]:
        header, *others = csv.reader(io.StringIO(part, newline=""), strict=True)
        assert tuple(header) == sample_data.COLUMNS[stream]
        assert {len(row) for row in others} == {len(header)}
        assert len(others) == sample_data.sizes(200)[stream]


def test_column_counts() -> None:
    """There are as many columns as Firstup documents."""
    counts = {stream: len(set(names)) for stream, names in sample_data.COLUMNS.items()}
    assert counts == {"campaigns": 36, "users": 33, "activities": 30}


@pytest.mark.parametrize("stream", STREAMS)
def test_sample_dialect(stream: str) -> None:
    """Only what needs quotes is quoted, quotes are doubled, and lines end in a line feed."""
    for part in sample()[stream]:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(csv.reader(io.StringIO(part, newline="")))
        assert text.getvalue() == part


@pytest.mark.parametrize("number", [0, 1, 7])
@pytest.mark.parametrize(("stream", "key"), [("users", "user_id"), ("campaigns", "campaign_id")])
def test_sample_keys(stream: str, key: str, number: int) -> None:
    """A user or campaign is in a generation once at most."""
    keys = [row[key] for row in together(sample(number=number)[stream])]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("number", [0, 1, 7])
def test_sample_references(number: int) -> None:
    """Activities refer to users and campaigns of their generation, by id and by name."""
    made = sample(number=number)
    users = {
        row["user_id"]: f"{row['first_name']} {row['last_name']}" for row in together(made["users"])
    }
    campaigns = {
        row["campaign_id"]: (row["campaign_name"], row["publish_date"], row["preview"])
        for row in together(made["campaigns"])
    }
    for row in together(made["activities"]):
        assert users[row["user_id"]] == row["user_name"]
        content = (row["content_name"], row["content_published_at"], row["preview"])
        assert campaigns[row["content_id"]] == content


@pytest.mark.parametrize(
    ("stream", "key", "stable"),
    [
        ("users", "user_id", "universal_identifier"),
        ("campaigns", "campaign_id", "publish_date"),
    ],
)
def test_sample_updates(stream: str, key: str, stable: str) -> None:
    """A later generation updates entities of the one before and adds new ones."""
    first = {row[key]: row for row in rows(sample(number=0)[stream][0])}
    later = sample_data.generation(1, 1, NOON + sample_data.INTERVAL, 200, parts=1)
    second = {row[key]: row for row in together(later[stream])}
    both = first.keys() & second.keys()
    assert both
    assert second.keys() - first.keys()
    assert all(first[one][stable] == second[one][stable] for one in both)
    assert any(first[one] != second[one] for one in both)


def test_sample_times() -> None:
    """An activity's date lies within the four hours before its generation."""
    dates = [row["date"] for row in together(sample(size=5000)["activities"])]
    assert "2026-05-14 08:00:00" <= min(dates) < "2026-05-14 08:05:00"
    assert "2026-05-14 11:55:00" < max(dates) < "2026-05-14 12:00:00"


def test_sample_counts() -> None:
    """An activity's counts are 0 or 1, and each activity counts something."""
    names = sample_data.COLUMNS["activities"]
    counts = [*names[5:17], *names[19:27]]
    for row in together(sample()["activities"]):
        assert {row[name] for name in counts} == {"0", "1"}


@pytest.mark.parametrize(
    ("stream", "column", "pattern"),
    [
        ("users", "profile_zip", r"0\d{4}"),
        ("users", "universal_identifier", r"0\d{7}"),
        ("users", "blocked_at", r""),
        ("users", "blocked_at", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
        ("users", "first_name", "Łukasz"),
        ("users", "last_name", ".*, Jr."),
        ("users", "attribute_job_description", r".*\n.*"),
        ("campaigns", "campaign_name", '.*"One Firm".*'),
        ("campaigns", "campaign_name", ".*🎉"),
        ("campaigns", "campaign_name", "新的福利政策"),
        ("campaigns", "campaign_name", "مرحبا .*"),
        ("campaigns", "is_featured", "t"),
        ("campaigns", "for_you", "f"),
        ("campaigns", "topic_id", r"\[101, 104\]"),
        ("campaigns", "topic_subscriber_count", r"\[\d+, \d+\]"),
        ("activities", "preview", r'.*\n\n.*"new"[\s\S]*'),
    ],
)
def test_sample_is_awkward(stream: str, column: str, pattern: str) -> None:
    """The sample has what trips naive readers: leading zeros, quotes, line feeds, all scripts."""
    values = {row[column] for row in together(sample(size=1000)[stream])}
    assert any(re.fullmatch(pattern, value) for value in values)


def test_deliveries(tmp_path: Path) -> None:
    """With a folder each generation is delivered there too, one file per stream, as documented."""
    emulator = Emulator(deliver=tmp_path)
    rows = emulator.add_generation(rows=20, parts=3, generated_at="2026-05-14-16")
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert names == [
        f"23552-05-14-2026-16-{kind}-incremental.gz" for kind in ("activity", "campaign", "user")
    ]
    for path, stream in zip(sorted(tmp_path.iterdir()), sorted(rows), strict=True):
        text = gzip.decompress(path.read_bytes()).decode()
        parsed = list(csv.reader(io.StringIO(text)))
        assert len(parsed) == 1 + rows[stream]
        assert parsed.count(parsed[0]) == 1
