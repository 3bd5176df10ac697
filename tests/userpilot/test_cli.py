"""The program for people, on an emulated Userpilot."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from click.testing import CliRunner

from tap_userpilot.cli import main
from tap_userpilot.documented import EVENTS, LOOKUPS
from tap_userpilot.emulated_files import Form
from tests.runs import write
from tests.userpilot.vendor import emulated, run, sample, settings

if TYPE_CHECKING:
    from pathlib import Path


def test_people(tmp_path: Path) -> None:
    """`files`, `get`, `doctor` and `report` work with the jobs that a run has made."""
    with emulated(9) as userpilot:
        config = write(tmp_path, "config.json", settings(userpilot))

        def call(*words: str) -> str:
            done = CliRunner().invoke(main, [words[0], "--config", config, *words[1:]])
            assert done.exit_code == 0, done.output
            assert userpilot.key not in done.output
            return done.stdout

        files: list[dict[str, Any]] = json.loads(call("files", "--output", "json"))
        assert [file["stream"] for file in files] == [*LOOKUPS]
        state = write(tmp_path, "state.json", run(userpilot).state)
        files = json.loads(call("files", "--stream", EVENTS, "--output", "json", "--state", state))
        assert {file["file_name"] for file in files} == {"2026-04-27.json.gz", "2026-05-04.json.gz"}
        assert len({file["key"] for file in files}) == len(files) == 3
        got = call("get", "--stream", EVENTS, "--to", str(tmp_path / "got"), "--quiet")
        assert len(got.split()) == 3
        examined = call("doctor", "--state", state)
        assert "the API accepts the key; 1 job" in examined
        assert "✗" not in examined
        call("report", "--state", state, "--to", str(tmp_path / "r.html"), "--quiet")
        assert EVENTS in (tmp_path / "r.html").read_text()
        userpilot.plan = False
        refused = CliRunner().invoke(main, ["doctor", "--config", config])
        assert refused.exit_code == 1
        assert "Enterprise" in refused.output


@pytest.mark.parametrize("ids", ["text", "absent"])
def test_load(tmp_path: Path, ids: str) -> None:
    """`load` has each event and each row of a lookup once, their objects as JSON."""
    with emulated(9, form=Form(ids=ids)) as userpilot:
        config = write(tmp_path, "config.json", settings(userpilot))
        to = f"duckdb:{tmp_path / 'u.db'}"

        def load() -> dict[str, int]:
            done = CliRunner().invoke(main, ["load", "--config", config, "--to", to, "--quiet"])
            assert done.exit_code == 0, done.output
            with duckdb.connect(to.removeprefix("duckdb:")) as database:
                return {
                    name: len(database.table(name).fetchall())
                    for name in (EVENTS, "segments", "surveys")
                }

        assert load() == {EVENTS: 72, "segments": 61, "surveys": 3}
        userpilot.jobs.events += sample([9])
        userpilot.lookups["segments"].pop()
        userpilot.now.move(days=1)  # type: ignore[attr-defined]
        assert load()[EVENTS] == 80
        with duckdb.connect(to.removeprefix("duckdb:")) as database:
            texts = database.execute("SELECT metadata::VARCHAR FROM events").fetchall()
            kinds = dict(
                database.execute("SELECT name, type FROM pragma_table_info('events')").fetchall()
            )
        assert sorted(text for (text,) in texts) == sorted(
            e.metadata for e in userpilot.jobs.events
        )
        assert kinds["metadata"] == "JSON"
        assert kinds["inserted_at"] == "TIMESTAMP WITH TIME ZONE"


def test_emulate() -> None:
    """`emulate` prints all settings that the tap needs in one line."""
    code = "from tap_userpilot.cli import main; main()"
    words = ("emulate", "--days", "3", "--rows", "5", "--job-seconds", "0")
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as serving:
        assert serving.stdout
        config = json.loads(serving.stdout.readline())
        serving.terminate()
    assert serving.returncode == 0
    assert set(config) == {"api_key", "api_url", "start_date"}
