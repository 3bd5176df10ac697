"""CSV is read exactly as written, and a row that cannot be read is named."""

from __future__ import annotations

import csv
import io
import random
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filetap.columns.added import ADDED
from filetap.errors import FormatError
from filetap.read import csv_fast
from filetap.read.batch import Batch, Malformed, ReadOptions
from filetap.read.csv_careful import careful_rows
from filetap.read.csv_fast import CSVReader
from filetap.settings import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BOM = "\N{ZERO WIDTH NO-BREAK SPACE}"
Rows = list[tuple[str | None, ...]]


def cut(data: bytes, size: int) -> list[bytes]:
    """Data in chunks of one size."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def read(data: bytes, block: int = BLOCK, piece: int = 1 << 20) -> tuple[list[str], Rows]:
    """A CSV file's columns and rows."""
    reader = CSVReader(cut(data, piece), "users 000.csv", ReadOptions(block=block))
    rows: Rows = []
    for batch in reader:
        assert batch.frame.columns == reader.columns
        assert batch.frame.height
        assert not batch.malformed
        start = len(rows) + 1
        rows += batch.frame.rows()
        assert batch.numbers.to_list() == list(range(start, len(rows) + 1))
    return reader.columns, rows


def diverted(
    data: bytes, block: int = BLOCK, piece: int = 1 << 20
) -> dict[int, tuple[str | None, ...] | Malformed]:
    """A CSV file's rows by number, including those that cannot be read."""
    found: dict[int, tuple[str | None, ...] | Malformed] = {}
    last = 0
    options = ReadOptions(block=block, divert=True)
    for batch in CSVReader(cut(data, piece), "users 000.csv", options):
        rows = dict(zip(batch.numbers, batch.frame.rows(), strict=True))
        bad = {row.number: row for row in batch.malformed}
        assert not rows.keys() & bad.keys()
        assert min(*rows, *bad, batch.last) == last + 1
        assert max(*rows, *bad, 0) == batch.last == last + len(rows) + len(bad)
        last = batch.last
        found |= rows | bad
    return found


CELLS = st.text(
    st.sampled_from(
        ['"', ",", "\r", "\n", "\0", BOM, "\u2028", "😀", "é", "a", "1", " ", "|", ";", "\t"]
    ),
    max_size=6,
)


@st.composite
def _files(draw: st.DrawFn) -> tuple[str, str]:
    """A CSV file as Python writes it, and its separator."""
    width = draw(st.integers(1, 4))
    separator = draw(st.sampled_from(",,|\t;")) if width > 1 else ","
    row = st.lists(CELLS, min_size=width, max_size=width)
    rows = draw(st.lists(row, max_size=12))
    every = draw(st.booleans())
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    text = io.StringIO()
    for each in ([f"c{n}" for n in range(width)], *rows):
        line = io.StringIO()
        writer = csv.writer(
            line, quoting=csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL, delimiter=separator
        )
        writer.writerow(each)
        text.write(line.getvalue().removesuffix("\r\n"))
        text.write(line_end * draw(st.sampled_from([1, 1, 1, 2, 3])))
    written = text.getvalue()
    return (written.removesuffix(line_end) if draw(st.booleans()) else written), separator


def _expected(text: str, separator: str = ",") -> list[list[str]]:
    """The rows that Python reads, without blank lines."""
    _, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return [row for row in rows if row]


@settings(max_examples=400)
@given(_files(), st.integers(1, 200), st.integers(1, 200))
@example(("c0\n\n", ","), 1, 1)
@example(('c0,c1\n"\r\n",\r\n', ","), 7, 1)
def test_csv(file: tuple[str, str], block: int, piece: int) -> None:
    """All CSV that Python writes is read as Python reads it, in any blocks and pieces."""
    text, separator = file
    _, rows = read(text.encode(), block, piece)
    assert [[cell or "" for cell in row] for row in rows] == _expected(text, separator)


