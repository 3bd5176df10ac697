"""Export files by dlt: every value in every table, exactly once, through any failure."""

from __future__ import annotations

import gzip
import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from filetap.errors import FormatError, SettingsError
from filetap.settings import Tuning
from tap_firstup_dde.dlt import firstup
from tests import ROOT
from tests.dlt.killed import killed
from tests.dlt.warehouses import DuckDB, Postgres, Warehouse
from tests.folders import deliver, reading
from tests.loaders import ADDED, KEYS, Export, add, expected, found
from tests.pipelines.test_targets import RUNS, TYPES, _misfits
from tests.runs import run, settings

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

# dlt calls a method of logging that is deprecated, to say that it loads what is pending.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The 'warn' method is deprecated:DeprecationWarning:dlt"
)
FORMS = ["postgres", "postgres csv", "duckdb"]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Send nothing to the makers of dlt, and use no configuration or folder of this machine."""
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_PROJECT_DIR", str(tmp_path))
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "data"))


def _warehouse(name: str, folder: Path, request: pytest.FixtureRequest) -> Warehouse:
    """An empty warehouse of a name, which ends in the format of files if dlt does not choose it."""
    database, _, form = name.partition(" ")
    if database == "duckdb":
        return DuckDB(folder, form or None)
    return Postgres(folder, request.getfixturevalue("database"), form or None)


@pytest.fixture(params=FORMS)
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    """Each of the warehouses, with each format."""
    return _warehouse(request.param, tmp_path, request)


@pytest.fixture(params=["postgres", "duckdb"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    """Each of the warehouses."""
    return _warehouse(request.param, tmp_path, request)


@pytest.fixture
def duck(tmp_path: Path) -> Warehouse:
    """A DuckDB file."""
    return DuckDB(tmp_path)


def _assert_truth(sent: dict[str, Export], warehouse: Warehouse) -> None:
    """The tables have every value that was sent, and no others."""
    for stream, types in TYPES.items():
        there = found(stream, types, warehouse) if warehouse.columns(stream) else {}
        assert expected(sent, stream, types, warehouse).items() ^ there.items() == set()


def test_drift(emulator: Emulator, warehouse: Warehouse) -> None:
    """Over runs in which columns come, go and change, nothing fails and every value arrives.

    Columns keep their types, and a run with nothing new only asks for the lists.
    """
    sent: dict[str, Export] = {}
    columns: dict[str, dict[str, str]] = {stream: {} for stream in TYPES}
    for exports in RUNS:
        sent |= {add(emulator, export): export for export in exports}
        assert warehouse.run(settings(emulator, max_retries=0)) == 1
        _assert_truth(sent, warehouse)
        for stream, before in columns.items():
            columns[stream] = warehouse.columns(stream)
            assert before.items() <= columns[stream].items()
    for stream, kinds in TYPES.items():
        every = kinds | _misfits(stream)
        assert warehouse.state_of(stream)["types"] == every
        wanted = {name: warehouse.COLUMN_TYPES[kind] for name, kind in (every | ADDED).items()}
        assert columns[stream] == wanted
    emulator.requests.clear()
    assert warehouse.run(settings(emulator)) == 0
    assert Counter(request.route for request in emulator.requests) == {"token": 1, "list": 3}


def _users(generation: str, *names: str, ids: tuple[str, ...] = ("1", "2", "3")) -> Export:
    """A file of users, each generation's with names of its own."""
    return Export("users", generation, {"user_id": ids[: len(names)], "first_name": names})


# New files of ten runs. A file older than one that was read is late.
TEN: list[list[Export]] = [
    [_users("2026-05-14-08", "a", "b", "c"), *RUNS[0][:1]],
    [_users("2026-05-14-12", "d")],
    [],
    [_users("2026-05-14-04", "late", "late"), _users("2026-05-14-16", "e", "f")],
    [*RUNS[1][:1]],
    [Export("users", "2026-05-14-20", {"user_id": ["1", "1", "1"], "first_name": ["x", "y", "z"]})],
    [*RUNS[2][:1]],
    [_users("2026-05-15-00", "g", "h", "i"), _users("2026-05-13-00", "later")],
    [],
    [_users("2026-05-15-04", "j", "k", ids=("1", "4"))],
]


