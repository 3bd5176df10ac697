"""A file inside a task of Spark against the tap's own columnar path: `make bench-spark`.

All fetch the same file from an emulated Firstup, prove it, parse it and type it, on one processor.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lab import ENVIRONMENT, laboratory, machine

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent / "contenders"


def taken(
    script: str, settings: Mapping[str, str], *arguments: str
) -> list[tuple[float, int, int]]:
    """Seconds, rows and peak memory (MiB) of each round, after one that does not count."""
    done = subprocess.run(
        [sys.executable, str(HERE / script), json.dumps(settings), *arguments],
        env={**ENVIRONMENT, "PYSPARK_PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        # One processor, the same for both; the emulator has the others.
        preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
    )
    lines = (line.split() for line in done.stdout.splitlines() if line.count(" ") == 2)
    return [(float(seconds), int(rows), int(peak)) for seconds, rows, peak in lines]


def main() -> None:
    """Measure both ways in turn, and print the ratio."""
    parser = argparse.ArgumentParser(prog="make bench-spark", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    print(machine())
    with laboratory() as lab:
        settings = lab.served(options.rows)
        ways = {
            "the tap, to typed batches": ("tap_batches.py", "2"),
            "a task, to typed batches": ("spark_batches.py", "2", "task"),
            "a job, to batches in Spark": ("spark_batches.py", "2", "batches"),
            "a job, to rows in a sink": ("spark_batches.py", "2", "rows"),
        }
        every: dict[str, list[tuple[float, int, int]]] = {name: [] for name in ways}
        ratios: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.turns):
            turn = {n: taken(script, settings, *how) for n, (script, *how) in ways.items()}
            best = {name: min(rounds)[0] for name, rounds in turn.items()}
            for name, rounds in turn.items():
                every[name] += rounds
                ratios[name].append(best["the tap, to typed batches"] / best[name])
        assert {rows for rounds in every.values() for _, rows, _ in rounds} == {options.rows}
    for name, rounds in every.items():
        seconds = statistics.median(took for took, _, _ in rounds)
        peak, ratio = max(peak for _, _, peak in rounds), ratios[name]
        print(
            f"{name:<27}{seconds:6.2f} s {options.rows / seconds:10,.0f} rows/s {peak:5} MiB  "
            f"{statistics.median(ratio):.2f} ({min(ratio):.2f} to {max(ratio):.2f})"
        )


if __name__ == "__main__":
    main()
