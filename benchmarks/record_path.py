"""Blocks of RECORD lines against the SDK's own record path, side by side: `make bench`.

Serves one activities file from the emulator, runs the tap and the same tap forced onto the
SDK's record path in turn, each as a process of its own that writes into a pipe, takes off the
time of a run with nothing to read, and prints rows per second, their ratio and peak memory.
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
    rows = {"nothing": 0, "sdk": chosen.sdk_rows, "tap": chosen.rows}
    commands = {"sdk": FORCED, "tap": TAP}
    rates: dict[str, list[float]] = {name: [] for name in commands}
    peaks = dict.fromkeys(commands, 0)
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        configs = {}
        for name, count in rows.items():
            here, there = spawn.Pipe()
            spawn.Process(target=serve, args=(count, there), daemon=True).start()
            configs[name] = Path(folder) / f"{name}.json"
            configs[name].write_text(json.dumps(here.recv()))
        for _ in range(chosen.rounds):
            idle, _, _ = timed(TAP, configs["nothing"])
            for name, command in commands.items():
                seconds, lines, peak = timed(command, configs[name])
                assert lines > rows[name]
                rates[name].append(rows[name] / (seconds - idle))
                peaks[name] = max(peaks[name], peak)
    ratios = [tap / sdk for tap, sdk in zip(rates["tap"], rates["sdk"], strict=True)]
    print(f"cores: {os.cpu_count()}, Python {sys.version.split()[0]}")
    for name, rate in rates.items():
        print(
            f"{name}: {statistics.median(rate):,.0f} records/s, at most {peaks[name]} MiB resident"
        )
    print(f"ratio: {statistics.median(ratios):.1f} (from {min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