@given(_files(), st.integers(1, 200))
def test_csv_in_one_go(file: tuple[str, str], block: int) -> None:
    """The fast and the careful reader agree, nulls included."""
    text, separator = file
    data = text.encode()
    rows = careful_rows(data, ended=True, separator=ord(separator))
    careful = [tuple(row.cells) for row in rows]
    assert read(data)[1] == read(data, block)[1] == careful[1:]


def _outcome(data: bytes, block: int, piece: int) -> Rows | str:
    """A file's rows, or the error."""
    try:
        return read(data, block, piece)[1]
    except FormatError as error:
        return error.message


def _careful_outcome(data: bytes) -> Rows | str:
    """The same with the careful reader alone."""
    header = next(careful_rows(data, ended=True))
    rows = careful_rows(data[header.end :], ended=True, width=len(header.cells))
    texts: Rows = []
    for number, row in enumerate(rows, start=1):
        if row.fault:
            return f"users 000.csv: row {number}: {row.fault}"
        texts.append(tuple(row.cells))
    return texts


LINES = st.lists(
    st.sampled_from(["1,2", ",", "a,", "1", "1,2,3", "1,2,", "", "é,é", '"",""', '"",', '"a","b,"'])
    | st.sampled_from(['"x\ny",', 'a"b,c"d', '"a""b",""""', 'a"",b', '"a"b,c', '"a', 'x",1'])
    | st.sampled_from(['1,"', '","', '"1,2', 'a,"b"c"']),
    max_size=5,
).map(lambda lines: "\n".join(lines).encode())


@settings(max_examples=500)
@given(
    LINES | st.binary(max_size=60) | st.text('",\r\n\0a é', max_size=60).map(str.encode),
    st.integers(1, 70),
    st.integers(1, 70),
)
@example(b"1,2\n3\n", 99, 99)
@example(b"3,4\n1,2,", 99, 99)
def test_csv_of_any_bytes(data: bytes, block: int, piece: int) -> None:
    """The rows, or the error, of any bytes are the careful reader's, in any blocks and pieces."""
    expected = _careful_outcome(b"a,b\n" + data)
    assert _outcome(b"a,b\n" + data, BLOCK, 1 << 20) == expected
    assert _outcome(b"a,b\n" + data, block, piece) == expected


@settings(max_examples=500)
@given(
    LINES | st.binary(max_size=60) | st.text('",\r\n\0a é', max_size=60).map(str.encode),
    st.integers(1, 70),
    st.integers(1, 70),
)
def test_divert_any_bytes(data: bytes, block: int, piece: int) -> None:
    """Every row is read, or diverted verbatim, with the careful reader's number, in any blocks."""
    rows = careful_rows(data, ended=True, width=2)
    expected = {
        number: Malformed(number, _line(data[row.start : row.end]), row.fault)
        if row.fault
        else tuple(row.cells)
        for number, row in enumerate(rows, start=1)
    }
    assert diverted(b"a,b\n" + data) == expected
    assert diverted(b"a,b\n" + data, block, piece) == expected


def _line(row: bytes) -> str:
    """The text of a diverted row."""
    return re.sub(rb"(\r\n|\n|\r)\Z", b"", row).decode(errors="backslashreplace")


@pytest.mark.parametrize(
    ("bad", "raw", "reason"),
    [
        (b"1", ["1"], "1 cells instead of 2"),
        (b"1,2,3\r", ["1,2,3"], "3 cells instead of 2"),
        (b'1,"2\n3",4', ['1,"2\n3",4'], "3 cells instead of 2"),
        (b'1,"2"x', ['1,"2"x'], "text follows a closing quote"),
        (b'1,"2', ['1,"2'], "text follows a closing quote"),
        (b"1,z\xe9", ["1,z\\xe9"], "bytes that are not UTF-8 in cell 2 (unexpected end of data)"),
        (b'1,"2\n"x,3', ['1,"2', '"x,3'], "text follows a closing quote"),
    ],
)
@pytest.mark.parametrize("block", [1, 10, 1 << 20])
def test_divert(bad: bytes, raw: list[str], reason: str, block: int) -> None:
    """The rows around one that cannot be read are read, and it is diverted verbatim."""
    rows = diverted(b"a,b\n1,2\n\n" + bad + b'\n3,4\n"5\n",6\n', block)
    good = {number: row for number, row in rows.items() if not isinstance(row, Malformed)}
    found = [row for row in rows.values() if isinstance(row, Malformed)]
    assert [row.raw for row in found] == raw
    assert found[0].reason == reason
    assert good == {1: ("1", "2"), len(rows) - 1: ("3", "4"), len(rows): ("5\n", "6")}


