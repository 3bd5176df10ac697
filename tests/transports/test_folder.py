"""Delivered files: the API's rows, from a folder, an SFTP server or a bucket."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from fsspec.implementations.local import LocalFileSystem

from filetap.download.spool import Spool
from filetap.errors import (
    FileGoneError,
    IntegrityError,
    RetriableTransportError,
    StateError,
    TransportError,
)
from filetap.settings import Folder, Retries
from filetap.transports import folder as folder_module
from filetap.transports import folder_access
from filetap.transports.file_system import open_folder
from tap_firstup_dde.cli import main
from tap_firstup_dde.delivered import NAMES, parse_path
from tap_firstup_dde.documented import STREAMS
from tests.folders import OLD, deliver, ids, reading
from tests.runs import Run, command, run, settings, tune, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_firstup_dde.emulator import Emulator


def test_same_as_the_api(emulator: Emulator, tmp_path: Path) -> None:
    """All streams of three generations: equal messages except _sdc_source_file and state."""
    for _ in range(3):
        emulator.add_generation(rows=40, parts=1)
    for file in emulator.files:
        content = gzip.decompress(file.body)
        deliver(tmp_path, file.stream, file.generated_at, content)
    api, folder = run(settings(emulator)), run(reading(tmp_path))
    for stream in STREAMS:
        assert api.schema(stream) == folder.schema(stream)
        assert api.records(stream)
        for one, other in zip(api.records(stream), folder.records(stream), strict=True):
            source = other.pop("_sdc_source_file")
            assert one.pop("_sdc_source_file")[:13] == source[:13]
            assert one == other
    assert run(reading(tmp_path), folder.state).of("RECORD") == []


def test_source_names_the_file(tmp_path: Path) -> None:
    """A record states which file it is from, wherever in the folder that is."""
    path = deliver(tmp_path / "2026/05/14", "users", "2026-05-14-16", "user_id\n1\n")
    (record,) = run(reading(tmp_path)).records("users")
    key = hashlib.sha256(path.name.encode()).hexdigest()[:12]
    assert record["_sdc_source_file"] == f"2026-05-14-16/{path.name}/{key}"
    assert record["generated_at"] == "2026-05-14T16:00:00Z"


def test_moved_file_is_not_read_again(tmp_path: Path) -> None:
    """A file that is moved within the folder is still the same file."""
    path = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n1\n")
    state = run(reading(tmp_path)).state
    (tmp_path / "archive").mkdir()
    path.rename(tmp_path / "archive" / path.name)
    assert run(reading(tmp_path), state).of("RECORD") == []


@pytest.mark.parametrize("ending", [".gz", ".csv"])
def test_copied_file_is_not_read_again(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A copied file has another time of change, but its bytes show that it was read."""
    caplog.set_level(logging.INFO)
    path = deliver(tmp_path, "users", "2026-05-14-12", "user_id,tenure\n1,1\n", ending=ending)
    deliver(tmp_path, "users", "2026-05-14-16", "user_id,tenure\n1,2\n", ending=ending)
    first = run(reading(tmp_path))
    copy = tmp_path / "done" / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    os.utime(copy, (OLD + 5,) * 2)
    second = run(reading(tmp_path), first.state)
    path.unlink()
    third = run(reading(tmp_path), second.state)
    assert second.of("RECORD") == third.of("RECORD") == []
    assert not any("the file was replaced" in r.getMessage() for r in caplog.records)
    assert sum("was copied or moved" in r.getMessage() for r in caplog.records) == 1


