"""A run that is cut off anywhere is resumed: the open job, its file, its row."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from filetap.settings import Tuning
from tests.hookbridge.vendor import OUT, at, emulated, ids, run
from tests.runs import merged

if TYPE_CHECKING:
    from tap_hookbridge.emulator import Emulator

SMALL = Tuning(slice=7, lines=3)


def _fill(hookbridge: Emulator, days: int = 3, rows: int = 20) -> list[str]:
    """Messages of some days; returns their ids."""
    return [
        str(hookbridge.add("outbound", at(day, seconds=n), message_id=f"{day}-{n}")["message_id"])
        for day in range(days)
        for n in range(rows)
    ]


def test_order_of_effects() -> None:
    """The job is in a STATE before it has ended; it is out of it when the bookmark has moved."""
    with emulated(2) as hookbridge:
        _fill(hookbridge, 2, 2)
        done = run(hookbridge, only=OUT)
        kinds = []
        for message in done.messages:
            text = str(message["type"])
            if text == "STATE":
                part = message["value"]["bookmarks"][OUT]
                job, mark = part.get("job"), part.get("replication_key_value", "")
                text += f" {job['from'][8:10] if job else '-'} {mark[8:10]}"
            kinds.append(text.strip())
        assert kinds == [
            "STATE 11",
            "SCHEMA",
            "STATE 11",  # with the types
            "RECORD",
            "RECORD",
            "STATE - 12",
            "STATE 12 12",
            "RECORD",
            "RECORD",
            "STATE - 13",
        ]


def test_cut_off_anywhere() -> None:
    """Without a lookback, what no STATE covered is emitted again, and nothing else."""
    with emulated(3) as hookbridge:
        every = _fill(hookbridge)
        whole = run(hookbridge, only=OUT, tuning=SMALL, status_lookback_days=0)
        assert ids(whole) == every
        for most in range(1, len(whole.messages), 16):
            hookbridge.exports.clear()
            cut = run(hookbridge, most=most, only=OUT, tuning=SMALL, status_lookback_days=0)
            jobs = len(hookbridge.exports)
            rest = run(hookbridge, cut.state, only=OUT, tuning=SMALL, status_lookback_days=0)
            covered, lost = map(ids, cut.at_state())
            assert covered + ids(rest) == every
            assert set(lost) <= set(ids(rest))
            # The job that was open is used again.
            assert len(hookbridge.exports) <= 3 + (jobs == 0)


def test_open_job_is_resumed_within_a_lookback() -> None:
    """Its window comes first and goes on at its row; all others are read again, each once."""
    with emulated(3) as hookbridge:
        every = _fill(hookbridge)
        first = run(hookbridge, only=OUT, tuning=SMALL)
        cut = run(hookbridge, first.state, most=40, only=OUT, tuning=SMALL)
        state = cut.state["bookmarks"][OUT]
        assert state["in_progress"]["rows"] == 7
        requested = len(hookbridge.exports)
        rest = run(hookbridge, cut.state, only=OUT, tuning=SMALL)
        day = state["job"]["from"][8:10]
        again = [name for name in every if f"{int(name[0]) + 11}" == day]
        assert ids(rest)[: len(again) - 7] == again[7:]
        assert set(ids(rest)) == set(every) - set(again[:7])
        assert max(Counter(ids(rest)).values()) == 1
        assert len(hookbridge.exports) == requested + 2


def test_finished_job_does_not_come_back() -> None:
    """A job that Meltano's merging of states brings back is not read again."""
    with emulated(3) as hookbridge:
        every = _fill(hookbridge)
        cut = run(hookbridge, most=5, only=OUT, status_lookback_days=0)
        assert "job" in cut.state["bookmarks"][OUT]
        state: dict[str, Any] = cut.state
        later = run(hookbridge, state, most=60, only=OUT, status_lookback_days=0)
        state = merged(state, later.at_state()[0].state)
        rest = run(hookbridge, state, only=OUT, status_lookback_days=0)
        assert set(ids(later.at_state()[0])) | set(ids(rest)) == set(every)
        assert max(Counter(ids(rest)).values()) == 1


def test_changed_settings_drop_the_job() -> None:
    """A job whose window is no longer due is left behind; nothing is lost."""
    with emulated(3) as hookbridge:
        every = _fill(hookbridge)
        cut = run(hookbridge, most=10, only=OUT)
        rest = run(hookbridge, cut.state, only=OUT, start_date="2026-05-12T00:00:00Z")
        assert ids(rest) == [name for name in every if name[0] != "0"]


@pytest.mark.parametrize("hours", [1, 6, 24 * 7])
def test_window_length_changes(hours: int) -> None:
    """Windows of another length neither lose nor repeat a row."""
    with emulated(3) as hookbridge:
        every = _fill(hookbridge)
        cut = run(hookbridge, most=30, only=OUT, status_lookback_days=0)
        rest = run(hookbridge, cut.state, only=OUT, status_lookback_days=0, window_hours=hours)
        assert ids(cut.at_state()[0]) + ids(rest) == every
