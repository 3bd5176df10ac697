"""Real loaders take what the tap sends: while files drift, every value of every row arrives."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
import pytest
import yaml
from psycopg.rows import dict_row

from tap_firstup_dde.exportlib.look import LOOK_WHOLE
from tests.singer import Run, settings, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tap_firstup_dde.emulator import Emulator

    Row = dict[str, str | None]
    Cells = dict[tuple[str, str, str], str]  # file, row number, column → text; nulls are left out

ROOT = Path(__file__).parents[1]
LOADERS = {
    loader["name"]: loader
    for loader in yaml.safe_load((ROOT / "meltano.yml").read_text())["plugins"]["loaders"]
}

# As people run it: the loader gets the tap's very bytes, and says how far it got.
PIPE = """
{ "$0" -m tap_firstup_dde --config tap.json --state state.json || touch failed; } |
tee messages.jsonl |
"$1" --config target.json && test ! -e failed
"""


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
        unseen: Whether the look before the first SCHEMA does not get it.
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
        """It as CSV that Python's own reader reads as these rows."""
        rows: list[list[str | None]] = [[*self.columns], *([*row.values()] for row in self.rows())]
        text = "".join(",".join(map(_cell, row)) + "\n" for row in rows)
        read = list(csv.reader(io.StringIO(text, newline="")))
        assert read == [[value or "" for value in row] for row in rows]
        return text


def _cell(value: str | None) -> str:
    """A value as CSV; only what is quoted can be empty and yet no null."""
    if value is None:
        return ""
    quoted = not value or set(value) & set('",\r\n')
    return '"' + value.replace('"', '""') + '"' if quoted else value


ACTIVITIES = {
    "user_id": "string",
    "content_id": "integer",
    "score": "number",
    "seen": "boolean",
    "for_you": "boolean",
    "day": "date",
    "date": "date-time",
    "note": "string",
    "code": "string",
    "likes": "integer",
    "mood": "string",
    "rank": "integer",
    "filler": "string",
    "late": "date",
}
USERS = {
    "user_id": "string",
    "tenure": "integer",
    "blocked_at": "date-time",
    "first_name": "string",
    "rating": "number",
    "remote": "boolean",
}
TYPES = {"activities": ACTIVITIES, "users": USERS}
ADDED = {"generated_at": "date-time", "_sdc_source_file": "string", "_sdc_source_lineno": "integer"}

TEXTS = [
    *("😀 \U0001f469\u200d\U0001f680", "\u2028\u2029\x85", "line\nbreak\r\nand\ranother\n", "\t"),
    *('"', 'a "quoted" word, a comma', "''", "\\", "\\N", "\\.", "NULL", "null", "None", "{}"),
    *(" blanks ", "\x7f\x01", "ﬀ ŀ \u0130", "é", "e\u0301"),
]
CODES = [
    *("00123", "-0", "1e5", "NaN", "Infinity", "1.10", "+1", "0x1F", "9223372036854775808"),
    *("12345678901234567890", "1234567890123456789", "-00", "0.1", ".5", "5.", "1,5", "true"),
]

