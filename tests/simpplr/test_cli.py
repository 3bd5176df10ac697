"""The program for people, on an emulated Simpplr."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from tap_simpplr.cli import main
from tap_simpplr.delivered import ENTITIES
from tap_simpplr.emulate import emulate_command
from tap_simpplr.emulator import Emulator
from tap_simpplr.schedule import SPELLINGS, Schedule
from tests.folders import SFTP
from tests.runs import write
from tests.simpplr.tree import deliver, run, users

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_emulated_spellings(tmp_path: Path, spelling: str) -> None:
    """However the emulator spells folders, their files are read into the streams."""
    schedule = Schedule(tmp_path, date(2026, 3, 1), spelling=spelling, suffix=".csv.gz")
    schedule.register(["user", "user logins"], "daily")
    schedule.next_day()
    done = run({"folder": {"url": str(tmp_path)}})
    assert done.records("user")
    assert done.records("user_logins")


def test_people(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`files`, `get` and `doctor` work on an SFTP server, and know streams of other folders.

    A state of another tap is a warning.
    """
    schedule = Schedule(tmp_path / "exports" / "t1", date(2026, 3, 1))
    schedule.register(ENTITIES, "daily")
    schedule.next_day()
    deliver(schedule.folder, "2026/03/02/polls/polls.csv", users({"a": "A"}))
    with SFTP(tmp_path) as sftp, Emulator(schedule=schedule, sftp=sftp) as simpplr:
        config = write(tmp_path, "config.json", dict(simpplr.settings))

        def call(*words: str) -> str:
            done = CliRunner().invoke(main, [words[0], "--config", config, *words[1:]])
            assert done.exit_code == 0, done.output
            return done.stdout

        files: list[dict[str, Any]] = json.loads(call("files", "--output", "json"))
        assert len(files) == len(ENTITIES) + 1
        assert {file["id"] for file in files} >= {"t1/2026/03/02/user/user.csv"}
        got = call("get", "--stream", "user", "--to", str(tmp_path / "got"), "--quiet")
        assert got.strip().endswith(".csv")
        assert "the API accepts the client" in call("doctor")
        other = write(tmp_path, "state.json", {"bookmarks": {"orders": {}}})
        call("files", "--state", other)
        assert "the state is about orders, and none of the streams user" in caplog.text


def test_emulate_has_help() -> None:
    """The command describes itself."""
    assert emulate_command(main.program).name == "emulate"
    assert "--new-every" in CliRunner().invoke(main, ["emulate", "--help"]).stdout
