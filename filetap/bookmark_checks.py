"""Checks of a listing against a stream's state, before files are read."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from filetap.bookmark import AHEAD
from filetap.columns.added import ACCOUNT
from filetap.errors import SettingsError, StateError
from filetap.times import format_time, parse_generation
from filetap.wording import counted

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Mapping, MutableMapping
    from datetime import datetime

    from filetap.bookmark import Bookmark
    from filetap.download.spool import Spooled
    from filetap.files import ExportFile, Transport
    from filetap.plan import Plan
    from filetap.settings import Settings
    from filetap.vendor import Vendor


def check_account(stream: str, state: Mapping[str, Any], now: str | None, word: str) -> None:
    """Refuse to go on from another account's state.

    Args:
        stream: Name of the stream.
        state: Its part of the state.
        now: The account that is read, if known.
        word: The vendor's word for an account.

    Raises:
        StateError: The state names another account.
    """
    before = state.get("program_id")
    if now and before and now != str(before):
        msg = f"{stream}: the state belongs to {word} {before}, but the files belong to {now}"
        raise StateError(msg, f"use one state per {word}, or start without a state")


def check_accounts(
    stream: str, transport: Transport, vendor: Vendor, logger: logging.Logger, *, keyed: bool
) -> bool:
    """Warn if files of several accounts are read.

    Args:
        stream: Name of the stream.
        transport: Where files were listed.
        vendor: Whose files they are.
        logger: Receives the line.
        keyed: True if the stream's key names the account.

    Returns:
        True if there are several.

    Raises:
        SettingsError: The key needs the account, which nothing says.
    """
    word, accounts = vendor.account, transport.accounts
    if keyed and not (transport.account or accounts):
        msg = (
            f"{stream}: the key names {ACCOUNT}, but neither the API nor file names say whose "
            "files they are"
        )
        raise SettingsError(msg, f"leave it out of primary_keys.{stream}")
    if len(accounts) <= 1:
        return False
    logger.warning(
        "%s: the files belong to %d %ss (%s), which %s distinguishes; ids may be the same in two "
        "%ss, so name it in primary_keys%s",
        stream,
        len(accounts),
        word,
        ", ".join(sorted(accounts)),
        ACCOUNT,
        word,
        vendor.hints.accounts,
    )
    return True


def log_listing(
    plan: Plan,
    state: MutableMapping[str, Any],
    settings: Settings,
    vendor: Vendor,
    logger: logging.Logger,
) -> None:
    """Log how many files are read, and warn about what is odd in the light of the state.

    Args:
        plan: What is read.
        state: The stream's part of the state; notes a file whose rest is lost.
        settings: The lookback.
        vendor: Whose files they are.
        logger: Receives the lines.
    """
    warn_of_future_bookmark(plan, state, logger)
    if plan.counted:
        logger.warning(
            "%s: the state is from another source; %s of generations that were read there %s as "
            "read",
            plan.stream,
            counted(plan.counted, "file"),
            "counts" if plan.counted == 1 else "count",
        )
    total = counted(len(plan.listed), "file")
    logger.info("%s: %d of %s to read", plan.stream, len(plan.files), total)
    _log_order(plan, logger)
    warn_of_future(plan.files, plan.now, logger)
    warn_of_lost_rows(plan, state, vendor, logger)
    if plan.incremental:
        warn_of_longer_lookback(plan, state, settings, logger)
    warn_of_gap(plan, state, vendor, logger)


def _log_order(plan: Plan, logger: logging.Logger) -> None:
    """Log which files are read again, or wait, for the sake of the order."""
    if plan.again:
        again = counted(len(plan.again), "later file")
        be = "is" if len(plan.again) == 1 else "are"
        logger.info("%s: %s %s read again after it", plan.files[0], again, be)
    if plan.waiting:
        logger.info(
            "%s: %s left for the next run, because an older one is still being written",
            plan.stream,
            counted(len(plan.waiting), "file"),
        )


def warn_of_gap(
    plan: Plan, state: Mapping[str, Any], vendor: Vendor, logger: logging.Logger
) -> None:
    """Warn if files may have come and gone since the newest one that was read.

    Args:
        plan: What is listed, and how far the stream was read.
        state: The stream's part of the state: when an earlier run listed files.
        vendor: How long files can be downloaded.
        logger: Receives the line.
    """
    kept, last = vendor.retention, last_listed(state)
    # Files generated since the last listing are still available.
    if kept is None or (last and plan.now.date() - last <= kept):
        return
    regular = [file.generated_at for file in plan.listed if not file.historical]
    if missing := plan.bookmark.gap(regular, kept):
        logger.warning(
            "%s: no file is listed for the hours from %s to %s; files of that time may have "
            "expired unread: %s",
            plan.stream,
            *(format_time(moment) for moment in missing),
            vendor.hints.gap,
        )


def last_listed(state: Mapping[str, Any]) -> date | None:
    """The day of the last run that listed all of a stream's files; None if not known."""
    try:
        return date.fromisoformat(state["listed_on"])
    except (KeyError, TypeError, ValueError):
        return None


