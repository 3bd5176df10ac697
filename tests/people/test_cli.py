"""The commands for people: what they show is true, and what they fetch is verified."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import click
import pytest
from click.testing import CliRunner

from filetap.bookmark_state import read_bookmark
from filetap.times import format_time
from tap_firstup_dde.cli import main
from tap_firstup_dde.documented import STREAMS
from tap_firstup_dde.tap import TapFirstupDDE
from tests import ROOT
from tests.folders import deliver, reading
from tests.runs import run, settings, write

if TYPE_CHECKING:
    from click.testing import Result

    from tap_firstup_dde.emulator import EmulatedFile, Emulator

FIELDS = [
    *("stream", "generated_at", "file_name", "key", "id", "source", "size_bytes", "age_seconds"),
    *("expires_at", "historical", "status", "rows_read"),
]


pytestmark = pytest.mark.usefixtures("nowhere")


def ask(emulator: Emulator, *arguments: str, **more: Any) -> Result:
    """Run a command with settings that reach the emulator."""
    config = write(Path.cwd(), "config.json", settings(emulator, **{"max_retries": 0, **more}))
    return CliRunner().invoke(main, [*arguments, "--config", config], catch_exceptions=False)


def listed(emulator: Emulator, *arguments: str, **more: Any) -> list[dict[str, Any]]:
    """The output of `files --output json`."""
    done = ask(emulator, "files", "--output", "json", *arguments, **more)
    assert done.exit_code == 0, done.output
    return list(json.loads(done.stdout))


def _key(file: EmulatedFile) -> str:
    return hashlib.sha256(file.id.encode()).hexdigest()[:12]


# files


def test_files_are_those_that_there_are(emulator: Emulator) -> None:
    """Each file is an object with these members, in the tap's order, with Firstup's size."""
    emulator.add_generation(rows=20)
    emulator.add_generation(rows=20)
    found = listed(emulator)
    assert [list(entry) for entry in found] == [FIELDS] * len(found)
    order = sorted(emulator.files, key=lambda f: ([*STREAMS].index(f.stream), f.generated_at, f.id))
    for entry, file in zip(found, order, strict=True):
        assert entry["stream"] == file.stream
        assert entry["key"] == _key(file)
        assert entry["id"] == file.id
        assert entry["file_name"] == file.file_name
        assert entry["source"] == f"{file.generated_at}/{file.file_name}/{_key(file)}"
        assert entry["size_bytes"] == len(file.body)
        made = datetime.strptime(file.generated_at, "%Y-%m-%d-%H").replace(tzinfo=UTC)
        assert entry["generated_at"] == format_time(made)
        assert entry["expires_at"] == format_time(made + timedelta(days=7))
        assert abs(datetime.now(UTC) - made - timedelta(seconds=entry["age_seconds"])) < timedelta(
            minutes=1
        )
        assert (entry["status"], entry["rows_read"]) == (None, 0)


def test_pending_is_what_the_tap_reads(emulator: Emulator) -> None:
    """With a state, the pending files are exactly those that the next run reads."""
    emulator.add_generation(rows=20)
    state = run(settings(emulator)).state
    emulator.add("users", "2026-05-14-18", "user_id\n1\n2\n3\n", file_name="late.csv")
    emulator.add("users", "2026-04-01-00", "user_id\n9\n", file_name="too-late.csv")
    emulator.add("users", "2026-01-01-00", "user_id\n9\n", file_name="too-old.csv")
    cut_off = emulator.add("activities", "2026-06-01-00", "user_id\n1\n2\n3\n")
    state["bookmarks"]["activities"]["in_progress"] = {"file": _key(cut_off), "rows": 2}
    write(Path.cwd(), "state.json", state)
    found = listed(emulator, "--state", "state.json", start_date="2026-02-01T00:00:00Z")
    statuses = {entry["file_name"]: entry["status"] for entry in found}
    assert statuses["late.csv"] == "pending"
    assert statuses["too-late.csv"] == statuses["too-old.csv"] == "left out"
    (partly,) = (entry for entry in found if entry["status"] == "partly read")
    assert (partly["key"], partly["rows_read"]) == (_key(cut_off), 2)
    assert {e["source"] for e in found if e["status"] in {"pending", "partly read"}} == {
        source
        for stream in STREAMS
        for source, _ in run(settings(emulator, start_date="2026-02-01T00:00:00Z"), state).rows(
            stream
        )
    }


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--stream", "users"], 3),
        (["--stream", "users", "--stream", "campaigns"], 6),
        (["--since", "2026-05-14-20"], 6),
        (["--since", "2026-05-14T20:30:00Z"], 3),
        (["--since", "2026-05-15"], 3),
        (["--since", "1d"], 0),
    ],
)
def test_files_chosen(emulator: Emulator, arguments: list[str], count: int) -> None:
    """Files are chosen by stream and time, and no request is made for others."""
    for generation in ("2026-05-14-16", "2026-05-14-20", "2026-05-15-00"):
        for stream in STREAMS:
            emulator.add(stream, generation, "user_id\n1\n")
    assert len(listed(emulator, *arguments)) == count
    assert sum(request.route == "show" for request in emulator.requests) == count


def test_table(emulator: Emulator) -> None:
    """The table has a line per file, not truncated without a terminal, and the totals."""
    emulator.add_generation(rows=20)
    lines = ask(emulator, "files").stdout.splitlines()
    assert len(lines) == 1 + len(emulator.files) + 1
    for file in emulator.files:
        assert sum(_key(file) in line for line in lines) == 1
    assert lines[-1].startswith(f"{len(emulator.files)} files")


@pytest.mark.parametrize("unzip", [(), ("--unzip",)])
def test_delivered_again(emulator: Emulator, tmp_path: Path, unzip: tuple[str, ...]) -> None:
    """The new version of a file takes the place of the one that was downloaded before."""
    config = reading(tmp_path / "in")
    for text in ("user_id\n1\n", "user_id\n1\n2\n"):
        deliver(tmp_path / "in", "users", "2026-05-14-12", text, ending=".csv")
        for _ in range(2):
            done = ask(emulator, "get", "--all", "--to", "to", *unzip, **config)
            path = Path(done.stdout.strip())
            assert path.read_text() == text
            assert [p for p in Path("to").rglob("*") if p.is_file()] == [path]


def test_delivered_files(emulator: Emulator, tmp_path: Path) -> None:
    """Delivered files are listed as well; they do not expire."""
    folder = tmp_path / "delivered"
    folder.mkdir()
    name = "23552-05-14-2026-16-user-incremental.gz"
    (folder / name).write_bytes(gzip.compress(b"user_id\n1\n"))
    (entry,) = listed(emulator, folder={"url": str(folder)})
    assert (entry["file_name"], entry["expires_at"]) == (name, None)
    assert entry["size_bytes"] == (folder / name).stat().st_size


def test_state_as_meltano_prints_it(emulator: Emulator, tmp_path: Path) -> None:
    """The output of `meltano state get` is a state, for the tap too."""
    emulator.add_generation(rows=5)
    state = run(settings(emulator)).state
    write(tmp_path, "state.json", {"singer_state": state})
    assert {e["status"] for e in listed(emulator, "--state", "state.json")} == {"read"}
    assert run(settings(emulator), {"singer_state": state}).records("users") == []


def test_files_that_are_gone(emulator: Emulator) -> None:
    """A file that expired since it was listed is reported and hides no other; `get` fails."""
    gone = emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    emulator.add("users", "2026-05-14-20", "user_id\n2\n")
    gone.gone = True
    assert [(e["status"], e["size_bytes"] is None) for e in listed(emulator)] == [
        ("gone", True),
        (None, False),
    ]
    done = ask(emulator, "get", "--all", "--to", "to")
    assert (done.exit_code, len(done.stdout.splitlines())) == (1, 1)
    assert f"users 2026-05-14-16/000.csv/{_key(gone)} is listed and has expired" in done.stderr
    emulator.forget()
    done = ask(emulator, "get", _key(emulator.files[1]), "--to", "to")
    assert done.exit_code == 0
    assert sum(request.route == "show" for request in emulator.requests) == 1
    assert ask(emulator, "report").exit_code == 0
    done = ask(emulator, "doctor")
    assert _steps(done)["presigned URL"] == "✗"
    assert "request a historical export" in done.stdout
    after = ask(emulator, "doctor", start_date="2026-05-14T17:00:00Z")
    assert after.exit_code == 0


def test_keys_are_never_cut(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a narrow terminal, and beside a long name, a key is not truncated."""
    file = emulator.add("users", "2026-05-14-16", "user_id\n1\n", file_name="x" * 300 + ".csv")
    for width in ("40", "80", "400"):
        monkeypatch.setenv("COLUMNS", width)
        assert _key(file) in ask(emulator, "files").stdout
    assert ask(emulator, "get", "--all").exit_code == 0


