"""Files are known by generation and key, and each is read exactly once."""

from __future__ import annotations

import hashlib
import json
import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filetap.bookmark import Bookmark, PartlyRead
from filetap.bookmark_listing import reconcile
from filetap.bookmark_state import read_bookmark, write_bookmark
from filetap.errors import StateError
from filetap.files import ExportFile
from filetap.times import format_time, parse_generation

DAY = timedelta(days=1)
LOOKBACK = 14 * DAY
NOON = datetime(2026, 5, 14, 12, tzinfo=UTC)
NOW = NOON + 100 * DAY  # of the run


def file(generated_at: datetime, file_id: str = "a") -> ExportFile:
    """An export file of a generation."""
    return ExportFile("users", file_id, "000.csv", f"{generated_at:%Y-%m-%d-%H}", generated_at)


def ids(files: list[ExportFile]) -> list[str]:
    """The ids of some files."""
    return [f.id for f in files]


def read(bookmark: Bookmark, *files: ExportFile) -> Bookmark:
    """The bookmark after some files."""
    for each in files:
        bookmark = bookmark.finish(each, LOOKBACK, NOW)
    return bookmark


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-14-16", datetime(2026, 5, 14, 16, tzinfo=UTC)),
        ("2026-05-14-00", datetime(2026, 5, 14, tzinfo=UTC)),
        ("2024-02-29-23", datetime(2024, 2, 29, 23, tzinfo=UTC)),
        ("0001-01-01-00", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31-23", datetime(9999, 12, 31, 23, tzinfo=UTC)),
        ("2026-05-14T16:00:00Z", datetime(2026, 5, 14, 16, tzinfo=UTC)),
        ("2026-05-14T16:00:00", datetime(2026, 5, 14, 16, tzinfo=UTC)),
        ("2026-05-14 16:00", datetime(2026, 5, 14, 16, tzinfo=UTC)),
        ("2026-05-14T16:00:00+05:30", datetime(2026, 5, 14, 10, 30, tzinfo=UTC)),
        ("2026-05-14T16:00:00-08:00", datetime(2026, 5, 15, tzinfo=UTC)),
        ("2026-05-14T16:00:00.25Z", datetime(2026, 5, 14, 16, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-05-14", datetime(2026, 5, 14, tzinfo=UTC)),
    ],
)
def test_parse_generation(text: str, expected: datetime) -> None:
    """Hours and ISO 8601 are understood, and without an offset they are UTC."""
    parsed = parse_generation(text)
    assert (parsed, parsed.tzinfo) == (expected, UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "2026-05-14-24",
        "2026-02-30-00",
        "2026-13-01-00",
        "2026-5-14-16",
        "05-14-2026-16",
        "2026-05-14-16 ",
        "2026-05-14-16\n",
        "2026-05-14-16-00",
        "2026-05-14-16-05",
        "2026-05-14-1630",
        "2026-05-14x16:00",
        "٢٠٢٦-٠٥-١٤-١٦",  # noqa: RUF001 - not these digits
        "1778774400",
    ],
)
def test_parse_generation_garbage(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - the datetime module's own words
        parse_generation(text)


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.timezones()))  # noqa: DTZ001
def test_time_round_trip(moment: datetime) -> None:
    """A time is written in UTC, as RFC 3339 has it, and read again as the same instant."""
    text = format_time(moment)
    assert text.endswith("Z")
    # As UTC: an hour that a zone has twice equals none in another zone.
    assert parse_generation(text) == moment.astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (NOON, "2026-05-14T12:00:00Z"),
        (NOON.astimezone(timezone(timedelta(hours=2))), "2026-05-14T12:00:00Z"),
        (NOON.replace(microsecond=1), "2026-05-14T12:00:00.000001Z"),
    ],
)
def test_format_time(moment: datetime, expected: str) -> None:
    """Times have seconds, and microseconds only if there are any."""
    assert format_time(moment) == expected


@given(st.text(min_size=1))
@example("dXMtZWFzdC0x/+=%?é")
def test_key(file_id: str) -> None:
    """A key is the first 12 hex digits of the id's SHA-256; a source names generation and name."""
    made = ExportFile("users", file_id, "000.csv", "2026-05-14-12", NOON)
    assert made.key == hashlib.sha256(file_id.encode()).hexdigest()[:12]
    assert made.source == f"2026-05-14-12/000.csv/{made.key}"
    assert str(made) == f"users {made.source}"


MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2026, 5, 14), timezones=st.just(UTC))  # noqa: DTZ001
KEYS = st.text("0123456789abcdef", min_size=12, max_size=12)


