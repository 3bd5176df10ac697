"""Misbehaving servers, storages and disks cost no more than stated, and obtain nothing."""

from __future__ import annotations

import gzip
import json
import os
import resource
import socket
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import urllib3
from click.testing import CliRunner
from requests.adapters import BaseAdapter

from filetap.download.spool import Spool
from filetap.errors import (
    ExportError,
    FormatError,
    IntegrityError,
    RetriableTransportError,
    SpoolError,
    TransportError,
)
from filetap.people.to_folder import download, place
from filetap.settings import Retries
from filetap.transports import http
from filetap.transports.connection import PATIENCE, bare_session
from tap_firstup_dde.cli import main
from tests.runs import connect, settings, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

    from filetap.files import ExportFile
    from tap_firstup_dde.api import FirstupTransport
    from tap_firstup_dde.emulator import Emulator

CSV = "user_id\n1\n"
FILES = "/v2/data_exports/type/users"


def connecting(emulator: Emulator, **more: Any) -> FirstupTransport:
    """A client of the emulator without retries."""
    return connect({**emulator.settings, "max_retries": 0, **more})


def only(transport: FirstupTransport) -> ExportFile:
    """The only file in the list."""
    (file,) = transport.list_files("users")
    return file


def ask(emulator: Emulator, *arguments: str, **more: Any) -> Result:
    """Run a command with settings that reach the emulator."""
    config = write(Path.cwd(), "config.json", settings(emulator, **{"max_retries": 0, **more}))
    return CliRunner().invoke(main, [*arguments, "--config", config], catch_exceptions=False)


@contextmanager
def serving(answer: Callable[[socket.socket, int], object]) -> Iterator[str]:
    """Serve on a local port; *answer* writes to each connection, with its number.

    Yields:
        The base URL.
    """
    stopped = threading.Event()

    def handle(connection: socket.socket, number: int) -> None:
        with connection, suppress(OSError):
            connection.recv(1 << 16)
            answer(connection, number)

    def accept(listening: socket.socket) -> None:
        number = 0
        while not stopped.is_set():
            with suppress(OSError):
                connection, _ = listening.accept()
                threading.Thread(target=handle, args=(connection, number), daemon=True).start()
                number += 1

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        thread = threading.Thread(target=accept, args=(listening,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        stopped.set()
        thread.join()


# Responses of the API and of the authorisation server

DEFLATE = zlib.compress(bytes(2 << 20))


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("identity", bytes(2 << 20)),
        ("gzip", gzip.compress(bytes(2 << 20))),
        ("deflate", DEFLATE),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(2 << 20)))),
    ],
    ids=["plain", "gzip", "deflate", "twice"],
)
@pytest.mark.parametrize(
    ("route", "status", "what"),
    [
        ("token", 200, "the access token"),
        ("token", 401, "the access token"),
        ("list", 200, "the list of users files"),
        ("list", 404, "the list of users files"),
        ("list", 403, "the list of users files"),
        ("show", 200, "users 2026-05-14-16/000.csv"),
    ],
)
def test_large_answers(  # noqa: PLR0917 - columns of two tables
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
    status: int,
    what: str,
    encoding: str,
    body: bytes,
) -> None:
    """A response is read up to a bound on its decompressed bytes; more is one error."""
    monkeypatch.setattr(http, "LARGEST_RESPONSE", 1 << 20)
    emulator.add("users", "2026-05-14-16", CSV)
    headers = {"Content-Encoding": encoding}
    emulator.fail(route, status=status, body=body, headers=headers, times=None)
    transport = connecting(emulator)
    with pytest.raises(TransportError, match=r"from 127\.0\.0\.1 is larger than 1 MiB; ") as caught:
        transport.stored_size(only(transport))
    assert str(caught.value).startswith(what)
    assert not isinstance(caught.value, RetriableTransportError)


