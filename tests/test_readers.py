"""Every format in every packing gives the same rows, and what is none of them is an error."""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from datetime import date
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filetap.errors import ExportError, FormatError
from filetap.read.json_text import JSONText
from tests.folders import deliver, reading
from tests.singer import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ["User ID", "tenure", "score", "hired", "active", "note"]
ROWS: list[list[Any]] = [
    ["1", 7, 1.5, date(2026, 5, 14), True, 'a, "b"\nc'],
    ["02", None, -0.25, date(2025, 1, 1), False, "é"],
    ["3", 123456789012, None, None, None, None],
]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _csv(separator: str, encoding: str) -> bytes:
    lines = []
    for row in [NAMES, *ROWS]:
        cells = ["" if c is None else _text(c) or "" for c in row]
        lines.append(
            separator.join(
                '"' + c.replace('"', '""') + '"' if set(c) & {'"', "\n", separator} else c
                for c in cells
            )
        )
    return "\r\n".join(lines).encode(encoding)


def _objects() -> list[dict[str, Any]]:
    shown = [[c.isoformat() if isinstance(c, date) else c for c in row] for row in ROWS]
    return [dict(zip(NAMES, row, strict=True)) for row in shown]


def _lines(end: str, **options: Any) -> bytes:
    return end.join(json.dumps(one, **options) for one in _objects()).encode()


def workbook() -> bytes:
    """The rows as a workbook's first sheet."""
    book = openpyxl.Workbook()
    sheet: Any = book.active
    for row in [NAMES, *ROWS]:
        sheet.append(row)
    book.create_sheet("another")
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _zip(*contents: bytes, **options: Any) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, **options) as file:
        for number, content in enumerate(contents):
            file.writestr(f"folder/{number}.csv", content)
        file.writestr("__MACOSX/folder/._0.csv", b"\0\5")
    return archive.getvalue()


FORMATS = {
    **{f"csv {s!r}": _csv(s, "utf-8") for s in ",;\t|"},
    "csv with BOM": _csv(",", "utf-8-sig"),
    "csv in UTF-16": _csv(",", "utf-16"),
    "csv in UTF-16 BE": b"\xfe\xff" + _csv(",", "utf-16-be"),
    "ndjson": _lines("\n"),
    "ndjson with BOM": b"\xef\xbb\xbf" + _lines("\r\n", ensure_ascii=False),
    "json objects": _lines("", indent=2),
    "json array": json.dumps(_objects()).encode(),
    "json array, indented": json.dumps(_objects(), indent=1).encode() + b"\n",
}
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip of several members": lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:]),
    "zip": _zip,
}


def _records(folder: Path, content: bytes) -> list[dict[str, Any]]:
    deliver(folder, "users", "2026-05-14-16", content, ending="")
    return run(reading(folder)).records("users")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The records of the plain CSV file."""
    return _records(tmp_path_factory.mktemp("plain"), FORMATS["csv ','"])


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", FORMATS)
def test_pairs(tmp_path: Path, expected: list[dict[str, Any]], name: str, packing: str) -> None:
    """Whatever the format and the packing, the records are the same."""
    found = _records(tmp_path, PACKINGS[packing](FORMATS[name]))
    assert [r["tenure"] for r in expected] == [7, None, 123456789012]
    assert found == expected


@pytest.mark.parametrize("packing", ["plain", "gzip"])
def test_workbook(tmp_path: Path, expected: list[dict[str, Any]], packing: str) -> None:
    """A workbook's first sheet, its dates typed; a gzip around it is no packing of workbooks."""
    content = PACKINGS[packing](workbook())
    if packing == "gzip":
        with pytest.raises(FormatError, match="zip archive inside gzip"):
            _records(tmp_path, content)
    else:
        assert _records(tmp_path, content) == expected


def test_several_members(tmp_path: Path) -> None:
    """The files of an archive are read one after the other, their rows numbered through."""
    found = _records(tmp_path, _zip(b"user_id,a\n1,x\n", b"", b"user_id,a\n2,y\n3,z\n"))
    assert [(r["user_id"], r["_sdc_source_lineno"]) for r in found] == [
        ("1", 1),
        ("2", 2),
        ("3", 3),
    ]


