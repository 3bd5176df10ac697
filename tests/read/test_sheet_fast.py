"""Workbooks read by blocks: whatever the fast reader takes, the parser would read the same."""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filetap.columns.added import ADDED
from filetap.errors import FormatError
from filetap.read import items, workbook, worksheet
from filetap.read.batch import ReadOptions
from filetap.read.cells import Kind, stored_value
from filetap.read.detect import open_reader
from filetap.read.number_columns import converted
from filetap.read.sheet_fast import FastRows
from tests.read.test_workbook import MAIN, OFFICE, book, packed, parts, saved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filetap.read.items import Block

FORMATS = ["yyyy-mm-dd", "hh:mm", "yyyy-mm-dd hh:mm", "[h]:mm:ss", "0.00"]
SHARED = (
    "<si><t>alpha</t></si><si><t xml:space='preserve'> b </t></si><si><t/></si>\n"
    "<si><t>R&amp;D _x0041_</t></si><si><r><t>rich </t></r><r><t>text</t></r></si>"
    '<si><t>東</t><rPh sb="0" eb="1"><t>トウ</t></rPh></si><si><t xml:space="preserve"> é</t></si>'
    "<si><t>&#233;&#x1F600;</t></si><si><t>a > b</t></si><si/>"
)
HEADER = '<row r="1"><c r="A1" t="str"><v>User ID</v></c>' + "".join(
    f'<c r="{letter}1" t="str"><v>{letter}</v></c>' for letter in "BCD"
)
HEADER += "</row>"


def outcome(
    content: bytes, *, fast: bool = True, block: int = 1 << 22, **options: Any
) -> tuple[Any, int]:
    """What a reader returns, or the error without its position; and how many blocks it read fast.

    Without an error that is the columns, the rows with their numbers, and the malformed rows.
    """
    taken: list[int] = []
    read = FastRows.read

    def counting(rows: FastRows, found: Block) -> Any:
        columns = read(rows, found) if fast else None
        taken.extend([1] if columns else [])
        return columns

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FastRows, "read", counting)
        patch.setattr(items, "LARGEST", block)
        patch.setattr(workbook, "_PIECE", 100)  # or the header row's piece is the whole sheet
        patch.setattr(items, "_SMALLEST", min(block, 64))
        if not fast:
            patch.setattr(workbook, "shared_texts", lambda _: None)
        try:
            reader = open_reader(
                io.BytesIO(content), "file", ReadOptions(ADDED, divert=True, **options)
            )
            found = [
                (batch.numbers.to_list(), batch.frame.rows(), batch.malformed) for batch in reader
            ]
        except FormatError as error:
            return re.sub(r": line \d+, column \d+", "", str(error)), sum(taken)
        numbers = [number for part in found for number in part[0]]
        rows = [row for part in found for row in part[1]]
        malformed = [row for part in found for row in part[2]]
        return (reader.columns, list(zip(numbers, rows, strict=True)), malformed), sum(taken)


def careful(content: bytes, **options: Any) -> Any:
    """What the parser alone returns."""
    return outcome(content, fast=False, **options)[0]


def line(number: int, *cells: str, attributes: str = "") -> str:
    """A row of cells, ``@`` in them being its number."""
    content = "".join(cells).replace("@", str(number))
    return f'<row r="{number}"{attributes}>{content}</row>'


