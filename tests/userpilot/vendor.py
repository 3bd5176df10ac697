"""An emulated Userpilot for tests, and runs of the tap on it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from filetap.settings import Tuning
from filetap.testing.runs import Collector, Run, run_tap
from tap_userpilot.documented import EVENTS
from tap_userpilot.emulated_files import Form
from tap_userpilot.emulated_jobs import Jobs
from tap_userpilot.emulator import Emulator
from tap_userpilot.sample_data import Event, events_of
from tap_userpilot.tap import TapUserpilot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FIRST = date(2026, 4, 27)  # a Monday
TUNING = Tuning(first_pause=0.001)


class Clock:
    """A clock that a test moves."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        """The time."""
        return self.moment

    def move(self, **span: float) -> None:
        """Move on by a span, as `timedelta` takes it."""
        self.moment += timedelta(**span)


def sample(days: Iterable[int], rows: int = 8) -> list[Event]:
    """Events of some days after the first."""
    return [event for day in days for event in events_of(FIRST + timedelta(day), rows)]


def emulated(days: int = 9, rows: int = 8, *, form: Form | None = None, **jobs: Any) -> Emulator:
    """A Userpilot with events of so many whole days, at six in the morning after them."""
    now = Clock(datetime(FIRST.year, FIRST.month, FIRST.day, 6, tzinfo=UTC) + timedelta(days))
    made = Jobs(events=sample(range(days), rows), form=form or Form(), **jobs)
    return Emulator(now=now, jobs=made)


def catalog_of(*streams: str) -> dict[str, Any]:
    """A catalog that selects some streams."""
    config = {"api_key": "k", "api_url": "http://127.0.0.1:9"}
    tap = TapUserpilot(config=config, setup_mapper=False)
    found = dict(tap.catalog_dict)
    for stream in found["streams"]:
        for item in stream["metadata"]:
            if not item["breadcrumb"]:
                item["metadata"]["selected"] = stream["tap_stream_id"] in streams
    return found


def settings(userpilot: Emulator, **more: Any) -> dict[str, Any]:
    """Settings of the tap that polls without waiting."""
    usual = {"start_date": f"{FIRST}T00:00:00Z", "poll_seconds": 0.001, "max_retries": 2}
    return {**userpilot.settings, **usual, **more}


def run(
    userpilot: Emulator,
    state: Mapping[str, Any] | None = None,
    most: int | None = None,
    *,
    tuning: Tuning = TUNING,
    streams: Iterable[str] = (EVENTS,),
    **more: Any,
) -> Run:
    """Run the tap on some streams, until it has written *most* messages."""

    class Tap(TapUserpilot):
        """With other sizes."""

    Tap.tuning = replace(tuning, first_pause=0.001)
    config = settings(userpilot, **more)
    return run_tap(Tap, config, state, catalog_of(*streams), Collector(most))


def keys(done: Run) -> list[str]:
    """The keys of a run's events, in order."""
    if not done.of("SCHEMA"):
        return []
    (key,) = done.schema(EVENTS)["key_properties"]
    return [record[key] for record in done.records(EVENTS)]


def marks(records: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """What tells events apart, sorted; CSV has no empty text."""
    names = ("inserted_at", "event_type", "event_name", "user_id", "session")
    return sorted(tuple(record[name] or "" for name in names) for record in records)


def truth(events: Iterable[Event]) -> list[tuple[Any, ...]]:
    """The same of the events that there are."""
    return marks(
        {**event.members, "inserted_at": f"{event.at:%Y-%m-%dT%H:%M:%S.%fZ}"} for event in events
    )


def asked(userpilot: Emulator) -> list[tuple[str, str]]:
    """The days of the jobs that the tap asked for."""
    made = userpilot.jobs.made
    return [(str(j.request["from"]), str(j.request["to"])) for j in made if not j.foreign]
