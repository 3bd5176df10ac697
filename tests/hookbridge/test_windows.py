"""Which windows a run requests, and which of their rows it emits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from filetap.errors import SettingsError
from filetap.jobs.windows import Schedule, Window, plan_windows
from tap_hookbridge.emulated_jobs import Span
from tests.hookbridge.vendor import IN, OUT, asked, at, emulated, ids, run

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def test_windows() -> None:
    """Days are requested one second wider, in order, the last one up to the settle time."""
    with emulated(2.5) as hookbridge:
        for day in (0, 0.5, 1, 2, 2.4):
            hookbridge.add("outbound", at(day), message_id=f"m{day}")
        done = run(hookbridge, status_lookback_days=0)
        assert ids(done) == ["m0", "m0.5", "m1", "m2", "m2.4"]
        assert [job for job in asked(hookbridge) if job[0] == "outbound"] == [
            ("outbound", "10 23:59:59", "12 00:00:01"),
            ("outbound", "11 23:59:59", "13 00:00:01"),
            ("outbound", "12 23:59:59", "13 12:00:01"),
        ]
        state = done.state["bookmarks"][OUT]
        assert state["replication_key_value"] == "2026-05-13T12:00:00Z"
        assert "job" not in state


def test_nothing_new() -> None:
    """A run with nothing to request makes no job; one with a lookback only reads its windows."""
    with emulated(2.5) as hookbridge:
        hookbridge.add("outbound", at(1), message_id="a")
        done = run(hookbridge, status_lookback_days=0)
        hookbridge.forget()
        again = run(hookbridge, done.state, status_lookback_days=0)
        assert ids(again) == []
        assert [request.route for request in hookbridge.requests] == ["list", "list"]
        hookbridge.exports.clear()
        again = run(hookbridge, done.state, status_lookback_days=1)
        assert ids(again) == ["a"]
        assert [job for job in asked(hookbridge) if job[0] == "inbound"] == [
            ("inbound", "11 23:59:59", "13 00:00:01"),
            ("inbound", "12 23:59:59", "13 12:00:01"),
        ]


def test_changed_status() -> None:
    """Windows within the lookback are read again, each row once, with its newest values."""
    with emulated(3) as hookbridge:
        rows = [hookbridge.add("outbound", at(day), status="queued") for day in (0, 1, 2)]
        first = run(hookbridge)
        for row in rows:
            row["status"] = "succeeded"
        hookbridge.now.move(hours=1)  # type: ignore[attr-defined]
        second = run(hookbridge, first.state, status_lookback_days=2)
        kept = [(r["status"], r["_sdc_export_created_at"]) for r in second.records(OUT)]
        assert kept == [("succeeded", "2026-05-14T01:05:00Z")] * 2
        third = run(hookbridge, second.state)
        assert len(ids(third)) == 3


@pytest.mark.parametrize("border", ["half-open", "inclusive", "exclusive"])
@pytest.mark.parametrize(
    "printed",
    [
        "{:%Y-%m-%dT%H:%M:%S}Z",
        "{:%Y-%m-%dT%H:%M:%S}.999999Z",
        "{:%Y-%m-%dT%H:%M:%S}.123456789Z",
        "{:%Y-%m-%d %H:%M:%S} +0000 UTC",
        "{:%Y-%m-%d %H:%M:%S}.123456789 +0000 UTC",
        "{:%Y-%m-%d %H:%M:%S} UTC",
        "{1:.0f}",
        "{1:.0f}123",
    ],
)
def test_borders(border: str, printed: str) -> None:
    """Rows around midnight are emitted exactly once, however the API counts and prints times."""
    with emulated(3, border=border) as hookbridge:
        hookbridge.snapshot.columns = ("message_id", "created_at")
        for number in range(-3, 4):
            moment = at(1, seconds=number)
            columns = {"created_at": printed.format(moment, moment.timestamp())}
            exact = moment.isoformat()
            hookbridge.add("outbound", moment, message_id=str(number), _exact=exact, **columns)
        done = run(hookbridge)
        assert sorted(ids(done), key=int) == [str(number) for number in range(-3, 4)]


def test_time_of_each_row() -> None:
    """A row without created_at is cut by its received_at, whatever other rows have."""
    with emulated(3) as hookbridge:
        hookbridge.snapshot.columns = ("message_id", "created_at", "received_at")
        for number in range(-3, 4):
            moment = at(1, seconds=number)
            name, empty = ("created_at", "received_at")[:: number % 2 or -1]
            times = {name: f"{moment:%Y-%m-%dT%H:%M:%SZ}", empty: ""}
            hookbridge.add("inbound", moment, message_id=str(number), **times)
        assert sorted(ids(run(hookbridge), IN), key=int) == [str(n) for n in range(-3, 4)]


def test_other_column_of_time() -> None:
    """A file without created_at is cut by received_at; id is the key where it is the column."""
    with emulated(2) as hookbridge:
        hookbridge.snapshot.columns = ("id", "received_at", "note")
        for number, day in enumerate((0.5, 1, 1.5)):
            moment = f"{at(day):%Y-%m-%d %H:%M:%S}"
            hookbridge.add("inbound", at(day), id=f"{number}", received_at=moment, note="7")
        done = run(hookbridge)
        assert [record["id"] for record in done.records(IN)] == ["0", "1", "2"]
        schema = done.schema(IN)
        assert schema["key_properties"] == ["id"]
        kinds = schema["schema"]["properties"]
        assert [kinds[name]["type"][0] for name in ("id", "note")] == ["string", "string"]
        assert done.state["bookmarks"][IN]["replication_key"] == "received_at"


def test_rows_of_attempts() -> None:
    """If messages have a row for each attempt, that is part of the key."""
    with emulated(1) as hookbridge:
        hookbridge.snapshot.columns = ("message_id", "created_at", "attempt_no")
        for attempt in ("1", "2"):
            hookbridge.add("outbound", at(0.5), message_id="a", attempt_no=attempt)
        done = run(hookbridge, only=OUT)
        assert done.schema(OUT)["key_properties"] == ["message_id", "attempt_no"]
        assert [record["attempt_no"] for record in done.records(OUT)] == ["1", "2"]


def test_no_column_of_the_key() -> None:
    """A file without message_id and id is keyed by its rows; several ids are text as one is."""
    with emulated(1) as hookbridge:
        hookbridge.snapshot.columns = ("created_at", "correlation_ids", "callback_urls", "tries")
        row = {"correlation_ids": "7", "callback_urls": "8", "tries": "9"}
        hookbridge.add("outbound", at(0.5), **row)
        schema = run(hookbridge, only=OUT).schema(OUT)
        assert schema["key_properties"] == ["_sdc_row_hash", "_sdc_row_occurrence"]
        kinds = {name: kind["type"][0] for name, kind in schema["schema"]["properties"].items()}
        assert [kinds[name] for name in row] == ["string", "string", "integer"]


def test_no_column_of_time(caplog: pytest.LogCaptureFixture) -> None:
    """A file without either is emitted whole, with a warning."""
    with emulated(1) as hookbridge:
        hookbridge.snapshot.columns = ("message_id", "status")
        hookbridge.add("outbound", at(0.5), message_id="a")
        assert ids(run(hookbridge)) == ["a"]
        assert "no time in created_at or received_at" in caplog.text


@pytest.mark.parametrize("printed", ["14/05/2026 16:00", ""])
def test_unreadable_times(printed: str) -> None:
    """Rows whose time cannot be read are emitted once a run, in whichever windows they come."""
    with emulated(3, border="inclusive") as hookbridge:
        for number in range(-2, 3):
            moment = at(1, seconds=number)
            row = {"created_at": printed, "_exact": moment.isoformat()}
            hookbridge.add("outbound", moment, message_id=str(number), **row)
        hookbridge.snapshot.columns = ("message_id", "created_at")
        assert ids(run(hookbridge, only=OUT)) == ["-2", "-1", "0", "1", "2"]


def test_start_date() -> None:
    """Nothing before start_date is emitted; without it, a first run cannot begin."""
    with emulated(2) as hookbridge:
        for number in range(3):
            hookbridge.add("outbound", at(0.5, seconds=number), message_id=str(number))
        done = run(hookbridge, start_date="2026-05-11T12:00:01Z")
        assert ids(done) == ["1", "2"]
        assert run(hookbridge, done.state, start_date=None).state
        with pytest.raises(SettingsError, match="start_date"):
            run(hookbridge, start_date=None)


def test_too_long() -> None:
    """A window that the API finds too long is halved, and so are those after it."""
    with emulated(1.5, longest=7) as hookbridge:
        for day in (0, 0.2, 0.3, 0.7, 1, 1.4):
            hookbridge.add("outbound", at(day), message_id=f"m{day}")
        done = run(hookbridge, only=OUT)
        assert ids(done) == ["m0", "m0.2", "m0.3", "m0.7", "m1", "m1.4"]
        assert asked(hookbridge)[:2] == [
            ("outbound", "10 23:59:59", "11 06:00:01"),
            ("outbound", "11 05:59:59", "11 12:00:01"),
        ]
        assert len(asked(hookbridge)) == 6
        assert hookbridge.count("create") == 8
        states = [n for n, m in enumerate(done.messages, 1) if m["type"] == "STATE"]
        for most in states[::4]:
            cut = run(hookbridge, most=most, only=OUT)
            rest = run(hookbridge, cut.state, only=OUT, status_lookback_days=0)
            assert ids(cut) + ids(rest) == ids(done)


def test_no_messages() -> None:
    """Without messages, SCHEMA has the documented column of time; the first file decides."""
    with emulated(1) as hookbridge:
        hookbridge.snapshot.empty = "nothing"
        first = run(hookbridge)
        for stream, time in ((OUT, "created_at"), (IN, "received_at")):
            schema = first.schema(stream)
            assert schema["bookmark_properties"] == [time]
            assert schema["schema"]["properties"][time]["format"] == "date-time"
        hookbridge.snapshot.columns = ("message_id", "created_at")
        hookbridge.add("inbound", at(1.1), message_id="a", created_at="2026-05-12T03:00:00Z")
        hookbridge.now.move(days=1)  # type: ignore[attr-defined]
        second = run(hookbridge, first.state)
        assert second.schema(IN)["bookmark_properties"] == ["created_at"]
        assert [r["created_at"] for r in second.records(IN)] == ["2026-05-12T03:00:00Z"]


def test_foreign_jobs_are_left_alone() -> None:
    """An export of the same span, but of other messages or of old values, is not used."""
    with emulated(1) as hookbridge:
        hookbridge.add("outbound", at(0.5), message_id="a")
        span, now = Span(at(0, seconds=-1), at(1, seconds=1)), hookbridge.now()
        hookbridge.add_export(span, "outbound", now, filters={"filter_status": "failed_permanent"})
        hookbridge.add_export(span, "inbound", now, filters={"filter_inbound_endpoint_id": "1"})
        hookbridge.add_export(span, "outbound", now, status="completed")
        hookbridge.page_size = 2
        assert ids(run(hookbridge)) == ["a"]
        assert len(hookbridge.exports) == 5


def test_own_job_is_found() -> None:
    """A job that was requested and never noted is used, if it had not ended."""
    with emulated(1, step=0.1, processing=1) as hookbridge:
        hookbridge.add("outbound", at(0.5), message_id="a")
        cut = run(hookbridge, most=1)
        assert cut.messages[0]["type"] == "STATE"
        assert ids(run(hookbridge)) == ["a"]
        assert asked(hookbridge).count(("inbound", "10 23:59:59", "12 00:00:01")) == 1


@pytest.mark.parametrize(
    ("bookmark", "opened", "expected"),
    [
        (None, None, [(0, 24), (24, 48), (48, 60)]),
        (30, None, [(24, 48), (48, 60)]),
        (30, (30, 48), [(30, 48), (24, 30), (48, 60)]),
        (30, (48, 60), [(24, 48), (48, 60)]),  # a gap would be left before it
        (30, (0, 24), [(24, 48), (48, 60)]),  # not due any more
        (50, (24, 48), [(24, 48), (48, 60)]),
        (60, (24, 48), [(48, 60)]),
        (70, None, [(60 - 24 - 12, 48), (48, 60)]),
    ],
)
def test_plan(
    bookmark: int | None, opened: tuple[int, int] | None, expected: list[tuple[int, int]]
) -> None:
    """The open window comes first unless that would leave a gap; no moment is in two windows."""
    schedule = Schedule(DAY, at(2.5), lookback=6 * HOUR, start=at(0), repeats=True)
    if bookmark == 70:
        schedule = Schedule(DAY, at(2.5), lookback=40 * HOUR, start=at(0), repeats=True)
    window = Window(*(at(0) + hours * HOUR for hours in opened)) if opened else None
    reached = None if bookmark is None else at(0) + bookmark * HOUR
    windows = plan_windows(schedule, reached, window)
    assert [((w.start - at(0)) / HOUR, (w.end - at(0)) / HOUR) for w in windows] == expected


@pytest.mark.parametrize(
    ("again", "opened", "expected"),
    [
        ([(6, 12)], None, [(6, 12), (72, 84)]),
        ([(6, 30), (66, 78)], None, [(6, 24), (24, 30), (66, 72), (72, 84)]),
        ([(30, 40), (6, 12), (35, 45)], None, [(6, 12), (30, 40), (40, 45), (72, 84)]),
        ([(6, 30)], (24, 30), [(24, 30), (6, 24), (72, 84)]),
        ([(6, 30)], (24, 36), [(6, 24), (24, 30), (72, 84)]),
        ([(-9, 3)], (72, 84), [(72, 84), (0, 3)]),
        ([(90, 99)], None, [(72, 84)]),
    ],
)
def test_plan_of_spans_again(
    again: list[tuple[int, int]],
    opened: tuple[int, int] | None,
    expected: list[tuple[int, int]],
) -> None:
    """Spans that must be read once more come before the lookback, cut at the same borders."""

    def window(hours: tuple[int, int]) -> Window:
        return Window(*(at(0) + hour * HOUR for hour in hours))

    schedule = Schedule(DAY, at(3.5), lookback=6 * HOUR, start=at(0), repeats=True)
    windows = plan_windows(
        schedule, at(3.25), opened and window(opened), [window(span) for span in again]
    )
    assert windows == [window(span) for span in expected]
