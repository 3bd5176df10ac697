"""The promises of every tap, kept by Simpplr's on a folder, on an SFTP server and in a bucket."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from filetap.testing.suite import Double, TapSuite, delivered
from tap_simpplr.delivered import ENTITIES
from tap_simpplr.tap import TapSimpplr
from tests.simpplr.tree import deliver, path_of, users

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path


def _sample(folder: Path) -> None:
    """Deliver a file of each entity."""
    for entity in ENTITIES:
        deliver(folder, path_of(entity, 0), users({"a": "A", "b": "B"}))


class TestSimpplr(TapSuite):
    """A tenant's folder on a disk."""

    tap = TapSimpplr
    stream = "user_logins"
    key = "code"

    @classmethod
    def double(cls, folder: Path) -> AbstractContextManager[Double]:
        """A folder that user logins, which are events, are delivered into."""
        return delivered(
            folder,
            lambda _, when: f"exports/t1/{when:%Y/%m/%d}/user logins/user logins.csv",
            partial(_sample, folder / "exports" / "t1"),
        )
