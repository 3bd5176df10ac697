"""A type is inferred only if it loses nothing, and misfits are stored unchanged."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filetap.columns.fit import fit
from filetap.columns.infer import NO_EVIDENCE, Evidence, infer, observe
from filetap.columns.types import TYPES, canonical, fits, json_schema, to_values, type_of
from filetap.vendor import Documented
from tap_firstup_dde.documented import STREAMS

YES_NO = frozenset({"yes_no"})
NOTHING = Documented({}, frozenset(), YES_NO, lambda _: "string")
Texts = list[str | None]


def fitting(kind: str, values: Texts, *, yes_no: bool = False) -> list[bool | None]:
    """The values that fit a type."""
    frame = pl.DataFrame({"c": values}, schema={"c": pl.String})
    return frame.select(fits(kind, pl.col("c"), yes_no=yes_no))["c"].to_list()


def written(kind: str, values: Texts) -> Texts:
    """The output of the values that fit."""
    frame = pl.DataFrame({"c": values}, schema={"c": pl.String})
    return frame.select(canonical(kind, pl.col("c")).alias("c"))["c"].to_list()


def instant(text: str) -> datetime:
    """The instant that an ISO 8601 time means, in UTC without an offset."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def frame_of(columns: dict[str, Texts]) -> pl.DataFrame:
    """A frame of text columns."""
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def seen(values: Texts, column: str = "c", documented: Documented = NOTHING) -> Evidence:
    """The evidence that a column's values give."""
    return observe(frame_of({column: values}), [column], documented, NO_EVIDENCE)


