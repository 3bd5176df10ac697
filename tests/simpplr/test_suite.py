"""The promises of every tap, kept by Simpplr's on a folder, on an SFTP server and in a bucket."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from filetap.testing.suite import Double, TapSuite, delivered
from filetap.transports import folder as folder_module
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


@contextmanager
def _bucket(folder: Path) -> Iterator[Double]:
    """A vendor that delivers to a bucket."""
    import boto3  # noqa: PLC0415 - slow
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - slow

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "emulated", "secret": "precious", "endpoint_url": f"http://{host}:{port}"}
    client = boto3.client(
        "s3",
        endpoint_url=options["endpoint_url"],
        aws_access_key_id=options["key"],
        aws_secret_access_key=options["secret"],
        region_name="us-east-1",
    )
    name = f"simpplr-{uuid4().hex}"
    client.create_bucket(Bucket=name)

    def deliver_to(stream: str, when: datetime, content: str) -> None:
        client.put_object(Bucket=name, Key=_path(stream, when), Body=content.encode())

    def sample() -> None:
        _sample(folder)
        for path in folder.rglob("*.csv"):
            key = f"exports/t1/{path.relative_to(folder)}"
            client.put_object(Bucket=name, Key=key, Body=path.read_bytes())

    try:
        yield Double({"folder": {"url": f"s3://{name}", "options": options}}, deliver_to, sample)
    finally:
        server.stop()


class _Simpplr(TapSuite):
    tap = TapSimpplr
    stream = "user_logins"
    key = "code"


class TestSimpplr(_Simpplr):
    """A tenant's folder on a disk."""

    # slow, and the next class has secrets, and a server to lose
    test_killed = test_no_secret_printed = test_no_foreign_secret_printed = None  # type: ignore[assignment]

    @classmethod
    def double(cls, folder: Path) -> AbstractContextManager[Double]:
        """A folder."""
        return _local(folder)


class TestSimpplrSFTP(_Simpplr):
    """An SFTP server."""

    test_sdk_suite = test_resumed = None  # type: ignore[assignment]  # slow, and as on a disk

    @classmethod
    def double(cls, folder: Path) -> AbstractContextManager[Double]:
        """A server of the folder."""
        return _served(folder)


class TestSimpplrBucket(_Simpplr):
    """A bucket, whose objects are all young."""

    # slow, and as above
    test_sdk_suite = test_resumed = test_killed = test_no_secret_printed = None  # type: ignore[assignment]

    @pytest.fixture(autouse=True)
    def _settled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(folder_module, "RECHECK", 0.01)

    @classmethod
    def double(cls, folder: Path) -> AbstractContextManager[Double]:
        """A bucket of its own server."""
        return _bucket(folder)
