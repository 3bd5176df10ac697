"""Every spelling of a label becomes one column name, and different labels stay different."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unicodedata import normalize

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from filetap.columns.added import ADDED
from filetap.read.names import clashes, column_names, normal_form, shown
from tests.folders import deliver, reading
from tests.runs import run

if TYPE_CHECKING:
    from pathlib import Path

ZWJ, ZWNJ = "\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"
MARKS = "\u0301\u0307\u0323\u0e48\u094d\u093e\u20dd\ufe0f"
LABELS = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.sampled_from(f"iIİ\u0131\u017fΣςéÉ ·_-1२{MARKS}{ZWJ}{ZWNJ}\ufeffनाकर्यชื่อ가"),
    max_size=8,
)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Prénom", "prénom"),
        (normalize("NFD", "Prénom"), "prénom"),
        ("İşe Giriş", "işe_giriş"),
        (normalize("NFD", "İşe Giriş"), "işe_giriş"),
        ("i\u0307şe giriş", "işe_giriş"),
        ("ISIM", "isim"),
        ("Iİ\u0307\u0131", "ii\u0131"),
        ("ชื่อ", "ชื่อ"),
        ("ชือ", "ชือ"),
        ("नाम", "नाम"),
        ("जन्म तिथि", "जन्म_तिथि"),
        ("ΟΔΟΣ", "οδος"),
        ("한국어 이름", "한국어_이름"),
        (normalize("NFD", "한국어 이름"), "한국어_이름"),
        ("Ngày sinh", "ngày_sinh"),
        ("الاسم الكامل", "الاسم_الكامل"),
        ("مُحَمَّد", "مُحَمَّد"),
        # A joiner within a conjunct is part of the word; between two words it parts them.
        (f"दर्{ZWJ}या", f"दर्{ZWJ}या"),
        (f"ශ්{ZWJ}රී", f"ශ්{ZWJ}රී"),
        (f"نام{ZWNJ}خانوادگی", "نام_خانوادگی"),
        (f"a{ZWJ}b", "a_b"),
        (f"र्{ZWJ} य", "र्_य"),
        ("1\ufe0f\u20e3 Name", "_1\ufe0f\u20e3_name"),
        ("२ नाम", "_२_नाम"),
        # A mark by itself is like any other character.
        ("\u0301", ""),
        ("\u0301a \u0301 b\u0301", "a_b\u0301"),
        ("\ufeff User ID \u00a0", "user_id"),
        ("_a__b_", "a_b"),
        ("--", ""),
    ],
)
def test_normal_form(label: str, name: str) -> None:
    """A label is composed, lower-cased, and its marks stay with their letters."""
    assert normal_form(label) == name


@given(LABELS)
def test_normal_form_law(label: str) -> None:
    """A name is its own name, composed; a label's composed and decomposed forms have one name."""
    name = normal_form(label)
    assert normal_form(name) == name
    assert normalize("NFC", name) == name
    assert normal_form(normalize("NFD", label)) == normal_form(normalize("NFC", label)) == name
    assert normal_form(f" \ufeff{label}\t") == name
    assert not name[:1].isdigit()
    assert "__" not in name
    assert not name.endswith("_")


@given(st.lists(LABELS, max_size=8), st.randoms(use_true_random=False))
def test_order(header: list[str], dice: object) -> None:
    """Labels whose names differ keep them in any order; all columns differ in any case."""
    names = column_names(header, ADDED)
    assert len({*names, *ADDED}) == len(names) + len(ADDED)
    distinct = list({normal_form(label): label for label in header}.values())
    assume(not {"", *ADDED} & {normal_form(label) for label in distinct})
    before = dict(zip(distinct, column_names(distinct, ADDED), strict=True))
    dice.shuffle(distinct)  # type: ignore[attr-defined]
    assert dict(zip(distinct, column_names(distinct, ADDED), strict=True)) == before
    assert clashes(distinct, column_names(distinct, ADDED)) == ""


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (["User ID", "user_id"], "'User ID' is user_id and 'user_id' is user_id_2"),
        (["é", "e\u0301"], "'é' is é and 'e\u0301' is é_2"),
        (["a", "a"], ""),
        (["a", "A", "a!"], "'a' is a and 'A' is a_2"),
        (["Generated At", "x"], ""),
        (
            ["Generated At", "generated_at_2"],
            "'Generated At' is generated_at_2 and 'generated_at_2' is generated_at_2_2",
        ),
        (["", "column_1"], "'' is column_1 and 'column_1' is column_1_2"),
        (["", "", "!"], ""),
        (["a\x1b[m", "a [m"], "'a\ufffd[m' is a_m and 'a [m' is a_m_2"),
        (["x" * 70, "X" * 70], f"'{'x' * 60}…' is {'x' * 70} and '{'X' * 60}…' is {'x' * 70}_2"),
        ([c for n in range(9) for c in (f"a {n}", f"a-{n}")], ", and 4 more"),
    ],
)
def test_clashes(header: list[str], words: str) -> None:
    """Two labels with one name are reported; the same label twice, or a reserved name, is not."""
    found = clashes(header, column_names(header, ADDED))
    assert found.endswith(words)
    assert bool(found) == bool(words)


