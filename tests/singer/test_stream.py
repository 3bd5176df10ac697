"""Streams: each file exactly once, oldest first, with types that never change."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import logging
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from filetap.columns import sample
from filetap.errors import (
    AuthenticationError,
    ExportError,
    FileGoneError,
    FormatError,
    IntegrityError,
    StateError,
)
from filetap.settings import Tuning
from filetap.singer.stream import ExportStream
from tests.runs import Run, discover, run, settings, tune

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

STREAMS = ("activities", "campaigns", "users")


@pytest.fixture
def filled(emulator: Emulator) -> Emulator:
    """Six generations of two files per stream."""
    for _ in range(6):
        emulator.add_generation(rows=40, parts=2)
    return emulator


def users_csv(*rows: str, header: str = "User ID,Tenure") -> str:
    """A small users file."""
    return "\n".join((header, *rows, ""))


def test_every_row_of_every_file_once(filled: Emulator) -> None:
    """A first run emits every data row of every file, in the files' order, numbered from 1."""
    done = run(settings(filled))
    for stream in STREAMS:
        expected = []
        files = [f for f in filled.files if f.stream == stream]
        for file in sorted(files, key=lambda f: (f.generated_at, f.id)):
            text = gzip.decompress(file.body).decode()
            rows = list(csv.DictReader(io.StringIO(text, newline="")))
            expected += [(file.generated_at, file.file_name, i + 1) for i in range(len(rows))]
        got = [(*source.split("/")[:2], line) for source, line in done.rows(stream)]
        assert got == expected


def test_second_run_reads_nothing(filled: Emulator) -> None:
    """Nothing new: no record, three lists, no file; a new generation adds only its rows."""
    first = run(settings(filled))
    filled.forget()
    second = run(settings(filled), first.state)
    assert second.of("RECORD") == []
    assert {r: filled.count(r) for r in ("list", "show", "download", "latest")} == {
        "list": 3,
        "show": 0,
        "download": 0,
        "latest": 0,
    }
    assert second.state == first.state
    rows = filled.add_generation(rows=40, parts=2)
    third = run(settings(filled), second.state)
    assert {stream: len(third.records(stream)) for stream in STREAMS} == rows


