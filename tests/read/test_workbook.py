"""Workbooks by any program: the stored values, however they are displayed."""

from __future__ import annotations

import io
import logging
import zipfile
from datetime import date, datetime, timedelta
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filetap.columns.added import ADDED
from filetap.errors import FormatError, StateError
from filetap.read import markup, workbook, worksheet
from filetap.read.batch import ReadOptions, rebatch
from filetap.read.cells import kind_of, plain, unescaped
from filetap.read.cells import moment as moment_of
from filetap.read.detect import open_reader
from tests.folders import deliver, reading
from tests.runs import command, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
PACKAGE_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
CONTENT = "application/vnd.openxmlformats-officedocument.spreadsheetml"
STRICT = {
    MAIN: "http://purl.oclc.org/ooxml/spreadsheetml/main",
    OFFICE: "http://purl.oclc.org/ooxml/officeDocument/relationships",
}


def rows(*lines: str) -> str:
    """Rows of a sheet, each the XML of its cells."""
    return "".join(f"<row>{line}</row>" for line in lines)


def text(*values: str) -> str:
    """Cells with inline texts."""
    return "".join(f'<c t="inlineStr"><is><t>{value}</t></is></c>' for value in values)


def parts(
    sheets: Mapping[str, str],
    *,
    shared: str | None = None,
    formats: Sequence[str | int] = (),
    hidden: Mapping[str, str] | None = None,
    properties: str = "",
) -> dict[str, str]:
    """The parts of a workbook.

    Args:
        sheets: Name → the XML of its rows.
        shared: The XML of the shared texts.
        formats: Codes, or numbers of built-in ones, of styles from 1 on.
        hidden: Sheet → its state.
        properties: Attributes of the workbook.
    """
    own = {100 + n: code for n, code in enumerate(formats) if isinstance(code, str)}
    codes = "".join(f"<numFmt numFmtId='{n}' formatCode={quoteattr(c)}/>" for n, c in own.items())
    numbers = [0, *(100 + n if isinstance(f, str) else f for n, f in enumerate(formats))]
    listed = related = ""
    found = {}
    for number, (name, content) in enumerate(sheets.items(), start=1):
        state = f'state="{hidden[name]}"' if hidden and name in hidden else ""
        listed += f'<sheet name={quoteattr(name)} sheetId="{number}" {state} r:id="r{number}"/>'
        related += (
            f'<Relationship Id="r{number}" Type="{OFFICE}/worksheet" Target="sheets/{number}.xml"/>'
        )
        found[f"xl/sheets/{number}.xml"] = (
            f'<worksheet xmlns="{MAIN}"><sheetData>{content}</sheetData></worksheet>'
        )
    if shared is not None:
        related += f'<Relationship Id="t" Type="{OFFICE}/sharedStrings" Target="/xl/texts.xml"/>'
        found["xl/texts.xml"] = f'<sst xmlns="{MAIN}">{shared}</sst>'
    related += f'<Relationship Id="s" Type="{OFFICE}/styles" Target="styles.xml"/>'
    kinds = {
        "xl/workbook.xml": "sheet.main",
        "xl/styles.xml": "styles",
        "xl/texts.xml": "sharedStrings",
    }
    types = "".join(
        f'<Override PartName="/{name}" ContentType="{CONTENT}.{kinds.get(name, "worksheet")}+xml"/>'
        for name in (*kinds, *found)
    )
    return {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE_TYPES}">{types}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}"><Relationship Id="w" '
        f'Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}">'
        f"<workbookPr {properties}/><sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}">{related}</Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{MAIN}"><numFmts>{codes}</numFmts><cellXfs>'
        + "".join(f'<xf numFmtId="{number}"/>' for number in numbers)
        + "</cellXfs></styleSheet>",
        **found,
    }


def packed(members: Mapping[str, str | bytes]) -> bytes:
    """A package of parts."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return content.getvalue()


def book(content: str, **more: Any) -> bytes:
    """A workbook of one sheet."""
    return packed(parts({"Users": content}, **more))


def saved(*values: Sequence[Any], formats: Mapping[str, str] | None = None) -> bytes:
    """A workbook by openpyxl: rows of values, and number formats by cell."""
    made = openpyxl.Workbook()
    sheet: Any = made.active
    for row in values:
        sheet.append(row)
    for cell, code in (formats or {}).items():
        sheet[cell].number_format = code
    content = io.BytesIO()
    made.save(content)
    return content.getvalue()


def read(content: bytes, *, divert: bool = False) -> list[tuple[str | None, ...]]:
    """Column names, then rows."""
    reader = open_reader(io.BytesIO(content), "file", ReadOptions(ADDED, divert=divert))
    found: list[tuple[str | None, ...]] = [tuple(reader.columns)]
    for batch in reader:
        found += batch.frame.rows()
    return found


def values(content: bytes) -> list[str | None]:
    """The cells below the header of a sheet's second column."""
    return [row[1] for row in read(content)[1:]]


