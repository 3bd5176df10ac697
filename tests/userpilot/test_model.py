"""Whatever happens to jobs, links and runs, the events that were emitted are those that there are.

CI tries some interleavings, and ``--interleavings`` makes it more: 25 of the option are one of this
model, so ``--interleavings 50000`` tries 2,000.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filetap.errors import ExportError
from tap_userpilot import api, exports
from tap_userpilot.documented import EVENTS
from tap_userpilot.emulated_files import Form
from tap_userpilot.sample_data import events_of
from tests.runs import Killed, merged
from tests.userpilot.vendor import TUNING, emulated, keys, run

if TYPE_CHECKING:
    from filetap.testing.runs import Run
    from tap_userpilot.emulator import Emulator

_SHARE = 25  # of the other models' interleavings, each of which takes less time
_TUNING = replace(TUNING, slice=5, lines=2)
_SETTINGS: dict[str, Any] = {
    "window_days": 3,
    "lookback_days": 2,
    "job_timeout": 0.02,
    "job_wait": 0.02,
}

_FORMS = st.builds(
    Form,
    ids=st.sampled_from(["text", "number", "absent"]),
    twice=st.booleans(),
    blank_lines=st.booleans(),
    members=st.integers(0, 2),
    shuffled=st.booleans(),
)
_RUNS = st.tuples(st.just("run"), st.none() | st.integers(1, 60), st.none() | st.integers(1, 20))
_FAULTS = st.tuples(
    st.just("fault"),
    st.sampled_from(["create", "jobs", "job", "download"]),
    st.sampled_from(
        [{"drop_after": -1}, {"drop_after": 30}, {"status": 500}, {"status": 403}, {"status": 404}]
    ),
    st.integers(1, 4),
)
_JOBS = st.tuples(
    st.sampled_from(["fail", "lack", "hang", "expire", "foreign"]), st.integers(1, 14)
)
_TIMES = st.tuples(st.just("days"), st.integers(1, 4))
_STEPS = st.lists(st.one_of(_RUNS, _RUNS, _FAULTS, _JOBS, _TIMES), max_size=9)


@dataclass
class World:
    """Userpilot, and what a loader has received.

    Attributes:
        userpilot: The emulator.
        state: The state that the next run gets, merged as Meltano does.
        table: Key → what the last record says.
    """

    userpilot: Emulator
    state: dict[str, Any] = field(default_factory=dict)
    table: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    def run(self, most: int | None = None, killed: int | None = None) -> bool:
        """Run the tap, perhaps until it is killed; returns True if it got to its end.

        Args:
            most: Messages after which it is killed.
            killed: Request at which it is killed.
        """
        with pytest.MonkeyPatch.context() as patch:
            if killed:
                Killed(patch, killed, ((api, "send"), (exports, "open_range")))
            try:
                done = run(self.userpilot, self.state, most, tuning=_TUNING, **_SETTINGS)
            except ExportError as error:
                self._receive(error.run)  # type: ignore[attr-defined]
                return False
        self._receive(done)
        return done.status == 0

    def _receive(self, done: Run) -> None:
        """Load a run's records, and keep its state."""
        found = keys(done)
        assert len(found) == len(set(found)), "a key twice in one run"
        for key, record in zip(found, done.records(EVENTS), strict=True):
            self.table[key] = _mark(record, json.dumps(record["metadata"]))
        self.state = merged(self.state, done.state)

    def step(self, step: tuple[Any, ...]) -> None:
        """Do one of the things that may happen."""
        userpilot, jobs = self.userpilot, self.userpilot.jobs
        match step:
            case ("run", most, killed):
                self.run(most, killed)
            case ("fault", "download", fault, times):
                userpilot.bucket.fail("download", times=times, **fault)
            case ("fault", route, fault, times):
                userpilot.fail(route, times=times, **fault)
            case ("fail", times):
                jobs.fail_next = times % 5
            case ("lack", times):
                jobs.lack_next = times
            case ("hang", _):
                jobs.takes = None
            case ("expire", _):
                userpilot.bucket.storage.expire_urls()
            case ("foreign", _):
                jobs.start(
                    {"from": "2026-01-01", "to": "2026-01-02"}, userpilot.now(), foreign=True
                )
            case ("days", days):
                self.pass_days(days)

    def pass_days(self, days: int) -> None:
        """Let days pass; some events of each day, and of two before it, arrive late."""
        jobs, clock = self.userpilot.jobs, self.userpilot.now
        for _ in range(days):
            today = clock().date()
            jobs.events += events_of(today, 4)
            for late in (1, 2):
                jobs.events += events_of(today - timedelta(late), 1, seed=len(jobs.events))
            clock.move(days=1)  # type: ignore[attr-defined]

    def heal(self) -> None:
        """End all that is wrong."""
        self.userpilot.heal()
        self.userpilot.bucket.heal()
        jobs = self.userpilot.jobs
        jobs.fail_next = jobs.lack_next = 0
        jobs.takes = timedelta()
        for job in jobs.made:
            job.takes, job.fails, job.lacks = timedelta(), False, 0


def _mark(members: dict[str, Any], metadata: str) -> tuple[Any, ...]:
    """What tells an event apart."""
    return (*(members[n] for n in ("inserted_at", "event_type", "user_id", "session")), metadata)


def _check(steps: list[tuple[Any, ...]], form: Form, jobs: dict[str, Any]) -> None:
    """Take the steps, and compare what was loaded with what there is."""
    with emulated(7, 4, form=form, **jobs) as userpilot:
        userpilot.fresh_urls = not form.shuffled
        world = World(userpilot)
        for step in steps:
            world.step(step)
        world.heal()
        assert world.run()
        # A job that was resumed may be older than an event that arrived late.
        userpilot.now.move(days=1)  # type: ignore[attr-defined]
        assert world.run()
        last = userpilot.now().date()
        events = [event for event in userpilot.jobs.events if event.at.date() < last]
        wanted = [
            _mark(
                {**event.members, "inserted_at": f"{event.at:%Y-%m-%dT%H:%M:%S.%fZ}"},
                json.dumps(json.loads(event.metadata)),
            )
            for event in events
        ]
        assert sorted(world.table.values()) == sorted(wanted)
        made = len(userpilot.jobs.made)
        assert world.run()
        assert len(userpilot.jobs.made) == made


def test_model(pytestconfig: pytest.Config) -> None:
    """Jobs fail, hang or expire, answers are lost, runs are killed: each event is there once."""

    @settings(
        max_examples=max(1, pytestconfig.getoption("--interleavings") // _SHARE),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        steps=_STEPS,
        form=_FORMS,
        jobs=st.fixed_dictionaries(
            {
                "inclusive": st.booleans(),
                "zone": st.sampled_from([0.0, 3.0, -8.0]),
                "longest": st.sampled_from([None, None, 5]),
            }
        ),
    )
    def check(steps: list[tuple[Any, ...]], form: Form, jobs: dict[str, Any]) -> None:
        _check(steps, form, jobs)

    check()
