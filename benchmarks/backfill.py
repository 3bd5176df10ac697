"""A backfill on Spark, planned: files, bytes, requests and hours for a company of some size.

    python benchmarks/backfill.py --employees 500000 --months 24

A calculation, not a measurement: rows a second and core were measured by `make bench-spark`;
everything else is an assumption, and most of it an option.
"""

from __future__ import annotations

import argparse
import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GENERATIONS = 6  # a day: every four hours, as the documents' samples are
DAYS = 30.4  # of a month
LIMIT = 1000  # requests a minute and program, by Firstup's documents
# Bytes of gzip that a row takes: three times those of the emulator's sample data (17 an activity),
# which are less varied than real ones.
BYTES = {"campaigns": 300, "users": 125, "activities": 50}
CORES = (8, 32, 128, 512)


@dataclass(frozen=True)
class Work:
    """The files of one stream, all alike.

    Attributes:
        stream: Its name.
        files: How many there are.
        rows: Of each.
        size: Of each, in bytes as stored.
    """

    stream: str
    files: int
    rows: int
    size: int


@dataclass(frozen=True)
class Speed:
    """What one processor does.

    Attributes:
        rows: That it proves, parses and types in a second.
        network: Bytes that reach it in a second.
        wait: Seconds that a file takes beside that: the task, the URL, the first byte.
    """

    rows: float
    network: float
    wait: float

    def seconds(self, work: Work) -> float:
        """What one file takes."""
        return self.wait + work.size / self.network + work.rows / self.rows


def planned(employees: int, months: int, activities: float, changed: float) -> list[Work]:
    """The files of a company.

    Args:
        employees: How many people use Firstup.
        months: Of the past.
        activities: Rows that each of them makes in a day.
        changed: Share of them whose users row is new in a generation.
    """
    files = round(months * DAYS * GENERATIONS)
    rows = {
        "campaigns": 50,
        "users": round(employees * changed),
        "activities": round(employees * activities / GENERATIONS),
    }
    return [Work(name, files, count, count * BYTES[name]) for name, count in rows.items()]


def run(files: Iterable[Work], cores: int, speed: Speed, limit: int | None) -> tuple[float, int]:
    """Simulate tasks that take one file after another.

    Returns:
        Seconds until the last one is over, and the most requests in any minute.
    """
    free = [0.0] * cores
    asked: list[float] = []
    end = 0.0
    for file in files:
        begun = heapq.heappop(free)
        if limit and len(asked) >= limit:
            begun = max(begun, asked[-limit] + 60)
        asked.append(begun)
        done = begun + speed.seconds(file)
        end = max(end, done)
        heapq.heappush(free, done)
    first = most = 0
    for last, moment in enumerate(asked):
        while asked[first] <= moment - 60 + 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return end, most


def table(works: Sequence[Work], speed: Speed) -> str:
    """The plan as Markdown."""
    lines = [
        "| stream | files | rows | of a file | as stored | of a file |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {w.stream} | {w.files:,} | {w.files * w.rows / 1e6:,.1f} million | {w.rows:,} | "
        f"{w.files * w.size / 1e9:,.1f} GB | {w.size / 1e6:,.2f} MB |"
        for w in works
    ]
    lines += [
        "",
        "| cores | hours, from a folder | through the API | most requests a minute |",
        "|---:|---:|---:|---:|",
    ]
    files = [work for number in range(works[0].files) for work in works]
    for cores in CORES:
        alone, _ = run(files, cores, speed, None)
        limited, most = run(files, cores, speed, LIMIT)
        lines.append(f"| {cores} | {alone / 3600:.2f} | {limited / 3600:.2f} | {most:,} |")
    return "\n".join(lines)


def main() -> None:
    """Print the plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--employees", type=int, default=500_000)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--activities", type=float, default=5, help="rows a day and employee")
    parser.add_argument("--changed", type=float, default=0.01, help="share of users a generation")
    parser.add_argument("--rows-per-second", type=float, default=150_000, help="and core")
    parser.add_argument("--megabytes-per-second", type=float, default=20, help="and core")
    parser.add_argument("--wait", type=float, default=1.0, help="seconds a file beside that")
    options = parser.parse_args()
    if min(vars(options).values()) <= 0:
        parser.error("each number is to be more than zero")
    works = planned(options.employees, options.months, options.activities, options.changed)
    speed = Speed(options.rows_per_second, options.megabytes_per_second * 1e6, options.wait)
    print(table(works, speed))


if __name__ == "__main__":
    main()
