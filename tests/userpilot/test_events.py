"""Events: every one once, however Userpilot cuts, names, orders and writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import cycle, repeat
from typing import TYPE_CHECKING, Any

import pytest

from filetap.errors import FormatError
from filetap.testing.runs import Collector, run_tap
from tap_userpilot.documented import EVENTS
from tap_userpilot.emulated_files import Form
from tap_userpilot.tap import TapUserpilot
from tests.userpilot.vendor import (
    FIRST,
    TUNING,
    asked,
    catalog_of,
    emulated,
    keys,
    marks,
    run,
    sample,
    settings,
    truth,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from singer_sdk.singerlib.encoding.simple import Message

    from tap_userpilot.sample_data import Event


def test_windows() -> None:
    """Windows are asked a day wider, two where these are over, and no event is emitted twice."""
    with emulated(40, 3) as userpilot:
        done = run(userpilot)
        assert marks(done.records(EVENTS)) == truth(userpilot.jobs.events)
        assert len(set(keys(done))) == len(keys(done)) == 120
        # 2026-05-07 is a multiple of 28 days after 1970.
        assert asked(userpilot) == [
            ("2026-04-26", "2026-05-08"),
            ("2026-05-06", "2026-06-05"),
            ("2026-06-03", "2026-06-06"),
        ]
        assert all("emails" not in job.request for job in userpilot.jobs.made)


def test_next_day() -> None:
    """A run with nothing to ask for makes no job; a day later, the lookback is asked again."""
    with emulated(9) as userpilot:
        first = run(userpilot)
        state = first.state["bookmarks"][EVENTS]
        assert state["replication_key_value"] == "2026-05-06T00:00:00Z"
        assert "job" not in state
        userpilot.forget()
        assert run(userpilot, first.state).records(EVENTS) == []
        assert [request.route for request in userpilot.requests] == ["jobs"]
        late = userpilot.jobs.events[-9]
        late = replace(late, members={**late.members, "session": "late"})
        userpilot.jobs.events += [late, *sample([9])]
        userpilot.now.move(days=1)  # type: ignore[attr-defined]
        second = run(userpilot, first.state)
        newest = [e for e in userpilot.jobs.events if e.at.date() >= FIRST + timedelta(6)]
        assert marks(second.records(EVENTS)) == truth(newest)
        assert asked(userpilot)[1:] == [("2026-05-02", "2026-05-07")]


def test_settling() -> None:
    """A day counts as whole settle_hours after its end, by the clock of the API."""
    with emulated(9) as userpilot:
        done = run(userpilot, settle_hours=7)
        assert marks(done.records(EVENTS)) == truth(sample(range(8)))
        assert asked(userpilot) == [("2026-04-26", "2026-05-06")]


@pytest.mark.parametrize(
    ("form", "jobs"),
    [
        ({}, {"inclusive": False}),
        ({}, {"zone": 11.0}),
        ({}, {"zone": -11.0}),
        ({"twice": False}, {"formats": ("ndjson", "parquet")}),
        ({}, {"types": ("identify_user", "identify_company", "track", "track_feature")}),
        ({"ids": "number", "time": "%Y-%m-%d %H:%M:%S.%f"}, {}),
        ({"ids": "absent", "time": "%Y-%m-%dT%H:%M:%S.%f+00:00"}, {}),
        ({"ids": "some", "shuffled": True}, {}),
        ({"ids": "empty"}, {}),
        ({"line_end": "\r\n", "blank_lines": True, "members": 3}, {}),
        ({"members": 0, "shuffled": True}, {}),
        ({"doubled": True}, {}),
        ({"doubled": True, "ids": "absent"}, {}),
        ({"csv_metadata": "text"}, {"as_csv": True}),
        ({"csv_metadata": "omitted", "members": 0}, {"as_csv": True}),
        ({"csv_metadata": "flattened", "line_end": "\r\n"}, {"as_csv": True}),
        ({}, {"without_files": "missing", "running": ("pending", "pending_refresh")}),
    ],
    ids=str,
)
def test_forms(form: dict[str, Any], jobs: dict[str, Any]) -> None:
    """Borders, zones, names and forms that are not documented change nothing."""
    if "types" in jobs:
        jobs = {"types": [*jobs["types"], "page_view", "interaction"]}
    with emulated(12, form=Form(**form), **jobs) as userpilot:
        done = run(userpilot)
        types = {*userpilot.jobs.types}
        wanted = [e for e in userpilot.jobs.events if e.members["event_type"] in types]
        records = done.records(EVENTS)
        assert marks(records) == truth(wanted)
        assert len(set(keys(done))) == len(records)
        key = "internal_event_id" if form.get("ids", "text") in {"text", "number"} else ""
        assert done.schema(EVENTS)["key_properties"] == [key or "_sdc_event_id"]
        if not jobs.get("as_csv") or form["csv_metadata"] == "text":
            told = sorted(json.dumps(record["metadata"]) for record in records)
            assert told == sorted(json.dumps(json.loads(e.metadata)) for e in wanted)


def test_columns() -> None:
    """The documented columns have their types, whatever the first events look like."""
    with emulated(1, form=Form(ids="absent")) as userpilot:
        done = run(userpilot)
        properties = done.schema(EVENTS)["schema"]["properties"]
        kinds = {name: (p["type"][0], p.get("format")) for name, p in properties.items()}
        assert kinds["inserted_at"] == ("string", "date-time")
        assert kinds["screen_width"] == kinds["screen_height"] == ("integer", None)
        assert kinds["metadata"] == ("object", None)
        names = ("user_id", "company_id", "session", "event_name", "internal_event_id")
        assert {kinds[name] for name in names} == {("string", None)}
        assert {"browser", "country_code", "device_type"} <= {*kinds}
        assert done.records(EVENTS)[0]["inserted_at"].startswith("2026-04-27T00:00:00.")


class _Lines(Collector):
    """Keeps the lines as they are written, too."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[bytes] = []

    def write_message(self, message: Message | bytes) -> None:
        """Keep lines of records."""
        if isinstance(message, bytes):
            self.lines += message.split(b"\n")
        super().write_message(message)


