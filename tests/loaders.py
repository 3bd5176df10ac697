"""Export files, the loaders that the tests load them with, and the expected results."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
import pytest
import yaml
from psycopg.rows import dict_row

from filetap.settings import Tuning
from filetap.testing.warm import warm
from tests import ROOT
from tests.runs import IMPORTED, TAP, Run, settings, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

    Row = dict[str, str | None]
    Cells = dict[tuple[str, str, str], str]  # file, row number, column → text; nulls are omitted

LOADERS = {
    loader["name"]: loader
    for loader in yaml.safe_load((ROOT / "meltano.yml").read_text())["plugins"]["loaders"]
}

# As in production: the loader gets the tap's own bytes, and reports how far it got.
PIPE = 'tee messages.jsonl | "$0" --config target.json'


# What Firstup exports


class Misfit(str):
    """A value that does not fit its column."""

    __slots__ = ()


@dataclass(frozen=True)
class Export:
    """An export file.

    Attributes:
        stream: Its stream.
        generated_at: Its generation.
        columns: Column → values of the first rows; in the rows after them it is empty (None).
        unseen: True if sampling before the first SCHEMA does not see it.
    """

    stream: str
    generated_at: str
    columns: Mapping[str, Sequence[str | None]]
    unseen: bool = False

    def rows(self) -> list[Row]:
        """Its rows, in order."""
        values = zip_longest(*self.columns.values())
        return [dict(zip(self.columns, row, strict=True)) for row in values]

    def text(self) -> str:
        """The CSV that Python's own reader reads as these rows."""
        rows: list[list[str | None]] = [[*self.columns], *([*row.values()] for row in self.rows())]
        text = "".join(",".join(map(_cell, row)) + "\n" for row in rows)
        read = list(csv.reader(io.StringIO(text, newline="")))
        assert read == [[value or "" for value in row] for row in rows]
        return text


def _cell(value: str | None) -> str:
    """A value as CSV; only a quoted value can be empty without being null."""
    if value is None:
        return ""
    quoted = not value or set(value) & set('",\r\n')
    return '"' + value.replace('"', '""') + '"' if quoted else value


def _in_utc(text: str) -> str:
    """A time, spelt the same for the same instant."""
    time = datetime.fromisoformat(text)
    return str(time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC))


ADDED = {"generated_at": "date-time", "_sdc_source_file": "string", "_sdc_source_lineno": "integer"}
KEYS = {"campaigns": "campaign_id", "users": "user_id"}

# What makes two spellings of a type's value the same; any other type's are the same text.
SAME: Mapping[str, Callable[[str], str]] = {
    "date-time": _in_utc,
    "boolean": lambda text: str(text.lower() in {"true", "t", "yes", "1"}),
    "number": lambda text: str(Decimal(text).normalize()),
}


def same(kind: str, text: str) -> str:
    """A value that fits its type, in the spelling used here for all loaders."""
    return SAME.get(kind, str)(text)


# Loaders


def program(name: str) -> Path:
    """A program that `make setup` installs for the tests, in its own environment."""
    path = ROOT / ".targets" / name / "bin" / name
    if not path.exists():
        pytest.fail(f"{name} is not installed: run `make setup`")
    return path


