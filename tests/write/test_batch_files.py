"""Batch files: the rows of the RECORDs, in every format, in any storage."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections import defaultdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
import s3fs
from adbc_driver_postgresql import dbapi
from jsonschema import Draft7Validator
from moto.server import ThreadedMotoServer
from psycopg.rows import dict_row
from singer_sdk.exceptions import ConfigValidationError

from filetap.write.batch_files import write_file
from tap_firstup_dde.tap import TapFirstupDDE
from tests import runs
from tests.loaders import Postgres
from tests.runs import Collector, Run, command, discover, run, settings, tune, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from singer_sdk.singerlib.encoding.simple import Message

    from tap_firstup_dde.emulator import EmulatedFile, Emulator

    Record = dict[str, Any]

STREAMS = ("activities", "campaigns", "users")
SECRETS = {"key": "hush-key", "secret": "hush-secret", "token": "hush-token"}

# Format and compression as set, compression as written.
ENCODINGS = [
    ("jsonl", None, "gzip"),
    ("jsonl", "gzip", "gzip"),
    ("jsonl", "none", "none"),
    ("parquet", None, "none"),
    ("parquet", "none", "none"),
    ("parquet", "gzip", "gzip"),
    ("arrow", None, "none"),
    ("arrow", "none", "none"),
]
FORMATS = ("jsonl", "parquet", "arrow")


# Files, read without the tap's own library


def _local(url: str) -> bytes:
    """The content of a file on this machine."""
    parts = urlsplit(url)
    assert parts.scheme == "file"
    return Path(unquote(parts.path)).read_bytes()


def _table(content: bytes, file_format: str) -> pa.Table:
    """A Parquet or an Arrow file."""
    if file_format == "parquet":
        return pa.parquet.read_table(io.BytesIO(content))
    return pa.ipc.open_file(content).read_all()


def _read(content: bytes, encoding: Mapping[str, str]) -> list[Record]:
    """The rows of a file."""
    if encoding["format"] != "jsonl":
        return list(_table(content, encoding["format"]).to_pylist())
    lines = gzip.decompress(content) if encoding["compression"] == "gzip" else content
    return [json.loads(line) for line in lines.split(b"\n")[:-1]]


def _rows(done: Run, fetch: Callable[[str], bytes] = _local) -> dict[str, list[Record]]:
    """Stream → the rows of its batch files, in order."""
    rows: dict[str, list[Record]] = defaultdict(list)
    for message in done.of("BATCH"):
        for url in message["manifest"]:
            rows[message["stream"]] += _read(fetch(url), message["encoding"])
    return rows


def _typed(rows: Sequence[Record]) -> list[list[tuple[str, str, Any]]]:
    """Rows such that 1, 1.0 and true differ, and so do columns in another order."""
    return [[(name, type(value).__name__, value) for name, value in r.items()] for r in rows]


def _as_columns(done: Run, stream: str) -> list[Record]:
    """The RECORDs of a stream, each number a float: so it is in a column of numbers."""
    properties = done.schema(stream)["schema"]["properties"]
    numbers = {name for name, schema in properties.items() if "number" in schema["type"]}
    return [
        {n: float(v) if v is not None and n in numbers else v for n, v in record.items()}
        for record in done.records(stream)
    ]


def _config(root: Path | str, file_format: str = "jsonl", **more: Any) -> dict[str, Any]:
    """A ``batch_config``, with the members of *more* in encoding, storage or at the top."""
    encoding = {"format": file_format}
    if compression := more.pop("compression", None):
        encoding["compression"] = compression
    storage = {"root": str(root), **more.pop("storage", {})}
    return {"encoding": encoding, "storage": storage, **more}


# What Firstup exports


def _csv(columns: Mapping[str, Sequence[str | None]]) -> str:
    """Columns as CSV; None, or a missing value at the end, is an empty cell without quotes."""
    rows = [[*columns], *zip_longest(*columns.values())]
    cells = [[v if v is None else '"' + v.replace('"', '""') + '"' for v in r] for r in rows]
    return "".join(",".join(cell or "" for cell in row) + "\n" for row in cells)


TEXTS = [
    *("😀 \U0001f469\u200d\U0001f680", "\u2028\u2029\x85", "line\nbreak\r\nand\ranother\n", "\t"),
    *('"', 'a "quoted" word, a comma', "\\", "\\N", "NULL", "null", "{}", '"}', " blanks ", "\x7f"),
    *("", None, "é", "e\u0301"),
]
AWKWARD: Mapping[str, Sequence[str | None]] = {
    "User ID": ["1", "01", "99999999999999999999", "é", "e\u0301", *map(str, range(100, 113))],
    "Tenure": ["0", "-9223372036854775808", "9223372036854775807", "", None, "42"],
    "Rating": ["0.5", "-2", "0.0001", "123456789012345", "1234567890.12345", ""],
    "Remote": ["true", "FALSE", "True", "", None, "false"],
    "Day": ["0001-01-01", "9999-12-31", "2024-02-29", "", None],
    "Seen At": ["2026-05-14 10:00", "2026-05-14T10:00:00.000001+05:30", "", None],
    "Note": TEXTS,
    "*": ["1", "", None, "2"],
    "^.*$": ["x", "*", "^.*$"],
    "Größe 😀": ["ß", "😀"],
    "Empty": [None],
}
# In the next run, every type gets what it cannot hold, and columns come and go.
MISFITS: Mapping[str, Sequence[str | None]] = {
    "User ID": ["2", "3"],
    "Tenure": ["00123", "7", "9223372036854775808"],
    "Rating": ["1.10", "1e5", "3"],
    "Remote": ["maybe", "true"],
    "Day": ["2026-02-30", "2026-05-14"],
    "Seen At": ["never", "2026-05-14T24:00:00Z", "2026-05-14T10:00:00Z"],
    "Note": ["a\0b", *TEXTS],
    "New": ["1", "", "-3"],
}
# And sampling before the first SCHEMA does not see these.
UNSEEN: Mapping[str, Sequence[str | None]] = {
    "User ID": ["4", "5"],
    "Late": ["true", None, "😀"],
    "New": ["A", "5"],
}


def _both(
    emulator: Emulator,
    config: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    unseen: Sequence[EmulatedFile] = (),
    **more: Any,
) -> tuple[Run, Run]:
    """The same run with RECORD and with BATCH."""
    done = []
    for batch in ({}, {"batch_config": config}):
        for file in unseen:
            emulator.fail("download", status=500, match=file.key)
        done.append(run(settings(emulator, max_retries=0, **batch, **more), state))
    return done[0], done[1]


def _assert_same(records: Run, batches: Run) -> None:
    """The files hold the RECORDs' values and types; SCHEMA and STATE are the same."""
    rows = _rows(batches)
    columnar = batches.of("BATCH")[0]["encoding"]["format"] != "jsonl"
    assert batches.of("RECORD") == []
    assert batches.of("SCHEMA") == records.of("SCHEMA")
    assert batches.state == records.state
    for stream in STREAMS:
        expected = _as_columns(records, stream) if columnar else records.records(stream)
        assert _typed(rows[stream]) == _typed(expected)