# Each value, and the types besides string that it fits.
VALUES = {
    # Whole numbers.
    "0": "integer number",
    "1": "integer number",
    "-1": "integer number",
    "100": "integer number",
    "123456789012345": "integer number",
    "1234567890123456": "integer",
    "999999999999999999": "integer",
    "1234567890123456789": "integer",
    "-1234567890123456789": "integer",
    "9223372036854775806": "integer",
    "9223372036854775807": "integer",
    "9223372036854775808": "",
    "9223372036854775810": "",
    "9999999999999999999": "",
    "-9223372036854775808": "integer",
    "-9223372036854775809": "",
    "10000000000000000000": "",
    "99999999999999999999": "",
    "00123": "",
    "007": "",
    "00": "",
    "-01": "",
    "+1": "",
    "-0": "",
    "-": "",
    "--1": "",
    "1_000": "",
    "1,000": "",
    " 1": "",
    "1 ": "",
    "1\n": "",
    "\n1": "",
    "0x1F": "",
    "１２": "",  # noqa: RUF001 - full width, as meant
    "٣": "",
    "²": "",
    # Decimals.
    "1.5": "number",
    "-1.5": "number",
    "0.1": "number",
    "-0.5": "number",
    "1.05": "number",
    "0.0001": "number",
    "0.00012": "number",
    "0.123456789012345": "number",
    "12345678901234.5": "number",
    "1.0": "",
    "1.10": "",
    "0.0": "",
    "-0.0": "",
    "-0.10": "",
    "0.00001": "",
    "0.1234567890123456": "",
    "123456789012345.6": "",
    ".5": "",
    "5.": "",
    "01.5": "",
    "00.5": "",
    "+1.5": "",
    "1.5\n": "",
    "1,5": "",
    "1.2.3": "",
    "1e5": "",
    "1E5": "",
    "1e-5": "",
    "NaN": "",
    "nan": "",
    "inf": "",
    "Infinity": "",
    "1_000.5": "",
    "１.５": "",  # noqa: RUF001 - full width, as meant
    # Words.
    "true": "boolean",
    "false": "boolean",
    "TRUE": "boolean",
    "False": "boolean",
    "tRuE": "boolean",
    "true\n": "",
    " true": "",
    "truefalse": "",
    "t": "",
    "F": "",
    "yes": "",
    "y": "",
    "on": "",
    "falſe": "",  # noqa: RUF001 - a long s, which is an s only when case is ignored
    "n/a": "",
    "A123": "",
    "null": "",
    " ": "",
    "\0": "",
    # Days.
    "2026-05-14": "date",
    "2024-02-29": "date",
    "2000-02-29": "date",
    "0001-01-01": "date",
    "0999-12-31": "date",
    "9999-12-31": "date",
    "2026-02-30": "",
    "2023-02-29": "",
    "1900-02-29": "",
    "2100-02-29": "",
    "2026-04-31": "",
    "2026-13-01": "",
    "2026-00-01": "",
    "2026-01-00": "",
    "2026-01-32": "",
    "0000-01-01": "",
    "0000-02-29": "",
    "10000-01-01": "",
    "-001-01-01": "",
    "2026-5-14": "",
    "26-05-14": "",
    "20260514": "integer number",
    "2026/05/14": "",
    "05-14-2026": "",
    "05-14": "",
    "2026-W20-4": "",
    "2026-134": "",
    "2026-05-14\n": "",
    "2026-05-14Z": "",
    "２０２６-05-14": "",  # noqa: RUF001 - full width, as meant
    "2026-05-14-16": "",
    # Times.
    "2026-05-14T16:00:00Z": "date-time",
    "2026-05-14T16:00:00": "date-time",
    "2026-05-14 16:00:00": "date-time",
    "2026-05-14 16:00": "date-time",
    "2026-05-14T16:00Z": "date-time",
    "2026-05-14T16:00:00.5Z": "date-time",
    "2026-05-14T16:00:00.123456": "date-time",
    "2026-05-14T16:00:00.100+02:00": "date-time",
    "2026-05-14T16:00:00+05:30": "date-time",
    "2026-05-14T16:00:00-0800": "date-time",
    "2026-05-14 16:00:00+02": "date-time",
    "2026-05-14 16:00:00-00:00": "date-time",
    "2026-05-14T16:00:00+00": "date-time",
    "2024-02-29T23:59:59+23:59": "date-time",
    "0001-01-01T00:00:00": "date-time",
    "0001-01-01T00:00:00Z": "date-time",
    "0999-12-31T23:30:00-01:00": "date-time",
    "9999-12-31T23:59:59.999999Z": "date-time",
    "0001-01-01T00:00:00+01:00": "",
    "9999-12-31T23:59:59-01:00": "",
    "0000-01-01T00:00:00Z": "",
    "10000-01-01T00:00:00Z": "",
    "2026-02-30T00:00:00Z": "",
    "1900-02-29T00:00:00": "",
    "2026-05-14T24:00:00": "",
    "2026-05-14T23:60:00": "",
    "2026-05-14T23:59:60": "",
    "2026-05-14T23:59:60Z": "",
    "2026-05-14T16": "",
    "2026-05-14T1600": "",
    "2026-05-14T": "",
    "2026-05-14T16:00:00.": "",
    "2026-05-14T16:00:00,5": "",
    "2026-05-14T16:00.5": "",
    "2026-05-14T16:00:00+24:00": "",
    "2026-05-14T16:00:00+05:60": "",
    "2026-05-14T16:00:00+5": "",
    "2026-05-14T16:00:00 Z": "",
    "2026-05-14  16:00:00": "",
    "2026-05-14_16:00:00": "",
    "2026-05-14T16:00:00Z\n": "",
    "2026-05-14T16:00:00 UTC": "",
    "16:00:00": "",
}


@pytest.mark.parametrize("kind", TYPES)
def test_values(kind: str) -> None:
    """Each value fits exactly the types that reproduce it."""
    expected = {value: kind in (*types.split(), "string") for value, types in VALUES.items()}
    assert dict(zip(VALUES, fitting(kind, list(VALUES)), strict=True)) == expected


@pytest.mark.parametrize("kind", TYPES)
def test_empty_values(kind: str) -> None:
    """A quoted empty cell fits every type; no type applies to null."""
    assert fitting(kind, ["", None]) == [True, None if kind != "string" else False]


