"""How the tap's time and memory grow with rows, files and columns: `make growth`.

Each point is the least of some runs' time, less that of a run with nothing to read, by the rows.
Prints a table, and draws it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import Lab, add_copies, laboratory, machine, serving, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MILLION = 1_000_000
CELLS = 30 * MILLION  # of the files that differ in their columns
SHAPES = {  # what grows: rows in all, files, columns
    "rows": [(rows, 1, 30) for rows in (MILLION // 4, MILLION, 4 * MILLION, 16 * MILLION)],
    "files": [(MILLION, files, 30) for files in (1, 10, 100, 1000)],
    "columns": [(CELLS // columns, 1, columns) for columns in (10, 30, 100, 250, 500)],
}
WAYS = {"RECORD": ("", "#2166ac"), "BATCH arrow": ("arrow", "#b2182b")}  # format, colour


@dataclass(frozen=True)
class Point:
    """One measurement: what grew, how far, and what it took."""

    way: str
    growing: str
    size: int
    micros: float
    peak: int


def measure(lab: Lab, settings: dict[str, str], form: str) -> tuple[float, int]:
    """Seconds and peak memory (MiB) of one run."""
    folder = lab.new_folder()
    config: dict[str, Any] = {**settings, "requests_per_minute": 100_000}
    if form:
        storage = {"root": folder.as_uri()}
        config["batch_config"] = {"encoding": {"format": form}, "storage": storage}
        config["batch_config"]["batch_size"] = 100_000
    (folder / "tap.json").write_text(json.dumps(config))
    taken = timed([sys.executable, "-m", "tap_firstup_dde", "--config", "tap.json"], folder)
    for file in folder.iterdir():
        file.unlink()
    return taken.seconds, taken.peak


def points(lab: Lab, rounds: int, scale: float) -> list[Point]:
    """Every way with every shape."""
    found: list[Point] = []
    for growing, shapes in SHAPES.items():
        for full, files, columns in shapes:
            each = max(1, int(full * scale) // files)
            file = lab.file(each, columns)
            empty = partial(add_copies, file=lab.file(0, columns))
            full_ones = partial(add_copies, file=file, copies=files)
            with serving(empty) as nothing, serving(full_ones) as served:
                for way, (form, _) in WAYS.items():
                    idle = min(measure(lab, nothing, form)[0] for _ in range(rounds))
                    runs = [measure(lab, served, form) for _ in range(rounds)]
                    micros = (min(seconds for seconds, _ in runs) - idle) / (each * files) * 1e6
                    size = {"rows": each, "files": files, "columns": columns}[growing]
                    point = Point(way, growing, size, micros, max(peak for _, peak in runs))
                    print(
                        f"| {way} | {each * files:,} | {files:,} | {columns} | {micros:.2f} µs"
                        f" | {point.peak} MiB |",
                        flush=True,
                    )
                    found.append(point)
            if file.stat().st_size > 100 << 20:
                file.unlink()
    return found


WIDTH, HEIGHT, LEFT, TOP, GAP = 250, 170, 60, 40, 75  # of a panel, and about it


def drawing(found: Sequence[Point], about: str) -> str:
    """The points as SVG: time above memory, side by side what grows."""
    rows: list[tuple[str, Callable[[Point], float]]] = [
        ("µs per row", lambda point: point.micros),
        ("peak memory, MiB", lambda point: point.peak),
    ]
    width = LEFT + len(SHAPES) * (WIDTH + GAP)
    height = TOP + len(rows) * (HEIGHT + GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        '<g font-family="sans-serif" font-size="11" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, (way, (_, colour)) in enumerate(WAYS.items()):
        x = LEFT + number * 110
        parts += [
            f'<circle cx="{x}" cy="14" r="4" fill="{colour}"/>',
            f'<text x="{x + 9}" y="18">{way}</text>',
        ]
    parts.append(f'<text x="{width - 10}" y="18" text-anchor="end">{about}</text>')
    for down, (title, value) in enumerate(rows):
        for across, growing in enumerate(SHAPES):
            here = [point for point in found if point.growing == growing]
            corner = LEFT + across * (WIDTH + GAP), TOP + down * (HEIGHT + GAP)
            parts += _panel(here, corner, title, growing, value)
    return "\n".join([*parts, "</g></svg>", ""])


def _panel(
    here: Sequence[Point],
    corner: tuple[int, int],
    title: str,
    growing: str,
    value: Callable[[Point], float],
) -> list[str]:
    """A panel: linear from zero upwards; along, logarithmic but for columns."""
    left, top = corner
    bottom = top + HEIGHT
    along: Callable[[float], float] = float if growing == "columns" else math.log10
    sizes = sorted({point.size for point in here})
    first, last = along(sizes[0]), along(sizes[-1])
    if growing == "columns":
        first = 0
    step = _round(max(map(value, here)) / 4)
    most = step * math.ceil(max(map(value, here)) / step)

    def x(size: float) -> float:
        return left + WIDTH * (along(size) - first) / ((last - first) or 1)

    def y(height: float) -> float:
        return top + HEIGHT * (1 - height / most)

    parts = [f'<text x="{left}" y="{top - 8}" font-weight="bold">{title}</text>']
    for number in range(round(most / step) + 1):
        height = y(number * step)
        parts += [
            f'<path d="M{left} {height:.1f}h{WIDTH}" stroke="#ddd"/>',
            f'<text x="{left - 6}" y="{height + 4:.1f}" text-anchor="end">{number * step:g}</text>',
        ]
    parts += [
        f'<text x="{x(size):.1f}" y="{bottom + 16}" text-anchor="middle">{_short(size)}</text>'
        for size, after in zip(sizes, [*sizes[1:], math.inf], strict=True)
        if after == math.inf or x(after) - x(size) > 20  # where there is room
    ]
    parts.append(
        f'<text x="{left + WIDTH / 2}" y="{bottom + 32}" text-anchor="middle">{growing}</text>'
    )
    for way, (_, colour) in WAYS.items():
        mine = sorted((p for p in here if p.way == way), key=lambda point: point.size)
        line = " ".join(f"{x(point.size):.1f},{y(value(point)):.1f}" for point in mine)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(point.size):.1f}" cy="{y(value(point)):.1f}" r="3" fill="{colour}"/>'
            for point in mine
        ]
    return parts


def _round(step: float) -> float:
    """A step's next larger of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= step)


def _short(size: int) -> str:
    """A number in few characters."""
    return f"{size / MILLION:g}M" if size >= MILLION // 10 else f"{size:,}"


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(
        prog="make growth",
        usage='make growth [ARGS="[--rounds N] [--scale X] [--to FILE]"]',
        description=__doc__.splitlines()[0],
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1, help="all numbers of rows times this")
    parser.add_argument("--to", type=Path, default=Path(__file__).with_name("growth.svg"))
    options = parser.parse_args()
    about = machine()
    print(f"{about}\n\n| way | rows | files | columns | time per row | peak memory |")
    print("|---|--:|--:|--:|--:|--:|")
    with laboratory() as lab:
        found = points(lab, options.rounds, options.scale)
    options.to.write_text(drawing(found, about), encoding="utf-8")


if __name__ == "__main__":
    main()
