"""Each row is loaded once, with its value, whatever happens between the runs and within them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.exports import TYPES, Firstup
from tests.folders import deliver, reading
from tests.loaders import expected, found
from tests.runs import run, settings, write

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator
    from tests.load.places import Place

pytestmark = pytest.mark.usefixtures("nowhere")

NOON = datetime(2026, 5, 14, 12, tzinfo=UTC)
ODD = 'a/b\'s \\ \t"c"\n\r\n, \\. 😀 NULL'


def values(place: Place, stream: str, *names: str, order: str = "") -> list[tuple[Any, ...]]:
    """The values of some columns, by file and row."""
    columns = ", ".join(f'"{name}"' for name in names)
    by = order or "_sdc_source_file, _sdc_source_lineno"
    found = place.query(f'select {columns} from {place.schema}."{stream}" order by {by}')  # noqa: S608
    return [tuple(row.values()) for row in found]


def assert_all_loaded(firstup: Firstup, place: Place) -> None:
    """Every row that Firstup has exported is loaded, and of each key the newest."""
    sent = dict(sorted(firstup.sent.items(), key=lambda item: item[1].generated_at))
    for stream, types in TYPES.items():
        there, wanted = found(stream, types, place), expected(sent, stream, types, place)
        assert dict(wanted.items() - there.items()) == {}
        assert dict(there.items() - wanted.items()) == {}
        kinds = {**types, "generated_at": "date-time", "_sdc_source_lineno": "integer"}
        for column, kind in place.columns(stream).items():
            assert kind == place.COLUMN_TYPES[kinds.get(column, "string")]


def test_ten_runs(emulator: Emulator, place: Place) -> None:
    """Whatever happens in ten runs, after each of them the tables are what the files say."""
    firstup = Firstup(emulator, seed=7)

    def load() -> int:
        rows = place.loaded(emulator)["rows"]
        assert_all_loaded(firstup, place)
        return int(rows)

    firstup.generate(0, rows=60, drop=["team", "device"])
    firstup.generate(4, rows=60, drop=["team", "device"])
    assert load()  # 1
    firstup.generate(8, rows=60, drop=["note"], drift=True)
    load()  # 2: new columns, one is gone, and values that do not fit
    assert load() == 0  # 3: nothing new
    firstup.generate(12, rows=1_000)
    damage = emulator.fail("download", corrupt_at=50, times=None, match=emulator.files[-1].key)
    assert place.try_to(emulator).exit_code == 1  # 4: one file is damaged
    damage.times = 0
    firstup.generate(16, rows=60)
    load()  # 5
    firstup.generate(20, rows=60, drop=["device"])
    load()  # 6
    # Late, of a generation that was there before, with people who are nowhere else.
    firstup.generate(10, rows=60, people=range(500, 520), streams=["users", "activities"])
    firstup.generate(10, file_name="001.csv", streams=["users"])  # older than what is loaded
    load()  # 7
    firstup.generate(24, rows=60, drift=True)
    firstup.generate(24, rows=60, drift=True, file_name="001.csv", people=range(700, 800))
    load()  # 8
    del emulator.files[:9]  # rows that Firstup no longer has stay
    load()  # 9
    firstup.generate(28, rows=60)
    load()  # 10


def test_values(emulator: Emulator, place: Place) -> None:
    """Each type's values are those of the file; an empty text is not null."""
    rows = (
        "user_id,content_id,opens,rating,seen,day,date,note\n"
        'u1,9223372036854775807,-9223372036854775808,0.1,true,2026-02-28,2026-05-14T12:00:00Z,""\n'
        "u2,0,,-123456789.012345,FALSE,0001-01-01,9999-12-31 23:59:59.999999,\n"
        f'u3,1,1,,,,0001-01-01T00:00:00Z,"{ODD.replace(chr(34), chr(34) * 2)}"\n'
    )
    types = {"opens": "integer", "content_id": "integer", "rating": "number", "seen": "boolean"}
    types |= {"day": "date", "date": "date-time", "note": "string"}
    emulator.add("activities", "2026-05-14-12", rows)
    place.loaded(emulator, column_types={"activities": types})
    text = values(place, "activities", "user_id", "content_id", "opens", "rating", "seen", "note")
    assert text == [
        ("u1", 2**63 - 1, -(2**63), 0.1, True, ""),
        ("u2", 0, None, -123456789.012345, False, None),
        ("u3", 1, 1, None, None, ODD),
    ]
    days = values(place, "activities", "day")
    assert days == [(date(2026, 2, 28),), (date(1, 1, 1),), (None,)]
    utc = "timezone('UTC', date)::text as date"
    times = place.query(f"select {utc} from {place.schema}.activities order by user_id")  # noqa: S608
    assert [row["date"] for row in times] == [
        "2026-05-14 12:00:00",
        "9999-12-31 23:59:59.999999",
        "0001-01-01 00:00:00",
    ]
    assert values(place, "activities", "generated_at", "_sdc_source_lineno")[0] == (NOON, 1)


