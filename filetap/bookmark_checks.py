"""What a list of files and a stream's state say of each other, logged before files are read."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from filetap.bookmark import AHEAD
from filetap.errors import StateError
from filetap.files import format_time, parse_generation
from filetap.wording import counted

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from filetap.bookmark import Bookmark
    from filetap.files import ExportFile

# Firstup's knowledge base, "Direct Data Export": how long files can be downloaded.
RETENTION = timedelta(days=7)


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
    bookmark: Bookmark,
    files: Collection[ExportFile],
    last_look: date | None,
    today: date,
    logger: logging.Logger,
) -> None:
    """Warn if files may have come and gone since the newest one that was read.

    Args:
        bookmark: How far the stream was read.
        files: Those that are available now.
        last_look: When an earlier run listed them; None if the state does not say.
        today: The date now.
        logger: Takes the line.
    """
    # Whatever was generated since then is still available.
    if last_look and today - last_look <= RETENTION:
        return
    regular = [file.generated_at for file in files if not file.historical]
    if missing := bookmark.gap(regular):
        logger.warning(
            "%s: no file is listed of the hours from %s to %s; files of that time may have "
            "expired unread: a historical export in Creator Studio, which reaches 24 months "
            "back, fills such a gap, and a run every few hours leaves none",
            next(iter(files)).stream,
            *(format_time(moment) for moment in missing),
        )


def last_look(state: Mapping[str, Any]) -> date | None:
    """The day of the last run that listed a stream's files; None if its state does not say."""
    try:
        return date.fromisoformat(state["listed_on"])
    except (KeyError, TypeError, ValueError):
        return None


def warn_of_future(files: Iterable[ExportFile], now: datetime, logger: logging.Logger) -> None:
    """Warn of files that cannot have been generated yet: they are read, and move no bookmark.

    Args:
        files: Those that are about to be read.
        now: The run's clock.
        logger: Takes the lines.
    """
    for file in files:
        if file.generated_at > now + AHEAD:
            logger.warning(
                "%s: its generation lies in the future; it is read, and the bookmark stays before "
                "it: check the file's date and this machine's clock",
                file,
            )


def warn_of_future_bookmark(
    stream: str, state: Mapping[str, Any], now: datetime, logger: logging.Logger
) -> None:
    """Warn if the state's bookmark lies in the future, where it would leave every file out."""
    value = state.get("replication_key_value")
    if isinstance(value, str) and parse_generation(value) > now + AHEAD:
        logger.warning(
            "%s: the state's bookmark, %s, lies in the future and is not used; the files that it "
            "lists as finished stay finished",
            stream,
            value,
        )


def warn_of_lost_rows(
    bookmark: Bookmark,
    files: Collection[ExportFile],
    warned: str | None,
    stream: str,
    logger: logging.Logger,
) -> str:
    """Warn if a file that an earlier run was cut off in is no longer listed.

    Args:
        bookmark: How far the stream was read, settled by *files*.
        files: Those that are available now.
        warned: Key of the file that a warning was about before.
        stream: Name of the stream.
        logger: Takes the line.

    Returns:
        The file's key, so that the next run does not warn again; else empty.
    """
    key, rows = bookmark.in_progress
    if not key or key in {file.key for file in files}:
        return ""
    if key != warned:
        logger.warning(
            "%s: file %s, of which %s %s read, is no longer listed; its other rows "
            "are lost unless a historical export brings them",
            stream,
            key,
            counted(rows, "row"),
            "was" if rows == 1 else "were",
        )
    return key


def warn_of_longer_lookback(
    stream: str,
    state: Mapping[str, Any],
    pending: Collection[ExportFile],
    days: int,
    logger: logging.Logger,
) -> None:
    """Warn if pending files may have been read before: a shorter lookback dropped their keys.

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
