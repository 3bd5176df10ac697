"""JSON read by columns gives what the careful reader gives, whatever the bytes are."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filetap.errors import FormatError
from filetap.read import json_fast, json_held, json_waiting
from filetap.read.batch import ReadOptions
from filetap.read.json_columns import Columns
from filetap.read.json_fast import Run, Runs, count_strings, object_ends
from filetap.read.json_lines import JSONReader
from filetap.read.json_text import JSONText
from filetap.read.json_waiting import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

_KNOWN = ("id",)
_NAMES = st.sampled_from(["id", "a", "b", "é", "a b", "", 'c"', "\\", "x" * 9])
_TEXTS = st.text('ab{}[],:\\"\n\x1f\x7f é😀0', max_size=6) | st.sampled_from(
    ["null", "\x1f", "", '"', "},{", '\\"', "1", "[", '{"id":1}']
)
_NUMBERS = st.sampled_from(
    [
        *["0", "-0.0", "1.10", "1e5", "1E400", "-12", "9" * 25, "01", "1.", "-"],
        *["7", "-0", "1.0", "10E-1", str(2**63 - 1), str(2**63), str(-(2**63))],
    ]
)
_SPACES = st.sampled_from(["", "", "", " ", "\n", "\r\n", "\t", "  "])


@st.composite
def values(draw: st.DrawFn, depth: int = 0) -> str:
    """A value's JSON, sometimes one that is not valid."""
    kinds = ["text", "text", "number", "word", "raw"] + ["array", "object"] * (depth < 3)
    kind = draw(st.sampled_from(kinds))
    if kind == "text":
        return json.dumps(draw(_TEXTS), ensure_ascii=draw(st.booleans()))
    if kind == "number":
        return draw(_NUMBERS)
    if kind == "word":
        return draw(st.sampled_from(["null", "null", "true", "false", "NaN", "nul"]))
    if kind == "raw":
        return draw(
            st.sampled_from(
                [
                    *['"\\ud800"', '"\\ud83d\\ude00"', '"\\u001f"', '"\t"', '"\\x"', '"\\/"', '"a'],
                    *["[[[", '"\\u0022"', "{}", "[]", "-Infinity", '[{"id":1},{"id":2}]'],
                ]
            )
        )
    if kind == "array":
        return "[" + ",".join(draw(st.lists(values(depth + 1), max_size=3))) + "]"
    return draw(objects(depth + 1))


@st.composite
def objects(draw: st.DrawFn, depth: int = 0) -> str:
    """An object's JSON, perhaps with members of one name, or names with escapes."""
    pairs = draw(st.lists(st.tuples(_NAMES, values(depth)), max_size=4))
    space = draw(_SPACES)
    members = [f"{json.dumps(name)}{space}:{space}{value}" for name, value in pairs]
    return "{" + space + f",{space}".join(members) + space + "}"


