"""Delivered files: the same rows as through the API, from a folder, an SFTP server or a bucket."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import logging
import os
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import asyncssh
import pytest
from fsspec.implementations.local import LocalFileSystem

from tap_firstup_dde import streams
from tap_firstup_dde.delivered import STREAMS, parse_name
from tap_firstup_dde.documented import KEYS
from tap_firstup_dde.exportlib import folder as folder_module
from tap_firstup_dde.exportlib.exceptions import (
    FileGoneError,
    IntegrityError,
    RetriableTransportError,
    StateError,
    TransportError,
)
from tests.singer import command, run, settings, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

TYPES = {stream: kind for kind, stream in STREAMS.items()}
OLD = 1_700_000_000  # long ago: nobody is writing such a file any more


def deliver(
    folder: Path,
    stream: str,
    generation: str,
    content: str | bytes,
    *,
    program: str = "23552",
    export: str = "incremental",
    ending: str = ".gz",
) -> Path:
    """Put a file where Firstup would, its time long past."""
    year, month, day, hour = generation.split("-")
    path = folder / f"{program}-{month}-{day}-{year}-{hour}-{TYPES[stream]}-{export}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if ending == ".gz" else data)
    os.utime(path, (OLD, OLD))
    return path


def reading(folder: Path | str, **more: Any) -> dict[str, Any]:
    """Settings that read a folder."""
    return {"folder": {"url": str(folder), **more}}


def ids(done: Any, stream: str = "users") -> list[str]:
    """The users of a run, in order."""
    return [record["user_id"] for record in done.records(stream)]


def test_same_as_the_api(emulator: Emulator, tmp_path: Path) -> None:
    """All streams of three generations: equal messages but for _sdc_source_file and state."""
    for _ in range(3):
        emulator.add_generation(rows=40, parts=1)
    for file in emulator.files:
        content = gzip.decompress(file.body)
        deliver(tmp_path, file.stream, file.generated_at, content)
    api, folder = run(settings(emulator)), run(reading(tmp_path))
    for stream in KEYS:
        assert api.schema(stream) == folder.schema(stream)
        assert api.records(stream)
        for one, other in zip(api.records(stream), folder.records(stream), strict=True):
            source = other.pop("_sdc_source_file")
            assert one.pop("_sdc_source_file")[:13] == source[:13]
            assert one == other
    assert run(reading(tmp_path), folder.state).of("RECORD") == []


def test_source_names_the_file(tmp_path: Path) -> None:
    """A record says which file it is from, wherever in the folder that lies."""
    path = deliver(tmp_path / "2026/05/14", "users", "2026-05-14-16", "user_id\n1\n")
    (record,) = run(reading(tmp_path)).records("users")
    key = hashlib.sha256(path.name.encode()).hexdigest()[:12]
    assert record["_sdc_source_file"] == f"2026-05-14-16/{path.name}/{key}"
    assert record["generated_at"] == "2026-05-14T16:00:00Z"


def test_moved_file_is_not_read_again(tmp_path: Path) -> None:
    """A file that is moved to another place in the folder is still the same one."""
    path = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n1\n")
    state = run(reading(tmp_path)).state
    (tmp_path / "archive").mkdir()
    path.rename(tmp_path / "archive" / path.name)
    assert run(reading(tmp_path), state).of("RECORD") == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("23552-05-14-2026-16-user-incremental.gz", ("users", "2026-05-14-16", False, "23552")),
        (
            "my-prog-12-31-2025-00-activity-historical.gz",
            ("activities", "2025-12-31-00", True, "my-prog"),
        ),
        ("1-05-14-2026-16-campaign-incremental.csv.gz", ("campaigns", "2026-05-14-16", False, "1")),
        ("1-05-14-2026-16-campaign-incremental", ("campaigns", "2026-05-14-16", False, "1")),
        ("1-14-05-2026-16-user-incremental.gz", None),
        ("1-05-14-2026-24-user-incremental.gz", None),
        ("1-05-14-2026-16-users-incremental.gz", None),
        ("05-14-2026-16-user-incremental.gz", None),
        ("report.csv", None),
        ("1-05-14-2026-16-user-incremental.gz.asc", None),
        ("1-05-14-2026-16-user-incremental.gz.sha384", None),
        ("._1-05-14-2026-16-user-incremental.gz", None),
        (".1-05-14-2026-16-user-incremental.gz.aB3dE9", None),
    ],
)
def test_names(name: str, expected: tuple[Any, ...] | None) -> None:
    """Names are read as documented; others are foreign."""
    named = parse_name(name)
    found = named and (named.stream, named.generation, named.historical, named.program)
    assert found == expected


def test_foreign_and_unfinished_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Foreign files are counted once, unfinished ones left for the next run; none is touched."""
    caplog.set_level(logging.INFO)
    done = deliver(tmp_path, "users", "2026-05-14-12", "user_id\n1\n")
    part = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n2\n", ending=".gz.part")
    for name in ("notes.txt", ".hidden", "sub/other.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    first = run(reading(tmp_path))
    assert ids(first) == ["1"]
    told = [r.getMessage() for r in caplog.records]
    assert sum("3 files are ignored" in line for line in told) == 1
    assert sum(part.name in line for line in told) == 1
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before
    part.rename(done.with_name(part.name.removesuffix(".part")))
    assert ids(run(reading(tmp_path), first.state)) == ["2"]


def test_file_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose size changes between two looks is left for the next run."""
    done = deliver(tmp_path, "users", "2026-05-14-12", "user_id\n1\n")
    os.utime(done)
    growing = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n2\n")
    whole = growing.read_bytes()
    growing.write_bytes(whole[:5])
    transport = folder_module.FolderTransport(
        str(tmp_path), {}, parse_name, pause=lambda _: growing.write_bytes(whole[:9])
    )
    assert [file.id for file in transport.list_files("users")] == [done.name]
    growing.write_bytes(whole)
    monkeypatch.setattr(folder_module, "SETTLE", 0.01)
    assert ids(run(reading(tmp_path))) == ["1", "2"]


def test_changed_file_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another file of the same name is read, and the log says so; its rows have the same keys."""
    deliver(tmp_path, "activities", "2026-05-14-16", "user_id\n1\n")
    first = run(reading(tmp_path))
    path = deliver(tmp_path, "activities", "2026-05-14-16", "user_id\n1\n2\n")
    second = run(reading(tmp_path), first.state)
    assert ids(second, "activities") == ["1", "2"]
    assert first.rows("activities") == second.rows("activities")[:1]
    assert any("another file of this name" in r.getMessage() for r in caplog.records)
    assert run(reading(tmp_path), second.state).of("RECORD") == []
    assert path.exists()


def test_historical_files(tmp_path: Path) -> None:
    """A backfill is never too late, moves no bookmark, and is read once."""
    deliver(tmp_path, "users", "2026-05-14-16", "user_id\n1\n")
    first = run(reading(tmp_path))
    deliver(tmp_path, "users", "2024-05-14-16", "user_id\n0\n", export="historical")
    deliver(tmp_path, "users", "2026-06-14-16", "user_id\n9\n", export="historical")
    second = run(reading(tmp_path), first.state)
    assert ids(second) == ["0", "9"]
    bookmark = second.state["bookmarks"]["users"]
    assert bookmark["replication_key_value"] == "2026-05-14T16:00:00Z"
    deliver(tmp_path, "users", "2026-05-14-20", "user_id\n2\n")
    third = run(reading(tmp_path), second.state)
    assert ids(third) == ["2"]
    for day in range(1, 30):
        deliver(tmp_path, "users", f"2026-07-{day:02}-00", "user_id\n3\n")
    fourth = run(reading(tmp_path), third.state)
    assert len(ids(fourth)) == 29
    assert run(reading(tmp_path), fourth.state).of("RECORD") == []


def test_historical_and_incremental_in_order(tmp_path: Path) -> None:
    """In a run files come by generation, of either kind: a key's newest row is the last."""
    deliver(tmp_path, "users", "2026-05-14-16", "user_id,tenure\n1,3\n")
    deliver(tmp_path, "users", "2026-05-14-12", "user_id,tenure\n1,2\n", export="historical")
    deliver(tmp_path, "users", "2026-05-14-08", "user_id,tenure\n1,1\n")
    assert [r["tenure"] for r in run(reading(tmp_path)).records("users")] == [1, 2, 3]


def test_several_programs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One program is picked by program_id; else a column tells them apart, with a warning."""
    for program in ("1", "2"):
        content = f"user_id\n{program}\n"
        deliver(tmp_path, "users", "2026-05-14-16", content, program=program)
    both = run(reading(tmp_path))
    assert [(r["user_id"], r["_sdc_program_id"]) for r in both.records("users")] == [
        ("1", "1"),
        ("2", "2"),
    ]
    assert "_sdc_program_id" in both.schema("users")["schema"]["properties"]
    assert any("folder.program_id" in r.getMessage() for r in caplog.records)
    one = run(reading(tmp_path, program_id="2"))
    assert ids(one) == ["2"]
    assert "_sdc_program_id" not in one.schema("users")["schema"]["properties"]
    assert one.state["bookmarks"]["users"]["program_id"] == "2"
    with pytest.raises(StateError, match="the state is of program 2, what is read now of 1"):
        run(reading(tmp_path, program_id="1"), one.state)


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".md5", "{md5}  {name}\n"),
        (".md5", "{md5}"),
        (".MD5", "MD5 ({name}) = {md5}"),
        (".sha256", "{sha256} *{name}\r\n"),
        (".checksum", "{sha256}"),
        (".sha512", "x  other\n{sha512}  {name}\n"),
    ],
)
@pytest.mark.parametrize("beside_stem", [False, True])
def test_checksum_files(tmp_path: Path, ending: str, text: str, beside_stem: bool) -> None:  # noqa: FBT001
    """A checksum beside a file is verified, in the usual forms."""
    path = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n1\n")
    digests = {
        kind: hashlib.new(kind, path.read_bytes()).hexdigest()
        for kind in ("md5", "sha256", "sha512")
    }
    beside = path.with_suffix(ending) if beside_stem else path.with_name(path.name + ending)
    beside.write_text(text.format(name=path.name, **digests))
    assert ids(run(reading(tmp_path))) == ["1"]
    wrong = {kind: "0" * len(digest) for kind, digest in digests.items()}
    beside.write_text(text.format(name=path.name, **wrong))
    with pytest.raises(IntegrityError, match="checksum is not"):
        run(reading(tmp_path))


def test_unknown_checksum_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A checksum file that is not understood is told once, and the file is read."""
    path = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n1\n")
    path.with_name(path.name + ".checksum").write_text("-- none --")
    assert ids(run(reading(tmp_path))) == ["1"]
    assert sum("is no checksum that is known" in r.getMessage() for r in caplog.records) == 1


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ({"url": "/no/such/folder"}, "the folder is not there; check folder.url"),
        ({"url": "nosuch://host/path"}, "the folder cannot be opened (ValueError)"),
        ({"url": "sftp://127.0.0.1:9/x", "options": {"password": "precious"}}, "cannot be reached"),
        ({}, "folder needs a url"),
        ({"url": "/no/such/folder", "colour": 1}, "colour"),
    ],
)
def test_wrong_folders(tmp_path: Path, folder: dict[str, Any], says: str) -> None:
    """A folder that cannot be read is one line, without what is secret."""
    path = write(tmp_path, "c.json", {"folder": folder, "max_retries": 0})
    done = command("--config", path)
    assert done.status == 1
    assert says in done.log.splitlines()[-1]
    assert "Traceback" not in done.log
    assert "precious" not in done.log


