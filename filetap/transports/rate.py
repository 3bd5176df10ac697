"""A limit on requests that several threads share."""

from __future__ import annotations

import time
from collections import deque
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MINUTE = 60.0  # seconds


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
        self._last: deque[float] = deque(maxlen=per_minute)  # when requests may be sent
        self._held_until = 0.0

    def wait(self) -> None:
        """Wait until another request may be sent."""
        with self._lock:
            now = self._clock()
            moment = max(now, self._held_until)
            if len(self._last) == self._last.maxlen:
                moment = max(moment, self._last[0] + _MINUTE)
            self._last.append(moment)
        if moment > now:
            self._pause(moment - now)

    def hold(self, seconds: float) -> None:
        """Send nothing for that long: the server asked one thread to wait."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)