@pytest.mark.parametrize(("file_format", "compression", "written"), ENCODINGS)
def test_rows_equal_records(
    emulator: Emulator,
    tmp_path: Path,
    file_format: str,
    compression: str | None,
    written: str,
) -> None:
    """Files hold exactly the rows of RECORD; BATCH and the names state how they are written."""
    for _ in range(2):
        emulator.add_generation(rows=30, parts=2)
    config = _config(tmp_path, file_format, compression=compression)
    records, batches = _both(emulator, config)
    _assert_same(records, batches)
    encodings = [message["encoding"] for message in batches.of("BATCH")]
    assert encodings == [{"format": file_format, "compression": written}] * 12
    urls = {url for message in batches.of("BATCH") for url in message["manifest"]}
    assert urls == {path.as_uri() for path in tmp_path.iterdir()}
    suffix = f".{file_format}.gz" if written == "gzip" else f".{file_format}"
    assert all(url.endswith(suffix) for url in urls)


@pytest.mark.parametrize(("file_format", "compression"), [e[:2] for e in ENCODINGS])
def test_awkward_rows_equal_records(
    emulator: Emulator, tmp_path: Path, file_format: str, compression: str | None
) -> None:
    """So they do with any cells, with misfits, and with columns that are new in mid-run."""
    config = _config(tmp_path, file_format, compression=compression)
    emulator.add("users", "2026-05-14-00", _csv(AWKWARD))
    records, batches = _both(emulator, config)
    _assert_same(records, batches)
    emulator.add("users", "2026-05-14-04", _csv(MISFITS))
    late = emulator.add("users", "2026-05-14-08", _csv(UNSEEN))
    records, batches = _both(emulator, config, batches.state, [late])
    _assert_same(records, batches)
    columns = [*records.records("users")[-1]]
    typed = ("tenure", "rating", "remote", "day", "seen_at", "new")
    assert {"late", *(f"{name}__text" for name in typed)} <= {*columns}
    assert len([m for m in batches.of("SCHEMA") if m["stream"] == "users"]) == 2