def test_metadata_as_written() -> None:
    """No number of the metadata is rewritten, no member moved, and types may differ by row."""
    odd = [
        '{"z":1.10,"a":1E5,"n":-0.0,"big":123456789012345678901234567890}',
        '{"a":"1","b":2}',
        '{ "nested" : [ {"b":1, "a":[]} , null ] }',
        '{"a":1e999}',
        "{}",
        '{"a":1,"b":{"c":1.10,"c":2},"a":[{"d":1,"d":1}]}',
    ]
    with emulated(1, len(odd)) as userpilot:
        events = userpilot.jobs.events
        userpilot.jobs.events = [
            replace(e, metadata=text) for e, text in zip(events, odd, strict=True)
        ]
        collector = _Lines()
        run_tap(TapUserpilot, settings(userpilot), None, catalog_of(EVENTS), collector)
        lines = [line for line in collector.lines if line]
        assert len(lines) == len(odd)
        for line, text in zip(lines, odd, strict=True):
            assert f'"metadata":{text}'.encode() in line


def test_metadata_as_text() -> None:
    """With metadata: string the column has the JSON as it is written."""
    with emulated(1) as userpilot:
        done = run(userpilot, metadata="string")
        assert done.schema(EVENTS)["schema"]["properties"]["metadata"]["type"] == ["string", "null"]
        texts = sorted(event.metadata for event in userpilot.jobs.events)
        assert sorted(record["metadata"] for record in done.records(EVENTS)) == texts


def test_metadata_of_another_type() -> None:
    """Metadata that are not an object are kept as text beside it."""
    with emulated(1, 3) as userpilot:
        texts = ["[1]", '"text"', '{"a":1}']
        events = userpilot.jobs.events
        userpilot.jobs.events = [
            replace(e, metadata=text) for e, text in zip(events, texts, strict=True)
        ]
        found = [(r["metadata"], r["metadata__text"]) for r in run(userpilot).records(EVENTS)]
        assert found == [(None, "[1]"), (None, "text"), ({"a": 1}, None)]