def test_ten_runs(emulator: Emulator, either: Warehouse) -> None:
    """Late files are read in their turn, and after each run the tables have the files' rows."""
    sent: dict[str, Export] = {}
    for exports in TEN:
        new = {add(emulator, export): export for export in exports}
        # The files of a run are read in order of their generation.
        sent |= dict(sorted(new.items()))
        assert either.run(settings(emulator)) == bool(exports)
        _assert_truth(sent, either)


# After a step, or before that many statements in the database, of which a load has about eleven.
KILLS = [
    pytest.param(["normalize", 5, 10], True, id="same machine"),
    pytest.param(["extract", 8], False, id="other machine"),
]


@pytest.mark.parametrize(("points", "same"), KILLS)
def test_kill(
    emulator: Emulator, either: Warehouse, points: list[str | int], *, same: bool
) -> None:
    """Killed between extract and load, or anywhere in a load, the next runs lose nothing.

    Nor do they on another machine, where dlt finds its state in the warehouse.
    """
    sent: dict[str, Export] = {}
    for hour, point in enumerate(points, start=10):
        for export in (
            _users(f"2026-05-14-{hour}", f"n{hour}", "o"),
            Export("activities", f"2026-05-14-{hour}", {"user_id": ["1"], "likes": [str(hour)]}),
        ):
            sent[add(emulator, export)] = export
        assert killed(either, settings(emulator), point)
        if same:
            either.run(settings(emulator))  # loads what is pending, and nothing else
        else:
            either.forget()
        either.run(settings(emulator))
        _assert_truth(sent, either)
    assert either.run(settings(emulator)) == 0


def test_last_row_of_a_key(emulator: Emulator, either: Warehouse) -> None:
    """In one load too, the last row of a key stays: of several files, and of many rows."""
    ids = [str(n % 7) for n in range(5000)]
    for generation in ("2026-05-14-00", "2026-05-14-04"):
        names = [f"{generation} {n}" for n in range(5000)]
        add(emulator, Export("users", generation, {"user_id": ids, "first_name": names}))
    either.run(settings(emulator), "users")
    rows = {row["user_id"]: row["first_name"] for row in either.rows("users")}
    assert rows == {str(n % 7): f"2026-05-14-04 {n}" for n in range(4993, 5000)}


def test_delivered_files(duck: Warehouse, tmp_path: Path) -> None:
    """A folder is read too; a historical file that comes late is read however old it is."""
    folder = tmp_path / "delivered"
    deliver(folder, "users", "2026-05-14-12", "user_id,first_name\n1,a\n")
    assert duck.run(reading(folder)) == 1
    deliver(folder, "users", "2024-01-01-00", "user_id,first_name\n0,old\n", export="historical")
    assert duck.run(reading(folder)) == 1
    assert {row["user_id"] for row in duck.rows("users")} == {"0", "1"}
    assert duck.run(reading(folder)) == 0


def test_accounts(duck: Warehouse, tmp_path: Path) -> None:
    """Rows name their program once there are files of several."""
    folder = tmp_path / "delivered"
    deliver(folder, "activities", "2026-05-14-12", "user_id\n1\n")
    duck.run(reading(folder))
    deliver(folder, "activities", "2026-05-14-16", "user_id\n2\n", program="7")
    duck.run(reading(folder))
    rows = {row["user_id"]: row["_sdc_program_id"] for row in duck.rows("activities")}
    assert rows == {"1": None, "2": "7"}


MALFORMED = 'user_id,content_id\n1,2\n3\n4,"5"x\n6,7\n'


def test_malformed_rows(emulator: Emulator, either: Warehouse) -> None:
    """Diverted rows are in a table of their own, once, and good rows beside them."""
    config = settings(emulator, malformed_rows="divert")
    for generation in ("2026-05-14-00", "2026-05-14-04"):
        emulator.add("activities", generation, MALFORMED)
        either.run(config)
    rows = Counter(
        (row["_sdc_source_lineno"], row["raw"]) for row in either.rows("activities_malformed")
    )
    assert rows == {("2", "3"): 2, ("3", '4,"5"x'): 2}
    assert Counter(row["user_id"] for row in either.rows("activities")) == {"1": 2, "6": 2}
    assert all(row["reason"] for row in either.rows("activities_malformed"))


