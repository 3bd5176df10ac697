"""Folders of delivered files for tests: local, or on an SFTP server on loopback."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING, Any

from filetap.testing.sftp import SFTP
from tap_firstup_dde.delivered import STREAMS

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["OLD", "SFTP", "TYPES", "deliver", "ids", "reading"]

TYPES = {stream: kind for kind, stream in STREAMS.items()}
OLD = 1_700_000_000  # an old time of change: such a file is complete


def deliver(
    folder: Path,
    stream: str,
    generation: str,
    content: str | bytes,
    *,
    program: str = "23552",
    export: str = "incremental",
    ending: str = ".gz",
) -> Path:
    """Write a file where Firstup would, with an old time of change."""
    year, month, day, hour = generation.split("-")
    path = folder / f"{program}-{month}-{day}-{year}-{hour}-{TYPES[stream]}-{export}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if ending == ".gz" else data)
    os.utime(path, (OLD, OLD))
    return path


def reading(folder: Path | str, **more: Any) -> dict[str, Any]:
    """Settings for reading a folder."""
    return {"folder": {"url": str(folder), **more}}


def ids(done: Any, stream: str = "users") -> list[str]:
    """The ids of a run's users, in order."""
    return [record["user_id"] for record in done.records(stream)]