@pytest.mark.parametrize("change", ["content", "no record of it"])
def test_another_file_of_the_same_size(
    tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is read; so is a copy with a state of a release without checksums."""
    path = deliver(tmp_path, "users", "2026-05-14-12", "user_id\n1\n", ending=".csv")
    first = run(reading(tmp_path))
    if change == "content":
        path.write_text("user_id\n2\n")
    else:
        del first.state["bookmarks"]["users"]["contents"]
    os.utime(path, (OLD + 5,) * 2)
    second = run(reading(tmp_path), first.state)
    assert ids(second) == ["2" if change == "content" else "1"]
    assert any("the file was replaced" in r.getMessage() for r in caplog.records)
    assert run(reading(tmp_path), second.state).of("RECORD") == []


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
    named = parse_path(name)
    found = named and (named.stream, named.generation, named.historical, named.account)
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


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("23552-05-14-2026-24-user-incremental.gz", True),
        ("23552-02-30-2026-10-activity-historical.gz", True),
        ("23552-05-14-2026-16-user-full.gz", True),
        ("23552-05-14-2026-16-user-incremental-001.gz", True),
        ("23552-05-14-2026-16-user-incremental (1).gz", True),
        ("23552-5-14-2026-16-users-incremental.gz", True),
        ("user-incremental-2026-05-14.csv", True),
        ("23552_20260514_activities.csv.gz", True),
        ("notes.txt", False),
        ("users.csv", False),
        ("user-guide-2026.pdf", False),
        ("2026-05-14 report.csv", False),
        ("23552-05-14-2026-16-user-incremental.gz.asc", False),
        ("._23552-05-14-2026-16-user-incremental.gz", False),
    ],
)
def test_almost_an_export(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, *, named: bool
) -> None:
    """A file that is ignored although its name resembles an export's is named."""
    (tmp_path / name).write_bytes(b"")
    assert run(reading(tmp_path)).of("RECORD") == []
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [name in warning for warning in warnings] == [True] * named
    assert [f"these are named {NAMES}" in warning for warning in warnings] == [True] * named


def test_doctor_names_what_is_ignored(tmp_path: Path) -> None:
    """In a folder of misnamed files, it says so, and not how to set exports up."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (*(f"user-2026-05-1{number}.csv" for number in range(4)), "notes.txt"):
        (folder / name).touch()
    config = write(tmp_path, "config.json", reading(folder))
    done = CliRunner().invoke(main, ["doctor", "--config", config])
    names = "user-2026-05-10.csv, user-2026-05-11.csv, user-2026-05-12.csv, …"
    words = f"5 files lie there, not named as expected: {names}; export files are named {NAMES}"
    assert words in done.stdout
    assert "Creator Studio" not in done.stdout


def test_file_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose size changes between two checks is left for the next run."""
    done = deliver(tmp_path, "users", "2026-05-14-12", "user_id\n1\n")
    os.utime(done)
    growing = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n2\n")
    whole = growing.read_bytes()
    growing.write_bytes(whole[:5])
    retries = Retries(pause=lambda _: growing.write_bytes(whole[:9]))
    transport = folder_module.FolderTransport(Folder(str(tmp_path)), parse_path, retries=retries)
    assert [file.id for file in transport.list_files("users")] == [done.name]
    growing.write_bytes(whole)
    monkeypatch.setattr(folder_module, "RECHECK", 0.01)
    assert ids(run(reading(tmp_path))) == ["1", "2"]


def test_changed_file_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another file of the same name is read, and the log says so; its rows have the same keys."""
    deliver(tmp_path, "activities", "2026-05-14-16", "user_id\n1\n")
    first = run(reading(tmp_path))
    path = deliver(tmp_path, "activities", "2026-05-14-16", "user_id\n1\n2\n")
    second = run(reading(tmp_path), first.state)
    assert ids(second, "activities") == ["1", "2"]
    assert first.rows("activities") == second.rows("activities")[:1]
    assert any("the file was replaced" in r.getMessage() for r in caplog.records)
    assert run(reading(tmp_path), second.state).of("RECORD") == []
    assert path.exists()


def test_historical_files(tmp_path: Path) -> None:
    """A backfill is never too late, does not move the bookmark, and is read once."""
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
    """A run reads files of both kinds by generation: a key's newest row is the last."""
    deliver(tmp_path, "users", "2026-05-14-16", "user_id,tenure\n1,3\n")
    deliver(tmp_path, "users", "2026-05-14-12", "user_id,tenure\n1,2\n", export="historical")
    deliver(tmp_path, "users", "2026-05-14-08", "user_id,tenure\n1,1\n")
    assert [r["tenure"] for r in run(reading(tmp_path)).records("users")] == [1, 2, 3]


def test_several_programs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """program_id selects one program; otherwise a column distinguishes them, with a warning."""
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
    with pytest.raises(StateError, match="belongs to program 2, but the files belong to 1"):
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
    """A checksum file that is not understood is reported once, and the file is read."""
    path = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n1\n")
    path.with_name(path.name + ".checksum").write_text("-- none --")
    assert ids(run(reading(tmp_path))) == ["1"]
    assert sum("is not a known kind of checksum" in r.getMessage() for r in caplog.records) == 1


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ({"url": "/no/such/folder"}, "the folder does not exist; check folder.url"),
        ({"url": __file__}, "it is a file, not a folder; set folder.url to the folder"),
        ({"url": "nosuch://host/path"}, "the folder cannot be opened (ValueError)"),
        ({"url": "sftp://127.0.0.1:9/x", "options": {"password": "precious"}}, "cannot be reached"),
        ({}, "folder needs a url"),
        ({"url": "/no/such/folder", "colour": 1}, "colour"),
    ],
)
def test_wrong_folders(tmp_path: Path, folder: dict[str, Any], says: str) -> None:
    """A folder that cannot be read is a one-line error without secrets."""
    path = write(tmp_path, "c.json", {"folder": folder, "max_retries": 0})
    done = command("--config", path)
    assert done.status == 1
    assert says in done.log.splitlines()[-1]
    assert "Traceback" not in done.log
    assert "precious" not in done.log


