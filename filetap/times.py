"""Times in listings, states and records."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_HOURLY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})-([0-9]{2})")
# Python's own parser accepts any character as the T.
_ISO_8601 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.,]+(?:Z|[+-][0-9:]+)?)?"
    r"|[0-9]{8}(?:T[0-9.,]+(?:Z|[+-][0-9:]+)?)?"
)


def parse_generation(text: str) -> datetime:
    """When a file was generated, from the text in a listing.

    It is ``YYYY-MM-DD-HH``, in UTC, or ISO 8601, in UTC unless it has an offset.

    Returns:
        An aware time in UTC.

    Raises:
        ValueError: The text has neither form.
    """
    if match := _HOURLY.fullmatch(text):
        year, month, day, hour = map(int, match.groups())
        return datetime(year, month, day, hour, tzinfo=UTC)
    if not _ISO_8601.fullmatch(text):
        msg = f"{text!r} is not a time"
        raise ValueError(msg)
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        msg = f"{text!r} is outside the calendar"
        raise ValueError(msg) from None


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second, or to the microsecond if there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def utc_now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)
