"""The separator of a CSV file is found by its header row, known names and first rows."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filetap.errors import FormatError
from filetap.read.batch import ReadOptions
from filetap.read.csv_fast import CSVReader
from tests.folders import deliver, reading
from tests.runs import run, settings

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

KNOWN = ("content_id", "user_id", "user_name", "date", "likes")


def columns(text: str, known: tuple[str, ...] = KNOWN) -> list[str]:
    """The columns of a file."""
    return CSVReader([text.encode()], "f", ReadOptions(known=known)).columns


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("content_id;Name, full;score\n1;Ann;3,5\n", "content_id name_full score"),
        ("content_id|Name, full|score\n1|Ann|3,5\n", "content_id name_full score"),
        ("content_id\tName, full\tscore\n1\tAnn\t3,5\n", "content_id name_full score"),
        ("content_id;Name, full;score\n", "content_id name_full score"),
        ("\n\ncontent_id;Name, full;score\n1;Ann;3,5\n", "content_id name_full score"),
        # One of a comma file's labels has another separator in it.
        ("content_id,Likes;Shares,x\n1,2,3\n", "content_id likes_shares x"),
        ("a,b;content_id;c\n1,2\n3,4\n", "a b_content_id_c"),
        ("user,id\n1,2\n", "user id"),
        ("user,id;x\n1,2\n", "user id_x"),
        # One column only.
        ("user_id\n1\n", "user_id"),
        ('"User; ID"\n1;2\n', "user_id"),
        ("user_id\n1,5;3|4\n", None),
        ("", ""),
    ],
)
def test_known_names(text: str, names: str | None) -> None:
    """The separator with most known names is chosen, if the first rows have as many cells."""
    if names is None:
        with pytest.raises(FormatError, match="row 1"):
            list(CSVReader([text.encode()], "f", ReadOptions(known=KNOWN)))
    else:
        assert columns(text) == names.split()


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a;b, c;d\n1;2;3\n4;5;6\n", "a b_c d"),
        ("a;b, c;d\n1;2;3,5\n4;5;6\n", "a b_c d"),
        ("a,b;c\n1,2\n", "a b_c"),
        ("a,b;c\n1,2;3\n", "a b_c"),
        ("a,b;c\n", "a b_c"),
        ("a,b|c\n1,2\n3\n4,5\n", "a b_c"),
        ("a|b\tc, d\n1|2\tx, y\n", "a_b_c d"),
        ("a|b\tc\n1|2\tx\n3\tx\n", "a_b c"),
    ],
)
def test_first_rows(text: str, names: str) -> None:
    """If no name is known, the first rows decide, otherwise the comma is used."""
    assert columns(text, ()) == names.split()


LABELS = st.text(st.sampled_from('ab ,|;\t"'), min_size=1, max_size=5)


@given(
    st.lists(LABELS, max_size=4),
    st.lists(st.lists(st.text(st.sampled_from('12,|;\t"\n'), max_size=4)), max_size=5),
    st.sampled_from(",|\t;"),
    st.randoms(use_true_random=False),
)
def test_known_names_law(
    labels: list[str], rows: list[list[str]], separator: str, dice: object
) -> None:
    """Whatever the other labels and the cells are, the known names are found in any dialect."""
    header = [*KNOWN, *labels]
    dice.shuffle(header)  # type: ignore[attr-defined]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(header)
    writer.writerows((row + ["1"] * len(header))[: len(header)] for row in rows)
    found = columns(text.getvalue())
    assert len(found) == len(header)
    assert set(KNOWN) <= set(found)


@given(
    st.lists(LABELS, min_size=2, max_size=5),
    st.lists(st.lists(st.text(st.sampled_from("12|;\t"), max_size=4)), min_size=1, max_size=5),
)
def test_comma_files(labels: list[str], rows: list[list[str]]) -> None:
    """A comma file whose rows have as many cells as its header row is never read otherwise.

    Others may be read otherwise only if their rows allow it too.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(labels)
    writer.writerows((row + ["1"] * len(labels))[: len(labels)] for row in rows)
    assert len(columns(text.getvalue())) == len(labels)


@pytest.mark.parametrize("size", [1, 100_000])
def test_the_same_however_it_comes(size: int) -> None:
    """The decision does not depend on how much of the file arrives at once."""
    text = "a,b;c\n" + "1,2;3\n" * 20_000
    data = text.encode()[: 400 if size == 1 else None]
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    assert CSVReader(pieces, "f").columns == ["a", "b_c"]


def test_documented_names(emulator: Emulator, tmp_path: Path) -> None:
    """Documented names decide the separator everywhere: sample and rows, API and folder."""
    text = "content_id;Name, full;score\n1;Ann;3,5\n"
    emulator.add("activities", "2026-05-14-16", text)
    deliver(tmp_path, "activities", "2026-05-14-16", text)
    for config in (settings(emulator), reading(tmp_path)):
        (record,) = run(config).records("activities")
        assert (record["content_id"], record["name_full"]) == (1, "Ann")
        assert record["score"] == "3,5"


def test_pinned_names(tmp_path: Path) -> None:
    """So do the names of columns that have been emitted."""
    deliver(tmp_path, "users", "2026-05-14-12", "Kürzel;x\na;1\n")
    first = run({**reading(tmp_path), "primary_keys": {"users": ["Kürzel"]}})
    deliver(tmp_path, "users", "2026-05-14-16", "Kürzel;Name, full\nb;c, d\n")
    done = run({**reading(tmp_path), "primary_keys": {"users": ["Kürzel"]}}, first.state)
    (record,) = done.records("users")
    assert (record["kürzel"], record["name_full"]) == ("b", "c, d")


@pytest.mark.parametrize(
    ("header", "row", "cells"),
    [
        ("a,b|c", "1,2", ("1", "2")),
        ("a|b,c", "1,2", ("1", "2")),
        ("a|b;c", "1;|2;", ("1;", "2;")),
        ("a\tb", '"1\t",2\t3', None),
        ('"a";"b"', '"1;1";2', ("1;1", "2")),
        ('"a|b"', "1|2", ("1|2",)),
        ("a b", "1;2", ("1;2",)),
    ],
)
def test_separators(header: str, row: str, cells: tuple[str, ...] | None) -> None:
    """The header row decides the separator, a comma before any other."""
    reader = CSVReader([f"{header}\n{row}\n".encode()], "f")
    if cells is None:
        with pytest.raises(FormatError, match="row 1"):
            list(reader)
    else:
        (batch,) = reader
        assert batch.frame.rows() == [cells]