def test_names_are_shown_not_obeyed(emulator: Emulator) -> None:
    """Text that a terminal or the table library would interpret is shown literally."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n", file_name="[red]\x1b[31m\n[/x].csv")
    out = ask(emulator, "files").stdout
    assert "[red]" in out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 3


def test_one_token_for_all_sizes(emulator: Emulator) -> None:
    """A token that is refused while sizes are requested is replaced once."""
    for hour in range(20):
        emulator.add("users", f"2026-05-14-{hour:02}", "user_id\n1\n")
    emulator.fail("show", status=401, skip=5)
    assert len(listed(emulator)) == 20
    assert sum(request.route == "token" for request in emulator.requests) == 2


@pytest.mark.parametrize("route", ["list", "show"])
def test_interrupt(emulator: Emulator, route: str) -> None:
    """Ctrl-C ends a command immediately, whatever it is waiting for."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    emulator.fail(route, stall=20, times=None)
    config = write(Path.cwd(), "config.json", settings(emulator))
    code = "from tap_firstup_dde.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "files", "--config", config],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 20
        while not any(request.route == "token" for request in emulator.requests):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, log = process.communicate(timeout=5)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("redirect", "says"),
    [
        (">/dev/full", "the output cannot be written"),
        (">&-", "stdout is closed"),
        ("2>&- --config nope.json", ""),
        ("--config ''", "a settings file has no name"),
        ("--state binary", "cannot be read as JSON"),
    ],
)
def test_odd_surroundings(emulator: Emulator, redirect: str, says: str) -> None:
    """Output that cannot be written, and unusable files, are one line and status 1."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    write(Path.cwd(), "config.json", settings(emulator))
    Path("binary").write_bytes(b"\xff\xfe\x00\x80")
    code = "from tap_firstup_dde.cli import main; main()"
    line = f'"$0" -c "{code}" files --output json --config config.json {redirect}'
    done = subprocess.run(
        ["/bin/sh", "-c", line, sys.executable],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "config",
    [
        {"api_url": "https://user:precious@firstup.invalid"},
        {"api_url": "https://firstup.invalid/?sig=precious"},
        {"folder": {"url": "https://firstup.invalid/x?sig=precious"}},
    ],
)
@pytest.mark.parametrize("command", [["files"], ["doctor", "--bundle", "b.json"], ["report"]])
def test_no_secret_in_urls(emulator: Emulator, config: dict[str, Any], command: list[str]) -> None:
    """A login or a query in a URL is never shown."""
    done = ask(emulator, *command, **config)
    assert done.exit_code == 1
    bundle = Path("b.json").read_text() if Path("b.json").exists() else ""
    assert "precious" not in done.output + bundle


def test_a_stranger_is_told(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """A 404 that is not from the API means no files, with a warning; doctor names api_url."""
    html = {"Content-Type": "text/html"}
    emulator.fail("list", status=404, headers=html, body="<html>404</html>", times=None)
    run(settings(emulator))
    assert "answered 404 with text/html, which is treated as no files; check api_url" in caplog.text
    assert "check api_url and region" in ask(emulator, "doctor").stdout


# get


def test_get(emulator: Emulator, tmp_path: Path) -> None:
    """Files are fetched as stored, or decompressed; a second call fetches nothing."""
    emulator.add_generation(rows=20)
    for options in ([], ["--unzip"]):
        to = tmp_path / f"to{len(options)}"
        done = ask(emulator, "get", "--all", "--to", str(to), *options)
        assert done.exit_code == 0
        paths = [Path(line) for line in done.stdout.splitlines()]
        assert sorted(paths) == sorted(path for path in to.rglob("*") if path.is_file())
        bodies = sorted(file.body for file in emulator.files)
        plain = sorted(map(gzip.decompress, bodies))
        assert sorted(path.read_bytes() for path in paths) == (plain if options else bodies)
        assert {path.suffix for path in paths} == {".csv" if options else ".gz"}
        emulator.forget()
        again = ask(emulator, "get", "--all", "--to", str(to), *options)
        assert again.stdout == done.stdout
        assert not [request for request in emulator.requests if request.route == "download"]


def test_get_looks_at_what_is_there(emulator: Emulator, tmp_path: Path) -> None:
    """A file that does not have the stated size is fetched again."""
    file = emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    done = ask(emulator, "get", "--all", "--to", "to")
    path = tmp_path / done.stdout.strip()
    path.write_bytes(b"")
    assert ask(emulator, "get", "--all", "--to", "to").exit_code == 0
    assert path.read_bytes() == file.body


def test_get_chosen(emulator: Emulator, tmp_path: Path) -> None:
    """Keys choose files; with a state, --pending chooses those that the next run reads."""
    emulator.add_generation(rows=20)
    write(tmp_path, "state.json", run(settings(emulator)).state)
    new = emulator.add("users", "2026-05-20-00", "user_id\n1\n")
    done = ask(emulator, "get", "--pending", "--state", "state.json", "--to", "a")
    assert [_key(new) in line for line in done.stdout.splitlines()] == [True]
    done = ask(emulator, "get", _key(new), _key(emulator.files[0]), "--to", "b")
    assert len(done.stdout.splitlines()) == 2


def test_get_goes_on(emulator: Emulator) -> None:
    """An interrupted download resumes at its last byte; only a complete file gets its name."""
    file = emulator.add("users", "2026-05-14-16", os.urandom(300_000), gzip=False)
    emulator.fail("download", drop_after=200_000)
    done = ask(emulator, "get", "--all", "--to", "to")
    assert done.exit_code == 1
    (part,) = (path for path in Path("to").rglob("*") if path.is_file())
    assert part.suffix == ".part"
    assert part.stat().st_size == 200_000
    emulator.forget()
    assert ask(emulator, "get", "--all", "--to", "to").exit_code == 0
    (request,) = (request for request in emulator.requests if request.route == "download")
    assert request.headers["range"] == "bytes=200000-"
    (whole,) = (path for path in Path("to").rglob("*") if path.is_file())
    assert whole.read_bytes() == file.body


@pytest.mark.parametrize("size", [5, 200_000, 300_000, 400_000])
@pytest.mark.parametrize("retries", [0, 1])
def test_get_with_a_foreign_beginning(emulator: Emulator, size: int, retries: int) -> None:
    """A part that is not the file's beginning is fetched again, however long it is."""
    file = emulator.add("users", "2026-05-14-16", os.urandom(300_000), gzip=False)
    part = Path(f"to/users/2026-05-14-16/000-{_key(file)}.csv.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * size)
    done = ask(emulator, "get", "--all", "--to", "to", max_retries=retries)
    assert done.exit_code == 0
    (whole,) = (path for path in Path("to").rglob("*") if path.is_file())
    assert whole.read_bytes() == file.body


def test_get_damaged(emulator: Emulator) -> None:
    """A file that is damaged twice is an error, is not written, and can be fetched later."""
    file = emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    emulator.fail("download", corrupt_at=9, times=2)
    done = ask(emulator, "get", "--all", "--to", "to")
    assert done.exit_code == 1
    assert "CRC64NVME" in done.stderr.splitlines()[-1]
    assert not list(Path("to").rglob("*.csv*")) or list(Path("to").rglob("*.part"))
    assert not list(Path("to").rglob("*.csv"))
    emulator.forget()
    assert ask(emulator, "get", "--all", "--to", "to", max_retries=0).exit_code == 0
    (whole,) = (path for path in Path("to").rglob("*") if path.is_file())
    assert whole.read_bytes() == file.body
    assert [r.headers["range"] for r in emulator.requests if "range" in r.headers] == []


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "name files by their keys"),
        (["--pending"], 2, "--pending needs --state"),
        (["123456789abc"], 1, "no such file is available: 123456789abc"),
        (["--since", "soon"], 2, "is not a time like"),
        (["--stream", "people"], 2, "'people' is not one of"),
        (["--all", "--to", "config.json/a"], 1, "cannot be created"),
        (["--all", "--state", "config.json"], 1, "it has no bookmarks"),
    ],
)
def test_get_wrongly(emulator: Emulator, arguments: list[str], status: int, says: str) -> None:
    """A request that cannot be met is reported before anything is downloaded."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    done = ask(emulator, "get", *arguments)
    assert done.exit_code == status
    assert says in done.stderr
    assert not [request for request in emulator.requests if request.route == "download"]


# doctor


def _steps(done: Result) -> dict[str, str]:
    """Step → its mark."""
    lines = [line for line in done.stdout.splitlines() if line[:1] in "✓!-✗"]
    return {line[2:18].strip(): line[0] for line in lines}


def test_doctor_finds_nothing(emulator: Emulator, tmp_path: Path) -> None:
    """If everything is right each step passes, and the status is 0."""
    emulator.first_generation = datetime.now(UTC)
    emulator.add_generation(rows=20)
    write(tmp_path, "state.json", run(settings(emulator)).state)
    done = ask(emulator, "doctor", "--state", "state.json")
    assert done.exit_code == 0
    marks = _steps(done)
    assert marks.pop("meltano.yml") == "-"
    assert set(marks.values()) == {"✓"}
    assert len(marks) == 13


@pytest.mark.parametrize(
    ("prepare", "config", "step", "says"),
    [
        (lambda e: None, {"region": "mars"}, "settings", "'mars' is not one of"),
        (lambda e: None, {"client_secret": None}, "settings", "no credentials"),
        (lambda e: None, {"api_url": "https://firstup.invalid"}, "host", "cannot be resolved"),
        (lambda e: None, {"client_secret": "wrong"}, "token", "check client_id, client_secret"),
        (lambda e: None, {"access_token": "stale"}, "scope and lists", "use a new access_token"),
        (lambda e: setattr(e, "scope", "other"), {}, "scope and lists", "data_exports.read"),
        (lambda e: setattr(e.files[0], "gone", True), {}, "presigned URL", "expired between"),
        (lambda e: setattr(e.files[0], "size_bytes", 1), {}, "checksum", "instead of 1"),
        (lambda e: e.add("users", "2027-01-01-00", "user_id,b\n1\n"), {}, "rows", "row 1"),
        (lambda e: e.add("users", "2027-01-01-00", "a,b\n1,2\n"), {}, "rows", "not an export of"),
        (lambda e: e.fail("download", status=403, times=None), {}, "checksum", "refused (403)"),
    ],
)
def test_doctor_stops(
    emulator: Emulator, prepare: Any, config: dict[str, Any], step: str, says: str
) -> None:
    """The first step that fails is the last one and says what to do; the status is 1."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    prepare(emulator)
    done = ask(emulator, "doctor", **config)
    assert done.exit_code == 1
    marks = _steps(done)
    assert [name for name, mark in marks.items() if mark == "✗"] == [step]
    assert list(marks)[-1] == step
    assert says in done.stdout
    for secret in ("X-Amz-", emulator.client_secret):
        assert secret not in done.output