def test_file_that_went_away(tmp_path: Path) -> None:
    """A file that is moved out between list and read is an error, not an empty file."""
    path = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n1\n")
    transport = folder_module.FolderTransport(str(tmp_path), {}, parse_name)
    (file,) = transport.list_files("users")
    path.unlink()
    with pytest.raises(FileGoneError, match="no longer in the folder"), transport.fetch(file):
        pass


def test_changed_file_that_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place inside a file that was delivered anew is kept: its other rows come next time."""
    monkeypatch.setattr(streams, "SLICE", 2)
    deliver(tmp_path, "users", "2026-05-14-16", "user_id\n0\n")
    state = run(reading(tmp_path)).state
    path = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n1\n2\n3\n4\n5\n")
    os.utime(path, (OLD + 5,) * 2)
    second = run(reading(tmp_path), state)
    states = [m["value"] for m in second.of("STATE")]
    (inside,) = [
        v for v in states if v["bookmarks"]["users"].get("in_progress", {}).get("rows") == 2
    ]
    assert ids(run(reading(tmp_path), inside)) == ["3", "4", "5"]


def test_links(tmp_path: Path) -> None:
    """Links to files and to folders are followed, in a circle too."""
    deliver(tmp_path / "a", "users", "2026-05-14-12", "user_id\n1\n")
    path = deliver(tmp_path / "b", "users", "2026-05-14-16", "user_id\n2\n")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / path.name).symlink_to(path)
    (tmp_path / "in" / "more").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "back").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "nowhere").symlink_to(tmp_path / "none")
    assert ids(run(reading(tmp_path / "in"))) == ["1", "2"]


def test_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder within the folder that cannot be read is an error, not an empty one."""
    deliver(tmp_path / "a", "users", "2026-05-14-12", "user_id\n1\n")
    before = LocalFileSystem.ls

    def ls(self: Any, path: str, **options: Any) -> Any:
        if path.endswith("/a"):
            raise PermissionError(path)
        return before(self, path, **options)

    monkeypatch.setattr(LocalFileSystem, "ls", ls)
    with pytest.raises(TransportError, match="access was denied"):
        run(reading(tmp_path))