def test_nothing_new(emulator: Emulator, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with nothing new asks for three lists, makes one query and writes nothing."""
    emulator.add_generation(rows=20)
    place.loaded(emulator)
    queries = []
    for module, name in (("postgres", "Postgres"), ("duck", "DuckDB")):
        for method in ("query", "find"):
            where = f"filetap.load.{module}.{name}.{method}"
            before = pytest.importorskip(f"filetap.load.{module}").__dict__[name].__dict__[method]

            def counted(self: Any, text: str, *more: Any, before: Any = before) -> Any:
                queries.append(text)
                return before(self, text, *more)

            monkeypatch.setattr(where, counted)
    asked, state = len(emulator.requests), place.state()
    queries.clear()
    assert place.loaded(emulator)["files"] == 0
    assert len(queries) == 1
    assert sorted(request.route for request in emulator.requests[asked:]) == [
        "list",
        "list",
        "list",
        "token",
    ]
    assert place.state() == state


def test_newer_rows_stay(emulator: Emulator, place: Place) -> None:
    """Neither a late file nor a historical order of arrival replaces a newer row by an older one.

    Of rows with one key in one file the last one counts.
    """
    emulator.add("users", "2026-05-14-12", "user_id,first_name\n1,new\n2,once\n2,twice\n")
    place.loaded(emulator)
    emulator.add("users", "2026-05-14-08", "user_id,first_name\n1,old\n3,late\n", file_name="1")
    place.loaded(emulator)
    emulator.add("users", "2026-05-14-12", "user_id,first_name\n3,same time\n", file_name="2")
    place.loaded(emulator)
    assert values(place, "users", "user_id", "first_name", order="user_id") == [
        ("1", "new"),
        ("2", "twice"),
        ("3", "same time"),
    ]
    emulator.add("users", "2026-05-14-16", "user_id,first_name\n1,newest\n", file_name="3")
    place.loaded(emulator)
    assert ("1", "newest") in values(place, "users", "user_id", "first_name")


def test_rows_of_something_else(emulator: Emulator, place: Place) -> None:
    """A row without a generation, which something else wrote, is older than any file's."""
    emulator.add("users", "2026-05-14-12", "user_id,first_name\n1,theirs\n")
    place.loaded(emulator)
    place.query(f"update {place.schema}.users set generated_at = null")  # noqa: S608 - ours
    emulator.add("users", "2026-05-14-16", "user_id,first_name\n1,ours\n2,new\n")
    place.loaded(emulator)
    rows = values(place, "users", "user_id", "first_name", order="user_id")
    assert rows == [("1", "ours"), ("2", "new")]


def test_historical_files(tmp_path: Path, place: Place) -> None:
    """A historical export adds what is missing, and replaces nothing that is newer."""
    deliver(tmp_path / "in", "users", "2026-05-14-12", "user_id,first_name\n1,new\n")
    place.loaded(reading(tmp_path / "in"))
    past = "user_id,first_name\n1,old\n2,past\n"
    deliver(tmp_path / "in", "users", "2025-01-01-00", past, export="historical")
    place.loaded(reading(tmp_path / "in"))
    assert values(place, "users", "user_id", "first_name", order="user_id") == [
        ("1", "new"),
        ("2", "past"),
    ]


def test_rows_without_a_key(tmp_path: Path, place: Place) -> None:
    """They are added, and replaced when their file is delivered again."""
    path = deliver(tmp_path / "in", "users", "2026-05-14-12", "user_id,first_name\n1,a\n,b\n,c\n")
    place.loaded(reading(tmp_path / "in"))
    assert [name for _, name in values(place, "users", "user_id", "first_name")] == ["a", "b", "c"]
    again = deliver(tmp_path / "in", "users", "2026-05-14-12", "user_id,first_name\n,d\n1,e\n")
    assert path == again
    place.loaded(reading(tmp_path / "in"))
    assert values(place, "users", "user_id", "first_name") == [(None, "d"), ("1", "e")]


def test_delivered_again(tmp_path: Path, place: Place) -> None:
    """A file's rows are replaced by those of its new version, even by an earlier one's."""
    source = reading(tmp_path / "in")
    for seen in (["1", "2"], ["3"], ["1", "2"]):
        lines = "".join(f"{name}\n" for name in seen)
        path = deliver(tmp_path / "in", "activities", "2026-05-14-12", "user_id\n" + lines)
        place.loaded(source)
        assert values(place, "activities", "user_id") == [(name,) for name in seen]
        assert list(place.ledger().values()) == [len(seen)]
    path.touch()
    assert place.loaded(source)["rows"] == 0
    assert place.count("activities") == 2
    assert list(place.ledger().values()) == [2]
    assert place.loaded(source)["files"] == 0


def test_delivered_again_with_more_columns(tmp_path: Path, place: Place) -> None:
    """A new version of a file may bring columns, at its beginning and later on."""
    source = {**reading(tmp_path / "in"), "column_types": {"activities": {"opens": "integer"}}}
    deliver(tmp_path / "in", "activities", "2026-05-14-12", "user_id\n1\n2\n")
    place.loaded(source)
    lines = "".join(f"{number},1\n" for number in range(150_000))
    deliver(tmp_path / "in", "activities", "2026-05-14-12", f"user_id,opens\n{lines}3,x\n")
    place.loaded(source)
    assert place.count("activities") == 150_001
    assert values(place, "activities", "opens__text")[-1] == ("x",)
    assert list(place.ledger().values()) == [150_001]


def test_many_rows_of_a_key(emulator: Emulator, place: Place) -> None:
    """Of any number of rows with one key the last one counts."""
    lines = "".join(f"{number // 20_000},{number}\n" for number in range(60_000))
    emulator.add("users", "2026-05-14-12", f"user_id,tenure\n{lines}")
    place.loaded(emulator)
    found = values(place, "users", "user_id", "tenure", order="user_id")
    assert found == [("0", 19_999), ("1", 39_999), ("2", 59_999)]


def test_keys_with_nul(emulator: Emulator, place: Place) -> None:
    """Two keys that are one without their NUL characters are one."""
    emulator.add("users", "2026-05-14-12", "user_id,tenure\na\0,1\na,2\n")
    place.loaded(emulator, "--replace-nul", "")
    assert values(place, "users", "user_id", "tenure") == [("a", 2)]


def test_malformed_rows(tmp_path: Path, place: Place) -> None:
    """They go to their own table, complete and once; without `divert` no row of a file is kept."""
    text = "user_id,opens\n1,1\n2\n3,3,3\n4,4\n"
    deliver(tmp_path / "in", "activities", "2026-05-14-12", text)
    failed = place.try_to(reading(tmp_path / "in"))
    assert failed.exit_code == 1
    assert "row 2" in failed.stderr
    assert place.count("activities") == 0
    assert place.ledger() == {}
    source = {**reading(tmp_path / "in"), "malformed_rows": "divert"}
    assert place.loaded(source)["streams"]["activities"]["diverted_rows"] == 2
    assert values(place, "activities", "user_id", "opens") == [("1", 1), ("4", 4)]
    aside = values(place, "activities_malformed", "raw", "_sdc_source_lineno", "generated_at")
    assert aside == [("2", 2, NOON), ("3,3,3", 3, NOON)]
    deliver(tmp_path / "in", "activities", "2026-05-14-12", text + "5\n")
    place.loaded(source)
    assert place.count("activities_malformed") == 3


def test_drift_within_a_file(emulator: Emulator, place: Place) -> None:
    """Columns that only the end of a long file needs are added before its rows."""
    lines = "".join(f"{i},{i},{'-' * 100}\n" for i in range(50_000))
    for stream in ("users", "activities"):
        emulator.add(stream, "2026-05-14-12", f"user_id,tenure,note\n{lines}x,late,\n", gzip=False)
    place.loaded(emulator)
    for stream in ("users", "activities"):
        where = f"from {place.schema}.{stream} where tenure__text is not null"
        assert place.query(f"select user_id, tenure, tenure__text {where}") == [
            {"user_id": "x", "tenure": None, "tenure__text": "late"}
        ]
        assert place.count(stream) == 50_001


def test_odd_names(emulator: Emulator, place: Place) -> None:
    """Long names, names of system columns and SQL's words are columns of their own."""
    long = "a" * 70
    names = [f"{long}x", f"{long}y", "ctid", "xmin", "rowid", "oid", "select", "äöü" * 20, "größe"]
    header = ",".join(["user_id", *names])
    for stream in ("users", "activities"):
        emulator.add(stream, "2026-05-14-12", f"{header}\nu,{','.join(names)}\n")
    place.loaded(emulator)
    emulator.add("activities", "2026-05-14-16", f"{header}\nv,{','.join(names)}\n")
    place.loaded(emulator)
    for stream in ("users", "activities"):
        there = place.columns(stream)
        assert {"select", "größe"} <= set(there)
        assert all(len(name.encode()) <= 63 for name in there)
        rows = place.query(f"select * from {place.schema}.{stream}")  # noqa: S608
        assert all(set(names) <= set(row.values()) for row in rows)


def test_state_moves(
    emulator: Emulator, place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A Singer run continues from the printed state, and `load` from a Singer state."""
    emulator.add_generation(rows=20)
    place.loaded(emulator)
    assert run(settings(emulator), place.state()).of("RECORD") == []
    emulator.add_generation(rows=20)
    done = run(settings(emulator), place.state())
    assert done.of("RECORD")
    place.loaded(emulator)
    for stream, state in place.state()["bookmarks"].items():
        own = done.state["bookmarks"][stream]
        assert {**state, "listed_on": ""} == {**own, "listed_on": ""}

    other = place.another("other")
    given = write(tmp_path, "state.json", done.state)
    assert other.loaded(emulator, "--state-from", given)["files"] == 0
    assert other.loaded(emulator)["files"] == 0
    assert other.state()["bookmarks"].keys() == done.state["bookmarks"].keys()
    emulator.add_generation(rows=20)
    assert other.loaded(emulator)["files"] > 0
    other.loaded(emulator, "--state-from", given)
    assert "the database has a state, so --state-from is not used" in caplog.text


def test_rest_of_a_file(emulator: Emulator, place: Place, tmp_path: Path) -> None:
    """Of a file that a Singer run was cut off in, only the rest is loaded."""
    file = emulator.add("activities", "2026-05-14-12", "user_id\n1\n2\n3\n")
    state = run(settings(emulator)).state
    (key,) = state["bookmarks"]["activities"]["finished"]
    bookmark = state["bookmarks"]["activities"]
    bookmark |= {"finished": [], "finished_at": {}, "in_progress": {"file": key, "rows": 2}}
    del bookmark["replication_key_value"]
    place.loaded(emulator, "--state-from", write(tmp_path, "state.json", state))
    assert values(place, "activities", "user_id") == [("3",)]
    assert file


def test_full_refresh(emulator: Emulator, place: Place) -> None:
    """Every available file is loaded again in place of its rows; other rows stay."""
    emulator.add("activities", "2026-05-14-08", "user_id\n1\n2\n")
    emulator.add("users", "2026-05-14-08", "user_id,first_name\n1,a\n,b\n")
    place.loaded(emulator)
    del emulator.files[:]
    emulator.add("activities", "2026-05-14-12", "user_id\n3\n")
    emulator.add("users", "2026-05-14-12", "user_id,first_name\n2,c\n,d\n")
    place.loaded(emulator)
    before = {s: values(place, s, "user_id", "_sdc_source_file") for s in ("activities", "users")}
    assert place.loaded(emulator, "--full-refresh")["files"] == 2
    after = {s: values(place, s, "user_id", "_sdc_source_file") for s in ("activities", "users")}
    assert after == before
    assert sorted(place.ledger().values()) == [1, 2, 2, 2]
    assert place.loaded(emulator)["files"] == 0


def test_schemas(emulator: Emulator, place: Place) -> None:
    """Without a schema the database chooses; a schema may have the DuckDB file's name."""
    emulator.add("users", "2026-05-14-12", "user_id\n1\n")
    for schema in ("", "loaded", 'odd "name"'):
        place.loaded(emulator, "--schema", schema)
        assert place.loaded(emulator, "--schema", schema)["files"] == 0
    found = place.query(
        "select table_schema as name from information_schema.tables where table_name = 'users'"
    )
    default = "main" if "duckdb" in place.to else "public"
    assert {default, "loaded", 'odd "name"'} <= {row["name"] for row in found}
    if default == "public":
        place.query("drop table public.users, public._firstup_files, public._firstup_state")
        place.query('drop schema loaded, "odd ""name""" cascade')


def test_case_of_a_schema(emulator: Emulator, place: Place) -> None:
    """To DuckDB, schemas that only case distinguishes are one; to PostgreSQL they are two."""
    names = [place.schema, place.schema.upper()]
    for hour, schema in enumerate(names, start=12):
        for stream in ("users", "activities"):
            emulator.add(stream, f"2026-05-14-{hour}", f"user_id\n{hour}\n")
        place.loaded(emulator, "--schema", schema)
    there = [place.query(f'select user_id from "{name}".users order by 1') for name in names]  # noqa: S608
    both = [{"user_id": "12"}, {"user_id": "13"}]
    assert there == ([both, both] if "duckdb" in place.to else [both[:1], both])


def test_long_schema(emulator: Emulator, place: Place) -> None:
    """PostgreSQL would cut a longer name, so that two schemas became one: it is refused."""
    emulator.add("users", "2026-05-14-12", "user_id\n1\n")
    assert place.loaded(emulator, "--schema", "ä" * 31)["files"] == 1
    refused = place.try_to(emulator, "--schema", "ä" * 32)
    assert refused.exit_code == 2
    assert "Invalid value for '--schema': a name has at most 63 bytes" in refused.stderr


def test_output(emulator: Emulator, place: Place) -> None:
    """The JSON counts what was loaded; as text a summary of each stream is logged."""
    emulator.add_generation(rows=20)
    made = place.loaded(emulator, "--stream", "users")
    assert list(made["streams"]) == ["users"]
    assert made["rows"] == made["streams"]["users"]["rows"] == place.count("users")
    assert made["files"] == len(place.ledger())
    assert made["seconds"] >= made["streams"]["users"]["seconds"] > 0
    done = place.try_to(emulator)
    assert done.stdout == ""
    assert json.dumps(made)