@pytest.mark.parametrize("block", [1, 7, 50])
def test_numbers_in_both_modes(block: int) -> None:
    """The rows before the one that ends a run have the same numbers as when it is diverted."""
    data = b'a,b\n1,2\n\n"3\n",4\n' * 9 + b"5\n6,7\n"
    batches: list[Batch] = []
    with pytest.raises(FormatError, match="row 27: 1 cells"):
        batches.extend(CSVReader([data], "users 000.csv", ReadOptions(block=block)))
    rows = [pair for b in batches for pair in zip(b.numbers, b.frame.rows(), strict=True)]
    assert len(rows) >= 20
    assert dict(rows).items() <= diverted(data, block).items()


def test_divert_unclosed_quote(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quote that is never closed costs its own line only, however much follows."""
    monkeypatch.setattr(csv_fast, "LONGEST_ROW", 100_000)
    rows = diverted(b'a,b\n1,2\n"3,4\n' + b"5,6\n" * 100_000, 1000, 5000)
    bad = Malformed(2, '"3,4', "a quote is never closed")
    assert rows == {1: ("1", "2"), 2: bad} | dict.fromkeys(range(3, 100_003), ("5", "6"))


def test_divert_endless_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that never ends is an error even then: it would not fit into memory."""
    monkeypatch.setattr(csv_fast, "LONGEST_ROW", 100_000)
    with pytest.raises(FormatError, match="row 2 is longer than 100000 bytes"):
        diverted(b'a,b\n1,2\n"' + b"x" * 300_000, 1000, 5000)


@given(_files(), st.data())
def test_cut(file: tuple[str, str], data: st.DataObject) -> None:
    """Every complete row of a file's beginning is read, and nothing of the one it ends in."""
    content, separator = file[0].encode(), ord(file[1])
    rows = careful_rows(content, ended=True, separator=separator)
    header, *ends = [row.end for row in rows]
    head = content[: data.draw(st.integers(0, len(content)))]
    block = data.draw(st.integers(1, 99))
    options = ReadOptions(block=block, divert=True, cut=True)
    reader = CSVReader([head], "users 000.csv", options)
    found = [row for batch in reader for row in batch.frame.rows()]
    columns, every = read(content)
    assert reader.columns == (columns if header < len(head) else reader.columns and columns)
    assert found == every[: len(found)]
    assert len(found) >= sum(end < len(head) for end in ends)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n,\n", [(None, None)]),
        ('a,b\n"",\n', [("", None)]),
        ('a,b\n,""\n', [(None, "")]),
        ('a,b\n"",""', [("", "")]),
        ('a\n""\n', [("",)]),
        ('a\n\n""\n\n', [("",)]),
        ("a,b\n1,\n2,\n", [("1", None), ("2", None)]),
        ("a,b\n ,null\n", [(" ", "null")]),
    ],
)
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_empty_cells(text: str, rows: Rows, block: int) -> None:
    """An unquoted empty cell is null, a quoted one is an empty text."""
    assert read(text.encode(), block)[1] == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('a,b\n1,x"y\n', [("1", 'x"y')]),
        ('a,b\n1,x""y\n2,z\n', [("1", 'x""y'), ("2", "z")]),
        ('a,b\n1" x 2",3"\n', [('1" x 2"', '3"')]),
        ('a,b\nx"1\n2,3\n', None),
        ('a,b\n "x",1\n', [(' "x"', "1")]),
        ("a,b\r1,2\r3,4", [("1", "2"), ("3", "4")]),
        ("a,b\r1,2\r\r3,4\r", [("1", "2"), ("3", "4")]),
        ("a,b\n1,2\r3,4\r\n5,6\n", [("1", "2"), ("3", "4"), ("5", "6")]),
        ('a,b\n"x\ry",2\n', [("x\ry", "2")]),
        ('a,b\r\n"x\r\ny",2\r\n', [("x\r\ny", "2")]),
        ("\n\na,b\n\n1,2\n\n\n3,4\n\n", [("1", "2"), ("3", "4")]),
        (f"{BOM}a,b\n1,2\n", [("1", "2")]),
        (f'{BOM}"a",b\n1,2\n', [("1", "2")]),
        (f"a,b\n{BOM}1,2\n", [(f"{BOM}1", "2")]),
        (f"{BOM}\na,b\n1,2\n", [("1", "2")]),
        ("a,b\n#1,2\n", [("#1", "2")]),
        ("a,b\n'1,2'\n", [("'1", "2'")]),
        ('a,b\n1,"x\n\ny"\n2,z', [("1", "x\n\ny"), ("2", "z")]),
    ],
)
@pytest.mark.parametrize("block", [1, 5, 1 << 20])
def test_odd_rows(text: str, rows: Rows | None, block: int) -> None:
    """Stray quotes are text, a lone CR ends a line, blank lines and a BOM are nothing."""
    if rows is None:
        with pytest.raises(FormatError, match="row 1: 1 cells instead of 2"):
            read(text.encode(), block)
    else:
        assert read(text.encode(), block) == (["a", "b"], rows)


