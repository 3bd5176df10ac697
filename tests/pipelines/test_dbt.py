"""The dbt package builds on what `firstup-dde load` has loaded, and its figures are right."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import runpy
import subprocess
import sys
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from tap_firstup_dde.dictionary import ACTIONS, DELIVERIES
from tap_firstup_dde.emulator import Emulator
from tests import ROOT
from tests.load.places import DuckDBFile, PostgresSchema
from tests.loaders import Postgres, Snowflake, in_meltano

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.load.places import Place
    from tests.loaders import Database

if sys.version_info >= (3, 14):
    pytest.skip("dbt-core 1.11 needs an older Python", allow_module_level=True)

DESCRIBE = ROOT / "dbt" / "describe.py"
# Every version of a user stays: each exported row has a key of its own.
KEEP_VERSIONS = {"users": ["_sdc_source_file", "_sdc_source_lineno"]}


def dbt(
    place: Database, target: str, *command: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of dbt on what is loaded."""
    folder = place.folder / "dbt"
    bins = ROOT / ".targets" / ("dbt-snowflake" if target == "snowflake" else "dbt") / "bin"
    assert bins.exists(), "run `make recipes`"
    variables = json.dumps({"firstup_schema": place.schema})
    return subprocess.run(
        [bins / "dbt", "--no-use-colors", *command, "--vars", variables, "--target", target],
        cwd=ROOT / "dbt",
        env={**os.environ, **env, "DBT_TARGET_PATH": str(folder), "DBT_LOG_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def build(place: Database, target: str, **env: str) -> dict[str, str]:
    """Build and test all models; returns the status of each node."""
    done = dbt(place, target, "build", **env)
    assert done.returncode == 0, done.stdout
    results = json.loads((place.folder / "dbt" / "run_results.json").read_text())["results"]
    return {each["unique_id"].split(".", 2)[2]: each["status"] for each in results}


def postgres_env(uri: str) -> dict[str, str]:
    """What psql and dbt take instead of a URI."""
    url = urlsplit(uri)
    host = parse_qs(url.query)["host"][0]
    return {"PGHOST": host, "PGUSER": url.username or "", "PGDATABASE": url.path.strip("/")}


def rows(emulator: Emulator, stream: str) -> Iterator[dict[str, str]]:
    """Every row of a stream, oldest first, with the time of its file."""
    files = (file for file in emulator.files if file.stream == stream)
    for file in sorted(files, key=lambda f: (f.generated_at, f.id)):
        text = gzip.decompress(file.body).decode()
        for row in csv.DictReader(io.StringIO(text, newline="")):
            yield {**row, "generated_at": file.generated_at}


def acts(row: Mapping[str, str]) -> bool:
    """True unless an event does nothing but deliver something to its user."""
    counted = {name for name in ACTIONS | DELIVERIES if row[name] != "0"}
    return not counted or bool(counted & ACTIONS)


def distinct(pairs: Iterable[tuple[Any, str]]) -> dict[Any, int]:
    """Group → the number of distinct people."""
    people: dict[Any, set[str]] = defaultdict(set)
    for group, person in pairs:
        people[group].add(person)
    return {group: len(found) for group, found in people.items()}


def asked(place: Place | Postgres | Snowflake, text: str) -> dict[Any, Any]:
    """The two columns of a query, as a mapping."""
    return dict(tuple(row.values()) for row in place.query(text))


def test_dictionary_is_repeated_everywhere() -> None:
    """The docs and the dbt package describe each documented column as the dictionary does."""
    for path, text in runpy.run_path(str(DESCRIBE))["files"]().items():
        assert path.read_text() == text, f"{path.name} differs: run `make dictionary`"


def test_counters_are_the_dictionary_s() -> None:
    """The dbt package and the example queries count the same events as actions."""
    for path in (
        ROOT / "dbt" / "macros" / "counters.sql",
        *(ROOT / "examples" / "sql" / f"{n}.sql" for n in ("daily_active_users", "channel_mix")),
    ):
        text = path.read_text()
        assert [name for name in ACTIONS | DELIVERIES if name not in text] == []


def test_duckdb(tmp_path: Path) -> None:
    """On DuckDB all models and tests pass, and the figures are those of the files."""
    place = DuckDBFile(tmp_path)
    with Emulator(seed=3) as emulator:
        for _ in range(3):
            emulator.add_generation(rows=200)
        place.loaded(emulator, primary_keys=KEEP_VERSIONS)
    statuses = build(place, "duckdb", DUCKDB_PATH=place.to.removeprefix("duckdb:"))
    assert set(statuses.values()) == {"success", "pass"}

    events = list(rows(emulator, "activities"))
    versions = list(rows(emulator, "users"))
    newest = {row["user_id"]: row for row in versions}
    active = [row for row in events if acts(row)]
    days = 'select cast("Day" as text), "Active people" from reporting.engagement_by_day'
    assert asked(place, days) == distinct((row["date"][:10], row["user_id"]) for row in active)
    departments = 'select "Department", "Active people" from reporting.engagement_by_department'
    expected = distinct(
        (newest[row["user_id"]]["attribute_department"], row["user_id"]) for row in active
    )
    assert asked(place, departments) == expected
    reach = 'select "Campaign ID", "Reached people" from reporting.engagement_by_campaign'
    shown = distinct(
        (row["content_id"], row["user_id"]) for row in events if row["impressions"] != "0"
    )
    assert {key: count for key, count in asked(place, reach).items() if count} == shown
    channels = 'select "Channel", "Events" from reporting.engagement_by_channel'
    found = asked(place, channels)
    assert set(found) == {"email", "push", "notification center", "feed", "other"}
    assert sum(found.values()) == len(events)

    visits = "select user_id, cast(last_visited_date as text) from firstup_marts.dim_users"
    assert asked(place, visits) == {key: row["last_visited_date"] for key, row in newest.items()}
    left = "select has_left, count(*) from firstup_marts.dim_users group by 1"
    blocked = sum(bool(row["blocked_at"]) for row in newest.values())
    assert asked(place, left) == {True: blocked, False: len(newest) - blocked}
    history = "select is_current, count(*) from firstup_marts.dim_users_history group by 1"
    kept = len({(row["user_id"], row["generated_at"]) for row in versions})
    assert asked(place, history) == {True: len(newest), False: kept - len(newest)}


@pytest.mark.recipes
def test_postgres(database: str, tmp_path: Path) -> None:
    """On PostgreSQL, columns that files lack are null, and a table that no file made is empty.

    Old files are not fresh.
    """
    place = PostgresSchema(tmp_path, database)
    with Emulator() as emulator:
        emulator.add("users", "2026-05-14-12", "User ID,Blocked At\n7,\n8,2026-05-01 09:00:00\n")
        emulator.add(
            "activities",
            "2026-05-14-12",
            "Content ID,User ID,Date,Likes,Push Delivered\n"
            "1,7,2026-05-14 23:30:00,1,0\n1,8,2026-05-14 09:00:00,0,1\n",
        )
        place.loaded(emulator)
    env = postgres_env(database)
    statuses = build(place, "postgres", **env)
    (lone,) = (name for name, status in statuses.items() if status == "warn")
    assert lone.startswith("relationships_fct_activities_campaign_id")
    assert set(statuses.values()) == {"success", "pass", "warn"}
    assert place.query(
        'select "Day"::text, "Active people", "Likes", "Clicks", "Deliveries"'
        " from reporting.engagement_by_day"
    ) == [{"Day": "2026-05-14", "Active people": 1, "Likes": 1, "Clicks": 0, "Deliveries": 1}]
    assert asked(place, 'select "User ID", "Has left" from reporting.users') == {
        "7": False,
        "8": True,
    }
    stale = dbt(place, "postgres", "source", "freshness", **env)
    stale_ones = re.findall(r"ERROR STALE freshness of firstup.(\w+)", stale.stdout)
    assert (stale.returncode, sorted(stale_ones)) == (1, ["activities", "users"])


@pytest.mark.recipes
def test_tables_of_target_postgres(database: str, tmp_path: Path) -> None:
    """On the tables that target-postgres makes, all pass too, and days are those of UTC."""
    place = Postgres(tmp_path, database, in_meltano(Postgres.NAME))
    with Emulator(seed=3) as emulator:
        emulator.add_generation(rows=60)
        place.load(emulator)
    events = list(rows(emulator, "activities"))
    statuses = build(place, "postgres", **postgres_env(database))
    assert set(statuses.values()) == {"success", "pass"}
    days = 'select "Day"::text, "Active people" from reporting.engagement_by_day'
    active = ((row["date"][:10], row["user_id"]) for row in events if acts(row))
    assert asked(place, days) == distinct(active)


@pytest.mark.recipes
def test_snowflake(snowflake: int, tmp_path: Path) -> None:
    """On what target-snowflake loads into a server that imitates Snowflake, all pass too.

    The example queries have results there.
    """
    place = Snowflake(tmp_path, snowflake)
    with Emulator(seed=3) as emulator:
        emulator.add_generation(rows=60)
        place.load(emulator)
    events = list(rows(emulator, "activities"))
    profile = yaml.safe_load((ROOT / "dbt" / "profiles.yml").read_text())
    login = {"host": "127.0.0.1", "port": snowflake, "protocol": "http", "password": "password"}
    output = profile["firstup_dde"]["outputs"]["snowflake"]
    del output["private_key_path"]
    output |= {**login, "account": "fakesnow", "user": "user", "database": "FIRSTUP"}
    (tmp_path / "profiles.yml").write_text(yaml.safe_dump(profile))
    statuses = build(place, "snowflake", DBT_PROFILES_DIR=str(tmp_path))
    assert set(statuses.values()) == {"success", "pass"}
    days = 'select cast("Day" as text), "Active people" from reporting.engagement_by_day'
    active = ((row["date"][:10], row["user_id"]) for row in events if acts(row))
    assert asked(place, days) == distinct(active)
    table = re.compile(r"\b(from|join) (activities|campaigns)\b")
    for path in (ROOT / "examples" / "sql").glob("*.sql"):
        assert place.query(table.sub(rf"\1 {place.schema}.\2", path.read_text()))


def test_descriptions() -> None:
    """Every model of the dbt package has a description, and every mart a test of its key."""
    models = {path.stem for path in (ROOT / "dbt" / "models").rglob("*.sql")}
    described = {
        model["name"]: model
        for path in (ROOT / "dbt" / "models").rglob("*.yml")
        for model in yaml.safe_load(path.read_text()).get("models", [])
    }
    assert set(described) == models
    assert all(model["description"] for model in described.values())
    for name in (path.stem for path in (ROOT / "dbt" / "models" / "marts").glob("*.sql")):
        tests = [column.get("data_tests", []) for column in described[name]["columns"]]
        assert ["unique", "not_null"] in tests