@st.composite
def regular(draw: st.DrawFn) -> str:
    """An object as an export has it, with some members left out."""
    members = {
        "id": draw(_NUMBERS),
        "a": '"x"',
        "b": "1.10",
        "n": "null",
        "o": '{"id":1,"b":[{"a":"}"}]}',
    }
    odd = draw(st.dictionaries(st.sampled_from([*members]), values(2), max_size=1))
    out = draw(st.sets(st.sampled_from([*members]), max_size=2))
    pairs = {name: value for name, value in (members | odd).items() if name not in out}
    space = draw(st.sampled_from(["", "", " "]))
    return "{" + f",{space}".join(f'"{name}":{space}{one}' for name, one in pairs.items()) + "}"


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file of objects: lines, an array, an envelope; some are damaged."""
    rows = draw(st.lists(regular() | regular() | objects(), min_size=1, max_size=9))
    between = draw(st.sampled_from(["\n", "\n", "\r\n", ",", ", ", ",\n  ", "", " ", ",,", "\n\n"]))
    before, after = draw(
        st.sampled_from(
            [
                *[("", ""), ("", "\n"), ("[", "]"), ("[", "]"), ("\ufeff", "\n")],
                *[("[\n  ", "\n]\n"), ('{"data":[', '],"n":1}')],
                *[("[", "]x"), ("[", ""), ("[", f"][{rows[0]}]")],
            ]
        )
    )
    data = (before + between.join(rows) + after).encode(errors="surrogatepass")
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        data = (
            data[:at]
            + draw(st.sampled_from([b"", b'"', b"}", b"\xff", b"\n", b"\x0b", b" x"]))
            + data[at + 1 :]
        )
    return data


def found(data: bytes, size: int, options: ReadOptions, most: int, *, careful: bool = False) -> Any:
    """What a reader makes of *data* that arrives in pieces of *size* bytes; or its error.

    No batch has more than *most* rows. Integers count as their text.
    """

    def pieces() -> Iterator[bytes]:
        return (data[at : at + size] for at in range(0, len(data), size))

    with ExitStack() as stack:
        if careful:
            stack.enter_context(patch.object(Runs, "take", lambda *_, **__: None))
        try:
            reader = JSONReader(pieces, "f", options)
            batches = list(reader)
        except FormatError as error:
            return str(error)
        assert max((b.frame.height + len(b.malformed) for b in batches), default=0) <= most
        numbers = {n for b in batches for n, kind in b.frame.schema.items() if kind == pl.Int64}
        assert numbers <= set(options.integers)
        texts = ((batch.numbers, batch.frame.cast(pl.String).rows()) for batch in batches)
        rows = [row for pair in texts for row in zip(*pair, strict=True)]
        return reader.labels, reader.columns, rows, [row for b in batches for row in b.malformed]


_PLAIN: dict[str, Any] = {
    "size": 9,
    "few": 1,
    "most": 3,
    "room": 60,
    "held": 20,
    "divert": True,
    "cut": False,
    "integers": ("id", "b", "n"),
}


@given(
    data=files(),
    size=st.integers(1, 99),
    few=st.sampled_from([1, 9, 40, 8192]),
    most=st.sampled_from([1, 2, 3, 10_000]),
    room=st.sampled_from([9, 60, 16 << 20]),
    held=st.sampled_from([0, 9, 60, 48 << 20]),
    divert=st.booleans(),
    cut=st.booleans(),
    integers=st.sampled_from([(), ("id",), ("id", "b", "n")]),
)
@example(data=b'{"id":1,"id":2}\n{"id":3}\n{"id":4}\n', **_PLAIN | {"few": 8192})
@example(data=b'{"id":1}\n{}\n{"id":4}\n', **_PLAIN)
@example(data=b'{"id":1,"n":null}\n{"id":1,"n":0}\n{}', **_PLAIN | {"most": 1, "room": 9})
@example(data=b'[{"id":1},{"id":2,"b":{"a":1,"a":2}}]', **_PLAIN)
@example(data=b'{"id":1}\n{"id":2}\x0b\n{"id":3}', **_PLAIN)
@example(data=b'{"id":1}\n{"id":2} x\n{"id":3}', **_PLAIN | {"cut": True})
@example(data=b'{"id":1}\n{"id":2}\n{"id":-0}\n{"id":3}', **_PLAIN)
@example(data=b'[{"id":1},{"id":2},{"id":1.0},{"id":3}]', **_PLAIN)
@example(data=b'{"id":1}\n{"id":2}\n{"id":9223372036854775808}\n{"id":3}', **_PLAIN)
@example(data=b'{"id":1}\n{"id":2}\n{"id":"3"}\n{"id":null}\n{}', **_PLAIN)
def test_equals_the_careful_reader(
    *,
    data: bytes,
    size: int,
    few: int,
    most: int,
    room: int,
    held: int,
    divert: bool,
    cut: bool,
    integers: tuple[str, ...],
) -> None:
    """Rows, numbers, labels, malformed rows and errors are those of the careful reader."""
    options = ReadOptions(known=_KNOWN, divert=divert, cut=cut, integers=integers)
    with (
        patch.object(json_fast, "_FEW", few),
        patch.object(json_waiting, "ROWS", most),
        patch.object(json_held, "ROWS", most),
        patch.object(json_waiting, "SIZE", room),
        patch.object(json_held, "SIZE", room),
        patch.object(json_waiting, "LARGEST", min(json_fast.LARGEST, room // 2)),
        patch.object(json_held, "HELD", held),
    ):
        fast = found(data, size, options, most)
        assert fast == found(data, size, options, most, careful=True)


_ROW = '{"id": %d, "a": "x\\"y", "b": 1.10, "n": null, "o": {"x": [1e5, "}"]}}'


def _carefully_read(data: bytes) -> int:
    """How many objects of *data* the careful reader reads; both passes count."""
    count = 0
    elements = JSONText.elements

    def counted(text: Any, *, array: bool) -> Iterator[Any]:
        nonlocal count
        for element in elements(text, array=array):
            count += 1
            yield element

    with patch.object(JSONText, "elements", counted):
        found(data, 1 << 16, ReadOptions(known=_KNOWN), ROWS)
    return count


@pytest.mark.parametrize("between", ["\n", "\r\n", ",", ",\n    ", ", "])
@pytest.mark.parametrize(
    "rows",
    [
        [_ROW % i for i in range(9_000)],
        [json.dumps(json.loads(_ROW % i), indent=2) for i in range(9_000)],
        [_ROW % i if i % 3 else '{"id": 7, "n": "text"}' for i in range(9_000)],
        ['{"n": 1, "o": [{"n": 1}, {"n": 2}]}'] * 9_000,
        ['{"id": "%s"}' % ("é" * 30_000)] * 99,
    ],
    ids=["regular", "indented", "members left out", "rows within rows", "large"],
)
def test_regular_objects_are_read_by_columns(rows: list[str], between: str) -> None:
    """The careful reader sees a few objects of a regular file only, in whatever layout."""
    text = between.join(rows)
    data = (f"[{text}]" if "," in between else text).encode()
    assert _carefully_read(data) < max(2_500, len(rows) // 4)


@pytest.mark.parametrize("held", [0, 48 << 20])
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("7", pl.Int64),
        ("-9223372036854775808", pl.Int64),
        ("9223372036854775808", pl.String),
        ("-0", pl.String),
        ("1.0", pl.String),
        ('"x"', pl.String),
        ("null", pl.Int64),
        ('"t -0, u"', pl.String),
    ],
)
def test_integers_come_as_integers(held: int, value: str, kind: type[pl.DataType]) -> None:
    """A column comes as integers where all its values are some, written as usual."""
    rows = [f'{{"id": {n}, "a": {n if n % 500 else value}}}' for n in range(2_000)]
    options = ReadOptions(known=_KNOWN, integers=["a"])
    with patch.object(json_held, "HELD", held):
        batches = list(JSONReader(lambda: iter(["\n".join(rows).encode()]), "f", options))
    assert {batch.frame["a"].dtype for batch in batches} == {kind}
    assert {batch.frame["id"].dtype for batch in batches} == {pl.String}
    texts = [text for batch in batches for text in batch.frame["a"].cast(pl.String)]
    expected = None if value == "null" else value.strip('"')
    assert texts == [str(n) if n % 500 else expected for n in range(2_000)]


def test_one_broken_object_is_read_carefully() -> None:
    """A broken object sends only its neighbours to the careful reader."""
    rows = [_ROW % i for i in range(20_000)]
    rows[9_000] = '{"id": }'
    assert _carefully_read("\n".join(rows).encode()) < 2_500


@pytest.mark.parametrize("depth", [400, 600, 985, 995, 1_005, 2_000])
@pytest.mark.parametrize("array", [True, False])
def test_deep_values(*, depth: int, array: bool) -> None:
    """Values nested deeply are rows, or malformed, as the careful reader has it."""
    deep = "[" * depth + "1" + "]" * depth
    rows = ['{"id": 1}'] * 900 + [f'{{"id": {deep}}}'] + ['{"id": 2}'] * 900
    text = ",".join(rows).join("[]") if array else "\n".join(rows)
    options = ReadOptions(known=_KNOWN, divert=True)
    both = [found(text.encode(), 99, options, ROWS, careful=careful) for careful in (False, True)]
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (b'{"a":"}"}{"b":{}}', [9, 17]),
        (b'{"a":"\\"}"},{"b":"\\\\"}]{', [11, 22]),
        (b'{"a":[{"b":1}', []),
        (b'{"a":"x}', []),
    ],
)
def test_ends(text: bytes, ends: list[int]) -> None:
    """Objects end at the bracket that closes them, not at one in a string."""
    assert object_ends(text)[1].tolist() == ends


@given(texts=st.lists(_TEXTS), ascii_only=st.booleans())
def test_strings_are_counted(*, texts: list[str], ascii_only: bool) -> None:
    """Each string counts once, whatever it contains."""
    assert count_strings(json.dumps(texts, ensure_ascii=ascii_only).encode()) == len(texts)


@pytest.mark.parametrize(
    "second",
    [
        '{"a": 1, "a": 2}',
        '{"b": {"x": 1, "x": 2}}',
        '{"b": [{"x": {"y": 1, "\\u0079": 2}}]}',
        "{}",
        '{"c": 1}',
        '{"a": "\\ud800"}',
        '{"a": NaN}',
        '{"a": 01}',
        "[]",
        '{"b": {"x": 1, "x": 2}, "a": 1, "a": {}}',
    ],
)
def test_unproven(second: str) -> None:
    """No frame is made of an object that the careful reader would refuse."""
    columns = Columns(["a", "b"], ["a", "b"])
    for _ in range(2):
        good = '{"a": "x", "b": null}\n{"a": null, "b": {"x": 1}}'
        assert columns.frame(Run(good.encode(), array=False, most=9)) is not None
        assert columns.frame(Run(f"{good}\n{second}".encode(), array=False, most=9)) is None
