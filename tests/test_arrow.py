"""Files as Arrow batches, without Spark: the tap's columns, key and rows, and misplaced values."""

from __future__ import annotations

import json
import logging
import pickle
import threading
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest

from filetap import arrow, scan
from filetap.arrow import Reading, Source
from filetap.columns.types import type_of
from filetap.errors import FormatError, IntegrityError, SettingsError
from filetap.plan import plan_files
from filetap.setting_checks import config_from_texts, parse
from filetap.setting_schema import settings_schema
from filetap.settings import Tuning
from filetap.times import utc_now
from tap_firstup_dde.vendor import FIRSTUP
from tests.folders import deliver
from tests.typed_rows import AWKWARD, DRIFTED, place, tap_rows, tap_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from filetap.columns.resolve import Columns
    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from tap_firstup_dde.emulator import Emulator

STREAMS = ("campaigns", "users", "activities")
ADDED = ("generated_at", "_sdc_source_file", "_sdc_source_lineno")
ARROW: dict[str, Any] = dict(
    zip(
        "string integer number boolean date date-time".split(),
        ["string", "int64", "double", "bool", "date32", pa.timestamp("us", "UTC")],
        strict=True,
    )
)


def source(
    settings: Mapping[str, str],
    stream: str = "users",
    *,
    tuning: Tuning | None = None,
    types_at: Path | str = "",
    **how: Any,
) -> Source:
    """The reading that settings, as texts, describe."""
    config = config_from_texts(settings, FIRSTUP, settings_schema(FIRSTUP))
    settled = parse(config, FIRSTUP, tuning)
    return Source(FIRSTUP, stream, settled, types_at=str(types_at), **how)


def folder(path: Path, **more: str) -> dict[str, str]:
    """Settings for reading a folder."""
    return {"folder": json.dumps({"url": str(path)}), **more}


def find(read: Source) -> tuple[Columns, Sequence[ExportFile]]:
    """The columns of all files that are available, and the files."""
    transport = FIRSTUP.connect(read.settings)
    listed = transport.list_files(read.stream)
    files = plan_files(read.stream, listed, {}, read.settings, now=utc_now()).files
    return read.columns(files, transport), files


def reading(read: Source, columns: Columns) -> Reading:
    """How a query reads columns that were sampled."""
    schema = pa.schema([(name, ARROW[kind]) for name, kind in columns.types.items()])
    return Reading(read, columns.types, schema, strict=True, key=columns.key)


def chosen(read: Source, **types: str) -> Reading:
    """How a query reads with a user's schema."""
    schema = pa.schema([(name, ARROW[kind]) for name, kind in types.items()])
    return Reading(read, types, schema, strict=False)


def rows(how: Reading, files: Iterable[ExportFile]) -> list[dict[str, Any]]:
    """All rows in order of their positions, each file read by a process that receives *how*."""
    sent = pickle.dumps(how)
    batches = [batch for file in files for batch in pickle.loads(sent).batches([file])]  # noqa: S301
    frame = pl.DataFrame(pa.Table.from_batches(batches, how.schema)).to_dicts()
    return sorted(frame, key=place) if "_sdc_source_file" in how.types else frame


def every_row(read: Source) -> list[dict[str, Any]]:
    """All rows, with the columns that were sampled."""
    columns, files = find(read)
    return rows(reading(read, columns), files)


# The tap's columns and rows


@pytest.mark.parametrize("stream", STREAMS)
def test_rows_equal_the_taps(emulator: Emulator, stream: str) -> None:
    """Files that drift give the columns, types, key and values of the tap's messages."""
    emulator.add_generation(rows=40, parts=2, generated_at="2026-05-13-16")
    emulator.add(stream, "2026-05-14-16", AWKWARD)
    emulator.add(stream, "2026-05-14-16", DRIFTED, file_name="001.csv", gzip=False)
    emulator.add(stream, "2026-05-14-20", '[{"User ID": 12, "Is Featured": true}]')
    types = json.dumps({name: {"Likes": "integer"} for name in STREAMS})
    settings = {**emulator.settings, "column_types": types}
    properties, expected = tap_rows(settings, stream)
    read = source(settings, stream)
    columns, files = find(read)
    assert list(columns.types.items()) == [(n, type_of(p)) for n, p in properties.items()]
    assert list(columns.key) == tap_run(settings).schema(stream)["key_properties"]
    assert rows(reading(read, columns), files) == expected
    assert {"likes__text", "office"} <= set(columns.types)