def test_file_that_went_away(tmp_path: Path) -> None:
    """A file that is moved out between list and read is an error, not an empty file."""
    path = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n1\n")
    transport = folder_module.FolderTransport(Folder(str(tmp_path)), parse_path, retries=Retries())
    (file,) = transport.list_files("users")
    path.unlink()
    with pytest.raises(FileGoneError, match="no longer in the folder"), transport.fetch(file):
        pass


def test_changed_file_that_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The position inside a file that was delivered again is kept: the next run reads the rest."""
    tune(monkeypatch, slice=2)
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
    # A copy is the same file, even while it is in progress.
    os.utime(path, (OLD + 9,) * 2)
    assert ids(run(reading(tmp_path), inside)) == ["3", "4", "5"]


def test_links(tmp_path: Path) -> None:
    """Links to files and to folders are followed, even in a circle."""
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
    """With the API's state, generations up to its bookmark count as read, and vice versa."""
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


@pytest.fixture(scope="module")
def storage() -> Iterator[dict[str, str]]:
    """Options that reach an S3 server on loopback."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield {"key": "k", "secret": "precious", "endpoint_url": f"http://{host}:{port}"}
    server.stop()


@pytest.fixture
def bucket(
    storage: dict[str, str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, str, dict[str, Any]]:
    """A client of the server, the name of an empty bucket, and settings for reading below in/."""
    import boto3  # noqa: PLC0415 - slow

    monkeypatch.setattr(folder_module, "RECHECK", 0.01)
    client = boto3.client(
        "s3",
        endpoint_url=storage["endpoint_url"],
        aws_access_key_id=storage["key"],
        aws_secret_access_key=storage["secret"],
        region_name="us-east-1",
    )
    name = request.node.originalname.replace("_", "-")
    client.create_bucket(Bucket=name)
    return client, name, {"folder": {"url": f"s3://{name}/in", "options": storage}}


def test_bucket(bucket: tuple[Any, str, dict[str, Any]], tmp_path: Path) -> None:
    """A bucket is a folder like any other; its objects' ETags distinguish versions."""
    client, name, config = bucket
    path = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n1\n")
    client.upload_file(str(path), name, f"in/2026/{path.name}")
    first = run(config)
    assert ids(first) == ["1"]
    assert run(config, first.state).of("RECORD") == []
    config["folder"] = {**config["folder"], "url": f"s3://{name}/none"}
    with pytest.raises(TransportError, match="the folder does not exist"):
        run(config)


