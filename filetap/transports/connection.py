"""HTTP sessions with a time limit, and without retries, credentials or redirects of their own."""

from __future__ import annotations

import errno
import heapq
import logging
import socket
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection

from filetap.redaction import SECRECY

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# How many times the timeout of one socket operation a response's headers, or body, may take.
PATIENCE = 5
_CONNECTIONS = 32  # that are kept open for later requests


class _NoAuth(AuthBase):
    """Sends no credentials, not even those of a ``.netrc`` file."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


class _Connection(HTTPConnection):
    """Limits the time until a response's headers are complete, however slowly they arrive."""

    @override
    def getresponse(self) -> Any:
        with in_time(self.timeout, partial(_cut, self.sock)):
            return super().getresponse()


class _SecureConnection(HTTPSConnection):
    """The same with TLS."""

    @override
    def getresponse(self) -> Any:
        with in_time(self.timeout, partial(_cut, self.sock)):
            return super().getresponse()


_TIMED: dict[Any, Any] = {HTTPConnection: _Connection, HTTPSConnection: _SecureConnection}


class _Adapter(HTTPAdapter):
    """Connects with the classes above, through a proxy too."""

    @override
    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = _TIMED.get(pool.ConnectionCls, pool.ConnectionCls)
        return pool


class _Session(requests.Session):
    """Leaves redirects to the caller: requests would first read the whole body of each."""

    @override
    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _cut(connected: socket.socket) -> None:
    """Close a connection that another thread is reading from, below any TLS."""
    socket.socket.shutdown(connected, socket.SHUT_RDWR)


@contextmanager
def in_time(timeout: object, cut: Callable[[], object]) -> Iterator[None]:
    """Call *cut* if the block takes longer than `PATIENCE` times *timeout* seconds.

    Raises:
        TimeoutError: The block took longer.
    """
    seconds = PATIENCE * timeout if isinstance(timeout, int | float) else 600.0
    alarm = _ALARMS.set(seconds, cut)
    try:
        yield
    except Exception:
        if not alarm.rung:
            raise
    finally:
        alarm.cancelled = True
    if alarm.rung:
        raise TimeoutError(errno.ETIMEDOUT, "timed out")


@dataclass(order=True)
class _Alarm:
    """Something to do at a time, unless it is cancelled before."""

    moment: float
    ring: Callable[[], object] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)
    rung: bool = field(default=False, compare=False)


class _Alarms:
    """Alarms of all threads, rung by one: a thread for each would cost more than its request."""

    def __init__(self) -> None:
        self._set: list[_Alarm] = []  # a heap
        self._changed = Condition()
        self._thread: Thread | None = None

    def set(self, seconds: float, ring: Callable[[], object]) -> _Alarm:
        """Have *ring* called in so many seconds."""
        alarm = _Alarm(time.monotonic() + seconds, ring)
        with self._changed:
            while self._set and self._set[0].cancelled:
                heapq.heappop(self._set)
            heapq.heappush(self._set, alarm)
            # After a fork, a thread of the parent is not alive.
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._run, daemon=True)
                self._thread.start()
            elif self._set[0] is alarm:
                self._changed.notify()
        return alarm

    def _run(self) -> None:
        """Ring each alarm at its time."""
        while True:
            with self._changed:
                now = time.monotonic()
                if not self._set or self._set[0].moment > now:
                    self._changed.wait(self._set[0].moment - now if self._set else None)
                    continue
                alarm = heapq.heappop(self._set)
            if not alarm.cancelled:
                alarm.rung = True
                with suppress(OSError):
                    alarm.ring()


_ALARMS = _Alarms()


def bare_session() -> requests.Session:
    """A session that neither retries nor sends credentials by itself."""
    for name in ("connection", "connectionpool", "response", "util.retry"):
        logging.getLogger(f"urllib3.{name}").addFilter(SECRECY)
    session = _Session()
    session.auth = _NoAuth()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(max_retries=0, pool_maxsize=_CONNECTIONS))
    return session
