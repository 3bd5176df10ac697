"""Two builds of the tap, run side by side on the same input and compared message for message."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]
MODULE = "tap_firstup_dde"
WIDTH = 240  # characters of a differing message that are shown
_KILLED = -signal.SIGKILL
_STATE = b'{"type":"STATE"'
_BATCH = b'{"type":"BATCH"'
_TIME = re.compile(rb',?"time_extracted": ?"[^"]*"')
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PROSE = {"description", "title"}


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a build wrote, and how it ended.

    Attributes:
        lines: Lines of standard output.
        status: Exit status.
        log: Last line of standard error.
    """

    lines: Sequence[bytes]
    status: int
    log: str

    @property
    def state(self) -> Any:
        """The last STATE; None if there was none."""
        states = (line for line in reversed(self.lines) if line.startswith(_STATE))
        return next((json.loads(line)["value"] for line in states), None)


class Comparison:
    """Runs both builds on the same input, and counts what it compared.

    Attributes:
        batches: Where both builds write batch files.
        pairs: Pairs of runs so far.
        messages: Messages of this build in them.
        failed: Pairs that differed, or that did not end as they must.
    """

    def __init__(self, before: Path, scratch: Path) -> None:
        """Compare the build in the folder *before* with this one; *scratch* is a folder."""
        self._trees = (before, ROOT)
        self._scratch = scratch
        self.batches = scratch / "batches"
        self.pairs = self.messages = self.failed = 0

    def runs(
        self,
        name: str,
        config: Mapping[str, Any],
        *arguments: str,
        cut: bool = False,
        status: int = 0,
        **files: Any,
    ) -> tuple[Run, Run]:
        """Run both builds at the same time, and print the first difference.

        Args:
            name: Name of the pair.
            config: Settings of the tap.
            *arguments: Its further arguments. What `--discover` and `--about` print is compared
                as a document, all else as messages.
            cut: True to kill each run at the first STATE that has new rows of a partly read file.
            status: Exit status that both must have, unless they are killed.
            **files: `state` and `catalog`, or the text of their files; None for none.

        Returns:
            The run of the build before, and that of this build.
        """
        given = list(arguments)
        for option, value in {"config": config, **files}.items():
            if value is not None:
                path = self._scratch / f"{option}.json"
                path.write_text(value if isinstance(value, str) else json.dumps(value))
                given += [f"--{option}", str(path)]
        beyond = _rows_read(files.get("state")) if cut else None
        shutil.rmtree(self.batches, ignore_errors=True)
        with ThreadPoolExecutor() as pool:
            old, new = pool.map(lambda tree: self._run(tree, given, beyond), self._trees)
        self.pairs += 1
        self.messages += len(new.lines)
        status = _KILLED if cut else status
        faults = [
            f"  {build}: exit status {run.status} instead of {status}: {run.log}"
            for build, run in (("before", old), ("now", new))
            if run.status != status
        ]
        split = _document if {"--discover", "--about"} & {*arguments} else _messages
        pairs = enumerate(zip_longest(split(old.lines), split(new.lines), fillvalue=""), start=1)
        faults += next((_shown(place, *pair) for place, pair in pairs if pair[0] != pair[1]), [])
        if faults:
            self.failed += 1
            print(f"{name}: failed", *faults, sep="\n", flush=True)
        return old, new

    def continued(
        self, name: str, config: Mapping[str, Any], states: Iterable[Any], **options: Any
    ) -> list[Any]:
        """Run both builds from each of *states*; None is a run from the beginning.

        Args:
            name: Name of the pairs.
            config: Settings of the tap.
            states: The states.
            **options: Those of `runs`.

        Returns:
            The states at the end, each once: a single one if the builds are equal.
        """
        ends: list[Any] = []
        for state in states:
            for run in self.runs(name, config, state=state, **options):
                end = state if run.state is None else run.state
                if end not in ends:
                    ends.append(end)
        return ends

    def _run(self, tree: Path, arguments: Sequence[str], beyond: int | None) -> Run:
        """Run the build in *tree*; kill it once it has read more rows of a file than *beyond*."""
        with (
            tempfile.TemporaryFile() as log,
            subprocess.Popen(
                [sys.executable, "-m", MODULE, *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._scratch,  # Python looks there first, so it must not be a tree
                env=environment(tree),
            ) as process,
        ):
            assert process.stdout
            lines = []
            killed = False
            for line in process.stdout:
                lines.append(line)
                if beyond is not None and line.startswith(_STATE):
                    killed = _rows_read(json.loads(line)["value"]) > beyond
                if killed:
                    process.kill()
                    break
            status = process.wait()
            log.seek(0)
            logged = log.read().decode(errors="replace").splitlines()
        # A run that was faster than the signal counts as killed: none of its later lines is read.
        return Run(
            lines, _KILLED if killed else status, logged[-1] if logged else "nothing was logged"
        )


def build_of(revision: str, folder: Path) -> Path:
    """Extract a git revision into *folder*.

    Raises:
        subprocess.CalledProcessError: The revision does not exist.
    """
    command = [shutil.which("git") or "git", "-C", str(ROOT), "archive", revision]
    archive = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def check_build(tree: Path, scratch: Path) -> None:
    """Refuse to compare when a run would take the installed tap instead of that in *tree*.

    Raises:
        SystemExit: It would.
    """
    command = [sys.executable, "-c", f"import {MODULE}; print({MODULE}.__file__)"]
    found = subprocess.check_output(command, cwd=scratch, env=environment(tree), text=True)
    if not Path(found.strip()).resolve().is_relative_to(tree.resolve()):
        sys.exit(f"{found.strip()} would run instead of the build in {tree}")


def environment(tree: Path) -> dict[str, str]:
    """The environment of a run of the build in *tree*, without settings of the tap."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TAP_FIRSTUP_DDE_")}
    return {**inherited, "PYTHONPATH": str(tree), "NO_PROXY": "127.0.0.1"}


def _rows_read(state: Any) -> int:
    """Rows read of files that are partly read."""
    bookmarks = (state or {"bookmarks": {}})["bookmarks"].values()
    return sum(bookmark.get("in_progress", {}).get("rows", 0) for bookmark in bookmarks)


def _messages(lines: Sequence[bytes]) -> Iterator[str]:
    """Messages without what differs from run to run, each BATCH followed by its files' rows."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    for line in lines:
        if line.startswith(_STATE):
            # The order of members means nothing in a state. In a SCHEMA it makes that of a table.
            yield json.dumps(json.loads(line), sort_keys=True).replace(today, "(today)")
        elif line.startswith(_BATCH):
            yield _UUID.sub("(UUID)", line.decode())
            for url in json.loads(line)["manifest"]:
                yield from _rows(Path(unquote(urlsplit(url).path)))
        else:
            yield _TIME.sub(b"", line).decode()


def _rows(path: Path) -> Iterator[str]:
    """The rows of a batch file, after the types of its columns where it has any."""
    if path.suffix == ".gz":
        yield from gzip.decompress(path.read_bytes()).decode().splitlines()
        return
    frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ipc(path)
    yield str(frame.schema)
    yield from frame.write_ndjson().splitlines()


def _document(lines: Sequence[bytes]) -> Iterator[str]:
    """The lines of a JSON document, without the descriptions in it."""
    text = b"".join(lines) or b"null"
    yield from json.dumps(_without_prose(json.loads(text)), indent=1).splitlines()


def _without_prose(value: Any) -> Any:
    """A JSON value without descriptions and titles."""
    if isinstance(value, dict):
        return {k: _without_prose(v) for k, v in value.items() if k not in _PROSE}
    return [_without_prose(one) for one in value] if isinstance(value, list) else value


def _shown(place: int, old: str, new: str) -> list[str]:
    """Two texts that differ: how they begin, and what surrounds the first difference."""
    pairs = enumerate(zip(old, new, strict=False))
    first = next((at for at, (a, b) in pairs if a != b), min(len(old), len(new)))
    start = max(first - WIDTH // 2, 0)
    before, now = (
        f"{text[:40]} … {text[start : start + WIDTH]}" if start > 40 else text[:WIDTH]
        for text in (old or "(nothing)", new or "(nothing)")
    )
    return [f"  {place}, before: {before.strip()}", f"  {place}, now:    {now.strip()}"]
