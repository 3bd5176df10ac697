"""Whatever happens between and within runs, each run has each message once, and none is lost.

The model is the set of messages that HookBridge has. Runs are killed at any message that they
write and any request that they send; jobs fail, expire and answer late; answers get lost; links
die; statuses change. Each run resumes from the last STATE of the one before, as Meltano merges it.

``--interleavings 40000`` tries 2,000 of them: each takes as long as 20 of other models.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from filetap.errors import ExportError
from filetap.jobs import reader
from filetap.settings import Tuning
from filetap.times import format_time, parse_generation
from filetap.transports import http
from tap_hookbridge import api
from tap_hookbridge.emulator import Emulator
from tests.hookbridge.vendor import FIRST, OUT, Clock, at, run
from tests.runs import Killed, merged

if TYPE_CHECKING:
    from datetime import datetime

    from filetap.testing.runs import Run

SMALL = Tuning(slice=3, lines=2)
# What happens to the next requests of a route.
FAULTS: dict[str, dict[str, Any]] = {
    "answer lost": {"route": "create", "drop_after": -1},
    "answer cut": {"route": "create", "drop_after": 30},
    "answer lost for long": {"route": "create", "drop_after": -1, "times": 4},
    "no list": {"route": "list", "status": 503},
    "list dropped": {"route": "list", "drop_after": 10},
    "show 500": {"route": "show", "status": 500},
    "show 401": {"route": "show", "status": 401},
    "locate 410": {"route": "locate", "status": 410},
    "locate 410 for long": {"route": "locate", "status": 410, "times": 5},
    "busy": {"route": "create", "status": 429, "headers": {"Retry-After": "0"}},
}
STORAGE_FAULTS: dict[str, dict[str, Any]] = {
    "URL dead": {"status": 403},
    "URL dead for long": {"status": 403, "times": 9},
    "file gone": {"status": 404},
    "dropped": {"drop_after": 20},
    "dropped for long": {"drop_after": 0, "times": 9},
    "range ignored": {"ignore_range": True},
    "bit flipped": {"corrupt_at": 25},
    "another file": {"status": 200, "body": b"message_id,created_at\n"},
}


class Interleavings(RuleBasedStateMachine):
    """A project whose messages are exported by a tap that dies now and then."""

    ends: Counter[bool]

    @initialize(
        border=st.sampled_from(["half-open", "inclusive", "exclusive"]),
        compressed=st.booleans(),
        counts=st.sampled_from(["stored", "decompressed"]),
        counts_header=st.booleans(),
        empty=st.sampled_from(["header", "nothing", "missing"]),
        hours=st.sampled_from([6, 24]),
        longest=st.sampled_from([None, None, 7]),
        lookback=st.sampled_from([1, 2, 60]),
    )
    def begin(
        self, border: str, hours: int, longest: int | None, lookback: int, **look: Any
    ) -> None:
        """Choose how this HookBridge reads what is not documented."""
        self.hookbridge = Emulator(now=Clock(at(1)), border=border, longest=longest)
        self.hookbridge.start()
        for name, value in look.items():
            setattr(self.hookbridge.snapshot, name, value)
        self.options = {
            "window_hours": hours,
            "status_lookback_days": lookback,
            "settle_minutes": 1,
        }
        self.state: dict[str, Any] = {}
        self.known: dict[str, tuple[str, str]] = {}  # what all records so far amount to

    @rule(
        days=st.integers(0, 2),
        offsets=st.lists(st.integers(-3, 3), min_size=1, max_size=6),
        at_border=st.booleans(),
    )
    def add(self, days: int, offsets: list[int], *, at_border: bool) -> None:
        """Messages are created, many of them around a border."""
        now = self.hookbridge.now()
        for offset in offsets:
            moment = at(days, seconds=offset) if at_border else now - timedelta(seconds=offset + 5)
            if FIRST <= moment <= now and self.is_near(moment):
                number = len(self.hookbridge.messages["outbound"])
                row = {"message_id": f"m{number}", "created_at": format_time(moment)}
                self.hookbridge.messages["outbound"].append({**row, "status": "queued"})

    @rule(pick=st.randoms(use_true_random=False))
    def change(self, pick: Any) -> None:
        """Statuses change, whatever they were, of messages that are not too old."""
        for row in self.hookbridge.messages["outbound"]:
            if self.is_near(parse_generation(row["created_at"])) and pick.random() < 0.5:
                row["status"] = pick.choice(["succeeded", "failed_permanent", "pending_retry"])

    def is_near(self, moment: datetime) -> bool:
        """True if the lookback promises to see what happens now to a message of that time."""
        days = timedelta(days=self.options["status_lookback_days"])
        return self.hookbridge.now() - moment <= days

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        """Time passes."""
        self.hookbridge.now.move(hours=hours)  # type: ignore[attr-defined]

    @rule(name=st.sampled_from(sorted(FAULTS)), skip=st.integers(0, 4))
    def fault(self, name: str, skip: int) -> None:
        """Something goes wrong with the next requests."""
        self.hookbridge.fail(**FAULTS[name], skip=skip)

    @rule(name=st.sampled_from(sorted(STORAGE_FAULTS)), skip=st.integers(0, 3))
    def storage_fault(self, name: str, skip: int) -> None:
        """Something goes wrong with the next downloads."""
        self.hookbridge.store.fail("download", **STORAGE_FAULTS[name], skip=skip)

    @rule(kind=st.sampled_from(["failing", "expiring", "unready"]), number=st.integers(1, 5))
    def bad_jobs(self, kind: str, number: int) -> None:
        """The next jobs fail, expire or are not ready."""
        setattr(self.hookbridge, kind, number)

    @rule(pick=st.randoms(use_true_random=False))
    def vanish(self, pick: Any) -> None:
        """A job is deleted."""
        if exports := self.hookbridge.exports:
            exports.remove(pick.choice(exports))

    @rule()
    def hang(self) -> None:
        """New jobs never end, and those that hang do."""
        self.hookbridge.stuck = not self.hookbridge.stuck
        for export in self.hookbridge.exports:
            export.stuck = False

    @rule()
    def heal(self) -> None:
        """All is well again."""
        hookbridge = self.hookbridge
        hookbridge.heal()
        hookbridge.store.heal()
        hookbridge.failing = hookbridge.expiring = hookbridge.unready = 0
        hookbridge.stuck = False
        for export in hookbridge.exports:
            export.stuck = False

    @rule(cut=st.none() | st.integers(1, 40), killed=st.none() | st.integers(1, 25))
    def run(self, cut: int | None, killed: int | None) -> None:
        """The tap runs, perhaps until it is killed."""
        with pytest.MonkeyPatch.context() as patch:
            if killed:
                Killed(patch, killed, ((http, "send"), (api, "open_range")))
            try:
                done = run(
                    self.hookbridge,
                    self.state,
                    cut,
                    tuning=SMALL,
                    only=OUT,
                    job_timeout=0.02,
                    max_retries=1,
                    **self.options,
                )
            except ExportError as error:
                done = error.run  # type: ignore[attr-defined]
                note(f"the run ended with {error}")
        self.ends[done.status == 0] += 1
        self.receive(done)

    def receive(self, done: Run) -> None:
        """Take what a run has emitted, and check it."""
        records = done.records(OUT)
        again = Counter(record["message_id"] for record in records)
        assert not [name for name, times in again.items() if times > 1]
        for record in records:
            newest = self.known.get(record["message_id"], ("", ""))[0]
            if record["_sdc_export_created_at"] >= newest:
                value = record["_sdc_export_created_at"], record["status"]
                self.known[record["message_id"]] = value
        self.state = done.state if done.status == 0 else merged(self.state, done.state)
        active = [
            (export.span.start, export.span.end)
            for export in self.hookbridge.exports
            if export.is_active
        ]
        assert len(set(active)) == len(active)

    def teardown(self) -> None:
        """In the end, when all is well, a run that nothing interrupts has the truth."""
        if not hasattr(self, "hookbridge"):
            return
        try:
            self.heal()
            self.hookbridge.now.move(hours=1)  # type: ignore[attr-defined]
            self.run(None, killed=1)  # few machines may have had a run that was killed
            for _ in range(2):  # the first one goes on with the job that is open
                self.run(None, None)
                assert "job" not in self.state["bookmarks"][OUT]
                self.hookbridge.now.move(minutes=1)  # type: ignore[attr-defined]
            truth = {
                row["message_id"]: row["status"] for row in self.hookbridge.messages["outbound"]
            }
            assert {name: status for name, (_, status) in self.known.items()} == truth
        finally:
            self.hookbridge.stop()


@pytest.mark.usefixtures("caplog")
def test_each_run_has_each_message_once(
    monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """No key twice in a run; the newest records by key are what HookBridge has in the end."""
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    # Time passes by polls, so that a slow machine finds the same.
    clock = SimpleNamespace(monotonic=count(step=0.001).__next__)
    monkeypatch.setattr(reader, "time", clock)
    monkeypatch.setattr(reader, "LONGEST_POLL", 0.0)
    ends: Counter[bool] = Counter()
    run_state_machine_as_test(
        type("Machine", (Interleavings,), {"ends": ends}),
        settings=settings(
            max_examples=max(10, pytestconfig.getoption("--interleavings") // 20),
            stateful_step_count=8,
            suppress_health_check=list(HealthCheck),
        ),
    )
    # Each machine keeps the promise at its end; here, that runs came to an end, and did not.
    assert ends[True]
    assert ends[False]
