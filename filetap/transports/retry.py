"""Retries after transient errors, with pauses in between."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, TypeVar

from filetap.errors import RateLimitError, RetriableTransportError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from filetap.settings import Retries

T = TypeVar("T")

LONGEST_WAIT = 900.0  # seconds; a server that asks for more is left to the next run
_LONGEST_PAUSE = 60.0  # seconds
_YEAR = 365 * 86_400  # seconds

logger = logging.getLogger(__name__)


def with_retries(
    action: Callable[[], T], retries: Retries, hold: Callable[[float], bool] = lambda _: True
) -> T:
    """Call *action*, retrying on transient errors.

    Args:
        action: Called at most ``retries.count + 1`` times.
        retries: How often to try again, and the pauses; they are at most a minute, or longer if
            the server asks for it.
        hold: Called with the seconds of each pause, so that others can wait as well; False if
            they are waiting already. Of several 429s at the same time, one is logged as a warning.

    Returns:
        The result of the call that succeeded.

    Raises:
        RetriableTransportError: The last try failed as well, which makes the error final.
        TransportError: The server asked to wait longer than a run should.
    """
    attempt = 0
    while True:
        try:
            return action()
        except RetriableTransportError as error:
            if error.is_final or attempt >= retries.count:
                error.is_final = True
                raise
            attempt += 1
            seconds = delay(error, attempt, retries)
            is_known = not hold(seconds) and isinstance(error, RateLimitError)
            level = logging.DEBUG if is_known else logging.WARNING
            log_retry(error, seconds, attempt, retries, level)
            retries.pause(seconds)


def delay(error: RetriableTransportError, attempt: int, retries: Retries) -> float:
    """The pause before a retry.

    Args:
        error: Why the last try failed.
        attempt: Number of the retry, from 1.
        retries: How many there may be, and the first pause.

    Returns:
        Seconds to wait.

    Raises:
        TransportError: The server asked to wait longer than a run should.
    """
    asked = error.retry_after or 0.0
    if asked > LONGEST_WAIT:
        span = f"{asked:.0f} seconds" if asked < _YEAR else "more than a year"
        most = f"{LONGEST_WAIT / 60:.0f}"
        msg = f"{error.message}, and asks to wait longer than {most} minutes ({span})"
        raise TransportError(msg, error.hint or "run again later: the state is kept")
    ceiling = min(_LONGEST_PAUSE, retries.first_pause * 2 ** min(attempt - 1, 30))
    seconds: float = max(asked, ceiling * random.uniform(0.5, 1))  # noqa: S311 - jitter
    return seconds


def log_retry(
    error: RetriableTransportError,
    seconds: float,
    attempt: int,
    retries: Retries,
    level: int = logging.WARNING,
) -> None:
    """Log why a request is repeated, when, and how often it has been.

    Args:
        error: Why the last try failed.
        seconds: The pause before the next one.
        attempt: Number of the retry, from 1.
        retries: How many there may be.
        level: Level of the log record.
    """
    message = "%s; trying again in %.1f s (%d of %d)"
    logger.log(level, message, error.message, seconds, attempt, retries.count)
