"""Fixtures of HookBridge's tests."""

from __future__ import annotations

import pytest

from filetap.jobs import reader


@pytest.fixture(autouse=True)
def _polls_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll at least a hundred times a second."""
    monkeypatch.setattr(reader, "LONGEST_POLL", 0.01)
