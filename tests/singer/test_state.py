"""A state holds across sources, merges, kills, odd dates, and files of another kind."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import random
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from filetap.errors import (
    ExportError,
    FormatError,
    IntegrityError,
    SettingsError,
)
from filetap.singer.stream import ExportStream
from tap_firstup_dde.api import FirstupTransport
from tests.runs import Run, command, discover, merged, run, settings, tune, write

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

Json = dict[str, Any]
OLD = 1_700_000_000  # seconds; an old time of change: such a file is complete
ROW_KEY = ["_sdc_source_file", "_sdc_source_lineno"]


def users(*ids: int | str, header: str = "user_id,tenure") -> str:
    """A users file with a row for each id."""
    return "\n".join([header, *(f"{one},5" for one in ids), ""])


def deliver(
    folder: Path, generation: str, content: str, *, program: str = "23552", mtime: int = OLD
) -> Path:
    """Write a users file where Firstup would."""
    year, month, day, hour = generation.split("-")
    path = folder / f"{program}-{month}-{day}-{year}-{hour}-user-incremental.gz"
    path.write_bytes(gzip.compress(content.encode(), mtime=0))
    os.utime(path, (mtime, mtime))
    return path


def ids(done: Run) -> list[str]:
    """The ids of a run's users, in order."""
    return [record["user_id"] for record in done.records("users")]


def bookmark(state: Json) -> Json:
    """The part of the users in a state."""
    return dict(state["bookmarks"].get("users", {}))


def failed(config: Json, state: Json | None = None) -> tuple[ExportError, Run]:
    """The error that a run ends with, and what it wrote before."""
    with pytest.raises(ExportError) as caught:
        run(config, state)
    return caught.value, caught.value.run  # type: ignore[attr-defined]


# From a folder to the API and back


@pytest.mark.parametrize("between", [True, False])
def test_folder_then_api(emulator: Emulator, tmp_path: Path, *, between: bool) -> None:
    """After a folder the API's late files and later parts are read, as if the API came first."""
    deliver(tmp_path, "2026-05-14-08", users(8))
    deliver(tmp_path, "2026-05-14-12", users(12))
    state = run({"folder": {"url": str(tmp_path)}}).state
    for hour in ("08", "12"):
        emulator.add("users", f"2026-05-14-{hour}", users(int(hour)))
    if between:
        done = run(settings(emulator), state)
        assert ids(done) == []
        state = done.state
    emulator.add("users", "2026-05-14-10", users(10))
    if between:
        emulator.add("users", "2026-05-14-12", users(13), file_name="001.csv")
    done = run(settings(emulator), state)
    assert ids(done) == (["10", "13"] if between else ["10"])
    assert ids(run(settings(emulator), done.state)) == []


def test_folder_api_folder_api(emulator: Emulator, tmp_path: Path) -> None:
    """A part that appears in the API while a folder is read is read once the API is back."""
    folder = {"folder": {"url": str(tmp_path)}}
    emulator.add("users", "2026-05-14-12", users(1))
    state = run(settings(emulator)).state
    deliver(tmp_path, "2026-05-14-12", users(1))
    deliver(tmp_path, "2026-05-14-16", users(2))
    done = run(folder, state)
    assert ids(done) == ["2"]
    emulator.add("users", "2026-05-14-12", users(3), file_name="001.csv")
    emulator.add("users", "2026-05-14-16", users(2))
    emulator.add("users", "2026-05-14-20", users(4))
    done = run(settings(emulator), done.state)
    assert ids(done) == ["3", "4"]
    deliver(tmp_path, "2026-05-14-20", users(4))
    deliver(tmp_path, "2026-05-14-14", users(5))
    assert ids(run(folder, done.state)) == ["5"]


