"""A file inside a task of Spark against the tap's own columnar path: `make bench-spark`.

Both fetch the same file from an emulated Firstup, prove it, parse it and type it, on one
processor; the tap's way ends with typed batches, Spark's with rows that a sink has been given.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

from lab import ENVIRONMENT, laboratory, machine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAP = """
import json, logging, resource, sys, time
from singer_sdk.contrib.msgspec import MsgSpecWriter
from tap_firstup_dde.exportlib.look import discard
from tap_firstup_dde.exportlib.schema import to_values
from tap_firstup_dde.streams import SLICE
from tap_firstup_dde.tap import TapFirstupDDE, keep_freed_memory

class Nowhere(MsgSpecWriter):
    def write_message(self, message):
        pass

logging.disable()
keep_freed_memory()
for number in range(1 + int(sys.argv[2])):
    tap = TapFirstupDDE(config=json.loads(sys.argv[1]), message_writer=Nowhere())
    stream = tap.streams["activities"]
    stream._prepare()
    discard(stream._kept)
    begun, rows = time.perf_counter(), 0
    for frame in stream._frames(SLICE, full=True):
        rows += to_values(frame, stream._all_types()).height
    if number:
        seconds = time.perf_counter() - begun
        print(seconds, rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""
SPARK = """
import json, re, sys, time
from pathlib import Path
from pyspark.sql import SparkSession
from tap_firstup_dde.spark import FirstupDataSource

spark = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1").config("spark.log.level", "OFF").getOrCreate())
spark.dataSource.register(FirstupDataSource)
read = spark.read.format("firstup_dde").options(stream="activities", **json.loads(sys.argv[1]))
schema = read.load().schema
for number in range(1 + int(sys.argv[2])):
    begun = time.perf_counter()
    read.schema(schema).load().write.format("noop").mode("overwrite").save()
    took = time.perf_counter() - begun
    if number:
        peaks = [0]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if b"pyspark.daemon" in (process / "cmdline").read_bytes():
                    status = (process / "status").read_text()
                    peaks.append(int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) >> 10)
            except OSError:
                continue
        print(took, read.schema(schema).load().count(), max(peaks))
"""


def taken(code: str, settings: Mapping[str, str], rounds: int) -> list[tuple[float, int, int]]:
    """Seconds, rows and peak memory (MiB) of each round, after one that does not count."""
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(settings), str(rounds)],
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


def show(name: str, rounds: Sequence[tuple[float, int, int]]) -> float:
    """Print what a way took; its median seconds."""
    seconds = statistics.median(took for took, _, _ in rounds)
    rows, peak = rounds[0][1], max(peak for _, _, peak in rounds)
    print(f"{name:<16}{seconds:8.2f} s {rows / seconds:12,.0f} rows/s {peak:6} MiB")
    return seconds


def main() -> None:
    """Measure both ways in turn, and print the ratio."""
    parser = argparse.ArgumentParser(prog="make bench-spark", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    print(machine())
    with laboratory() as lab:
        settings = lab.served(options.rows)
        ways: dict[str, list[tuple[float, int, int]]] = {"the tap": [], "a task of Spark": []}
        ratios = []
        for _ in range(options.turns):
            turn = [taken(code, settings, 2) for code in (TAP, SPARK)]
            ratios.append(min(turn[0])[0] / min(turn[1])[0])
            for rounds, new in zip(ways.values(), turn, strict=True):
                rounds.extend(new)
        assert {rows for rounds in ways.values() for _, rows, _ in rounds} == {options.rows}
        for name, rounds in ways.items():
            show(name, rounds)
    print(
        f"Spark's throughput to the tap's: {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