def test_from_the_api_to_a_folder_and_back(emulator: Emulator, tmp_path: Path) -> None:
    """With a state of the API what was generated up to it counts as read, and the other way."""
    emulator.add_generation(rows=5, parts=1)
    for file in emulator.files:
        deliver(tmp_path, file.stream, file.generated_at, gzip.decompress(file.body))
    first = run(settings(emulator))
    second = run(reading(tmp_path), first.state)
    assert second.of("RECORD") == []
    deliver(tmp_path, "users", "2026-05-14-20", "user_id\n7\n")
    third = run(reading(tmp_path), second.state)
    assert ids(third) == ["7"]
    emulator.add("users", "2026-05-15-00", "user_id\n8\n")
    assert ids(run(settings(emulator), third.state)) == ["8"]


def test_programs_come_and_go(tmp_path: Path) -> None:
    """Files of one program or of another: all are read."""
    state: Any = None
    for number, program in enumerate("1221"):
        content = f"user_id\n{number}\n"
        path = deliver(tmp_path, "users", f"2026-05-14-{number:02}", content, program=program)
        done = run(reading(tmp_path), state)
        assert ids(done) == [str(number)]
        state = done.state
        path.unlink()


@pytest.mark.parametrize(
    "url", ["sftp://bob:precious@127.0.0.1:9/x", "sftp://bob:pre/precious@h/x", "bob:precious@h:/x"]
)
def test_password_in_the_url(tmp_path: Path, url: str) -> None:
    """A password within the URL is in no message."""
    path = write(tmp_path, "c.json", {"folder": {"url": url}, "max_retries": 0})
    done = command("--config", path, env={"TAP_FIRSTUP_DDE_LOGLEVEL": "DEBUG"})
    assert done.status == 1
    assert "precious" not in done.log
    assert "Traceback" not in done.log