def test_copied_object(bucket: tuple[Any, str, dict[str, Any]], tmp_path: Path) -> None:
    """An object that was uploaded in parts has another ETag once copied, and is not read again."""
    client, name, config = bucket
    path = deliver(tmp_path, "users", "2026-05-14-12", "user_id,tenure\n1,1\n")
    key, copy = f"in/{path.name}", f"in/done/{path.name}"
    upload = client.create_multipart_upload(Bucket=name, Key=key)["UploadId"]
    options = {"Bucket": name, "Key": key, "UploadId": upload}
    part = client.upload_part(**options, PartNumber=1, Body=path.read_bytes())
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    whole = client.complete_multipart_upload(**options, MultipartUpload={"Parts": parts})
    newer = deliver(tmp_path, "users", "2026-05-14-16", "user_id,tenure\n1,2\n")
    client.upload_file(str(newer), name, f"in/{newer.name}")
    first = run(config)
    assert [r["tenure"] for r in first.records("users")] == [1, 2]
    client.copy_object(Bucket=name, Key=copy, CopySource={"Bucket": name, "Key": key})
    assert client.head_object(Bucket=name, Key=copy)["ETag"] != whole["ETag"]
    for removed in ("none", key):
        client.delete_object(Bucket=name, Key=removed)
        again = run(config, first.state)
        assert again.of("RECORD") == []
    # From now on its new ETag is known.
    client.delete_object(Bucket=name, Key=copy)
    client.put_object(Bucket=name, Key=copy, Body=gzip.compress(b"user_id,tenure\n1,3\n"))
    assert [r["tenure"] for r in run(config, again.state).records("users")] == [3]


@pytest.mark.parametrize("tier", ["GLACIER", "DEEP_ARCHIVE"])
def test_archived_object(
    bucket: tuple[Any, str, dict[str, Any]], tmp_path: Path, tier: str
) -> None:
    """An object in an archive tier is an error that names it and says to restore it."""
    client, name, config = bucket
    path = deliver(tmp_path, "users", "2026-05-14-16", "user_id\n1\n")
    body = path.read_bytes()
    client.put_object(Bucket=name, Key=f"in/{path.name}", Body=body, StorageClass=tier)
    with pytest.raises(TransportError, match="is in an archive tier of its bucket; restore") as e:
        run(config)
    assert path.name in str(e.value)
    assert not isinstance(e.value, RetriableTransportError)
    restore = {"Days": 1, "GlacierJobParameters": {"Tier": "Standard"}}
    client.restore_object(Bucket=name, Key=f"in/{path.name}", RestoreRequest=restore)
    assert ids(run(config)) == ["1"]


class Rewritten:
    """A file for which *rewrite* is called after its first bytes were read."""

    def __init__(self, file: Any, rewrite: Callable[[], object]) -> None:
        self._file = file
        self._rewrite = rewrite

    def __getattr__(self, name: str) -> Any:
        """Everything else is the file's own."""
        return getattr(self._file, name)

    def read(self, size: int) -> bytes:
        """The next bytes; then the rest of the file is replaced."""
        chunk: bytes = self._file.read(size)
        self._rewrite()
        return chunk


def _in_place(path: Path, content: bytes) -> None:
    """Overwrite a file, with a later time of change."""
    path.write_bytes(content)


def _unnoticed(path: Path, content: bytes) -> None:
    """Overwrite a file, with the same time of change."""
    path.write_bytes(content)
    os.utime(path, (OLD, OLD))


def _instead(path: Path, content: bytes) -> None:
    """Replace a file by another, with the same time of change."""
    other = path.with_suffix(".new")
    other.write_bytes(content)
    os.utime(other, (OLD, OLD))
    other.rename(path)


