"""Work on the next item in a background thread while the current one is used."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")


def one_ahead(
    items: Sequence[T], work: Callable[[T], R], discard: Callable[[R], object]
) -> Generator[tuple[T, R], None, None]:
    """Yield each item with its result, in order, while the next item is worked on.

    Args:
        items: Items to work on.
        work: Called in a thread of its own, for one item at a time.
        discard: Called with a result that is no longer wanted, because the generator was closed.

    Yields:
        Item and result. An error of *work* is raised when its item's turn comes.
    """
    following: Future[R] | None = None
    try:
        for index, item in enumerate(items):
            current, following = following or _in_background(work, item), None
            result = current.result()
            if index + 1 < len(items):
                following = _in_background(work, items[index + 1])
            yield item, result
    finally:
        if following:
            following.add_done_callback(
                lambda done: None if done.exception() else discard(done.result())
            )


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the same items, taking the next one in the background while one is used."""
    following = _in_background(_next, items)
    while (one := following.result()) is not None:
        following = _in_background(_next, items)
        yield one[0]


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
