"""Databases that the tests load to, and the commands that do it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from click.testing import CliRunner

from tap_firstup_dde.cli import main
from tests import ROOT
from tests.databases import DUCKDB_TYPES, in_duckdb, in_postgres
from tests.loaders import Database, named
from tests.runs import settings, write

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from click.testing import Result

CODE = "from tap_firstup_dde.cli import main; main()"


class Place(Database):
    """A database with a schema of the test's own.

    Attributes:
        to: What ``--to`` names.
    """

    to: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.schema = "".join(c if c.isalnum() else "_" for c in folder.name.lower())[-40:]

    def arguments(self, config: Mapping[str, Any], *more: str) -> list[str]:
        """The command line that loads with these settings."""
        path = write(self.folder, "config.json", {"max_retries": 0, **config})
        return ["load", "--config", path, "--to", self.to, "--schema", self.schema, *more]

    def try_to(self, source: Any, *more: str, **others: Any) -> Result:
        """Load from an emulator, or with settings that name another source."""
        config = source if isinstance(source, dict) else settings(source)
        arguments = self.arguments({**config, **others}, *more)
        return CliRunner().invoke(main, arguments, catch_exceptions=False)

    def loaded(self, source: Any, *more: str, **others: Any) -> dict[str, Any]:
        """Load without an error; returns what ``--output json`` prints."""
        done = self.try_to(source, "--output", "json", *more, **others)
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))

    def doctor(self, source: Any, *more: str) -> Result:
        """Examine everything, the database too."""
        path = write(self.folder, "config.json", settings(source, max_retries=0))
        place = ["--to", self.to, "--schema", self.schema]
        arguments = ["doctor", "--config", path, *place, *more]
        return CliRunner().invoke(main, arguments, catch_exceptions=False)

    def start(
        self,
        config: Mapping[str, Any],
        *more: str,
        code: str = CODE,
        first: Iterable[str] = (),
    ) -> subprocess.Popen[str]:
        """Start to load in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", code, *first, *self.arguments(config, *more)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _beside(self, name: str) -> Path:
        """A new folder, whose name no other test's folder has: schemas are named after them."""
        folder = self.folder / f"{self.folder.name}-{name}"
        folder.mkdir()
        return folder

    @abstractmethod
    def another(self, name: str) -> Place:
        """Another one in a folder of that name, without tables."""

    def state(self) -> dict[str, Any]:
        """What the command ``state`` prints."""
        arguments = ["state", "--to", self.to, "--schema", self.schema]
        done = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))

    def count(self, table: str) -> int:
        """The number of rows of a table; 0 if it does not exist."""
        if not self.columns(table):
            return 0
        (found,) = self.query(f'select count(*) as n from {self.schema}."{table}"')  # noqa: S608
        return int(found["n"])

    def ledger(self) -> dict[str, int]:
        """File → rows, as the ledger has them."""
        if not self.columns("_firstup_files"):
            return {}
        found = self.query(f"select source_file, rows from {self.schema}._firstup_files")  # noqa: S608
        return {entry["source_file"]: entry["rows"] for entry in found}


class PostgresSchema(Place):
    """A schema of a PostgreSQL server."""

    COLUMN_TYPES: ClassVar[Mapping[str, str]] = named(
        "text", "bigint", "double precision", "boolean", "date", "timestamp with time zone"
    )

    def __init__(self, folder: Path, uri: str) -> None:
        super().__init__(folder)
        self.to = uri

    @override
    def another(self, name: str) -> PostgresSchema:
        return PostgresSchema(self._beside(name), self.to)

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows that a query returns."""
        return in_postgres(self.to, text)

    def size(self, stream: str) -> int:
        """The number of rows loaded."""
        return self.count(stream)


class DuckDBFile(Place):
    """A DuckDB file."""

    COLUMN_TYPES = DUCKDB_TYPES

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.to = f"duckdb:{folder / 'loaded.duckdb'}"

    @override
    def another(self, name: str) -> DuckDBFile:
        return DuckDBFile(self._beside(name))

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows that a query returns."""
        return in_duckdb(self.to.removeprefix("duckdb:"), text)

    def size(self, stream: str) -> int:
        """The number of rows loaded."""
        return self.count(stream)
