"""The tap against other ways of the same rows, in turn, on this machine: `make bench`.

Every contender is run once with a file that has a header only, to see whether it runs at all;
one that does not is left out, and the table says why. Then, in every round, each is run with
its rows and with such a file; the median of the latter is taken off. Ratios are within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
from lab import BUCKET, ROOT, TOOLS, Lab, RunError, laboratory, machine, timed
from psycopg import sql

from tap_firstup_dde.documented import STREAMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lab import Taken

HERE = Path(__file__).parent / "contenders"
TAP = [sys.executable, "-m", "tap_firstup_dde"]
SDK = [sys.executable, str(HERE / "sdk_path.py")]
UNTYPED = {"activities": dict.fromkeys(STREAMS["activities"].documented.columns, "string")}
FAST = {"use_copy": True, "validate_records": False}  # what the README recommends
MILLION = 1_000_000
SAMPLE = 1000  # rows that the S3 taps make their catalogs of
COUNT = """
import sys, pathlib, polars
from isal import igzip
read = {
    ".gz": lambda path: igzip.open(path).read().count(b"\\n"),
    ".jsonl": lambda path: path.read_bytes().count(b"\\n"),
    ".parquet": lambda path: polars.scan_parquet(path).select(polars.len()).collect().item(),
    ".arrow": lambda path: polars.read_ipc(path, columns=[0]).height,
}
files = [p for f in sys.argv[1:] for p in pathlib.Path(f).rglob("*") if "/_dlt" not in str(p)]
print(sum(read[p.suffix](p) for p in files if p.is_file() and p.suffix in read))
"""

# A command for a file of that many rows, to be run in that empty folder.
Command = Callable[[Lab, int, Path], "list[str]"]


@dataclass(frozen=True)
class Contender:
    """A way from an export file to something else.

    Attributes:
        title: What it is, for the table.
        group: What it writes; the first one of a group is what the others are held against.
        rows: Of its file, so many that it takes some seconds.
        command: How it is run.
        times: How often it writes each row, over what it wrote before.
    """

    title: str
    group: str
    rows: int
    command: Command
    times: int = 1


class Result:
    """What a contender took.

    Attributes:
        idle: Its runs with nothing to read.
        busy: Its runs with its rows, one in each round.
    """

    def __init__(self) -> None:
        self.idle: list[Taken] = []
        self.busy: list[Taken] = []

    @property
    def peak(self) -> int:
        """Most resident memory (MiB)."""
        return max(taken.peak for taken in self.busy)

    def rates(self, rows: int, took: Callable[[Taken], float]) -> list[float]:
        """Records per second in each round, without the start.

        Raises:
            RunError: The start is longer than all else, so that nothing can be told.
        """
        start = statistics.median(map(took, self.idle))
        if min(map(took, self.busy)) < 1.1 * start:
            message = "too few rows: they took no longer than the start"
            raise RunError(message)
        return [rows / (took(taken) - start) for taken in self.busy]


def tap(
    lab: Lab,
    rows: int,
    folder: Path,
    program: Sequence[str] = TAP,
    *,
    quoted: bool = False,
    **settings: Any,
) -> list[str]:
    """The tap, from the emulated Firstup to standard output."""
    config = folder / "tap.json"
    config.write_text(json.dumps(lab.served(rows, quoted=quoted) | settings))
    return [*program, "--config", str(config)]


def plain(lab: Lab, rows: int, folder: Path, *, quoted: bool = False) -> list[str]:
    """A tap of a few lines, from a local file to standard output."""
    config = folder / "tap.json"
    config.write_text(json.dumps({"path": str(lab.file(rows, quoted=quoted))}))
    return [sys.executable, str(HERE / "plain_tap.py"), "--config", str(config)]


def batches(
    lab: Lab, rows: int, folder: Path, form: str, program: Sequence[str] = TAP
) -> list[str]:
    """The tap, to batch files."""
    root = folder / "files"
    root.mkdir()
    encoding = {"format": form} | ({"compression": "gzip"} if form == "jsonl" else {})
    batch = {"encoding": encoding, "storage": {"root": root.as_uri()}, "batch_size": 50_000}
    return tap(lab, rows, folder, program, batch_config=batch)


def s3_tap(lab: Lab, rows: int, folder: Path, tool: str) -> list[str]:
    """One of the S3 taps, with a catalog that it made itself before."""
    python = str(TOOLS / tool / "bin" / "python")
    packed = tool == "tap-s3-csv"  # the other one does not unpack
    name = "activities.csv.gz" if packed else "activities.csv"
    url = lab.bucket(rows, name)
    launch = ["/usr/bin/env", f"AWS_ENDPOINT_URL={url}", python]
    launch += [str(TOOLS / tool / "bin" / tool)] if packed else [str(HERE / "pipelinewise.py"), url]
    made = lab.folder / tool
    if not made.exists():
        made.mkdir()
        lab.bucket(SAMPLE, name)
        found = lab.once(tool, [*launch, "--config", s3_config(SAMPLE, made, name), "--discover"])
        catalog = json.loads(found.read_bytes())
        for stream in catalog["streams"]:
            about = next((m for m in stream["metadata"] if not m["breadcrumb"]), None)
            if about is None:
                stream["metadata"].append(about := {"breadcrumb": [], "metadata": {}})
            about["metadata"]["selected"] = True
        (made / "catalog.json").write_text(json.dumps(catalog))
    given = ["--config", s3_config(rows, folder, name)]
    return [*launch, *given, "--properties", str(made / "catalog.json")]


def s3_config(rows: int, folder: Path, name: str) -> str:
    """Write the settings of either S3 tap; one of them wants its tables as text."""
    packed = name.endswith(".gz")
    table = {
        "table_name": "activities",
        "search_prefix": f"{rows}/",
        "search_pattern": f"{name}$",
        "key_properties": "" if packed else [],
        "delimiter": ",",
    }
    config = {
        "start_date": "2020-01-01T00:00:00Z",
        "bucket": BUCKET,
        "account_id": "0",
        "external_id": "0",
        "role_name": "none",
        "tables": json.dumps([table]) if packed else [table],
    }
    path = folder / "tap.json"
    path.write_text(json.dumps(config))
    return str(path)


def polars_record(lab: Lab, rows: int, _folder: Path, *, quoted: bool = False) -> list[str]:
    """RECORD lines by polars alone."""
    return [sys.executable, str(HERE / "polars_record.py"), str(lab.file(rows, quoted=quoted))]


def tap_arrow(lab: Lab, rows: int = SAMPLE) -> Path:
    """The folder with arrow files that the tap made of a file."""
    made = lab.folder / f"arrow{rows}"
    if not made.exists():
        made.mkdir()
        lab.once(made.name, batches(lab, rows, made, "arrow"))
    return made / "files"


def polars_ipc(lab: Lab, rows: int, folder: Path, times: int) -> list[str]:
    """The tap's own arrow files, read before and written again by polars alone."""
    (folder / "files").mkdir()
    written = [str(tap_arrow(lab, rows)), str(folder / "files"), str(times if rows else 0)]
    return [sys.executable, str(HERE / "polars_ipc.py"), *written]