REGULAR = {
    "numbers": '<c r="A@"><v>1</v></c><c r="B@" t="n"><v>-1.50</v></c><c r="C@"><v>1E3</v></c>',
    "long": '<c r="A@"><v>12345678901234567890123</v></c><c r="B@"><v>0.10000000000000001</v></c>',
    "blanks": '<c r="A@"><v> 4\n</v></c>',
    "dates": '<c r="A@" s="1"><v>46156</v></c><c r="B@" s="1"><v>46156.4375</v></c>',
    "old dates": '<c r="A@" s="1"><v>60</v></c><c r="B@" s="3"><v>0.5</v></c>',
    "times": '<c r="A@" s="2"><v>0.5</v></c><c r="B@" s="3"><v>46156.00000289352</v></c>',
    "durations": '<c r="A@" s="4"><v>1.135763888888889</v></c><c r="B@" s="4"><v>-0.0625</v></c>',
    "format without times": '<c r="A@" s="5"><v>46156</v></c>',
    "shared": '<c r="A@" s="1" t="s"><v>0</v></c><c r="C@" t="s"><v>7</v></c>',
    "inline": '<c r="A@" t="inlineStr"><is><t>a &lt;b&gt; _x000D_\n</t></is></c>',
    "kept blanks": '<c r="A@" t="inlineStr"><is><t xml:space="preserve"> a </t></is></c>'
    '<c r="B@" t="inlineStr"><is><t>b</t></is></c>',
    "empty texts": '<c r="A@"><v>1</v></c><c r="B@" t="inlineStr"><is><t></t></is></c>',
    "truth and errors": '<c r="A@" t="b"><v>1</v></c><c r="B@" t="e"><v>#N/A</v></c>',
    "iso dates": '<c r="A@" t="d" s="1"><v>2026-05-14T00:00:00</v></c>',
    "formulas": '<c r="A@"><f>1&lt;2</f><v>3</v></c><c r="B@" t="str"><f>"a"</f><v>b</v></c>'
    '<c r="C@"><f t="shared" ref="C1:C9" si="0">A1</f><v>1</v></c>'
    '<c r="D@"><f t="shared" si="0"/><v>2</v></c>',
    "no values": '<c r="A@" s="1"/><c r="B@"></c><c r="C@"><v>1</v></c><c r="D@" s="2" />',
    "blank": '<c r="A@" s="1"/>',
    "blank beyond": '<c r="A@"><v>1</v></c><c r="XFD@" s="1"/><c r="E@" t="str"><v></v></c>',
    "out of order": '<c r="B@"><v>1</v></c><c r="A@"><v>2</v></c>',
    "references": '<c r="A@" t="inlineStr"><is><t>&#233;&#x1F600;&quot;&apos;&amp;lt;</t></is></c>',
    "markup in texts": '<c r="A@" t="str"><v>a > b "/>  "></v></c>',
    "not latin": '<c r="A@" t="str"><v>東 \U0001f600 \u00a0</v></c>',
    "other attributes": '<c r="A@" cm="1" vm=\'2\' ph="1" t="n"><v>1</v></c>',
    "references without row": '<c r="A"><v>1</v></c>',
}


@pytest.mark.parametrize("name", REGULAR)
@pytest.mark.parametrize("block", [300, 1 << 22])
def test_regular_rows(name: str, block: int) -> None:
    """What programs write is read by blocks, with the result of the parser."""
    lines = (line(n, REGULAR[name], attributes=' spans="1:4"') for n in range(2, 40))
    content = book(HEADER + "\n".join(lines), shared=SHARED, formats=FORMATS)
    found, blocks = outcome(content, block=block)
    assert found == careful(content)
    assert blocks