def test_batch_files(tmp_path: Path) -> None:
    """BATCH files have the metadata as objects, as they are written."""
    with emulated(1) as userpilot:
        batch = {"encoding": {"format": "jsonl", "compression": "none"}}
        done = run(userpilot, batch_config={**batch, "storage": {"root": str(tmp_path)}})
        (message,) = done.of("BATCH")
        lines = (tmp_path / message["manifest"][0].rpartition("/")[2]).read_text().splitlines()
        assert len(lines) == 8
        for line, event in zip(lines, userpilot.jobs.events, strict=True):
            assert f'"metadata":{event.metadata}' in line


def test_event_ids() -> None:
    """Without ids, an event's id is the same in every export; equal ones are numbered."""
    with emulated(1, form=Form(ids="absent")) as userpilot:
        first, *rest = userpilot.jobs.events
        equal = [replace(first, metadata=f'{{"n":{n}}}') for n in (2, 1, 1)]
        userpilot.jobs.events = [*equal, *rest]

        def ids() -> dict[str, str]:
            done = run(userpilot)
            found = {r["_sdc_event_id"]: json.dumps(r["metadata"]) for r in done.records(EVENTS)}
            assert len(found) == len(userpilot.jobs.events)
            return found

        before = ids()
        own = [(key[-1], text) for key, text in before.items() if "n" in json.loads(text)]
        assert sorted(own) == [("1", '{"n": 1}'), ("2", '{"n": 1}'), ("3", '{"n": 2}')]
        userpilot.jobs.events.reverse()
        userpilot.jobs.form.time = "%Y-%m-%d %H:%M:%S.%f"
        assert ids() == before


def test_key_stays() -> None:
    """The key of the first file is kept; an event of a later one without it is malformed."""
    with emulated(9) as userpilot:
        first = run(userpilot)
        userpilot.jobs.events += sample([9])
        userpilot.jobs.form.ids = "absent"
        userpilot.now.move(days=1)  # type: ignore[attr-defined]
        with pytest.raises(FormatError, match="lacks the key's column internal_event_id"):
            run(userpilot, first.state)
        diverted = run(userpilot, first.state, malformed_rows="divert")
        assert diverted.records(EVENTS) == []
        assert diverted.records("events_malformed")


class Fading(Form):
    """Only the first file has ids."""

    def files(self, events: Iterable[Event], *, as_csv: bool) -> list[tuple[str, bytes]]:
        """Name and content of each week's file, in order."""
        self.ids, found = "text", list(events)
        first = super().files(found, as_csv=as_csv)[:1]
        self.ids = "absent"
        return first + super().files(found, as_csv=as_csv)[1:]


def test_first_file_decides() -> None:
    """The first file decides the key, also if a later one of the same run has no ids."""
    with emulated(9, form=Fading()) as userpilot:
        with pytest.raises(FormatError, match="lacks the key's column internal_event_id"):
            run(userpilot)
        diverted = run(userpilot, malformed_rows="divert")
        assert diverted.schema(EVENTS)["key_properties"] == ["internal_event_id"]
        assert len(keys(diverted)) == 32
        assert len(diverted.records("events_malformed")) == 40


@pytest.mark.parametrize("ids", ["some", "empty"])
def test_events_without_a_key(ids: str) -> None:
    """No event is emitted without its key: one that lacks it is malformed, the others are not."""
    with emulated(9) as userpilot:
        first = run(userpilot)
        userpilot.jobs.events += sample([9], 40)
        userpilot.jobs.form.ids = ids
        userpilot.now.move(days=1)  # type: ignore[attr-defined]
        with pytest.raises(FormatError, match=r"row \d+: the row lacks the key's column") as end:
            run(userpilot, first.state)
        assert not end.value.run.records(EVENTS)  # type: ignore[attr-defined]
        diverted = run(userpilot, first.state, malformed_rows="divert")
        assert None not in keys(diverted)
        assert "" not in keys(diverted)
        malformed = [json.loads(r["raw"]) for r in diverted.records("events_malformed")]
        assert malformed
        assert not any(row.get("internal_event_id") for row in malformed)
        assert bool(keys(diverted)) == (ids == "some")
        assert diverted.state["bookmarks"][EVENTS]["replication_key_value"].startswith("2026-05-07")


