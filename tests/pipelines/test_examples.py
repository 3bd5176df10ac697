"""The example queries return what the export files contain."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pytest
import sqlglot
from click.testing import CliRunner
from psycopg import sql
from sqlglot import exp

from tap_firstup_dde.cli import main
from tap_firstup_dde.dictionary import ACTIONS, DELIVERIES
from tests import ROOT
from tests.loaders import pipe, program
from tests.runs import settings, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import LiteralString

    from tap_firstup_dde.emulator import Emulator

PORTABLE = {"And", "Case", "Cast", "Coalesce", "Count", "If", "Max", "Nullif", "Or", "Round", "Sum"}
QUERIES = sorted((ROOT / "examples" / "sql").glob("*.sql"))


@pytest.fixture(scope="module")
def exported() -> Iterator[Emulator]:
    """Three generations of sample data."""
    from tap_firstup_dde.emulator import Emulator  # noqa: PLC0415 - a type elsewhere here

    with Emulator(seed=3) as emulator:
        for _ in range(3):
            emulator.add_generation(rows=400)
        yield emulator


@pytest.fixture(scope="module")
def loaded(
    exported: Emulator, database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[psycopg.Connection]:
    """A database that the real loader has loaded them into."""
    folder = tmp_path_factory.mktemp("pipe")
    write(folder, "tap.json", settings(exported))
    write(folder, "state.json", {"bookmarks": {}})
    url = database.replace("postgresql://", "postgresql+psycopg://", 1)
    target = {"sqlalchemy_url": url, "default_target_schema": "firstup", "use_copy": True}
    write(folder, "target.json", {**target, "validate_records": False})
    pipe(folder, program("target-postgres"))
    with psycopg.connect(database, options="-c search_path=firstup") as connection:
        yield connection


@pytest.fixture(scope="module")
def in_duckdb(
    exported: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB database that `load` has loaded them into."""
    folder = tmp_path_factory.mktemp("duckdb")
    config, place = write(folder, "config.json", settings(exported)), folder / "loaded.db"
    done = CliRunner().invoke(main, ["load", "--config", config, "--to", f"duckdb:{place}"])
    assert done.exit_code == 0, done.output
    with duckdb.connect(str(place)) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


def _rows(emulator: Emulator, stream: str) -> list[dict[str, str]]:
    """Every row of a stream, oldest first."""
    files = sorted(
        (f for f in emulator.files if f.stream == stream), key=lambda f: (f.generated_at, f.id)
    )
    texts = [gzip.decompress(file.body).decode() for file in files]
    found = [row for text in texts for row in csv.DictReader(io.StringIO(text, newline=""))]
    return [{name.lower().replace(" ", "_"): v for name, v in row.items()} for row in found]


def _shown(value: Any) -> str:
    """A value as PostgreSQL's numeric is shown, with three decimals."""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _acts(row: dict[str, str]) -> bool:
    """True unless an event does nothing but deliver something to its user."""
    counted = {name for name in ACTIONS | DELIVERIES if row[name] != "0"}
    return not counted or bool(counted & ACTIONS)


def _asked(connection: psycopg.Connection, name: str) -> list[tuple[Any, ...]]:
    """The result of an example query."""
    text: LiteralString = (ROOT / "examples" / "sql" / f"{name}.sql").read_text()
    return connection.execute(sql.SQL(text)).fetchall()


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: Path(path).stem)
def test_every_query_answers(loaded: psycopg.Connection, path: Path) -> None:
    """Each query runs on the loaded tables, and has a result."""
    assert _asked(loaded, path.stem)


@pytest.mark.parametrize("path", QUERIES, ids=lambda path: Path(path).stem)
def test_every_query_is_portable(
    loaded: psycopg.Connection, in_duckdb: duckdb.DuckDBPyConnection, path: Path
) -> None:
    """DuckDB gives the same result, also to what is read as Snowflake's SQL.

    A query has no function that not all three have, and no `filter`, which Snowflake lacks.
    """
    text = path.read_text()
    tree = sqlglot.parse_one(text, dialect="snowflake")
    assert {type(each).__name__ for each in tree.find_all(exp.Func, exp.Filter)} <= PORTABLE
    expected = [tuple(map(str, row)) for row in _asked(loaded, path.stem)]
    for query in (text, tree.sql(dialect="duckdb")):
        found = in_duckdb.execute(query).fetchall()
        assert [tuple(map(_shown, row)) for row in found] == expected