def column(cells: Sequence[str], **more: Any) -> list[str | None]:
    """The values read from a column of these cells."""
    lines = [text(f"u{n}") + cell for n, cell in enumerate(cells)]
    return values(book(rows(text("User ID", "x"), *lines), **more))


ESCAPES = {
    "line one_x000D_\nline two": "line one\r\nline two",
    "literal _x005F_x000D_ kept": "literal _x000D_ kept",
    "not an escape _xZZZZ_ _x12_ _X0041_": "not an escape _xZZZZ_ _x12_ _X0041_",
    "_x005F_": "_",
    "_x005F_x005F_": "_x005F_",
    "a_x005F_x0041_b": "a_x0041_b",
    "0x005F_7": "0x005F_7",
    "_x005f_x000d_": "_x000d_",
    "_xD83D__xDE00_": "\U0001f600",
    "_xD83D_ alone, _xDE00_ too": "_xD83D_ alone, _xDE00_ too",
    "_x0041_x0042_": "Ax0042_",
    "<![CDATA[a & b]]> &lt;c&gt; &#233;": "a & b <c> é",
}


@pytest.mark.parametrize("where", ["shared", "inline", "formula"])
def test_escapes(where: str) -> None:
    """Each escape is undone exactly once, from left to right, wherever the text is stored."""
    stored = list(ESCAPES)
    cells = {
        "shared": [f'<c t="s"><v>{n}</v></c>' for n in range(len(stored))],
        "inline": [text(one) for one in stored],
        "formula": [f'<c t="str"><f>A1</f><v>{one}</v></c>' for one in stored],
    }
    shared = "".join(f'<si><t xml:space="preserve">{one}</t></si>' for one in stored)
    assert column(cells[where], shared=shared) == list(ESCAPES.values())


def test_escapes_in_a_header() -> None:
    """A label with an escaped line end has the same name as in CSV."""
    assert read(book(rows(text("User ID", "first_x000D_\nname"))))[0] == ("user_id", "first_name")


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("_x05DF4"), max_size=30))
def test_escaping_is_undone(value: str) -> None:
    """A text that a program escapes in the usual way is read unchanged."""
    escaped = "".join(f"_x{ord(c):04X}_" if c in "_\r\n\t" else c for c in value)
    assert unescaped(escaped) == value


def test_texts() -> None:
    """Runs are joined, phonetic hints omitted, blanks kept; an unknown index is a bad row."""
    phonetic = '<rPh sb="0" eb="1"><t>トウ</t></rPh><phoneticPr fontId="1"/>'
    shared = (
        "<si><r><rPr><b/></rPr><t>a </t></r><r><t xml:space='preserve'> b</t></r></si>"
        f"<si><t>東</t>{phonetic}</si><si><t/></si><si/>"
    )
    cells = [f'<c t="s"><v>{n}</v></c>' for n in range(4)]
    cells += [f'<c t="inlineStr"><is><r><t>x</t></r><r><t>y</t></r>{phonetic}</is></c>']
    assert column(cells, shared=shared) == ["a  b", "東", "", "", "xy"]
    for index in ("4", "-1", "x", "9" * 20):
        with pytest.raises(FormatError, match="row 1: cell 2 does not hold the number of a shared"):
            column([f'<c t="s"><v>{index}</v></c>'], shared=shared)


NUMBERS = {
    **{n: n for n in ("0", "7", "-7", "1.5", "-0.25", "0.0001", "123456789012", "100")},
    "9007199254740992": "9007199254740992",
    "9007199254740992.0": "9007199254740992",
    "9.007199254740992E+15": "9007199254740992",
    "1.234567890123457e+16": "12345678901234570",
    "1e21": "1000000000000000000000",
    "1.5E+21": "1500000000000000000000",
    "1e-07": "0.0000001",
    "0.00001": "0.00001",
    "-2.5E-5": "-0.000025",
    "5.0": "5",
    "5.10": "5.1",
    "0.10000000000000001": "0.1",
    "-0.0": "0",
    "-0": "0",
    "007": "7",
    ".5": "0.5",
    "+3": "3",
    " 4\n": "4",
    # A 64-bit id that no double holds.
    "9223372036854775807": "9223372036854775807",
}


@pytest.mark.parametrize("stored", NUMBERS)
def test_numbers(stored: str) -> None:
    """Numbers are plain digits, the same however a program spells them."""
    assert column([f"<c><v>{stored}</v></c>"]) == [NUMBERS[stored]]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_whole(value: float) -> None:
    """Every double is read back, whatever its size, without an exponent."""
    for spelled in (repr(value), f"{value:.17g}", f"{value:.16E}"):
        digits = plain(spelled)
        assert digits is not None
        assert set(digits) <= set("-.0123456789")
        assert float(digits) == value
    assert plain(repr(value)) == plain(f"{value:.16E}")


