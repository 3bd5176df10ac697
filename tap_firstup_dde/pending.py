"""What a list of files and a stream's state say of each other, told before files are read."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tap_firstup_dde.exportlib.exceptions import ExportError, StateError
from tap_firstup_dde.exportlib.models import format_time, parse_generation

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection, Iterable, Mapping

    from tap_firstup_dde.exportlib.extract import Spool
    from tap_firstup_dde.exportlib.models import Bookmark, ExportFile, Transport


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


def recognize(
    bookmark: Bookmark,
    files: Iterable[ExportFile],
    transport: Transport,
    spool: Spool,
    logger: logging.Logger,
) -> Bookmark:
    """The bookmark under which files whose bytes were read already count as read.

    A copy of a file has another time of change; in a bucket, where the file was uploaded in parts,
    also another ETag. Only a file of the same length is fetched, to compare its bytes.

    Args:
        bookmark: How far the stream has been read.
        files: Those that are pending.
        transport: Where they come from.
        spool: Where they are kept while they are compared.
        logger: Takes a line for each file that is recognized.
    """
    for file in files:
        read = bookmark.contents.get(file.key, "")
        if not read or not bookmark.has_changed(file):
            continue
        try:
            if transport.stored_size(file) not in {None, int(read.partition("-")[0])}:
                continue
            with closing(spool.download(transport, file)) as spooled:
                same = spooled.contents == read
        except (ExportError, ValueError):
            continue  # what is wrong with it shows when it is read
        if same:
            logger.info("%s: it was copied or moved, its content is the one that was read", file)
            bookmark = bookmark.renew(file)
    return bookmark


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
            "%s: lookback_days was %d and is %d; whether the %d files that are older than it "
            "reached were read is not known, so they are read now, perhaps again: start_date "
            "leaves them out",
            stream,
            before,
            days,
            len(forgotten),
        )