def test_doctor_shows_what_a_run_gives(emulator: Emulator, tmp_path: Path) -> None:
    """The step `types` counts the types, and names the key, that a run emits: settings count."""
    text = "user_id,tenure,badge\n1,5,0012\n2,many,0013\n"
    emulator.add("users", "2026-05-14-16", text)
    config = {
        "primary_keys": {"users": ["badge"]},
        "column_types": {"users": {"tenure": "integer"}},
    }
    done = ask(emulator, "doctor", **config)
    assert _shown_types(done) == "users 3 string, 1 integer (key badge), by these files"
    result = run(settings(emulator, **config))
    assert result.schema("users")["key_properties"] == ["badge"]
    # With a state, what was emitted decides.
    write(tmp_path, "state.json", result.state)
    done = ask(emulator, "doctor", "--state", "state.json")
    assert _shown_types(done) == "users 3 string, 1 integer (key badge), by these files"
    assert _shown_types(ask(emulator, "doctor")) == "users 3 string (key user_id), by these files"


def _shown_types(done: Result) -> str:
    """The finding of the step `types`."""
    (line,) = (line for line in done.stdout.splitlines() if line[2:].startswith("types "))
    return line.partition(" s  ")[2]


def test_doctor_reads_as_a_run_does(emulator: Emulator, tmp_path: Path) -> None:
    """A file that a run refuses is refused: here it lacks the key used for earlier records."""
    emulator.add("users", "2026-05-14-16", "user_id,first_name\n1,Zoë\n")
    write(tmp_path, "state.json", run(settings(emulator)).state)
    emulator.add("users", "2026-05-14-20", "first_name\nZoë\n")
    done = ask(emulator, "doctor", "--state", "state.json")
    assert _steps(done)["rows"] == "✗"
    assert "the file lacks the key's column user_id" in done.stdout