@pytest.mark.parametrize("stored", ["abc", "1e999", "nan", "1_000", "٣", "0x10", "1,5"])
def test_no_number(stored: str) -> None:
    """A number cell that holds something else makes its row malformed."""
    with pytest.raises(FormatError, match="row 1: cell 2 does not hold a number"):
        column([f"<c><v>{stored}</v></c>"])


MOMENTS: list[tuple[str | int, str, str]] = [
    ("yyyy-mm-dd", "46156", "2026-05-14"),
    ("yyyy-mm-dd", "46156.0", "2026-05-14"),
    ("yyyy-mm-dd", "46155.9999999999", "2026-05-14"),
    ("yyyy-mm-dd", "46156.4375", "2026-05-14T10:30:00"),
    ("yyyy-mm-dd hh:mm", "46156", "2026-05-14T00:00:00"),
    ("m/d/yy h:mm AM/PM", "46156.5", "2026-05-14T12:00:00"),
    ("yyyy-mm-dd hh:mm:ss.000", "46156.00000289352", "2026-05-14T00:00:00.250000"),
    ("[$-de-CH]dd.mm.yyyy", "46156", "2026-05-14"),
    ("[$-zh-CN]yyyy/m/d", "46156", "2026-05-14"),
    ('d "hours" mmm', "46156", "2026-05-14"),
    (r"d\h mmm", "46156", "2026-05-14"),
    ("d_h mmm;@", "46156", "2026-05-14"),
    ("mmm-yy;h:mm", "46156", "2026-05-14"),
    ("[Red]MMMM", "46156", "2026-05-14"),
    ('[$-411]ggge"年"m"月"d"日"', "46156", "2026-05-14"),
    ("dd.mm.yyyy", "1", "1900-01-01"),
    ("dd.mm.yyyy", "59", "1900-02-28"),
    ("dd.mm.yyyy", "60", "1900-02-29"),
    ("dd.mm.yyyy", "61", "1900-03-01"),
    ("dd.mm.yyyy", "2958465", "9999-12-31"),
    ("dd.mm.yyyy", "2958466", "2958466"),
    ("dd.mm.yyyy", "-1", "-1"),
    ("dd.mm.yyyy", "0", "0"),
    ("dd.mm.yyyy", "1e300", "1" + "0" * 300),
    (14, "46156", "2026-05-14"),
    (22, "46156", "2026-05-14T00:00:00"),
    (31, "46156", "2026-05-14"),
    (58, "46156", "2026-05-14"),
    (20, "0.0208333333333333", "00:30:00"),
    (32, "0.5", "12:00:00"),
    (45, "0.0208333333333333", "00:30:00"),
    (46, "1.0833333333333333", "26:00:00"),
    ("hh:mm", "0", "00:00:00"),
    ("h:mm", "46156.5", "2026-05-14T12:00:00"),
    ("[h]:mm:ss", "1.135763888888889", "27:15:30"),
    ("[hh]:mm:ss", "62.5", "1500:00:00"),
    ("[h]:mm:ss;@", "-0.0625", "-1:30:00"),
    ("[mm]:ss.0", "0.0000173611111111111", "00:00:01.500000"),
    ("[s]", "0.5", "12:00:00"),
    ("0.00", "46156", "46156"),
    ('0 "days"', "46156", "46156"),
    ("0.00E+00", "46156", "46156"),
    ('#,##0 "h";[Red]-#,##0 "h"', "5", "5"),
    ("General", "5", "5"),
    ("@", "5", "5"),
    (";;;", "5", "5"),
    (9, "0.5", "0.5"),
    (49, "5", "5"),
]


@pytest.mark.parametrize(("shows", "stored", "expected"), MOMENTS)
def test_moments(shows: str | int, stored: str, expected: str) -> None:
    """The number format decides which numbers are dates, times and durations; none loses digits."""
    cell = f'<c s="1"><v>{stored}</v></c>'
    assert column([cell], formats=[shows]) == [expected]


@pytest.mark.parametrize(
    ("shows", "stored", "expected"),
    [
        ("yyyy-mm-dd", "0", "1904-01-01"),
        ("yyyy-mm-dd", "44694", "2026-05-14"),
        ("yyyy-mm-dd hh:mm", "0.5", "1904-01-01T12:00:00"),
        ("hh:mm", "0.5", "12:00:00"),
        ("hh:mm", "-0.0625", "-1:30:00"),
        ("[h]:mm", "2", "48:00:00"),
        ("yyyy-mm-dd", "2957004", "2957004"),
    ],
)
def test_moments_since_1904(shows: str, stored: str, expected: str) -> None:
    """A workbook may count days from 1904-01-01, its day 0."""
    cell = f'<c s="1"><v>{stored}</v></c>'
    assert column([cell], formats=[shows], properties='date1904="1"') == [expected]


