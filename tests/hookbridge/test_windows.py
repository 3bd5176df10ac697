"""Which windows a run requests, and which of their rows it emits."""

from __future__ import annotations

from tests.hookbridge.vendor import OUT, asked, at, emulated, ids, run


def test_windows() -> None:
    """Days are requested one second wider, in order, the last one up to the settle time."""
    with emulated(2.5) as hookbridge:
        for day in (0, 0.5, 1, 2, 2.4):
            hookbridge.add("outbound", at(day), message_id=f"m{day}")
        done = run(hookbridge, status_lookback_days=0)
        assert ids(done) == ["m0", "m0.5", "m1", "m2", "m2.4"]
        assert [job for job in asked(hookbridge) if job[0] == "outbound"] == [
            ("outbound", "10 23:59:59", "12 00:00:01"),
            ("outbound", "11 23:59:59", "13 00:00:01"),
            ("outbound", "12 23:59:59", "13 12:00:01"),
        ]
        state = done.state["bookmarks"][OUT]
        assert state["replication_key_value"] == "2026-05-13T12:00:00Z"
        assert "job" not in state
        hookbridge.forget()
        again = run(hookbridge, done.state, status_lookback_days=0)
        assert ids(again) == []
        assert hookbridge.count("create") == 0