@pytest.mark.parametrize(
    ("settings", "contents", "key"),
    [
        ({}, ["User ID\n1\n"], ["user_id"]),
        ({"primary_keys": '{"users": ["Tenure"]}'}, ["User ID,Tenure\n1,a\n"], ["tenure"]),
        ({}, ["User ID\n1\n", "Preferred Name\nx\n"], ["_sdc_source_file", "_sdc_source_lineno"]),
        ({}, [], ["user_id"]),
    ],
    ids=["usual", "set", "not in every file", "no files"],
)
def test_key_is_the_taps(
    emulator: Emulator, settings: dict[str, str], contents: list[str], key: list[str]
) -> None:
    """The key is chosen as in a run, and columns are the same without any file."""
    for number, content in enumerate(contents):
        emulator.add("users", "2026-05-14-16", content, file_name=f"{number}.csv")
    settings = {**emulator.settings, **settings}
    columns, _ = find(source(settings))
    schema = tap_run(settings).schema("users")
    assert list(columns.key) == schema["key_properties"] == key
    assert list(columns.types) == list(schema["schema"]["properties"])


def test_several_accounts(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder with files of two programs has a column that distinguishes them, as in the tap."""
    for program in ("1", "2"):
        deliver(tmp_path, "users", "2026-05-14-16", "User ID\n1\n", program=program)
    read = source(folder(tmp_path))
    assert [row["_sdc_program_id"] for row in every_row(read)] == ["1", "2"]
    assert every_row(read) == tap_rows(folder(tmp_path), "users")[1]
    assert "the files belong to 2 programs (1, 2)" in caplog.text
    assert emulator.requests == []


def test_account_in_the_key(tmp_path: Path) -> None:
    """A key that names the account has its column; if no file states it, that is an error."""
    deliver(tmp_path, "users", "2026-05-14-16", "User ID\n1\n")
    keys = json.dumps({"users": ["_sdc_program_id", "user_id"]})
    columns, _ = find(source(folder(tmp_path, primary_keys=keys)))
    assert columns.key == ("_sdc_program_id", "user_id")
    assert list(columns.types)[-1] == "_sdc_program_id"
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SettingsError, match="nor file names say whose files they are"):
        find(source(folder(empty, primary_keys=keys)))


def test_second_account_stops_a_query(tmp_path: Path) -> None:
    """Files of a second program are not read into columns that do not distinguish them."""
    deliver(tmp_path, "users", "2026-05-14-16", "User ID\n1\n")
    read = source(folder(tmp_path))
    found = reading(read, find(read)[0])
    found.check_accounts(["1"])
    with pytest.raises(FormatError, match="users: there are files of a second program now"):
        found.check_accounts(["1", "2"])
    chosen(read, user_id="string").check_accounts(["1", "2"])
    malformed = replace(read, malformed=True)
    reading(malformed, find(malformed)[0]).check_accounts(["1", "2"])


def test_column_types(emulator: Emulator) -> None:
    """Settings determine types as in the tap; misfits are stored as text."""
    emulator.add("users", "2026-05-14-16", DRIFTED)
    types = json.dumps({"users": {"Likes": "integer"}})
    found = every_row(source({**emulator.settings, "column_types": types}))
    assert [(row["likes"], row["likes__text"]) for row in found] == [(None, "many"), (2, None)]


# The log


def test_logs_misfits_and_duplicate_keys(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Misfits, duplicate keys and rows without a key are logged as by a run, and the row count."""
    emulator.add("users", "2026-05-14-16", "User ID,Tenure\n1,2\n1,x\n,3\n")
    settings = {**emulator.settings, "column_types": '{"users": {"tenure": "integer"}}'}
    caplog.set_level(logging.INFO)
    tap_run(settings)

    def told() -> list[str]:
        lines = (record.message for record in caplog.records)
        return [line for line in lines if line.startswith("users 2026-05-14-16/000.csv")]

    expected = told()
    for word in ("3 rows", "1 value in tenure is not integer; kept as text in tenure__text"):
        assert any(word in line for line in expected)
    for word in ("the key of another row (user_id)", "no key (user_id)"):
        assert any(word in line for line in expected)
    caplog.clear()
    every_row(source(settings))
    assert told() == expected


def test_logs_malformed_rows(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """Rows that are diverted from a query are logged, with the stream that has them."""
    emulator.add("users", "2026-05-14-16", "User ID,Likes\n1,2\n3\n")
    every_row(source({**emulator.settings, "malformed_rows": "divert"}))
    assert "1 row cannot be read; kept as text in users_malformed" in caplog.text


# Columns and values without a place


def test_new_column_stops_a_query(emulator: Emulator) -> None:
    """A file with a column that the query lacks is an error, not a lost column."""
    emulator.add("users", "2026-05-14-16", AWKWARD)
    read = source(emulator.settings)
    columns, _ = find(read)
    emulator.add("users", "2026-05-14-20", DRIFTED)
    again, (_, new) = find(read)
    with pytest.raises(FormatError, match="it has columns that the query lacks: office"):
        rows(reading(read, columns), [new])
    assert "office" in again.types


def test_file_without_rows_stops_no_query(emulator: Emulator) -> None:
    """A file that has new columns and no rows changes nothing, as in a run."""
    emulator.add("users", "2026-05-14-16", "User ID\n1\n")
    read = source(emulator.settings)
    columns, _ = find(read)
    emulator.add("users", "2026-05-14-20", "User ID,Office\n")
    assert len(rows(reading(read, columns), find(read)[1])) == 1


def test_user_chooses_columns(emulator: Emulator) -> None:
    """Columns that a schema omits are not read; those that no file has are null."""
    emulator.add("users", "2026-05-14-16", AWKWARD)
    read = source(emulator.settings)
    _, files = find(read)
    how = chosen(read, tenure="string", _sdc_source_lineno="integer", gone="date")
    assert [tuple(row.values()) for row in rows(how, files)] == [
        ("4", 1, None),
        ("five", 2, None),
        ("6", 3, None),
        ("7.50", 4, None),
    ]


def test_columns_left_out_cost_nothing(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with columns that a user's schema lacks is opened once."""
    emulator.add("users", "2026-05-14-16", AWKWARD)
    read = source(emulator.settings)
    _, files = find(read)
    opened: list[ExportFile] = []
    original = scan._reader

    def reader(spooled: Spooled, *arguments: Any) -> Any:
        opened.append(spooled.file)
        return original(spooled, *arguments)

    monkeypatch.setattr(scan, "_reader", reader)
    assert len(rows(chosen(read, user_id="string"), files)) == 4
    assert opened == list(files)


@pytest.mark.parametrize("strict", [True, False])
def test_misfits_without_a_place(emulator: Emulator, strict: bool) -> None:  # noqa: FBT001
    """Values that fit neither their column nor another one are an error: none becomes null."""
    emulator.add("users", "2026-05-14-16", AWKWARD)
    read = source(emulator.settings)
    columns, files = find(read)
    types = {**columns.types, "tenure": "integer"}
    schema = pa.schema([(name, ARROW[kind]) for name, kind in types.items()])
    hint = "set misfitColumns to all" if strict else "add tenure__text string to the schema"
    with pytest.raises(FormatError, match="2 values in tenure are not integer, and have") as raised:
        rows(Reading(read, types, schema, strict), files)
    assert raised.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (pa.field("likes", pa.int32()), "an integer is larger than its type in the schema"),
        (pa.field("likes", pa.int64(), nullable=False), "likes is empty in a row"),
    ],
)
def test_values_that_a_schema_cannot_hold(emulator: Emulator, field: pa.Field, words: str) -> None:
    """A type that is too small, or not null, is an error for a value that it cannot hold."""
    emulator.add("users", "2026-05-14-16", AWKWARD)
    read = source(emulator.settings)
    _, files = find(read)
    with pytest.raises(FormatError, match=words):
        rows(Reading(read, {"likes": "integer"}, pa.schema([field]), strict=False), files)


def test_misfits_have_a_place(emulator: Emulator) -> None:
    """If not every value was sampled, each typed column has a place for misfits."""
    header, _, values = AWKWARD.partition("\n")
    emulator.add("users", "2026-05-14-16", f"{header}\n{50 * values}", gzip=False)
    emulator.add("users", "2026-05-14-16", DRIFTED, file_name="001.csv")
    assert "started__text" not in find(source(emulator.settings))[0].types
    assert "started__text" in find(source(emulator.settings, every_misfit=True))[0].types
    types = find(source(emulator.settings, tuning=Tuning(whole=1000, head=1000)))[0].types
    assert {"started__text", "is_featured__text"} <= set(types)
    assert "note__text" not in types


def test_columns_at_the_end_of_a_large_file(tmp_path: Path) -> None:
    """The beginning of an archive, or of JSON, does not show the columns: all of it is read."""
    archive = deliver(tmp_path, "users", "2026-05-14-16", "", ending=".zip")
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("users.csv", "User ID,Likes\n1,2\n")
    lines = "".join(f'{{"User ID": "{n}"}}\n' for n in range(1000))
    lines += '{"User ID": "7", "Office": "Pune"}\n'
    deliver(tmp_path, "users", "2026-05-15-16", lines, ending=".json")
    found = every_row(source(folder(tmp_path), tuning=Tuning(whole=100, head=100)))
    assert len(found) == 1002
    assert [row["likes"] for row in found if row["likes"] is not None] == [2]
    assert [row["office"] for row in found if row["office"] is not None] == ["Pune"]


# Malformed rows

BROKEN = "User ID,Likes\n1,2\n3\n4,5,6\n7,8\n"


def test_malformed_rows(emulator: Emulator) -> None:
    """Rows that cannot be read end the query, or are read by a query of their own."""
    emulator.add("users", "2026-05-14-16", BROKEN)
    with pytest.raises(FormatError, match="1 cells instead of 2"):
        every_row(source(emulator.settings))
    settings = {**emulator.settings, "malformed_rows": "divert"}
    assert [row["user_id"] for row in every_row(source(settings))] == ["1", "7"]
    malformed = source(settings, malformed=True)
    done = tap_run(settings)
    properties = done.schema("users_malformed")["schema"]["properties"]
    assert {n: type_of(p) for n, p in properties.items()} == find(malformed)[0].types
    columns = ("raw", "reason", "_sdc_source_file", "_sdc_source_lineno")
    assert [[row[name] for name in columns] for row in every_row(malformed)] == [
        [record[name] for name in columns] for record in done.records("users_malformed")
    ]
    assert len(done.records("users_malformed")) == 2


def test_schema_for_malformed_rows(emulator: Emulator) -> None:
    """A schema for malformed rows selects columns, and refuses types that cannot hold them."""
    emulator.add("users", "2026-05-14-16", BROKEN)
    read = source(emulator.settings, malformed=True)
    _, files = find(read)
    found = rows(chosen(read, raw="string", other="date", _sdc_source_lineno="integer"), files)
    assert [tuple(row.values()) for row in found] == [("3", None, 2), ("4,5,6", None, 3)]
    with pytest.raises(FormatError, match="2 values in reason are not integer"):
        rows(chosen(read, reason="integer"), files)


def test_rows_without_the_key_are_in_one_stream(emulator: Emulator) -> None:
    """A file that lacks the key's column ends a query; one that diverts reads its rows."""
    emulator.add("users", "2026-05-14-16", "User ID,Studio Role\n1,2\n")
    read = source(emulator.settings)
    columns, _ = find(read)
    emulator.add("users", "2026-05-14-20", "Studio Role\n3\n")
    _, files = find(read)
    with pytest.raises(FormatError, match="the file lacks the key's column user_id"):
        rows(reading(read, columns), files)
    diverting = source({**emulator.settings, "malformed_rows": "divert"})
    found = rows(reading(diverting, columns), files)
    assert [row["user_id"] for row in found] == ["1", None]
    assert every_row(replace(diverting, malformed=True)) == []


# Kept types


def test_types_are_kept(emulator: Emulator, tmp_path: Path) -> None:
    """With a folder for them, columns keep their types and the key; new ones join."""
    kept = tmp_path / "kept"
    emulator.add("users", "2026-05-14-16", "User ID,Tenure\n1,2\n")
    read = source(emulator.settings, types_at=kept)
    first, _ = find(read)
    assert (first.types["tenure"], first.key) == ("integer", ("user_id",))
    emulator.add("users", "2026-05-14-20", "User ID,Tenure,Office\n1,long,Pune\n")
    columns, files = find(read)
    assert list(columns.types)[:4] == ["user_id", "tenure", "office", "tenure__text"]
    found = rows(reading(read, columns), files)
    assert [(row["tenure"], row["tenure__text"]) for row in found] == [(2, None), (None, "long")]
    for file in emulator.files:
        emulator.remove(file)
    names = list(find(read)[0].types)
    assert names == ["user_id", "tenure", "office", "tenure__text", *ADDED]
    assert [path.name for path in kept.iterdir()] == ["users.json"]
    assert json.loads((kept / "users.json").read_text()) == {
        "types": dict.fromkeys(("user_id", "office", "tenure__text"), "string")
        | {"tenure": "integer"},
        "key": ["user_id"],
    }


def test_key_is_kept(emulator: Emulator, tmp_path: Path) -> None:
    """The key that was found first remains, even if a later file allows the usual one."""
    emulator.add("users", "2026-05-14-16", "Preferred Name\nx\n")
    read = source(emulator.settings, types_at=tmp_path)
    place_key = ("_sdc_source_file", "_sdc_source_lineno")
    assert find(read)[0].key == place_key
    for file in emulator.files:
        emulator.remove(file)
    emulator.add("users", "2026-05-14-20", "User ID\n1\n")
    assert find(read)[0].key == place_key


@pytest.mark.parametrize("types", [{"user_id": "string", "tenure": "integer"}, {"tenure": "date"}])
def test_types_kept_before_keys_were(
    emulator: Emulator, tmp_path: Path, types: dict[str, str]
) -> None:
    """Types that an earlier version kept without a key still count."""
    (tmp_path / "users.json").write_text(json.dumps({"types": types}))
    emulator.add("users", "2026-05-14-16", "User ID,Tenure\n1,x\n")
    columns, _ = find(source(emulator.settings, types_at=tmp_path))
    assert columns.types["tenure"] == types["tenure"]
    assert columns.types["tenure__text"] == "string"
    assert columns.key == ("user_id",)


def test_account_column_is_kept(tmp_path: Path) -> None:
    """The column that distinguishes programs remains when one of them has no more files."""
    for program in ("1", "2"):
        path = deliver(tmp_path, "users", "2026-05-14-16", "User ID\n1\n", program=program)
    read = source(folder(tmp_path), types_at=tmp_path / "types")
    assert "_sdc_program_id" in find(read)[0].types
    path.unlink()
    assert "_sdc_program_id" in find(read)[0].types


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"types": {"a": "odd"}}', '{"types": 3}', '{"types": null}']
)
def test_kept_types_that_cannot_be_read(emulator: Emulator, tmp_path: Path, content: str) -> None:
    """A file that does not hold types is an error, and is left unchanged."""
    (tmp_path / "users.json").write_text(content)
    with pytest.raises(SettingsError, match=r"schemaLocation: users\.json cannot be read"):
        find(source(emulator.settings, types_at=tmp_path))
    assert (tmp_path / "users.json").read_text() == content