def test_doctor_knows_stream_maps(emulator: Emulator) -> None:
    """Names in stream maps that a run would warn about are shown before any run."""
    emulator.add("users", "2026-05-14-16", "user_id,email\n1,a@x.example\n")
    maps = {"users": {"emial": None, "email": None}, "usres": {}}
    done = ask(emulator, "doctor", stream_maps=maps)
    assert _steps(done)["types"] == "!"
    for words in ("there is no column emial; did you mean email?", "there is no stream usres; did"):
        assert done.stdout.count(words) == 1


def test_doctor_without_files(emulator: Emulator) -> None:
    """An account without files is doubtful, with a hint where to set them up, and no failure."""
    done = ask(emulator, "doctor")
    assert done.exit_code == 0
    assert _steps(done)["scope and lists"] == "!"
    assert "Recurring Data Connections" in done.stdout


def test_doctor_sees_another_program(emulator: Emulator, tmp_path: Path) -> None:
    """A state of another program is refused."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    write(tmp_path, "state.json", run(settings(emulator)).state)
    emulator.files[0].program_id = emulator.program_id = "777"
    done = ask(emulator, "doctor", "--state", "state.json")
    assert done.exit_code == 1
    assert _steps(done)["program"] == "✗"


def test_doctor_compares_clocks(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is wrong by more than minutes is reported."""
    late = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr("tap_firstup_dde.checks.utc_now", lambda: late)
    done = ask(emulator, "doctor")
    assert _steps(done)["clock"] == "!"
    assert "set this machine's clock" in done.stdout


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"name": "target-postgres"}, ["validate_records: false", "use_copy: true"]),
        ({"name": "target-postgres", "config": {"use_copy": True}}, ["validate_records: false"]),
        (
            {"name": "target-snowflake", "config": {"load_method": "overwrite"}},
            ["deletes what Firstup no longer keeps"],
        ),
        ({"name": "target-duckdb", "pip_url": "target-duckdb"}, ["pin duckdb==1.0.0"]),
        ({"name": "target-jsonl"}, []),
        ({"name": "tap-firstup-dde"}, ["use_cached_catalog: false"]),
        ({"name": "tap-firstup-dde", "use_cached_catalog": False}, []),
        ({"name": "tap-firstup-dde--us", "inherit_from": "tap-firstup-dde"}, []),
        ({"name": "tap-else"}, []),
    ],
)
def test_doctor_reads_meltano(
    emulator: Emulator, tmp_path: Path, block: dict[str, Any], says: list[str]
) -> None:
    """Settings of loaders that cost speed or data are reported, but are no failure."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    kind = "extractors" if block["name"].startswith("tap-") else "loaders"
    write(tmp_path, "meltano.yml", {"plugins": {kind: [block]}})
    done = ask(emulator, "doctor")
    assert done.exit_code == 0
    assert _steps(done)["meltano.yml"] == ("!" if says else "✓")
    for text in says:
        assert text in done.stdout


def test_own_meltano_yml_costs_nothing(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project's own meltano.yml follows its own advice."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    config = write(Path.cwd(), "config.json", settings(emulator))
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(main, ["doctor", "--config", config])
    assert _steps(done)["meltano.yml"] == "✓"


def test_bundle(emulator: Emulator, tmp_path: Path) -> None:
    """The support bundle has every step and the settings, but no secret and no row."""
    emulator.add("users", "2026-05-14-16", "user_id,first_name\n1,Precious\n")
    maps = {"users": {"note": "'precious'"}}
    done = ask(emulator, "doctor", "--bundle", "bundle.json", stream_maps=maps)
    assert done.exit_code == 0
    text = (tmp_path / "bundle.json").read_text()
    told = json.loads(text)
    assert [check["name"] for check in told["checks"]] == list(_steps(done))
    assert {told["settings"][name] for name in ("client_secret", "stream_maps")} == {"***"}
    for secret in (emulator.client_secret, emulator.client_id, "recious", "X-Amz-"):
        assert secret not in text


# report


def _table(page: str, caption: str) -> list[list[str]]:
    """The cells of the table with that caption."""
    tree = ET.fromstring(page)  # noqa: S314 - our own
    for table in tree.iter("table"):
        if caption in (table.findtext("caption") or ""):
            return [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")][1:]
    pytest.fail(f"no table {caption}")


def test_report(emulator: Emulator, tmp_path: Path) -> None:
    """The page's numbers are those of the files, and it is written to the given path."""
    emulator.add_generation(rows=20)
    emulator.add_generation(rows=30)
    write(tmp_path, "state.json", run(settings(emulator)).state)
    emulator.add_generation(rows=40)
    done = ask(emulator, "report", "--state", "state.json", "--to", "page.html")
    assert (done.exit_code, done.stdout.strip()) == (0, "page.html")
    page = (tmp_path / "page.html").read_text()
    assert len(page) < 1_000_000
    rows = _table(page, "Generations of users")
    assert len(rows) == 3
    for row in rows:
        made = row[0][:10] + "-" + row[0][11:13]
        files = [f for f in emulator.files if (f.stream, f.generated_at) == ("users", made)]
        texts = [gzip.decompress(f.body).decode() for f in files]
        lines = sum(len(list(csv.reader(io.StringIO(text, newline="")))) - 1 for text in texts)
        told = {cell.replace(",", "").replace("\u202f", "") for cell in row}
        assert {str(len(files)), str(lines), str(sum(len(f.body) for f in files))} <= told
    assert [("read" in row) for row in rows] == [True, True, False]


