"""Columns that are dropped or hashed: their values are nowhere, whichever way rows go."""

from __future__ import annotations

import gzip
import hmac
import json
import logging
import re
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import normalize

import duckdb
import polars as pl
import pytest
from click.testing import CliRunner
from singer_sdk.exceptions import ConfigValidationError

from filetap.dlt.extraction import Extraction, Origin
from filetap.errors import ExportError, FormatError
from filetap.read.protected import hashes
from filetap.setting_checks import parse, validated
from filetap.setting_schema import settings_schema
from tap_firstup_dde.cli import main
from tap_firstup_dde.vendor import FIRSTUP
from tests.runs import command, discover, run, settings, write
from tests.test_arrow import every_row, source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

KEY = "0f2d9b-not-a-real-key"
PLAIN = ("adaq", "bobq", "cydq", "98765", "hunter2", "Secret Road")
HIDING: dict[str, Any] = {
    "columns_to_drop": {"users": ["Home Address", "*_phone"]},
    "columns_to_hash": {"users": ["user_id", "email", "salary"]},
    "hash_key": KEY,
    "malformed_rows": "divert",
}


def digest(text: str | None) -> str | None:
    """What a value is replaced by."""
    return text and hmac.new(KEY.encode(), text.encode(), "sha256").hexdigest()


@pytest.fixture
def firstup(emulator: Emulator) -> Emulator:
    """Users with personal values; misfits, a duplicate key and malformed rows among them."""
    header = "User ID,Email,home_address,mobile_phone,Salary,tenure,email\n"
    emulator.add(
        "users",
        "2026-05-14-08",
        f"{header}adaq,adaq@x.example,1 Secret Road,98765-1,98765001,3,adaq@y.example\n"
        "bobq,,2 Secret Road,98765-2,98765002,4,bobq@y.example\n",
    )
    emulator.add(
        "users",
        "2026-05-14-12",
        f"{header}cydq,cydq@x.example,,98765-3,9876500x,5,\n"
        "cydq,cydq@x.example,,98765-3,hunter2,6,\n"
        "adaq,hunter2\n",
    )
    return emulator


def _records(config: dict[str, Any], folder: Path) -> str:
    done = command("--config", write(folder, "config.json", config))
    assert done.status == 0, done.log
    return done.out + done.log


def _batches(config: dict[str, Any], folder: Path) -> str:
    found = ""
    for form in ("jsonl", "parquet", "arrow"):
        root = folder / form
        root.mkdir()
        encoding = {"format": form, "compression": "gzip"} if form == "jsonl" else {"format": form}
        batch = {"encoding": encoding, "storage": {"root": root.as_uri()}}
        done = run({**config, "batch_config": batch})
        assert done.of("BATCH")
        found += str(done.messages)
        for path in root.iterdir():
            if form == "jsonl":
                found += gzip.decompress(path.read_bytes()).decode()
            else:
                read = pl.read_parquet if form == "parquet" else pl.read_ipc
                found += json.dumps(read(path).to_dicts(), default=str)
    return found


def _load(config: dict[str, Any], folder: Path) -> str:
    place = folder / "loaded.db"
    path = write(folder, "config.json", config)
    done = CliRunner().invoke(main, ["load", "--config", path, "--to", f"duckdb:{place}"])
    assert done.exit_code == 0, done.output
    found = done.output
    with duckdb.connect(str(place)) as connection:
        for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall():
            found += str(connection.execute(f'from "{name}"').fetchall())
    assert place.read_bytes().find(b"Secret Road") == -1
    return found


def _dlt(config: dict[str, Any], folder: Path) -> str:
    given = validated({**_defaults(), **config}, FIRSTUP, settings_schema(FIRSTUP))
    origin = Origin(FIRSTUP, parse(given, FIRSTUP))
    state: dict[str, Any] = {}
    rows = [batch.rows.to_pylist() for batch in Extraction(origin, "users", state).batches()]
    return f"{rows}{state}{folder.name}"


def _arrow(config: dict[str, Any], folder: Path) -> str:
    texts = {n: v if isinstance(v, str) else json.dumps(v) for n, v in config.items()}
    ways = (source(texts, types_at=folder / "types"), source(texts, malformed=True))
    kept = folder / "types" / "users.json"
    return str([every_row(way) for way in ways]) + kept.read_text()