@pytest.mark.parametrize("rewrite", [_in_place, _unnoticed, _instead])
@pytest.mark.parametrize("ending", [".csv", ".gz"])
@pytest.mark.parametrize("size", [2_000, 60_000])
def test_rewritten_while_it_is_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rewrite: Callable[[Path, bytes], None],
    ending: str,
    size: int,
) -> None:
    """A file that is rewritten while it is read is read again or refused: never half of each."""
    tune(monkeypatch, first_pause=0.01)
    monkeypatch.setattr(folder_access, "CHUNK", 1 << 12)
    path, content = tmp_path, b""
    for letter in "ba":
        rows = "user_id\n" + "".join(f"{letter}{n:06}\n" for n in range(size))
        content = content or rows.encode()
        path = deliver(tmp_path, "users", "2026-05-14-12", rows, ending=ending)
    content = gzip.compress(content) if ending == ".gz" else content
    before, left = LocalFileSystem.open, [content]

    def opened(self: Any, name: str, *arguments: Any, **options: Any) -> Any:
        file = before(self, name, *arguments, **options)
        return Rewritten(file, lambda: rewrite(path, left.pop()) if left else None)

    monkeypatch.setattr(LocalFileSystem, "open", opened)
    state = None
    if rewrite is _in_place:  # the version that was listed is gone
        with pytest.raises(TransportError, match="the file changed") as caught:
            run(reading(tmp_path))
        refused: Run = caught.value.run  # type: ignore[attr-defined]
        assert refused.of("RECORD") == []
        state = refused.state
    done = run(reading(tmp_path), state)
    assert not left
    read = ids(done)
    assert len(read) == size
    assert {name[0] for name in read} == {"b"}
    assert run(reading(tmp_path), done.state).of("RECORD") == []


def test_connection_that_fails_after_the_last_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a file cannot be checked for changes meanwhile, it does not count as complete."""
    deliver(tmp_path, "users", "2026-05-14-12", "user_id\n1\n", ending=".csv")
    before, asked = LocalFileSystem.info, []

    def info(self: Any, path: Any, **options: Any) -> Any:
        if str(path).endswith(".csv"):
            asked.append(path)
        if len(asked) > 1:
            raise ConnectionResetError
        return before(self, path, **options)

    transport = folder_module.FolderTransport(Folder(str(tmp_path)), parse_path, retries=Retries(0))
    (file,) = transport.list_files("users")
    monkeypatch.setattr(LocalFileSystem, "info", info)
    with pytest.raises(TransportError, match="cannot be reached"):
        Spool(retries=Retries(3, pause=lambda _: None)).download(transport, file)


def test_moved_away_once_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is moved away as soon as its bytes are read is read."""
    path = deliver(tmp_path, "users", "2026-05-14-12", "user_id\n1\n")
    before = LocalFileSystem.open

    def opened(self: Any, name: str, *arguments: Any, **options: Any) -> Any:
        file = before(self, name, *arguments, **options)
        return Rewritten(file, lambda: path.unlink(missing_ok=True))

    monkeypatch.setattr(LocalFileSystem, "open", opened)
    assert ids(run(reading(tmp_path))) == ["1"]


def test_rest_of_another_file(tmp_path: Path) -> None:
    """Bytes of an earlier download are not completed with those of the current file."""
    deliver(tmp_path, "users", "2026-05-14-12", "user_id\n1\n", ending=".csv")
    transport = folder_module.FolderTransport(Folder(str(tmp_path)), parse_path, retries=Retries())
    (file,) = transport.list_files("users")
    with transport.fetch(file) as body:
        assert body.offset == 0
    with transport.fetch(file, 5, body.version) as rest:
        assert b"".join(rest.chunks) == b"user_id\n1\n"[5:]
    for version in ("", "another"):
        with transport.fetch(file, 5, version) as rest:
            assert rest.offset == 0


