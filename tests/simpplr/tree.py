"""A tree of Simpplr's files for tests."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
from click.testing import CliRunner

from filetap.testing.runs import Collector, Run, run_tap
from tap_simpplr.cli import main
from tap_simpplr.tap import TapSimpplr
from tests.runs import write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FIRST = date(2026, 3, 2)
_OLD = 1_700_000_000  # an old time of change: such a file is complete


def path_of(entity: str, day: int, name: str = "", form: str = "%Y/%m/%d") -> str:
    """Where an entity's file of a day after the first one is, below the folder of the years."""
    return f"{FIRST + timedelta(day):{form}}/{entity}/{name or f'{entity}.csv'}"


def deliver(folder: Path, path: str, content: str | bytes, touched: int = 0) -> Path:
    """Write a file with an old time of change, *touched* seconds later."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    file.write_bytes(gzip.compress(data) if path.endswith(".gz") else data)
    os.utime(file, (_OLD + touched, _OLD + touched))
    return file


def users(values: Mapping[str, str]) -> str:
    """A file of users: code → name."""
    return "code,name\n" + "".join(f"{code},{name}\n" for code, name in values.items())


def settings(folder: Path | str, **more: Any) -> dict[str, Any]:
    """Settings that read a folder."""
    return {"folder": {"url": str(folder)}, **more}


def run(
    config: Mapping[str, Any], state: Mapping[str, Any] | None = None, most: int | None = None
) -> Run:
    """Run the tap, until it has written *most* messages."""
    return run_tap(TapSimpplr, config, state, collector=Collector(most))


def names(done: Run, stream: str = "user") -> list[tuple[str, str]]:
    """Code and name of a run's users, in order."""
    return [(record["code"], record["name"]) for record in done.records(stream)]


def moment(day: int) -> datetime:
    """A day after the first one, as generations have it."""
    return datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(day)


class Loaded:
    """A DuckDB file that `load` brings the files of a folder to.

    Args:
        folder: Where the file is, and the tree below it.
        more: Settings besides the folder.
    """

    def __init__(self, folder: Path, **more: Any) -> None:
        self.tree = folder / "tree"
        self._config = write(folder, "config.json", settings(self.tree, **more))
        self._file = str(folder / "loaded.duckdb")

    def load(self, *words: str) -> dict[str, int]:
        """Load; returns the streams of which files were read, and how many."""
        place = ("--to", f"duckdb:{self._file}", "--output", "json", "--quiet")
        done = CliRunner().invoke(main, ["load", "--config", self._config, *place, *words])
        assert done.exit_code == 0, done.output
        streams = json.loads(done.stdout)["streams"]
        return {name: one["files"] for name, one in streams.items() if one["files"]}

    def rows(self, stream: str) -> list[dict[str, Any]]:
        """The rows of a table, in no order."""
        with duckdb.connect(self._file) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return list(connection.table(stream).pl().to_dicts())
