"""A limit on requests that several threads share."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MINUTE = 60.0  # seconds
_LONG = 10.0  # seconds; a longer wait is logged

logger = logging.getLogger(__name__)


class RateLimit:
    """Lets through so many requests in any minute; a burst may use up all of them at once.

    Args:
        per_minute: Requests in any 60 seconds, at most.
        pause: Waits that many seconds.
        clock: The time in seconds.
    """

    def __init__(
        self,
        per_minute: int,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pause = pause
        self._clock = clock
        self._lock = Lock()
        self._last: deque[float] = deque(maxlen=min(per_minute, sys.maxsize))  # when each was sent
        self._per_minute = per_minute
        self._held_until = 0.0
        self._logged_until = 0.0  # until then, the wait has been logged

    def wait(self) -> None:
        """Wait until another request may be sent."""
        with self._lock:
            now = self._clock()
            moment = max(now, self._held_until)
            if len(self._last) == self._last.maxlen and self._last[0] + _MINUTE > moment:
                moment = self._last[0] + _MINUTE
                if moment - now > _LONG and now >= self._logged_until:
                    self._logged_until = moment
                    message = "waiting %.0f s to keep within %d request(s) a minute"
                    logger.info(message, moment - now, self._per_minute)
            self._last.append(moment)
        if moment > now:
            self._pause(moment - now)

    def hold(self, seconds: float) -> bool:
        """Send nothing for that long: the server asked one thread to wait.

        Returns:
            False if requests were held already.
        """
        with self._lock:
            now = self._clock()
            is_first = now >= self._held_until
            self._held_until = max(self._held_until, now + seconds)
        return is_first
