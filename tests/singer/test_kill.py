"""A run that is killed at any point loses nothing, and repeats only what no STATE covered."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from filetap.testing.runs import run_killed
from tests.runs import TAP, command, settings, write

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator


def test_kill_and_rerun(emulator: Emulator, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """SIGKILL after a random line, then a rerun: every row, and only those after STATE twice.

    The lines are picked by ``--seed``; there is one for every 50 ``--interleavings``.
    """
    for _ in range(2):
        emulator.add_generation(rows=60)
    emulator.add("users", "2026-05-16-00", "user_id\n" + "".join(f"{i}\n" for i in range(5000)))
    config = write(tmp_path, "config.json", settings(emulator))
    dice = random.Random(pytestconfig.getoption("--seed"))
    for _ in range(pytestconfig.getoption("--interleavings") // 50):
        killed = run_killed(dice.randint(1, 5600), TAP, "--config", config)
        covered, uncovered = killed.at_state()
        state = write(tmp_path, "state.json", covered.state)
        rest = command("--config", config, "--state", state)
        assert rest.status == 0
        before, lost, after = (
            Counter(
                (m["stream"], m["record"]["_sdc_source_file"], m["record"]["_sdc_source_lineno"])
                for m in run.of("RECORD")
            )
            for run in (covered, uncovered, rest)
        )
        assert max((before + after).values()) == 1
        assert set(lost) <= set(after)
        assert sum((before + after).values()) == 5000 + 2 * 2 * (60 + 15 + 3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals(emulator: Emulator, tmp_path: Path, number: signal.Signals) -> None:
    """A run that is signalled does not look finished; complete lines, the last one its STATE."""
    emulator.add("users", "2026-05-16-00", "user_id\n1\n")
    # Too large to be kept by sampling: fetched again when it is read, and then it stalls.
    emulator.add("users", "2026-05-16-04", "user_id\n" + "1\n" * (5 << 19), gzip=False)
    emulator.fail("download", match="2026-05-16-04", skip=1, stall=30, drop_after=100, times=None)
    config = write(tmp_path, "config.json", settings(emulator))
    with subprocess.Popen(
        [*TAP, "--config", config],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as tap:
        assert tap.stdout
        next(line for line in tap.stdout if b"replication_key_value" in line)
        tap.send_signal(number)
        out, log = tap.communicate(timeout=30)
    assert tap.returncode == 128 + number
    assert number.name in log.decode()
    assert b"Traceback" not in log
    lines = out.splitlines()  # after the one that was the last before the signal
    assert all(json.loads(line) for line in lines)
    assert json.loads(lines[-1])["type"] == "STATE"
    bookmark = json.loads(lines[-1])["value"]["bookmarks"]["users"]
    assert bookmark["replication_key_value"] == "2026-05-16T00:00:00Z"