def test_members_with_long_names(tmp_path: Path) -> None:
    """Files of an archive whose names begin alike for long are all read."""
    folder = "export/" + "x" * 80
    names = [f"{folder}/{n}.csv" for n in range(3)]
    content = _archive(**{name: b"user_id\n%d\n" % n for n, name in enumerate(names)})
    assert [r["user_id"] for r in _records(tmp_path, content)] == ["0", "1", "2"]


def test_nested_json(tmp_path: Path) -> None:
    """Nested values are JSON text as it stands; numbers are the digits that stand there."""
    rows = [
        '{"user_id": "1", "topics": [{"id": 1.10}, "a"], "n": 1.10, "é": null}',
        '{"user_id": 2, "more": ""}',
    ]
    found = _records(tmp_path, "\n".join(rows).encode())
    assert found[0]["topics"] == '[{"id": 1.10}, "a"]'
    assert found[0]["n"] == "1.10"
    assert (found[1]["user_id"], found[1]["more"], found[1]["topics"]) == ("2", "", None)


BAD_JSON = b'{"user_id": "1"}\n{"user_id": 2\n{"user_id": "3"}\n[1]\n{"user_id": "\xff"}\n'


def test_malformed_objects(tmp_path: Path) -> None:
    """An object that cannot be read ends the run, or is diverted as it stands."""
    deliver(tmp_path, "users", "2026-05-14-16", BAD_JSON, ending="")
    with pytest.raises(FormatError, match=r"row 2: it is not valid JSON \(expecting"):
        run(reading(tmp_path))
    done = run({**reading(tmp_path), "malformed_rows": "divert"})
    told = "".join(r["raw"] for r in done.records("users_malformed"))
    assert done.records("users")[0]["user_id"] == "1"
    for part in ('{"user_id": 2', "\\xff"):
        assert part in told


@pytest.mark.parametrize(
    ("content", "good", "fault"),
    [
        (
            '{"user_id":"1"}\n{"user_id":"2","a":"tr\n{"user_id":"3"}\n{"user_id":"4"}',
            ["1", "3", "4"],
            "it is not valid JSON",
        ),
        (
            '{"user_id":"1","a"\n{"user_id":"2"}\n{"user_id":"3"}',
            ["2", "3"],
            "it is not valid JSON",
        ),
        (
            '{"user_id":"1"}}\n{"user_id":"2"}',
            ["2"],
            "something else follows",
        ),
        ('[{"user_id":"1"}}', ["1"], "it is not valid JSON"),
        ('[null, {"user_id": "1"}]', ["1"], "it is not a JSON object"),
        (
            '{"user_id":"1","user_id":"2"}\n{"user_id":"3"}',
            ["3"],
            "two of its members have one name",
        ),
        ('{"user_id":"1"}\n{"a":' + "[" * 100_000 + "\n", ["1"], "it is nested too deeply"),
    ],
)
def test_one_bad_object(tmp_path: Path, content: str, good: list[str], fault: str) -> None:
    """A broken object costs itself and no other one."""
    deliver(tmp_path, "users", "2026-05-14-16", content, ending="")
    with pytest.raises(FormatError, match=f"row [12]: {fault}"):
        run(reading(tmp_path))
    done = run({**reading(tmp_path), "malformed_rows": "divert"})
    assert [r["user_id"] for r in done.records("users")] == good
    assert done.records("users_malformed")


def test_large_utf_16(tmp_path: Path) -> None:
    """A look at the beginning of a large file may end within a character."""
    rows = "user_id,name\n" + "".join(f"{n},x\U0001f600y\n" for n in range(300_000))
    data = rows.encode("utf-16")
    assert len(data) > 4 << 20
    assert len(_records(tmp_path, data)) == 300_000


def test_large_archive_that_is_broken(tmp_path: Path) -> None:
    """An archive too large for a look is proven before its first row goes out, too."""
    dice = random.Random(0)
    rows = "".join(f"{n},{dice.randbytes(200).hex()}\n" for n in range(30_000))
    data = bytearray(_zip(f"user_id,a\n{rows}".encode()))
    assert len(data) > 4 << 20
    data[-2_000] ^= 4
    deliver(tmp_path, "users", "2026-05-14-16", bytes(data), ending="")
    with pytest.raises(FormatError, match="the zip archive cannot be read") as caught:
        run(reading(tmp_path))
    assert caught.value.run.of("RECORD") == []  # type: ignore[attr-defined]


