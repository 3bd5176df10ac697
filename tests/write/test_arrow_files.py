"""Arrow files are sound: every reader finds the same values, by the footer or as a stream."""

from __future__ import annotations

import io
import json
import subprocess
from typing import TYPE_CHECKING, Any

import duckdb
import nanoarrow
import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.ipc
import pytest
from adbc_driver_postgresql import dbapi

from filetap.write.arrow_files import write_arrow
from filetap.write.batch_files import write_file
from tests.loaders import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Rows = list[dict[str, Any]]

MAGIC = b"ARROW1\0\0"
# A column for each type, as canonical text and as the values that readers find.
TYPES = {
    "name": "string",
    "tenure": "integer",
    "rating": "number",
    "remote": "boolean",
    "day": "date",
    "seen_at": "date-time",
    "größe 😀": "string",
    "empty": "integer",
}
FULL: dict[str, tuple[str | None, Any]] = {
    "name": ("", ""),
    "tenure": ("-9223372036854775808", -(2**63)),
    "rating": ("0.1", 0.1),
    "remote": ("true", True),
    "day": ("0001-01-01", "0001-01-01"),
    "seen_at": ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    "größe 😀": ("a\nb\u2028\x7f'\\", "a\nb\u2028\x7f'\\"),
    "empty": (None, None),
}
NULLS: dict[str, tuple[str | None, Any]] = dict.fromkeys(TYPES, (None, None))
CASES: dict[str, list[dict[str, tuple[str | None, Any]]]] = {
    "empty": [],
    "one row": [FULL],
    "a null row": [NULLS],
    "some nulls": [FULL, NULLS, FULL],
    "many rows": [FULL, NULLS] * 5_000,
}


def _file(case: str) -> tuple[bytes, Rows]:
    """The content of a batch file, and its rows."""
    rows = CASES[case]
    texts = [[text for text, _ in row.values()] for row in rows]
    frame = pl.DataFrame(texts, dict.fromkeys(TYPES, pl.String), orient="row")
    content = io.BytesIO()
    write_file(frame, TYPES, "arrow", "none", content)
    return content.getvalue(), [{name: value for name, (_, value) in r.items()} for r in rows]


# Readers


def _by_footer(content: bytes) -> Rows:
    """As pyarrow reads a file."""
    table = pa.ipc.open_file(content).read_all()
    table.validate(full=True)
    return list(table.to_pylist())


def _as_stream(content: bytes) -> Rows:
    """As pyarrow reads the stream within a file."""
    table = pa.ipc.open_stream(content[len(MAGIC) :]).read_all()
    table.validate(full=True)
    return list(table.to_pylist())


def _by_nanoarrow(content: bytes) -> Rows:
    """What the `ArrowReader` of singer-sdk 0.55.0b7 calls."""
    file = io.BytesIO(content)
    assert file.read(len(MAGIC)) == MAGIC
    return list(nanoarrow.ArrayStream.from_readable(file).read_all().to_pylist())


def _by_polars(content: bytes) -> Rows:
    """As polars reads a file."""
    return pl.read_ipc(content).to_dicts()


def _by_polars_as_stream(content: bytes) -> Rows:
    """As polars reads the stream."""
    return pl.read_ipc_stream(content[len(MAGIC) :]).to_dicts()


def _by_duckdb(content: bytes) -> Rows:
    """As DuckDB reads the stream."""
    reader = pa.ipc.open_stream(content[len(MAGIC) :])
    with duckdb.connect() as connection:
        found = connection.from_arrow(reader)
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


READERS = [
    _by_footer,
    _as_stream,
    _by_nanoarrow,
    _by_polars,
    _by_polars_as_stream,
    _by_duckdb,
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__.strip("_"))
def test_readers(reader: Callable[[bytes], Rows], case: str) -> None:
    """Every reader finds the values that were written, of every type, in any number of batches."""
    content, rows = _file(case)
    assert reader(content) == rows


def test_many_batches() -> None:
    """The footer has the batches of the stream, which contains no dictionaries."""
    frame = pl.DataFrame({"a": range(1_000_000)})
    file = io.BytesIO()
    write_arrow(frame, file)
    content = file.getvalue()
    by_footer = pa.ipc.open_file(content)
    assert by_footer.read_all().column("a").to_pylist() == list(range(1_000_000))
    stream = pa.ipc.MessageReader.open_stream(content[len(MAGIC) :])
    kinds = [message.type for message in stream]
    assert kinds == ["schema", *["record batch"] * by_footer.num_record_batches]
    assert by_footer.num_record_batches > 1


def test_chunks() -> None:
    """A frame of many chunks, or of many columns, is written whole."""
    frame = pl.DataFrame({f"column {n} é": [n, None] for n in range(500)})
    content = io.BytesIO()
    write_arrow(pl.concat([frame] * 5, rechunk=False), content)
    rows = frame.to_dicts() * 5
    assert [reader(content.getvalue()) == rows for reader in READERS] == [True] * len(READERS)


@pytest.mark.parametrize("case", CASES)
def test_local_files(tmp_path: Path, case: str) -> None:
    """A local file, which polars writes itself, has the same bytes."""
    content, _ = _file(case)
    frame = pl.read_ipc(content)
    with (tmp_path / "local.arrow").open("wb") as file:
        write_arrow(frame, file)
    anywhere = io.BytesIO()
    write_arrow(frame, anywhere)
    assert (tmp_path / "local.arrow").read_bytes() == anywhere.getvalue() == content


def test_sound_content_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A polars that writes sound files is left alone."""
    frame = pl.DataFrame({"a": [1, None]})
    sound = io.BytesIO()
    write_arrow(frame, sound)
    monkeypatch.setattr(
        pl.DataFrame, "write_ipc", lambda _, file, **_options: file.write(sound.getvalue())
    )
    again = io.BytesIO()
    write_arrow(frame, again)
    assert again.getvalue() == sound.getvalue()


@pytest.mark.parametrize("case", ["empty", "some nulls"])
def test_ingest(database: str, case: str) -> None:
    """ADBC loads the stream into PostgreSQL as it is."""
    content, rows = _file(case)
    reader = pa.ipc.open_stream(content[len(MAGIC) :])
    with dbapi.connect(database) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("sound", reader, mode="replace")
        connection.commit()
    with psycopg.connect(database) as connection:
        found = connection.execute("select * from sound")
        names = [column.name for column in found.description or ()]
        assert [dict(zip(names, row, strict=True)) for row in found] == rows


SNOWFLAKE = """
import json, pathlib
import pyarrow.parquet as parquet
from target_snowflake.arrow_batch import convert_arrow_manifest_to_parquet, read_arrow_batch_file
file = pathlib.Path("batch.arrow").resolve()
rows = [read_arrow_batch_file(str(file)).to_pylist()]
for made in convert_arrow_manifest_to_parquet([file.as_uri()], str(file.parent)):
    rows.append(parquet.read_table(made.removeprefix("file://")).to_pylist())
print(json.dumps(rows))
"""


@pytest.mark.parametrize("case", ["empty", "some nulls"])
def test_target_snowflake(tmp_path: Path, case: str) -> None:
    """target-snowflake reads them, and converts them to the Parquet that it stages."""
    content, rows = _file(case)
    (tmp_path / "batch.arrow").write_bytes(content)
    python = program("target-snowflake").with_name("python")
    done = subprocess.check_output([python, "-c", SNOWFLAKE], cwd=tmp_path)
    assert json.loads(done) == [rows, rows]
