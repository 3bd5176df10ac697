"""An emulated HookBridge for tests, and runs of the tap on it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from filetap.settings import Tuning
from filetap.testing.runs import Collector, Run, run_tap
from tap_hookbridge.emulator import Emulator
from tap_hookbridge.tap import TapHookBridge

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST = datetime(2026, 5, 11, tzinfo=UTC)
OUT, IN = "outbound_messages", "inbound_messages"
TUNING = Tuning(first_pause=0.001)


class Clock:
    """A clock that a test moves, and that moves on by *step* seconds whenever it is read."""

    def __init__(self, moment: datetime, step: float = 0.0) -> None:
        self.moment = moment
        self.step = step

    def __call__(self) -> datetime:
        """The time."""
        self.moment += timedelta(seconds=self.step)
        return self.moment

    def move(self, **span: float) -> None:
        """Move on by a span, as `timedelta` takes it."""
        self.moment += timedelta(**span)


def at(days: float = 0, **span: float) -> datetime:
    """A time after the first."""
    return FIRST + timedelta(days, **span)


def emulated(days: float = 3, step: float = 0.0, **options: Any) -> Emulator:
    """A HookBridge whose clock stands so long after the first moment, or moves when it is read."""
    return Emulator(now=Clock(at(days, minutes=5), step), **options)


def settings(hookbridge: Emulator, **more: Any) -> dict[str, Any]:
    """Settings of the tap that reads from the first moment on, and polls without waiting."""
    usual = {"start_date": "2026-05-11T00:00:00Z", "poll_seconds": 0.001, "max_retries": 2}
    return {**hookbridge.settings, **usual, **more}


def run(
    hookbridge: Emulator,
    state: Mapping[str, Any] | None = None,
    most: int | None = None,
    *,
    tuning: Tuning = TUNING,
    only: str = "",
    **more: Any,
) -> Run:
    """Run the tap until it has written *most* messages, perhaps of *only* one stream."""

    class Tap(TapHookBridge):
        """With other sizes."""

    Tap.tuning = replace(tuning, first_pause=0.001)
    config = settings(hookbridge, **more)
    catalog = {"streams": [{"tap_stream_id": only, "stream": only}]} if only else None
    return run_tap(Tap, config, state, catalog, collector=Collector(most))


def ids(done: Run, stream: str = OUT) -> list[str]:
    """The keys of a run's records, in order."""
    return [record["message_id"] for record in done.records(stream)]


def asked(hookbridge: Emulator) -> list[tuple[str, str, str]]:
    """The jobs that were requested: direction, and the days from which and to which."""
    return [
        (job.direction, f"{job.span.start:%d %H:%M:%S}", f"{job.span.end:%d %H:%M:%S}")
        for job in hookbridge.exports
    ]