def _archive(**members: bytes) -> bytes:
    """A zip archive of named files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return archive.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        *(".DS_Store", "._users.csv", "Thumbs.db", "desktop.ini", "__MACOSX/users.csv"),
        *("a/.DS_Store", "a/b/._users.csv", "a/THUMBS.DB", "a/Desktop.ini", "a/__MACOSX/b/c"),
        "a\\Thumbs.db",
    ],
)
def test_litter(tmp_path: Path, name: str) -> None:
    """What desktop systems leave in an archive is skipped, in whichever folder."""
    content = _archive(**{name: b"\0\5\7", "a/users.csv": b"user_id\n1\n"})
    assert [r["user_id"] for r in _records(tmp_path, content)] == ["1"]


def test_no_litter(tmp_path: Path) -> None:
    """Names that only look like litter are files."""
    names = ("x.DS_Store", "my Thumbs.db", "_users.csv", ".users.csv", "desktop.ini.csv")
    content = _archive(**{name: b"user_id\n%d\n" % n for n, name in enumerate(names)})
    assert len(_records(tmp_path, content)) == len(names)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "the header row cannot be read"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "different columns|header row"),
        (_zip(b"user_id\n1\n"), "a zip archive inside a zip archive is not supported"),
        (gzip.compress(gzip.compress(b"user_id\n1\n")), "gzip inside gzip is not supported"),
        (gzip.compress(b"user_id\n1\n")[:-2], "the file is damaged: the gzip data end too early"),
        (b"user_id\n1,2\n", "row 1: 2 cells instead of 1"),
        (b'{"user_id": NaN}', "row 1: NaN is not a JSON value"),
        (b"user_id,b\n1,2\n", r"different columns \(a.csv and x\ufffd/y.csv\)"),
    ],
    ids=range(8),
)
def test_archive_names_the_member(tmp_path: Path, content: bytes, words: str) -> None:
    """An error about a file in an archive names the archive and that file, harmlessly."""
    content = _archive(**{"a.csv": b"user_id\n1\n", "x\x1b/y.csv": content})
    path = deliver(tmp_path, "users", "2026-05-14-16", content, ending="")
    with pytest.raises(FormatError, match=words) as caught:
        run(reading(tmp_path))
    assert path.name in str(caught.value)
    assert "x\ufffd/y.csv" in str(caught.value)
    assert str(caught.value).isprintable()


def test_damaged_member(tmp_path: Path) -> None:
    """So does an error of the archive itself."""
    content = bytearray(_archive(**{"a.csv": b"user_id\n1\n", "b\n.csv": b"user_id\n" * 99}))
    content[content.index(b"b\n.csv") + 12] ^= 4
    deliver(tmp_path, "users", "2026-05-14-16", bytes(content), ending="")
    words = r"b\ufffd\.csv: the zip archive cannot be read"
    with pytest.raises(FormatError, match=words) as caught:
        run(reading(tmp_path))
    assert str(caught.value).isprintable()


def test_gzip_in_an_archive(tmp_path: Path) -> None:
    """Files in an archive may be gzip, of several members too."""
    parts = [gzip.compress(b"user_id,a\n1,x\n"), b"user_id,a\n2,y\n"]
    parts.append(gzip.compress(b"user_id,a\n") + gzip.compress(b"3,z\n"))
    content = _archive(**{f"{n}.csv.gz": part for n, part in enumerate(parts)})
    assert [r["user_id"] for r in _records(tmp_path, content)] == ["1", "2", "3"]


def test_odd_archives(tmp_path: Path) -> None:
    """An empty archive has no rows; an empty first file, or members in another order, are none."""
    for number, (content, rows) in enumerate(
        (
            (b"PK\x05\x06" + bytes(18), 0),
            (_zip(b"", b"user_id\n1\n"), 1),
            (_zip(b'{"user_id": "1", "a": 2}', b'{"a": 3, "user_id": "2"}'), 2),
        )
    ):
        folder = tmp_path / str(number)
        assert len(_records(folder, content)) == rows


def _broken() -> dict[str, bytes]:
    good = gzip.compress(FORMATS["csv ','"])
    archive = _zip(FORMATS["csv ','"] * 50)
    book = workbook()
    locked = bytearray(_zip(b"user_id\n1\n"))
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = locked.find(sign)
        while at >= 0:
            locked[at + place] |= 1
            at = locked.find(sign, at + 1)
    return {
        "gzip cut short": good[:-3],
        "gzip without an end": good[:40],
        "gzip with a flipped bit": good[:30] + bytes([good[30] ^ 4]) + good[31:],
        "gzip with another CRC": good[:-8] + b"\0\0\0\0" + good[-4:],
        "gzip and other bytes": good + b"user_id\n",
        "gzip in gzip": gzip.compress(good),
        "zip in gzip": gzip.compress(archive),
        "zip cut short": archive[: len(archive) // 2],
        "zip without a list": archive[:-40],
        "zip with a flipped bit": archive[:80] + bytes([archive[80] ^ 4]) + archive[81:],
        "zip with a password": bytes(locked),
        "zip of different files": _zip(b"user_id\n1\n", b"user_id,more\n1,2\n"),
        "zip in zip": _zip(archive),
        "workbook cut short": book[: len(book) // 2],
        "workbook without sheets": _zip_of("xl/workbook.xml"),
        "workbook with a broken sheet": _broken_sheet(),
        "an array of numbers alone": b"[1, 2, 3]",
        "an array of arrays": b'[["a"], ["b"]]',
        "an object without quotes": b"{user_id: 1}",
        "objects without members": b"{}\n{}\n",
        "parquet": b"PAR1\x15\x04\x15\0\0\0",
        "arrow": b"ARROW1\0\0\xff\xff\xff\xff\0\0",
        "bzip2": b"BZh91AY&SY\0\0\0",
        "xz": b"\xfd7zXZ\0\0\x04",
        "zstandard": b"\x28\xb5\x2f\xfd\x04\x00\x01",
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        "old workbook": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0",
        "HTML": b"<!DOCTYPE html><html></html>",
        "XML": b"<?xml version='1.0'?><Error/>",
        "sep= line": b"sep=;\nuser_id;a\n1;2\n",
        "UTF-16 cut short": _csv(",", "utf-16")[:-1],
        "UTF-16 with a lone surrogate": b"\xff\xfeu\0s\0\0\xd8a\0",
        "a short row": b"user_id,a\n1,2\n3\n",
        "a long row": b"user_id,a\n1,2,3\n",
        "a quote without end": b'user_id,a\n1,"2\n3,4\n',
        "bytes that are not UTF-8": b"user_id,a\n1,\xe9\n",
        "JSON that ends early": b'{"user_id": "1"}\n{"user_id":',
        "an array that ends early": b'[{"user_id": "1"},\n',
        "an array of numbers": b'[{"user_id": "1"}, 5]',
    }


def _broken_sheet() -> bytes:
    """A workbook whose sheet's XML ends early."""
    archive, copy = zipfile.ZipFile(io.BytesIO(workbook())), io.BytesIO()
    with zipfile.ZipFile(copy, "w") as file:
        for name in archive.namelist():
            data = archive.read(name)
            file.writestr(name, data[:-40] if name.endswith("sheet1.xml") else data)
    return copy.getvalue()