# Each run's new files.
RUNS = (
    (  # every type is established
        Export(
            "activities",
            "2026-05-14-00",
            {
                "user_id": ["007", "7", "99999999999999999999", "-0", "1e5", "NaN", "", "", "", ""],
                "content_id": ["0", "-9223372036854775808", "9223372036854775807", "", "42"],
                "score": ["0.5", "-2", "0.0001", "123456789012345", "1234567890.12345", ""],
                "seen": ["true", "FALSE", "True", "", None, "false"],
                "for_you": ["yes", "0", "T", "f", "NO", "1", "true"],
                "day": ["0001-01-01", "9999-12-31", "2024-02-29", "", "1970-01-01"],
                "date": [
                    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-05-14 10:00"),
                    *("2026-05-14T10:00:00.000001+05:30", "2026-05-14 23:59:59.5-0800", ""),
                    *("1969-12-31T23:59:59.999999", "2026-05-14T10:00:00+14", "2024-02-29T00:00Z"),
                ],
                "note": [*TEXTS, "", None],
                "code": CODES,
                "likes": ["1", "0"],
            },
        ),
        Export(
            "users",
            "2026-05-14-00",
            {
                "user_id": ["1", "01", "001", "1.0", "12345678901234567890", "é", "e\u0301"],
                "tenure": ["5", "-3", "0", "", "9223372036854775807"],
                "blocked_at": ["2026-05-14T10:00:00Z", "", "2026-05-14 10:00:00+02:00"],
                "first_name": ["Zoë", "", 'O"Hara, Jr.', "NULL", "two\nlines"],
            },
        ),
    ),
    (  # likes are gone, mood is new, and every type gets something that it cannot hold
        Export(
            "activities",
            "2026-05-14-04",
            {
                "user_id": ["008"],
                "content_id": [Misfit("A123"), Misfit("00123"), "7", Misfit("9223372036854775808")],
                "score": [Misfit("1.10"), "1.5", Misfit("1e5"), Misfit("NaN"), Misfit("-0")],
                "seen": [Misfit("maybe"), "false", Misfit("1"), Misfit(" true")],
                "for_you": [Misfit("perhaps"), "no", "1"],
                "day": [Misfit("n/a"), Misfit("2026-02-30"), Misfit("0000-01-01"), "2026-05-14"],
                "date": [
                    *(Misfit("n/a"), Misfit("2026-05-14"), "2026-05-14T10:00:00Z"),
                    *(Misfit("2026-05-14T24:00:00Z"), Misfit("10000-01-01T00:00:00Z")),
                    *(Misfit("9999-12-31T23:59:59-01:00"), "2026-05-14T10:00:00.120-03:30"),
                ],
                "note": ["again", "", None],
                "code": ["123", None, ""],
                "mood": ["", "😐", None, "n/a"],
            },
        ),
        Export(
            "users",
            "2026-05-14-04",
            {
                "user_id": ["01", "1", "2", "2"],
                "tenure": [Misfit("1.0"), "6", Misfit("A123"), "8"],
                "blocked_at": [Misfit("never"), None, "2026-05-15T00:00:00Z", ""],
                "rating": ["4.5", "", "3", "0.25"],
                "first_name": ["Ann", None, "Bo", "Bob"],
            },
        ),
    ),
    (  # the note is gone, likes are back, rank is new; and in the middle of the run still more
        Export(
            "activities",
            "2026-05-14-08",
            {
                "user_id": ["009", "9"],
                "content_id": ["1", Misfit("B7")],
                "likes": [Misfit("many"), "12"],
                "mood": ["🙂"],
                "rank": ["1", "2", "3"],
            },
        ),
        Export(
            "activities",
            "2026-05-14-12",
            {
                "filler": ["x" * 70_000] * 64,
                "rank": [*["1"] * 63, Misfit("last")],
                "seen": [*["true"] * 63, Misfit("sure")],
            },
        ),
        Export(
            "activities",
            "2026-05-14-16",
            {
                "user_id": ["010", "011"],
                "late": ["2026-05-14", "0001-01-01", ""],
                "likes": ["3", Misfit("04")],
                "rank": ["4"],
            },
            unseen=True,
        ),
        Export(
            "users",
            "2026-05-14-08",
            {
                "user_id": ["001", "1", "3", "01"],
                "first_name": [None, "Zoé", "Cy", ""],
                "remote": ["true", "False", None, "TRUE"],
                "tenure": [Misfit("+1"), Misfit("007"), "1", "2"],
            },
        ),
    ),
)
SCHEMAS = {"activities": [1, 1, 3], "users": [1, 1, 1]}  # one a run, but for what no look can see


def _in_utc(text: str) -> str:
    """A time, in the same words for the same instant."""
    time = datetime.fromisoformat(text)
    return str(time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC))


# What makes two spellings of a type's value the same; any other type's are the same text.
SAME: Mapping[str, Callable[[str], str]] = {
    "date-time": _in_utc,
    "boolean": lambda text: str(text.lower() in {"true", "t", "yes", "1"}),
    "number": lambda text: str(Decimal(text).normalize()),
}


def _same(kind: str, text: str) -> str:
    """A value that fits its type, spelled as every loader's is here."""
    return SAME.get(kind, str)(text)


# Loaders


