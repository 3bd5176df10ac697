"""Every format in every packing has the same rows, and any other file is an error."""

from __future__ import annotations

import gzip
import io
import random
from typing import TYPE_CHECKING, Any

import pytest

from filetap.errors import ExportError, FormatError
from filetap.read.batch import ReadOptions
from filetap.read.detect import open_reader
from tests.folders import deliver, reading
from tests.read.contents import (
    BROKEN,
    FORMATS,
    PACKINGS,
    archive_of,
    workbook,
    zipped,
)
from tests.runs import run

if TYPE_CHECKING:
    from pathlib import Path


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
    """The records are the same in any format and packing."""
    found = _records(tmp_path, PACKINGS[packing](FORMATS[name]))
    assert [r["tenure"] for r in expected] == [7, None, 123456789012]
    assert found == expected


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", FORMATS)
def test_beginnings(name: str, packing: str) -> None:
    """A file's first bytes, however many, never yield a row that the whole file does not have."""
    data = PACKINGS[packing](FORMATS[name])

    def rows(most: int | None) -> list[dict[str, str]]:
        reader = open_reader(io.BytesIO(data), "f", ReadOptions(known=["user_id"], most=most))
        named = (row for batch in reader for row in batch.frame.rows(named=True))
        return [{k: v for k, v in row.items() if v is not None} for row in named]

    every = rows(None)
    assert len(every) == 3
    found = [rows(most) for most in range(0, len(data), 17)]
    assert all(part == every[: len(part)] for part in found)
    assert [len(part) for part in found] == sorted(len(part) for part in found)


@pytest.mark.parametrize("packing", ["plain", "gzip"])
def test_workbook(tmp_path: Path, expected: list[dict[str, Any]], packing: str) -> None:
    """A workbook's first sheet is read, its dates typed; a workbook in gzip is refused."""
    content = PACKINGS[packing](workbook())
    if packing == "gzip":
        with pytest.raises(FormatError, match="zip archive inside gzip"):
            _records(tmp_path, content)
    else:
        assert _records(tmp_path, content) == expected


def test_several_members(tmp_path: Path) -> None:
    """The files of an archive are read in sequence, with continuous row numbers."""
    found = _records(tmp_path, zipped(b"user_id,a\n1,x\n", b"", b"user_id,a\n2,y\n3,z\n"))
    assert [(r["user_id"], r["_sdc_source_lineno"]) for r in found] == [
        ("1", 1),
        ("2", 2),
        ("3", 3),
    ]


def test_members_with_long_names(tmp_path: Path) -> None:
    """Files of an archive are all read, even if their names begin with the same 80 characters."""
    folder = "export/" + "x" * 80
    names = [f"{folder}/{n}.csv" for n in range(3)]
    content = archive_of(**{name: b"user_id\n%d\n" % n for n, name in enumerate(names)})
    assert [r["user_id"] for r in _records(tmp_path, content)] == ["0", "1", "2"]


def test_nested_json(tmp_path: Path) -> None:
    """Nested values are their JSON verbatim, numbers the digits as written."""
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
    """An object that cannot be read ends the run, or is diverted verbatim."""
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
    """A broken object affects no other one."""
    deliver(tmp_path, "users", "2026-05-14-16", content, ending="")
    with pytest.raises(FormatError, match=f"row [12]: {fault}"):
        run(reading(tmp_path))
    done = run({**reading(tmp_path), "malformed_rows": "divert"})
    assert [r["user_id"] for r in done.records("users")] == good
    assert done.records("users_malformed")


def test_large_utf_16(tmp_path: Path) -> None:
    """The sampled beginning of a large file may end in the middle of a character."""
    rows = "user_id,name\n" + "".join(f"{n},x\U0001f600y\n" for n in range(190_000))
    data = rows.encode("utf-16")
    assert len(data) > 4 << 20
    assert len(_records(tmp_path, data)) == 190_000