class SFTP:
    """An SFTP server on loopback that serves a folder.

    Attributes:
        port: Its port.
        key: Its host key.
        drop_after: Bytes read of a file after which connections are cut, once.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.users = {kind: asyncssh.generate_private_key(kind) for kind in ("ssh-ed25519",)}
        self.users["ssh-rsa"] = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
        self.drop_after: int | None = None
        self.read = 0
        self._loop = asyncio.new_event_loop()
        self._connections: list[Any] = []

    def __enter__(self) -> Self:
        """Start serving."""
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> int:  # noqa: C901 - two small classes
        sftp = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: Any) -> None:
                sftp._connections.append(conn)

            def begin_auth(self, _username: str) -> bool:
                return True

            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                return (username, password) == ("bob", "precious")

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, _username: str, key: Any) -> bool:
                return key.public_data in {k.public_data for k in sftp.users.values()}

        class Files(asyncssh.SFTPServer):
            def __init__(self, chan: Any) -> None:
                super().__init__(chan, chroot=str(sftp.root).encode())

            def read(self, file_obj: Any, offset: int, size: int) -> Any:
                sftp.read += size
                if sftp.drop_after is not None and sftp.read > sftp.drop_after:
                    sftp.drop_after = None
                    for connection in sftp._connections:
                        connection.abort()
                return super().read(file_obj, offset, size)

        self._server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[self.key],
            sftp_factory=Files,
        )
        return int(self._server.get_port())

    async def _stop(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.abort()
        await self._server.wait_closed()

    @property
    def fingerprint(self) -> str:
        """Of its host key."""
        return str(self.key.get_fingerprint())

    def settings(self, **options: Any) -> dict[str, Any]:
        """Settings that read its folder."""
        options = {"password": "precious", **options}
        url = f"sftp://bob@127.0.0.1:{self.port}/"
        return {"folder": {"url": url, "options": options}, "max_retries": 2}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SFTP]:
    """An SFTP server with a file of each stream."""
    root = tmp_path_factory.mktemp("sftp")
    for stream in KEYS:
        deliver(root / "in", stream, "2026-05-14-16", "user_id,campaign_id\n1,1\n")
    with SFTP(root) as server:
        yield server


def test_pinned_host_key(served: SFTP) -> None:
    """With the fingerprint of its host key a server is read."""
    done = run(served.settings(fingerprint=served.fingerprint))
    assert len(done.of("RECORD")) == 3


def test_known_host(served: SFTP, tmp_path: Path) -> None:
    """With a known_hosts file that knows it, too."""
    known = tmp_path / "known_hosts"
    public = served.key.export_public_key().decode()
    known.write_text(f"[127.0.0.1]:{served.port} {public}")
    assert len(run(served.settings(known_hosts=str(known))).of("RECORD")) == 3


@pytest.mark.parametrize("known", ["unknown", "changed", "other fingerprint", "null"])
def test_unknown_host_key(served: SFTP, tmp_path: Path, known: str, monkeypatch: Any) -> None:
    """An unknown or changed host key is refused, with its fingerprint and what to do."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "known_hosts"
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    file.write_text(f"[127.0.0.1]:{served.port} {other}" if known == "changed" else "")
    options: dict[str, Any] = {"known_hosts": str(file)}
    if known == "other fingerprint":
        options = {"fingerprint": "SHA256:nothing"}
    if known == "null":
        options = {"known_hosts": None}
    with pytest.raises(TransportError) as caught:
        run(served.settings(**options))
    assert served.fingerprint in str(caught.value)
    assert "folder.options.fingerprint" in str(caught.value)
    assert not isinstance(caught.value, RetriableTransportError)


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa"])
@pytest.mark.parametrize("passphrase", [None, "also-precious"])
def test_keys(served: SFTP, tmp_path: Path, kind: str, passphrase: str | None) -> None:
    """Keys of the usual kinds connect, encrypted ones by their passphrase."""
    path = tmp_path / "key"
    served.users[kind].write_private_key(str(path), passphrase=passphrase)
    options = {
        "password": None,
        "client_keys": [str(path)],
        "passphrase": passphrase,
        "fingerprint": served.fingerprint,
    }
    assert len(run(served.settings(**options)).of("RECORD")) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"password": "wrong-secret"}, "access was denied"),
        ({"client_keys": ["/no/such/key"]}, "private key|client_keys|no longer|cannot be"),
    ],
)
def test_wrong_login(served: SFTP, options: dict[str, Any], says: str) -> None:
    """A login that is refused is an error that says where to look, without the secret."""
    with pytest.raises(TransportError, match=says) as caught:
        run(served.settings(fingerprint=served.fingerprint, **options))
    assert "secret" not in str(caught.value)