def test_reach(exported: Emulator, loaded: psycopg.Connection) -> None:
    """Reach and engagement are those of the files."""
    names = {row["campaign_id"]: row["campaign_name"] for row in _rows(exported, "campaigns")}
    reached: dict[str, set[str]] = defaultdict(set)
    engaged: dict[str, set[str]] = defaultdict(set)
    seen = set()
    for row in _rows(exported, "activities"):
        key, person = row["content_id"], row["user_id"]
        if key not in names:
            continue
        seen.add(key)
        if row["impressions"] != "0":
            reached[key].add(person)
        if any(row[n] != "0" for n in ("likes", "shares", "bookmarks", "clicks", "link_clicks")):
            engaged[key].add(person)
    both = {key: reached[key] & engaged[key] for key in seen}
    expected = {key: (names[key], len(reached[key]), len(both[key])) for key in seen}
    assert {key: tuple(rest) for key, *rest in _asked(loaded, "reach")} == expected


def test_opens_and_clicks(exported: Emulator, loaded: psycopg.Connection) -> None:
    """Sums are those of the files."""
    names = {row["campaign_id"] for row in _rows(exported, "campaigns")}
    opens: Counter[str] = Counter()
    clicks: Counter[str] = Counter()
    for row in _rows(exported, "activities"):
        if row["content_id"] in names:
            opens[row["content_id"]] += int(row["opens"])
            clicks[row["content_id"]] += int(row["clicks"])
    found = {key: (o, c) for key, _, o, c, _ in _asked(loaded, "opens_and_clicks")}
    assert found == {key: (opens[key], clicks[key]) for key in opens}


def test_daily_active_users(exported: Emulator, loaded: psycopg.Connection) -> None:
    """Who acted counts, on days of UTC, whatever the database's time zone; deliveries do not."""
    people: dict[str, set[str]] = defaultdict(set)
    for row in filter(_acts, _rows(exported, "activities")):
        people[row["date"][:10]].add(row["user_id"])
    found = {str(day): count for day, count in _asked(loaded, "daily_active_users")}
    assert found == {day: len(who) for day, who in people.items()}


def test_acknowledgement_rate(exported: Emulator, loaded: psycopg.Connection) -> None:
    """Only campaigns that require it, by newest version; only people who saw it count."""
    newest = {row["campaign_id"]: row["acknowledgeable"] for row in _rows(exported, "campaigns")}
    reached: dict[str, set[str]] = defaultdict(set)
    acknowledged: dict[str, set[str]] = defaultdict(set)
    seen = set()
    for row in _rows(exported, "activities"):
        if newest.get(row["content_id"]) == "t":
            seen.add(row["content_id"])
            if row["impressions"] != "0":
                reached[row["content_id"]].add(row["user_id"])
            if row["acknowledge_counts"] != "0":
                acknowledged[row["content_id"]].add(row["user_id"])
    found = {key: counts for key, _, *counts, _ in _asked(loaded, "acknowledgement_rate")}
    both = {key: reached[key] & acknowledged[key] for key in seen}
    assert found == {key: [len(reached[key]), len(both[key])] for key in seen}
    rates = [rate for *_, rate in _asked(loaded, "acknowledgement_rate") if rate is not None]
    assert all(0 <= rate <= 1 for rate in rates)


def test_channel_mix(exported: Emulator, loaded: psycopg.Connection) -> None:
    """Every event counts once, but for those that only deliver something."""
    rows = _rows(exported, "activities")
    events = Counter(row["platform"] or "unknown" for row in rows if _acts(row))
    assert 0 < events.total() < len(rows)
    found = {platform: count for platform, count, *_ in _asked(loaded, "channel_mix")}
    assert found == events
