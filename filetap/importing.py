"""Fast imports: most of a short run's time is spent importing."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def fast_imports() -> Iterator[None]:
    """Pause the garbage collector, which would look in vain through all that is imported.

    Numpy's OpenBLAS, which nothing here calls, gets no threads unless ``OPENBLAS_NUM_THREADS`` is
    set: they would wait busily. Both together take a quarter of the time of a short run.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_enabled:
            gc.enable()
