"""The summary of a run: true, complete and whole, however the run ends."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from singer_sdk.exceptions import ConfigValidationError

from tap_firstup_dde.cli import main
from tests.runs import command, run, settings, write

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator


def _run(way: str, config: dict[str, Any], folder: Path, state: dict[str, Any]) -> tuple[int, str]:
    """Exit status and output of a run of the tap, or of `load`."""
    path = write(folder, "config.json", config)
    if way == "tap":
        given = write(folder, "state.json", state or {"bookmarks": {}})
        done = command("--config", path, "--state", given)
        state |= done.state
        return done.status, done.log
    result = CliRunner().invoke(main, ["load", "--config", path, "--to", f"duckdb:{folder}/x.db"])
    return result.exit_code, result.output


@pytest.mark.parametrize("way", ["tap", "load"])
def test_summary(emulator: Emulator, tmp_path: Path, way: str) -> None:
    """It counts what was read, says how far the state moved, and names the error of a failure."""
    path = tmp_path / "summary.json"
    config = settings(emulator, summary_file=str(path), malformed_rows="divert", max_retries=0)
    state: dict[str, Any] = {}

    def ran(status: int) -> dict[str, Any]:
        path.unlink(missing_ok=True)
        assert _run(way, config, tmp_path, state)[0] == status
        assert [p.name for p in tmp_path.iterdir() if "summary" in p.name] == ["summary.json"]
        return dict(json.loads(path.read_text()))

    emulator.add("users", "2026-05-14-08", "user_id,tenure\n1,5\n1,6\n2\n")
    first = ran(0)
    users = first["streams"]["users"]
    assert (first["status"], first["error"], first["rows"], first["files"]) == (
        "succeeded",
        None,
        2,
        1,
    )
    assert (users["diverted"], users["warnings"], first["warnings"]) == (1, 2, 2)
    assert users["bytes"] == first["bytes"] == len(emulator.files[0].body)
    assert (users["state_from"], users["state_to"]) == (None, "2026-05-14T08:00:00Z")
    emulator.add("users", "2026-05-14-12", "user_id,tenure\n3,many\n")
    emulator.add("users", "2026-05-14-16", "user_id,tenure\n4,5\n")
    emulator.fail("download", corrupt_at=3, times=None, match=emulator.files[-1].key)
    second = ran(1)
    assert second["status"] == "failed"
    assert "2026-05-14-16" in second["error"]
    users = second["streams"]["users"]
    assert (users["files"], users["files_to_read"], users["misfits"]) == (1, 2, 1)
    assert users["newest_generation"] == second["newest_generation"] == "2026-05-14T16:00:00Z"
    assert (users["state_from"], users["state_to"]) == (
        "2026-05-14T08:00:00Z",
        "2026-05-14T12:00:00Z",
    )


@pytest.mark.parametrize("kind", ["no folder", "folder", "pipe", "device", "loop"])
def test_summary_that_cannot_be_written(emulator: Emulator, tmp_path: Path, kind: str) -> None:
    """A path that cannot be written to, or that is something else than a file, is refused."""
    path = tmp_path / ("no/s.json" if kind == "no folder" else "s.json")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("device", "loop"):
        path.symlink_to(os.devnull if kind == "device" else path)
    with pytest.raises(ConfigValidationError) as caught:
        run(settings(emulator, summary_file=str(path)))
    assert "is not a file in a folder that exists" in str(caught.value.errors)


@pytest.mark.parametrize("text", ["before", ""])
def test_summary_at_a_link(emulator: Emulator, tmp_path: Path, text: str) -> None:
    """A link stays, and the file that it links to is replaced, or made."""
    file, link = tmp_path / "kept" / "s.json", tmp_path / "link.json"
    file.parent.mkdir()
    if text:
        file.write_text(text)
    link.symlink_to(file)
    emulator.add("users", "2026-05-14-08", "user_id\n1\n")
    assert _run("tap", settings(emulator, summary_file=str(link)), tmp_path, {})[0] == 0
    assert link.is_symlink()
    assert json.loads(file.read_text())["rows"] == 1
    assert [path.name for path in file.parent.iterdir()] == ["s.json"]