@st.composite
def _bookmarks(draw: st.DrawFn) -> Bookmark:
    """How far a stream may have been read."""
    finished = draw(st.dictionaries(KEYS, MOMENTS))
    newest = max(finished.values(), default=None)
    parts = st.builds(
        PartlyRead, KEYS, st.integers(1, 10**9), st.none() | MOMENTS, st.sampled_from(["", "3-f"])
    )
    cut_off = draw(st.lists(parts, max_size=3, unique_by=lambda part: part.key))
    generated_at = draw(st.just(newest) | st.just(NOON))
    return Bookmark(
        generated_at=generated_at,
        finished=finished,
        partly_read=tuple(part for part in cut_off if part.key not in finished),
        counted=frozenset(draw(st.sets(st.sampled_from(sorted(finished)))))
        if finished
        else frozenset(),
        versions=draw(st.dictionaries(KEYS, st.just("1-2"))),
        contents=draw(st.dictionaries(KEYS, st.just("1-f"))),
        from_scratch=generated_at == newest and draw(st.booleans()),
    )


@given(_bookmarks())
def test_state_round_trip(bookmark: Bookmark) -> None:
    """A bookmark survives the state, and JSON, without a loss."""
    state = json.loads(json.dumps(write_bookmark(bookmark)))
    assert read_bookmark(state, NOW, "users") == bookmark
    assert set(state["finished"]) == set(bookmark.finished)
    if bookmark.generated_at:
        assert state["replication_key_value"] == format_time(bookmark.generated_at)


def test_state_shape() -> None:
    """The state has the documented members, even if nothing is in progress.

    Meltano merges states and removes no member: one that is missing would not replace an old one.
    """
    state = write_bookmark(read(Bookmark(), file(NOON)).reach(file(NOON, "b"), 7))
    assert state["replication_key"] == "generated_at"
    assert state["replication_key_value"] == "2026-05-14T12:00:00Z"
    assert state["finished"] == [file(NOON).key]
    assert state["in_progress"] == {"file": file(NOON, "b").key, "rows": 7}
    done = write_bookmark(read(Bookmark(), file(NOON)))
    assert done["in_progress"] == {"file": "", "rows": 0}


@pytest.mark.parametrize("state", [{}, {"finished": []}, {"types": {"a": "integer"}}])
def test_first_run(state: dict[str, Any]) -> None:
    """Without a bookmark every file is read."""
    bookmark = read_bookmark(state, NOW, "users")
    old = file(NOON - 1000 * DAY)
    assert reconcile(bookmark, [old]).pending([old], LOOKBACK) == [old]


def test_documented_state() -> None:
    """A state of the documented members alone excludes finished files, and nothing else."""
    state = {
        "replication_key": "generated_at",
        "replication_key_value": "2026-05-14T12:00:00Z",
        "finished": [file(NOON, "a").key],
        "types": {"blocked_at": "date-time"},
    }
    bookmark = read_bookmark(state, NOW, "users")
    listed = [file(NOON, "a"), file(NOON, "b"), file(NOON - 14 * DAY, "c")]
    assert ids(reconcile(bookmark, listed).pending(listed, LOOKBACK)) == ["c", "b"]


@pytest.mark.parametrize("seed", range(5))
def test_order(seed: int) -> None:
    """Files are in order of generation, then id, in whatever order they are listed, once each."""
    ordered = [file(NOON + day * DAY, f"{name}{9 - day}") for day in range(3) for name in "abc"]
    listed = ordered * 2
    random.Random(seed).shuffle(listed)
    assert Bookmark().pending(listed, LOOKBACK) == ordered


def test_same_generation() -> None:
    """Two files of one generation are both read, even if a run ends between them."""
    one, two = file(NOON, "a"), file(NOON, "b")
    bookmark = read(Bookmark(), one)
    assert bookmark.pending([two, one], LOOKBACK) == [two]
    assert read(bookmark, two).pending([two, one], LOOKBACK) == []


@pytest.mark.parametrize(
    ("late", "pending"),
    [
        (timedelta(hours=4), True),
        (LOOKBACK, True),
        (LOOKBACK + timedelta(hours=1), False),
        (400 * DAY, False),
        (-timedelta(hours=4), True),
    ],
)
def test_late_file(late: timedelta, pending: bool) -> None:  # noqa: FBT001 - a column of the table
    """A file that appears late is read as long as it is within lookback of the bookmark."""
    missed = file(NOON - late, "late")
    bookmark = read(Bookmark(), file(NOON))
    assert bool(bookmark.pending([missed], LOOKBACK)) is pending
    again = read(bookmark, missed)
    assert again.generated_at == max(NOON, NOON - late)
    assert again.pending([missed, file(NOON)], LOOKBACK) == []


@pytest.mark.parametrize("lookback", [timedelta(0), 14 * DAY, timedelta(days=999_999)])
def test_any_lookback(lookback: timedelta) -> None:
    """Lookbacks of zero and of all time work too."""
    old = file(datetime(1, 1, 1, tzinfo=UTC), "old")
    bookmark = Bookmark().finish(file(NOON), lookback, NOW)
    expected = ["old"] if lookback > 100_000 * DAY else []
    assert ids(bookmark.pending([old, file(NOON)], lookback)) == expected


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (None, ["old", "new"]),
        (NOON - DAY, ["old", "new"]),
        (NOON - DAY + timedelta(seconds=1), ["new"]),
        (NOON, ["new"]),
        (NOON + DAY, []),
    ],
)
def test_start_date(start: datetime | None, expected: list[str]) -> None:
    """Files generated before the start date are never read."""
    listed = [file(NOON - DAY, "old"), file(NOON, "new")]
    assert ids(Bookmark().pending(listed, LOOKBACK, start)) == expected


