"""Imports are fast, and leave the process as it was."""

from __future__ import annotations

import gc
import os
from contextlib import nullcontext

import pytest

from filetap.importing import fast_imports


@pytest.mark.parametrize("is_enabled", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_collector_is_paused(*, is_enabled: bool, fails: bool) -> None:
    """The collector pauses, and is then as it was, also after an error."""
    (gc.enable if is_enabled else gc.disable)()
    try:
        with pytest.raises(ImportError) if fails else nullcontext(), fast_imports():
            assert not gc.isenabled()
            if fails:
                raise ImportError
        assert gc.isenabled() == is_enabled
    finally:
        gc.enable()


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("3", "3")])
def test_threads_of_openblas(
    monkeypatch: pytest.MonkeyPatch, before: str | None, after: str
) -> None:
    """OpenBLAS gets no threads of its own unless OPENBLAS_NUM_THREADS is set."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", before or "")
    if before is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    with fast_imports():
        assert os.environ["OPENBLAS_NUM_THREADS"] == after