def pipe(folder: Path, loader: Path) -> tuple[str, str]:
    """Run the tap, and the loader on what it writes, with their settings and state in a folder.

    Returns:
        What the loader printed, and the log of both.
    """
    command_line = [*TAP[1:], "--config", "tap.json", "--state", "state.json"]
    tap = warm(*IMPORTED)
    with (folder / "log").open("w+b") as log:
        with subprocess.Popen(
            ["/bin/sh", "-c", PIPE, loader],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as loading:
            assert loading.stdin
            files = loading.stdin.fileno(), log.fileno()
            running = tap.start(command_line, os.environ, files, folder=folder)
            printed, _ = loading.communicate(timeout=120)
        log.seek(0)
        logged = log.read().decode()
    assert (running.wait(), loading.returncode) == (0, 0), logged[-4000:]
    return printed.decode(), logged


class Loader(ABC):
    """A loader in its own environment, and what it has loaded.

    Attributes:
        NAME: Its program, and the folder of its environment below ``.targets``.
        config: Its settings.
        HAS_EMPTY: True if it distinguishes ``""`` from null.
    """

    NAME: ClassVar[str]
    HAS_EMPTY: ClassVar[bool] = True

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.program = program(self.NAME)
        self.folder = folder
        self.config = config
        write(folder, "target.json", config)
        write(folder, "state.json", {})

    def load(self, emulator: Emulator, **more: Any) -> Run:
        """Pipe new rows from the tap to the loader; its last STATE is used by the next run."""
        write(self.folder, "tap.json", settings(emulator, max_retries=0, **more))
        states, log = pipe(self.folder, self.program)
        (self.folder / "state.json").write_text(states.splitlines()[-1])
        lines = (self.folder / "messages.jsonl").read_bytes().splitlines()
        return Run([json.loads(line) for line in lines], log=log)

    def state(self) -> dict[str, Any]:
        """The last STATE that the loader printed."""
        return dict(json.loads((self.folder / "state.json").read_text()))

    @abstractmethod
    def rows(self, stream: str) -> list[Row]:
        """What was loaded, each value as text."""

    @abstractmethod
    def size(self, stream: str) -> int:
        """A number that another one follows when rows are loaded, while the loader runs."""


def named(*names: str) -> dict[str, str]:
    """Type → the database's type.

    Args:
        names: The database's types for string, integer, number, boolean, date and date-time.
    """
    return dict(zip("string integer number boolean date date-time".split(), names, strict=True))


class Database(Loader):
    """A loader into a database, each test in a schema of its own.

    A row replaces the one with its key.

    Attributes:
        COLUMN_TYPES: Type → the database's type.
    """

    COLUMN_TYPES: ClassVar[Mapping[str, str]]

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.schema = folder.name.lower()
        super().__init__(folder, {**config, "default_target_schema": self.schema})

    def columns(self, stream: str) -> dict[str, str]:
        """Column → the database's type."""
        found = self.query(
            "select column_name, data_type from information_schema.columns "  # noqa: S608 - ours
            f"where table_schema = '{self.schema}' and table_name = '{stream}'"
        )
        return {column["column_name"]: column["data_type"] for column in found}

    def rows(self, stream: str) -> list[Row]:
        """What was loaded, each value as text."""
        texts = ", ".join(f'"{c}"::text as "{c}"' for c in self.columns(stream))
        return self.query(f"select {texts} from {self.schema}.{stream}")  # noqa: S608 - ours

    @abstractmethod
    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows that a query returns."""


class Postgres(Database):
    """PostgreSQL."""

    NAME = "target-postgres"
    COLUMN_TYPES: ClassVar[Mapping[str, str]] = named(
        "text", "bigint", "numeric", "boolean", "date", "timestamp without time zone"
    )

    def __init__(self, folder: Path, uri: str, config: Mapping[str, Any]) -> None:
        self.uri = uri
        self.url = uri.replace("postgresql://", "postgresql+psycopg://", 1)
        super().__init__(folder, {**config, "sqlalchemy_url": self.url})

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows that a query returns."""
        with psycopg.connect(self.uri, row_factory=dict_row) as connection:
            return connection.execute(text.encode()).fetchall()

    def size(self, stream: str) -> int:
        """The number of rows loaded."""
        return int(self.query(f"select count(*) as n from {self.schema}.{stream}")[0]["n"])  # noqa: S608


class DuckDB(Database):
    """A DuckDB file, read with the loader's own DuckDB."""

    NAME = "target-duckdb"
    COLUMN_TYPES: ClassVar[Mapping[str, str]] = named(
        "VARCHAR", "HUGEINT", "DOUBLE", "BOOLEAN", "VARCHAR", "TIMESTAMP"
    )
    HAS_EMPTY = False
    QUERY = """
import duckdb, json, sys
found = duckdb.connect(sys.argv[1], read_only=True).execute(sys.argv[2])
names = [column[0] for column in found.description]
print(json.dumps([dict(zip(names, row)) for row in found.fetchall()]))
"""

    def __init__(self, folder: Path) -> None:
        if sys.version_info >= (3, 13):
            pytest.skip("duckdb 1.0.0, the last that target-duckdb loses no row with, ends at 3.12")
        super().__init__(folder, in_meltano(self.NAME) | {"path": "loaded.duckdb"})

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows that a query returns."""
        python = warm("duckdb", python=str(self.program.with_name("python")))
        done = python.run(["-c", self.QUERY, str(self.folder / "loaded.duckdb"), text], os.environ)
        return list(json.loads(done.stdout))

    def size(self, stream: str) -> int:  # noqa: ARG002 - a database is one file
        """Bytes of the database, which no other process may open while it is written."""
        return sum(path.stat().st_size for path in self.folder.glob("loaded.duckdb*"))


class Snowflake(Database):
    """The loader for Snowflake, with a server that emulates it."""

    NAME = "target-snowflake"
    COLUMN_TYPES: ClassVar[Mapping[str, str]] = named(
        "TEXT", "NUMBER", "FLOAT", "BOOLEAN", "DATE", "TIMESTAMP_NTZ"
    )
    QUERY = """
import json, sys, snowflake.connector
login = dict(user="user", password="password", account="fakesnow", protocol="http")
login |= dict(host="127.0.0.1", port=int(sys.argv[1]), database="FIRSTUP")
cursor = snowflake.connector.connect(**login).cursor()
found = cursor.execute(sys.argv[2]).fetchall()
names = [column[0].lower() for column in cursor.description]
print(json.dumps([dict(zip(names, row)) for row in found], default=str))
"""

    def __init__(self, folder: Path, port: int) -> None:
        login = {"account": "fakesnow", "user": "user", "password": "password"}
        super().__init__(folder, {**in_meltano(self.NAME), **login, "database": "FIRSTUP"})
        self.port = port
        python, shim = self.program.with_name("python"), ROOT / "tests" / "snowflake_loader.py"
        self.program = folder / self.NAME
        self.program.write_text(f'#!/bin/sh\nFAKESNOW_PORT={port} exec {python} {shim} "$@"\n')
        self.program.chmod(0o755)
        self.python = python
        self.query("create database if not exists FIRSTUP")

    def columns(self, stream: str) -> dict[str, str]:
        """Column → the database's type."""
        found = self.query(
            "select column_name, data_type from information_schema.columns "  # noqa: S608 - ours
            f"where table_schema = '{self.schema.upper()}' and table_name = '{stream.upper()}'"
        )
        return {column["column_name"].lower(): column["data_type"] for column in found}

    def rows(self, stream: str) -> list[Row]:
        """What was loaded, each value as text."""
        texts = ", ".join(f'"{c.upper()}"::text as "{c}"' for c in self.columns(stream))
        return self.query(f"select {texts} from {self.schema}.{stream}")  # noqa: S608 - ours

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows that a query returns."""
        python = warm("snowflake.connector", python=str(self.python))
        done = python.run(["-c", self.QUERY, str(self.port), text], os.environ)
        return list(json.loads(done.stdout))

    def size(self, stream: str) -> int:
        """The number of rows loaded."""
        return len(self.rows(stream))


class JSONL(Loader):
    """A file of JSON lines for each stream, to which every record is added."""

    NAME = "target-jsonl"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, in_meltano(self.NAME) | {"destination_path": "loaded"})

    def rows(self, stream: str) -> list[Row]:
        """What was loaded, each value as text."""
        lines = (self.folder / "loaded" / f"{stream}.jsonl").read_bytes().splitlines()
        # Numbers as spelt in the file.
        records = [json.loads(line, parse_int=str, parse_float=str) for line in lines]
        return [{c: None if v is None else str(v) for c, v in r.items()} for r in records]

    def size(self, stream: str) -> int:
        """Bytes of the file."""
        return (self.folder / "loaded" / f"{stream}.jsonl").stat().st_size


def in_meltano(name: str) -> dict[str, Any]:
    """A loader's settings as meltano.yml has them."""
    return {s["name"]: s["value"] for s in LOADERS[name]["settings"] if "value" in s}


# Expected and actual results


def add(emulator: Emulator, export: Export, file_name: str = "000.csv") -> str:
    """Make Firstup offer a file; returns the name that records use for it."""
    text = export.text()
    # Only the beginning of a file that is large as stored is sampled.
    small = len(text) <= Tuning().whole
    file = emulator.add(export.stream, export.generated_at, text, gzip=small, file_name=file_name)
    if export.unseen:
        emulator.fail("download", status=500, match=file.key)
    key = hashlib.sha256(file.id.encode()).hexdigest()[:12]
    return f"{file.generated_at}/{file.file_name}/{key}"


def expected(
    sent: Mapping[str, Export], stream: str, types: Mapping[str, str], loader: Loader
) -> Cells:
    """The expected rows of a stream, from the files alone.

    Args:
        sent: Name of a file in records → the file, in the order in which they are loaded.
        stream: The stream.
        types: Column → type.
        loader: Where it is loaded. In a database the last row of a key replaces earlier ones.
    """
    kinds = {**types, **ADDED}
    key = KEYS.get(stream) if isinstance(loader, Database) else None
    rows: dict[object, tuple[str, str, Row]] = {}
    for source, export in sent.items():
        generated_at = "{}T{}".format(*export.generated_at.rsplit("-", 1))
        for number, row in enumerate(export.rows() if export.stream == stream else (), start=1):
            name = row[key] if key else (source, number)
            rows[name] = (source, str(number), {"generated_at": generated_at, **row})
    cells: Cells = {}
    for source, line, row in rows.values():
        for column, text in row.items():
            if isinstance(text, Misfit):
                cells[source, line, f"{column}__text"] = str(text)
            elif text or (text is not None and kinds[column] == "string" and loader.HAS_EMPTY):
                cells[source, line, column] = same(kinds[column], text)
    return cells


def found(stream: str, types: Mapping[str, str], loader: Loader, *, again: bool = False) -> Cells:
    """The rows found of a stream, without the columns that the loader adds.

    Args:
        stream: The stream.
        types: Column → type.
        loader: Where it is loaded.
        again: True if a row may occur more than once, each time the same.
    """
    kinds = {**types, **ADDED}
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in loader.rows(stream):
        cells = {
            column: same(kinds.get(column, "string"), text)
            for column, text in row.items()
            if text is not None and not column.startswith("_sdc_")
        }
        known = rows.setdefault(
            (str(row["_sdc_source_file"]), str(row["_sdc_source_lineno"])), cells
        )
        assert known is cells or (again and known == cells), "a row came twice"
    return {(*row, column): text for row, cells in rows.items() for column, text in cells.items()}
