"""Memory allocation of the process."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of malloc.h


def keep_freed_memory() -> None:
    """Let glibc retain the memory of freed large blocks, 64 MiB at most.

    Otherwise each block of a file gets its memory from the system again, page by page, which takes
    a sixth of the time. Threads share two pools of memory: each would keep much in its own.
    Other C libraries have no such options.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_M_TRIM_THRESHOLD, 64 << 20)
        library.mallopt(_M_ARENA_MAX, 2)