@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
def test_column_types(emulator: Emulator, tmp_path: Path, file_format: str) -> None:
    """A column's type is that of SCHEMA, even without values; text is plain, not a view."""
    emulator.add("users", "2026-05-14-00", _csv(AWKWARD))
    config = _config(tmp_path, file_format)
    done = run(settings(emulator, batch_config=config))
    (message,) = done.of("BATCH")
    properties = done.schema("users")["schema"]["properties"]
    table = _table(_local(message["manifest"][0]), file_format)
    plain = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    for field in table.schema:
        (kind,) = {*properties[field.name]["type"]} - {"null"}
        assert field.type in ([plain[kind]] if kind in plain else [pa.string(), pa.large_string()])
    assert {*map(str, table.schema.types)} > {"int64", "double", "bool"}
    assert table.column("empty").null_count == len(table)


@pytest.mark.parametrize(("file_format", "written"), sorted({(e[0], e[2]) for e in ENCODINGS}))
def test_column_names(file_format: str, written: str) -> None:
    """A column's name is any text, and never treated as a pattern."""
    columns: dict[str, tuple[list[str | None], str, list[Any]]] = {
        "*": (["1", None], "integer", [1, None]),
        "^.*$": (["0.5", "2"], "number", [0.5, 2]),
        '"': (["true", "false"], "boolean", [True, False]),
        "a\nb\\": (["", "\u2028"], "string", ["", "\u2028"]),
        "😀": ([None, None], "date", [None, None]),
        "": (["x", None], "string", ["x", None]),
    }
    frame = pl.DataFrame({n: c[0] for n, c in columns.items()}, dict.fromkeys(columns, pl.String))
    kinds = {name: kind for name, (_, kind, _) in columns.items()}
    content = io.BytesIO()
    write_file(frame, kinds, file_format, written, content)
    rows = [{name: c[2][row] for name, c in columns.items()} for row in range(2)]
    assert _read(content.getvalue(), {"format": file_format, "compression": written}) == rows


# Where files are


@pytest.mark.parametrize(
    "root",
    [
        str,
        lambda folder: folder.as_uri(),
        lambda folder: str(folder / "new" / "folder"),
        lambda folder: (folder / "new" / "folder").as_uri(),
        lambda folder: str(folder / "a blank, 100 % and é"),
    ],
)
def test_root(emulator: Emulator, tmp_path: Path, root: Callable[[Path], str]) -> None:
    """The root is a folder's path or URL, and is created if it does not exist."""
    emulator.add("users", "2026-05-14-00", _csv(AWKWARD))
    _assert_same(*_both(emulator, _config(root(tmp_path))))


@pytest.mark.parametrize("prefix", ["nightly-", "sub/folder/", None])
def test_names(emulator: Emulator, tmp_path: Path, prefix: str | None) -> None:
    """Names begin with the prefix, contain the stream, and are never repeated, in any run."""
    emulator.add_generation(rows=10, parts=2)
    config = _config(tmp_path, storage={"prefix": prefix})
    done = [run(settings(emulator, batch_config=config)).of("BATCH") for _ in range(2)]
    urls = [(m["stream"], url) for messages in done for m in messages for url in m["manifest"]]
    assert len({url for _, url in urls}) == len(urls) == 12
    for stream, url in urls:
        start = f"{tmp_path.as_uri()}/{prefix or ''}tap-firstup-dde--{stream}-"
        assert url.startswith(start)
        assert _local(url)


# Rows per file, and STATE