def test_dropped_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that drops in mid-file is made anew, and the file goes on from there."""
    monkeypatch.setattr("tap_firstup_dde.exportlib.http._FIRST_PAUSE", 0.01)
    monkeypatch.setattr(folder_module, "CHUNK", 1 << 18)
    rows = "user_id\n" + "".join(f"{n:09}\n" for n in range(500_000))
    deliver(tmp_path, "users", "2026-05-14-16", rows, ending=".csv")
    with SFTP(tmp_path) as server:
        server.drop_after = 2 << 20
        done = run(server.settings(fingerprint=server.fingerprint))
        assert not server.drop_after
        assert len(set(ids(done))) == 500_000
        assert server.read < 12 << 20  # of 5 MB, once for the look and once whole at most


def test_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bucket is a folder like any other; its objects' ETags tell versions."""
    import s3fs  # noqa: PLC0415
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"key": "k", "secret": "precious", "endpoint_url": f"http://{host}:{port}"}
        files = s3fs.S3FileSystem(**options)
        files.mkdir("bucket")
        path = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n1\n")
        files.put(str(path), f"bucket/in/2026/{path.name}")
        config = {"folder": {"url": "s3://bucket/in", "options": options}}
        monkeypatch.setattr(folder_module, "SETTLE", 0.01)
        first = run(config)
        assert ids(first) == ["1"]
        assert run(config, first.state).of("RECORD") == []
        with pytest.raises(TransportError, match="the folder is not there"):
            run({"folder": {"url": "s3://bucket/none", "options": options}})
    finally:
        server.stop()


def test_time_of_generation() -> None:
    """Names have month first; generations have the year first, so that they sort."""
    named = parse_name("1-12-01-2025-08-user-incremental.gz")
    assert named
    assert named.generated_at == datetime(2025, 12, 1, 8, tzinfo=UTC)
    assert time.gmtime(OLD).tm_year < 2026