def test_many_labels_of_one_name() -> None:
    """A label that appears ten thousand times takes a moment."""
    names = column_names(["Same", "same "] * 5_000)
    assert names[-1] == "same_10000"
    assert len(set(names)) == 10_000


@pytest.mark.parametrize(
    "content",
    ["user_id,Größe,Gro\u0308ße\n1,a,b\n", '{"user_id":"1","Größe":"a","Gro\u0308ße":"b"}'],
)
def test_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str) -> None:
    """One warning names the file and both labels that became one name, in any format."""
    deliver(tmp_path, "users", "2026-05-14-16", content)
    (record,) = run(reading(tmp_path)).records("users")
    assert (record["größe"], record["größe_2"]) == ("a", "b")
    (warning,) = [m for m in caplog.messages if "only their order" in m]
    assert "incremental.gz" in warning
    assert "'Größe' is größe and 'Gro\u0308ße' is größe_2" in warning


def test_settings(tmp_path: Path) -> None:
    """The labels in primary_keys and column_types become names by the same rule."""
    deliver(tmp_path, "users", "2026-05-14-16", "ชื่อ,ชือ,İşe Giriş\n1,2,3\n")
    config = {
        **reading(tmp_path),
        "primary_keys": {"users": ["ชื่อ"]},
        "column_types": {"users": {normalize("NFD", "İşe Giriş"): "string"}},
    }
    done = run(config)
    schema = next(m for m in done.of("SCHEMA") if m["stream"] == "users")
    assert schema["key_properties"] == ["ชื่อ"]
    assert schema["schema"]["properties"]["işe_giriş"]["type"] == ["string", "null"]
    (record,) = done.records("users")
    assert (record["ชื่อ"], record["ชือ"], record["işe_giriş"]) == ("1", 2, "3")


def test_shown() -> None:
    """A name from outside is one line, without control characters, and not endless."""
    assert shown("a\nb\x1b[31m\u202ec") == "a\ufffdb\ufffd[31m\ufffdc"
    assert len(shown("x" * 10_000)) == 61


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["User ID", "Topic Subscriber Count"], "user_id topic_subscriber_count"),
        (["user_id", "USER_NAME", "userId"], "user_id user_name userid"),
        (["\ufeffUser ID", " First\tName "], "user_id first_name"),
        (["__x__", "-y-", "a.b-c / d", "e__f"], "x y a_b_c_d e_f"),
        (["Straße", "Größe (cm)", "Имя", "名前", "ÉTAT"], "straße größe_cm имя 名前 état"),
        (["2nd Name", "2024", "٣"], "_2nd_name _2024 _٣"),
        (["", " ", "!?", "\N{SNOWMAN}"], "column_1 column_2 column_3 column_4"),
        (["a", "a", "A", "a "], "a a_2 a_3 a_4"),
        (["a", "a", "a_2"], "a a_2 a_2_2"),
        (["a_2", "a", "a"], "a_2 a a_3"),
        (["", "column_1"], "column_1 column_1_2"),
        (["1", "_1"], "_1 _1_2"),
        (["Generated At", "generated_at"], "generated_at_2 generated_at_3"),
        (["_sdc_source_file"], "sdc_source_file"),
        (["x__text", "x"], "x_text x"),
        ([], ""),
    ],
)
def test_column_names(header: list[str], names: str) -> None:
    """Every spelling of a label becomes one snake case name."""
    assert column_names(header, ADDED) == names.split()


def test_column_names_reserved() -> None:
    """No column gets a reserved name."""
    assert column_names(["a", "b"], ["a", "a_2"]) == ["a_3", "b"]


@given(st.lists(st.text(max_size=5) | st.sampled_from(["a", "A", "a_2", "", "1"])))
def test_column_names_law(header: list[str]) -> None:
    """Whatever the labels, each column has its own name, made of letters and digits."""
    names = column_names(header, ADDED)
    assert len(names) == len(header) == len({*names, *ADDED}) - len(ADDED)
    for name in names:
        assert all(c.isalnum() or c == "_" for c in name)
        assert not name[0].isdigit()
        assert not name.endswith("__text")