def test_types_that_cannot_be_kept(emulator: Emulator, tmp_path: Path) -> None:
    """A place that is not a folder is an error before any row is read."""
    (tmp_path / "file").write_text("")
    emulator.add("users", "2026-05-14-16", AWKWARD)
    with pytest.raises(SettingsError, match=r"schemaLocation: users\.json cannot be"):
        find(source(emulator.settings, types_at=tmp_path / "file"))


@pytest.mark.parametrize("empty", ["", "\n\n", "[]", "user_id,registered_date\n"])
def test_files_without_rows_decide_no_type(emulator: Emulator, tmp_path: Path, empty: str) -> None:
    """If an account's first file has no rows, the second one determines the types."""
    emulator.add("users", "2026-05-13-12", empty)
    read = source(emulator.settings, types_at=tmp_path)
    types = find(read)[0].types
    assert {kind for name, kind in types.items() if name not in ADDED} == {"string"}
    emulator.add("users", "2026-05-13-16", "user_id,registered_date\n1,2020-01-04\n")
    assert find(read)[0].types["registered_date"] == "date"


def test_types_that_nobody_has_seen_are_not_kept(emulator: Emulator, tmp_path: Path) -> None:
    """A file that expired before it was sampled determines no type."""
    emulator.add("users", "2026-05-13-16", DRIFTED).gone = True
    assert "blocked_at" in find(source(emulator.settings, types_at=tmp_path))[0].types
    assert list(tmp_path.iterdir()) == []