def _people(config: dict[str, Any], folder: Path) -> str:
    path, page = write(folder, "config.json", config), folder / "report.html"
    bundle = folder / "bundle.json"
    found = ""
    for words in (["files"], ["doctor", "--bundle", str(bundle)], ["report", "--to", str(page)]):
        done = CliRunner().invoke(main, [*words, "--config", path])
        assert done.exit_code == 0, done.output
        found += done.output
    return found + page.read_text() + bundle.read_text()


def _defaults() -> dict[str, Any]:
    known = settings_schema(FIRSTUP)["properties"]
    return {name: setting["default"] for name, setting in known.items() if "default" in setting}


@pytest.mark.parametrize("path", [_records, _batches, _load, _dlt, _arrow, _people])
def test_values_are_nowhere(
    firstup: Emulator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    path: Callable[[dict[str, Any], Path], str],
) -> None:
    """No output has a protected value; where rows go, hashes, good values and row numbers do."""
    caplog.set_level(logging.DEBUG)
    found = path(settings(firstup, **HIDING), tmp_path) + caplog.text
    assert [text for text in (*PLAIN, KEY) if text in found] == []
    if path is not _people:
        for text in ("adaq", "cydq@x.example", "adaq@y.example", "hunter2"):
            assert str(digest(text)) in found
        assert "2 cells instead of 7" in found
        assert not re.search("home_address['\"]:", found)


def test_types_that_were_emitted_stay(firstup: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """Hashes of a column that was an integer are in its misfit column; keys stay keys."""
    later = firstup.files.pop()
    before = run(settings(firstup))
    assert before.schema("users")["schema"]["properties"]["salary"]["type"] == ["integer", "null"]
    firstup.files.append(later)
    after = run(settings(firstup, **HIDING), before.state)
    assert after.schema("users")["key_properties"] == ["user_id"]
    properties = after.schema("users")["schema"]["properties"]
    assert properties["salary"]["type"] == ["integer", "null"]
    assert {*properties}.isdisjoint({"home_address", "mobile_phone"})
    assert [(r["salary"], r["salary__text"], r["email"]) for r in after.records("users")] == [
        (None, digest("9876500x"), digest("cydq@x.example")),
        (None, digest("hunter2"), digest("cydq@x.example")),
    ]
    assert "1 row cannot be read; kept without text in users_malformed" in caplog.text
    (row,) = after.records("users_malformed")
    assert (row["raw"], row["_sdc_source_lineno"]) == (None, 3)


def test_discovery_and_catalog(firstup: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """A catalog lacks dropped columns; one that was made before the setting changes nothing."""
    plain = discover(settings(firstup), capsys)
    hiding = discover(settings(firstup, **HIDING), capsys)
    (users,) = (s for s in hiding["streams"] if s["tap_stream_id"] == "users")
    assert "home_address" not in users["schema"]["properties"]
    assert users["schema"]["properties"]["salary"]["type"] == ["string", "null"]
    for catalog in (plain, hiding):
        done = run(settings(firstup, **HIDING), catalog=catalog)
        assert {*done.schema("users")["schema"]["properties"]} == {*done.records("users")[0]}
        assert done.records("users")[0]["salary"] == digest("98765001")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"columns_to_drop": {"users": ["emial"]}},
            "emial, which no file has had; did you",
        ),
        ({"columns_to_hash": {"users": ["salary__text"]}}, "had; did you mean salary?"),
        ({"columns_to_drop": {"users": ["user_*"]}}, "leave out the key's column user_id; name it"),
        ({"columns_to_drop": {"users": ["email"]}}, "email is in both"),
        ({"columns_to_drop": {"usres": ["email"]}}, "'usres' is not one of"),
        ({"columns_to_drop": {"users": ["generated_at"]}}, "is added by the tap"),
        ({"hash_key": None}, "columns_to_hash needs hash_key"),
        ({"hash_key": " \n"}, "columns_to_hash needs hash_key"),
        ({"primary_keys": {"users": ["tenure"]}, "columns_to_drop": {"users": ["*e*"]}}, "tenure"),
    ],
)
def test_slips_are_errors(firstup: Emulator, change: dict[str, Any], words: str) -> None:
    """A name that protects nothing, or cannot be dropped, ends the run before any row."""
    with pytest.raises((ConfigValidationError, ExportError)) as caught:
        run(settings(firstup, **{**HIDING, **change}))
    assert words in " ".join(getattr(caught.value, "errors", [str(caught.value)]))
    assert not hasattr(caught.value, "run") or not caught.value.run.records("users")


