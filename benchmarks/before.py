"""This build against an earlier one: what users wait for, measured side by side.

    make before ARGS="--before d3199a4"

Both builds read the same files in the same environment, one right after the other, in changing
order. Ratios are computed for each pair, of whole runs, start included; above 1, this build is
faster.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builds import MODULE, ROOT, build_of, environment
from lab import machine, serving

from tap_firstup_dde.sample_data import generation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tap_firstup_dde.emulator import Emulator

HOUR = datetime(2026, 5, 14, 16, tzinfo=UTC)
NAME = "23552-05-14-2026-16-activity-incremental"
SMALL_FILES, SMALL_ROWS = 300, 200


@dataclass(frozen=True)
class Case:
    """One input and one output.

    Attributes:
        name: What it is.
        write: Writes the file, without its ending; None for many files behind an API.
        form: Format of batch files; empty for RECORD.
        latency: Seconds before each answer of the API.
    """

    name: str
    write: Callable[[Path], object] | None
    form: str = ""
    latency: float = 0.0


@dataclass(frozen=True)
class Taken:
    """What a run took: seconds by the clock and of the processors, and MiB at most."""

    wall: float
    cpu: float
    peak: int


def rows(count: int, columns: int = 30) -> tuple[list[str], Iterator[list[str]]]:
    """Names, and so many rows, of activities; wider ones have the same cells over and over."""
    (text,) = generation(0, 0, HOUR, min(count, 20_000), parts=1)["activities"]
    names, *cells = csv.reader(io.StringIO(text, newline=""))
    times = -(-columns // len(names))
    wide = [name + (f"_{turn}" if turn else "") for turn in range(times) for name in names]
    return wide[:columns], ((cells[n % len(cells)] * times)[:columns] for n in range(count))


def as_csv(count: int, columns: int = 30, *, quoted: bool = False) -> Callable[[Path], None]:
    """Writes CSV."""

    def write(path: Path) -> None:
        names, cells = rows(count, columns)
        with gzip.open(f"{path}.gz", "wt", 6, "utf-8", newline="") as file:
            if quoted:
                writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
            else:
                writer = csv.writer(file, lineterminator="\n")
            writer.writerow(names)
            writer.writerows(cells)

    return write


def as_json(count: int, *, array: bool) -> Callable[[Path], None]:
    """Writes JSON objects of 20 members, one of them an object, a line each or in an array."""

    def write(path: Path) -> None:
        names, cells = rows(count, 19)
        with gzip.open(f"{path}.gz", "wt", 1, "utf-8") as file:
            file.write("[\n" if array else "")
            for number, row in enumerate(cells):
                values = {
                    n: int(v) if v.isdecimal() else v for n, v in zip(names, row, strict=True)
                }
                file.write(",\n" if array and number else "")
                file.write(json.dumps({**values, "extra": {"a": number, "b": ["x", None]}}))
                file.write("" if array else "\n")
            file.write("\n]" if array else "")

    return write


def as_workbook(count: int) -> Callable[[Path], None]:
    """Writes a workbook with shared texts and numbers, as spreadsheet programs store them."""

    def write(path: Path) -> None:
        names, cells = rows(count, 20)
        texts: dict[str, int] = {}
        main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
        package = "http://schemas.openxmlformats.org/package/2006/relationships"

        def cell(column: int, row: int, value: str) -> str:
            place = f"{chr(65 + column)}{row}"
            if value.isdecimal():
                return f'<c r="{place}"><v>{value}</v></c>'
            return f'<c r="{place}" t="s"><v>{texts.setdefault(value, len(texts))}</v></c>'

        with zipfile.ZipFile(f"{path}.xlsx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book:
            with book.open("xl/worksheets/sheet1.xml", "w") as sheet:
                sheet.write(f'<?xml version="1.0"?><worksheet xmlns="{main}"><sheetData>'.encode())
                for number, row in enumerate((names, *cells), start=1):
                    line = "".join(cell(n, number, value) for n, value in enumerate(row))
                    sheet.write(f'<row r="{number}">{line}</row>'.encode())
                sheet.write(b"</sheetData></worksheet>")
            items = "".join(
                f"<si><t>{t.replace('&', '&amp;').replace('<', '&lt;')}</t></si>" for t in texts
            )
            book.writestr("xl/sharedStrings.xml", f'<sst xmlns="{main}">{items}</sst>')
            book.writestr(
                "xl/workbook.xml",
                f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>'
                '<sheet name="a" sheetId="1" r:id="r1"/></sheets></workbook>',
            )
            book.writestr(
                "xl/_rels/workbook.xml.rels",
                f'<Relationships xmlns="{package}">'
                f'<Relationship Id="r1" Type="{relations}/worksheet" '
                'Target="worksheets/sheet1.xml"/>'
                f'<Relationship Id="r2" Type="{relations}/sharedStrings" '
                'Target="sharedStrings.xml"/></Relationships>',
            )
            book.writestr(
                "_rels/.rels",
                f'<Relationships xmlns="{package}"><Relationship Id="r1" '
                f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
            )
            kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
            book.writestr(
                "[Content_Types].xml",
                '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
                '<Default Extension="rels" '
                'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
                f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
                f'<Override PartName="/xl/worksheets/sheet1.xml" '
                f'ContentType="{kind}.worksheet+xml"/>'
                f'<Override PartName="/xl/sharedStrings.xml" '
                f'ContentType="{kind}.sharedStrings+xml"/></Types>',
            )

    return write


CASES = (
    Case("start, nothing new", lambda _: None),
    Case(f"{SMALL_FILES} files of {SMALL_ROWS} rows, 100 ms an answer", None, latency=0.1),
    Case(f"{SMALL_FILES} files of {SMALL_ROWS} rows, no latency", None),
    Case("RECORD, 30 columns", as_csv(500_000)),
    Case("RECORD, every cell quoted", as_csv(500_000, quoted=True)),
    Case("RECORD, 500 columns", as_csv(60_000, 500)),
    Case("jsonl.gz files", as_csv(500_000), "jsonl"),
    Case("parquet files", as_csv(500_000), "parquet"),
    Case("arrow files", as_csv(500_000), "arrow"),
    Case("arrow files, 500 columns", as_csv(60_000, 500), "arrow"),
    Case("RECORD from JSON lines", as_json(200_000, array=False)),
    Case("RECORD from a JSON array", as_json(200_000, array=True)),
    Case("RECORD from a workbook", as_workbook(200_000)),
)


def add_small_files(emulator: Emulator) -> None:
    """Add many small files of activities."""
    names, cells = rows(SMALL_ROWS)
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([names, *cells])
    for number in range(SMALL_FILES):
        hour = HOUR + timedelta(hours=4 * number - 1200)
        emulator.add("activities", f"{hour:%Y-%m-%d-%H}", text.getvalue())


def run(tree: Path, config: dict[str, Any], scratch: Path) -> Taken:
    """One run of a build, its output thrown away."""
    with tempfile.TemporaryDirectory(dir=scratch) as target:
        if "batch_config" in config:
            config["batch_config"]["storage"] = {"root": Path(target).as_uri()}
        path = scratch / "config.json"
        path.write_text(json.dumps(config))
        command = [sys.executable, "-m", MODULE, "--config", str(path), "--quiet"]
        started = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, cwd=tree, env=environment(tree)
        ) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"{tree.name}: status {process.returncode}")
    return Taken(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss >> 10)


def measure(case: Case, trees: Sequence[Path], rounds: int, scratch: Path) -> list[list[Taken]]:
    """What each build took in each round."""
    config: dict[str, Any] = {}
    if case.form:
        config["batch_config"] = {"encoding": {"format": case.form}, "batch_size": 50_000}

    def pairs(source: dict[str, Any]) -> list[list[Taken]]:
        taken: list[list[Taken]] = [[], []]
        for turn in range(rounds):
            for place in ((0, 1), (1, 0))[turn % 2]:
                taken[place].append(run(trees[place], {**config, **source}, scratch))
        return taken

    if case.write is None:
        with serving(add_small_files, case.latency) as settings:
            return pairs(settings)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        case.write(Path(folder) / NAME)
        for file in Path(folder).iterdir():
            os.utime(file, (HOUR.timestamp(), HOUR.timestamp()))
        return pairs({"folder": {"url": folder}})


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="make before", description=__doc__.splitlines()[0])
    parser.add_argument("--before", required=True, metavar="REV", help="a git revision")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="cases whose name has this text")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(f"{machine()}, {options.rounds} rounds, against {options.before}\n")
    print("| case | before | now | clock: before/now (range) | processors | peak memory |")
    print("|---|--:|--:|--:|--:|--:|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        trees = (build_of(options.before, scratch), ROOT)
        for case in CASES:
            if options.only not in case.name:
                continue
            taken = measure(case, trees, options.rounds, scratch)
            clock, cpu = (
                [getattr(old, kind) / getattr(new, kind) for old, new in zip(*taken, strict=True)]
                for kind in ("wall", "cpu")
            )
            before, now = (statistics.median(one.wall for one in runs) for runs in taken)
            peaks = [max(one.peak for one in runs) for runs in taken]
            print(
                f"| {case.name} | {before:.2f} s | {now:.2f} s | {statistics.median(clock):.2f} "
                f"({min(clock):.2f} to {max(clock):.2f}) | {statistics.median(cpu):.2f} | "
                f"{peaks[0]} → {peaks[1]} MiB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
