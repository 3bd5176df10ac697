"""The promises of every tap, kept by Firstup's and by a tap of a few lines."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.testing.templates import TapTestTemplate

from filetap.testing.suite import Double, TapSuite, delivered
from tap_firstup_dde.emulator import Emulator
from tap_firstup_dde.tap import TapFirstupDDE
from tests import toys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime


def _sample(emulator: Emulator) -> None:
    """Add two generations of sample data."""
    for _ in range(2):
        emulator.add_generation(rows=300)


def _handed_out(emulator: Emulator) -> list[str]:
    """Tokens, and the parts that identify presigned URLs."""
    sent = (request.headers.get("authorization", "") for request in emulator.requests)
    return [*{header.removeprefix("Bearer ") for header in sent if header}, "X-Amz-", "Signature"]


@contextmanager
def _emulated() -> Iterator[Double]:
    """An emulated Firstup."""
    with Emulator() as emulator:

        def add(stream: str, generated_at: datetime, content: str) -> None:
            emulator.add(stream, f"{generated_at:%Y-%m-%d-%H}", content)

        sample, handed_out = partial(_sample, emulator), partial(_handed_out, emulator)
        yield Double(emulator.settings, add, sample, handed_out)


class TestFirstup(TapSuite):
    """Firstup's API."""

    tap = TapFirstupDDE
    stream = "users"
    key = "user_id"

    @classmethod
    def double(cls, folder: Path) -> AbstractContextManager[Double]:
        """An emulated Firstup."""
        del folder
        return _emulated()


class TestFirstupFolder(TestFirstup):
    """Files that Firstup delivers."""

    @classmethod
    def double(cls, folder: Path) -> AbstractContextManager[Double]:
        """A folder that Firstup delivers users into."""
        return delivered(
            folder,
            lambda _, when: f"23552-{when:%m-%d-%Y-%H}-user-incremental.gz",
            partial(_sample, Emulator(deliver=folder)),
        )


class TestToys(TapSuite):
    """The smallest tap."""

    tap = toys.TapToys
    stream = "toys"
    key = "id"

    @classmethod
    def double(cls, folder: Path) -> AbstractContextManager[Double]:
        """A folder that toys are delivered into."""
        return delivered(folder, lambda _, when: f"{when:%Y-%m-%d}/toys.csv")


class _Failing(TapTestTemplate):
    """A test of the SDK's kind that fails."""

    name = "failing"

    def test(self) -> None:
        """Find a wrong record."""
        wrong = ["record 7"]
        assert not wrong, "a record is wrong"


def test_failures_of_the_sdk() -> None:
    """What a test of the SDK's standard suite finds wrong fails the promise."""
    tap = SimpleNamespace(streams={"toys": object()})
    runner: Any = SimpleNamespace(suite_config=None, new_tap=lambda: tap)
    with pytest.raises(AssertionError, match="a record is wrong"):
        TestToys().test_sdk_suite(_Failing, runner)


def test_vendor_is_little_work() -> None:
    """A vendor that delivers files is a tap in less than 40 lines."""
    assert len(Path(toys.__file__).read_text().splitlines()) < 40


def test_pytest_is_not_needed() -> None:
    """Taps, programs and emulators run without pytest; only the suite says that it needs it."""
    code = (
        "import sys; sys.modules['pytest'] = None;"
        "import tap_firstup_dde.tap, tap_firstup_dde.cli, tap_firstup_dde.emulator;"
        "import filetap.testing.suite"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "in <module>\n    import pytest\n" in done.stderr
    assert "suite.py" in done.stderr