# Two rows on four lines, which only the careful reader reads, and two plain ones.
GOOD = (b'1,"x\ny"\n\n3,4\n', b"1,2\n3,4\n")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (b"1", "1 cells instead of 2"),
        (b"1,2,3", "3 cells instead of 2"),
        (b"1,2,", "3 cells instead of 2"),
        (b'1,2,""', "3 cells instead of 2"),
        (b",,", "3 cells instead of 2"),
        (b'""', "1 cells instead of 2"),
        (b" ", "1 cells instead of 2"),
        (b'1,"2"x', "text follows a closing quote"),
        (b'1,"2" ', "text follows a closing quote"),
        (b'"1"",2', "a quote is never closed"),
        (b'1,"2', "a quote is never closed"),
        (b"\xff,2", "bytes that are not UTF-8 in cell 1"),
        (b"1,\xff", "bytes that are not UTF-8 in cell 2"),
        (b'1,"\xe9t\xe9"', "bytes that are not UTF-8 in cell 2"),
        (b"1,\xed\xa0\x80", "bytes that are not UTF-8 in cell 2"),
        (b"1,\xf0\x9f\x98", "bytes that are not UTF-8 in cell 2"),
        (b"1,\xc0\x80", "bytes that are not UTF-8 in cell 2"),
    ],
)
@pytest.mark.parametrize("after", [b"", b"\n", b"\n5,6\n", b"\r\n5,6\r\n"])
@pytest.mark.parametrize("before", GOOD)
@pytest.mark.parametrize("block", [1, 10, 1 << 20])
def test_malformed_rows(row: bytes, fault: str, after: bytes, before: bytes, block: int) -> None:
    """A row that cannot be read is never padded or truncated: the error names file, row, fault."""
    with pytest.raises(FormatError, match="users 000") as caught:
        read(b"a,b\n" + before + row + after, block)
    assert str(caught.value).startswith(f"users 000.csv: row 3: {fault}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("block", [100, 1000, 1 << 20])
def test_rows_before_a_malformed_one(block: int) -> None:
    """The row's number is right far into the file, too."""
    data = b"a,b\n" + b'"1,\n",2\n\n' * 5000 + b"1\n" + b"1,2\n" * 5000
    with pytest.raises(FormatError, match=r"row 5001: 1 cells instead of 2"):
        read(data, block)


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (b'a,"b', "a quote is never closed"),
        (b'a,"b"c\n1,2\n', "text follows a closing quote"),
        (b"a,\xff\n1,2\n", "bytes that are not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "bytes that are not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "control characters"),
    ],
)
def test_malformed_header(header: bytes, fault: str) -> None:
    """A header row that cannot be read is an error with the reason."""
    with pytest.raises(FormatError, match=f"header row cannot be read: {fault}"):
        read(header)


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (b"", []),
        (b"\n", []),
        (b"\r\n\r\n\n", []),
        (BOM.encode(), []),
        (BOM.encode() + b"\n", []),
        (b"User ID,Name", ["user_id", "name"]),
        (b"User ID,Name\n", ["user_id", "name"]),
        (b"User ID,Name\r\n\r\n\r\n", ["user_id", "name"]),
        (b"\n" * 200_000, []),
        (b"\n" * 200_000 + b"a\n", ["a"]),
    ],
)
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_no_rows(data: bytes, columns: list[str], piece: int) -> None:
    """Files without rows are good files: empty, blank, or a header only."""
    if piece > 1 or len(data) < 1000:
        assert read(data, piece=piece) == (columns, [])


