"""HTTP sessions with a time limit, and without retries, credentials or redirects of their own."""

from __future__ import annotations

import errno
import logging
import socket
import sys
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event, Timer
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
    late = Event()

    def end() -> None:
        late.set()
        with suppress(OSError):
            cut()

    timer = Timer(PATIENCE * timeout if isinstance(timeout, int | float) else 600, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError(errno.ETIMEDOUT, "timed out")


def bare_session() -> requests.Session:
    """A session that neither retries nor sends credentials by itself."""
    for name in ("connection", "connectionpool", "response", "util.retry"):
        logging.getLogger(f"urllib3.{name}").addFilter(SECRECY)
    session = _Session()
    session.auth = _NoAuth()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(max_retries=0, pool_maxsize=_CONNECTIONS))
    return session