def test_nothing_new_with_catalog(filled: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """With an input catalog too, a run with nothing new requests one list per stream."""
    catalog = discover(settings(filled), capsys)
    state = run(settings(filled), catalog=catalog).state
    filled.forget()
    assert run(settings(filled), state, catalog).of("RECORD") == []
    assert [r.route for r in filled.requests] == ["token", "list", "list", "list"]


def test_deselected_stream_is_not_asked_for(
    filled: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """A deselected stream costs no request and writes nothing."""
    catalog = discover(settings(filled), capsys)
    for entry in catalog["streams"]:
        for item in entry["metadata"]:
            if not item["breadcrumb"]:
                item["metadata"]["selected"] = entry["tap_stream_id"] == "users"
    filled.forget()
    done = run(settings(filled), catalog=catalog)
    assert {m["stream"] for m in done.of("RECORD") + done.of("SCHEMA")} == {"users"}
    assert filled.count("list") == 1


def test_state_after_each_file(filled: Emulator) -> None:
    """STATE follows the last record of each file and never calls a later one finished."""
    seen: set[str] = set()
    finished: set[str] = set()
    for message in run(settings(filled)).messages:
        if message["type"] == "RECORD":
            seen.add(message["record"]["_sdc_source_file"].rsplit("/", 1)[1])
        elif message["type"] == "STATE":
            bookmarks = message["value"]["bookmarks"].values()
            now = {key for b in bookmarks for key in b.get("finished", [])}
            assert now <= seen
            assert len(now - finished) <= 1
            finished = now
    assert len(finished) == 36


def test_state_shape(filled: Emulator) -> None:
    """The state is as documented: bookmark, finished keys, types, program."""
    bookmark = run(settings(filled)).state["bookmarks"]["users"]
    assert bookmark["replication_key"] == "generated_at"
    assert bookmark["replication_key_value"] == "2026-05-15T12:00:00Z"
    assert len(bookmark["finished"]) == 12
    assert all(len(key) == 12 for key in bookmark["finished"])
    assert bookmark["types"]["user_id"] == "string"
    assert bookmark["program_id"] == "23552"
    assert bookmark["in_progress"] == {"file": "", "rows": 0}


def test_late_file_and_second_part(emulator: Emulator) -> None:
    """A file that appears late, or as another part of a finished generation, is still read."""
    emulator.add("users", "2026-05-14-16", users_csv("1,1"), file_name="000.csv")
    state = run(settings(emulator)).state
    emulator.add("users", "2026-05-14-16", users_csv("2,1"), file_name="001.csv")
    emulator.add("users", "2026-05-10-16", users_csv("3,1"))
    emulator.add("users", "2026-04-01-16", users_csv("4,1"))
    late = run(settings(emulator), state)
    assert [r["user_id"] for r in late.records("users")] == ["3", "2"]
    assert late.state["bookmarks"]["users"]["replication_key_value"] == "2026-05-14T16:00:00Z"
    assert run(settings(emulator), late.state).of("RECORD") == []


def test_foreign_state(emulator: Emulator) -> None:
    """A state with only replication_key_value counts files up to and including it as read."""
    for hour in ("12", "16", "20"):
        emulator.add("users", f"2026-05-14-{hour}", users_csv(f"{hour},1"))
    state: dict[str, Any] = {
        "bookmarks": {
            "users": {
                "replication_key": "generated_at",
                "replication_key_value": "2026-05-14T16:00:00+00:00",
            }
        }
    }
    done = run(settings(emulator), state)
    assert [r["user_id"] for r in done.records("users")] == ["20"]
    assert run(settings(emulator), done.state).of("RECORD") == []


def test_start_date(emulator: Emulator) -> None:
    """Files generated before start_date are never read."""
    for day in ("10", "12", "14"):
        emulator.add("users", f"2026-05-{day}-00", users_csv(f"{day},1"))
    done = run(settings(emulator, start_date="2026-05-12T00:00:00Z"))
    assert [r["user_id"] for r in done.records("users")] == ["12", "14"]


def test_full_table(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Full-table reads every file again and activates no version."""
    emulator.add("users", "2026-05-14-16", users_csv("1,1", "2,2"))
    catalog = discover(settings(emulator), capsys)
    for entry in catalog["streams"]:
        entry["replication_method"] = "FULL_TABLE"
    state = run(settings(emulator)).state
    again = run(settings(emulator, emit_activate_version_messages=True), state, catalog)
    assert len(again.records("users")) == 2
    assert again.of("ACTIVATE_VERSION") == []
    assert all("version" not in m for m in again.of("RECORD"))


def test_in_progress(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a long file STATE records the position, and the next run resumes after it."""
    tune(monkeypatch, slice=100)
    emulator.add("users", "2026-05-14-16", users_csv(*(f"{i},1" for i in range(1, 1051))))
    done = run(settings(emulator))
    states = [m["value"]["bookmarks"].get("users") for m in done.of("STATE")]
    seen = [users["in_progress"] for users in states if users and users["in_progress"]["file"]]
    key = done.rows("users")[0][0].rsplit("/", 1)[1]
    assert seen[:3] == [{"file": key, "rows": n} for n in (100, 200, 300)]
    assert states[-1] is not None
    assert states[-1]["in_progress"] == {"file": "", "rows": 0}
    for number, message in enumerate(done.messages):
        if message["type"] != "STATE" or "users" not in message["value"]["bookmarks"]:
            continue
        users = message["value"]["bookmarks"]["users"]
        progress = users["in_progress"]
        before = sum(m["type"] == "RECORD" for m in done.messages[:number])
        assert before == (1050 if users["finished"] else progress["rows"])
        if progress["rows"] in {300, 1000}:
            rest = run(settings(emulator), message["value"])
            assert [n for _, n in rest.rows("users")] == list(range(progress["rows"] + 1, 1051))


@pytest.mark.parametrize("path", ["blocks", "records", "batches"])
def test_in_progress_before_growth(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str
) -> None:
    """A STATE that follows a SCHEMA within a file covers all rows emitted before that SCHEMA."""
    tune(monkeypatch, slice=100, block=1_000, whole=80, head=80)
    more: dict[str, Any] = {}
    if path == "records":
        monkeypatch.setattr(ExportStream, "writes_lines", property(lambda _: False))
    if path == "batches":
        storage = {"root": tmp_path.as_uri()}
        encoding = {"format": "parquet"}
        more = {"batch_config": {"encoding": encoding, "storage": storage, "batch_size": 30}}
    rows = [f"{n},{'x' if n == 350 else n}" for n in range(1, 401)]
    emulator.add("users", "2026-05-14-16", users_csv(*rows))
    messages = run(settings(emulator, **more)).messages
    of_users = [n for n, message in enumerate(messages) if message.get("stream") == "users"]
    _, grown = [n for n in of_users if messages[n]["type"] == "SCHEMA"]
    emitted = _rows_emitted(messages[:grown])
    assert 200 < emitted < 350
    after = messages[grown + 1]["value"]
    assert after["bookmarks"]["users"]["in_progress"]["rows"] == emitted
    rest = run(settings(emulator), after)
    assert [n for _, n in rest.rows("users")] == list(range(emitted + 1, 401))


def _rows_emitted(messages: Sequence[Any]) -> int:
    """Rows of users in RECORD messages and batch files."""
    files = [f for m in messages if m["type"] == "BATCH" for f in m["manifest"]]
    batches = [pl.read_parquet(f.removeprefix("file://")) for f in files]
    records = [m for m in messages if m["type"] == "RECORD"]
    return len(records) + sum(map(len, batches))


def test_in_progress_survives_another_file(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late file before the one that was cut off does not repeat that one's rows."""
    tune(monkeypatch, slice=10)
    emulator.add("users", "2026-05-14-16", users_csv(*(f"{i},1" for i in range(30))))
    states = [m["value"] for m in run(settings(emulator)).of("STATE")]
    state = next(s for s in states if s["bookmarks"].get("users", {}).get("partly_read"))
    emulator.add("users", "2026-05-14-12", users_csv(*(f"{i},1" for i in range(100, 130))))
    rest = run(settings(emulator), state)
    assert [r["user_id"] for r in rest.records("users")] == [
        *(str(i) for i in range(100, 130)),
        *(str(i) for i in range(10, 30)),
    ]


def _paths(
    emulator: Emulator, state: Any = None, catalog: Any = None, **more: Any
) -> tuple[Run, Run]:
    """The same run by blocks and through the SDK's records."""
    blocks = run(settings(emulator, **more), state, catalog)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExportStream, "writes_lines", property(lambda _: False))
        records = run(settings(emulator, **more), state, catalog)
    for message in blocks.messages + records.messages:
        message.pop("time_extracted", None)
    return blocks, records


def test_both_paths_agree(filled: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks and the SDK's record path write the same messages, SCHEMA and STATE included."""
    tune(monkeypatch, slice=16)
    filled.add(
        "users",
        "2026-05-20-00",
        users_csv("1,A1", '2,""', "3,7", header="user_id,priority_number,new")
        .replace("1,A1", "1,1.5,x")
        .replace('2,""', '2,"",')
        .replace("3,7", "3,-0.25,y"),
    )
    blocks, records = _paths(filled)
    assert blocks.messages == records.messages
    assert len(blocks.of("RECORD")) > 600


@pytest.mark.parametrize("whole", [Tuning().whole, 120])
def test_both_paths_agree_under_a_catalog(
    emulator: Emulator,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    whole: int,
) -> None:
    """So they do with a cached catalog: new columns, misfits and deselected ones included."""
    tune(monkeypatch, whole=whole)
    header = "User ID,Tenure,Shoe"
    emulator.add("users", "2026-05-14-12", users_csv("1,5,43", header=header))
    catalog = discover(settings(emulator), capsys)
    state = run(settings(emulator), catalog=catalog).state
    (users,) = [e for e in catalog["streams"] if e["tap_stream_id"] == "users"]
    users["metadata"] = [i for i in users["metadata"] if i["breadcrumb"][1:] != ["shoe"]] + [
        {"breadcrumb": ["properties", name], "metadata": {"selected": False}}
        for name in ("shoe", "secret")
    ]
    rows = [f"{n},{n},{n},{n},{n}" for n in range(200)]
    emulator.add("users", "2026-05-14-16", users_csv(*rows, header=f"{header},Secret,New"))
    rows += ["x,x,x,x,x", "y,00123,y,y,1.10"]
    emulator.add("users", "2026-05-14-20", users_csv(*rows, header=f"{header},Secret,New"))
    blocks, records = _paths(emulator, state, catalog)
    assert blocks.messages == records.messages
    last = blocks.records("users")[-1]
    texts = {"tenure__text": "00123", "new__text": "1.10"} if whole == 120 else {"new": "1.10"}
    assert texts.items() <= last.items()
    assert not {"shoe", "shoe__text", "secret", "secret__text"} & set(last)
    schemas = [set(m["schema"]["properties"]) for m in blocks.of("SCHEMA")]
    assert set(last) in schemas
    assert not any({"shoe", "secret"} & properties for properties in schemas)
    told = {r.getMessage() for r in caplog.records if "catalog lacks" in r.getMessage()}
    assert told == {"users: columns that the catalog lacks are added: new"}


def test_flattening_and_maps_use_the_sdk(filled: Emulator) -> None:
    """With a stream map records are mapped, renamed and counted as before."""
    maps = {"users": {"who": "user_id", "user_id": "user_id", "__else__": None}}
    done = run(settings(filled, stream_maps=maps))
    assert {tuple(sorted(r)) for r in done.records("users")} == {("user_id", "who")}
    assert len(done.records("users")) == len(run(settings(filled)).records("users"))


def test_added_columns(emulator: Emulator) -> None:
    """Every record states when its file was generated, its file and its row."""
    emulator.add("users", "2026-05-14-16", users_csv("1,5"), file_id="opaque/id=")
    (record,) = run(settings(emulator)).records("users")
    key = hashlib.sha256(b"opaque/id=").hexdigest()[:12]
    assert record == {
        "user_id": "1",
        "tenure": 5,
        "generated_at": "2026-05-14T16:00:00Z",
        "_sdc_source_file": f"2026-05-14-16/000.csv/{key}",
        "_sdc_source_lineno": 1,
    }


def test_types_are_pinned(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """A value that does not fit a type that was emitted moves to an added text column."""
    emulator.add("users", "2026-05-14-16", users_csv("1,5", "2,7"))
    first = run(settings(emulator))
    assert first.state["bookmarks"]["users"]["types"] == {"user_id": "string", "tenure": "integer"}
    emulator.add("users", "2026-05-14-20", users_csv("3,00123", "4,A123", "5,9", "6,"))
    with caplog.at_level(logging.WARNING):
        second = run(settings(emulator), first.state)
    assert [(r["tenure"], r["tenure__text"]) for r in second.records("users")] == [
        (None, "00123"),
        (None, "A123"),
        (9, None),
        (None, None),
    ]
    assert second.schema("users")["schema"]["properties"]["tenure"]["type"] == ["integer", "null"]
    assert second.state["bookmarks"]["users"]["types"]["tenure__text"] == "string"
    assert "2 values in tenure are not integer" in caplog.text
    # The misfit column remains, null, and the SCHEMA has it from the start of the next run.
    emulator.add("users", "2026-05-15-00", users_csv("7,1"))
    third = run(settings(emulator), second.state)
    assert len([m for m in third.of("SCHEMA") if m["stream"] == "users"]) == 1
    assert third.records("users")[0]["tenure__text"] is None


def test_one_schema_for_all_pending_files(emulator: Emulator) -> None:
    """Columns and types are determined from all pending files before the first SCHEMA."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    emulator.add("users", "2026-05-14-16", users_csv("2,A,x", header="User ID,Tenure,Shoe Size"))
    done = run(settings(emulator))
    (schema,) = [m for m in done.of("SCHEMA") if m["stream"] == "users"]
    assert schema["schema"]["properties"]["tenure"]["type"] == ["string", "null"]
    assert [r["shoe_size"] for r in done.records("users")] == [None, "x"]


def test_catalog_that_lacks_a_column(
    emulator: Emulator, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """With a cached catalog a new column is added with a warning; a deselected one is not."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    catalog = discover(settings(emulator), capsys)
    state = run(settings(emulator), catalog=catalog).state
    (users,) = [e for e in catalog["streams"] if e["tap_stream_id"] == "users"]
    users["metadata"].append(
        {"breadcrumb": ["properties", "secret"], "metadata": {"selected": False}}
    )
    header = "User ID,Tenure,Shoe,Secret"
    emulator.add("users", "2026-05-14-16", users_csv("2,6,43,s", header=header))
    with caplog.at_level(logging.WARNING):
        done = run(settings(emulator), state, catalog)
    (record,) = done.records("users")
    assert record["shoe"] == 43
    assert "secret" not in record
    assert set(done.schema("users")["schema"]["properties"]) == set(record)
    assert "catalog lacks" in caplog.text
    assert "shoe" in caplog.text


def test_deselected_column(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """A deselected column is in neither SCHEMA nor RECORD; keys stay."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    catalog = discover(settings(emulator), capsys)
    for entry in catalog["streams"]:
        for item in entry["metadata"]:
            if item["breadcrumb"] and item["breadcrumb"][1] in {"tenure", "user_id"}:
                item["metadata"]["selected"] = False
    done = run(settings(emulator), catalog=catalog)
    (record,) = done.records("users")
    assert "tenure" not in record
    assert record["user_id"] == "1"
    assert "tenure" not in done.schema("users")["schema"]["properties"]


def test_column_types_and_keys_from_settings(emulator: Emulator) -> None:
    """column_types overrides inference; primary_keys replaces the key, which remains text."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5,7", header="User ID,Tenure,Badge"))
    done = run(
        settings(
            emulator,
            column_types={"users": {"tenure": "string"}},
            primary_keys={"users": ["badge", "user_id"]},
        )
    )
    assert done.records("users")[0]["tenure"] == "5"
    assert done.records("users")[0]["badge"] == "7"
    assert done.schema("users")["key_properties"] == ["badge", "user_id"]


def test_key_fallback(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless each file has the key's column, the row's position is the key, with a warning."""
    emulator.add("users", "2026-05-14-12", "First Name,tenure\nA,1\n")
    catalog = discover(settings(emulator), capsys)
    emulator.add("users", "2026-05-14-16", users_csv("1,5"))
    with caplog.at_level(logging.WARNING):
        done = run(settings(emulator))
    assert done.schema("users")["key_properties"] == ["_sdc_source_file", "_sdc_source_lineno"]
    assert "key column user_id is not in every file" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        under = run(settings(emulator), catalog=catalog).schema("users")
    assert under["key_properties"] == done.schema("users")["key_properties"]
    assert "the key is _sdc_source_file, _sdc_source_lineno, as in the catalog" in caplog.text


def test_keys_in_one_file(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """Rows of a file that share a key, or have none, are logged with count, key and setting."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5", "1,6", "1,7", "2,9", ",8"))
    with caplog.at_level(logging.WARNING):
        done = run(settings(emulator))
    assert len(done.records("users")) == 5
    assert "2 of the 5 rows compared have the key of another row (user_id)" in caplog.text
    assert "1 of the 5 rows compared has no key (user_id)" in caplog.text
    assert "set primary_keys" in caplog.text
    caplog.clear()
    run(settings(emulator, primary_keys={"users": ["generated_at"]}))
    assert "4 of the 5 rows compared have the key of another row (generated_at)" in caplog.text
    caplog.clear()
    for keys in (["tenure"], ["generated_at", "tenure"]):
        run(settings(emulator, primary_keys={"users": keys}))
    assert "of another row" not in caplog.text


def test_pinned_key_falls_back(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """A key column that was emitted as a number cannot be the key: a misfit would be null."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    state = run(settings(emulator)).state
    emulator.add("users", "2026-05-14-16", users_csv("2,A1"))
    with caplog.at_level(logging.WARNING):
        done = run(settings(emulator, primary_keys={"users": ["tenure"]}), state)
    assert done.schema("users")["key_properties"] == ["_sdc_source_file", "_sdc_source_lineno"]
    assert done.records("users")[0]["tenure__text"] == "A1"
    assert "tenure is not text in the database" in caplog.text


def test_setting_against_a_pin(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """column_types overrides a type that was emitted, but not without a warning."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    state = run(settings(emulator)).state
    with caplog.at_level(logging.WARNING):
        done = run(settings(emulator, column_types={"users": {"Tenure": "string"}}), state)
    assert done.schema("users")["schema"]["properties"]["tenure"]["type"] == ["string", "null"]
    assert "tenure string; it was emitted as integer" in caplog.text


def test_whole_state_message(emulator: Emulator) -> None:
    """A state file may hold the value of a STATE message, or the whole message."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    state = run(settings(emulator)).of("STATE")[-1]
    assert run(settings(emulator), state).of("RECORD") == []


def test_full_table_in_metadata(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """The catalog's metadata may select full-table too."""
    emulator.add("users", "2026-05-14-16", users_csv("1,1"))
    catalog = discover(settings(emulator), capsys)
    for entry in catalog["streams"]:
        del entry["replication_method"]
        root = next(item for item in entry["metadata"] if not item["breadcrumb"])
        root["metadata"]["replication-method"] = "FULL_TABLE"
    state = run(settings(emulator)).state
    assert len(run(settings(emulator), state, catalog).records("users")) == 1


def test_misfits_in_the_first_schema(emulator: Emulator) -> None:
    """A misfit of a pinned type that sampling sees is in the only SCHEMA."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    state = run(settings(emulator)).state
    emulator.add("users", "2026-05-14-16", users_csv("2,7", "3,x"))
    done = run(settings(emulator), state)
    (schema,) = [m for m in done.of("SCHEMA") if m["stream"] == "users"]
    assert "tenure__text" in schema["schema"]["properties"]


@pytest.mark.parametrize("known", ["known before", "met later"])
def test_map_holds_for_misfits(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, known: str
) -> None:
    """A column that a map removes does not return through its misfits."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    state = run(settings(emulator)).state
    emulator.add("users", "2026-05-14-16", users_csv("2,classified"))
    if known == "met later":
        monkeypatch.setattr(sample, "misfitting", lambda *_: frozenset())
    done = run(settings(emulator, stream_maps={"users": {"tenure": None}}), state)
    assert done.records("users")
    assert "classified" not in json.dumps(done.messages)


def test_identity_map_keeps_misfits(emulator: Emulator) -> None:
    """A map that leaves a column unchanged keeps its misfits."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    state = run(settings(emulator)).state
    emulator.add("users", "2026-05-14-16", users_csv("2,00123"))
    done = run(settings(emulator, stream_maps={"users": {"tenure": "tenure"}}), state)
    assert [r["tenure__text"] for r in done.records("users")] == ["00123"]


@pytest.mark.parametrize("whole", [Tuning().whole, 80])
@pytest.mark.parametrize("path", ["blocks", "records"])
def test_deselected_misfits(  # noqa: PLR0917 - fixtures
    emulator: Emulator,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    whole: int,
    path: str,
) -> None:
    """A misfit column that a catalog deselects is in no SCHEMA and no record, as is logged."""
    tune(monkeypatch, whole=whole)
    if path == "records":
        monkeypatch.setattr(ExportStream, "writes_lines", property(lambda _: False))
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    catalog = discover(settings(emulator), capsys)
    state = run(settings(emulator), catalog=catalog).state
    (users,) = [e for e in catalog["streams"] if e["tap_stream_id"] == "users"]
    users["metadata"].append(
        {"breadcrumb": ["properties", "tenure__text"], "metadata": {"selected": False}}
    )
    emulator.add("users", "2026-05-14-16", users_csv(*(f"{n},{n}" for n in range(99)), "99,x"))
    with caplog.at_level(logging.WARNING):
        done = run(settings(emulator), state, catalog)
    (schema,) = [m for m in done.of("SCHEMA") if m["stream"] == "users"]
    assert {*schema["schema"]["properties"]} == {key for r in done.records("users") for key in r}
    assert "tenure__text" not in json.dumps(done.messages)
    assert "1 value in tenure is not integer; left out" in caplog.text


def test_map_into_another_stream(emulator: Emulator) -> None:
    """A map that derives another stream from this one removes nothing from this one."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    state = run(settings(emulator)).state
    emulator.add("users", "2026-05-14-16", users_csv("2,A1"))
    maps = {"staff": {"__source__": "users", "tenure": None}}
    done = run(settings(emulator, stream_maps=maps), state)
    assert done.records("users")[0]["tenure__text"] == "A1"
    assert "tenure" not in done.records("staff")[0]


def test_map_under_a_minimal_catalog(emulator: Emulator) -> None:
    """A map's columns need not be in the input catalog."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    catalog = {
        "streams": [
            {
                "tap_stream_id": "users",
                "schema": {"properties": {}},
                "metadata": [{"breadcrumb": [], "metadata": {"selected": True}}],
            }
        ]
    }
    maps = {"users": {"twice": "int(tenure) * 2", "__key_properties__": ["user_id"]}}
    done = run(settings(emulator, stream_maps=maps), catalog=catalog)
    assert done.records("users")[0]["twice"] == 10


def test_names_without_values(emulator: Emulator) -> None:
    """A column without values has the type that its name implies, in any stream."""
    emulator.add("users", "2026-05-14-12", "user_id,hired_at,likes,for_you,shoe\n1,,,,\n")
    properties = run(settings(emulator)).schema("users")["schema"]["properties"]
    assert properties["hired_at"].get("format") == "date-time"
    assert properties["likes"]["type"] == ["integer", "null"]
    assert properties["for_you"]["type"] == ["boolean", "null"]
    assert properties["shoe"]["type"] == ["string", "null"]


def test_cut_off_file_that_is_gone(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """The rest of a file that left the list while half read is reported as lost."""
    bookmark = {"replication_key_value": "2026-05-14T16:00:00Z", "finished": []}
    bookmark["in_progress"] = {"file": "beb083c11d1f", "rows": 3}  # type: ignore[assignment]
    with caplog.at_level(logging.WARNING):
        run(settings(emulator), {"bookmarks": {"users": bookmark}})
    assert "beb083c11d1f, of which 3 rows were read, has disappeared from the list" in caplog.text


def test_cut_off_file_that_is_left_out(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A half-read file that the settings leave out from now on is reported, once."""
    file = emulator.add("users", "2026-05-14-12", "user_id\n1\n2\n")
    key = hashlib.sha256(file.id.encode()).hexdigest()[:12]
    bookmark = {"replication_key_value": "2026-05-14T16:00:00Z", "finished": []}
    bookmark["in_progress"] = {"file": key, "rows": 1}  # type: ignore[assignment]
    state = {"bookmarks": {"users": bookmark}}
    with caplog.at_level(logging.WARNING):
        done = run(settings(emulator, start_date="2026-05-14T14:00:00Z"), state)
        assert f"file {key}, of which 1 row was read, is left out by" in caplog.text
        caplog.clear()
        run(settings(emulator, start_date="2026-05-14T14:00:00Z"), done.state)
    assert "is left out" not in caplog.text
    assert [r["user_id"] for r in run(settings(emulator), done.state).records("users")] == ["2"]


@pytest.mark.parametrize("content", ["", "\n\n", "User ID,Tenure\n", "User ID,Tenure"])
def test_file_without_rows(emulator: Emulator, content: str) -> None:
    """A header-only, empty or zero-byte file is a finished file without rows."""
    emulator.add("users", "2026-05-14-12", content, gzip=bool(content))
    done = run(settings(emulator))
    assert done.of("RECORD") == []
    assert len(done.state["bookmarks"]["users"]["finished"]) == 1
    assert run(settings(emulator), done.state).of("RECORD") == []


def test_empty_account(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """No files are no error: discovery prints the documented columns, a run their SCHEMA."""
    catalog = discover(settings(emulator), capsys)
    assert sorted(e["tap_stream_id"] for e in catalog["streams"]) == sorted(STREAMS)
    (users,) = [e for e in catalog["streams"] if e["tap_stream_id"] == "users"]
    properties = users["schema"]["properties"]
    assert properties["attribute_hire_date"]["format"] == "date-time"
    assert properties["profile_zip"]["type"] == ["string", "null"]
    done = run(settings(emulator))
    assert done.of("RECORD") == []
    assert len(done.of("SCHEMA")) == 3


@pytest.mark.parametrize("start_date", [None, "2026-05-14T16:00:00Z"])
def test_run_before_the_first_file(emulator: Emulator, start_date: str | None) -> None:
    """Without a file to infer from, no type is fixed that a file could contradict."""
    emulator.add("campaigns", "2026-05-14-12", "Campaign ID,Priority\n1,high\n")
    config = settings(emulator, start_date=start_date)
    first = run(config)
    assert first.schema("users")["key_properties"] == ["user_id"]
    assert set(first.state["bookmarks"]["users"]["types"].values()) == {"string"}
    emulator.add(
        "users", "2026-05-14-16", users_csv("1,2020-01-04", header="User ID,Registered Date")
    )
    emulator.add("campaigns", "2026-05-14-16", "Campaign ID,Priority\n1,high\n")
    second = run(config, first.state)
    types = {stream: second.state["bookmarks"][stream]["types"] for stream in STREAMS}
    assert types["users"]["registered_date"] == "date"
    assert types["campaigns"]["priority"] == "string"
    for stream in STREAMS:
        before = first.state["bookmarks"][stream]["types"]
        assert before.items() <= types[stream].items()


def test_key_stays_text(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """column_types does not change the type of a key, emitted or not."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    config = settings(emulator, column_types={"users": {"User ID": "integer"}})
    first = run(config)
    emulator.add("users", "2026-05-14-16", users_csv("2,5"))
    for done in (first, run(config, first.state)):
        assert done.schema("users")["key_properties"] == ["user_id"]
        types = done.state["bookmarks"]["users"]["types"]
        assert types == {"user_id": "string", "tenure": "integer"}
    assert caplog.text.count("user_id is a key and stays a string") == 2


def test_good_files_go_out_before_a_bad_one(emulator: Emulator) -> None:
    """A file that cannot be read stops the run at its turn, not before; a rerun resumes there."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    emulator.add("users", "2026-05-14-16", users_csv("2,5", "3"))
    emulator.add("users", "2026-05-14-20", users_csv("4,5"))
    with pytest.raises(FormatError, match=r"2026-05-14-16/000\.csv/\w+: row 2: 1 cells") as caught:
        run(settings(emulator))
    done: Run = caught.value.run  # type: ignore[attr-defined]
    assert next(r["user_id"] for r in done.records("users")) == "1"
    assert len(done.state["bookmarks"]["users"]["finished"]) == 1


BAD_ROWS = ("1,5", "2", '"3",6', '4,"x"y', "5,6,7", "", '"6\n",7', "7,8")


def test_malformed_rows(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """With divert, a row that cannot be read is emitted verbatim, and every other one as usual."""
    file = emulator.add("users", "2026-05-14-12", users_csv(*BAD_ROWS))
    config = settings(emulator, malformed_rows="divert")
    with caplog.at_level(logging.WARNING):
        done = run(config)
    key = hashlib.sha256(file.id.encode()).hexdigest()[:12]
    place = {
        "generated_at": "2026-05-14T12:00:00Z",
        "_sdc_source_file": f"2026-05-14-12/000.csv/{key}",
    }
    assert done.records("users_malformed") == [
        {**place, "_sdc_source_lineno": number, "raw": raw, "reason": reason}
        for number, raw, reason in (
            (2, "2", "1 cells instead of 2"),
            (4, '4,"x"y', "text follows a closing quote"),
            (5, "5,6,7", "3 cells instead of 2"),
        )
    ]
    assert done.records("users") == [
        {**place, "_sdc_source_lineno": number, "user_id": user_id, "tenure": tenure}
        for number, user_id, tenure in ((1, "1", 5), (3, "3", 6), (6, "6\n", 7), (7, "7", 8))
    ]
    schema = done.schema("users_malformed")
    assert schema["key_properties"] == ["_sdc_source_file", "_sdc_source_lineno"]
    assert set(schema["schema"]["properties"]) == {*place, "_sdc_source_lineno", "raw", "reason"}
    assert done.messages.index(schema) < done.messages.index(
        next(m for m in done.of("RECORD") if m["stream"] == "users_malformed")
    )
    assert set(done.state["bookmarks"]) == set(STREAMS)
    assert "3 rows cannot be read; kept as text in users_malformed" in caplog.text
    assert run(config, done.state).of("RECORD") == []


def test_malformed_rows_fail(emulator: Emulator) -> None:
    """Without divert, such a row ends the run, and nothing of its file is marked finished."""
    emulator.add("users", "2026-05-14-12", users_csv(*BAD_ROWS))
    says = r"row 2: 1 cells instead of 2; .*malformed_rows"
    with pytest.raises(FormatError, match=says) as caught:
        run(settings(emulator))
    done: Run = caught.value.run  # type: ignore[attr-defined]
    assert done.state["bookmarks"]["users"]["finished"] == []
    assert done.records("users") == done.records("users_malformed") == []


def test_malformed_rows_by_the_sdk(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The SDK's path, BATCH and a run that resumes in the file divert the same rows."""
    tune(monkeypatch, slice=3)
    emulator.add("users", "2026-05-14-12", users_csv(*(BAD_ROWS * 4)))
    blocks, records = _paths(emulator, malformed_rows="divert")
    assert blocks.messages == records.messages
    whole = {"encoding": {"format": "jsonl"}, "storage": {"root": tmp_path.as_uri()}}
    batch = run(settings(emulator, malformed_rows="divert", batch_config=whole))
    assert batch.records("users_malformed") == blocks.records("users_malformed")
    every = sorted(blocks.rows("users") + blocks.rows("users_malformed"))
    assert [number for _, number in every] == list(range(1, 29))
    for number, message in enumerate(blocks.messages):
        if message["type"] == "STATE" and "users" in message["value"]["bookmarks"]:
            before = Run(blocks.messages[: number + 1])
            after = run(settings(emulator, malformed_rows="divert"), message["value"])
            both = [r for d in (before, after) for r in d.rows("users") + d.rows("users_malformed")]
            assert sorted(both) == every


def test_malformed_rows_are_mapped(emulator: Emulator) -> None:
    """A stream map applies to diverted rows too: their text can be removed."""
    emulator.add("users", "2026-05-14-12", users_csv(*BAD_ROWS))
    maps = {"users_malformed": {"raw": None}}
    done = run(settings(emulator, malformed_rows="divert", stream_maps=maps))
    assert [set(r) & {"raw", "reason"} for r in done.records("users_malformed")] == [{"reason"}] * 3
    assert "raw" not in done.schema("users_malformed")["schema"]["properties"]


def test_malformed_rows_and_types(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types are inferred from readable rows, and from complete ones of a large file's beginning."""
    rows = [f"{n},{n}.5" for n in range(1000, 4000)]
    rows[5] = "x,y,z"
    emulator.add("users", "2026-05-14-12", users_csv(*rows))
    for whole in (4 << 20, 9000, 9001, 9002, 9003):
        tune(monkeypatch, whole=whole)
        done = run(settings(emulator, malformed_rows="divert"))
        assert done.state["bookmarks"]["users"]["types"]["tenure"] == "number"
        assert len(done.records("users")) == 2999


@pytest.mark.parametrize(
    ("break_it", "error", "says"),
    [
        (lambda e, f: setattr(f, "gone", True), FileGoneError, "expired between list and download"),
        (lambda e, f: setattr(f, "size_bytes", 7), IntegrityError, "instead of 7"),
        (lambda e, f: setattr(f, "checksum", "AAAAAAAAAAA="), IntegrityError, "CRC64NVME"),
        (lambda e, f: setattr(e, "scope", ""), AuthenticationError, "data_exports.read"),
        (lambda e, f: setattr(e, "client_secret", "other"), AuthenticationError, "client_secret"),
    ],
)
def test_nothing_unproven_goes_out(
    emulator: Emulator, break_it: Any, error: type[Exception], says: str
) -> None:
    """A file that is gone, damaged or refused is an error that says so; no record is emitted."""
    file = emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    config = settings(emulator)
    break_it(emulator, file)
    with pytest.raises(error, match=says) as caught:
        run(config)
    done: Run = caught.value.run  # type: ignore[attr-defined]
    assert done.of("RECORD") == []
    assert "finished" not in json.dumps(done.state)


@pytest.mark.parametrize(
    "bookmark",
    [
        {"types": {"tenure": ["integer", "null"]}},
        {"types": {"tenure": {"type": "integer"}}},
        {"types": {"tenure": "decimal"}},
        {"types": ["tenure"]},
    ],
)
def test_types_that_are_none(emulator: Emulator, bookmark: dict[str, Any]) -> None:
    """A state whose types cannot be read is an error that says so."""
    with pytest.raises(StateError, match="users: the state's types cannot be read"):
        run(settings(emulator), {"bookmarks": {"users": bookmark}})


def test_types_of_added_columns(emulator: Emulator) -> None:
    """A state cannot give the tap's own columns another type."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    odd = {"bookmarks": {"users": {"types": {"generated_at": "integer"}}}}
    assert run(settings(emulator), odd).records("users") == run(settings(emulator)).records("users")


def test_finished_alone(emulator: Emulator) -> None:
    """A file whose key is in finished is not read, even if the state has nothing else."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    finished = run(settings(emulator)).state["bookmarks"]["users"]["finished"]
    done = run(settings(emulator), {"bookmarks": {"users": {"finished": finished}}})
    assert done.records("users") == []
    emulator.add("users", "2026-05-14-16", users_csv("2,5"))
    assert [r["user_id"] for r in run(settings(emulator), done.state).records("users")] == ["2"]


def test_settings_that_are_null(emulator: Emulator) -> None:
    """A null setting has its default."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    names = ("lookback_days", "request_timeout", "max_retries", "stream_maps", "malformed_rows")
    done = run(settings(emulator, **dict.fromkeys(names)))
    assert done.rows("users") == run(settings(emulator)).rows("users")


@pytest.mark.parametrize("keys", [["user_id", "User ID"], ["tenure", "tenure"]])
def test_key_named_twice(emulator: Emulator, keys: list[str]) -> None:
    """A key column that is listed twice counts once."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    done = run(settings(emulator, primary_keys={"users": keys}))
    assert len(done.schema("users")["key_properties"]) == 1


@pytest.mark.parametrize("odd", [True, None, "integer", {"type": 5}, {"type": ["integer", 5]}])
def test_odd_catalog(emulator: Emulator, capsys: pytest.CaptureFixture[str], odd: object) -> None:
    """A column that a catalog describes in an unknown way is text, or an error."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    catalog = discover(settings(emulator), capsys)
    (users,) = [e for e in catalog["streams"] if e["tap_stream_id"] == "users"]
    users["schema"]["properties"]["tenure"] = odd
    if isinstance(odd, dict):
        assert run(settings(emulator), catalog=catalog).records("users")[0]["tenure"] == "5"
    else:
        with pytest.raises(ExportError, match="tenure is not described by an object"):
            run(settings(emulator), catalog=catalog)


def test_another_program_is_refused(emulator: Emulator) -> None:
    """A run does not resume from another program's state."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    state = run(settings(emulator)).state
    emulator.program_id = "7"
    with pytest.raises(StateError, match="program 23552, but the files belong to 7"):
        run(settings(emulator), state)


def test_column_type_of_no_column(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """A misspelt column in column_types is reported."""
    emulator.add("users", "2026-05-14-12", users_csv("1,5"))
    types = {"users": {"tenur": "string", "Tenure": "string"}}
    assert run(settings(emulator, column_types=types)).records("users")[0]["tenure"] == "5"
    assert "column_types names columns that do not exist: tenur" in caplog.text


def test_longer_lookback(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """Files that a shorter lookback dropped are read again with a longer one, with a warning."""
    emulator.add("users", "2026-05-10-00", "user_id\n1\n")
    emulator.add("users", "2026-05-14-00", "user_id\n1\n")
    state = run(settings(emulator, lookback_days=1)).state
    caplog.clear()
    assert run(settings(emulator, lookback_days=1), state).records("users") == []
    assert "lookback_days" not in caplog.text
    assert len(run(settings(emulator), state).records("users")) == 1
    assert "users: lookback_days was 1 and is 14" in caplog.text


@pytest.mark.parametrize(
    ("method", "again", "told"),
    [
        ("INCREMENTAL", 0, False),
        ("incremental", 0, True),
        ("LOG_BASED", 0, True),
        ("FULL_TABLE", 1, False),
        ("full_table", 1, True),
    ],
)
def test_replication_methods(
    emulator: Emulator,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    *,
    method: str,
    again: int,
    told: bool,
) -> None:
    """Only FULL_TABLE in a catalog selects it; other values are reported."""
    emulator.add("users", "2026-05-14-00", "user_id\n1\n")
    catalog = discover(settings(emulator), capsys)
    for entry in catalog["streams"]:
        entry["replication_method"] = method
    state = run(settings(emulator), None, catalog).state
    assert len(run(settings(emulator), state, catalog).records("users")) == again
    assert (f"the replication method {method} is treated as" in caplog.text) == told


def test_discovery_passes_over_empty_files(
    emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns are those of the newest file that has any, so that they can be deselected."""
    emulator.add("users", "2026-05-14-00", "user_id,attribute_salary\n1,5\n")
    emulator.add("users", "2026-05-14-04", "")
    (users,) = (
        entry
        for entry in discover(settings(emulator), capsys)["streams"]
        if entry["tap_stream_id"] == "users"
    )
    assert "attribute_salary" in users["schema"]["properties"]


def test_map_keeps_later_columns_out(emulator: Emulator) -> None:
    """A map excludes a column that no catalog or earlier file has; or all but some columns."""
    emulator.add("users", "2026-05-14-00", "user_id,tenure\n1,5\n")
    maps = {"users": {"attribute_salary": None}}
    only = {"users": {"user_id": "user_id", "__else__": None}}
    first = run(settings(emulator, stream_maps=maps)).state
    emulator.add("users", "2026-05-14-04", "user_id,tenure,attribute_salary\n1,5,95000\n")
    (row,) = run(settings(emulator, stream_maps=maps), first).records("users")
    assert "attribute_salary" not in row
    assert row["tenure"] == 5
    (row,) = run(settings(emulator, stream_maps=only), first).records("users")
    assert set(row) == {"user_id"}


def test_shadowed_settings(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """Credentials that have no effect beside others are reported."""
    run(settings(emulator, access_token=emulator.issue_token()))
    assert "access_token is set, so client_secret has no effect" in caplog.text


@pytest.mark.parametrize(
    "bookmark",
    [
        {"finished": "1126d2031d6f"},
        {"finished": False},
        {"in_progress": {"file": "1126d2031d6f", "rows": -1}},
        {"in_progress": {"file": "1126d2031d6f", "rows": 1.5}},
        {"in_progress": {"file": "1126d2031d6f", "rows": 100}, "lost": ["a"], "finished": []},
    ],
)
def test_odd_states(emulator: Emulator, bookmark: dict[str, Any]) -> None:
    """A state that is not one is an error with a message, not missing rows."""
    file = emulator.add("users", "2026-05-14-00", "user_id\n1\n")
    key = hashlib.sha256(file.id.encode()).hexdigest()[:12]
    text = json.dumps(bookmark).replace("1126d2031d6f", key)
    with pytest.raises(StateError):
        run(settings(emulator), {"bookmarks": {"users": json.loads(text)}})


@pytest.mark.parametrize(
    "entry",
    [{}, "users", {"tap_stream_id": "users", "schema": {"properties": []}}, {"schema": {}}],
)
def test_catalog_entries_that_are_none(emulator: Emulator, entry: object) -> None:
    """An entry that is not a stream's is an error with a message."""
    with pytest.raises(ExportError, match="the catalog cannot be read"):
        run(settings(emulator), None, {"streams": [entry]})
