"""Lookups: lists that describe what events mention, read page by page to their end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec

from filetap.columns.added import HASH_KEY
from filetap.errors import FormatError
from tap_userpilot.documented import lookup_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tap_userpilot.responses import Page

_ATTEMPTS: Final = 3
_MOST_PAGES: Final = 10_000
_Members = dict[str, msgspec.Raw]

logger = logging.getLogger(__name__)


def read_lookup(lookup: str, page: Callable[[str], Page]) -> bytes:
    """All rows of a lookup, as a JSON array; each row once.

    Pages are cut by a time that changes, so a row may move from one page to another meanwhile:
    repeats are dropped, and a list that is shorter than stated is read again.

    Args:
        lookup: Its name.
        page: Returns the page at a cursor; empty for the first one.

    Raises:
        FormatError: It stays shorter than stated, or does not end.
        TransportError: A page cannot be fetched.
    """
    rows: dict[tuple[bytes, ...], bytes] = {}
    for attempt in range(1, _ATTEMPTS + 1):
        total = _read(lookup, page, rows)
        if total is None or len(rows) >= total:
            return b"[%b]" % b",\n".join(rows.values())
        if attempt < _ATTEMPTS:
            message = "%s: %d of %d rows were read; reading the list again"
            logger.warning(message, lookup, len(rows), total)
    msg = f"{lookup}: only {len(rows)} of the {total} rows that the list states were read"
    raise FormatError(msg, "run again; if it happens again, report it to Userpilot")


def _read(
    lookup: str, page: Callable[[str], Page], rows: dict[tuple[bytes, ...], bytes]
) -> int | None:
    """Add the rows of every page; returns how many there should be, None if that is not known."""
    seen = {""}
    after = ""
    total: int | None = None
    while True:
        found = page(after)
        total = total if found.total is None else found.total
        for row in found.rows:
            key, line = _identified(lookup, row)
            rows[key] = line
        after = found.after
        # A cursor that comes again would go on for ever.
        if not after or after in seen:
            return total
        seen.add(after)
        if len(seen) > _MOST_PAGES:
            msg = f"{lookup}: the list has more than {_MOST_PAGES} pages"
            raise FormatError(msg, "report it to Userpilot")


def _identified(lookup: str, row: bytes) -> tuple[tuple[bytes, ...], bytes]:
    """What identifies a row, and the row on one line."""
    line = row.replace(b"\r", b" ").replace(b"\n", b" ")  # neither can be in a string
    members = msgspec.json.decode(line, type=_Members)
    keys = [key for key in lookup_keys(lookup) if key != HASH_KEY]
    if any("event_id" in key for key in keys) and "event_id" not in members:
        owner = msgspec.json.encode(_id_of(members.get("event")))
        members["event_id"] = msgspec.Raw(owner)
        rest = line.rstrip().removesuffix(b"}").rstrip()
        comma = b"" if rest == b"{" else b","
        line = b'%b%b"event_id":%b}' % (rest, comma, owner)
    for key in sorted(keys, key=len, reverse=True):
        if values := _values(members, key):
            return (*map(str.encode, key), *values), line
    return (line,), line


def _values(members: _Members, key: Iterable[str]) -> tuple[bytes, ...]:
    """The values of a key as texts; nothing unless all are there, and one is not empty."""
    values = [bytes(members.get(column, b"null")) for column in key]
    texts = tuple(map(_text, values))
    return texts if b"null" not in values and any(texts) else ()


def _id_of(event: msgspec.Raw | None) -> str:
    """The id of the event that a property belongs to; empty for all events."""
    try:
        found: Any = msgspec.json.decode(event or b"null", type=_Members | None)
    except msgspec.MsgspecError:
        return ""
    own = bytes((found or {}).get("id", b"null"))
    return "" if own == b"null" else _text(own).decode()


def _text(value: bytes) -> bytes:
    """A value as a text: an id may be a number in one row and a string in another."""
    try:
        return msgspec.json.decode(value, type=str).encode()
    except msgspec.MsgspecError:
        return value