def warn_of_future(files: Iterable[ExportFile], now: datetime, logger: logging.Logger) -> None:
    """Warn about files that cannot have been generated yet: they are read, and move no bookmark.

    Args:
        files: Those that are about to be read.
        now: The run's clock.
        logger: Receives the lines.
    """
    for file in files:
        if file.generated_at > now + AHEAD:
            logger.warning(
                "%s: its generation lies in the future; it is read, and the bookmark stays before "
                "it: check the file's date and this machine's clock",
                file,
            )


def warn_of_future_bookmark(plan: Plan, state: Mapping[str, Any], logger: logging.Logger) -> None:
    """Warn if the state's bookmark lies in the future, where it would leave every file out."""
    value = state.get("replication_key_value")
    if isinstance(value, str) and parse_generation(value) > plan.now + AHEAD:
        logger.warning(
            "%s: the state's bookmark, %s, lies in the future and is not used; the files that it "
            "lists as finished stay finished",
            plan.stream,
            value,
        )


def warn_of_lost_rows(
    plan: Plan, state: MutableMapping[str, Any], vendor: Vendor, logger: logging.Logger
) -> None:
    """Warn once if the rest of the partially read file is not read: it is left out, or gone.

    Args:
        plan: What is listed, and how far the stream was read.
        state: The stream's part of the state; notes the file, so that the next run is silent.
        vendor: What to try.
        logger: Receives the line.
    """
    key, rows = plan.bookmark.in_progress
    if not key or key in {file.key for file in plan.files}:
        return
    if key in {file.key for file in plan.listed}:
        why = "is left out by lookback_days or start_date; its other rows are not read"
    else:
        why = f"has disappeared from the list; its other rows are lost{vendor.hints.lost}"
    if key != state.get("lost"):
        were = "was" if rows == 1 else "were"
        logger.warning(
            "%s: file %s, of which %s %s read, %s",
            plan.stream,
            key,
            counted(rows, "row"),
            were,
            why,
        )
    state["lost"] = key


def warn_of_longer_lookback(
    plan: Plan, state: Mapping[str, Any], settings: Settings, logger: logging.Logger
) -> None:
    """Warn if files may have been read before: a shorter lookback_days dropped their keys.

    Args:
        plan: What is read.
        state: The stream's part of the state.
        settings: The lookback now.
        logger: Receives the line.
    """
    days = settings.lookback_days
    before, newest = state.get("lookback_days"), state.get("replication_key_value")
    if not isinstance(before, int) or not 0 <= before < days or newest is None:
        return
    reached = parse_generation(newest)
    forgotten = [f for f in plan.files if reached - f.generated_at > timedelta(before)]
    if forgotten:
        logger.warning(
            "%s: lookback_days was %d and is %d; it is not known whether the %s older than that %s "
            "read, so %s read now, perhaps again: start_date leaves %s out",
            plan.stream,
            before,
            days,
            counted(len(forgotten), "file"),
            *(("was", "it is", "it") if len(forgotten) == 1 else ("were", "they are", "them")),
        )


def is_unchanged_copy(bookmark: Bookmark, spooled: Spooled, logger: logging.Logger) -> bool:
    """True if a file was moved or touched, but still has the content that was read.

    Args:
        bookmark: How far the stream has been read.
        spooled: The file.
        logger: Receives a line about a file that has changed.
    """
    file = spooled.file
    if not bookmark.has_changed(file):
        return False
    same = bookmark.has_same_content(file, spooled.content)
    if same:
        logger.info("%s: the file was copied or moved; its content is read already", file)
    elif not bookmark.rows_read(file, spooled.content):
        logger.warning(
            "%s: the file was replaced since it was last read; reading it again from the start",
            file,
        )
    return same


def rows_read(bookmark: Bookmark, spooled: Spooled, logger: logging.Logger) -> int:
    """Rows of a file that an earlier run emitted before it stopped.

    Args:
        bookmark: How far the stream has been read.
        spooled: The file.
        logger: Receives a line about a file that was replaced since.
    """
    file = spooled.file
    rows = bookmark.rows_read(file, spooled.content)
    if rows and bookmark.is_replaced(file, spooled.content):
        logger.warning(
            "%s: the file was replaced since it was partly read; reading it again from the start",
            file,
        )
        return 0
    return rows