def polars_arrow(lab: Lab, rows: int, folder: Path) -> list[str]:
    """Arrow files by polars alone, of the types that the tap's own files have."""
    made = tap_arrow(lab)
    (folder / "files").mkdir()
    script = str(HERE / "polars_arrow.py")
    return [sys.executable, script, str(lab.file(rows)), str(made), str(folder / "files")]


def dlt(lab: Lab, rows: int, folder: Path, form: str) -> list[str]:
    """Dlt, from a local folder to files."""
    python = str(TOOLS / "dlt" / "bin" / "python")
    source = str(lab.file(rows).parent)
    return [python, str(HERE / "dlt_files.py"), source, str(folder), form]


def sling(lab: Lab, rows: int, folder: Path) -> list[str]:
    """Sling, from a local file to a file of JSON lines."""
    (folder / "files").mkdir()
    target = (folder / "files" / "activities.jsonl").as_uri()
    return [*_sling(lab, rows), f"--tgt-object={target}"]


def _sling(lab: Lab, rows: int) -> list[str]:
    """The command without its target."""
    program = next(TOOLS.glob("sling/lib/*/site-packages/sling_linux_amd64/bin/*"), None)
    if program is None:
        message = "sling is not installed"
        raise RunError(message)
    source = lab.file(rows).as_uri()
    return [str(program), "run", f"--src-stream={source}", "--mode=full-refresh"]


