"""The promises of every tap, kept by Userpilot's."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from filetap.testing.suite import Double, TapSuite
from tap_userpilot.documented import EVENTS
from tap_userpilot.sample_data import Event, lookups
from tap_userpilot.tap import TapUserpilot
from tests.userpilot.vendor import emulated, sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path


@contextmanager
def _emulated() -> Iterator[Double]:
    """An emulated Userpilot whose clock stands a day after the newest event."""
    with emulated(0) as userpilot:
        userpilot.lookups = {name: [] for name in userpilot.lookups}
        userpilot.jobs.form.ids = "own"

        def deliver(_stream: str, when: datetime, content: str) -> None:
            for number, row in enumerate(csv.DictReader(content.splitlines())):
                moment = when + timedelta(milliseconds=number)
                userpilot.jobs.events.append(Event(moment, {"event_type": "track", **row}))
            latest = max(event.at for event in userpilot.jobs.events)
            userpilot.now.moment = latest + timedelta(days=1)  # type: ignore[attr-defined]

        def sample_all() -> None:
            userpilot.jobs.form.ids = "text"
            userpilot.jobs.events = sample(range(3))
            userpilot.now.move(days=4)  # type: ignore[attr-defined]
            userpilot.lookups = {**lookups(), "spotlights": [{"id": 1, "title": "One"}]}
            days = {"from": "2026-04-27", "to": "2026-04-30"}
            userpilot.jobs.start(days, userpilot.now(), foreign=True)

        settings = {
            **userpilot.settings,
            "start_date": "2026-04-27T00:00:00Z",
            "lookback_days": 0,
            "settle_hours": 0,
            "poll_seconds": 0.001,
        }
        yield Double(settings, deliver, sample_all)


class TestUserpilot(TapSuite):
    """Events; those of one file of the suite are a week's."""

    tap = TapUserpilot
    stream = EVENTS
    key = "internal_event_id"
    step = timedelta(days=7)

    # Events have their own time, and late ones are requested again: test_events.
    test_late_file = None  # type: ignore[assignment]
    # Slow, and as HookBridge's; runs are cut off in test_events, too.
    test_killed = test_resumed = None  # type: ignore[assignment]

    @classmethod
    def double(cls, folder: Path) -> AbstractContextManager[Double]:  # noqa: ARG003 - needs none
        """An emulator."""
        return _emulated()