@given(
    st.integers(61, 2_958_465),
    st.integers(0, 86_399_999),
    st.sampled_from(["dd.mm.yy", "h:mm", "d.m.yy h:mm"]),
)
def test_no_time_is_lost(day: int, milliseconds: int, code: str) -> None:
    """Whatever part of a moment the format displays, all of it is read, to the millisecond."""
    moment = datetime(1899, 12, 30) + timedelta(day, milliseconds=milliseconds)  # noqa: DTZ001
    kind = kind_of(code)
    assert kind
    shown = moment_of(repr(day + milliseconds / 86_400_000), kind, since_1904=False)
    assert datetime.fromisoformat(shown or "") == moment


def test_types_of_cells() -> None:
    """Truth values, errors, ISO dates and results of formulas are read as they are stored."""
    cells = {
        '<c t="b"><v>1</v></c>': "true",
        '<c t="b"><f>NOT(A1)</f><v>0</v></c>': "false",
        '<c t="e"><v>#N/A</v></c>': "#N/A",
        '<c t="d" s="1"><v>2026-05-14T00:00:00</v></c>': "2026-05-14",
        '<c t="d" s="1"><v>2026-05-14T10:30:00</v></c>': "2026-05-14T10:30:00",
        '<c t="d"><v>2026-05-14</v></c>': "2026-05-14",
        '<c t="str"><f>""</f><v></v></c>': "",
        "<c><f>1+1</f><v>2</v></c>": "2",
        '<c t="n"><v/></c>': None,
        '<c s="1"/>': None,
    }
    assert column(list(cells), formats=["yyyy-mm-dd"]) == list(cells.values())


def test_times_by_openpyxl(tmp_path: Path) -> None:
    """Times of day, date-times, durations, whole floats and rows with gaps, as displayed."""
    content = saved(
        ["user_id", "at", "n", "hired", "watched", "start", None],
        ["1", datetime(2026, 5, 14, 10, 30), 5.0, date(2026, 5, 14), timedelta(hours=26)],  # noqa: DTZ001 - workbooks know no zones
        [None, None, None],
        ["2", datetime(2026, 5, 14), 2.5, None, timedelta(hours=-1.5), time_of_day(0, 30)],  # noqa: DTZ001
        formats={"B4": "yyyy-mm-dd hh:mm"},
    )
    deliver(tmp_path, "users", "2026-05-14-16", content, ending="")
    done = run(reading(tmp_path))
    found = done.records("users")
    assert [(r["at"], r["_sdc_source_lineno"]) for r in found] == [
        ("2026-05-14T10:30:00Z", 1),
        ("2026-05-14T00:00:00Z", 2),
    ]
    assert [r["n"] for r in found] == [5, 2.5]
    assert [r["hired"] for r in found] == ["2026-05-14", None]
    assert [r["watched"] for r in found] == ["26:00:00", "-1:30:00"]
    assert [r["start"] for r in found] == [None, "00:30:00"]


BLANKS = [
    "",
    "<c/><c/>",
    '<c s="1"/><c s="1"/>',
    text("", ""),
    '<c t="s"><v>0</v></c>',
    '<c r="A9" s="1"/>',
]


@pytest.mark.parametrize("blank", BLANKS)
def test_blank_rows(blank: str) -> None:
    """A row without a value is not a row, not even above the header."""
    lines = [blank, blank, text("User ID", "n"), blank, text("u1", "3"), blank, text("u2")]
    content = book(rows(*lines), shared="<si><t/></si>", formats=["0"])
    assert read(content) == [("user_id", "n"), ("u1", "3"), ("u2", None)]


def test_places() -> None:
    """Cells may skip columns, with or without references; short rows are filled with nulls."""
    header = '<row r="3"><c r="B3" t="str"><v>User ID</v></c><c r="D3" t="str"><v>n</v></c></row>'
    lines = (
        '<row r="4"><c r="B4"><v>1</v></c><c r="D4"><v>2</v></c></row>'
        '<row><c r="D5"><v>4</v></c><c r="B5"><v>3</v></c></row>'
        '<row r="9"><c/><c><v>5</v></c><c r="E9" s="1"/><c r="F9" t="str"><v/></c></row>'
        '<row r="9"><c r="XFD9" s="1"/><c r="b9"><v>6</v></c></row>'
    )
    assert read(book(header + lines)) == [
        ("column_1", "user_id", "column_3", "n"),
        (None, "1", None, "2"),
        (None, "3", None, "4"),
        (None, "5", None, None),
        (None, "6", None, None),
    ]