def postgres(
    lab: Lab, rows: int, folder: Path, source: Command, target: Mapping[str, Any]
) -> list[str]:
    """The tap, piped into target-postgres."""
    program = ROOT / ".targets" / "target-postgres" / "bin" / "target-postgres"
    if not program.exists():
        message = "target-postgres is not installed"
        raise RunError(message)
    url = lab.database().replace("postgresql://", "postgresql+psycopg://", 1)
    config = {"sqlalchemy_url": url, "default_target_schema": folder.name, **target}
    (folder / "target.json").write_text(json.dumps(config))
    reader = shlex.join(source(lab, rows, folder))
    writer = shlex.join([str(program), "--config", "target.json"])
    pipe = f"{{ {reader} || touch failed; }} | {writer} >states && test ! -e failed"
    return ["/bin/sh", "-c", pipe]


def meltano(
    lab: Lab, rows: int, folder: Path, source: Command, target: Mapping[str, Any]
) -> list[str]:
    """The tap and target-postgres under `meltano run`, in a project of their own."""
    reader = source(lab, rows, folder)
    at = reader.index("--config")
    launcher = folder / "tap"
    launcher.write_text(f'#!/bin/sh\nexec {shlex.join(reader[:at])} "$@"\n')
    launcher.chmod(0o755)
    tap_plugin = {
        "name": "tap-firstup-dde",
        "namespace": "tap_firstup_dde",
        "executable": str(launcher),
        "capabilities": ["catalog", "discover", "state", "batch"],
        "config": json.loads(Path(reader[at + 1]).read_text(encoding="utf-8")),
    }
    url = lab.database().replace("postgresql://", "postgresql+psycopg://", 1)
    target_plugin = {
        "name": "target-postgres",
        "namespace": "target_postgres",
        "executable": str(ROOT / ".targets" / "target-postgres" / "bin" / "target-postgres"),
        "config": {"sqlalchemy_url": url, "default_target_schema": folder.name, **target},
    }
    project = {
        "version": 1,
        "default_environment": "bench",
        "environments": [{"name": "bench"}],
        "project_id": folder.name,
        "send_anonymous_usage_stats": False,
        "plugins": {"extractors": [tap_plugin], "loaders": [target_plugin]},
    }
    (folder / "meltano.yml").write_text(json.dumps(project))
    program = str(ROOT / ".targets" / "meltano" / "bin" / "meltano")
    return [program, "--log-level=warning", "run", "tap-firstup-dde", "target-postgres"]


def load(lab: Lab, rows: int, folder: Path) -> list[str]:
    """`firstup-dde load` into PostgreSQL."""
    return [*_load(lab, rows, folder), "--to", lab.database(), "--schema", folder.name]


def load_duckdb(lab: Lab, rows: int, folder: Path) -> list[str]:
    """`firstup-dde load` into DuckDB."""
    return [*_load(lab, rows, folder), "--to", f"duckdb:{folder / DUCKDB_FILE}"]


def _load(lab: Lab, rows: int, folder: Path) -> list[str]:
    """The command without its target."""
    _, *settings = tap(lab, rows, folder)[2:]
    program = Path(sys.executable).with_name("firstup-dde")
    return [str(program), "load", "--stream=activities", "--quiet", *settings]


