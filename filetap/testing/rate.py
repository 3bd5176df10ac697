"""A limit on how many requests an emulated API accepts in a given time."""

from __future__ import annotations

import time
from collections import deque


class Rate:
    """When the latest requests were admitted."""

    def __init__(self) -> None:
        self._admitted: deque[float] = deque()  # seconds, oldest first

    def admits(self, limit: int | None, window: float) -> bool:
        """Admit and count a request, unless *limit* others were admitted in *window* seconds."""
        now = time.monotonic()
        while self._admitted and self._admitted[0] <= now - window:
            self._admitted.popleft()
        if limit is not None and len(self._admitted) >= limit:
            return False
        self._admitted.append(now)
        return True
