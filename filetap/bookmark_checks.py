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
    from collections.abc import Collection, Iterable, Mapping, MutableMapping
    from datetime import datetime

    from filetap.bookmark import Bookmark
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
        msg = f"{stream}: the state belongs to {word} {before}, what is read now to {now}"
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
        msg = f"{stream}: the key names {ACCOUNT}, and nothing says whose files they are"
        raise SettingsError(msg, f"leave it out of primary_keys.{stream}")
    if len(accounts) <= 1:
        return False
    logger.warning(
        "%s: the files belong to %d %ss (%s), which %s tells apart; ids may be the same in two "
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


def log_listing(  # noqa: PLR0913 - everything that a listing is checked against
    stream: str,
    plan: Plan,
    state: MutableMapping[str, Any],
    settings: Settings,
    vendor: Vendor,
    now: datetime,
    logger: logging.Logger,
    *,
    incremental: bool,
) -> None:
    """Log how many files are read, and warn about what is odd in the light of the state.

    Args:
        stream: Name of the stream.
        plan: What is read.
        state: The stream's part of the state; notes a file whose rest is lost.
        settings: The lookback.
        vendor: Whose files they are.
        now: The run's clock.
        logger: Receives the lines.
        incremental: False if everything is read again.
    """
    warn_of_future_bookmark(stream, state, now, logger)
    if plan.counted:
        logger.warning(
            "%s: the state is from another source; %s of generations that were read there %s as "
            "read",
            stream,
            counted(plan.counted, "file"),
            "counts" if plan.counted == 1 else "count",
        )
    logger.info("%s: %d of %s to read", stream, len(plan.files), counted(len(plan.listed), "file"))
    warn_of_future(plan.files, now, logger)
    if lost := warn_of_lost_rows(plan.bookmark, plan.listed, state.get("lost"), stream, logger):
        state["lost"] = lost
    if incremental:
        warn_of_longer_lookback(stream, state, plan.files, settings.lookback_days, logger)
    warn_of_gap(plan, vendor, last_listed(state), now.date(), logger)


def warn_of_gap(
    plan: Plan, vendor: Vendor, last: date | None, today: date, logger: logging.Logger
) -> None:
    """Warn if files may have come and gone since the newest one that was read.

    Args:
        plan: What is listed, and how far the stream was read.
        vendor: How long files can be downloaded.
        last: When an earlier run listed them; None if the state does not say.
        today: The date now.
        logger: Receives the line.
    """
    # Whatever was generated since then is still available.
    kept = vendor.retention
    if kept is None or (last and today - last <= kept):
        return
    regular = [file.generated_at for file in plan.listed if not file.historical]
    if missing := plan.bookmark.gap(regular, kept):
        logger.warning(
            "%s: no file is listed of the hours from %s to %s; files of that time may have "
            "expired unread: %s",
            next(iter(plan.listed)).stream,
            *(format_time(moment) for moment in missing),
            vendor.hints.gap,
        )


def last_listed(state: Mapping[str, Any]) -> date | None:
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
        logger: Receives the lines.
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
        logger: Receives the line.

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
        logger: Receives the line.
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
