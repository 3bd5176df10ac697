"""Several files are downloaded at once; what is emitted does not show it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from filetap.errors import ExportError
from filetap.transports.rate import RateLimit
from tests.folders import deliver, reading
from tests.runs import run, settings, tune

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator
    from tests.runs import Run

HOURS = [f"2026-05-{day:02}-{hour:02}" for day in range(10, 14) for hour in range(0, 24, 4)]


def fill(emulator: Emulator, size: int = 3) -> None:
    """A file of *size* rows in each of some hours."""
    for number, hour in enumerate(HOURS):
        rows = "".join(f"{number * size + n},5\n" for n in range(size))
        emulator.add("users", hour, f"user_id,tenure\n{rows}")


def messages(done: Run) -> list[dict[str, Any]]:
    """What a run wrote, without the times of extraction."""
    return [{k: v for k, v in m.items() if k != "time_extracted"} for m in done.messages]


@pytest.mark.parametrize("kept", [256 << 20, 0])
@pytest.mark.parametrize("concurrency", [2, 8, 32])
def test_same_messages(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, concurrency: int, kept: int
) -> None:
    """Records and STATE keep their order and content, however many files are downloaded at once."""
    fill(emulator)
    tune(monkeypatch, kept=kept)
    one = messages(run(settings(emulator, concurrency=1)))
    assert messages(run(settings(emulator, concurrency=concurrency))) == one


def test_each_file_once(emulator: Emulator) -> None:
    """Each file's URL is requested once, and its bytes once."""
    fill(emulator)
    run(settings(emulator))
    assert emulator.count("show") == emulator.count("download") == len(HOURS)


def test_at_once(emulator: Emulator) -> None:
    """With answers that take long, files arrive side by side."""
    fill(emulator)
    emulator.latency = 0.05
    took = {}
    for concurrency in (1, 12):
        before = time.monotonic()
        run(settings(emulator, concurrency=concurrency))
        took[concurrency] = time.monotonic() - before
    # Two answers a file: 2.4 s of waiting, and a twelfth of it.
    assert took[1] - took[12] > 1


@pytest.mark.parametrize("bad", [0, 1, 5, len(HOURS) - 1])
def test_first_error_by_order(emulator: Emulator, bad: int) -> None:
    """The error that ends a run is that of the oldest file with one; all before it are read."""
    fill(emulator)
    for number in (bad, *range(bad + 2, len(HOURS))):
        emulator.files[number].body = emulator.files[number].body[:-1]
    with pytest.raises(ExportError, match=f"users {HOURS[bad]}") as caught:
        run(settings(emulator))
    done: Run = caught.value.run  # type: ignore[attr-defined]
    assert [record["user_id"] for record in done.records("users")] == [
        str(number) for number in range(3 * bad)
    ]


def test_limit_of_requests(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """More requests than the API allows in a minute wait."""
    fill(emulator)
    waits: list[float] = []

    def limit(per_minute: int, pause: object) -> RateLimit:
        assert pause
        return RateLimit(per_minute, waits.append)

    monkeypatch.setattr("tap_firstup_dde.api.RateLimit", limit)
    run(settings(emulator, requests_per_minute=10))
    # Three lists and a URL for each file, ten of them a minute.
    assert emulator.count("list") + emulator.count("show") == 3 + len(HOURS)
    assert len([seconds for seconds in waits if 50 < seconds <= 60]) == 10
    assert len(waits) == 3 + len(HOURS) - 10


def test_states_grow_with_the_files(tmp_path: Path) -> None:
    """All STATE of a run of many small files together grows with their number, not its square."""
    sizes = {}
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for count in (100, 300):
        folder = tmp_path / str(count)
        for number in range(count):
            hour = f"{start + timedelta(hours=number):%Y-%m-%d-%H}"
            deliver(folder, "users", hour, f"user_id\n{number}\n", ending="")
        done = run(reading(folder))
        assert len(done.records("users")) == count
        sizes[count] = sum(len(json.dumps(message)) for message in done.of("STATE"))
    assert sizes[300] < 4 * sizes[100]