@pytest.mark.parametrize("text", ["2026-05-14T12:00:00Z", "2026-05-14T14:00:00+02:00"])
def test_settle(text: str) -> None:
    """A state with a bookmark alone counts every listed file up to it as finished."""
    state = {"replication_key": "generated_at", "replication_key_value": text}
    listed = [file(NOON - DAY, "a"), file(NOON, "b"), file(NOON + DAY, "c")]
    settled = reconcile(read_bookmark(state, NOW, "users"), listed)
    assert ids(settled.pending(listed, LOOKBACK)) == ["c"]
    assert read_bookmark(write_bookmark(settled), NOW, "users").pending(listed, LOOKBACK) == [
        listed[2]
    ]


def test_settle_leaves_lists_alone() -> None:
    """A state with a list of finished files is not complete: unread files remain unread."""
    bookmark = read_bookmark(write_bookmark(read(Bookmark(), file(NOON))), NOW, "users")
    missed = file(NOON, "b")
    assert reconcile(bookmark, [missed]).pending([missed], LOOKBACK) == [missed]


def test_finish_prunes() -> None:
    """Keys outside lookback are dropped, those within it are kept."""
    kept, lost = file(NOON, "kept"), file(NOON - timedelta(hours=1), "lost")
    bookmark = read(Bookmark(), lost, kept, file(NOON + LOOKBACK, "new"))
    assert set(bookmark.finished) == {kept.key, file(NOON + LOOKBACK, "new").key}
    assert bookmark.pending([kept, lost], LOOKBACK) == []


def test_in_progress() -> None:
    """The position inside a file is kept until that file is finished."""
    cut, other = file(NOON, "cut"), file(NOON, "other")
    bookmark = Bookmark().reach(cut, 5).reach(cut, 9)
    assert bookmark.in_progress == (cut.key, 9)
    assert read(bookmark, other).in_progress == (cut.key, 9)
    assert read(bookmark, other, cut).in_progress == ("", 0)


@pytest.mark.parametrize(
    "state",
    [
        {"replication_key_value": "yesterday"},
        {"replication_key_value": 20260514},
        {"replication_key_value": "0001-01-01T00:00:00+01:00"},
        {"finished": 5},
        {"finished_at": ["3f9a1c0b2d4e"]},
        {"finished_at": None},
        {"finished": ["3f9a1c0b2d4e"], "finished_at": {"3f9a1c0b2d4e": "never"}},
        {"finished": ["3f9a1c0b2d4e"], "finished_at": {"3f9a1c0b2d4e": None}},
        {"in_progress": {"file": "3f9a1c0b2d4e"}},
        {"in_progress": {"rows": 5}},
        {"in_progress": {"file": "3f9a1c0b2d4e", "rows": "many"}},
        {"in_progress": ["3f9a1c0b2d4e", 5]},
        ["replication_key_value"],
    ],
)
def test_invalid_state(state: Any) -> None:
    """An invalid state is a one-line error, not a guess."""
    with pytest.raises(StateError, match="users: the state cannot be read") as caught:
        read_bookmark(state, NOW, "users")
    assert "\n" not in str(caught.value)
    assert "Error" not in str(caught.value)


@st.composite
def _runs(draw: st.DrawFn) -> list[tuple[list[ExportFile], int]]:
    """Listings in which files appear, vanish and repeat, and how far each run gets."""
    universe = [file(NOON + draw(st.integers(0, 40)) * DAY, f"{n}") for n in range(8)]
    listing = st.lists(st.sampled_from(universe), max_size=12)
    return draw(st.lists(st.tuples(listing, st.integers(0, 8)), max_size=8))


@given(_runs())
def test_exactly_once(runs: list[tuple[list[ExportFile], int]]) -> None:
    """Whatever is listed, in any order, a file within lookback is read, and never twice."""
    bookmark = Bookmark()
    done: list[ExportFile] = []
    for listed, endurance in runs:
        state = json.loads(json.dumps(write_bookmark(bookmark)))
        bookmark = reconcile(read_bookmark(state, NOW, "users"), listed)
        floor = (bookmark.generated_at or NOON) - LOOKBACK
        within = {f for f in listed if f.generated_at >= floor}
        pending = bookmark.pending(listed, LOOKBACK)
        assert set(pending) == within - set(done)
        for each in pending[:endurance]:  # then the run is killed
            bookmark = bookmark.finish(each, LOOKBACK, NOW)
            done.append(each)
    assert len(done) == len(set(done))
