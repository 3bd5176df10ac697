"""Real loaders accept what the tap emits: every value of every row arrives, despite drift."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import ROOT
from tests.loaders import (
    ADDED,
    JSONL,
    LOADERS,
    Database,
    DuckDB,
    Export,
    Loader,
    Misfit,
    Postgres,
    Snowflake,
    add,
    expected,
    found,
    in_meltano,
    program,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

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
SCHEMAS = {"activities": [1, 1, 3], "users": [1, 1, 1]}  # one per run, unless sampling misses it


@pytest.fixture(params=["postgres as in meltano.yml", "postgres", "duckdb", "jsonl", "snowflake"])
def loader(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Loader:
    """Each of the loaders, with empty tables."""
    if request.param == "duckdb":
        return DuckDB(tmp_path)
    if request.param == "jsonl":
        return JSONL(tmp_path)
    database = request.getfixturevalue("database")
    if request.param == "postgres":
        monkeypatch.setenv("PGTZ", "UTC")  # without COPY it writes the session's local times
        return Postgres(tmp_path, database, {})
    return Postgres(tmp_path, database, in_meltano(Postgres.NAME))


def _misfits(stream: str) -> dict[str, str]:
    """The misfit columns, with their type."""
    return {
        f"{column}__text": "string"
        for exports in RUNS
        for export in exports
        for column, values in export.columns.items()
        if export.stream == stream and any(isinstance(value, Misfit) for value in values)
    }


def test_drift(emulator: Emulator, loader: Loader) -> None:
    """Over runs in which columns come, go and change, nothing fails and every value arrives.

    A database's columns keep their type, and with the loader's STATE only new files are read.
    """
    sent: dict[str, Export] = {}
    columns: dict[str, dict[str, str]] = {stream: {} for stream in TYPES}
    for number, exports in enumerate(RUNS):
        new = {add(emulator, export): export for export in exports}
        sent |= new
        done = loader.load(emulator)
        assert loader.state() == done.state
        for stream, before in columns.items():
            schemas = [m for m in done.of("SCHEMA") if m["stream"] == stream]
            assert len(schemas) == SCHEMAS[stream][number]
            rows = sum(len(e.rows()) for e in new.values() if e.stream == stream)
            assert len(done.records(stream)) == rows
            there = found(stream, TYPES[stream], loader)
            assert expected(sent, stream, TYPES[stream], loader).items() ^ there.items() == set()
            if isinstance(loader, Database):
                columns[stream] = loader.columns(stream)
                assert before.items() <= columns[stream].items()
    for stream, kinds in TYPES.items():
        every = kinds | _misfits(stream)
        assert loader.state()["bookmarks"][stream]["types"] == every
        if isinstance(loader, Database):
            wanted = {c: loader.COLUMN_TYPES[kind] for c, kind in (every | ADDED).items()}
            own = {c for c in columns[stream] if c.startswith("_sdc_")} - set(ADDED)
            assert {c: t for c, t in columns[stream].items() if c not in own} == wanted


@pytest.mark.parametrize("batch", [False, True], ids=["RECORD", "BATCH"])
def test_snowflake(emulator: Emulator, snowflake: int, tmp_path: Path, *, batch: bool) -> None:
    """The loader for Snowflake accepts both, column types never change, and every value arrives.

    With a server that emulates Snowflake: `tests/snowflake_loader.py` says what it lacks.
    """
    loader = Snowflake(tmp_path, snowflake)
    storage = {"root": str(tmp_path / "files")}
    files = {"encoding": {"format": "jsonl", "compression": "gzip"}, "storage": storage}
    sent: dict[str, Export] = {}
    for exports in RUNS[:2]:  # but for the third, whose large file takes the fake long to read
        sent |= {add(emulator, export): export for export in exports}
        done = loader.load(emulator, **({"batch_config": files} if batch else {}))
        assert {m["type"] for m in done.messages} == {
            *("SCHEMA", "STATE"),
            "BATCH" if batch else "RECORD",
        }
        for stream, types in TYPES.items():
            there = found(stream, types, loader)
            assert expected(sent, stream, types, loader).items() ^ there.items() == set()
    for stream, kinds in TYPES.items():
        every = {**kinds, **_misfits(stream), **ADDED}
        made = {c: kind for c, kind in loader.columns(stream).items() if c in every}
        assert made == {column: loader.COLUMN_TYPES[every[column]] for column in made}
        assert {*ADDED, "user_id"} <= set(made)


def test_nul(emulator: Emulator, database: str, tmp_path: Path) -> None:
    """With meltano.yml's settings NUL, which PostgreSQL cannot store, is replaced by U+FFFD."""
    emulator.add("users", "2026-05-14-00", "user_id,first_name\n1,a\0b\n")
    loader = Postgres(tmp_path, database, in_meltano(Postgres.NAME))
    loader.load(emulator)
    assert [row["first_name"] for row in loader.rows("users")] == ["a\ufffdb"]


def test_malformed(emulator: Emulator, database: str, tmp_path: Path) -> None:
    """A row that cannot be read reaches the database verbatim if malformed_rows is divert."""
    emulator.add("activities", "2026-05-14-00", 'user_id,content_id\n1,2\n3\n4,"5"x\n6,7\n')
    loader = Postgres(tmp_path, database, in_meltano(Postgres.NAME))
    loader.load(emulator, malformed_rows="divert")
    lines = {row["_sdc_source_lineno"]: row["raw"] for row in loader.rows("activities_malformed")}
    assert lines == {"2": "3", "3": '4,"5"x'}
    assert {row["_sdc_source_lineno"] for row in loader.rows("activities")} == {"1", "4"}


@pytest.mark.parametrize("name", LOADERS)
def test_versions(name: str) -> None:
    """The loaders that the tests load with are those that meltano.yml installs."""
    assert f"\n{name} := {LOADERS[name]['pip_url']}" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("name", ["target-postgres", "target-snowflake"])
def test_settings_of_loaders(name: str) -> None:
    """A loader has each setting that meltano.yml lists for it, of the type of the default."""
    about = subprocess.check_output([program(name), "--about", "--format", "json"])
    known = json.loads(about)["settings"]["properties"]
    kinds = {"string": "string", "options": "string", "integer": "integer", "boolean": "boolean"}
    for setting in LOADERS[name]["settings"]:
        assert kinds[setting["kind"]] in known[setting["name"]]["type"]
        offered = {option["value"] for option in setting.get("options", ())}
        assert offered in (set(), set(known[setting["name"]].get("enum", ())))