def test_documented_bound(emulator: Emulator) -> None:
    """The bound is 64 MiB as documented, and a list of 100,000 files is below it."""
    entry = {"id": "x" * 250, "file_name": "000.csv", "generated_at": "2026-05-14-16"}
    body = json.dumps({"data": {"files": [entry] * 100_000}})
    assert len(body) > 30_000_000
    packed = gzip.compress(body.encode(), 1)
    emulator.fail("list", status=200, body=packed, headers={"Content-Encoding": "gzip"})
    transport = connecting(emulator)
    assert len(transport.list_files("users")) == 100_000
    bomb = gzip.compress(bytes(65 << 20), 1)
    emulator.fail("list", status=200, body=bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(TransportError, match="larger than 64 MiB"):
        transport.list_files("users")


def _dripping(head: bytes, drop: bytes) -> Callable[[socket.socket, int], None]:
    """A server that sends *head*, and then *drop* every tenth of a second forever."""

    def answer(connection: socket.socket, _: int) -> None:
        connection.sendall(head)
        while True:
            time.sleep(0.1)
            connection.sendall(drop)

    return answer


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Odd: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Odd: x\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10], b"\0"),
    ],
    ids=["header", "headers", "length", "close", "chunks", "chunk", "chunk size", "gzip"],
)
def test_slow_answers(head: bytes, drop: bytes) -> None:
    """A response that arrives slowly ends in time, whichever part is slow."""
    with serving(_dripping(head, drop)) as url:
        config = {"access_token": "a-ready-token", "request_timeout": 0.3, "max_retries": 0}
        transport = connect({"api_url": url, "auth_url": url, **config})
        began = time.monotonic()
        with pytest.raises(ExportError):
            transport.list_files("users")
        assert time.monotonic() - began < PATIENCE * 0.3 * 2 + 2


def test_slow_answer_in_words() -> None:
    """A response that takes too long is a transient error that says so."""
    drops = _dripping(b"HTTP/1.1 200 OK\r\n\r\n", b" ")
    with (
        serving(drops) as url,
        bare_session() as session,
        pytest.raises(RetriableTransportError, match=r"the list: no response in time \(127"),
    ):
        http.send(session, "GET", url, "the list", timeout=0.2)