# Files and accounts


def test_expired_files_are_not_sampled(emulator: Emulator) -> None:
    """A file that is listed but gone does not prevent a query from starting: it may be read."""
    emulator.add_generation(rows=5, parts=3)
    emulator.fail("show", status=404, match="")
    assert "user_id" in find(source(emulator.settings))[0].types


def test_damaged_file_gives_no_row(emulator: Emulator) -> None:
    """Bytes that differ from what was promised are an error before the first row."""
    emulator.add("users", "2026-05-14-16", AWKWARD)
    read = source(emulator.settings)
    columns, files = find(read)
    emulator.fail("download", corrupt_at=20, times=None)
    batches = reading(read, columns).batches(files)
    with pytest.raises(IntegrityError, match="the downloaded file is damaged"):
        next(batches)


def test_one_process_has_one_token(emulator: Emulator) -> None:
    """Everything that one process reads shares a token; other credentials get their own."""
    emulator.add_generation(rows=5, parts=3)
    read = source(emulator.settings)
    columns, files = find(read)
    arrow._transport.cache_clear()
    emulator.forget()
    rows(reading(read, columns), files)
    assert emulator.count("token") == 1
    other = source({**emulator.settings, "max_retries": "1"})
    rows(reading(other, columns), files)
    assert emulator.count("token") == 2


def test_shared_rate_limit(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that share a program's limit wait for each other, and all of them finish."""
    emulator.add_generation(rows=10, parts=8)
    read = source({**emulator.settings, "max_retries": "8"})
    columns, files = find(read)
    emulator.rate_limit, emulator.rate_window = 5, 0.5
    monkeypatch.setattr(arrow, "_transport", lambda origin: FIRSTUP.connect(origin.settings))
    how = reading(read, columns)
    counts: list[int] = []

    def task(file: ExportFile) -> None:
        counts.append(sum(batch.num_rows for batch in how.batches([file])))

    threads = [threading.Thread(target=task, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == len(tap_rows(emulator.settings, "users")[1])
    assert any(request.status == 429 for request in emulator.requests)


def test_no_secret_is_shown(emulator: Emulator) -> None:
    """No representation of a reading shows its credentials."""
    read = source(emulator.settings)
    assert emulator.client_secret not in repr(chosen(read, user_id="string"))