def _small_blocks(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Parse files in blocks of that many bytes."""
    tune(monkeypatch, block=block)


@pytest.mark.parametrize("block", [256, 1 << 20])
@pytest.mark.parametrize("most", [1, 37, 100, 5000])
def test_batch_size(
    emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    block: int,
    most: int,
) -> None:
    """Every file but an export's last has the requested rows, however it is parsed."""
    _small_blocks(monkeypatch, block)
    sizes = {"2026-05-14-00": 100, "2026-05-14-04": 75 if most == 1 else 250}
    for generation, size in sizes.items():
        emulator.add("users", generation, _csv({"User ID": [str(n) for n in range(size)]}))
    done = run(settings(emulator, batch_config=_config(tmp_path, batch_size=most)))
    files = [_rows(Run([message]))["users"] for message in done.of("BATCH")]
    for generation, size in sizes.items():
        found = [len(f) for f in files if f[0]["_sdc_source_file"].startswith(generation)]
        assert found == [most] * (size // most) + [size % most] * (size % most > 0)


class Reading(Collector):
    """Reads batch files as soon as their message is written."""

    def write_message(self, message: Message | bytes) -> None:
        """Store the rows in the message."""
        start = len(self.messages)
        super().write_message(message)
        for new in self.messages[start:]:
            if new["type"] == "BATCH":
                new["rows"] = _rows(Run([new]))[new["stream"]]


def _places(rows: Sequence[Record]) -> list[tuple[str, int]]:
    """Where rows are from."""
    return [(row["_sdc_source_file"], row["_sdc_source_lineno"]) for row in rows]


def _done_by(state: Mapping[str, Any], places: Sequence[tuple[str, int]]) -> set[tuple[str, int]]:
    """The rows that a STATE covers."""
    bookmark = state["bookmarks"].get("users", {})
    progress = bookmark.get("in_progress", {"file": "", "rows": 0})
    finished = set(bookmark.get("finished", []))
    return {
        (source, line)
        for source, line in places
        if (key := source.rsplit("/", 1)[1]) in finished
        or (key == progress["file"] and line <= progress["rows"])
    }


@pytest.mark.parametrize("most", [7, 10, 1000])
def test_state_follows_data(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """No STATE covers a row before its file is written; a run from there emits the rest."""
    tune(monkeypatch, slice=10)
    monkeypatch.setattr(runs, "Collector", Reading)
    _small_blocks(monkeypatch, 256)
    for hour, size in (("00", 45), ("04", 20), ("08", 33)):
        rows = [f"{hour} {n}" for n in range(size)]
        emulator.add("users", f"2026-05-14-{hour}", _csv({"User ID": rows}))
    config = settings(emulator, batch_config=_config(tmp_path, batch_size=most))
    done = run(config)
    every = [place for m in done.of("BATCH") for place in _places(m["rows"])]
    assert len(every) == len({*every}) == 98
    covered: list[set[tuple[str, int]]] = []
    seen: set[tuple[str, int]] = set()
    for message in done.messages:
        if message["type"] == "BATCH":
            seen.update(_places(message["rows"]))
        elif message["type"] == "STATE":
            said = _done_by(message["value"], every)
            assert said <= seen
            if said not in covered:
                covered.append(said)
                rest = [m["rows"] for m in run(config, message["value"]).of("BATCH")]
                places = [place for part in rest for place in _places(part)]
                assert places == [place for place in every if place not in said]
    assert covered == sorted(covered, key=len)
    assert len(covered) > 5
    assert len(covered[-1]) == 98


# Columns


@pytest.mark.parametrize("file_format", FORMATS)
def test_deselected_columns(
    emulator: Emulator, capsys: pytest.CaptureFixture[str], tmp_path: Path, file_format: str
) -> None:
    """A deselected column, or its misfits, are in no file."""
    emulator.add("users", "2026-05-14-00", _csv(AWKWARD))
    catalog = discover(settings(emulator), capsys)
    hidden = {"note", "tenure", "remote", "_sdc_source_lineno"}
    for entry in catalog["streams"]:
        for item in entry["metadata"]:
            if item["breadcrumb"] and item["breadcrumb"][-1] in hidden:
                item["metadata"]["selected"] = False
    config = settings(emulator, batch_config=_config(tmp_path, file_format))
    first = run(config, catalog=catalog)
    emulator.add("users", "2026-05-14-04", _csv(MISFITS))
    second = run(config, first.state, catalog)
    for done in (first, second):
        rows = _rows(done)["users"]
        assert rows
        for row in rows:
            assert {name.removesuffix("__text") for name in row}.isdisjoint(hidden)
    assert "rating__text" in _rows(second)["users"][0]


# Errors

ENCODING, STORAGE = {"format": "jsonl"}, {"root": "/tmp", "params": SECRETS}  # noqa: S108


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"storage": STORAGE}, "batch_config needs encoding.format and storage.root"),
        ({"encoding": ENCODING}, "batch_config needs encoding.format and storage.root"),
        ({"encoding": ENCODING, "storage": {"params": SECRETS}}, "batch_config needs"),
        ({"encoding": {"format": "csv"}, "storage": STORAGE}, "'csv' is not one of"),
        ({"encoding": {**ENCODING, "compression": "zstd"}}, "'zstd' is not one of"),
        (
            {"encoding": {"format": "arrow", "compression": "gzip"}, "storage": STORAGE},
            "the compression of arrow files is none",
        ),
        ({"encoding": ENCODING, "storage": STORAGE, "batch_size": 0}, "0 is less than the minimum"),
        ({"encoding": {**ENCODING, "level": 9}, "storage": STORAGE}, "'level' was unexpected"),
        ({"encoding": ENCODING, "storage": {**STORAGE, "url": "x"}}, "'url' was unexpected"),
        ({"encoding": ENCODING, "storage": STORAGE, "size": 1}, "'size' was unexpected"),
        ({"encoding": ENCODING, "storage": [STORAGE]}, "*** is not of type 'object'"),
        (
            {"encoding": ENCODING, "storage": {**STORAGE, "params": [SECRETS]}},
            "*** is not of type 'object'",
        ),
        ([{"storage": STORAGE}], "*** is not of type 'object'"),
    ],
)
def test_wrong_settings(config: Any, says: str) -> None:
    """A wrong batch_config is a one-line error without secrets."""
    with pytest.raises(ConfigValidationError) as caught:
        TapFirstupDDE(config={"access_token": "t", "batch_config": config})
    (error,) = caught.value.errors
    assert says in error
    assert "\n" not in error
    assert "hush" not in error