GOOD = '<c r="A@"><v>1</v></c>'
ODD = {
    "no reference": "<c><v>1</v></c>",
    "small letters": '<c r="a@"><v>1</v></c>',
    "beyond the last column": '<c r="XFE@"><v>1</v></c>',
    "no reference but another attribute": '<c s="B@"><v>1</v></c>',
    "reference not first": '<c s="1" r="A@"><v>1</v></c>',
    "two references": '<c r="A@" r="B@"><v>1</v></c>',
    "two equal attributes": '<c r="A@" s="1" s="1"><v>1</v></c>',
    "attributes together": '<c r="A@"s="1"><v>1</v></c>',
    "unknown prefix": '<c r="A@" y:s="1"><v>1</v></c>',
    "another namespace": '<c r="A@" xmlns="a"><v>1</v></c>',
    "two cells": '<c r="A@"><v>1</v></c><c r="A@"><v>2</v></c>',
    "too wide": GOOD + '<c r="E@"><v>1</v></c>',
    "not a number": '<c r="A@"><v>x</v></c>',
    "not a shared text": '<c r="A@" t="s"><v>99</v></c>',
    "a negative shared text": '<c r="A@" t="s"><v>-1</v></c>',
    "no number": GOOD + '<c r="B@"><v></v></c>',
    "formula without result": '<c r="A@"><f>1</f></c>',
    "formula with empty result": '<c r="A@"><f>1</f><v></v></c>',
    "formula with empty text": '<c r="A@" t="inlineStr"><f>1</f><v></v></c>',
    "formula after its result": '<c r="A@"><v>1</v><f>1</f></c>',
    "unknown entity in a formula": '<c r="A@"><f>&b;</f><v>1</v></c>',
    "unknown entity": '<c r="A@" t="str"><v>&b;</v></c>',
    "lone ampersand": '<c r="A@" t="str"><v>a & b</v></c>',
    "not a character": '<c r="A@" t="str"><v>&#0;</v></c>',
    "a control character": '<c r="A@" t="str"><v>\x01</v></c>',
    "no character": '<c r="A@" t="str"><v>\uffff</v></c>',
    "end of CDATA": '<c r="A@" t="str"><v>]]></v></c>',
    "CDATA": '<c r="A@" t="str"><v><![CDATA[</v></c></row>]]></v></c>',
    "comment": '<!-- </row> --><c r="A@"><v>1</v></c>',
    "comment in a value": '<c r="A@"><v>1<!-- --></v></c>',
    "instruction": '<?a </row>?><c r="A@"><v>1</v></c>',
    "rich text": '<c r="A@" t="inlineStr"><is><r><t>x</t></r></is></c>',
    "phonetic": '<c r="A@" t="inlineStr"><is><t>x</t><rPh><t>y</t></rPh></is></c>',
    "two values": '<c r="A@"><v>1</v><v>2</v></c>',
    "value around a tag": '<c r="A@"><v>1<a/></v></c>',
    "crossed tags": '<c r="A@"><v>1</t></is></c><c r="B@"><is><t>1</v></c>',
    "not a cell": '<c r="A@"></row>',
    "row in a row": '<row r="7"><c r="A@"><v>1</v></c></row>',
    "other elements": '<a></a><c r="A@"><v>1</v></c>',
    "value outside cells": '<v>1</v><c r="A@"><v>2</v></c>',
    "text between cells": 'a<c r="A@"><v>2</v></c>',
    "another type": '<c r="A@" t="x"><v>2</v></c>',
    "closed twice": '<c r="A@"/></c>',
    "value after a cell": '<c r="A@"/><v>5</v></c>',
    "not UTF-8": '<c r="A@" t="str"><v>\udcff</v></c>',
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("block", [100, 400, 1 << 22])
def test_odd_rows(name: str, block: int) -> None:
    """Anything else is the parser's, with the rows around it."""
    lines = [line(n, GOOD) for n in range(2, 40)]
    lines[20] = line(22, ODD[name])
    members: dict[str, str | bytes] = dict(
        parts({"Users": HEADER + "".join(lines)}, shared=SHARED, formats=FORMATS)
    )
    sheet = str(members["xl/sheets/1.xml"])
    members["xl/sheets/1.xml"] = sheet.encode(errors="surrogateescape")
    content = packed(members)
    assert outcome(content, block=block)[0] == careful(content)


BETWEEN = [
    '<c r="B7"><v>1</v></c>',
    "\r\n",
    '<row r="3"/>',
    '<row r="3" ht="15"/><row/>',
    '<row r="3"></row>',
    '<row r="3" r="4"/>',
    '<row r="3"></c>',
    "<rowing/>",
    "<a xmlns='b'>",
    "</a>",
    "<!-- a",
    "-->",
    "<![CDATA[",
    "]]>",
    "<row>",
    "</row>",
    "</sheetData>",
    "<sheetData>",
    "<rPh>",
    "</rPh>",
    "<v>",
    "</v>",
    "text &amp; text",
    "&b;",
    '<row x14ac:a="1"/>',
]
WRAPPERS = [
    ("<!--", "-->"),
    ("<![CDATA[", "]]>"),
    ("<?a ", "?>"),
    ('<a xmlns="b">', "</a>"),
    ("<a>", "</a>"),
    ("<row>", "</row>"),
    ("<rPh>", "</rPh>"),
    ("<v>", "</v>"),
    ("", '<c r="A1"><v>1</v></c>'),
    ("", '<c r="B1"><v>1</v></c></row>'),
    ("</sheetData><sheetData>", ""),
]


@pytest.mark.parametrize(("start", "end"), WRAPPERS)
@pytest.mark.parametrize("block", [100, 400, 1 << 22])
def test_wrapped_rows(start: str, end: str, block: int) -> None:
    """Rows in a comment, another namespace or an odd place count only if they do for the parser."""
    lines = [line(n, GOOD) for n in range(2, 60)]
    lines[20], lines[40] = start + lines[20], lines[40] + end
    content = book(HEADER + "".join(lines))
    assert outcome(content, block=block)[0] == careful(content)


cells = st.lists(
    st.one_of(st.sampled_from(list(REGULAR.values())), st.sampled_from([*ODD.values(), GOOD])),
    max_size=2,
).map("".join)
regular_cells = st.sampled_from(list(REGULAR.values()))


@given(
    contents=st.lists(st.one_of(regular_cells, regular_cells, regular_cells, cells), max_size=12),
    between=st.dictionaries(st.integers(0, 11), st.sampled_from(BETWEEN), max_size=2),
    block=st.integers(30, 2_000),
    prefix=st.sampled_from(["", "x:"]),
    since_1904=st.booleans(),
)
def test_fast_is_careful(
    contents: list[str], between: dict[int, str], block: int, prefix: str, *, since_1904: bool
) -> None:
    """Cut anywhere, any sheet is read as the parser alone reads it, or refused alike."""
    lines = [HEADER]
    for number, content in enumerate(contents):
        lines.append(line(number + 2, content))
        lines.append(between.get(number, ""))
    members: dict[str, str | bytes] = dict(
        parts(
            {"Users": "".join(lines)},
            shared=SHARED,
            formats=FORMATS,
            properties='date1904="1"' if since_1904 else "",
        )
    )
    sheet = str(members["xl/sheets/1.xml"])
    if prefix:
        sheet = re.sub(r"<(/?)(?=[a-z])", rf"<\g<1>{prefix}", sheet, flags=re.IGNORECASE)
        sheet = sheet.replace("xmlns=", "xmlns:x=", 1)
    members["xl/sheets/1.xml"] = sheet.encode(errors="surrogateescape")
    sheets = packed(members)
    assert outcome(sheets, block=block)[0] == careful(sheets)


texts = st.text(st.characters(codec="utf-8") | st.sampled_from("_x05DF4&;<>#\r\n\t \x01"))


@given(
    stored=st.lists(texts, min_size=1, max_size=20),
    block=st.integers(20, 400),
    escaped=st.booleans(),
)
def test_shared_texts_are_careful(stored: list[str], block: int, *, escaped: bool) -> None:
    """Shared texts are the parser's, whatever is in them and wherever their blocks end."""
    if escaped:
        stored = [re.sub("[<>&]|\r", lambda m: f"&#{ord(m[0])};", text) for text in stored]
    shared = "".join(f"<si><t>{text}</t></si>" for text in stored)
    lines = (line(n, f'<c r="A@" t="s"><v>{n - 2}</v></c>') for n in range(2, 2 + len(stored)))
    content = packed(parts({"Users": HEADER + "".join(lines)}, shared=shared))
    assert outcome(content, block=block)[0] == careful(content)


def spelled(value: float) -> Iterator[str]:
    """The spellings of a double that programs write."""
    yield from (repr(value), f"{value:.17g}", f"{value:.16G}", f"{value:.15g}", f"{value:.12f}")


KINDS: list[Kind | None] = [None, "date", "time", "date-time", "duration"]


@given(
    values=st.lists(
        st.floats(allow_nan=False, allow_infinity=False)
        | st.floats(-10, 3_000_000)
        | st.integers(0, 10**20).map(lambda n: n / 86_400_000)
        | st.decimals(-1000, 1000, places=2).map(float),
        min_size=1,
    ),
    shows=st.sampled_from(KINDS),
    since_1904=st.booleans(),
)
def test_numbers_by_columns(values: list[float], shows: Kind | None, *, since_1904: bool) -> None:
    """A column of numbers has the text that each of them has alone."""
    stored = [text for value in values for text in spelled(value)]
    expected = [stored_value(text, "n", shows, since_1904=since_1904) for text in stored]
    found = converted(pl.Series(stored), "n", shows, since_1904=since_1904)
    assert (found is None) == (None in expected)
    assert found is None or found.to_list() == expected


def test_frequent_odd_rows() -> None:
    """One odd row costs its neighbours' speed, not that of the sheet."""
    lines = [line(n, GOOD * 1) for n in range(2, 4_000)]
    lines[2_000] = line(2_002, ODD["rich text"])
    content = book(HEADER + "".join(lines))
    found, blocks = outcome(content, block=4_096)
    assert found == careful(content)
    assert blocks > 10


@pytest.mark.parametrize("skip", [0, 1, 2, 5, 37, 38, 39])
def test_skipped(skip: int) -> None:
    """Rows that were read before are dropped from blocks too; the others keep their numbers."""
    content = book(HEADER + "".join(line(n, f'<c r="A{n}"><v>{n}</v></c>') for n in range(2, 40)))
    found, blocks = outcome(content, block=300, skip=skip)
    assert blocks > 1
    assert found == careful(content, block=300, skip=skip)
    if skip <= 38:
        assert found[1] == [
            (n - 1, (str(n), None, None, None)) for n in range(2, 40) if n - 1 >= skip
        ]


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are counted and batches bounded whoever reads them; a sparse block is not spread out."""
    lines = "".join(line(n, '<c r="A@" t="str"><v>abcdefghij</v></c>') for n in range(2, 1_000))
    content = book(HEADER + lines)
    for name, value, most in (("_ROWS", 70, 70), ("_TEXT", 99, 10), ("_CELLS", 400, 100)):
        with monkeypatch.context() as patch:
            patch.setattr(worksheet, name, value)
            batches = list(open_reader(io.BytesIO(content), "file"))
            assert {batch.frame.height for batch in batches[:-1]} == {most}
            assert batches[-1].last == 998
    monkeypatch.setattr(workbook, "_PIECE", 100)
    monkeypatch.setattr(worksheet, "_MOST_ROWS", 998)
    with pytest.raises(FormatError, match="it has more than 998 rows"):
        list(open_reader(io.BytesIO(content), "file"))


def test_much_shared_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that refers to more text than a batch may have is read in smaller ones."""
    lines = "".join(line(n, '<c r="A@" t="s"><v>0</v></c>') for n in range(2, 40))
    content = book(HEADER + lines, shared=f"<si><t>{'a' * 500}</t></si>")
    expected = careful(content)
    assert outcome(content) == (expected, 1)
    monkeypatch.setattr(worksheet, "_TEXT", 2_000)
    found, blocks = outcome(content)
    assert found == expected
    assert blocks > 8


def test_refused() -> None:
    """A file that is malformed as a whole has each of its rows reported."""
    content = book(HEADER + "".join(line(n, GOOD) for n in range(2, 40)))
    reader = open_reader(io.BytesIO(content), "file", ReadOptions(ADDED, divert=True))
    reader.refuse("no such columns")
    (batch,) = reader
    assert not batch.frame.height
    assert {row.reason for row in batch.malformed} == {"no such columns"}
    assert [row.number for row in batch.malformed] == list(range(1, 39))


def test_columns_in_another_order() -> None:
    """Sheets with the same columns in another order are read fast too."""
    other = '<row r="1">' + "".join(
        f'<c r="{letter}1" t="str"><v>{name}</v></c>'
        for letter, name in zip("ABCD", ("D", "User ID", "B", "C"), strict=True)
    )
    lines = "".join(line(n, *(f'<c r="{c}@"><v>{c!r}</v></c>' for c in "")) for n in range(2, 4))
    lines += line(9, "".join(f'<c r="{c}@" t="str"><v>{c}</v></c>' for c in "ABCD"))
    content = packed(parts({"1": HEADER + lines, "2": f"{other}</row>{lines}"}))
    found, blocks = outcome(content)
    assert found == careful(content)
    assert blocks == 2
    assert [row for _, row in found[1]] == [tuple("ABCD"), tuple("BCDA")]


def test_workbooks_of_openpyxl() -> None:
    """A sheet by openpyxl is read by blocks only."""
    content = saved(["user_id", "n"], *[[f"u{n} & co", n / 7] for n in range(500)])
    found, blocks = outcome(content)
    assert found == careful(content)
    assert blocks
    assert found[1][3] == (4, ("u3 & co", f"{3 / 7:.16g}"))


HEADS = {
    "declaration": ('<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\r\n', True),
    "mark": ("\ufeff", True),
    "another encoding": ('<?xml version="1.0" encoding="iso-8859-1"?>', False),
    "comment": ("<!-- <sheetData> -->", False),
    "instruction": ("<?mso a?>", False),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(name: str) -> None:
    """Blocks are read fast only after a head without comments, in UTF-8."""
    head, is_fast = HEADS[name]
    found = parts({"Users": HEADER + "".join(line(n, REGULAR["not latin"]) for n in range(2, 9))})
    found["xl/sheets/1.xml"] = head + found["xl/sheets/1.xml"]
    content = packed(found)
    read, blocks = outcome(content)
    assert read == careful(content)
    assert bool(blocks) == is_fast


def test_foreign_sheet_data() -> None:
    """Rows of another namespace are not cells, however they are spelled."""
    sheet = f'<w xmlns="{OFFICE}"><sheetData>{HEADER}{line(2, GOOD)}</sheetData></w>'
    found = parts({"Users": HEADER})
    assert MAIN in found["xl/sheets/1.xml"]
    content = packed({**found, "xl/sheets/1.xml": sheet})
    assert outcome(content) == (careful(content), 0)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_compressions(method: int) -> None:
    """Parts may be compressed in any way that zip archives know."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", method) as file:
        for name, content in parts({"Users": HEADER + line(2, GOOD)}).items():
            file.writestr(name, content)
    found, _ = outcome(stored.getvalue())
    assert found[1] == [(1, ("1", None, None, None))]


@pytest.mark.parametrize(
    ("field", "value"),
    [(16, 1), (20, 40), (24, 100), (24, 1 << 20)],
    ids="crc stored short long".split(),
)
def test_false_sizes(field: int, value: int) -> None:
    """A part that is not as long as its archive says, or has another checksum, is damaged."""
    content = bytearray(book(HEADER + "".join(line(n, GOOD) for n in range(2, 200))))
    at = content.rindex(b"PK\1\2", 0, content.rindex(b"xl/sheets/1.xml"))
    content[at + field : at + field + 4] = value.to_bytes(4, "little")
    with pytest.raises(FormatError, match=r"xl/sheets/1\.xml: Bad CRC-32"):
        open_reader(io.BytesIO(content), "file")