def test_report_without_content(emulator: Emulator) -> None:
    """Files are not read if not requested, and an empty account gets a page too."""
    emulator.add_generation(rows=20)
    assert ask(emulator, "report", "--no-content").exit_code == 0
    assert Path("firstup-report.html").stat().st_size > 1000
    assert not [request for request in emulator.requests if request.route == "download"]
    emulator.files.clear()
    assert ask(emulator, "report", "--to", "empty.html").exit_code == 0
    done = ask(emulator, "report", "--to", "config.json/a")
    assert done.exit_code == 1
    assert "cannot be written" in done.stderr


def test_report_of_a_broken_file(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """A file that cannot be read is reported, in the log and on the page; status 1."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    emulator.fail("download", corrupt_at=9, times=None)
    done = ask(emulator, "report")
    assert done.exit_code == 1
    assert Path("firstup-report.html").exists()
    assert "CRC64NVME" in caplog.text
    page = Path("firstup-report.html").read_text()
    assert "1 file cannot be read." in page
    assert "CRC64NVME" in page


def test_report_of_malformed_rows(emulator: Emulator) -> None:
    """A file that a run refuses for a malformed row cannot be read; diverted rows are fine."""
    emulator.add("users", "2026-05-14-16", "user_id,first_name\n1,Zoë\n2\n")
    done = ask(emulator, "report")
    assert done.exit_code == 1
    assert "row 2" in Path("firstup-report.html").read_text()
    assert ask(emulator, "report", malformed_rows="divert").exit_code == 0


# all of them


@pytest.mark.parametrize("name", [None, *main.program.commands])
def test_help(name: str | None, tmp_path: Path) -> None:
    """Each command's help has an example, whose options exist."""
    done = CliRunner().invoke(main, [*([name] if name else []), "--help"])
    assert done.exit_code == 0
    (example,) = (line for line in done.output.splitlines() if "Example: firstup-dde" in line)
    words = example.split("firstup-dde ")[1].split()
    assert name in {None, words[0]}
    (tmp_path / "state.json").write_text("{}")
    command = main.get_command(click.Context(main), words[0])
    assert command
    assert command.make_context(words[0], words[1:]).params


def test_names() -> None:
    """The program's help has the vendor's names, without loading the tap."""
    vendor, program = TapFirstupDDE.vendor, main.program
    assert (program.tool, program.vendor) == (vendor.tool, vendor.name)
    assert program.load_tap() is TapFirstupDDE


def test_completion() -> None:
    """A shell can complete the commands."""
    code = "from tap_firstup_dde.cli import main; main(prog_name='firstup-dde')"
    env = {**os.environ, "_FIRSTUP_DDE_COMPLETE": "bash_source"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert "firstup_dde" in done.stdout


@pytest.mark.parametrize("name", ["files", "get", "doctor", "report"])
def test_wrong_settings(emulator: Emulator, name: str) -> None:
    """Wrong settings are one line and status 1, without a traceback or a secret."""
    done = ask(emulator, name, *(["--all"] if name == "get" else []), client_secret=987654321)
    assert done.exit_code == 1
    assert "client_secret" in done.output
    assert "987654321" not in done.output
    assert "Traceback" not in done.output


def test_settings_from_the_environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --config settings come from the environment, as the tap's do."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    for name, value in emulator.settings.items():
        monkeypatch.setenv(f"TAP_FIRSTUP_DDE_{name.upper()}", value)
    done = CliRunner().invoke(main, ["files", "--output", "json"])
    assert [entry["stream"] for entry in json.loads(done.stdout)] == ["users"]


def test_bookmarks_are_not_changed(emulator: Emulator, tmp_path: Path) -> None:
    """The commands change no state file."""
    emulator.add_generation(rows=5)
    path = Path(write(tmp_path, "state.json", run(settings(emulator)).state))
    before = path.read_bytes()
    listed(emulator, "--state", "state.json")
    assert path.read_bytes() == before
    assert read_bookmark(
        json.loads(before)["bookmarks"]["users"], datetime.now(UTC), "users"
    ).finished