YES_NO_WORDS = {
    "t": "true",
    "T": "true",
    "yes": "true",
    "YES": "true",
    "1": "true",
    "True": "true",
    "f": "false",
    "F": "false",
    "no": "false",
    "No": "false",
    "0": "false",
    "FALSE": "false",
}


def test_yes_no() -> None:
    """In a yes/no column t/f, yes/no and 1/0 are booleans too, in any case."""
    words = list(YES_NO_WORDS)
    assert all(fitting("boolean", [*words], yes_no=True))
    assert written("boolean", [*words]) == list(YES_NO_WORDS.values())


@pytest.mark.parametrize(
    "word", ["2", "-1", "y", "n", "on", "off", "01", "yes ", "t\n", "ye\u017f", "1.0"]
)
def test_not_yes_no(word: str) -> None:
    """No other word is a boolean, not even in a yes/no column."""
    assert fitting("boolean", [word], yes_no=True) == [False]


LIMIT = 2**63


def _is_integer(text: str) -> bool:
    """True if Python's 64-bit integers reproduce the text."""
    return bool(re.fullmatch("-?[0-9]+", text)) and (
        str(int(text)) == text and -LIMIT <= int(text) < LIMIT
    )


def _is_number(text: str) -> bool:
    """True if Python's floats reproduce the text, of 15 digits at most."""
    if text == "-0" or ("." in text and text.endswith("0")):
        return False
    digits = re.sub("[-.]", "", text).lstrip("0")
    plain = re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text)
    return bool(plain) and len(digits) <= 15 and repr(float(text)) in {text, f"{text}.0"}


@given(
    st.lists(
        st.integers(-LIMIT * 2, LIMIT * 2).map(str)
        | st.builds(
            lambda n, by: str(n + by), st.sampled_from([LIMIT, -LIMIT]), st.integers(-99, 99)
        )
        | st.from_regex(r"\A[-+]?[0-9]{1,21}\Z")
        | st.text("0123456789-+ .\n٣", max_size=4),
        min_size=1,
    )
)
def test_integers(texts: list[str]) -> None:
    """A text is an integer exactly when it comes back from Python's int within 64 bits."""
    assert fitting("integer", [*texts]) == [text == "" or _is_integer(text) for text in texts]


@given(
    st.lists(
        st.floats(allow_nan=False).map(repr)
        | st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str)
        | st.from_regex(r"\A-?[0-9]{1,16}(\.[0-9]{1,16})?\Z")
        | st.from_regex(r"\A-?0?\.0{0,6}[0-9]{1,16}\Z")
        | st.text("0123456789-+e.\n", max_size=5),
        min_size=1,
    )
)
@example(["0.00010", "0.0001", "100000.00001", "999999999999999", "1000000000000000"])
def test_numbers(texts: list[str]) -> None:
    """A text is a number exactly when it comes back from a float, of 15 digits at most."""
    assert fitting("number", [*texts]) == [text == "" or _is_number(text) for text in texts]


def test_every_date() -> None:
    """Of all texts that look like a date, exactly the days of Python's calendar are dates."""
    parts = [
        pl.DataFrame({name: [f"{n:0{width}}" for n in range(stop)]})
        for name, width, stop in (("y", 4, 10_000), ("m", 2, 14), ("d", 2, 33))
    ]
    looks = parts[0].join(parts[1], how="cross").join(parts[2], how="cross")
    text = looks.select(pl.concat_str("y", "m", "d", separator="-").alias("c"))
    dates = text.filter(fits("date", pl.col("c")))["c"]
    days = pl.date_range(date.min, date.max, eager=True).dt.strftime("%Y-%m-%d")
    assert dates.equals(days)


OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@st.composite
def _times(draw: st.DrawFn) -> str:
    """A time in one of the spellings of ISO 8601."""
    moment = draw(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)))  # noqa: DTZ001
    text = moment.isoformat(draw(st.sampled_from(["T", " "])), "auto")
    if draw(st.booleans()):
        text = text[: draw(st.sampled_from([16, 19, 21, 23, 26]))]
    if draw(st.booleans()):
        return text + draw(st.sampled_from(["", "Z", "+00:00", "-00:00", "+0000", "+00"]))
    offset = moment.replace(tzinfo=draw(OFFSETS)).isoformat()[-6:]
    short = draw(st.sampled_from([offset, offset.replace(":", ""), offset[:3]]))
    return text + short


@given(st.lists(_times(), min_size=1))
def test_times(texts: list[str]) -> None:
    """Every spelling of a time fits, and is written as the same instant, RFC 3339 in UTC."""
    assert all(fitting("date-time", [*texts]))
    for text, out in zip(texts, written("date-time", [*texts]), strict=True):
        assert out
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", out)
        assert instant(out) == instant(text)


@given(
    st.lists(
        st.from_regex(
            r"\A(000[0-2]|[0-9]{4}|999[7-9])-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]"
            r"(:[0-6][0-9](\.[0-9]{0,7})?)?(Z|[+-][0-2][0-9](:?[0-6][0-9])?)?\Z"
        ),
        min_size=1,
    )
)
def test_only_times(texts: list[str]) -> None:
    """Every value that fits is a time to Python too, and the same instant; nothing overflows."""
    kept = [t for t, good in zip(texts, fitting("date-time", [*texts]), strict=True) if good]
    for text, out in zip(kept, written("date-time", [*kept]), strict=True):
        assert out
        assert instant(out) == instant(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-14T16:00:00Z", "2026-05-14T16:00:00Z"),
        ("2026-05-14 16:00", "2026-05-14T16:00:00Z"),
        ("2026-05-14 16:00:00.120", "2026-05-14T16:00:00.120Z"),
        ("2026-05-14T16:00:00.5+05:30", "2026-05-14T10:30:00.5Z"),
        ("2026-12-31T23:30-01", "2027-01-01T00:30:00Z"),
        ("2024-03-01T00:00+0001", "2024-02-29T23:59:00Z"),
        ("0999-12-31T23:30:00-01:00", "1000-01-01T00:30:00Z"),
        (None, None),
    ],
)
def test_written_times(text: str | None, expected: str | None) -> None:
    """Times are written in UTC, with seconds, and their fraction unchanged."""
    assert written("date-time", [text]) == [expected]


@pytest.mark.parametrize("kind", ["string", "integer", "number", "date"])
def test_written_as_read(kind: str) -> None:
    """Everything but booleans and times is written unchanged."""
    assert written(kind, ["1", "a\n", None]) == ["1", "a\n", None]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", None, "9223372036854775807"], "integer"),
        (["1", "2.5"], "number"),
        (["1", "2.50"], "string"),
        (["1", "9223372036854775808"], "string"),
        (["1234567890123456", "1.5"], "string"),
        (["00123"], "string"),
        (["1", "A123"], "string"),
        (["0", "1"], "integer"),
        (["true", "FALSE", ""], "boolean"),
        (["t", "f"], "string"),
        (["2026-05-14", None], "date"),
        (["2026-05-14T16:00:00Z", "2026-05-14 16:00"], "date-time"),
        (["2026-05-14", "2026-05-14T16:00:00Z"], "string"),
        (["2026-05-14", "n/a"], "string"),
        (["", "1", ""], "integer"),
        (["", "a"], "string"),
        (["1"] * 1000 + ["x"], "string"),
        (["1"] * 1000 + ["1.5"], "number"),
        ([None] * 1000 + ["2026-05-14"], "date"),
    ],
)
def test_infer(values: Texts, kind: str) -> None:
    """The narrowest type that every value fits is inferred, otherwise string."""
    assert infer("c", seen(values), NOTHING) == kind
    assert infer("c", seen(values[::-1]), NOTHING) == kind


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["0", "1"], "boolean"),
        (["1"], "boolean"),
        (["Yes", "f", "TRUE", None], "boolean"),
        (["0", "1", "2"], "integer"),
        (["yes", "maybe"], "string"),
        (["0.5"], "number"),
    ],
)
def test_infer_yes_no(values: Texts, kind: str) -> None:
    """A yes/no column is boolean as long as every value is yes or no."""
    assert infer("yes_no", seen(values, "yes_no"), NOTHING) == kind