@pytest.mark.parametrize(
    ("content", "says"),
    [(MALFORMED, "row 2"), ("user_id,content_id\n1,2\n,3\n", "")],
    ids=["malformed", "well-formed"],
)
def test_failure(emulator: Emulator, duck: Warehouse, content: str, says: str) -> None:
    """A file that cannot be read ends the run, which loads nothing and forgets nothing."""
    emulator.add("users", "2026-05-14-00", "user_id\n1\n")
    emulator.add("users", "2026-05-14-04", content)
    with pytest.raises(PipelineStepFailed) as caught:
        duck.run(settings(emulator))
    causes = [caught.value.__cause__, getattr(caught.value.__cause__, "__cause__", None)]
    error = next(cause for cause in causes if isinstance(cause, FormatError))
    assert "2026-05-14-04" in str(error)
    assert (says or "user_id is empty in 1 row, and it is the key") in str(error)
    assert duck.size("users") == 0
    emulator.remove(emulator.files[-1])
    emulator.add("users", "2026-05-14-08", "user_id\n2\n")
    duck.run(settings(emulator))
    assert {row["user_id"] for row in duck.rows("users")} == {"1", "2"}


def test_other_keys(emulator: Emulator, duck: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    """A key may be set; without its column the row's place is the key, which is kept."""
    emulator.add("users", "2026-05-14-00", "first_name,last_name\na,b\na,b\n")
    emulator.add("campaigns", "2026-05-14-00", "campaign_id,title\n1,x\n1,x\n1,y\n")
    config = settings(emulator, primary_keys={"campaigns": ["campaign_id", "title"]})
    duck.run(config)
    duck.run(config)
    assert duck.size("users") == duck.size("campaigns") == 2
    loaded = {table: duck.query(f"select * from {duck.schema}.{table}") for table in KEYS}  # noqa: S608 - ours
    assert {table for table, rows in loaded.items() if "_sdc_sequence" in rows[0]} == {"campaigns"}
    assert "the key is _sdc_source_file, _sdc_source_lineno instead" in caplog.text
    emulator.add("users", "2026-05-14-04", "user_id,first_name,last_name\n1,a,b\n")
    emulator.add("campaigns", "2026-05-14-04", "campaign_id,title,slug\n1,y,z\n")
    duck.run(config)
    assert duck.size("users") == 3
    assert {(row["title"], row["slug"]) for row in duck.rows("campaigns")} == {
        ("x", None),
        ("y", "z"),
    }


@pytest.mark.parametrize(("limit", "sizes"), [(1, [2, 3, 5, 6]), (3, [5, 6])])
def test_limit(
    emulator: Emulator,
    duck: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
    sizes: list[int],
) -> None:
    """Runs that dlt limits go on where the one before stopped, within a file too."""
    monkeypatch.setattr("filetap.setting_checks.Tuning", partial(Tuning, slice=2))
    emulator.add("activities", "2026-05-14-00", "user_id\n1\n2\n3\n")
    emulator.add("activities", "2026-05-14-04", "user_id\n1\n2\n3\n")
    pipeline = duck.pipeline
    for size in sizes:
        source = firstup(**settings(emulator)).with_resources("activities").add_limit(limit)
        pipeline.run(source).raise_on_failed_jobs()
        assert duck.size("activities") == size
    pipeline.run(firstup(**settings(emulator)))
    assert duck.size("activities") == 6


def test_state_is_that_of_the_tap(emulator: Emulator, duck: Warehouse) -> None:
    """A stream's state can go over to the Singer tap, which reads what follows."""
    emulator.add("users", "2026-05-14-00", "user_id,tenure\n1,5\n")
    duck.run(settings(emulator))
    state = duck.state_of("users")
    emulator.add("users", "2026-05-14-04", "user_id,tenure\n2,A\n")
    done = run(settings(emulator), {"bookmarks": {"users": state}})
    (record,) = done.records("users")
    assert (record["user_id"], record["tenure"], record["tenure__text"]) == ("2", None, "A")
    assert state["types"] == run(settings(emulator)).state["bookmarks"]["users"]["types"] | {
        "tenure": "integer"
    }


def _code(first: str) -> str:
    """The block of Python in the documentation that begins with a line."""
    text = (ROOT / "docs" / "dlt.md").read_text()
    (block,) = [b for b in text.split("```")[1::2] if b.startswith(f"python\n{first}\n")]
    return block.removeprefix("python\n")


def test_example(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script in the documentation runs, with the emulator's address and another folder."""
    emulator.add_generation(rows=10, parts=1)
    monkeypatch.chdir(tmp_path)
    code = _code("import dlt").replace("http://127.0.0.1:8765", emulator.settings["api_url"])
    exec(code, {})  # noqa: S102 - our own
    with duckdb.connect(str(tmp_path / "firstup_exports.duckdb")) as connection:
        found = connection.execute("select count(*) from firstup.activities").fetchone()
    assert found == (10,)


def test_nul(emulator: Emulator, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """NUL, which PostgreSQL refuses, can be replaced as in the documentation."""
    warehouse = _warehouse("postgres", tmp_path, request)
    emulator.add("users", "2026-05-14-00", "user_id,first_name,tenure\n1,a\0b,3\n2,,\n")
    source = firstup(**settings(emulator))
    exec(_code("import pyarrow as pa"), {"source": source})  # noqa: S102 - our own
    warehouse.pipeline.run(source).raise_on_failed_jobs()
    names = {row["user_id"]: row["first_name"] for row in warehouse.rows("users")}
    assert names == {"1": "a\ufffdb", "2": None}


def test_full_refresh(emulator: Emulator, duck: Warehouse) -> None:
    """A refresh reads everything again, into tables that are made anew."""
    emulator.add("users", "2026-05-14-00", "user_id\n1\n2\n")
    duck.run(settings(emulator))
    emulator.remove(emulator.files[-1])
    emulator.add("users", "2026-05-14-04", "user_id\n3\n")
    duck.pipeline.run(firstup(**settings(emulator)), refresh="drop_resources")
    assert [row["user_id"] for row in duck.rows("users")] == ["3"]


# Settings


def test_settings_from_the_configuration(
    emulator: Emulator, duck: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a caller leaves out comes from the configuration of dlt, objects as JSON."""
    emulator.add("users", "2026-05-14-00", "user_id,tenure\n1,5\n")
    for name, value in emulator.settings.items():
        monkeypatch.setenv(f"SOURCES__FIRSTUP__{name.upper()}", value)
    monkeypatch.setenv("SOURCES__FIRSTUP__COLUMN_TYPES", '{"users": {"tenure": "string"}}')
    monkeypatch.setenv("SOURCES__FIRSTUP__LOOKBACK_DAYS", "3")
    assert duck.run({}) == 1
    assert duck.state_of("users")["types"] == {"user_id": "string", "tenure": "string"}
    assert duck.state_of("users")["lookback_days"] == 3


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "no credentials: set client_id and client_secret"),
        ({"access_token": "hush-hush", "lookback_days": -1}, "lookback_days"),
        ({"access_token": "hush-hush", "column_types": {"other": {}}}, "column_types"),
        ({"access_token": "hush-hush", "start_date": "soon"}, "start_date"),
    ],
)
def test_wrong_settings(config: dict[str, Any], says: str) -> None:
    """They are reported with the setting's name, and no secret in the message."""
    with pytest.raises(SettingsError) as caught:
        firstup(**config)
    assert says in str(caught.value)
    assert "hush-hush" not in str(caught.value)


def test_secrets_stay_secret(
    emulator: Emulator,
    duck: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No file of a pipeline, and no log, has a credential or a presigned URL's query."""
    caplog.set_level(logging.DEBUG)
    emulator.add_generation(rows=10)
    with monkeypatch.context() as patch:
        for name, value in emulator.settings.items():
            patch.setenv(f"SOURCES__FIRSTUP__{name.upper()}", value)
        duck.run({})
    emulator.fail("download", status=404, times=None)
    emulator.add("users", "2026-05-16-00", "user_id\n1\n")
    with pytest.raises(PipelineStepFailed) as caught:
        duck.run(settings(emulator, max_retries=0))
    texts = [caplog.text, str(caught.value)]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            texts.append(
                (gzip.decompress(content) if path.suffix == ".gz" else content).decode("latin-1")
            )
    for text in texts:
        assert emulator.client_secret not in text
        assert "X-Amz-Signature" not in text
