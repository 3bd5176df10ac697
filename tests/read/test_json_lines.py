"""JSON objects are rows in any layout, and anything else is reported."""

from __future__ import annotations

import io
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filetap.errors import FormatError
from filetap.read import json_text
from filetap.read.batch import ReadOptions
from filetap.read.detect import open_reader
from filetap.read.json_lines import JSONReader
from filetap.read.json_text import JSONText
from tests.folders import deliver, reading
from tests.runs import run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from filetap.read.batch import Reader

KNOWN = ("user_id", "first_name", "date")


def opened(
    content: str | bytes, *, known: tuple[str, ...] = KNOWN, divert: bool = True, cut: bool = False
) -> Reader:
    """A reader of some content."""
    data = content.encode() if isinstance(content, str) else content
    return open_reader(io.BytesIO(data), "f", ReadOptions((), known, 9, divert=divert, cut=cut))


def read(content: str | bytes, **ways: Any) -> tuple[list[Mapping[str, Any]], dict[int, str]]:
    """The good rows, and the faults of the others by their number."""
    rows: list[Mapping[str, Any]] = []
    faults: dict[int, str] = {}
    for batch in opened(content, **ways):
        rows += batch.frame.rows(named=True)
        faults |= {row.number: row.reason for row in batch.malformed}
    return rows, faults


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab{}[],:\\"\n é😀', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
OBJECTS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["a", "b{", 'c"', "é"]), VALUES, max_size=3),
        st.sampled_from([None, 0, 1, 2]),
        st.sampled_from(["", " ", "\n", "\r\n", "\n\n", "\t"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@given(OBJECTS, st.integers(1, 60))
@example([({"a": 1}, None, "", False), ({"b{": [{}, {"a": 2}]}, 0, "", False)], 7)
@example([({"a": 1}, None, "\n", False), ({"a": {"a": 2}}, 0, "\n", False)], 7)
def test_any_layout(objects: list[tuple[dict[str, Any], int | None, str, bool]], size: int) -> None:
    """Objects one after the other, each on one line or several, are the same rows as an array."""
    rows = [{"user_id": str(n), **one} for n, (one, *_) in enumerate(objects)]
    text = "".join(
        json.dumps(row, indent=indent, ensure_ascii=ascii_only) + after
        for row, (_, indent, after, ascii_only) in zip(rows, objects, strict=True)
    )
    whole = json.dumps(rows).encode()

    def found(data: bytes, size: int) -> list[Mapping[str, Any]]:
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        batches = JSONReader(lambda: iter(pieces), "f", ReadOptions(known=KNOWN))
        return [row for batch in batches for row in batch.frame.rows(named=True)]

    expected = [{name: _loaded(cell) for name, cell in row.items()} for row in found(whole, 99)]
    cells = [{name: _loaded(cell) for name, cell in r.items()} for r in found(text.encode(), size)]
    assert cells == expected
    assert len(cells) == len(rows)


def _loaded(cell: str | None) -> Any:
    """A cell without the blanks of its JSON."""
    try:
        return json.loads(cell or "null")
    except ValueError:
        return cell


def test_several_on_a_line(tmp_path: Path) -> None:
    """Two objects on each of two lines are four rows."""
    content = '{"user_id":"1"}{"user_id":"2"}\n{"user_id":"3"} {"user_id":"4"}'
    deliver(tmp_path, "users", "2026-05-14-16", content)
    found = run(reading(tmp_path)).records("users")
    places = [(r["user_id"], r["_sdc_source_lineno"]) for r in found]
    assert places == [("1", 1), ("2", 2), ("3", 3), ("4", 4)]


@pytest.mark.parametrize(
    ("content", "good", "bad"),
    [
        ('{"user_id":1}{"user_id" 2}{"user_id":3}\n{"user_id":4}\n', "1 3 4", {2}),
        ('{"user_id":1}{"user_id":2\n{"user_id":3}\n', "1 3", {2}),
        ('{"user_id":1}\n{"user_id":2}{"user_id":"x\n{"user_id":4}\n', "1 2 4", {3}),
        ('{"user_id":1}\n{"user_id":\n{"user_id":3}\n', "1 3", {2}),
        ('{"user_id":1}\n{"a":\n{"user_id":3}\n{"user_id":4}\n', "1 3 4", {2}),
        # What might be parts of one broken object is no row.
        ('{"user_id":"1"},"b":{"user_id":2}}\n{"user_id":3}\n', "3", {1}),
        ('{"user_id":1} x\n{"user_id":3}\n', "3", {1}),
        ('{"user_id":1} x {"user_id":2}\n{"user_id":3}\n', "1 2 3", {2}),
        ('{"user_id":1} "x": {"user_id":2}\n{"user_id":3}\n', "3", {1}),
        ('[{"user_id":1},{"user_id" 2},{"user_id":3}]', "1 3", {2}),
        ('[{"user_id":1},x,{"user_id":3}]', "1 3", {2}),
        ('[{"user_id":1}]\n{"user_id":2}', "1", {2}),
        ('[{"user_id":1}] x [{"user_id":2}]', "1", {2, 3}),
        ('{\n "user_id": 1\n}\n{\n "user_id" 2\n}\n{\n "user_id": 3\n}\n', "1 3", {2}),
        ('{"user_id":1}\n' + '{"a":[\n' * 3000 + '{"user_id":2}', "1 2", None),
    ],
)
def test_broken(content: str, good: str, bad: set[int] | None) -> None:
    """A broken object affects nothing else on its line."""
    rows, faults = read(content)
    assert [row["user_id"] for row in rows if row["user_id"]] == good.split()
    assert faults
    assert bad is None or set(faults) == bad


@pytest.mark.parametrize("array", [True, False])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"user_id": NaN}', "NaN is not a JSON value"),
        ('{"user_id": -Infinity}', "-Infinity is not a JSON value"),
        ('{"user_id": "\\ud800"}', "half of a surrogate pair"),
        ('{"user_id": {"x": "\\uDFFF!"}}', "half of a surrogate pair"),
        ('{"\\ud800": 1}', "half of a surrogate pair"),
        ("{}", "the object has no members"),
        ('{"user_id": 1, "user_id": 2}', "two of its members have one name"),
        ('{"user_id": {"a": 1, "a": 2}}', "two of its members have one name"),
        (b'{"user_id": "\xff"}', "bytes that are not UTF-8"),
        ("[1]", "it is not a JSON object"),
        ("5", "it is not a JSON object"),
        ("null", "it is not a JSON object"),
        ('{"user_id" 1}', r"it is not valid JSON \(expecting ':' delimiter\)"),
        ('{"user_id": 1_0}', r"it is not valid JSON \(expecting ',' delimiter\)"),
        ('{"user_id": "\t"}', r"it is not valid JSON \(invalid control character\)"),
    ],
)
def test_faults(bad: str | bytes, reason: str, array: bool) -> None:  # noqa: FBT001 - a table
    """Each fault has its own message, and affects only its row."""
    data = bad.encode() if isinstance(bad, str) else bad
    between = b"," if array else b"\n"
    content = between.join([b'{"user_id":"a"}', data, b'{"user_id":"b"}'])
    content = b"[" + content + b"]" if array else content
    rows, faults = read(content)
    assert [row["user_id"] for row in rows] == ["a", "b"]
    assert list(faults) == [2]
    with pytest.raises(FormatError, match=f"f: row 2: {reason}"):
        read(content, divert=False)