def test_cut_off_in_a_folder(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was cut off in a delivered file continues in the API's file of that generation."""
    tune(monkeypatch, slice=10)
    content = users(*range(35))
    deliver(tmp_path, "2026-05-14-12", content)
    states = [m["value"] for m in run({"folder": {"url": str(tmp_path)}}).of("STATE")]
    state = next(s for s in states if bookmark(s).get("in_progress") == {**_part(s), "rows": 20})
    emulator.add("users", "2026-05-14-12", content)
    done = run(settings(emulator), state)
    assert [line for _, line in done.rows("users")] == list(range(21, 36))
    assert ids(run(settings(emulator), done.state)) == []


def _part(state: Json) -> Json:
    """What is in progress, by a state."""
    return dict(bookmark(state).get("in_progress") or {})


@pytest.mark.parametrize("how", ["damaged", "cut off"])
def test_unfinished_generation(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A generation with a part that was not read to its end does not count as read elsewhere."""
    tune(monkeypatch, slice=4)
    emulator.add("users", "2026-05-14-12", users(1, 2, 3), file_name="000.csv", file_id="a")
    second = emulator.add("users", "2026-05-14-12", users(*range(4, 12)), file_id="b")
    if how == "damaged":
        second.checksum = "AAAAAAAAAAA="
        state = failed(settings(emulator))[1].state
    else:
        states = [m["value"] for m in run(settings(emulator)).of("STATE")]
        state = next(s for s in states if _part(s).get("rows") == 4)
    deliver(tmp_path, "2026-05-14-12", users(*range(1, 12)))
    done = run({"folder": {"url": str(tmp_path)}}, state)
    assert ids(done) == [str(number) for number in range(1, 12)]


@pytest.mark.parametrize("programs", [["A1"], ["A1", "B2"]])
def test_generation_of_another_program(
    emulator: Emulator, tmp_path: Path, programs: list[str]
) -> None:
    """A generation that a folder had of other programs does not count as read for this one."""
    for program in programs:
        deliver(tmp_path, "2026-05-14-12", users(1), program=program)
    state = run({"folder": {"url": str(tmp_path)}}).state
    emulator.add("users", "2026-05-14-12", users(2))
    assert ids(run(settings(emulator), state)) == ["2"]
    deliver(tmp_path, "2026-05-14-16", users(3))
    state = run({"folder": {"url": str(tmp_path), "program_id": "23552"}}, state).state
    emulator.add("users", "2026-05-14-16", users(3))
    assert ids(run(settings(emulator), state)) == ["2"]


def test_program_after_a_folder_of_two(emulator: Emulator, tmp_path: Path) -> None:
    """A folder of two programs, then the API: rows still name their program."""
    deliver(tmp_path, "2026-05-14-08", users(1))
    deliver(tmp_path, "2026-05-14-08", users(2), program="7")
    state = run({"folder": {"url": str(tmp_path)}}).state
    emulator.add("users", "2026-05-14-12", users(3))
    (record,) = run(settings(emulator), state).records("users")
    assert record["_sdc_program_id"] == "23552"


def test_key_names_the_program(emulator: Emulator, tmp_path: Path) -> None:
    """A key that names the program has its column, through the API and from a folder."""
    emulator.add("users", "2026-05-14-12", users(1))
    deliver(tmp_path, "2026-05-14-12", users(1))
    key = ["user_id", "_sdc_program_id"]
    for source in (settings(emulator), {"folder": {"url": str(tmp_path)}}):
        done = run({**source, "primary_keys": {"users": key}})
        assert done.schema("users")["key_properties"] == key
        assert "_sdc_program_id" in done.schema("users")["schema"]["properties"]
        assert done.records("users")[0]["_sdc_program_id"] == "23552"


def test_key_names_an_unknown_program(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nothing states the program of files, a key of the program is one error."""
    emulator.add("users", "2026-05-14-12", users(1))
    # The header of the responses is ignored.
    monkeypatch.setattr(FirstupTransport, "account", None)
    monkeypatch.setattr(FirstupTransport, "accounts", ())
    config = settings(emulator, primary_keys={"users": ["user_id", "_sdc_program_id"]})
    error, done = failed(config)
    assert isinstance(error, SettingsError)
    assert "primary_keys.users" in str(error)
    assert [m for m in done.of("SCHEMA") if m["stream"] == "users"] == []


# Generations of the future


@pytest.mark.parametrize("source", ["api", "folder"])
@pytest.mark.parametrize("date", ["2062-05-14-12", "9999-12-31-23", "tomorrow"])
def test_future(
    emulator: Emulator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    source: str,
    date: str,
) -> None:
    """A file from the future is read once, with a warning, and blocks no regular file."""
    now = datetime.now(UTC)
    odd = f"{now + timedelta(days=2):%Y-%m-%d-%H}" if date == "tomorrow" else date
    folder = {"folder": {"url": str(tmp_path)}}
    config = settings(emulator) if source == "api" else folder

    def add(generation: str, *rows: int) -> None:
        if source == "api":
            emulator.add("users", generation, users(*rows))
        else:
            deliver(tmp_path, generation, users(*rows))

    add(odd, 1)
    with caplog.at_level(logging.WARNING):
        done = run(config)
    assert ids(done) == ["1"]
    assert "lies in the future" in caplog.text
    for number, age in enumerate((30, 20, 1), start=2):
        add(f"{now - timedelta(days=age):%Y-%m-%d-%H}", number)
        caplog.clear()
        done = run(config, done.state)
        assert ids(done) == [str(number)]
        assert "future" not in caplog.text
    reached = datetime.fromisoformat(bookmark(done.state)["replication_key_value"])
    assert reached <= now + timedelta(days=1)


def test_bookmark_of_the_future(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """A state whose bookmark is in the future blocks no files; finished ones remain finished."""
    first, second = (emulator.add("users", f"2026-05-14-{h}", users(h)) for h in ("08", "12"))
    state = run(settings(emulator)).state
    emulator.files.remove(second)
    bookmark_of_first = bookmark(run(settings(emulator)).state)
    state["bookmarks"]["users"] = {
        **bookmark_of_first,
        "replication_key_value": "2062-05-14T12:00:00Z",
    }
    emulator.files.append(second)
    done = run(settings(emulator), state)
    assert ids(done) == ["12"]
    assert "lies in the future and is not used" in caplog.text
    assert bookmark(done.state)["replication_key_value"] == "2026-05-14T12:00:00Z"
    assert first in emulator.files


# Files without rows, and files without the key


@pytest.mark.parametrize(
    "empty", ["", "\n\n", "[]", "name\n", "user_id\n", "First Name,Last Name", '"user_id","x"\r\n']
)
@pytest.mark.parametrize("hour", ["08", "16"])
def test_rowless_file_changes_nothing(emulator: Emulator, empty: str, hour: str) -> None:
    """A file without rows beside others is finished, and determines neither columns nor key."""
    emulator.add("users", "2026-05-14-12", users(1))
    alone = run(settings(emulator))
    if empty == "name\n":
        empty = "preferred_name\n"
    emulator.add("users", f"2026-05-14-{hour}", empty)
    done = run(settings(emulator))
    assert done.schema("users") == alone.schema("users")
    assert done.records("users")[0] == alone.records("users")[0]
    assert len([m for m in done.of("SCHEMA") if m["stream"] == "users"]) == 1
    assert len(bookmark(done.state)["finished"]) == 2
    assert bookmark(done.state)["types"] == bookmark(alone.state)["types"]


@pytest.mark.parametrize("empty", ["", "\n\n", "[]", "{}" * 0, "user_id,duration,content_id\n"])
@pytest.mark.parametrize("together", [True, False])
def test_first_file_without_rows(emulator: Emulator, empty: str, *, together: bool) -> None:
    """If an account's first file has no rows, the second one determines the types."""
    header = "user_id,attribute_hire_date,registered_date,duration\n"
    emulator.add("users", "2026-05-14-08", empty)
    state = None if together else run(settings(emulator)).state
    emulator.add("users", "2026-05-14-12", header + "1,2020-01-02,2020-01-02,1.5\n")
    done = run(settings(emulator), state)
    (record,) = done.records("users")
    types = bookmark(done.state)["types"]
    assert not [name for name in types if name.endswith("__text")]
    assert record["duration"] == 1.5
    assert record["registered_date"] == record["attribute_hire_date"] == "2020-01-02"
    assert types["registered_date"] == "date"


@pytest.mark.parametrize("empty", [None, "", "user_id,attribute_hire_date,duration\n1,,\n"])
def test_catalog_of_an_account_without_values(
    emulator: Emulator, capsys: pytest.CaptureFixture[str], empty: str | None
) -> None:
    """A catalog that was discovered before there were values does not fix types."""
    if empty is not None:
        emulator.add("users", "2026-05-14-08", empty)
    catalog = discover(settings(emulator), capsys)
    (users_entry,) = (e for e in catalog["streams"] if e["tap_stream_id"] == "users")
    assert users_entry["schema"]["properties"]["attribute_hire_date"]["format"] == "date-time"
    emulator.files.clear()
    header = "user_id,attribute_hire_date,duration\n"
    emulator.add("users", "2026-05-14-12", header + "1,2020-01-02,1.5\n")
    done = run(settings(emulator), None, catalog)
    assert done.records("users")[0]["attribute_hire_date"] == "2020-01-02"
    properties = done.schema("users")["schema"]["properties"]
    assert properties["attribute_hire_date"]["format"] == "date"
    assert properties["duration"]["type"] == ["number", "null"]
    assert not [name for name in properties if name.endswith("__text")]
    assert "description" not in properties["attribute_hire_date"]


@pytest.mark.parametrize("encoding", [None, "jsonl", "parquet"])
def test_later_file_lacks_the_key(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, encoding: str | None
) -> None:
    """Rows of a file without the key's column are malformed once records had that key."""
    emulator.add("users", "2026-05-14-08", users(1))
    state = run(settings(emulator)).state
    file = emulator.add("users", "2026-05-14-12", "First Name,tenure\nAnn,3\n\nBob,4\n")
    emulator.add("users", "2026-05-14-16", users(2))
    config = settings(emulator)
    if encoding:
        (tmp_path / "out").mkdir()
        config["batch_config"] = {
            "encoding": {"format": encoding},
            "storage": {"root": str(tmp_path / "out")},
        }
    error, done = failed(config, state)
    assert "row 1: the file lacks the key's column user_id" in str(error)
    assert file.generated_at in str(error)
    assert done.records("users") == []
    diverted = run({**config, "malformed_rows": "divert"}, state)
    assert diverted.schema("users")["key_properties"] == ["user_id"]
    assert [r["raw"] for r in diverted.records("users_malformed")] == ["Ann,3", "Bob,4"]
    assert {r["reason"] for r in diverted.records("users_malformed")} == {
        "the file lacks the key's column user_id"
    }
    if not encoding:
        assert ids(diverted) == ["2"]
    assert len(bookmark(diverted.state)["finished"]) == 3
    assert "2 rows cannot be read" in caplog.text


@pytest.mark.parametrize("content", ['[{"First Name": "Ann"}]', '{"tenure": 3}\n{"tenure": 4}\n'])
def test_later_json_lacks_the_key(emulator: Emulator, content: str) -> None:
    """The same with JSON."""
    emulator.add("users", "2026-05-14-08", users(1))
    state = run(settings(emulator)).state
    emulator.add("users", "2026-05-14-12", content)
    error, _ = failed(settings(emulator), state)
    assert "lacks the key's column user_id" in str(error)


def test_look_that_stopped(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without the key that sampling did not reach emits no record without a key."""
    tune(monkeypatch, first_pause=0.0)
    emulator.add("users", "2026-05-14-08", users(1))
    emulator.add("users", "2026-05-14-12", users(2))
    emulator.add("users", "2026-05-14-16", "First Name,tenure\nAnn,3\n")
    emulator.fail("download", status=500, skip=1, times=6)  # the sample of the second file
    error, done = failed(settings(emulator, concurrency=1))
    assert "lacks the key's column user_id" in str(error)
    assert ids(done) == ["1", "2"]
    assert done.schema("users")["key_properties"] == ["user_id"]


def test_old_state_has_a_key(emulator: Emulator) -> None:
    """A state of an earlier version, without a key, gets the one that its columns allow."""
    emulator.add("users", "2026-05-14-08", users(1))
    state = run(settings(emulator)).state
    del state["bookmarks"]["users"]["key"]
    emulator.add("users", "2026-05-14-12", "First Name,tenure\nAnn,3\n")
    error, _ = failed(settings(emulator), state)
    assert "lacks the key's column user_id" in str(error)


def test_fallen_back_key_is_kept(emulator: Emulator) -> None:
    """A key that fell back to the row's position remains when files have the column later."""
    emulator.add("users", "2026-05-14-08", "First Name,tenure\nAnn,3\n")
    first = run(settings(emulator))
    assert first.schema("users")["key_properties"] == ROW_KEY
    emulator.add("users", "2026-05-14-12", users(1))
    second = run(settings(emulator), first.state)
    assert second.schema("users")["key_properties"] == ROW_KEY
    assert ids(second) == ["1"]


@pytest.mark.parametrize("path", ["api", "batch"])
@pytest.mark.parametrize(
    "content",
    [
        "SGVsbG8gd29ybGQ=\n",
        "%PDF-1.7\n1 0 obj\n",
        "Dear colleague,\nthe report is attached.\n",
        '{"error": "internal"}',
        "a,b\n1,2\n",
    ],
)
def test_file_of_another_kind(emulator: Emulator, tmp_path: Path, content: str, path: str) -> None:
    """A file none of whose columns the stream can have is an error that names file and header."""
    config = settings(emulator)
    if path == "batch":
        config["batch_config"] = {
            "encoding": {"format": "jsonl"},
            "storage": {"root": str(tmp_path)},
        }
    emulator.add("users", "2026-05-14-08", users(1))
    emulator.add("users", "2026-05-14-12", content)
    error, done = failed(config)
    assert isinstance(error, FormatError)
    assert "2026-05-14-12/000.csv" in str(error)
    assert "the file is not an export of users" in str(error)
    assert len(bookmark(done.state)["finished"]) == 1


def test_columns_had_before(emulator: Emulator) -> None:
    """A file with a column that the stream has had, or that a setting names, is an export."""
    emulator.add("users", "2026-05-14-08", users(1))
    state = run(settings(emulator)).state
    emulator.add("activities", "2026-05-14-12", "shoe\n44\n")
    config = settings(emulator, column_types={"activities": {"Shoe": "integer"}})
    assert run(config, state).records("activities")[0]["shoe"] == 44
    emulator.add("users", "2026-05-14-12", "tenure\n7\n")
    error, _ = failed(config, state)
    assert "lacks the key's column" in str(error)


# What was emitted is in a STATE first


def _assert_saved_first(done: Run) -> None:
    """Every column of a record is in a STATE before it, and its key too."""
    types: Json = {}
    key: Any = None
    for message in done.messages:
        if message["type"] == "STATE" and "users" in message["value"]["bookmarks"]:
            types = bookmark(message["value"]).get("types", {})
            key = bookmark(message["value"]).get("key")
        elif message["type"] == "RECORD" and message["stream"] == "users":
            own = {n for n in message["record"] if n != "generated_at" and not n.startswith("_sdc")}
            assert own <= types.keys()
            assert key == done.schema("users")["key_properties"]


@pytest.mark.parametrize("columnar", [True, False])
def test_types_are_saved_first(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, *, columnar: bool
) -> None:
    """Types are in a STATE before the first record that needs them, in mid-file too."""
    if not columnar:
        monkeypatch.setattr(ExportStream, "writes_lines", property(lambda _: False))
    tune(monkeypatch, whole=40, head=40)
    emulator.add("users", "2026-05-14-08", users(1), gzip=False)
    late = "\n".join(["user_id,tenure,shoe", *(f"{n},{n},44" for n in range(90)), "A,x,y", ""])
    emulator.add("users", "2026-05-14-12", late, gzip=False)
    done = run(settings(emulator))
    _assert_saved_first(done)
    assert "tenure__text" in bookmark(done.state)["types"]
    assert "tenure__text" in done.records("users")[-1]


def test_types_of_a_run_that_failed(emulator: Emulator) -> None:
    """A first run that ends in an error has saved the types it has announced."""
    emulator.add("users", "2026-05-14-08", "user_id,tenure\n1,5\n2\n")
    _, done = failed(settings(emulator))
    saved = bookmark(done.state)
    assert saved["types"]["tenure"] == "integer"
    assert saved["finished"] == []
    emulator.files.clear()
    emulator.add("users", "2026-05-14-12", "user_id,tenure\n1,A5\n")
    after = run(settings(emulator), done.state)
    assert after.records("users")[0]["tenure__text"] == "A5"


# Merged states


def _cut_off(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Json:
    """A state of a run that was cut off in the last of three files, after 20 of its rows."""
    tune(monkeypatch, slice=10)
    emulator.add("users", "2026-05-14-08", users("a", "b"))
    emulator.add("users", "2026-05-14-10", users("c"))
    emulator.add("users", "2026-05-14-12", users(*range(35)))
    states = [m["value"] for m in run(settings(emulator)).of("STATE")]
    return next(s for s in states if _part(s).get("rows") == 20)


EVERYONE = ["a", "b", "c", *map(str, range(35))]


@pytest.mark.parametrize("reached", range(6))
def test_full_refresh_that_died(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, reached: int
) -> None:
    """Every row is read after a full refresh that died: what was read before it does not count."""
    old = _cut_off(emulator, monkeypatch)
    states = [
        m["value"]
        for m in run(settings(emulator)).of("STATE")
        if "users" in m["value"]["bookmarks"]
    ]
    died = states[reached]
    assert bookmark(died)["from_scratch"] is True
    done = run(settings(emulator), merged(old, died))
    emitted = 2 * (len(bookmark(died)["finished"]) > 0) + (len(bookmark(died)["finished"]) > 1)
    emitted += _part(died)["rows"]
    assert ids(done) == EVERYONE[emitted:]
    assert bookmark(done.state)["from_scratch"] is False
    assert ids(run(settings(emulator), merged(old, done.state))) == []


def test_full_refresh_that_lists_nothing(emulator: Emulator) -> None:
    """A full refresh that finds no files and dies does not hide those that were read before it."""
    emulator.add("users", "2026-05-14-08", users(1, 2))
    old = run(settings(emulator)).state
    emulator.fail("list", status=404, times=3)
    died = run(settings(emulator)).state
    assert "finished" not in bookmark(died)
    done = run(settings(emulator), merged(old, died))
    assert ids(done) == ["1", "2"]
    assert bookmark(done.state)["from_scratch"] is False
    assert ids(run(settings(emulator), merged(old, done.state))) == []


def test_full_refresh_cut_off_before_an_empty_list(emulator: Emulator) -> None:
    """A list without files does not end a full refresh: what is left of it is still read."""
    emulator.add("users", "2026-05-14-08", users(1, 2))
    emulator.add("users", "2026-05-14-10", users(3))
    old = run(settings(emulator)).state
    scratch = bookmark(old) | {
        "from_scratch": True,
        "finished": bookmark(old)["finished"][:1],
    }
    emulator.fail("list", status=404, times=3)
    empty = run(settings(emulator), {"bookmarks": {"users": scratch}}).state
    assert ids(run(settings(emulator), merged(old, empty))) == ["3"]


def test_states_of_two_environments(emulator: Emulator) -> None:
    """With the lists of one state and times of both, files finished in either are finished."""
    for hour in ("08", "10", "12"):
        emulator.add("users", f"2026-05-14-{hour}", users(hour))
    prod = run(settings(emulator)).state
    late = emulator.files[1:]
    del emulator.files[1:]
    dev = run(settings(emulator)).state
    emulator.files += late
    done = run(settings(emulator), merged(prod, dev))
    assert ids(done) == []
    assert bookmark(done.state)["replication_key_value"] == "2026-05-14T12:00:00Z"
    assert bookmark(done.state)["types"] == bookmark(prod)["types"]


def test_finished_file_in_progress(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A merged state whose file in progress is finished has nothing to report."""
    old = _cut_off(emulator, monkeypatch)
    state = run(settings(emulator)).state
    state["bookmarks"]["users"]["in_progress"] = _part(old)
    emulator.files.clear()
    caplog.clear()
    assert ids(run(settings(emulator), state)) == []
    assert "lost" not in caplog.text
    del state["bookmarks"]["users"]["finished_at"]
    assert ids(run(settings(emulator), state)) == []
    assert "lost" not in caplog.text


def test_monthly_generations(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """Generations a month apart are a gap only if no run was in time."""
    state: Json | None = None
    for month in (1, 2, 3, 4):
        emulator.files.clear()
        emulator.add("users", f"2026-{month:02}-01-00", users(month))
        state = run(settings(emulator), state).state
    assert "expired unread" not in caplog.text
    assert state
    emulator.files.clear()
    for hour in ("00", "04"):
        emulator.add("users", f"2026-08-01-{hour}", users(hour))
    state["bookmarks"]["users"]["listed_on"] = "2026-04-02"
    run(settings(emulator), state)
    assert "expired unread" in caplog.text


# Catalogs and states with types for columns that have fixed ones


@pytest.mark.parametrize("kind", ["integer", "number", "boolean", "date", "date-time"])
@pytest.mark.parametrize("where", ["state", "catalog"])
def test_misfit_column_is_text(emulator: Emulator, kind: str, where: str) -> None:
    """A misfit column holds text, whatever a state or a catalog says."""
    emulator.add("users", "2026-05-14-08", "user_id,tenure\n1,A5\n")
    types = {"user_id": "string", "tenure": "integer", "tenure__text": kind}
    schema: Json = {n: {"type": ["null", k]} for n, k in types.items() if not k.startswith("date")}
    schema.setdefault("tenure__text", {"type": ["null", "string"], "format": kind})
    catalog = {
        "streams": [
            {
                "tap_stream_id": "users",
                "schema": {"type": "object", "properties": schema},
                "metadata": [{"breadcrumb": [], "metadata": {"selected": True}}],
            }
        ]
    }
    state = {"bookmarks": {"users": {"types": types}}}
    done = (
        run(settings(emulator), state)
        if where == "state"
        else run(settings(emulator), None, catalog)
    )
    assert done.records("users")[0]["tenure__text"] == "A5"
    text = done.schema("users")["schema"]["properties"]["tenure__text"]
    assert text["type"] == ["string", "null"]
    assert "format" not in text


@pytest.mark.parametrize("bare", [None, "null", ["null"], []])
def test_catalog_without_a_type(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, bare: Any
) -> None:
    """If a catalog names no type, the column keeps its own, and a warning names it."""
    emulator.add("users", "2026-05-14-08", users(1))
    properties = {
        "user_id": {"type": "string"},
        "tenure": {"type": bare},
        "blocked_at": {"type": bare},
    }
    catalog = {
        "streams": [
            {
                "tap_stream_id": "users",
                "schema": {"type": "object", "properties": properties},
                "metadata": [{"breadcrumb": [], "metadata": {"selected": True}}],
            }
        ]
    }
    first = run(settings(emulator), None, catalog)
    assert caplog.text.count("without a type for blocked_at, tenure") == 1
    second = run(
        settings(emulator), {"bookmarks": {"users": {"types": {"tenure": "number"}}}}, catalog
    )
    for done, kind in ((first, "integer"), (second, "number")):
        found = done.schema("users")["schema"]["properties"]
        assert found["tenure"]["type"] == [kind, "null"]
        assert found["blocked_at"]["format"] == "date-time"


# Long and replaced files


def test_late_file_while_another_is_cut_off(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STATE is emitted inside a long late file too, and the other file keeps its position."""
    state = _cut_off(emulator, monkeypatch)
    late = [f"late-{n}" for n in range(45)]
    emulator.add("users", "2026-05-14-11", users(*late))
    done = run(settings(emulator), state)
    assert ids(done) == [*late, *map(str, range(20, 35))]
    states = [m["value"] for m in done.of("STATE")]
    middle = next(s for s in states if _part(s).get("rows") == 30 and _part(s) != _part(state))
    rest = run(settings(emulator), middle)
    assert ids(rest) == [*late[30:], *map(str, range(20, 35))]
    assert ids(run(settings(emulator), rest.state)) == []


def test_replaced_while_in_progress(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file replaced under its id while it is in progress is read from its beginning."""
    state = _cut_off(emulator, monkeypatch)
    replaced = emulator.files.pop()
    emulator.add("users", "2026-05-14-12", users(*range(100, 135)), file_id=replaced.id)
    done = run(settings(emulator), state)
    assert ids(done) == [*map(str, range(100, 135))]
    assert "the file was replaced since it was partly read" in caplog.text


def test_delivered_again_after_the_lookback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file older than the lookback that is delivered again is read again, with a warning."""
    config = {"folder": {"url": str(tmp_path)}, "lookback_days": 2}
    path = deliver(tmp_path, "2026-05-01-08", users(1))
    deliver(tmp_path, "2026-05-14-08", users(2))
    state = run(config).state
    state = run(config, state).state
    deliver(tmp_path, "2026-05-01-08", users(1, 11), mtime=OLD + 60)
    deliver(tmp_path, "2026-05-02-08", users(3))
    done = run(config, state)
    assert ids(done) == ["1", "11"]
    assert f"{path.name}" in caplog.text
    assert "the file was replaced since it was last read" in caplog.text
    assert ids(run(config, done.state)) == []


def test_touched_file_is_not_read_again(tmp_path: Path) -> None:
    """A delivered file that was moved or written again without a change is not read again."""
    config = {"folder": {"url": str(tmp_path)}}
    path = deliver(tmp_path, "2026-05-14-08", users(1))
    deliver(tmp_path, "2026-05-14-12", users(2))
    state = run(config).state
    os.utime(path, (OLD + 500, OLD + 500))
    done = run(config, state)
    assert ids(done) == []
    deliver(tmp_path, "2026-05-14-08", users(9), mtime=OLD + 900)
    assert ids(run(config, done.state)) == ["9"]


# Each file once


def test_many_small_files(emulator: Emulator, tmp_path: Path) -> None:
    """Many pending small files are requested and downloaded once each, with few descriptors."""
    count = 250
    for number in range(count):
        emulator.add("users", f"2026-05-{number // 24 + 1:02}-{number % 24:02}", users(number))
    root = tmp_path / "out"
    root.mkdir()
    batches = {
        "encoding": {"format": "jsonl", "compression": "none"},
        "storage": {"root": str(root)},
    }
    path = write(tmp_path, "config.json", settings(emulator, batch_config=batches))
    done = command(
        "--config",
        path,
        program=(
            sys.executable,
            "-c",
            (
                "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128));"
                "from tap_firstup_dde.__main__ import main; main()"
            ),
        ),
    )
    assert done.status == 0, done.log
    lines = [line for file in root.iterdir() for line in file.read_text().splitlines()]
    assert sorted(int(json.loads(line)["user_id"]) for line in lines) == [*range(count)]
    assert emulator.count("show") == emulator.count("download") == count


@pytest.mark.parametrize("kind", ["zip", "gzip"])
def test_look_into_a_large_archive(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A large archive that is not the first file is sampled like any other large file."""
    tune(monkeypatch, whole=3000, head=3000)
    emulator.add("users", "2026-05-14-08", users(1, header="user_id,level"))
    noise = random.Random(0)
    rows = [f"{n},{n},2026-05-{n % 28 + 1:02},{noise.random()}" for n in range(900)]
    content = "\n".join(["user_id,tenure,joined_on,note", *rows, ""]).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("users.csv", content)
    stored = packed.getvalue() if kind == "zip" else gzip.compress(content)
    assert len(stored) > 3000
    emulator.add("users", "2026-05-14-12", stored, gzip=False)
    done = run(settings(emulator))
    (schema,) = (m for m in done.of("SCHEMA") if m["stream"] == "users")
    assert schema["schema"]["properties"]["tenure"]["type"] == ["integer", "null"]
    assert schema["schema"]["properties"]["joined_on"]["format"] == "date"
    assert len(done.records("users")) == 901


def test_damaged_file_is_downloaded_twice(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that remains damaged is downloaded twice in total; files before it are emitted."""
    tune(monkeypatch, first_pause=0.0)
    emulator.add("users", "2026-05-14-08", users(1))
    file = emulator.add("users", "2026-05-14-12", users(2))
    file.checksum = "AAAAAAAAAAA="
    error, done = failed(settings(emulator))
    assert isinstance(error, IntegrityError)
    assert ids(done) == ["1"]
    assert len(bookmark(done.state)["finished"]) == 1
    assert emulator.count("download") == 3


def test_state_grows_with_files(emulator: Emulator) -> None:
    """The total size of a run's STATE messages is linear in its files, not quadratic."""
    sizes = []
    for count in (50, 100, 200):
        emulator.files.clear()
        for number in range(count):
            emulator.add("users", f"2026-05-{number // 24 + 1:02}-{number % 24:02}", users(number))
        written = run(settings(emulator)).of("STATE")
        sizes.append(sum(len(json.dumps(message)) for message in written))
    assert sizes[2] - sizes[1] < 3 * (sizes[1] - sizes[0])
    assert sizes[2] < 200 * 4000


# Maps that name columns that do not exist yet


@pytest.mark.parametrize(
    "members",
    [
        {"any": "tenure__text or str(tenure)"},
        {"tenure": "str(tenure)", "tenure__text": "tenure__text"},
        {"tenure": None, "any": "tenure__text or str(tenure)"},
    ],
)
def test_map_names_a_misfit_column(emulator: Emulator, members: Json) -> None:
    """A stream map may name a column's misfits before there are any: they are null."""
    emulator.add("users", "2026-05-14-08", users(1))
    config = settings(emulator, stream_maps={"users": members})
    first = run(config)
    (record,) = first.records("users")
    assert record.get("any", "5") == "5"
    assert record.get("tenure__text") is None
    emulator.add("users", "2026-05-14-12", "user_id,tenure\n2,A5\n")
    (record,) = run(config, first.state).records("users")
    assert "A5" in {record.get("any"), record.get("tenure__text")}