@pytest.mark.parametrize("values", [[], [None], ["", None], [""]])
def test_infer_nothing(values: Texts) -> None:
    """A column without values takes its documented type, otherwise string."""
    documented = Documented(
        {}, frozenset({"t"}), YES_NO, lambda c: "date-time" if c == "c" else "string"
    )
    assert infer("c", seen(values), documented) == "date-time"
    assert infer("other", seen(values, "other"), documented) == "string"
    assert infer("c", NO_EVIDENCE, documented) == "date-time"


def test_infer_text() -> None:
    """Columns that hold codes or free text are never inferred."""
    documented = Documented({}, frozenset({"zip"}), frozenset(), lambda _: "string")
    assert infer("zip", seen(["12345"], "zip", documented), documented) == "string"


@given(
    st.lists(st.lists(st.sampled_from([*VALUES, "", None]) | st.just("1"), max_size=4), max_size=4),
    st.sampled_from(["c", "yes_no"]),
)
def test_evidence_adds_up(batches: list[Texts], column: str) -> None:
    """Evidence from batches is the same in sequence, together or merged."""
    step, apart = NO_EVIDENCE, NO_EVIDENCE
    for batch in batches:
        step = observe(frame_of({column: batch}), [column], NOTHING, step)
        apart |= seen(batch, column)
    whole = seen([value for batch in batches for value in batch], column)
    assert infer(column, step, NOTHING) == infer(column, whole, NOTHING)
    assert infer(column, apart, NOTHING) == infer(column, whole, NOTHING)


@given(st.lists(st.sampled_from([*VALUES, "", None, "1", "0", "t"]), min_size=1, max_size=5))
def test_inferred_types_fit(values: Texts) -> None:
    """No value is a misfit of the type inferred from it."""
    for column in ("c", "yes_no"):
        kind = infer(column, seen(values, column), NOTHING)
        assert fit(frame_of({column: values}), {column: kind}, NOTHING).misfits == {}


def test_observe_columns() -> None:
    """Only the requested columns are examined, each by itself."""
    evidence = observe(
        frame_of({"a": ["1"], "b": ["x"], "c": ["2026-05-14"]}), ["c", "a"], NOTHING, NO_EVIDENCE
    )
    assert list(evidence.candidates) == ["c", "a"]
    assert [infer(name, evidence, NOTHING) for name in ("a", "c")] == ["integer", "date"]


@pytest.mark.parametrize(
    ("stream", "names", "kind"),
    [
        (
            "campaigns",
            "is_featured is_shareable is_commentable is_translatable acknowledgeable for_you",
            "boolean",
        ),
        (
            "campaigns",
            "optimized_delivery automatic_retargeting",
            "boolean",
        ),
        ("campaigns", "duration priority topic_subscriber_count", "integer"),
        ("activities", "likes opens clicks impressions shares bookmarks video_plays", "integer"),
        ("activities", "date content_published_at", "date-time"),
        ("campaigns", "publish_date archive_date", "date-time"),
        (
            "users",
            (
                "blocked_at last_visited_date account_created_date registered_date"
                " attribute_hire_date attribute_start_date"
            ),
            "date-time",
        ),
        ("users", "user_id first_name attribute_company profile_birthdate anything", "string"),
        ("campaigns", "campaign_id campaign_name channels studio_url", "string"),
    ],
)
def test_documented_types(stream: str, names: str, kind: str) -> None:
    """A documented column without values has the type that its documentation suggests."""
    kinds = {name: infer(name, NO_EVIDENCE, STREAMS[stream].documented) for name in names.split()}
    assert kinds == dict.fromkeys(names.split(), kind)


