"""The law of types: whatever the files contain, it can be recovered from the output."""

from __future__ import annotations

import csv
import io
import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from filetap.columns.added import ADDED
from filetap.columns.types import type_of
from filetap.read.names import column_names
from filetap.settings import Tuning
from filetap.singer.stream import ExportStream
from tap_firstup_dde.emulator import Emulator
from tests import runs
from tests.columns.test_types import instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.runs import Run

FILES = 20  # of one example; with its 50 examples 1,000 of them
STREAM = "activities"
# Labels of columns: documented ones, odd ones, and two that become the same name.
LABELS = ("Likes", "Date", "Is Featured", "likes", "Généré à", "1st", "a*b", "^.*$", "", "Score")
# The kinds of a column's cells in one file; in the next they may differ.
KINDS: tuple[tuple[str, ...], ...] = (
    ("0", "1", "-7", "9223372036854775807", "123456789012345"),
    ("1.5", "-0.25", "3", "0.0001", "99999999999.9999"),
    ("true", "FALSE", "True", "t", "no", "1"),
    ("2026-05-14", "0001-01-01", "9999-12-31", "2024-02-29"),
    ("2026-05-14T16:00:00Z", "2026-05-14 16:00", "2026-05-14T23:30:00.5-05:30"),
    ("0001-01-01T00:00:00Z", "9999-12-31 23:59:59.999999", "2026-05-14 16:00:00"),
    ("00123", "1.10", "-0", "1e5", "NaN", "1_000", "１２", "2026-02-30", "24:00:00"),  # noqa: RUF001 - full width, as meant
    ("9223372036854775808", "12345678901234567890", "2016-12-31T23:59:60Z", "+1", " 1"),
    ("n/a", "x,y", 'say "hi"', "two\nlines", "\r\n", "😀", "\u2028", "\0", "|;\t", "\\"),
)
TRUE = {"true", "t", "yes", "1"}
File = tuple[str, list[list[str]]]  # content, and its rows with the header row first
Rows = dict[tuple[str, int], dict[str, str]]  # generation and number → column → text


@st.composite
def _file(draw: st.DrawFn) -> File:
    """A CSV file as Python writes it, in a dialect of Redshift's UNLOAD."""
    # Without a documented column it would not be a file of the stream.
    known = draw(st.sampled_from(LABELS[:2]))
    others = st.sampled_from([label for label in LABELS if label != known])
    labels = draw(st.permutations([known, *draw(st.lists(others, max_size=3, unique=True))]))
    kinds = [draw(st.sampled_from(KINDS)) for _ in labels]
    cells = [st.sampled_from((*kind, "") if draw(st.booleans()) else kind) for kind in kinds]
    rows = draw(st.lists(st.tuples(*cells), max_size=6))
    dialect: dict[str, Any] = {
        "delimiter": draw(st.sampled_from(",,|\t;")) if len(labels) > 1 else ",",
        "lineterminator": draw(st.sampled_from(["\n", "\r\n"])),
        "quoting": draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])),
    }
    text = io.StringIO()
    csv.writer(text, **dialect).writerows([labels, *rows])
    content = text.getvalue()
    if draw(st.booleans()):
        content = content.removesuffix(dialect["lineterminator"])
    return content, list(csv.reader(io.StringIO(content, newline=""), **dialect))


@pytest.fixture(scope="module")
def firstup() -> Iterator[Emulator]:
    """An emulated Firstup for all examples."""
    with Emulator() as emulator:
        yield emulator


CATALOG = {
    "streams": [
        {
            "tap_stream_id": STREAM,
            "schema": {"type": "object", "properties": {}},
            "metadata": [{"breadcrumb": [], "metadata": {"selected": True}}],
        }
    ]
}


def test_round_trip(firstup: Emulator, pytestconfig: pytest.Config) -> None:
    """A column's text, or otherwise its __text, is what Python's csv reads, on both paths.

    Types may change from file to file, even within a run and where sampling before the first
    SCHEMA does not reach; a column that was emitted keeps its type. There is one example for every
    ten ``--interleavings``.
    """
    checked = given(
        files=st.lists(_file(), min_size=FILES, max_size=FILES),
        whole=st.sampled_from([Tuning().whole, 80]),
        most=st.sampled_from([1, Tuning().slice]),
    )(_assert_round_trip)
    # Not shrunk: that takes longer than to read twenty small files.
    count = pytestconfig.getoption("--interleavings") // 10
    settings(max_examples=count, phases=[Phase.generate])(checked)(firstup)


def _assert_round_trip(firstup: Emulator, files: list[File], whole: int, most: int) -> None:
    """Read files in two runs, on both paths, and compare with their rows."""
    firstup.files.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.root.manager, "disable", logging.WARNING)
        runs.tune(patch, whole=whole, slice=most)
        state: Mapping[str, Any] = {}
        kinds: dict[str, str] = {}
        for first in range(0, FILES, FILES // 2):
            batch = files[first : first + FILES // 2]
            expected: Rows = {}
            for number, (content, (header, *rows)) in enumerate(batch, start=first):
                moment = f"2026-05-14-{number:02d}"
                firstup.add(STREAM, moment, content)
                names = column_names(header, ADDED)
                for line, row in enumerate(rows, start=1):
                    expected[moment, line] = dict(zip(names, row, strict=True))
            blocks = runs.run(runs.settings(firstup), state, CATALOG)
            with patch.context() as forced:
                forced.setattr(ExportStream, "writes_lines", property(lambda _: False))
                records = runs.run(runs.settings(firstup), state, CATALOG)
            for message in blocks.messages + records.messages:
                message.pop("time_extracted", None)
            assert blocks.messages == records.messages
            kinds = _pinned(blocks, kinds)
            for found in (blocks, records):
                _assert_given_back(found, kinds, expected)
            state = blocks.state


def _pinned(run: Run, before: Mapping[str, str]) -> dict[str, str]:
    """Each column's type; no SCHEMA of the run removes or changes one."""
    kinds = dict(before)
    for message in run.of("SCHEMA"):
        properties = message["schema"]["properties"]
        now = {name: type_of(schema) for name, schema in properties.items() if name not in ADDED}
        assert kinds.items() <= now.items()
        kinds = now
    assert run.state["bookmarks"][STREAM]["types"] == kinds
    return kinds


def _assert_given_back(run: Run, kinds: Mapping[str, str], expected: Rows) -> None:
    """Compare every record with its row."""
    found = {}
    known: set[str] = set()
    for message in run.messages:
        if message["type"] == "SCHEMA":
            known = set(message["schema"]["properties"])
        if message["type"] == "RECORD":
            record = message["record"]
            assert set(record) == known
            place = record["_sdc_source_file"][:13], record["_sdc_source_lineno"]
            assert place not in found
            found[place] = record
    assert found.keys() == expected.keys()
    for place, row in expected.items():
        for name, text in row.items():
            value, misfit = found[place][name], found[place].get(f"{name}__text")
            assert value is None or misfit is None
            if value is None:
                assert text == (misfit or "")
                assert misfit != ""
            else:
                assert _is_same(kinds[name], value, text)


def _is_same(kind: str, value: Any, text: str) -> bool:
    """True if a typed value represents a text."""
    if kind == "boolean":
        return value is (text.lower() in TRUE)
    if kind == "date-time":
        return instant(value) == instant(text)
    if kind == "number":
        return repr(float(value)).removesuffix(".0") == text
    return str(value) == text