@pytest.mark.parametrize(
    ("cells", "reason", "raw"),
    [
        (text("u2", "2", "3"), "3 cells instead of 2", '["u2", "2", "3"]'),
        (
            text("u2") + '<c r="XFD3"><v>1</v></c>',
            "16384 cells instead of 2",
            '["u2", null, "1"]',
        ),
        (
            text("u2") + "<c><f>1+1</f></c>",
            "a formula without a stored result",
            '["u2", null]',
        ),
        (text("u2") + "<c><f>1+1</f><v></v></c>", "a formula without a stored result", None),
        ("<c><f>1+1</f></c>", "a formula without a stored result", None),
        (text("u2") + "<c><v>x</v></c>", "cell 2 does not hold a number", '["u2", "x"]'),
        (text("u2") + '<c r="A3"><v>1</v></c>', "two cells of one column", None),
    ],
)
def test_malformed_rows(tmp_path: Path, cells: str, reason: str, raw: str | None) -> None:
    """A row that cannot be read ends the run, or is diverted; its number is that of its place."""
    content = book(rows(text("User ID", "n"), text("u1", "1"), "", cells, text("u3", "3")))
    deliver(tmp_path, "users", "2026-05-14-16", content, ending="")
    with pytest.raises(FormatError, match=f"row 2: {reason}"):
        run(reading(tmp_path))
    done = run({**reading(tmp_path), "malformed_rows": "divert"})
    (bad,) = done.records("users_malformed")
    assert (bad["_sdc_source_lineno"], bad["reason"]) == (2, reason)
    assert raw is None or bad["raw"] == raw
    assert [(r["user_id"], r["_sdc_source_lineno"]) for r in done.records("users")] == [
        ("u1", 1),
        ("u3", 3),
    ]


def test_formula_by_openpyxl() -> None:
    """A formula whose result is not stored is not a null: its row cannot be read."""
    with pytest.raises(FormatError, match="row 2: a formula without a stored result"):
        read(saved(["user_id", "n"], ["1", 5], ["2", "=1+1"], ["3", None]))


USERS = rows(text("User ID", "n"), text("u1", "1"))
MORE = rows(text("N", "user id"), text("2", "u2"), text("3", "u3"))
OTHER = rows(text("Parameter", "Value"), text("program", "23552"))


@pytest.mark.parametrize(
    ("sheets", "hidden", "expected", "warned"),
    [
        ({"P": OTHER, "U": USERS}, {"P": "hidden"}, ["u1"], ""),
        ({"P": OTHER, "U": USERS}, {"P": "veryHidden"}, ["u1"], ""),
        ({"E": "", "U": USERS}, {}, ["u1"], ""),
        ({"E": rows("<c/>", text("")), "U": USERS, "M": MORE}, {}, ["u1", "u2", "u3"], ""),
        (
            {"U": USERS, "P": OTHER, "M": MORE},
            {},
            ["u1", "u2", "u3"],
            "1 sheet whose columns differ from the first sheet's: P",
        ),
        ({"U": USERS, "M": MORE}, {"M": "hidden"}, ["u1"], ""),
        ({"E": "", "U": USERS}, {"U": "hidden"}, [], "no visible sheet has cells"),
        ({"U": USERS, "a\nb": OTHER}, {}, ["u1"], "sheet's: a\ufffdb"),
    ],
)
def test_sheets(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    *,
    sheets: dict[str, str],
    hidden: dict[str, str],
    expected: list[str],
    warned: str,
) -> None:
    """The first visible sheet with cells is read, and those with its columns; others are named."""
    deliver(tmp_path, "users", "2026-05-14-16", packed(parts(sheets, hidden=hidden)), ending="")
    with caplog.at_level(logging.WARNING):
        found = run(reading(tmp_path)).records("users")
    assert [r["user_id"] for r in found] == expected
    assert [r["_sdc_source_lineno"] for r in found] == list(range(1, len(expected) + 1))
    assert [r["n"] for r in found] == [int(user[1:]) for user in expected]
    told = [message for message in caplog.messages if "sheet" in message]
    assert len(told) == bool(warned)
    assert warned in "".join(told)


def test_hidden_sheets_alone(tmp_path: Path) -> None:
    """A workbook whose sheets are all hidden is an error: it is not clear which one is meant."""
    content = packed(parts({"U": USERS}, hidden={"U": "hidden"}))
    deliver(tmp_path, "users", "2026-05-14-16", content, ending="")
    with pytest.raises(FormatError, match="none of its sheets is visible"):
        run(reading(tmp_path))


