"""A run that is killed at any point loses nothing, and repeats only what no STATE covered."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.singer import settings, write

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator


def _killed_after(lines: int, *arguments: str) -> list[dict[str, Any]]:
    """Messages of a run that gets SIGKILL once it has written some lines."""
    with subprocess.Popen(
        [sys.executable, "-m", "tap_firstup_dde", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as tap:
        assert tap.stdout
        out = []
        for line in tap.stdout:
            out.append(line)
            if len(out) == lines:
                tap.kill()
        assert (tap.wait() == 0) == (len(out) < lines or not lines)
    if out and not out[-1].endswith(b"\n"):
        out.pop()
    return [json.loads(line) for line in out]


@pytest.mark.parametrize("seed", range(20))
def test_kill_and_rerun(emulator: Emulator, tmp_path: Path, seed: int) -> None:
    """SIGKILL after a random line, then a rerun: every row there, none twice but after STATE."""
    for _ in range(2):
        emulator.add_generation(rows=60)
    emulator.add("users", "2026-05-16-00", "user_id\n" + "".join(f"{i}\n" for i in range(5000)))
    config = write(tmp_path, "config.json", settings(emulator))
    lines = random.Random(seed).randint(1, 5600)
    first = _killed_after(lines, "--config", config)
    last = max((i for i, m in enumerate(first) if m["type"] == "STATE"), default=-1)
    state = first[last]["value"] if last >= 0 else {}
    second = _killed_after(0, "--config", config, "--state", write(tmp_path, "state.json", state))
    covered, uncovered, rest = (
        Counter(
            (m["stream"], m["record"]["_sdc_source_file"], m["record"]["_sdc_source_lineno"])
            for m in messages
            if m["type"] == "RECORD"
        )
        for messages in (first[: last + 1], first[last + 1 :], second)
    )
    assert max((covered + rest).values()) == 1
    assert set(uncovered) <= set(rest)
    assert sum((covered + rest).values()) == 5000 + 2 * 2 * (60 + 15 + 3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals(emulator: Emulator, tmp_path: Path, number: signal.Signals) -> None:
    """A run that is told to stop does not look finished; whole lines, the last one its STATE."""
    emulator.add("users", "2026-05-16-00", "user_id\n1\n")
    # Too large to be kept from the look: fetched again in its turn, and then it stalls.
    emulator.add("users", "2026-05-16-04", "user_id\n" + "1\n" * (5 << 19), gzip=False)
    emulator.fail("download", match="2026-05-16-04", skip=1, stall=30, drop_after=100, times=None)
    config = write(tmp_path, "config.json", settings(emulator))
    with subprocess.Popen(
        [sys.executable, "-m", "tap_firstup_dde", "--config", config],
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