@pytest.mark.parametrize(
    ("stream", "names"),
    [
        (
            "users",
            (
                "user_id first_name last_name preferred_name universal_identifier profile_zip"
                " attribute_company attribute_department attribute_cost_center attribute_manager"
                " attribute_timezone attribute_business_unit"
            ),
        ),
        ("campaigns", "campaign_id campaign_name content_version topic_name author_name"),
        ("activities", "user_id user_name content_name"),
    ],
)
@pytest.mark.parametrize("value", ["12345", "2026-05-14", "true"])
def test_documented_text(stream: str, names: str, value: str) -> None:
    """Keys, names and codes remain text, whatever they look like."""
    documented = STREAMS[stream].documented
    for name in names.split():
        assert infer(name, seen([value], name, documented), documented) == "string"


@pytest.mark.parametrize("name", ["attribute_hire_date", "attribute_start_date"])
def test_documented_dates(name: str) -> None:
    """The two attributes that are dates are inferred as such."""
    documented = STREAMS["users"].documented
    assert infer(name, seen(["2026-05-14"], name, documented), documented) == "date"


CELLS = st.sampled_from([*VALUES, *YES_NO_WORDS, "", None]) | st.text(max_size=4) | _times()


@st.composite
def _typed_frames(draw: st.DrawFn) -> tuple[dict[str, Texts], dict[str, str]]:
    """Columns and types that are unrelated."""
    rows = draw(st.integers(0, 4))
    names = draw(st.lists(st.sampled_from(["a", "b", "yes_no", "d"]), unique=True, min_size=1))
    columns = {name: draw(st.lists(CELLS, min_size=rows, max_size=rows)) for name in names}
    wanted = draw(st.permutations([*names, "missing"]))
    types = {name: draw(st.sampled_from(TYPES)) for name in wanted}
    pinned = {f"{name}__text": "string" for name in draw(st.sets(st.sampled_from(wanted)))}
    return columns, types | pinned


@given(_typed_frames())
def test_fit_loses_nothing(drawn: tuple[dict[str, Texts], dict[str, str]]) -> None:
    """With any types, a column's text, or otherwise its __text, is the text of the CSV."""
    columns, types = drawn
    fitted = fit(frame_of(columns), types, NOTHING)
    added = [f"{name}__text" for name in fitted.misfits]
    assert fitted.frame.columns == list(dict.fromkeys([*types, *added]))
    assert fitted.frame.height == len(next(iter(columns.values())))
    for name, column in fitted.frame.to_dict(as_series=False).items():
        if name.removesuffix("__text") not in columns:
            assert set(column) <= {None}
    for name, values in columns.items():
        kind, out = types[name], fitted.frame[name].to_list()
        nulls: Texts = [None] * len(values)
        texts = fitted.frame.to_dict(as_series=False).get(f"{name}__text", nulls)
        assert fitted.misfits.get(name, 0) == sum(text is not None for text in texts)
        for value, typed, text in zip(values, out, texts, strict=True):
            if value is None or (value == "" and kind != "string"):
                assert (typed, text) == (None, None)
            elif typed is None:
                assert text == value
                assert text
            else:
                assert text is None
                _assert_same(kind, value, typed, yes_no=name in YES_NO)


def _assert_same(kind: str, value: str, typed: str, *, yes_no: bool) -> None:
    """Compare a value that was written with the one that was read."""
    if kind == "boolean":
        word = value.lower()
        assert (
            typed == ({"true": "true", "false": "false"} | (YES_NO_WORDS if yes_no else {}))[word]
        )
    elif kind == "date-time":
        assert instant(typed) == instant(value)
    else:
        assert typed == value