def _with(found: dict[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """Parts with texts in them replaced."""
    changed = {}
    for name, content in found.items():
        for old, new in changes.items():
            content = content.replace(old, new)  # noqa: PLW2901 - one after the other
        changed[name] = content
    return changed


PARTS = parts({"Users": USERS}, shared="")


@pytest.mark.parametrize(
    "members",
    [
        _with(PARTS, STRICT),
        {f"{name}": content for name, content in reversed(PARTS.items())},
        {name.upper(): content for name, content in PARTS.items()},
        {name.replace("/", "\\"): content for name, content in PARTS.items()},
        _with(PARTS, {'Target="sheets': 'Target="/xl/sheets', "/1.xml": "/%31.xml"}),
        _with(PARTS, {"worksheet/1": "1", 'Target="sheets/': 'Target="./../xl/sheets/'}),
        {
            **_with(PARTS, {"<sheets>": '<sheets><sheet name="C" sheetId="9" r:id="c"/>'})
            | {
                "xl/_rels/workbook.xml.rels": PARTS["xl/_rels/workbook.xml.rels"].replace(
                    "</R", f'<Relationship Id="c" Type="{OFFICE}/chartsheet" Target="c.xml"/></R'
                )
            }
        },
        {
            name.replace("xl/", "book/"): content.replace("xl/", "book/")
            for name, content in PARTS.items()
        },
        {name: content for name, content in PARTS.items() if name != "_rels/.rels"},
        {
            name: content
            if name == "[Content_Types].xml"
            else content.replace("<", "<x:").replace("<x:/", "</x:").replace("xmlns=", "xmlns:x=")
            for name, content in PARTS.items()
        },
        {name: content.replace("><", ">\n  <") for name, content in PARTS.items()},
        {name: f'<?xml version="1.0" encoding="UTF-16"?>{content}'.encode("utf-16")
         for name, content in PARTS.items()},
        {name: content for name, content in PARTS.items() if name != "xl/texts.xml"},
        {**PARTS, "xl/styles.xml": f'<styleSheet xmlns="{MAIN}"><fills><fill/></fills><cellXfs>'
         "<xf/></cellXfs><dxfs><broken></styleSheet>"},
    ],
    ids=(
        "strict order upper-case backslashes absolute-targets relative-targets chart-sheet "
        "main-part-elsewhere no-package-relations prefixes indented utf-16 no-shared-texts "
        "broken-looks"
    ).split(),
)  # fmt: skip
def test_packages(members: Mapping[str, str | bytes]) -> None:
    """Parts are found by their relations, elements by their namespaces; styles do not matter."""
    assert read(packed(members)) == [("user_id", "n"), ("u1", "1")]


def _damaged(part: str) -> bytes:
    """A workbook whose *part* does not match its CRC."""
    content = bytearray(book(USERS + rows(*[text("u", "1")] * 500), shared="<si><t>a</t></si>"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        at = archive.getinfo(part).header_offset + 30 + len(part) + 5
    content[at] ^= 64
    return bytes(content)


DOCTYPE = '<!DOCTYPE a [<!ENTITY b "c">]>'
RELATIONS = "xl/_rels/workbook.xml.rels"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_damaged("xl/sheets/1.xml"), r"xl/sheets/1\.xml: "),
        (_damaged("xl/styles.xml"), r"xl/styles\.xml: "),
        (packed(_with(PARTS, {"</sheetData>": ""})), r"xl/sheets/1\.xml: mismatched tag"),
        (packed({**PARTS, "xl/sheets/1.xml": ""}), r"xl/sheets/1\.xml: no element found"),
        (packed({**PARTS, "xl/styles.xml": "<a>"}), r"xl/styles\.xml: no element found"),
        (packed({**PARTS, "xl/workbook.xml": "<a/>"}), r"xl/workbook\.xml: it is not a workbook"),
        (packed({**PARTS, RELATIONS: "<a/>"}), r"xl/workbook\.xml: the sheet Users has no part"),
        (packed({n: c for n, c in PARTS.items() if n != RELATIONS}), f"{RELATIONS}: it is missing"),
        (
            packed({n: c for n, c in PARTS.items() if "sheets" not in n}),
            r"xl/sheets/1\.xml: it is missing",
        ),
        (packed(_with(PARTS, {"sheets/1.xml": "a&#10;b"})), "xl/a\ufffdb: it is missing"),
        (
            packed({**PARTS, "xl/sheets/1.xml": DOCTYPE + PARTS["xl/sheets/1.xml"]}),
            r"xl/sheets/1\.xml: it has a document type declaration",
        ),
        (
            book(rows(text("User ID"), '<c t="s"><v>0</v></c>'), shared="<si><t>&b;</t></si>"),
            r"xl/texts\.xml: undefined entity",
        ),
        (
            packed({**PARTS, "xl/styles.xml": '<?xml version="1.0" encoding="no"?><a/>'}),
            r"xl/styles\.xml: unknown encoding",
        ),
        (packed(parts({})), r"xl/workbook\.xml: it has no sheet"),
        (
            packed(_with(parts({"A": USERS, "B": USERS}), {"/2.xml": "/1.xml"})),
            r"xl/workbook\.xml: two sheets share one part",
        ),
        (book(rows('<c r="?"><v>1</v></c>')), r"xl/sheets/1\.xml: a cell has an invalid reference"),
        (
            book(rows('<c r="XFE1"><v>1</v></c>')),
            r"xl/sheets/1\.xml: a cell has an invalid reference",
        ),
        (book(rows("<c><f>1</f></c>")), "the header row cannot be read: a formula"),
        (book(rows('<c r="XFD1"><v>1</v></c>')), "it has more than 10000 columns"),
    ],
)
def test_broken_workbooks(tmp_path: Path, content: bytes, message: str) -> None:
    """A workbook that cannot be read is a one-line error that names the file and its part."""
    path = deliver(tmp_path, "users", "2026-05-14-16", content, ending="")
    with pytest.raises(FormatError, match=message) as caught:
        run(reading(tmp_path))
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.run.of("RECORD") == []  # type: ignore[attr-defined]


LONG = rows(text("User ID", "n"), *[text("u1", "1")] * 40)


@pytest.mark.parametrize(
    ("module", "limit", "value", "content", "message"),
    [
        (worksheet, "_MOST_ROWS", 40, book(LONG), "it has more than 40 rows"),
        (worksheet, "_MOST_CELLS", 2, book(rows("<c/>" * 3)), "a row has more than 2 cells"),
        (
            worksheet,
            "_MOST_CELLS",
            2,
            book("<row>" + '<c r="A1"><v>1</v></c>' * 9),
            "a row has more than 2 cells",
        ),
        (markup, "LONGEST_ITEM", 999, book("<row>" + text("a" * 999)), "an item is longer than"),
        (
            markup,
            "LONGEST_ITEM",
            999,
            book(
                rows(text("User ID"), '<c t="s"><v>0</v></c>'),
                shared=f"<si><t>{'a' * 999}</t></si>",
            ),
            "an item is longer than",
        ),
        (
            worksheet,
            "LONGEST_ITEM",
            99,
            book(rows('<c t="s"><v>0</v></c>' * 9), shared=f"<si><t>{'a' * 12}</t></si>"),
            "a row is longer than 99 bytes",
        ),
        (markup, "_LONGEST_TAG", 99, book(f'<row x="{"a" * 999}"/>'), "a tag is longer than 99"),
        (
            workbook,
            "_MOST_TEXT",
            99,
            book(rows('<c t="s"><v>9</v></c>'), shared=f"<si><t>{'a' * 9}</t></si>" * 9),
            "its texts are longer than 99 bytes",
        ),
        (workbook, "_MOST_XML", 99, book(LONG), "it is longer than 99 bytes"),
    ],
)
def test_bounds(
    monkeypatch: pytest.MonkeyPatch,
    *,
    module: Any,
    limit: str,
    value: int,
    content: bytes,
    message: str,
) -> None:
    """Rows, cells, texts, tags and parts are bounded, whatever their number."""
    monkeypatch.setattr(module, limit, value)
    monkeypatch.setattr(workbook, "_PIECE", 50)  # bounds are checked after each
    with pytest.raises(FormatError, match=message):
        read(content)


def test_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that is nothing but repetition is not unpacked."""
    monkeypatch.setattr(workbook, "_LARGE", 1 << 10)
    with pytest.raises(FormatError, match="decompresses to more than 200 times its size"):
        read(book(USERS + "<row/>" * 100_000))


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few bytes that refer to much shared text become many batches, of good and malformed rows."""
    monkeypatch.setattr(worksheet, "_TEXT", 2_000)
    shared = f"<si><t>{'a' * 500}</t></si>"
    good, bad = '<c t="s"><v>0</v></c>', '<c t="s"><v>0</v></c><c><v>1</v></c>'
    content = book(rows(text("User ID"), *[good] * 20, *[bad] * 20), shared=shared)
    batches = list(open_reader(io.BytesIO(content), "file", ReadOptions(ADDED, divert=True)))
    assert max(b.frame.height + len(b.malformed) for b in batches) <= 5
    assert sum(b.frame.height for b in batches) == 20
    assert sum(len(b.malformed) for b in batches) == 20
    assert batches[-1].last == 40


def test_beginning() -> None:
    """Sampling a workbook that is completely downloaded reads its first rows, not all of it."""
    many = rows(text("User ID"), *(f"<c><v>{n}</v></c>" for n in range(25_000)))
    content = book(f"{many}<broken", shared="<broken")
    options = ReadOptions(ADDED, divert=True, most=1 << 20)
    reader = open_reader(io.BytesIO(content), "file", options)
    assert reader.columns == ["user_id"]
    assert [batch.frame.height for batch in reader] == [10_000]
    options = ReadOptions(ADDED, divert=True, cut=True)
    assert list(open_reader(io.BytesIO(content[:-99]), "file", options)) == []


@pytest.mark.parametrize("skip", [0, 1, 2, 3, 4, 9])
def test_resumed(monkeypatch: pytest.MonkeyPatch, skip: int) -> None:
    """A resumed run converts no row that it skips; the others have the same numbers and values."""
    blank = '<c t="s"><v>0</v></c><c s="1"/>'
    sheets = {
        "A": rows(text("User ID", "n"), text("u1", "1"), blank, '<c t="s"><v>1</v></c>', blank),
        "B": rows(blank, text("N", "user id"), text("3", "u3"), blank, text("4", "u4")),
    }
    content = packed(parts(sheets, shared="<si><t/></si><si><t>u2</t></si>", formats=["0"]))
    converted: list[object] = []
    texts = worksheet._texts

    def counting(*arguments: Any) -> Any:
        converted.append(arguments[2])
        return texts(*arguments)

    reader = open_reader(io.BytesIO(content), "file", ReadOptions(ADDED, skip=skip))
    monkeypatch.setattr(worksheet, "_texts", counting)
    if skip > 4:
        with pytest.raises(StateError, match=f"counts {skip} rows as read, but the file has 4"):
            list(rebatch(reader, "file", skip=skip, most=10))
        return
    found = list(rebatch(reader, "file", skip=skip, most=10))
    expected = list(enumerate([("u1", "1"), ("u2", None), ("u3", "3"), ("u4", "4")], start=1))
    numbered = [
        pair for part in found for pair in zip(part.numbers, part.frame.rows(), strict=True)
    ]
    assert numbered == expected[skip:]
    values = [cell[3] for row in converted for cell in row]  # type: ignore[attr-defined]
    assert [f"u{n}" for n in (1, 3, 4) if f"u{n}" in values] == [
        f"u{n}" for n in (1, 3, 4) if n >= skip
    ]


def test_nothing_on_stderr(tmp_path: Path) -> None:
    """Parts that the tap does not know cause no warnings from libraries."""
    extension = '<extLst><ext uri="{CCE6A557-97BC-4b89-ADB6-D9C93CAAB3DF}"><x/></ext></extLst>'
    content = packed(_with(PARTS, {"</worksheet>": f"{extension}</worksheet>"}))
    deliver(tmp_path, "users", "2026-05-14-16", content, ending="")
    config = reading(tmp_path)["folder"]["url"]
    done = command(env={"TAP_FIRSTUP_DDE_FOLDER": f'{{"url": "{config}"}}'})
    assert done.status == 0
    assert [r["user_id"] for r in done.records("users")] == ["u1"]
    assert "UserWarning" not in done.log
    assert " 0 warnings" in done.log
    assert "site-packages" not in done.log


def test_sheets_and_values_through_the_tap(tmp_path: Path) -> None:
    """One workbook with all of it: typed records, one SCHEMA, numbers of rows counted through."""
    header = text("User ID", "first_x000D_\nname", "hired", "seen", "watch time", "big")
    line = '<c s="1"><v>{0}</v></c><c s="2"><v>{0}.4375</v></c><c s="3"><v>{1}</v></c>'
    first = text("u1", "a_x005F_x0041_b") + line.format(46156, 1.25) + "<c><v>1e21</v></c>"
    second = text("u2", "c") + line.format(43831, -0.0625) + "<c><v>1.5E+21</v></c>"
    content = packed(
        parts(
            {"Parameters": OTHER, "Users": rows("", header, first), "2": rows(header, second)},
            hidden={"Parameters": "hidden"},
            formats=["[$-de-CH]dd.mm.yyyy", "dd.mm.yyyy hh:mm", "[h]:mm:ss"],
        )
    )
    deliver(tmp_path, "users", "2026-05-14-16", content, ending="")
    done = run(reading(tmp_path))
    assert len([m for m in done.of("SCHEMA") if m["stream"] == "users"]) == 1
    own = ["user_id", "first_name", "hired", "seen", "watch_time", "big", "_sdc_source_lineno"]
    u1 = ["u1", "a_x0041_b", "2026-05-14", "2026-05-14T10:30:00Z", "30:00:00", "1" + "0" * 21, 1]
    u2 = ["u2", "c", "2020-01-01", "2020-01-01T10:30:00Z", "-1:30:00", "15" + "0" * 20, 2]
    assert [[r[name] for name in own] for r in done.records("users")] == [u1, u2]
