"""The promises of every tap, kept by Simpplr's on a folder, on an SFTP server and in a bucket."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from filetap.testing.suite import Double, TapSuite, delivered
from tap_simpplr.delivered import ENTITIES
from tap_simpplr.tap import TapSimpplr
from tests.folders import SFTP
from tests.simpplr.tree import deliver, path_of, users

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path


def _sample(folder: Path) -> None:
    """Deliver a file of each entity."""
    for entity in ENTITIES:
        deliver(folder, path_of(entity, 0), users({"a": "A", "b": "B"}))


def _path(_stream: str, when: datetime) -> str:
    """Where user logins, which are events, are delivered."""
    return f"exports/t1/{when:%Y/%m/%d}/user logins/user logins.csv"


@contextmanager
def _served(folder: Path) -> Iterator[Double]:
    """A vendor that delivers to an SFTP server."""
    with _local(folder) as double, SFTP(folder) as server:
        yield replace(double, settings=server.settings(fingerprint=server.fingerprint))


def _local(folder: Path) -> AbstractContextManager[Double]:
    """A vendor that delivers to a folder."""
    return delivered(folder, _path, partial(_sample, folder / "exports" / "t1"))


class TestSimpplr(TapSuite):
    """A tenant's folder on a disk."""

    tap = TapSimpplr
    stream = "user_logins"
    key = "code"

    @classmethod
    def double(cls, folder: Path) -> AbstractContextManager[Double]:
        """A folder."""
        return _local(folder)


class TestSimpplrSFTP(TestSimpplr):
    """An SFTP server."""

    @classmethod
    def double(cls, folder: Path) -> AbstractContextManager[Double]:
        """A server of the folder."""
        return _served(folder)
