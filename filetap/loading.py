"""Importing what a program needs, in little time."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def loading() -> Iterator[None]:
    """Import without looking for garbage, of which there is none; a quarter of the time.

    Numpy's OpenBLAS, which nothing here calls, gets no threads: they would wait busily.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()
