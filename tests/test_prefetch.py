"""The next item is prepared while the current one is used, but no further."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from filetap.errors import ExportError
from filetap.prefetch import ahead, prefetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, which takes other threads no more than some seconds."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("nothing happened")


def test_prefetch_order() -> None:
    """Items are yielded in order, each with its own result."""
    assert list(prefetch(range(5), str, print)) == [(n, str(n)) for n in range(5)]
    assert list(prefetch([], str, print)) == []


def test_prefetch_works_ahead() -> None:
    """While an item is used the next one is prepared, but no further."""
    started = [threading.Event() for _ in range(4)]

    def work(item: int) -> int:
        started[item].set()
        return item

    with closing(prefetch(range(4), work, print)) as results:
        assert not started[0].is_set()
        for item, _ in results:
            if item < 3:
                assert started[item + 1].wait(10)
            assert not any(event.is_set() for event in started[item + 2 :])


def test_prefetch_one_at_a_time() -> None:
    """Two items are never prepared at once."""
    busy, most = 0, 0
    lock = threading.Lock()

    def work(_: int) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        threading.Event().wait(0.002)
        with lock:
            busy -= 1

    assert len(list(prefetch(range(20), work, print))) == 20
    assert most == 1


def test_prefetch_several_at_once() -> None:
    """Several items are worked on at once, and yielded in order however long each takes."""
    together = threading.Barrier(4)

    def work(item: int) -> int:
        if item < 4:
            together.wait(10)  # each waits for the three others
        return -item

    results = prefetch(range(10), work, print, at_once=4)
    assert list(results) == [(item, -item) for item in range(10)]


def test_prefetch_one_large_at_a_time() -> None:
    """Of large items only one is prepared or waits, while small ones fill the other places."""
    started: list[int] = []

    def work(item: int) -> int:
        started.append(item)
        return item

    large = {20, 30}
    steps = prefetch([1, 20, 30, 4], work, print, at_once=3, is_large=large.__contains__)
    with closing(steps) as results:
        assert next(results) == (1, 1)
        wait_for(lambda: len(started) == 2)
        assert started == [1, 20]
        assert next(results) == (20, 20)
        wait_for(lambda: len(started) == 4)
        assert [item for item, _ in results] == [30, 4]


def test_prefetch_error() -> None:
    """An error is raised at its item's turn, not before, and the rest is not started."""
    failed, done = threading.Event(), []

    def work(item: int) -> int:
        done.append(item)
        if item == 1:
            failed.set()
            msg = "damaged"
            raise ExportError(msg)
        return item

    with closing(prefetch(range(4), work, print)) as results:
        assert next(results) == (0, 0)
        assert failed.wait(10)
        with pytest.raises(ExportError, match="damaged"):
            next(results)
    assert done == [0, 1]


def test_signal_is_not_missed() -> None:
    """A signal that interrupts no wait of the main thread is handled all the same, and soon."""
    go = threading.Event()

    def work(_: int) -> None:
        time.sleep(0.3)  # until the main thread waits
        # To this thread: the main one goes on waiting, as if it had not begun when the signal came.
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        go.wait(20)

    def stop(*_: object) -> None:
        msg = "stopped"
        raise ExportError(msg)

    before = signal.signal(signal.SIGUSR1, stop)
    started = time.monotonic()
    try:
        with pytest.raises(ExportError, match="stopped"):
            next(prefetch([1], work, print))
    finally:
        signal.signal(signal.SIGUSR1, before)
        go.set()
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("fails", [True, False])
def test_prefetch_discards(fails: bool) -> None:  # noqa: FBT001 - a table of one column
    """A result that is no longer wanted is discarded as soon as it is ready."""
    go, discarded = threading.Event(), threading.Event()
    results: list[int] = []

    def work(item: int) -> int:
        if item:
            go.wait(10)
            if fails:
                msg = "damaged"
                raise ExportError(msg)
        return item

    def discard(result: int) -> None:
        results.append(result)
        discarded.set()

    steps = prefetch(range(3), work, discard)
    assert next(steps) == (0, 0)
    steps.close()
    assert not discarded.is_set()
    go.set()
    assert discarded.wait(0.2 if fails else 10) is not fails
    assert results == [1] * (not fails)


def test_ahead() -> None:
    """All items are yielded, even None; while one is used only the next one is made."""
    made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int | None]:
        for number, event in enumerate(made):
            event.set()
            yield number or None

    steps = ahead(items())
    assert next(steps) is None
    assert made[1].wait(10)
    assert not made[2].is_set()
    assert list(steps) == [1, 2, 3]


def test_ahead_error() -> None:
    """An error comes after the items before it."""

    def items() -> Iterator[int]:
        yield 1
        msg = "damaged"
        raise ExportError(msg)

    steps = ahead(items())
    assert next(steps) == 1
    with pytest.raises(ExportError, match="damaged"):
        next(steps)