def test_no_pieces() -> None:
    """A file of no pieces, or of empty ones, has no rows."""
    for pieces in ([], [b""], [b"", b""]):
        assert list(CSVReader(pieces, "users 000.csv")) == []


@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize("block", [64, 1 << 16])
def test_long_cell(block: int, quoted: bool) -> None:  # noqa: FBT001 - a table of one column
    """A cell much larger than a block is read completely."""
    cell = ("x" * 99 + (',"\n' if quoted else "")) * 50_000
    row = '"' + cell.replace('"', '""') + '"' if quoted else cell
    _, rows = read(f"a,b\n1,2\n{row},3\n4,5\n".encode(), block)
    assert rows == [("1", "2"), (cell, "3"), ("4", "5")]


def test_endless_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that never ends is an error before the memory does."""
    monkeypatch.setattr(csv_fast, "LONGEST_ROW", 100_000)
    with pytest.raises(FormatError, match="row 2 is longer than 100000 bytes; look for a quote"):
        read(b'a,b\n1,2\n"' + b"x\n" * 100_000, 1000)


def test_long_header() -> None:
    """A header longer than the first block is read completely."""
    names = [f"column {n}" for n in range(9000)]
    columns, rows = read((",".join(names) + "\n" + ",".join(names)).encode())
    assert columns == [name.replace(" ", "_") for name in names]
    assert rows == [tuple(names)]


def test_reserved() -> None:
    """A file's own column never replaces one that the tap adds."""
    reader = CSVReader([b"Generated At,a\n1,2\n"], "users 000.csv", ReadOptions(ADDED))
    assert reader.columns == ["generated_at_2", "a"]


def test_batches() -> None:
    """A file is read in batches of about a block, and no further than needed."""
    taken = 0

    def pieces() -> Iterable[bytes]:
        nonlocal taken
        for piece in cut(b"a,b\n" + b"1,2\n" * 500_000, 100_000):
            taken += 1
            yield piece

    batches = iter(CSVReader(pieces(), "users 000.csv", ReadOptions(block=200_000)))
    first = next(batches)
    assert 40_000 <= first.frame.height <= 75_000
    assert taken <= 4
    assert first.frame.height + sum(batch.frame.height for batch in batches) == 500_000


@pytest.mark.parametrize("width", [1, 2, 40])
def test_wide_and_narrow(width: int) -> None:
    """Many rows of any width are read as Python reads them."""
    dice = random.Random(width)
    choices: Sequence[Any] = ['a"b', "x,y", "", "é\n", "plain", "1"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"c{n}" for n in range(width)])
    writer.writerows([dice.choices(choices, k=width) for _ in range(2000)])
    _, rows = read(text.getvalue().encode(), 5000)
    assert [[cell or "" for cell in row] for row in rows] == _expected(text.getvalue())


def test_messages_name_no_content() -> None:
    """A row may hold personal data: messages do not show its cells."""
    with pytest.raises(FormatError) as caught:
        read(b"a,b\nzoe@example.com\n")
    assert not re.search("zoe|example", str(caught.value))