def _zip_of(name: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(name, "<workbook/>")
    return archive.getvalue()


BROKEN = _broken()


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(tmp_path: Path, name: str) -> None:
    """A file that cannot be read is one error that names it, and nothing of it goes out."""
    path = deliver(tmp_path, "users", "2026-05-14-16", BROKEN[name], ending="")
    with pytest.raises(ExportError) as caught:
        run(reading(tmp_path))
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.run.of("RECORD") == []  # type: ignore[attr-defined]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    objects=st.lists(st.dictionaries(st.text(max_size=4), _VALUES, max_size=4), max_size=5),
    array=st.booleans(),
    size=st.integers(1, 40),
    indent=st.none() | st.integers(0, 2),
)
def test_elements(
    objects: list[dict[str, Any]],
    array: bool,  # noqa: FBT001 - made up by hypothesis
    size: int,
    indent: int | None,
) -> None:
    """However JSON is cut into pieces, the objects in it come one by one, as they stand."""
    text = (
        json.dumps(objects, indent=indent)
        if array
        else "\n".join(json.dumps(one, indent=indent) for one in objects)
    )
    data = text.encode()
    pieces = iter([data[i : i + size] for i in range(0, len(data), size)])
    found = JSONText(pieces, "file", cut=False)
    assert found.skip("[") == array
    assert [json.loads(element) for element, _, _ in found.elements(array=array)] == objects
