"""A run's summary, as a JSON object in a file."""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from filetap.errors import ExportError
from filetap.redaction import SECRECY, printable
from filetap.times import format_time, utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from filetap.progress import Progress, Tally

_SUMS = ("files", "rows", "bytes", "misfits", "diverted")

logger = logging.getLogger(__name__)


@contextmanager
def summarized(
    path: Path | None, program: str, progress: Progress, *, only_failed: bool = False
) -> Iterator[None]:
    """Write the summary of a run when it ends, whatever ends it.

    Args:
        path: The file, which is replaced as a whole; None for none.
        program: Name of the program.
        progress: Counts what is read.
        only_failed: True to write it only if the run does not succeed.
    """
    began, started = utc_now(), time.monotonic()
    status, reason = "failed", ""
    try:
        yield
        status = "succeeded"
    except ExportError as error:
        reason = str(error)
        raise
    except (SystemExit, KeyboardInterrupt):
        status = "stopped"
        raise
    except BaseException as error:
        reason = type(error).__name__
        raise
    finally:
        if path and not (only_failed and status == "succeeded"):
            found = {
                "program": program,
                "status": status,
                "error": printable(SECRECY.scrub(reason)) or None,
                "started_at": format_time(began),
                "ended_at": format_time(utc_now()),
                "seconds": round(time.monotonic() - started, 3),
                "warnings": progress.warnings,
                **summary(progress.tallies),
            }
            _replace(path, json.dumps(found, indent=1) + "\n")


def summary(tallies: Sequence[Tally]) -> dict[str, Any]:
    """What was read, in all and of each stream."""
    streams: dict[str, dict[str, Any]] = {
        tally.stream: {
            "files": tally.files_done,
            "files_to_read": tally.files,
            "rows": tally.rows,
            "bytes": tally.bytes,
            "misfits": tally.misfits,
            "diverted": tally.diverted,
            "seconds": round(tally.seconds, 3),
            "warnings": tally.warnings,
            "newest_generation": _time(tally.newest),
            "state_from": _time(tally.state_from),
            "state_to": _time(tally.state_to),
        }
        for tally in tallies
    }
    sums = {name: sum(stream[name] for stream in streams.values()) for name in _SUMS}
    newest = max((tally.newest for tally in tallies if tally.newest), default=None)
    return {**sums, "newest_generation": _time(newest), "streams": streams}


def _time(moment: datetime | None) -> str | None:
    """A time as JSON has it."""
    return None if moment is None else format_time(moment)


def _replace(path: Path, text: str) -> None:
    """Replace a file as a whole; the run's own result matters more than an error here."""
    path = path.resolve()  # a link stays, and what it links to is replaced
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        logger.warning("summary_file cannot be written (%s)", error.strerror)
        temporary.unlink(missing_ok=True)
