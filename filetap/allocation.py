"""How this process's memory is kept."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_freed_memory() -> None:
    """Have glibc keep the memory of large blocks when they are freed, 64 MiB at most.

    Otherwise each block of a file gets its memory anew from the system, page by page, which
    takes a sixth of the time. Other C libraries have no such switch.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_M_TRIM_THRESHOLD, 64 << 20)