@pytest.mark.parametrize("array", [True, False])
def test_nested_members_of_one_name(array: bool) -> None:  # noqa: FBT001 - a parameter
    """Where nested values stay as written, only a row's own members must have different names."""
    nested = '{"a":1.10, "a":[{"b":1,"b":2}]}'
    rows = [f'{{"user_id":{nested}}}', f'{{"date":{nested},"date":1}}', '{"user_id":1}']
    content = f"[{','.join(rows)}]" if array else "\n".join(rows)
    options = ReadOptions(known=KNOWN, divert=True, nested=True)
    (batch,) = open_reader(io.BytesIO(content.encode()), "f", options)
    assert batch.frame["user_id"].to_list() == [nested, "1"]
    assert [(row.number, row.reason) for row in batch.malformed] == [
        (2, "two of its members have one name")
    ]


@pytest.mark.parametrize("content", ["[{}]", "{}\n{}\n", '{"user_id":"a"}\n{}\n'])
def test_objects_without_members(content: str) -> None:
    """An object without members is never a row of nulls."""
    with pytest.raises(FormatError, match=r"row [12]: the object has no members"):
        read(content, divert=False)


def test_digits() -> None:
    """Numbers are the digits as written, however many."""
    digits = "-" + "9" * 5_000
    rows, faults = read(f'[{{"user_id": {digits}, "a": 1.10, "b": 1E400, "c": [{digits}]}}]')
    assert not faults
    assert rows == [{"user_id": digits, "a": "1.10", "b": "1E400", "c": f"[{digits}]"}]


