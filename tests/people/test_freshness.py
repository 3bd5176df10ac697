"""Files that are late, missing or about to expire unread: a status and JSON for machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tests import ROOT
from tests.people.test_cli import ask
from tests.runs import run, settings, write

if TYPE_CHECKING:
    from tap_firstup_dde.emulator import Emulator

pytestmark = pytest.mark.usefixtures("nowhere")
STREAMS = {"campaigns": "campaign_id", "users": "user_id", "activities": "user_id"}


def export(emulator: Emulator, stream: str, *ages: int) -> None:
    """Add files of a stream that are some hours old."""
    for age in ages:
        moment = datetime.now(UTC) - timedelta(hours=age)
        emulator.add(stream, f"{moment:%Y-%m-%d-%H}", f"{STREAMS[stream]}\n{age}\n")


def judge(emulator: Emulator, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit status and JSON of `doctor`."""
    done = ask(emulator, "doctor", "--output", "json", *arguments)
    return done.exit_code, json.loads(done.stdout)


def test_fresh_and_read(emulator: Emulator, tmp_path: Path) -> None:
    """Fresh files that have been read pass, and the last line says that all is well."""
    for stream in STREAMS:
        export(emulator, stream, 150, 146, 3)
    write(tmp_path, "state.json", run(settings(emulator)).state)
    for stream in STREAMS:
        emulator.files = [f for f in emulator.files if f.stream != stream]
        export(emulator, stream, 146, 3)
    limits = ("--max-age", "12h", "--expires-within", "1d", "--state", "state.json")
    status, found = judge(emulator, *limits)
    assert (status, found["well"], found["verdict"]) == (0, True, "all well")
    assert [check["outcome"] for check in found["checks"]][-1] == "ok"
    users = found["streams"]["users"]
    assert (users["unread"], users["expiring_unread"], users["problems"]) == (0, 0, [])
    assert 3 * 3600 <= users["age_seconds"] < 4 * 3600 + 60
    assert ask(emulator, "doctor", *limits).stdout.endswith("\nall well\n")


@pytest.mark.parametrize(
    ("ages", "arguments", "says", "hint"),
    [
        ([30, 26], ["--max-age", "12h"], "h old, and 12h is allowed", "exports still run"),
        ([], ["--max-age", "12h"], "users: no file is available", "Recurring Data Connections"),
        (
            [21, 17, 13, 5, 1],
            ["--max-age", "1d"],
            "1 generation is missing, the last one of",
            "fills such a gap",
        ),
        (
            [150, 1],
            ["--expires-within", "24h"],
            "1 file that expires within 1d 0h may be unread",
            "run the pipeline before",
        ),
    ],
)
def test_problems(
    emulator: Emulator, ages: list[int], arguments: list[str], says: str, hint: str
) -> None:
    """Each kind of problem fails the last step, with what to do, and the report too."""
    export(emulator, "campaigns", 1)
    export(emulator, "activities", 1)
    export(emulator, "users", *ages)
    status, found = judge(emulator, *arguments)
    assert (status, found["well"], found["verdict"]) == (1, False, "1 problem: freshness")
    assert says in found["checks"][-1]["detail"]
    assert hint in found["checks"][-1]["hint"]
    assert ("exports still run" in found["checks"][-1]["hint"]) == ("still run" in hint)
    (problem,) = found["streams"]["users"]["problems"]
    assert says in problem
    others = [arguments[0], arguments[1], "--stream", "activities"]
    assert judge(emulator, *others)[0] == 0
    done = ask(emulator, "report", *arguments)
    assert done.exit_code == 1
    assert says in done.stderr
    assert "<html" in Path("firstup-report.html").read_text()


def test_pending_files_that_expire(emulator: Emulator, tmp_path: Path) -> None:
    """Without limits too, a state shows which files are about to expire unread."""
    export(emulator, "users", 150)
    write(tmp_path, "state.json", {"bookmarks": {"users": {}}})
    done = ask(emulator, "doctor", "--state", "state.json")
    assert done.exit_code == 0
    assert "run the pipeline now: 1 file of them will expire within a day" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2 warnings: scope and lists, pending")


def test_what_load_has_read(emulator: Emulator) -> None:
    """With ``--to``, the database knows which files were read."""
    export(emulator, "users", 150)
    limit, to = ("--expires-within", "24h"), ("--to", "duckdb:x.db")
    assert judge(emulator, *limit, *to)[0] == 1
    assert ask(emulator, "load", *to).exit_code == 0
    status, found = judge(emulator, *limit, *to)
    assert (status, found["streams"]["users"]["unread"]) == (0, 0)


@pytest.mark.parametrize("to", [(), ("--to", "duckdb:no/such/folder/x")])
def test_nothing_is_known(emulator: Emulator, to: tuple[str, ...]) -> None:
    """Nothing is said of any stream unless its files could be listed."""
    export(emulator, "users", 3)
    if not to:
        emulator.fail("token", status=401, times=None)
    status, found = judge(emulator, "--max-age", "12h", *to)
    assert (status, found["streams"]) == (1, {})


def test_nothing_is_loaded(emulator: Emulator) -> None:
    """A database without a state says that nothing was loaded, whether it exists or not."""
    export(emulator, "users", 150)
    for _ in range(2):
        status, found = judge(emulator, "--expires-within", "24h", "--to", "duckdb:x.db")
        assert (status, found["streams"]["users"]["unread"]) == (1, 1)
        assert "users: 1 file that expires within 1d 0h is not read" in str(found["checks"])
        duckdb.connect("x.db").close()


def test_alert(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example posts what is wrong to a webhook, and nothing if all is well."""
    received = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    for stream in STREAMS:
        export(emulator, stream, 3)
    tool = tmp_path / "firstup-dde"
    code = "from tap_firstup_dde.cli import main; main()"
    tool.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}' \"$@\"\n")
    tool.chmod(0o755)
    for name, value in settings(emulator).items():
        monkeypatch.setenv(f"TAP_FIRSTUP_DDE_{name.upper()}", value)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("ALERT_URL", f"http://127.0.0.1:{server.server_port}/")
        script = ROOT / "examples" / "ci" / "alert.sh"
        statuses = [
            subprocess.run([script, "--max-age", age], cwd=ROOT, check=False).returncode
            for age in ("12h", "1h")
        ]
        server.shutdown()
    assert statuses == [0, 1]
    ((text,),) = ([*message.values()] for message in received)
    assert "1 problem: freshness" in text
    assert "users: the newest generation is" in text


def test_a_report_without_a_file_fails(emulator: Emulator) -> None:
    """A page about files of which one is damaged is written, and the status is 1."""
    export(emulator, "users", 5, 1)
    emulator.files[0].size_bytes = 1
    done = ask(emulator, "report")
    assert done.exit_code == 1
    assert "1 file cannot be read" in done.stderr
    assert ask(emulator, "report", "--no-content").exit_code == 0
