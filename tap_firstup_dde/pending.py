"""What a list of files and a stream's state say of each other, told before files are read."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tap_firstup_dde.exportlib.exceptions import StateError
from tap_firstup_dde.exportlib.models import format_time, parse_generation
from tap_firstup_dde.exportlib.wording import counted

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection, Mapping

    from tap_firstup_dde.exportlib.models import Bookmark, ExportFile


def check_program(stream: str, state: Mapping[str, Any], now: str | None) -> None:
    """Refuse to go on from another program's state.

    Args:
        stream: Name of the stream.
        state: Its part of the state.
        now: The program that is read, where that is known.

    Raises:
        StateError: The state names another program.
    """
    before = state.get("program_id")
    if now and before and now != str(before):
        msg = f"{stream}: the state is of program {before}, what is read now of {now}"
        raise StateError(msg, "use one state per program, or start without a state")


def warn_of_gap(
    stream: str, bookmark: Bookmark, files: Collection[ExportFile], logger: logging.Logger
) -> None:
    """Say so when files may have come and gone since the newest one that was read."""
    regular = [file.generated_at for file in files if not file.historical]
    if missing := bookmark.gap(regular):
        logger.warning(
            "%s: no file is listed of the hours from %s to %s; files of that time may have "
            "expired unread: a historical export in Creator Studio, which reaches 24 months "
            "back, fills such a gap, and a run every few hours leaves none",
            stream,
            *(format_time(moment) for moment in missing),
        )


def warn_of_longer_lookback(
    stream: str,
    state: Mapping[str, Any],
    pending: Collection[ExportFile],
    days: int,
    logger: logging.Logger,
) -> None:
    """Say so when files are pending whose keys a shorter lookback has let go.

    Args:
        stream: Name of the stream.
        state: Its part of the state.
        pending: Files to read.
        days: The lookback now.
        logger: Takes the line.
    """
    before, newest = state.get("lookback_days"), state.get("replication_key_value")
    if not isinstance(before, int) or not 0 <= before < days or newest is None:
        return
    reached = parse_generation(newest)
    forgotten = [f for f in pending if reached - f.generated_at > timedelta(before)]
    if forgotten:
        logger.warning(
            "%s: lookback_days was %d and is %d; whether the %s older than it reached %s read "
            "is not known, so %s read now, perhaps again: start_date leaves %s out",
            stream,
            before,
            days,
            counted(len(forgotten), "file"),
            *(("was", "it is", "it") if len(forgotten) == 1 else ("were", "they are", "them")),
        )