def dlt_source(lab: Lab, rows: int, folder: Path) -> list[str]:
    """The tap's dlt source, into PostgreSQL."""
    settings = tap(lab, rows, folder)[-1]
    script = str(HERE / "dlt_load.py")
    return [sys.executable, script, lab.database(), folder.name, settings]


def dlt_postgres(lab: Lab, rows: int, folder: Path) -> list[str]:
    """Dlt's own reader of a local folder, into PostgreSQL."""
    python = str(TOOLS / "dlt" / "bin" / "python")
    source = str(lab.file(rows).parent)
    return [python, str(HERE / "dlt_load.py"), lab.database(), folder.name, source]


def sling_postgres(lab: Lab, rows: int, folder: Path) -> list[str]:
    """Sling, from a local file into PostgreSQL."""
    return [
        *_sling(lab, rows),
        f"--tgt-conn={lab.database()}",
        f"--tgt-object={folder.name}.activities",
    ]


def bare_insert(lab: Lab, rows: int, folder: Path) -> list[str]:
    """DuckDB alone."""
    arguments = [str(folder / DUCKDB_FILE), str(lab.file(rows))]
    return [sys.executable, str(HERE / "bare_insert.py"), *arguments]


def bare_copy(lab: Lab, rows: int, folder: Path) -> list[str]:
    """COPY alone."""
    arguments = [lab.database(), folder.name, str(lab.file(rows))]
    return [sys.executable, str(HERE / "bare_copy.py"), *arguments]


def _postgres(source: Command, **target: Any) -> Command:
    return partial(postgres, source=source, target=target)


def _meltano(source: Command, **target: Any) -> Command:
    return partial(meltano, source=source, target=target)