def test_no_thread_stays(emulator: Emulator) -> None:
    """The timer of a response ends with it, and the connection is reused."""
    transport = connecting(emulator)
    for _ in range(5):
        transport.list_files("users")
    deadline = time.monotonic() + 5
    while any(isinstance(thread, threading.Timer) for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert emulator.connections == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("follows", [True, False])
def test_redirects_are_not_read(stream: bool, follows: bool) -> None:  # noqa: FBT001 - two tables
    """The body of a redirect is not read."""
    sent = []

    def answer(connection: socket.socket, number: int) -> None:
        if number:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")
            return
        connection.sendall(
            b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 99999999\r\n\r\n"
        )
        for _ in range(90):
            connection.sendall(bytes(1 << 20))
            sent.append(1 << 20)

    with serving(answer) as url, bare_session() as session:
        got = http.send(
            session, "GET", url, "it", follow=lambda _: follows, stream=stream, timeout=5
        )
        assert got.status_code == (200 if follows else 302)
        if follows:
            assert got.content == b"here"
        got.close()
    assert sum(sent) < 20 << 20  # buffers of sockets


class Elsewhere(BaseAdapter):
    """Responds to every request with a redirect."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target, self.asked = target, 0

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> Any:
        """Redirect."""
        self.asked += 1
        answer = requests.Response()
        answer.status_code, answer.url = 302, str(request.url)
        answer.headers["Location"] = self.target
        answer.raw = urllib3.HTTPResponse(BytesIO(), preload_content=False)
        return answer

    def close(self) -> None:
        """Open nothing."""


@pytest.mark.parametrize("host", ["{url}", "ftp://127.0.0.1", "http://[", "//[::1", "http:/x"])
def test_https_stays_https(emulator: Emulator, host: str) -> None:
    """No redirect from https to http is followed, not even on this machine."""
    target = host.format(url=emulator.url) + FILES
    with bare_session() as session:
        adapter = Elsewhere(target)
        session.mount("https://", adapter)
        answer = http.send(session, "GET", "https://a.example/", "it", follow=lambda _: True)
        assert (answer.status_code, adapter.asked) == (302, 1)
        options: Any = {"offset": 0, "version": "", "size": 1, "checksum": None, "timeout": 5}
        with (
            pytest.raises(TransportError, match=r"a\.example answered 302 to a download"),
            http.open_range(session, "https://a.example/?sig=1", "users", **options),
        ):
            pass
    assert emulator.requests == []


def test_presigned_urls_of_https(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API on https must not refer to http on this machine."""
    emulator.add("users", "2026-05-14-16", CSV)
    transport = connecting(emulator)
    file = only(transport)
    answer = transport._get(f"{emulator.url}{FILES}/files/{file.id}", "it")
    secure = connecting(emulator, api_url="https://firstup.example", access_token="a-ready-token")  # noqa: S106 - no secret
    monkeypatch.setattr(secure, "_get", lambda *_: answer)
    with pytest.raises(TransportError, match="the download URL is not https"):
        secure.stored_size(file)


# What a storage sends


@pytest.mark.parametrize("promised", [0, 1, 77, 2_999_999])
def test_more_than_promised(emulator: Emulator, tmp_path: Path, promised: int) -> None:
    """A download ends at the promised size and a chunk; after a second one it is an error."""
    arrived: list[int] = []
    added = emulator.add("users", "2026-05-14-16", os.urandom(3_000_000), gzip=False)
    added.size_bytes = promised
    transport = connecting(emulator)
    spool = Spool(tmp_path, Retries(0), arrived=arrived.append)
    with pytest.raises(IntegrityError, match=f"more bytes than expected: .* of {promised}; "):
        spool.download(transport, only(transport))
    assert max(arrived) <= promised + http.CHUNK
    assert emulator.count("download") == 2


# Lists and files


@pytest.mark.parametrize("second", [404, 204, 200])
def test_missing_page(emulator: Emulator, second: int) -> None:
    """A list whose next page is missing or invalid may be incomplete."""
    for hour in ("16", "20"):
        emulator.add("users", f"2026-05-14-{hour}", CSV)
    emulator.page_size = 1
    emulator.fail("list", status=second, body="{}" if second == 200 else "", skip=1)
    with pytest.raises(
        ExportError, match=r"the list of users files: (its page 2|the (response|answer))"
    ):
        connecting(emulator).list_files("users")


def test_empty_pages(emulator: Emulator) -> None:
    """A page without files continues or ends the list."""
    emulator.add("users", "2026-05-14-16", CSV)
    nothing = {"data": {"files": []}, "meta": {"next": f"{FILES}?page=1"}}
    emulator.fail("list", status=200, body=json.dumps(nothing))
    last = {"data": {"files": []}, "meta": {"next": None}}
    emulator.list_extra = {"meta": {"next": f"{FILES}?page=3"}}
    emulator.fail("list", status=200, body=json.dumps(last), skip=1)
    assert len(connecting(emulator).list_files("users")) == 1


def test_deep_answer(emulator: Emulator) -> None:
    """A deeply nested response is an error, or is read; it never ends in a traceback."""
    for depth in (10, 300, 900, 5000, 100_000):
        body = '{"data": {"files": []}, "meta": ' + '{"a":' * depth + "1" + "}" * (depth + 1)
        emulator.fail("list", status=200, body=body)
        with suppress(FormatError):
            assert connecting(emulator).list_files("users") == []


@pytest.mark.parametrize(
    ("stated", "right"),
    [
        ({}, True),
        ({"generated_at": None, "file_name": None}, True),
        ({"generated_at": "2026-05-14-16", "file_name": "000.csv"}, True),
        ({"generated_at": "2026-05-14T16:00:00Z"}, True),
        ({"generated_at": "2026-05-14T18:00:00+02:00"}, True),
        ({"generated_at": "2026-05-14-20"}, False),
        ({"generated_at": "2026-05-14T16:00:01Z"}, False),
        ({"generated_at": "soon"}, False),
        ({"generated_at": 5}, False),
        ({"file_name": "001.csv"}, False),
        ({"file_name": ["000.csv"]}, False),
    ],
)
def test_answer_of_another_file(emulator: Emulator, stated: dict[str, Any], right: bool) -> None:  # noqa: FBT001 - a table
    """A response of the file endpoint about another file is an error, and nothing is read."""
    added = emulator.add("users", "2026-05-14-16", CSV)
    transport = connecting(emulator)
    file = only(transport)
    shown = {
        "presigned_url": emulator.presigned_url(added),
        "size_bytes": len(added.body),
        **stated,
    }
    emulator.fail("show", status=200, body=json.dumps({"data": [shown]}))
    if right:
        assert transport.stored_size(file) == len(added.body)
        return
    with (
        pytest.raises(FormatError, match=rf"^{file}: the response is about another file; "),
        transport.fetch(file),
    ):
        pass
    assert emulator.count("download") == 0


# Disks


@contextmanager
def full_disk(most: int) -> Iterator[None]:
    """Limit the size of files to *most* bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [200, 8191, 8192, 20_000])
def test_full_spool(emulator: Emulator, tmp_path: Path, size: int) -> None:
    """A full disk is the documented error for a file of any size."""
    emulator.add("users", "2026-05-14-16", os.urandom(size), gzip=False)
    transport = connecting(emulator)
    file = only(transport)
    with (
        full_disk(100),
        pytest.raises(SpoolError, match=r"cannot be written to disk .*; free some space"),
    ):
        Spool(tmp_path, Retries(0)).download(transport, file)


@pytest.mark.parametrize(("size", "unzip"), [(300, False), (20_000, False), (20_000, True)])
def test_full_folder(emulator: Emulator, tmp_path: Path, size: int, unzip: bool) -> None:  # noqa: FBT001 - a table
    """A full disk is one line for `get` too, even if only the decompressed file is too large."""
    content = bytes(size) if unzip else os.urandom(size)
    emulator.add("users", "2026-05-14-16", content, gzip=unzip)
    transport = connecting(emulator)
    file = only(transport)
    with full_disk(200), pytest.raises(SpoolError, match=r"^users 2026.* \(File too large\); "):
        download(transport, Spool(tmp_path, Retries(0)), file, tmp_path, unzip=unzip)
    assert not place(file, tmp_path).exists()


# Folders that others use too


@pytest.mark.parametrize("unzip", [True, False])
def test_two_at_once(emulator: Emulator, tmp_path: Path, unzip: bool) -> None:  # noqa: FBT001 - a table
    """Two processes that fetch one file into one folder both get it, and it is fetched once."""
    added = emulator.add("users", "2026-05-14-16", os.urandom(500_000), gzip=unzip)
    emulator.fail("download", stall=0.3, drop_after=100_000)
    file = only(connecting(emulator))
    paths: list[Path] = []

    def get() -> None:
        spool = Spool(None, Retries(3, pause=lambda _: None))
        paths.append(download(connecting(emulator), spool, file, tmp_path, unzip=unzip))

    threads = [threading.Thread(target=get) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    (path,) = set(paths)
    assert len(paths) == 4
    assert path.read_bytes() == (gzip.decompress(added.body) if unzip else added.body)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]
    assert emulator.count("download") == 2  # the second resumes where the first was cut off


@pytest.mark.parametrize("suffix", ["", ".gz", ".part", ".unzip"])
@pytest.mark.parametrize("dangling", [True, False])
@pytest.mark.parametrize("unzip", [True, False])
def test_links(
    emulator: Emulator,
    tmp_path: Path,
    suffix: str,
    dangling: bool,  # noqa: FBT001 - a table
    unzip: bool,  # noqa: FBT001 - a table
) -> None:
    """A link with any of the names that `get` uses is replaced, not followed."""
    added = emulator.add("users", "2026-05-14-16", CSV)
    transport = connecting(emulator)
    file = only(transport)
    target = place(file, tmp_path / "to")
    target.parent.mkdir(parents=True)
    foreign = tmp_path / "foreign"
    if not dangling:
        foreign.write_bytes(b"precious")
    target.with_name(target.name + suffix).symlink_to(foreign)
    path = download(transport, Spool(), file, tmp_path / "to", unzip=unzip)
    assert not path.is_symlink()
    assert path.read_bytes() == (CSV.encode() if unzip else added.body)
    assert foreign.exists() is not dangling
    assert dangling or foreign.read_bytes() == b"precious"


@pytest.mark.parametrize("letter", ["x", "é", "字", "😀"])
@pytest.mark.parametrize("length", [1, 99, 100, 400])
@pytest.mark.parametrize("unzip", [True, False])
def test_long_names(
    emulator: Emulator,
    tmp_path: Path,
    letter: str,
    length: int,
    unzip: bool,  # noqa: FBT001 - a table
) -> None:
    """Names of any length in any script are names that a disk takes, with every ending."""
    emulator.add("users", "2026-05-14-16", CSV, file_name=letter * length + ".csv")
    transport = connecting(emulator)
    path = download(transport, Spool(), only(transport), tmp_path, unzip=unzip)
    assert len(path.name.encode()) < 150
    assert path.name.endswith(".csv" if unzip else ".csv.gz")


# The ends of the calendar


@pytest.mark.parametrize("generation", ["9999-12-31-23", "9999-12-25-00", "0001-01-01-00"])
def test_ends_of_the_calendar(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, generation: str
) -> None:
    """A file of the first or last day of the calendar works in `files`, `report` and `doctor`."""
    monkeypatch.chdir(tmp_path)
    emulator.add("users", generation, CSV)
    for day in ("2026-05-14-16", "2026-05-15-16", "9998-01-01-00"):
        emulator.add("users", day, CSV)
    for arguments in (["files"], ["files", "--output", "json"], ["report"], ["doctor"]):
        done = ask(emulator, *arguments)
        assert done.exit_code == 0, done.output
        assert arguments[0] != "files" or generation[:4] in done.stdout
    (entry,) = (
        entry
        for entry in json.loads(ask(emulator, "files", "--output", "json").stdout)
        if entry["generated_at"].startswith(generation[:10])
    )
    expected = "0001-01-08T00:00:00Z" if generation < "2" else "9999-12-31T23:59:59Z"
    assert entry["expires_at"] == expected
    assert (entry["age_seconds"] < 0) is (generation > "2")
