"""The program for people, on an emulated HookBridge."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner

from filetap.testing.runs import run_tap
from tap_hookbridge.cli import main
from tap_hookbridge.emulator import Emulator
from tap_hookbridge.tap import TapHookBridge
from tests.hookbridge.vendor import OUT, run
from tests.runs import write

if TYPE_CHECKING:
    from pathlib import Path


def test_people(tmp_path: Path) -> None:
    """`files`, `get`, `doctor` and `report` work with the exports that a run has made."""
    with Emulator() as hookbridge:
        hookbridge.add_messages(30)
        config = write(tmp_path, "config.json", hookbridge.settings)

        def call(*words: str, status: int = 0) -> str:
            done = CliRunner().invoke(main, [words[0], "--config", config, *words[1:]])
            assert done.exit_code == status, done.output
            assert hookbridge.api_key not in done.output
            return done.stdout

        assert json.loads(call("files", "--output", "json")) == []
        assert "a run of the tap requests them" in call("doctor")
        start = str(hookbridge.settings["start_date"])
        whole = run(hookbridge, start_date=start).messages
        last = max(n for n, m in enumerate(whole) if "'job'" in str(m))
        cut = run(hookbridge, most=last + 1, start_date=start)
        state = write(tmp_path, "state.json", cut.state)
        files: list[dict[str, Any]] = json.loads(
            call("files", "--output", "json", "--state", state)
        )
        assert {file["status"] for file in files} == {None, "pending"}
        assert {file["stream"] for file in files} == {OUT, "inbound_messages"}
        assert all(file["size_bytes"] > 0 for file in files)
        to = str(tmp_path / "got")
        (path,) = call("get", "--pending", "--state", state, "--to", to, "--quiet").split()
        assert path.endswith(".csv")
        # At odd times, which is no gap.
        assert "✗" not in call("doctor", "--state", state, "--max-age", "1d", "--stream", OUT)
        # An export that is about to expire is read, or made again.
        soon = ("--state", state, "--expires-within", "30d")
        assert "will expire" not in call("doctor", *soon)
        call("report", *soon, "--to", str(tmp_path / "r.html"), "--quiet")
        assert "may be unread" not in (tmp_path / "r.html").read_text()
        page = call("report", "--state", state, "--to", str(tmp_path / "r.html"), "--quiet")
        assert OUT in (tmp_path / "r.html").read_text()
        assert page.strip().endswith("r.html")
        hookbridge.api_key = "another-key"
        assert "401 UNAUTHORIZED" in CliRunner().invoke(main, ["doctor", "--config", config]).output


def test_emulate() -> None:
    """`emulate` prints all settings that the tap needs in one line."""
    code = "from tap_hookbridge.cli import main; main()"
    words = ("emulate", "--messages", "20", "--pending", "0", "--processing", "0")
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as serving:
        assert serving.stdout
        config = json.loads(serving.stdout.readline())
        try:
            done = run_tap(TapHookBridge, config)
            assert len(done.records(OUT)) == 20
        finally:
            serving.terminate()
    assert serving.returncode == 0