def test_large_archive_that_is_broken(tmp_path: Path) -> None:
    """An archive too large to be sampled whole is verified before its first row is emitted, too."""
    dice = random.Random(0)
    rows = "".join(f"{n},{dice.randbytes(200).hex()}\n" for n in range(30_000))
    data = bytearray(zipped(f"user_id,a\n{rows}".encode()))
    assert len(data) > 4 << 20
    data[-2_000] ^= 4
    deliver(tmp_path, "users", "2026-05-14-16", bytes(data), ending="")
    with pytest.raises(FormatError, match="the zip archive cannot be read") as caught:
        run(reading(tmp_path))
    assert caught.value.run.of("RECORD") == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name",
    [
        *(".DS_Store", "._users.csv", "Thumbs.db", "desktop.ini", "__MACOSX/users.csv"),
        *("a/.DS_Store", "a/b/._users.csv", "a/THUMBS.DB", "a/Desktop.ini", "a/__MACOSX/b/c"),
        "a\\Thumbs.db",
    ],
)
def test_litter(tmp_path: Path, name: str) -> None:
    """Files that desktop systems leave in an archive are skipped, in any folder of it."""
    content = archive_of(**{name: b"\0\5\7", "a/users.csv": b"user_id\n1\n"})
    assert [r["user_id"] for r in _records(tmp_path, content)] == ["1"]


def test_no_litter(tmp_path: Path) -> None:
    """Names that only resemble litter are files."""
    names = ("x.DS_Store", "my Thumbs.db", "_users.csv", ".users.csv", "desktop.ini.csv")
    content = archive_of(**{name: b"user_id\n%d\n" % n for n, name in enumerate(names)})
    assert len(_records(tmp_path, content)) == len(names)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "the header row cannot be read"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "different columns|header row"),
        (zipped(b"user_id\n1\n"), "a zip archive inside a zip archive is not supported"),
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
    content = archive_of(**{"a.csv": b"user_id\n1\n", "x\x1b/y.csv": content})
    path = deliver(tmp_path, "users", "2026-05-14-16", content, ending="")
    with pytest.raises(FormatError, match=words) as caught:
        run(reading(tmp_path))
    assert path.name in str(caught.value)
    assert "x\ufffd/y.csv" in str(caught.value)
    assert str(caught.value).isprintable()


def test_damaged_member(tmp_path: Path) -> None:
    """An error of the archive itself names the file in it, too."""
    content = bytearray(archive_of(**{"a.csv": b"user_id\n1\n", "b\n.csv": b"user_id\n" * 99}))
    content[content.index(b"b\n.csv") + 12] ^= 4
    deliver(tmp_path, "users", "2026-05-14-16", bytes(content), ending="")
    words = r"b\ufffd\.csv: the zip archive cannot be read"
    with pytest.raises(FormatError, match=words) as caught:
        run(reading(tmp_path))
    assert str(caught.value).isprintable()


def test_gzip_in_anarchive_of(tmp_path: Path) -> None:
    """Files in an archive may be gzip, of several members too."""
    parts = [gzip.compress(b"user_id,a\n1,x\n"), b"user_id,a\n2,y\n"]
    parts.append(gzip.compress(b"user_id,a\n") + gzip.compress(b"3,z\n"))
    content = archive_of(**{f"{n}.csv.gz": part for n, part in enumerate(parts)})
    assert [r["user_id"] for r in _records(tmp_path, content)] == ["1", "2", "3"]


def test_odd_archives(tmp_path: Path) -> None:
    """An empty archive has no rows; an empty first file, or another order of members, is fine."""
    for number, (content, rows) in enumerate(
        (
            (b"PK\x05\x06" + bytes(18), 0),
            (zipped(b"", b"user_id\n1\n"), 1),
            (zipped(b'{"user_id": "1", "a": 2}', b'{"a": 3, "user_id": "2"}'), 2),
        )
    ):
        folder = tmp_path / str(number)
        assert len(_records(folder, content)) == rows


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files(tmp_path: Path, name: str) -> None:
    """A file that cannot be read is one error that names it, and none of it is emitted."""
    path = deliver(tmp_path, "users", "2026-05-14-16", BROKEN[name], ending="")
    with pytest.raises(ExportError) as caught:
        run(reading(tmp_path))
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.run.of("RECORD") == []  # type: ignore[attr-defined]