def test_names_that_may_match_nothing(firstup: Emulator, caplog: Any) -> None:
    """Patterns and documented columns give a warning; what was found once is found for good."""
    names = ["fax*", "first_name", "mobile_phone"]
    hiding = {"columns_to_drop": {"users": names}, "malformed_rows": "divert"}
    done = run(settings(firstup, **hiding))
    for name in ("fax*", "first_name"):
        assert caplog.text.count(f"columns_to_drop: no file has had a column {name} so far") == 1
    firstup.add("users", "2026-05-15-08", "user_id,shoe_size\ndan,9\n")
    later = run(settings(firstup, **hiding), done.state)
    assert [r["user_id"] for r in later.records("users")] == ["dan"]
    assert later.state["bookmarks"]["users"]["protected"] == ["mobile_phone"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_patterns_in_any_unicode_form(emulator: Emulator, form: Literal["NFC", "NFD"]) -> None:
    """A pattern and a label match whether their accents are composed or not."""
    emulator.add("users", "2026-05-14-08", f"user_id,{normalize(form, 'Prénom.Été')}\n1,x\n")
    for pattern in ("prén*", "*.Été"):
        for other in ("NFC", "NFD"):
            hiding = {"columns_to_drop": {"users": [normalize(other, pattern)]}}
            assert "x" not in run(settings(emulator, **hiding)).records("users")[0].values()


def test_patterns_spare_added_columns(emulator: Emulator) -> None:
    """A pattern is about the file's columns: rows keep their place, which may be the key."""
    emulator.add("activities", "2026-05-14-08", "user_id,opens,log_file\n1,2,x\n")
    done = run(settings(emulator, columns_to_drop={"activities": ["*_file", "*_id"]}))
    assert {*done.records("activities")[0]} == {
        *("opens", "generated_at", "_sdc_source_file", "_sdc_source_lineno"),
    }


@pytest.mark.parametrize(("name", "is_refused"), [("emial", True), ("nick_name", False)])
def test_commands_show_slips(
    firstup: Emulator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    *,
    is_refused: bool,
) -> None:
    """A name on which a run fails is shown before any run; one that an older file has is not.

    Doctor fails, as the run would; a report warns.
    """
    firstup.add("users", "2026-05-14-04", "user_id,nick_name\nadaq,hunter2\n")
    hiding = {**HIDING, "columns_to_drop": {"users": [name]}}
    path = write(tmp_path, "config.json", settings(firstup, **hiding))
    words = f"columns_to_drop names the column {name}, which no file has had"
    done = CliRunner().invoke(main, ["doctor", "--config", path])
    assert (done.exit_code, words in done.output) == (int(is_refused), is_refused)
    page = str(tmp_path / "report.html")
    done = CliRunner().invoke(main, ["report", "--to", page, "--config", path])
    assert (done.exit_code, words in caplog.text) == (0, is_refused)


def test_a_file_without_a_header_shows_nothing(emulator: Emulator) -> None:
    """The first row of such a file is not in the error."""
    emulator.add("users", "2026-05-14-08", "adaq,adaq@x.example\nbob,hunter2\n")
    with pytest.raises(FormatError, match="not an export of users") as caught:
        run(settings(emulator, **HIDING))
    assert "adaq" not in str(caught.value)


def test_hashes() -> None:
    """Equal texts have equal hashes, integers those of their text, and null stays null."""
    assert hashes(pl.Series(["a", None, "", "a"]), KEY.encode()).to_list() == [
        digest("a"),
        None,
        hmac.new(KEY.encode(), b"", "sha256").hexdigest(),
        digest("a"),
    ]
    assert hashes(pl.Series([7, None]), KEY.encode()).to_list() == [digest("7"), None]
    assert hashes(pl.Series([None], dtype=pl.String), b"k").to_list() == [None]
