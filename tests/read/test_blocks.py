"""Polars reads all rows but odd ones, and the result is the careful reader's."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filetap.read import csv_fast
from filetap.read.batch import ReadOptions
from filetap.read.blocks import Block, parse
from filetap.read.csv_careful import careful_rows
from filetap.read.csv_fast import CSVReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

PLAIN = ["1,2\n", "1,2\r\n", '"a, b",c\n', ",\n", '"x\ny",\n', '"x\n\ny\r\r\nz",2\r\n', "1,\n"]
ODD = ["\n", "\r\n", "\r", "\n\n\r\n", "1,2\r", '5" x,6\n', '"7"8,9\n', '"10\n', "1\n", "1,2,3\n"]
ODD += ["\ufeff1,2\n", "\0,\n", ",\r\r", '"",""\n', '""",",\n', '"a""b",\n', "\r\n\r", "é,\u2028\n"]


def _both(data: bytes, block: int, piece: int) -> tuple[dict[int, Any], dict[int, Any]]:
    """A file's rows, with those that cannot be read, in both ways."""
    pieces = (data[at : at + piece] for at in range(0, len(data), piece))
    reader = CSVReader(pieces, "f", ReadOptions(block=block, divert=True))
    found: dict[int, Any] = {}
    for batch in reader:
        found |= dict(zip(batch.numbers, batch.frame.rows(), strict=True))
        found |= {row.number: (row.raw, row.reason) for row in batch.malformed}
    header, *_ = careful_rows(data, ended=True)
    rows = careful_rows(data[header.end :], ended=True, width=2)
    expected: dict[int, Any] = {}
    for number, row in enumerate(rows, start=1):
        raw = data[header.end :][row.start : row.end].removesuffix(b"\n").removesuffix(b"\r")
        text = raw.decode(errors="backslashreplace")
        expected[number] = (text, row.fault) if row.fault else tuple(row.cells)
    return found, expected


@settings(max_examples=400)
@given(
    st.lists(st.sampled_from([*PLAIN * 3, *ODD]), max_size=60),
    st.sampled_from([b"", b"\xff,1\n", b'"']),
    st.sampled_from([1, 40, 256, 1024, 1 << 20]),
    st.integers(1, 99) | st.just(1 << 20),
)
@example(["1,2\r", "\n", "3,4\n"], b"", 1024, 4)
@example(["\r"] * 40, b"", 256, 9)
def test_both_ways(lines: list[str], last: bytes, block: int, piece: int) -> None:
    """Row numbers, cells, nulls and faults are the careful reader's, however it is split."""
    found, expected = _both(b"a,b\n" + "".join(lines).encode() + last, block, piece)
    assert found == expected


def _rows(odd: bytes, every: int = 9_000) -> bytes:
    """Rows with an odd one now and then, some MB."""
    dice = random.Random(0)
    lines = (
        b"%d,%d,\n" % (n, dice.randrange(10**9)) if n % 3 else b'%d,"a, ""b""\nc",\r\n' % n
        for n in range(150_000)
    )
    return b"a,b,c\n" + b"".join(
        line + (odd if n % every == every // 2 else b"") for n, line in enumerate(lines)
    )


@pytest.mark.parametrize(
    "odd",
    [
        b'1,5" pipe,3\n',
        b'1,"x"y,3\n',
        b"\n",
        b"\r\n\r\n",
        b"1,2,3\r",
        b"1,2\n",
        b"1,2,3,4\n",
        b"1,\xff,3\n",
        b"\xef\xbb\xbf1,2,3\n",
    ],
)
def test_odd_rows_cost_little(monkeypatch: pytest.MonkeyPatch, odd: bytes) -> None:
    """Of a file with one odd row in 9,000 the careful reader reads no more than a tenth.

    Nor is much of it parsed twice.
    """
    careful = parsed = 0

    def counted(*args: Any, **kwargs: Any) -> Iterator[Any]:
        nonlocal careful
        for row in careful_rows(*args, **kwargs):
            careful += 1
            yield row

    def measured(data: bytes, block: Block, *args: Any) -> pl.DataFrame | None:
        nonlocal parsed
        parsed += block.size
        return parse(data, block, *args)

    monkeypatch.setattr(csv_fast, "careful_rows", counted)
    monkeypatch.setattr(csv_fast, "parse", measured)
    data = _rows(odd)
    batches = list(CSVReader([data], "f", ReadOptions(divert=True)))
    assert sum(batch.frame.height + len(batch.malformed) for batch in batches) >= 150_000
    assert careful < 15_000
    # Nor are there many small batches, each of which costs as much as a large one.
    assert len(batches) < 8
    parsed = 0
    assert list(CSVReader([data], "f", ReadOptions(divert=True, block=1 << 19)))
    assert parsed < 1.3 * len(data)


@pytest.mark.parametrize("line", [b"\n", b"\r\n", b"\r", b",,\n", b'"",,""\n', b",,\r"])
def test_empty_lines(line: bytes) -> None:
    """Lines of nothing, or of nothing but separators, are read as fast as others."""
    data = b"a,b,c\n" + line * ((4 << 20) // len(line))
    before = time.process_time()
    rows = sum(batch.frame.height for batch in CSVReader([data], "f"))
    assert rows == (data.count(line) if b"," in line else 0)
    assert time.process_time() - before < 2


@pytest.mark.parametrize("line", [b"\n", b"\r\n", b"\r"])
def test_empty_lines_above_the_header(line: bytes) -> None:
    """The header row is found below any number of blank lines."""
    pieces = [line * 100_000] * 100 + [b"a;b;c\n1;2;3\n"]
    before = time.process_time()
    (batch,) = CSVReader(pieces, "f")
    assert batch.frame.rows() == [("1", "2", "3")]
    assert time.process_time() - before < 2


@pytest.mark.parametrize("every", [1, 2, 7, 50, 400])
def test_many_odd_rows(every: int) -> None:
    """A file of odd rows takes about the careful reader's time, however they are spread."""
    data = b"a,b,c\n" + (b"1,2,3\n" * (every - 1) + b'1,5" pipe,3\n') * (60_000 // every)
    before = time.process_time()
    list(careful_rows(data, ended=True))
    alone = time.process_time() - before
    rows = sum(batch.frame.height for batch in CSVReader([data], "f"))
    assert rows == 60_000 // every * every
    assert time.process_time() - before - alone < 3 * alone + 1