RECORD = "RECORD to a pipe"
QUOTED = "RECORD to a pipe, every cell quoted"
POSTGRES = "into PostgreSQL"
MELTANO = "into PostgreSQL by meltano run"
DUCKDB = "into DuckDB"
DUCKDB_FILE = "bench.duckdb"
# The SDK's parquet batcher needs pyarrow, which the tap does not.
SDK_PARQUET = [str(TOOLS / "sdk" / "bin" / "python"), str(HERE / "sdk_path.py")]
CONTENDERS = {
    "tap": Contender("the tap", RECORD, MILLION, tap),
    "untyped": Contender(
        "the tap, every column a string", RECORD, MILLION, partial(tap, column_types=UNTYPED)
    ),
    "sdk": Contender("the tap on the SDK's path", RECORD, 100_000, partial(tap, program=SDK)),
    "pipelinewise": Contender(
        "pipelinewise-tap-s3-csv",
        RECORD,
        50_000,
        partial(s3_tap, tool="pipelinewise-tap-s3-csv"),
    ),
    "singer-io": Contender(
        "tap-s3-csv of singer-io", RECORD, 50_000, partial(s3_tap, tool="tap-s3-csv")
    ),
    "plain": Contender("the SDK with csv.DictReader", RECORD, 100_000, plain),
    "polars": Contender("bound: polars alone", RECORD, MILLION, polars_record),
    "tap-quoted": Contender("the tap", QUOTED, MILLION, partial(tap, quoted=True)),
    "plain-quoted": Contender(
        "the SDK with csv.DictReader", QUOTED, 100_000, partial(plain, quoted=True)
    ),
    "polars-quoted": Contender(
        "bound: polars alone", QUOTED, MILLION, partial(polars_record, quoted=True)
    ),
    "jsonl": Contender("the tap", "jsonl.gz files", MILLION, partial(batches, form="jsonl")),
    "sdk-jsonl": Contender(
        "the SDK's batcher",
        "jsonl.gz files",
        100_000,
        partial(batches, form="jsonl", program=SDK),
    ),
    "dlt-jsonl": Contender("dlt, read_csv", "jsonl.gz files", 200_000, partial(dlt, form="jsonl")),
    "sling": Contender("sling (jsonl, not gzip)", "jsonl.gz files", 200_000, sling),
    "parquet": Contender("the tap", "parquet files", MILLION, partial(batches, form="parquet")),
    "sdk-parquet": Contender(
        "the SDK's batcher",
        "parquet files",
        100_000,
        partial(batches, form="parquet", program=SDK_PARQUET),
    ),
    "dlt-parquet": Contender(
        "dlt, read_csv_duckdb with pyarrow", "parquet files", MILLION, partial(dlt, form="parquet")
    ),
    "arrow": Contender("the tap", "arrow files", MILLION, partial(batches, form="arrow")),
    "polars-arrow": Contender(
        "bound: polars alone, from the file on", "arrow files", MILLION, polars_arrow
    ),
    "polars-ipc": Contender(
        "bound: write_ipc of the tap's batches, from memory",
        "arrow files",
        MILLION,
        partial(polars_ipc, times=5),
        5,
    ),
    "pg-load": Contender("firstup-dde load", POSTGRES, MILLION, load),
    "pg-record": Contender(
        "RECORD, use_copy, no validate_records", POSTGRES, 100_000, _postgres(tap, **FAST)
    ),
    "pg-default": Contender("RECORD, target's defaults", POSTGRES, 20_000, _postgres(tap)),
    "pg-sdk": Contender(
        "RECORD on the SDK's path, target's defaults",
        POSTGRES,
        20_000,
        _postgres(partial(tap, program=SDK)),
    ),
    "pg-batch": Contender(
        "BATCH jsonl, use_copy, no validate_records",
        POSTGRES,
        200_000,
        _postgres(partial(batches, form="jsonl"), **FAST),
    ),
    "run-batch": Contender(
        "meltano run: BATCH jsonl, use_copy, no validate_records",
        MELTANO,
        200_000,
        _meltano(partial(batches, form="jsonl"), **FAST),
    ),
    "run-record": Contender(
        "meltano run: RECORD, use_copy, no validate_records",
        MELTANO,
        100_000,
        _meltano(tap, **FAST),
    ),
    "run-sdk": Contender(
        "meltano run: RECORD on the SDK's path, target's defaults",
        MELTANO,
        20_000,
        _meltano(partial(tap, program=SDK)),
    ),
    "pg-dlt": Contender("the tap's dlt source", POSTGRES, 200_000, dlt_source),
    "pg-dlt-csv": Contender("dlt, read_csv_duckdb with pyarrow", POSTGRES, 200_000, dlt_postgres),
    "pg-sling": Contender("sling", POSTGRES, MILLION // 2, sling_postgres),
    "pg-copy": Contender("bound: COPY of the CSV, no key", POSTGRES, MILLION, bare_copy),
    "duck-load": Contender("firstup-dde load", DUCKDB, MILLION, load_duckdb),
    "duck-insert": Contender("bound: read_csv and INSERT, no key", DUCKDB, MILLION, bare_insert),
}


def run(lab: Lab, contender: Contender, rows: int) -> Taken:
    """What one run took, once all rows are found where it wrote them.

    Raises:
        RunError: It failed, or rows are missing.
    """
    folder = lab.new_folder()
    taken = timed(contender.command(lab, rows, folder), folder)
    if contender.group in {RECORD, QUOTED}:
        found = taken.lines  # with some that are not RECORD
        complete = found >= rows
    elif contender.group in {POSTGRES, MELTANO}:
        found = loaded(lab, folder.name)
        complete = found == rows
    elif contender.group == DUCKDB:
        found = 0
        with (
            duckdb.connect(str(folder / DUCKDB_FILE)) as connection,
            contextlib.suppress(duckdb.CatalogException),  # a file without rows
        ):
            ((found,),) = connection.execute("SELECT count(*) FROM activities").fetchall()
        complete = found == rows
    else:
        found = int(subprocess.check_output([sys.executable, "-c", COUNT, folder / "files"]))
        complete = found == rows
    if not complete:
        message = f"wrote {found} of {rows} rows"
        raise RunError(message)
    subprocess.run(["/bin/rm", "-rf", folder], check=True)
    return taken


def loaded(lab: Lab, schema: str) -> int:
    """Rows in a schema's table, if it has one; the schema is dropped."""
    name = sql.Identifier(schema)
    rows = 0
    with psycopg.connect(lab.database(), autocommit=True) as connection:
        query = sql.SQL("select count(*) from {}.activities").format(name)
        with contextlib.suppress(psycopg.errors.UndefinedTable):  # a file without rows
            ((rows,),) = connection.execute(query).fetchall()
        connection.execute(sql.SQL("drop schema if exists {} cascade").format(name))
        connection.execute("checkpoint")
    return int(rows)


def measure(
    lab: Lab, chosen: Mapping[str, Contender], rounds: int
) -> tuple[dict[str, Result], dict[str, str]]:
    """What each contender took, and why some were left out."""
    results = {name: Result() for name in chosen}
    left_out: dict[str, str] = {}
    for turn in range(rounds + 1):
        for name, contender in chosen.items():
            if name in left_out:
                continue
            result = results[name]
            try:
                if turn:
                    result.busy.append(run(lab, contender, contender.rows))
                started = run(lab, contender, 0)
                if turn:  # the first one is only a trial
                    result.idle.append(started)
            except RunError as error:
                left_out[name] = str(error)
                say(f"{name}: {error}")
                continue
            if turn:
                busy, idle = result.busy[-1].seconds, result.idle[-1].seconds
                say(f"{turn}. {name}: {busy:.2f} s, the start {idle:.2f} s")
    return results, left_out


def say(line: str) -> None:
    """One line of progress."""
    print(line, file=sys.stderr, flush=True)


def ratio(first: Sequence[float], other: Sequence[float]) -> str:
    """Median and range of the ratio within each round."""
    ratios = [one / two for one, two in zip(first, other, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def table(
    chosen: Mapping[str, Contender], results: Mapping[str, Result], left_out: dict[str, str]
) -> list[str]:
    """The results in Markdown."""
    lines = [
        "| written | by | rows | records/s | first to this, median (range) | processors | memory |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    first: dict[str, tuple[list[float], list[float]]] = {}
    for name, contender in chosen.items():
        rows = contender.rows * contender.times
        if name in left_out:
            continue
        try:
            by_clock = results[name].rates(rows, lambda taken: taken.seconds)
            by_processor = results[name].rates(rows, lambda taken: taken.processors)
        except RunError as error:
            left_out[name] = str(error)
            continue
        is_first = contender.group not in first
        reference = first.setdefault(contender.group, (by_clock, by_processor))
        has_server = contender.group in {POSTGRES, MELTANO}
        ratios = [
            "1" if is_first else ratio(reference[0], by_clock),
            "-" if has_server else "1" if is_first else ratio(reference[1], by_processor),
        ]
        lines.append(
            f"| {contender.group} | {contender.title} | {rows:,} "
            f"| {statistics.median(by_clock):,.0f} | {' | '.join(ratios)} "
            f"| {results[name].peak} MiB |"
        )
    return [
        *lines,
        "",
        *(f"Left out: {name} ({why.rstrip('.')})." for name, why in left_out.items()),
    ]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        prog="make bench",
        usage='make bench [ARGS="[--rounds N] [--scale X] [CONTENDER ...]"]',
        description=__doc__.splitlines()[0],
    )
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(CONTENDERS)}; without any, all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1, help="all numbers of rows times this")
    options = parser.parse_args()
    if unknown := set(options.names) - set(CONTENDERS):
        parser.error(f"no such contender: {', '.join(sorted(unknown))}")
    chosen = {
        name: replace(contender, rows=max(1, int(contender.rows * options.scale)))
        for name, contender in CONTENDERS.items()
        if not options.names or name in options.names
    }
    about = machine()
    with laboratory() as lab:
        results, left_out = measure(lab, chosen, options.rounds)
    print(f"{about}, {options.rounds} rounds\n")
    print("\n".join(table(chosen, results, left_out)))


if __name__ == "__main__":
    main()
