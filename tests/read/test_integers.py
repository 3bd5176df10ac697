"""Integers parsed as such are those whose text is canonical, and no others."""

from __future__ import annotations

import csv
import io

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filetap.read.batch import ReadOptions, join
from filetap.read.blocks import parse, regular_rows
from filetap.read.csv_fast import CSVReader
from filetap.read.integers import as_integers, content_length, unify_types

CELLS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.integers(-20, 20).map(str),
    st.sampled_from(
        ["", "-0", "+5", "007", " 5", "5 ", "-00", "1.0", "1e3", "0x1", "9223372036854775808"]
    ),
)
TEXTS = st.text(st.sampled_from('ab"\n,\r é'), max_size=4)


def as_csv(rows: list[tuple[str, str, str]], end: str, *, quoted: bool) -> bytes:
    """Rows as CSV."""
    text = io.StringIO(newline="")
    if quoted:
        csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    else:
        csv.writer(text, lineterminator=end).writerows(rows)
    return text.getvalue().encode()


@given(
    st.lists(st.tuples(TEXTS, CELLS, CELLS), min_size=1, max_size=12),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_nothing_is_lost(rows: list[tuple[str, str, str]], end: str, quoted: bool) -> None:  # noqa: FBT001 - drawn
    """A block that is parsed as integers has the very text that it has without."""
    data = as_csv(rows, end, quoted=quoted)
    block = regular_rows(data, len(data), ord(","), ended=True)
    columns = ["text", "one", "two"]
    plain = parse(data, block, ord(","), columns)
    typed = parse(data, block, ord(","), columns, {"one", "two"})
    if typed is None:
        return
    assert typed.schema == {"text": pl.String, "one": pl.Int64, "two": pl.Int64}
    assert plain is not None
    assert typed.cast(pl.String).equals(plain)


@given(st.lists(st.integers(-(10**18) + 1, 10**18 - 1) | st.none(), min_size=1, max_size=30))
def test_length_is_that_of_the_text(values: list[int | None]) -> None:
    """The counted length of integers is the length of their canonical text."""
    frame = pl.DataFrame({"a": values, "b": values}, {"a": pl.Int64, "b": pl.Int64})
    assert content_length(frame) == 2 * sum(len(str(v)) for v in values if v is not None)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2", ""], pl.Int64),
        (["0", "-1", "123456789012345678"], pl.Int64),
        (["1", "02"], pl.String),
        (["1", "-0"], pl.String),
        (["1", "+2"], pl.String),
        (["1", " 2"], pl.String),
        (["1", "x"], pl.String),
        (["1", "9223372036854775807"], pl.String),  # too long to be counted
        (["1", "9223372036854775808"], pl.String),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("text", ["a", 'say ""hi"", now', "two\nlines", "two\r\nlines"])
def test_which_are_proven(cells: list[str], kind: type, end: str, text: str) -> None:
    """Integers come as such if each is written canonically, whatever is beside them."""
    rows = "".join(f'"{text}",{cell}{end}' for cell in cells)
    reader = CSVReader([f"t,n{end}{rows}".encode()], "file", ReadOptions(integers={"n"}))
    (batch,) = reader
    assert batch.frame.schema["n"] == kind
    assert batch.frame["n"].cast(pl.String).fill_null("").to_list() == cells


@pytest.mark.parametrize("odd", ["07", "+7", "-0", '"07"'])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_short_row_hides_no_zero(odd: str, end: str) -> None:
    """A row that lacks a cell is told, also beside an integer with a character too many."""
    data = end.join(["n,m,t", "1,1,x", f"{odd},1,x", "4,5", ""])
    reader = CSVReader([data.encode()], "file", ReadOptions(integers={"n", "m"}, divert=True))
    (batch,) = reader
    assert batch.frame["n"].to_list() == ["1", odd.strip('"')]
    assert [row.raw for row in batch.malformed] == ["4,5"]


@pytest.mark.parametrize("odd", ["07", "+7", "-0", '"07"'])
def test_lone_return_hides_no_zero(odd: str) -> None:
    """An integer's text is kept beside a row that ends with CR alone."""
    data = f"n,t\n1,x\n{odd},x\r4,5\n"
    reader = CSVReader([data.encode()], "file", ReadOptions(integers={"n"}))
    (batch,) = reader
    assert batch.frame["n"].to_list() == ["1", odd.strip('"'), "4"]


GOOD = ["1,2,x\n", '3,,"a,""b"\n', '"4",5,\r\n']
TYPED_ODDLY = ["07,1,x\n", "+7,-0,\n", '"07",1,""\r\n', " 1,2,x\n"]
ODD = ["4,5\n", "6\r\n", "1,2,3,4\n", "1,2,x\r", "\n", "\r\n", '8,9,"x\ry"\n', '1,2,3"4\n']
LINES = st.sampled_from([*GOOD * 3, *TYPED_ODDLY, *ODD])


@given(st.lists(LINES, max_size=40), st.sampled_from([4, 64, 1024, 1 << 20]))
@example(["1,2,x\n", "07,1,x\n", "4,5\n"], 1 << 20)
@example(["1,2,x\n", "07,1,x\n", "1,2,x\r"], 1 << 20)
def test_odd_rows(lines: list[str], block: int) -> None:
    """A file of good and odd rows has the same cells and malformed rows as without integers."""
    data = ("n,m,t\n" + "".join(lines)).encode()
    rows, malformed = [], []
    for integers in (frozenset(), frozenset({"n", "m"})):
        options = ReadOptions(integers=integers, block=block, divert=True)
        batches = list(CSVReader([data], "file", options))
        frames = [batch.frame.cast(pl.String).fill_null("") for batch in batches]
        rows.append([row for frame in frames for row in frame.rows()])
        malformed.append([row for batch in batches for row in batch.malformed])
    assert rows[0] == rows[1]
    assert malformed[0] == malformed[1]


@pytest.mark.parametrize("odd", ["\n", "\r\n", "5,x\r", '6,"a\rb"\r\n'])
def test_changed_lines_are_proven(odd: str) -> None:
    """Blank lines, and rows that end with CR alone, do not keep integers from being proven."""
    data = f"n,t\n1,x\r\n{odd}2,x\n"
    (batch,) = CSVReader([data.encode()], "file", ReadOptions(integers={"n"}))
    assert batch.frame.schema["n"] == pl.Int64
    assert (batch.frame["n"].first(), batch.frame["n"].last()) == (1, 2)


def test_some_blocks_only() -> None:
    """Where blocks differ, the file's batches can still be joined, and every text is kept."""
    cells = [str(n) for n in range(2000)] + ["007"] + [str(n) for n in range(2000)]
    data = "n,t\n" + "".join(f"{cell},x\n" for cell in cells)
    reader = CSVReader([data.encode()], "file", ReadOptions(integers={"n"}, block=4096))
    batches = list(reader)
    assert {batch.frame.schema["n"] for batch in batches} == {pl.Int64, pl.String}
    assert join(batches).frame["n"].to_list() == cells


@given(st.lists(st.lists(CELLS | st.none(), min_size=1, max_size=4), min_size=1, max_size=4))
@example([["1", "2"], ["07"]])
@example([["1"], ["2"], [""]])
@example([["1"], [None]])
def test_parts_are_alike(parts: list[list[str | None]]) -> None:
    """Parts of a column are all integers or all text, and lose nothing of their text."""
    texts = [pl.DataFrame({"n": part}, schema={"n": pl.String}) for part in parts]
    typed = [as_integers(frame["n"]) for frame in texts]
    mixed = [
        frame if whole is None or place % 2 else whole.to_frame()
        for place, (frame, whole) in enumerate(zip(texts, typed, strict=True))
    ]
    whole = pl.concat(unify_types(mixed))
    assert whole["n"].cast(pl.String).to_list() == [cell for part in parts for cell in part]
    if mixed[0]["n"].dtype == pl.Int64:
        all_fit = all(integers is not None for integers in typed)
        assert whole["n"].dtype == (pl.Int64 if all_fit else pl.String)


def test_an_odd_row_leaves_columns_of_integers() -> None:
    """A row that is read carefully does not make text of the columns that have integers."""
    rows = [f"{n},x{n}" for n in range(9_000)]
    rows[4_000] = '7,a "b"'
    data = "\n".join(["n,t", *rows, ""]).encode()
    batches = list(CSVReader([data], "f", ReadOptions(integers=["n"])))
    assert {batch.frame["n"].dtype for batch in batches} == {pl.Int64}
    assert sum(batch.frame.height for batch in batches) == 9_000