@pytest.mark.parametrize(
    "other", [{"stream_maps": {"users": {"a": "user_id"}}}, {"flattening_enabled": True}]
)
def test_maps_and_flattening_are_refused(other: dict[str, Any]) -> None:
    """With stream maps or flattening there are no batch files: they would hold unmapped rows."""
    with pytest.raises(ConfigValidationError) as caught:
        TapFirstupDDE(config={"access_token": "t", "batch_config": _config("/"), **other})
    (error,) = caught.value.errors
    assert "batch_config cannot be used with stream_maps or flattening" in error


def _failed(emulator: Emulator, tmp_path: Path, config: Mapping[str, Any]) -> str:
    """The one line with which a run ends if its files cannot be written."""
    emulator.add("users", "2026-05-14-00", _csv(AWKWARD))
    path = write(tmp_path, "config.json", settings(emulator, batch_config=config))
    done = command("--config", path, env={"TAP_FIRSTUP_DDE_LOGLEVEL": "DEBUG"})
    assert done.status == 1
    assert done.of("BATCH") == []
    assert all(
        not b.get("finished") for m in done.of("STATE") for b in m["value"]["bookmarks"].values()
    )
    assert "Traceback" not in done.log
    assert "hush" not in done.log
    (error,) = [line for line in done.log.splitlines() if "| ERROR" in line]
    assert [line for line in done.log.splitlines() if "asyncio" not in line][-1] == error
    return error


def test_files_are_what_copy_reads(emulator: Emulator, tmp_path: Path) -> None:
    """A warehouse's COPY accepts a jsonl.gz file: an object per line, typed, UTF-8, no NUL.

    Each object has the schema's columns, once, and values of their types; the file is one member
    of gzip, and nothing is before, between or after the lines.
    """
    emulator.add("users", "2026-05-14-00", _csv(AWKWARD))
    emulator.add("users", "2026-05-14-04", _csv({**AWKWARD, "user_id": ["nul\0nul"]}))
    done = run(settings(emulator, batch_config=_config(tmp_path / "files")))
    schema = done.schema("users")["schema"]
    check = Draft7Validator({**schema, "additionalProperties": False})
    files = [url for message in done.of("BATCH") for url in message["manifest"]]
    lines = []
    for url in files:
        unpack = zlib.decompressobj(wbits=31)
        text = unpack.decompress(_local(url))
        assert unpack.eof
        assert unpack.unused_data == b""
        assert b"\0" not in text
        assert text.endswith(b"\n")
        lines += text.decode("utf-8", "strict")[:-1].split("\n")
    for line in lines:
        pairs = json.loads(line, object_pairs_hook=list)
        assert len({name for name, _ in pairs}) == len(pairs)
        assert [error.message for error in check.iter_errors(dict(pairs))] == []
        assert not line[0].isspace()
    assert len(files) == 2
    assert len(lines) > 20


def test_unwritable_root(emulator: Emulator, tmp_path: Path) -> None:
    """A root where no folder can be created ends the run with one line."""
    (tmp_path / "file").write_text("")
    config = _config(tmp_path / "file", storage={"params": SECRETS})
    assert "users" in (error := _failed(emulator, tmp_path, config))
    assert "a batch file cannot be written (FileExistsError); check batch_config" in error