def test_fit_example() -> None:
    """Misfits go unchanged into an added text column and are counted; types give the order."""
    frame = frame_of(
        {
            "skipped": ["x", "x", "x", "x"],
            "name": ["a", "", None, "00123"],
            "tenure": ["1", "00123", "", None],
            "score": ["1.5", "1.10", "1", "-0"],
            "on": ["2026-05-14", "n/a", "2026-02-30", ""],
        }
    )
    types = {
        "on": "date",
        "tenure": "integer",
        "gone": "integer",
        "name": "string",
        "score": "number",
    }
    fitted = fit(frame, types, NOTHING)
    assert fitted.misfits == {"on": 2, "tenure": 1, "score": 2}
    assert list(fitted.frame.to_dict(as_series=False).items()) == [
        ("on", ["2026-05-14", None, None, None]),
        ("tenure", ["1", None, None, None]),
        ("gone", [None, None, None, None]),
        ("name", ["a", "", None, "00123"]),
        ("score", ["1.5", None, "1", None]),
        ("on__text", [None, "n/a", "2026-02-30", None]),
        ("tenure__text", [None, "00123", None, None]),
        ("score__text", [None, "1.10", None, "-0"]),
    ]


def test_fit_keeps_known_text_columns() -> None:
    """A text column that was emitted keeps its place, even in a file without misfits."""
    types = {"tenure": "integer", "tenure__text": "string", "name": "string"}
    for values, texts in ((["1"], [None]), (["x"], ["x"])):
        fitted = fit(frame_of({"name": ["a"], "tenure": [*values]}), types, NOTHING)
        assert fitted.frame.columns == list(types)
        assert fitted.frame["tenure__text"].to_list() == texts


def test_fit_never_widens() -> None:
    """An integer column accepts no fraction, whatever comes later."""
    fitted = fit(frame_of({"n": ["1", "1.5", "9223372036854775808"]}), {"n": "integer"}, NOTHING)
    assert fitted.frame["n"].to_list() == ["1", None, None]
    assert fitted.frame["n__text"].to_list() == [None, "1.5", "9223372036854775808"]


def test_to_values() -> None:
    """Integers, numbers and booleans are values up to the limits; the rest remains text."""
    frame = frame_of(
        {
            "integer": ["9223372036854775807", "-9223372036854775808", None],
            "number": ["0.1", "-1.5", None],
            "boolean": ["true", "false", None],
            "date": ["2026-05-14", None, None],
            "date-time": ["2026-05-14T16:00:00Z", None, None],
            "string": ["1", "", None],
        }
    )
    values = to_values(frame, {name: name for name in frame.columns})
    assert values.to_dict(as_series=False) == {
        "integer": [LIMIT - 1, -LIMIT, None],
        "number": [0.1, -1.5, None],
        "boolean": [True, False, None],
        "date": ["2026-05-14", None, None],
        "date-time": ["2026-05-14T16:00:00Z", None, None],
        "string": ["1", "", None],
    }
    assert to_values(frame, {}).equals(frame)


@pytest.mark.parametrize("kind", TYPES)
def test_json_schema(kind: str) -> None:
    """A type's JSON Schema is nullable and is recognised as the type."""
    schema = json_schema(kind)
    assert "null" in schema["type"]
    assert type_of(schema) == kind


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({}, "string"),
        ({"type": None}, ""),
        ({"type": ["null"]}, ""),
        ({"type": []}, ""),
        ({"type": "integer"}, "integer"),
        ({"type": ["null", "number"]}, "number"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": ["string", "null"], "format": "date-time"}, "date-time"),
        ({"type": ["string", "null"], "format": "uri"}, "string"),
        ({"type": ["integer", "string"]}, "string"),
        ({"type": "object"}, "string"),
        ({"type": "null"}, ""),
        ({"type": ["integer", "null"], "format": "date"}, "integer"),
        ({"anyOf": [{"type": "integer"}]}, "string"),
    ],
)
def test_type_of(schema: dict[str, Any], kind: str) -> None:
    """Any catalog's schema means a type: string if in doubt, none if it has none."""
    assert type_of(schema) == kind