@pytest.mark.parametrize("divert", [False, True])
def test_cut_off(divert: bool) -> None:  # noqa: FBT001 - a parameter
    """A last line that is cut off is a malformed row, never half an event."""
    with emulated(1, form=Form(cut=True, members=0)) as userpilot:
        if divert:
            done = run(userpilot, malformed_rows="divert")
            assert len(done.records(EVENTS)) == 7
            assert len(done.records("events_malformed")) == 1
            return
        with pytest.raises(FormatError, match="row 8"):
            run(userpilot)


def test_no_events() -> None:
    """A window without events is finished without a file."""
    for words in ("empty", "missing"):
        with emulated(2, 0, without_files=words) as userpilot:
            done = run(userpilot)
            assert done.records(EVENTS) == []
            state = done.state["bookmarks"][EVENTS]
            assert state["replication_key_value"] == "2026-04-29T00:00:00Z"


def test_resumed() -> None:
    """A run that is cut off anywhere is resumed from its last STATE: no event lost or doubled."""
    tuning = replace(TUNING, slice=7, lines=3)
    for ids in ("text", "absent"):
        with emulated(12, 6, form=Form(ids=ids, scattered=ids == "absent")) as userpilot:
            if ids == "absent":  # equal events, in different files
                userpilot.jobs.events = [e for e in userpilot.jobs.events[::2] for _ in range(2)]
            whole = run(userpilot, tuning=tuning, lookback_days=0)
            assert sum(message["type"] == "STATE" for message in whole.messages) >= 12
            for most in range(1, len(whole.messages), 29):
                cut = run(userpilot, most=most, tuning=tuning, lookback_days=0)
                rest = run(userpilot, cut.state, tuning=tuning, lookback_days=0)
                covered, lost = map(keys, cut.at_state())
                assert set(lost) <= set(keys(rest))
                assert covered + keys(rest) == keys(whole)


@pytest.mark.parametrize("one_path", [False, True])
def test_order_of_equal_names(one_path: bool) -> None:  # noqa: FBT001 - a parameter
    """Files of one name may be listed in any order, in a run and after it: no event is lost."""
    with emulated(6, form=Form(scattered=True)) as userpilot:
        userpilot.order, userpilot.one_path = cycle((1, -1)), one_path
        whole = run(userpilot)
        assert marks(whole.records(EVENTS)) == truth(userpilot.jobs.events)
        states = [n for n, m in enumerate(whole.messages, 1) if m["type"] == "STATE"]
        for most in states[1:-1]:
            userpilot.order = repeat(1)
            cut = run(userpilot, most=most, lookback_days=0)
            userpilot.order = repeat(-1)
            rest = run(userpilot, cut.state, lookback_days=0)
            assert {*keys(cut), *keys(rest)} == {*keys(whole)}
            assert one_path or len(keys(cut)) + len(keys(rest)) == len(keys(whole))


def test_filters() -> None:
    """Filters are passed on; changed ones are reported."""
    with emulated(3) as userpilot:
        first = run(userpilot, event_types=["track"], user_ids=["00001"], exclusions=True)
        (job,) = userpilot.jobs.made
        assert job.request["event_type"] == ["track"]
        assert job.request["user_id"] == ["00001"]
        assert job.request["exclusions"] is True
        assert "company_id" not in job.request
        fingerprint = first.state["bookmarks"][EVENTS]["fingerprint"]
        assert fingerprint != run(userpilot).state["bookmarks"][EVENTS]["fingerprint"]


def test_changed_filters(caplog: pytest.LogCaptureFixture) -> None:
    """When filters change, old days are reported as read under others."""
    with emulated(3) as userpilot:
        first = run(userpilot)
        run(userpilot, first.state, segment_id="9")
        assert "rows up to 2026-04-30T00:00:00Z were requested differently" in caplog.text
