"""Work on the next items in background threads while the current one is used."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

_STEP = 1.0  # seconds

T = TypeVar("T")
R = TypeVar("R")


def prefetch(
    items: Iterable[T],
    work: Callable[[T], R],
    discard: Callable[[R], object],
    *,
    at_once: int = 1,
    is_large: Callable[[T], bool] = lambda _: False,
) -> Generator[tuple[T, R], None, None]:
    """Yield each item with its result, in order, while the following items are worked on.

    Args:
        items: Items to work on; one is taken no sooner than needed.
        work: Called in a thread of its own for each item.
        discard: Called with a result that is no longer wanted, because the generator was closed.
        at_once: Items, at most, that are worked on or wait for their turn.
        is_large: Returns True for an item of which there may be one at a time among them.

    Yields:
        Item and result. An error of *work* is raised when its item's turn comes.
    """
    waiting = iter(items)
    following = next(waiting, None)
    begun: deque[tuple[T, Future[R]]] = deque()

    def begin() -> None:
        nonlocal following
        while following is not None and len(begun) < at_once:
            if is_large(following) and any(is_large(item) for item, _ in begun):
                return
            begun.append((following, _in_background(work, following)))
            following = next(waiting, None)

    try:
        begin()
        while begun:
            item, future = begun[0]
            result = _result(future)
            begun.popleft()
            begin()
            yield item, result
    finally:
        for _, future in begun:
            future.add_done_callback(
                lambda done: None if done.exception() else discard(done.result())
            )


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the same items, taking the next one in the background while one is used."""
    following = _in_background(_next, items)
    while (one := _result(following)) is not None:
        following = _in_background(_next, items)
        yield one[0]


def _result(future: Future[R]) -> R:
    """The result of a future; raises the error that it ended with.

    It is waited for in steps, between which Python handles signals: one that arrives just before a
    wait does not end it.
    """
    while not wait((future,), _STEP).done:
        pass
    return future.result()


def _next(items: Iterator[T]) -> tuple[T] | None:
    """The next item in a tuple, so that an item may be None; None if there are no more."""
    for item in items:
        return (item,)
    return None


def _in_background(work: Callable[[T], R], item: T) -> Future[R]:
    """Start *work* in a daemon thread, which does not keep the process alive."""
    future: Future[R] = Future()

    def run() -> None:
        try:
            future.set_result(work(item))
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
