"""RECORD lines hold exactly the rows they are made of."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filetap.write.records import record_lines, slices

WHEN = "2026-05-14T16:20:00.123456+00:00"
TEXT = st.text(
    st.characters(codec="utf-8") | st.sampled_from('"\\\n\r\t\0\x1f\x7f,{}\u2028é😀'), max_size=8
)
NUMBERS = ("0", "-1", "9223372036854775807", "-9223372036854775808")
CELLS = {
    "string": TEXT,
    "integer": st.sampled_from(NUMBERS) | st.integers(-(2**63), 2**63 - 1).map(str),
    "number": st.sampled_from(["0", "1.5", "-0.5", "0.0001", "12345678.9012345"]),
    "boolean": st.sampled_from(["true", "false"]),
    "date": st.dates().map(str),
    "date-time": st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
}


@st.composite
def _batches(draw: st.DrawFn) -> tuple[dict[str, list[str | None]], dict[str, str]]:
    """Columns in canonical text, and their types."""
    types = draw(st.dictionaries(TEXT, st.sampled_from([*CELLS]), min_size=1, max_size=5))
    rows = draw(st.integers(0, 4))
    columns: dict[str, list[str | None]] = {}
    for name, kind in types.items():
        cell: st.SearchStrategy[str | None] = CELLS[kind]
        if draw(st.booleans()):
            cell |= st.none()
        columns[name] = draw(st.lists(cell, min_size=rows, max_size=rows))
    return columns, types


def value_of(kind: str, text: str | None) -> Any:
    """The JSON value that a canonical text represents."""
    if text is None or kind in {"string", "date", "date-time"}:
        return text
    return json.loads(text)


def lines_of(columns: dict[str, list[str | None]], types: dict[str, str], stream: str) -> bytes:
    """The RECORD lines of columns of text."""
    frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    return record_lines(frame, types, stream, WHEN)


@settings(max_examples=300)
@given(_batches(), TEXT)
@example(({"a": ['"}', "}", '"', None, '\\"}']}, {"a": "string"}), "users")
@example(({"a": [None, None], "b": [None, None]}, {"a": "string", "b": "integer"}), "users")
@example(({"a": [""], "b": [","]}, {"a": "string", "b": "string"}), 'us"ers\\\n,é')
@example(({"*": ["1"], "^.*$": ["2"]}, {"*": "integer", "^.*$": "string"}), "users")
def test_rows(batch: tuple[dict[str, list[str | None]], dict[str, str]], stream: str) -> None:
    """Each line is one RECORD message with one row, its members in order, nothing changed."""
    columns, types = batch
    lines = lines_of(columns, types, stream)
    rows = list(zip(*columns.values(), strict=True))
    assert lines.count(b"\n") == len(rows)
    assert lines.endswith(b"\n") is bool(rows)
    for line, row in zip(lines.split(b"\n")[:-1], rows, strict=True):
        message = json.loads(line)
        expected = {n: value_of(types[n], v) for n, v in zip(columns, row, strict=True)}
        assert message == {
            "type": "RECORD",
            "stream": stream,
            "record": expected,
            "time_extracted": WHEN,
        }
        assert list(message["record"]) == list(columns)
        assert [*map(type, message["record"].values())] == [*map(type, expected.values())]


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("integer", ["9223372036854775807", "-9223372036854775808", "100", "0"]),
        ("number", ["9223372036854775807", "0.0001", "100", "-1.5"]),
    ],
)
def test_numbers_as_read(kind: str, texts: list[str | None]) -> None:
    """Digits come out as they were read."""
    for line, text in zip(
        lines_of({"a": texts}, {"a": kind}, "users").splitlines(), texts, strict=True
    ):
        assert f'"record":{{"a":{text}}}'.encode() in line


@pytest.mark.parametrize("other", ["boolean", "number"])
def test_typed_integers(other: str) -> None:
    """Integers as such and as text give the same lines, beside other numbers or not."""
    types = {"a": "integer", "b": other, "c": "string"}
    texts = pl.DataFrame(
        {"a": ["5", None, "-7"], "b": [None] * 3, "c": ["", None, 'a "b"']},
        dict.fromkeys(types, pl.String),
    )
    typed = texts.with_columns(pl.col("a").cast(pl.Int64))
    lines = record_lines(texts, types, "users", WHEN)
    assert record_lines(typed, types, "users", WHEN) == lines
    assert [json.loads(line)["record"]["a"] for line in lines.splitlines()] == [5, None, -7]


def test_unknown_type() -> None:
    """A column without a type is text."""
    assert json.loads(lines_of({"a": ["1"]}, {}, "users"))["record"] == {"a": "1"}


@pytest.mark.parametrize("kind", ["value", "name", "stream"])
def test_every_character(kind: str) -> None:
    """Each of the first characters of Unicode, alone in a column, is read back unchanged."""
    for character in map(chr, range(0x180)):
        name, stream = (character if kind == word else "x" for word in ("name", "stream"))
        value: str | None = character if kind == "value" else "x"
        for values in ([value], [value, None]):
            lines = lines_of({name: values}, {name: "string"}, stream).split(b"\n")[:-1]
            messages = [json.loads(line) for line in lines]
            assert [message["record"] for message in messages] == [{name: v} for v in values]
            assert {message["stream"] for message in messages} == {stream}


@pytest.mark.parametrize("odd", ["plain", 'a "quoted" one', "two\nlines"])
def test_many_rows(odd: str) -> None:
    """One awkward value among many does not change the others."""
    values: list[str | None] = [f"value {n}" for n in range(5000)]
    values[2500] = odd
    lines = lines_of({"a": values}, {"a": "string"}, "users").splitlines()
    assert [json.loads(line)["record"]["a"] for line in lines] == values


@pytest.mark.parametrize(
    ("columns", "most", "heights"),
    [
        (30, 10_000, [10_000, 10_000, 5_000]),
        (500, 10_000, [600] * 41 + [400]),
        (10, 2, [2] * 12_500),
    ],
)
def test_slices(columns: int, most: int, heights: list[int]) -> None:
    """A slice has few rows where they have many columns; all together are the batch."""
    numbers = pl.Series("0", range(25_000))
    frame = pl.DataFrame([numbers.alias(str(n)) for n in range(columns)])
    found = list(slices(frame, most))
    assert [part.height for part in found] == heights
    assert pl.concat(part["0"] for part in found).equals(numbers)


def test_slices_of_very_many_columns() -> None:
    """A slice has one row at least."""
    frame = pl.DataFrame([pl.Series(str(n), [1, 2]) for n in range(300_001)])
    assert [part.height for part in slices(frame)] == [1, 1]