class Loader(ABC):
    """A loader in its own environment, and what it has loaded.

    Attributes:
        NAME: Its program, and the folder of its environment below ``.targets``.
        HAS_EMPTY: Whether it keeps ``""`` and null apart.
    """

    NAME: ClassVar[str]
    HAS_EMPTY: ClassVar[bool] = True

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.program = ROOT / ".targets" / self.NAME / "bin" / self.NAME
        if not self.program.exists():
            pytest.fail(f"{self.NAME} is not installed: run `make setup`")
        self.folder = folder
        write(folder, "target.json", config)
        write(folder, "state.json", {})

    def load(self, emulator: Emulator, **more: Any) -> Run:
        """Pipe what is new from the tap to the loader; its last STATE is the next run's."""
        write(self.folder, "tap.json", settings(emulator, max_retries=0, **more))
        done = subprocess.run(
            ["/bin/sh", "-c", PIPE, sys.executable, self.program],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        (self.folder / "state.json").write_text(done.stdout.splitlines()[-1])
        lines = (self.folder / "messages.jsonl").read_bytes().splitlines()
        return Run([json.loads(line) for line in lines], log=done.stderr)

    def state(self) -> dict[str, Any]:
        """The last STATE that the loader gave."""
        return dict(json.loads((self.folder / "state.json").read_text()))

    @abstractmethod
    def rows(self, stream: str) -> list[Row]:
        """What is loaded, each value as text."""


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
        """What is loaded, each value as text."""
        texts = ", ".join(f'"{c}"::text as "{c}"' for c in self.columns(stream))
        return self.query(f"select {texts} from {self.schema}.{stream}")  # noqa: S608 - ours

    @abstractmethod
    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows that a query gives."""


class Postgres(Database):
    """PostgreSQL."""

    NAME = "target-postgres"
    COLUMN_TYPES: ClassVar[Mapping[str, str]] = {
        "string": "text",
        "integer": "bigint",
        "number": "numeric",
        "boolean": "boolean",
        "date": "date",
        "date-time": "timestamp without time zone",
    }

    def __init__(self, folder: Path, uri: str, config: Mapping[str, Any]) -> None:
        self.uri = uri
        url = uri.replace("postgresql://", "postgresql+psycopg://", 1)
        super().__init__(folder, {**config, "sqlalchemy_url": url})

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows that a query gives."""
        with psycopg.connect(self.uri, row_factory=dict_row) as connection:
            return connection.execute(text.encode()).fetchall()


class DuckDB(Database):
    """A DuckDB file, read with the loader's own DuckDB."""

    NAME = "target-duckdb"
    COLUMN_TYPES: ClassVar[Mapping[str, str]] = {
        "string": "VARCHAR",
        "integer": "HUGEINT",
        "number": "DOUBLE",
        "boolean": "BOOLEAN",
        "date": "VARCHAR",
        "date-time": "TIMESTAMP",
    }
    HAS_EMPTY = False
    QUERY = """
import duckdb, json, sys
found = duckdb.connect("loaded.duckdb", read_only=True).execute(sys.argv[1])
names = [column[0] for column in found.description]
print(json.dumps([dict(zip(names, row)) for row in found.fetchall()]))
"""

    def __init__(self, folder: Path) -> None:
        if sys.version_info >= (3, 13):
            pytest.skip("duckdb 1.0.0, the last that target-duckdb loses no row with, ends at 3.12")
        super().__init__(folder, {"path": "loaded.duckdb"})

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows that a query gives."""
        python = str(self.program.with_name("python"))
        found = subprocess.check_output([python, "-c", self.QUERY, text], cwd=self.folder)
        return list(json.loads(found))


class JSONL(Loader):
    """A file of JSON lines for each stream, to which every record is added."""

    NAME = "target-jsonl"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, _in_meltano(self.NAME) | {"destination_path": "loaded"})

    def rows(self, stream: str) -> list[Row]:
        """What is loaded, each value as text."""
        lines = (self.folder / "loaded" / f"{stream}.jsonl").read_bytes().splitlines()
        # Numbers as they are spelled.
        records = [json.loads(line, parse_int=str, parse_float=str) for line in lines]
        return [{c: None if v is None else str(v) for c, v in r.items()} for r in records]


def _in_meltano(name: str) -> dict[str, Any]:
    """A loader's settings as meltano.yml has them."""
    return {s["name"]: s["value"] for s in LOADERS[name]["settings"] if "value" in s}


@pytest.fixture(params=["postgres as in meltano.yml", "postgres", "duckdb", "jsonl"])
def loader(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Loader:
    """Each of the loaders, with nothing loaded."""
    if request.param == "duckdb":
        return DuckDB(tmp_path)
    if request.param == "jsonl":
        return JSONL(tmp_path)
    database = request.getfixturevalue("database")
    if request.param == "postgres":
        monkeypatch.setenv("PGTZ", "UTC")  # without COPY it writes the session's local times
        return Postgres(tmp_path, database, {})
    return Postgres(tmp_path, database, _in_meltano(Postgres.NAME))


def _add(emulator: Emulator, export: Export) -> str:
    """Have Firstup offer a file; what records call it."""
    text = export.text()
    # Of a file that is large as stored the look reads the beginning only.
    file = emulator.add(export.stream, export.generated_at, text, gzip=len(text) <= LOOK_WHOLE)
    if export.unseen:
        emulator.fail("download", status=500, match=file.key)
    key = hashlib.sha256(file.id.encode()).hexdigest()[:12]
    return f"{file.generated_at}/{file.file_name}/{key}"


def _expected(sent: Mapping[str, Export], stream: str, loader: Loader) -> Cells:
    """What is to be found of a stream, by the files alone."""
    kinds = TYPES[stream] | ADDED
    by_key = stream == "users" and isinstance(loader, Database)  # the last row wins
    rows: dict[object, tuple[str, str, Row]] = {}
    for source, export in sent.items():
        generated_at = "{}T{}".format(*export.generated_at.rsplit("-", 1))
        for number, row in enumerate(export.rows() if export.stream == stream else (), start=1):
            key = row["user_id"] if by_key else (source, number)
            rows[key] = (source, str(number), {"generated_at": generated_at, **row})
    cells: Cells = {}
    for source, line, row in rows.values():
        for column, text in row.items():
            if isinstance(text, Misfit):
                cells[source, line, f"{column}__text"] = str(text)
            elif text or (text is not None and kinds[column] == "string" and loader.HAS_EMPTY):
                cells[source, line, column] = _same(kinds[column], text)
    return cells


def _found(stream: str, loader: Loader) -> Cells:
    """What is found of a stream, but for the columns that the loader adds."""
    kinds = TYPES[stream] | ADDED
    cells: Cells = {}
    for row in loader.rows(stream):
        source, line = str(row["_sdc_source_file"]), str(row["_sdc_source_lineno"])
        assert (source, line, "generated_at") not in cells, "a row came twice"
        for column, text in row.items():
            if text is not None and not column.startswith("_sdc_"):
                cells[source, line, column] = _same(kinds.get(column, "string"), text)
    return cells


def _misfits(stream: str) -> dict[str, str]:
    """The columns for what does not fit, with their type."""
    return {
        f"{column}__text": "string"
        for exports in RUNS
        for export in exports
        for column, values in export.columns.items()
        if export.stream == stream and any(isinstance(value, Misfit) for value in values)
    }


def test_drift(emulator: Emulator, loader: Loader) -> None:
    """Over runs in which columns come, go and change, nothing fails and every value arrives.

    A database's columns keep their type, and the loader's STATE brings just the new files.
    """
    sent: dict[str, Export] = {}
    columns: dict[str, dict[str, str]] = {stream: {} for stream in TYPES}
    for number, exports in enumerate(RUNS):
        new = {_add(emulator, export): export for export in exports}
        sent |= new
        done = loader.load(emulator)
        assert loader.state() == done.state
        for stream, before in columns.items():
            schemas = [m for m in done.of("SCHEMA") if m["stream"] == stream]
            assert len(schemas) == SCHEMAS[stream][number]
            rows = sum(len(e.rows()) for e in new.values() if e.stream == stream)
            assert len(done.records(stream)) == rows
            assert _expected(sent, stream, loader).items() ^ _found(stream, loader).items() == set()
            if isinstance(loader, Database):
                columns[stream] = loader.columns(stream)
                assert before.items() <= columns[stream].items()
    for stream, kinds in TYPES.items():
        every = kinds | _misfits(stream)
        assert loader.state()["bookmarks"][stream]["types"] == every
        if isinstance(loader, Database):
            expected = {c: loader.COLUMN_TYPES[kind] for c, kind in (every | ADDED).items()}
            own = {c for c in columns[stream] if c.startswith("_sdc_")} - set(ADDED)
            assert {c: t for c, t in columns[stream].items() if c not in own} == expected


def test_nul(emulator: Emulator, database: str, tmp_path: Path) -> None:
    """With the settings of meltano.yml NUL, which PostgreSQL cannot hold, comes as U+FFFD."""
    emulator.add("users", "2026-05-14-00", "user_id,first_name\n1,a\0b\n")
    loader = Postgres(tmp_path, database, _in_meltano(Postgres.NAME))
    loader.load(emulator)
    assert [row["first_name"] for row in loader.rows("users")] == ["a\ufffdb"]


def test_malformed(emulator: Emulator, database: str, tmp_path: Path) -> None:
    """A row that cannot be read reaches the database as it stands, where that is asked for."""
    emulator.add("activities", "2026-05-14-00", 'user_id,content_id\n1,2\n3\n4,"5"x\n6,7\n')
    loader = Postgres(tmp_path, database, _in_meltano(Postgres.NAME))
    loader.load(emulator, malformed_rows="divert")
    lines = {row["_sdc_source_lineno"]: row["raw"] for row in loader.rows("activities_malformed")}
    assert lines == {"2": "3", "3": '4,"5"x'}
    assert {row["_sdc_source_lineno"] for row in loader.rows("activities")} == {"1", "4"}


@pytest.mark.parametrize("name", LOADERS)
def test_versions(name: str) -> None:
    """The loaders that the tests load with are those that meltano.yml installs."""
    assert f"\n{name} := {LOADERS[name]['pip_url']}\n" in (ROOT / "Makefile").read_text()
