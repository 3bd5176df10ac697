"""Requests of all threads together keep within a limit."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

import pytest

from filetap.errors import RateLimitError, RetriableTransportError
from filetap.settings import Retries
from filetap.transports.rate import RateLimit
from filetap.transports.retry import with_retries

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """A clock that only pauses move, and the times at which requests were sent."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sent: list[float] = []

    def send(self, limit: RateLimit) -> None:
        """Send a request as soon as the limit allows it."""
        limit.wait()
        self.sent.append(self.now)

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def limited(per_minute: int) -> tuple[Clock, RateLimit]:
    """A clock, and a limit that keeps its time."""
    clock = Clock()
    return clock, RateLimit(per_minute, clock.pause, lambda: clock.now)


@pytest.mark.parametrize("per_minute", [1, 3, 900])
def test_never_more_in_a_minute(per_minute: int) -> None:
    """A burst uses up the limit at once; no 60 seconds have more requests than it allows."""
    clock, limit = limited(per_minute)
    for _ in range(3 * per_minute):
        clock.send(limit)
    assert clock.sent[:per_minute] == [0.0] * per_minute
    later = zip(clock.sent, clock.sent[per_minute:], strict=False)
    assert all(after - before >= 60 for before, after in later)
    assert clock.sent[-1] == 120.0


def test_slow_requests_do_not_wait() -> None:
    """Requests that keep within the limit by themselves never pause."""
    clock, limit = limited(2)
    for second in range(0, 300, 30):
        clock.now = float(second)
        clock.send(limit)
    assert clock.sent == [float(second) for second in range(0, 300, 30)]


def test_hold() -> None:
    """While one request was asked to wait, none is sent."""
    clock, limit = limited(900)
    clock.send(limit)
    limit.hold(5.0)
    limit.hold(2.0)
    clock.send(limit)
    assert clock.sent == [0.0, 5.0]


def test_long_waits_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A wait of more than ten seconds is one line, however many requests wait for it."""
    clock = Clock()
    limit = RateLimit(2, lambda _: None, lambda: clock.now)  # several threads wait at once
    with caplog.at_level("INFO"):
        for clock.now in (0.0, 0.0, 1.0, 2.0, 3.0, 30.0):
            limit.wait()
        assert caplog.messages == ["waiting 59 s to keep within 2 request(s) a minute"]
        clock.now = 115.0
        limit.wait()
        limit.wait()
    assert len(caplog.messages) == 2


def test_one_warning_for_many_refusals(caplog: pytest.LogCaptureFixture) -> None:
    """Of the requests that are refused at the same time, one is warned of; of errors, each."""
    clock, limit = limited(900)
    refused = [RateLimitError(f"file {number} answered 429") for number in range(8)]
    broken = RetriableTransportError("file 8 answered 500")
    for error in (*refused, broken):
        outcomes = iter([error])

        def request(outcomes: Iterator[Exception] = outcomes) -> None:
            for outcome in outcomes:
                raise outcome

        with_retries(request, Retries(5, 4.0, lambda _: None), limit.hold)
    found = [record.getMessage()[:6] for record in caplog.records if record.levelname == "WARNING"]
    assert found == ["file 0", "file 8"]
    clock.now = 60.0
    assert limit.hold(1.0)


def test_threads_share_it() -> None:
    """Threads together send no more than one would."""
    pauses: list[float] = []
    limit = RateLimit(10, pauses.append, lambda: 0.0)

    def send() -> None:
        for _ in range(5):
            limit.wait()

    threads = [Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(pauses) == [60.0] * 10 + [120.0] * 10 + [180.0] * 10


def test_more_than_any_clock_counts() -> None:
    """A limit that no program reaches, however large, is none."""
    clock, limit = limited(2**63)
    for _ in range(3):
        clock.send(limit)
    assert clock.sent == [0.0] * 3
