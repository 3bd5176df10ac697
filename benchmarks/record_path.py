"""Blocks of RECORD lines against the SDK's own record path, side by side: `make bench`.

Serves one activities file from the emulator, and runs in turn, each as a process of its own
that writes into a pipe: the tap, the tap with every column set to string (what typing costs),
and the tap forced onto the SDK's record path. Takes off the time of a run with nothing to
read, and prints rows per second, their ratios and peak memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tap_firstup_dde.documented import DOCUMENTED
from tap_firstup_dde.emulator import Emulator
from tap_firstup_dde.sample_data import generation

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# The SDK as it comes: its writer, its conformance, record by record.
SDK_PATH = """
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.io_base import SingerWriter
from tap_firstup_dde.streams import ExportStream
from tap_firstup_dde.tap import TapFirstupDDE
ExportStream._columnar = False
ExportStream.TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.RECURSIVE
TapFirstupDDE.message_writer_class = SingerWriter
TapFirstupDDE.cli()
"""
TAP = [sys.executable, "-m", "tap_firstup_dde"]
FORCED = [sys.executable, "-c", SDK_PATH]
UNTYPED = dict.fromkeys(DOCUMENTED["activities"].columns, "string")


def timed(command: list[str], config: Path) -> tuple[float, int, int]:
    """Seconds, lines written and peak resident memory (MiB) of one run."""
    started = time.perf_counter()
    with subprocess.Popen(
        [*command, "--config", str(config)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as tap:
        assert tap.stdout
        lines = 0
        while block := os.read(tap.stdout.fileno(), 1 << 20):
            lines += block.count(b"\n")
        _, status, usage = os.wait4(tap.pid, 0)
        tap.returncode = os.waitstatus_to_exitcode(status)
    if tap.returncode:
        sys.exit(f"a run ended with status {tap.returncode}")
    return time.perf_counter() - started, lines, usage.ru_maxrss >> 10


def start(rows: int) -> dict[str, str]:
    """The settings that reach a new server of one file."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    spawn.Process(target=serve, args=(rows, there), daemon=True).start()
    return dict(here.recv())


def serve(rows: int, answer: Connection) -> None:
    """Serve one activities file; in a process of its own, so that the measuring one is small."""
    with Emulator() as emulator:
        if rows:
            moment = datetime(2026, 5, 14, 16, tzinfo=UTC)
            text = generation(0, 0, moment, rows, parts=1)["activities"][0]
            emulator.add("activities", "2026-05-14-16", text)
        answer.send(emulator.settings)
        threading.Event().wait()  # until the measuring process ends


def main() -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000, help="rows of the tap's file")
    options.add_argument("--sdk-rows", type=int, default=100_000, help="rows of the SDK's file")
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    sides = {  # name: command, rows, settings
        "nothing": (TAP, 0, {}),
        "sdk": (FORCED, chosen.sdk_rows, {}),
        "tap": (TAP, chosen.rows, {}),
        "untyped": (TAP, chosen.rows, {"column_types": {"activities": UNTYPED}}),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    peaks = dict.fromkeys(sides, 0)
    with tempfile.TemporaryDirectory() as folder:
        served = {rows: start(rows) for rows in {rows for _, rows, _ in sides.values()}}
        for turn in range(chosen.rounds):
            for name, (command, rows, more) in sides.items():
                config = Path(folder) / f"{name}.json"
                config.write_text(json.dumps(served[rows] | more))
                took, lines, peak = timed(command, config)
                assert lines > rows
                idle = seconds["nothing"][turn] if rows else 0
                seconds[name].append(took - idle)
                peaks[name] = max(peaks[name], peak)
    print(f"cores: {os.cpu_count()}, Python {sys.version.split()[0]}")
    rates = {name: [sides[name][1] / taken for taken in seconds[name]] for name in sides}
    for name in ("sdk", "tap", "untyped"):
        rate = statistics.median(rates[name])
        print(f"{name}: {rate:,.0f} records/s, at most {peaks[name]} MiB resident")
    for slow in ("sdk", "untyped"):
        ratios = [tap / other for tap, other in zip(rates["tap"], rates[slow], strict=True)]
        median, low, high = statistics.median(ratios), min(ratios), max(ratios)
        print(f"tap to {slow}: {median:.2f} (from {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