@pytest.mark.parametrize(
    ("root", "says"),
    [("unknown://x", "no file system that is known"), ("abfs://x", "install what abfs:// needs")],
)
def test_unknown_file_system(tmp_path: Path, root: str, says: str) -> None:
    """A URL of a file system that is unknown or not installed ends the run immediately."""
    config = {"access_token": "t", "api_url": "http://127.0.0.1:9", "batch_config": _config(root)}
    done = command("--config", write(tmp_path, "c.json", config))
    assert done.status == 1
    assert says in done.log.splitlines()[-1]


# S3


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, Any]]:
    """The params of an S3 on this machine that has a bucket, ``there``."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    params = {**SECRETS, "endpoint_url": f"http://{host}:{port}"}
    s3fs.S3FileSystem(**params).mkdir("there")
    yield params
    server.stop()


def test_s3(emulator: Emulator, tmp_path: Path, s3: dict[str, Any]) -> None:
    """Files are written to S3, with the rows of RECORD; its credentials are in no log."""
    emulator.add("users", "2026-05-14-00", _csv(AWKWARD))
    emulator.add_generation(rows=20)
    config = _config("s3://there/a/b", "parquet", storage={"params": s3})
    path = write(tmp_path, "config.json", settings(emulator, batch_config=config))
    done = command("--config", path, env={"TAP_FIRSTUP_DDE_LOGLEVEL": "DEBUG"})
    assert done.status == 0, done.log
    assert "DEBUG" in done.log
    assert "hush" not in done.log + json.dumps(done.messages)
    bucket = s3fs.S3FileSystem(**s3)
    rows = _rows(done, bucket.cat_file)
    urls = [url for message in done.of("BATCH") for url in message["manifest"]]
    assert sorted(urls) == [f"s3://{key}" for key in sorted(bucket.find("there/a/b"))]
    records = run(settings(emulator))
    for stream in STREAMS:
        assert _typed(rows[stream]) == _typed(_as_columns(records, stream))


def test_no_bucket(emulator: Emulator, tmp_path: Path, s3: dict[str, Any]) -> None:
    """A bucket that does not exist is never created: the run ends with one line."""
    error = _failed(emulator, tmp_path, _config("s3://typo/a", storage={"params": s3}))
    assert "a batch file cannot be written (FileNotFoundError)" in error
    assert "typo" not in s3fs.S3FileSystem(**s3).ls("", refresh=True)


# Loaders


def test_adbc(emulator: Emulator, tmp_path: Path, database: str) -> None:
    """An Arrow file is loaded into PostgreSQL by ADBC unchanged, with the values of RECORD."""
    emulator.add("users", "2026-05-14-00", _csv(AWKWARD))
    records, batches = _both(emulator, _config(tmp_path, "arrow"))
    (message,) = batches.of("BATCH")
    table = _table(_local(message["manifest"][0]), "arrow")
    with dbapi.connect(database) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("by_adbc", table, mode="create")
        connection.commit()
    with psycopg.connect(database, row_factory=dict_row) as reading:
        rows = reading.execute("select * from by_adbc order by _sdc_source_lineno").fetchall()
        reading.execute("drop table by_adbc")
    assert _typed(rows) == _typed(_as_columns(records, "users"))


def test_target_postgres(
    emulator: Emulator, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loader that accepts batch files gets the same rows from them as from RECORD."""
    monkeypatch.setenv("PGTZ", "UTC")  # without COPY it writes the session's local times
    emulator.add("users", "2026-05-14-00", _csv(AWKWARD))
    emulator.add_generation(rows=20)
    rows = {}
    for way, more in {"records": {}, "batches": {"batch_config": _config(tmp_path)}}.items():
        (folder := tmp_path / way).mkdir()
        loader = Postgres(folder, database, {})
        done = loader.load(emulator, **more)
        assert bool(done.of("BATCH")) == (way == "batches")
        for stream in STREAMS:
            columns = done.schema(stream)["schema"]["properties"]
            found = [{name: row[name] for name in columns} for row in loader.rows(stream)]
            place = ("_sdc_source_file", "_sdc_source_lineno")
            rows[stream, way] = sorted(found, key=lambda row: [str(row[n]) for n in place])
    for stream in STREAMS:
        assert rows[stream, "batches"] == rows[stream, "records"] != []
