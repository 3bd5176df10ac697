"""The promises of every tap, kept by HookBridge's."""

from __future__ import annotations

import csv
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from filetap.testing.suite import Double, TapSuite
from filetap.times import format_time
from tap_hookbridge.emulated_jobs import Span
from tap_hookbridge.emulator import Emulator
from tap_hookbridge.tap import TapHookBridge
from tests.hookbridge.vendor import FIRST, OUT, Clock, at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


@contextmanager
def _emulated() -> Iterator[Double]:
    """An emulated HookBridge whose clock stands a day after the newest message."""
    clock = Clock(at(1))
    with Emulator(now=clock) as hookbridge:

        def deliver(_stream: str, when: datetime, content: str) -> None:
            rows = csv.DictReader(content.splitlines())
            for number, row in enumerate(rows):
                moment = format_time(when + timedelta(milliseconds=number))
                hookbridge.messages["outbound"].append({**row, "created_at": moment})
            clock.moment = max(clock.moment, when + timedelta(days=1))

        def sample() -> None:
            for number in range(20):
                for stream in hookbridge.messages:
                    hookbridge.add(stream, at(0.5, minutes=number))
            for stream in hookbridge.messages:
                hookbridge.add_export(Span(at(0), at(1)), stream, clock())

        settings = {
            **hookbridge.settings,
            "start_date": format_time(FIRST.astimezone(UTC)),
            "status_lookback_days": 0,
            "poll_seconds": 0.001,
            "settle_minutes": 0,
        }
        yield Double(settings, deliver, sample)


class TestHookBridge(TapSuite):
    """Outbound messages; those of one file of the suite are a day's."""

    tap = TapHookBridge
    stream = OUT
    key = "message_id"

    # A message has its own time, so a late one is one whose status changes: test_windows.
    test_late_file = None  # type: ignore[assignment]

    @classmethod
    def double(cls, folder: Path) -> AbstractContextManager[Double]:  # noqa: ARG003 - needs none
        """An emulator."""
        return _emulated()