def test_one_name_twice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of two files with one name the newer is read, with a warning, and the older never later."""
    deliver(tmp_path / "a", "users", "2026-05-14-12", "user_id\n1\n")
    path = deliver(tmp_path / "b", "users", "2026-05-14-12", "user_id\n2\n")
    os.utime(path, (OLD - 60,) * 2)
    first = run(reading(tmp_path))
    assert ids(first) == ["1"]
    assert any("exists twice; the newer file is read" in r.getMessage() for r in caplog.records)
    assert run(reading(tmp_path), first.state).of("RECORD") == []


def test_what_is_not_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Dangling links, pipes, and names that are not UTF-8 are counted and named, on one line."""
    caplog.set_level(logging.INFO)
    deliver(tmp_path, "users", "2026-05-14-12", "user_id\n1\n")
    (tmp_path / "23552-05-14-2026-16-user-incremental.gz").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    Path(os.fsdecode(bytes(tmp_path) + b"/pr\xe9nom")).write_text("x")
    (tmp_path / "evil\n\x1b[2J.part").write_text("x")
    (tmp_path / "odd\nfolder").mkdir()
    deliver(tmp_path / "odd\nfolder", "users", "2026-05-14-20", "user_id\n2\n")
    assert ids(run(reading(tmp_path))) == ["1", "2"]
    told = [r.getMessage() for r in caplog.records]
    (line,) = [line for line in told if "skipped 4 paths" in line]
    named = "23552-05-14-2026-16-user-incremental.gz, loop, pipe, pr\ufffdnom"
    assert line.endswith(f": {named}")
    assert any("evil\ufffd\ufffd[2J.part" in line for line in told)
    assert not any(c in line for line in told for c in "\n\x1b")


def test_young_file_that_goes_away(tmp_path: Path) -> None:
    """A file that is renamed before its second check is left for the next run."""
    path = deliver(tmp_path, "users", "2026-05-14-12", "user_id\n1\n")
    os.utime(path)
    deliver(tmp_path, "users", "2026-05-14-16", "user_id\n2\n")
    transport = folder_module.FolderTransport(
        Folder(str(tmp_path)), parse_path, retries=Retries(pause=lambda _: path.unlink())
    )
    assert [file.generation for file in transport.list_files("users")] == ["2026-05-14-16"]


@pytest.mark.parametrize(
    ("url", "opened", "login"),
    [
        (
            "ftp://user%40corp:p%2Fw%25x@host:21/in%20box",
            "ftp://host:21/in%20box",
            {"username": "user@corp", "password": "p/w%x"},
        ),
        ("ftp://host/in%20box@2", "ftp://host/in%20box@2", {}),
        ("ftp://bob@host/in", "ftp://host/in", {"username": "bob"}),
        (
            "smb://corp;me:a%3Ab@host/in",
            "smb://host/in",
            {"username": "corp;me", "password": "a:b"},
        ),
        ("webhdfs://me:a%3Ab@host/in", "webhdfs://host/in", {"user": "me", "password": "a:b"}),
        ("s3://bucket/a%40b@c", "s3://bucket/a%40b@c", {}),
        ("/data/100%25@x", "/data/100%25@x", {}),
    ],
)
def test_encoded_login(
    url: str, opened: str, login: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login in a URL is decoded if its file system does not; the path is not."""
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda url, **options: (options, url))
    options, path = open_folder(url, {}, [])
    assert path == opened
    assert options == {**login, "skip_instance_cache": True}
    # Explicit options override it.
    options, _ = open_folder(url, {"password": "own"}, [])
    assert options == {**login, "password": "own", "skip_instance_cache": True}


def test_time_of_generation() -> None:
    """Names have month first; generations have the year first, so that they sort."""
    named = parse_path("1-12-01-2025-08-user-incremental.gz")
    assert named
    assert named.generated_at == datetime(2025, 12, 1, 8, tzinfo=UTC)
    assert time.gmtime(OLD).tm_year < 2026