ROWS = '[{"user_id":"1"},{"user_id":"2"},{"user_id":"3"}]'


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (f'{{"data":{ROWS}}}', 3),
        (f'{{"data" : {ROWS} }}\n\n', 3),
        (f'{{"count":3,"meta":{{"a":[1]}},"data":{ROWS},"next":null}}', 3),
        (f'{{"errors":[],"data":{ROWS}}}', 3),
        (f'{{"":{ROWS}}}', 3),
        (json.dumps({"count": 3, "data": json.loads(ROWS), "x": "]}"}, indent=1), 3),
        ('{"data":[]}', 0),
        ('{"data":[],"errors":[],"count":0}', 0),
        # A row like any other.
        ('{"user_id":"1","name":"x"}', 1),
        (f'{{"user_id":"1","topics":{ROWS}}}', 1),
        (f'{{"data":{ROWS}}}\n{{"data":{ROWS}}}', 2),
        (f'{{"a":1,"data":{ROWS}}}{{"a":2,"data":{ROWS}}}', 2),
        ('{"tags":["a"],"name":"x"}', 1),
        (f'{{"tags":["a"],"data":{ROWS}}}', 1),
        ('{"name":"x"}', 1),
    ],
)
def test_envelope(content: str, rows: int) -> None:
    """One object around one array of objects holds rows; an object with known members is one."""
    found, faults = read(content)
    assert not faults
    assert len(found) == rows
    if rows == 3:
        assert [row["user_id"] for row in found] == ["1", "2", "3"]
    if not rows:
        assert opened(content).columns == []


def test_envelope_of_two() -> None:
    """If two members could hold the rows, both are named."""
    with pytest.raises(FormatError, match="f: several members hold rows: data, more\ufffd"):
        read(f'{{"data":{ROWS},"more\\u0007":{ROWS}}}')


def test_envelope_with_a_broken_object() -> None:
    """A broken object in an envelope affects no other one."""
    rows, faults = read('{"data":[{"user_id":"1"},{"user_id" 2},{"user_id":"3"}],"count":3}')
    assert [row["user_id"] for row in rows] == ["1", "3"]
    assert list(faults) == [2]


@pytest.mark.parametrize("content", ['{"data":[{"user_id":"1"},{"us', '{"data":[{"user_id":"1"}]'])
def test_broken_envelope(content: str) -> None:
    """An envelope that ends early is an error, never some of its rows."""
    with pytest.raises(FormatError, match="row 1: it is not valid JSON"):
        read(content, divert=False)
    assert read(content)[0] == []


def test_beginning_of_an_envelope() -> None:
    """The beginning of a large envelope is enough for its columns."""
    assert opened('{"count":2,"data":[{"user_id":"1"},{"us', cut=True).columns == ["user_id"]


def test_envelope_in_a_run(tmp_path: Path) -> None:
    """The rows of an envelope are records."""
    deliver(tmp_path, "users", "2026-05-14-16", f'{{"data":{ROWS}}}')
    assert [r["user_id"] for r in run(reading(tmp_path)).records("users")] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "content",
    [
        b'[{"user_id": "%s"}]' % (b"x" * (12 << 20)),
        b'{"user_id": "%s"}\n' % (b'\\"' * (4 << 20)),
        b'{"user_id": "%s"}' % ("é" * (4 << 20)).encode(),
        b'{"user_id":"1"\n' * 25_000,
        b'{"user_id":"1"}\n' + b'{"a":[\n{"b":1},\n' * 5_000,
        b'{"user_id":"1"}\n{"a":[\n' + b'{"b":1},\n' * 25_000,
        b"[" + b'{"user_id" 1},' * 25_000 + b"]",
        b'{"user_id":"1"}\n' + b"x" * (12 << 20),
        b"[" + b"1," * 125_000 + b"1]",
    ],
    ids=range(9),
)
def test_time_is_linear(content: bytes) -> None:
    """Long strings, and broken ones, take time linear in their length."""
    before = time.process_time()
    read(content)
    assert time.process_time() - before < 6


def test_longest_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object without an end is an error before memory runs out; lines are read on by lines."""
    monkeypatch.setattr(json_text, "LONGEST_ROW", 50_000)
    with pytest.raises(FormatError, match="a JSON object is longer than 50000 bytes"):
        read(b'[{"user_id": "%s"}]' % (b"x" * 200_000))
    monkeypatch.setattr(json_text, "_LONGEST_SPAN", 25_000)
    lines = b'{"user_id":"1"}\n{"a":[1,\n' + b'{"user_id":"2"},\n' * 30_000
    rows, faults = read(lines)
    assert len(rows) == 30_001
    assert len(faults) == 1


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    objects=st.lists(st.dictionaries(st.text(max_size=4), NESTED, max_size=4), max_size=5),
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
    """However JSON is split into chunks, its objects are found one by one, verbatim."""
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
