"""A bookmark as a stream's part of the Singer state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filetap.bookmark import AHEAD, UNKNOWN, Bookmark, PartlyRead
from filetap.errors import STATE_HINT, StateError
from filetap.times import format_time, parse_generation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, MutableMapping
    from datetime import datetime

# The members of a stream's state that `write_bookmark` writes.
MEMBERS = (
    "replication_key",
    "replication_key_value",
    "finished",
    "finished_at",
    "in_progress",
    "partly_read",
    "historical",
    "versions",
    "contents",
    "counted",
    "owners",
    "unfinished",
    "from_scratch",
)

# `from_scratch` of a stream that a run without a state found no files of. Nothing else is written
# for it; merged into an older state, it says that what that one has finished does not count.
NOTHING_READ = "nothing read"

_KEY = "generated_at"  # the replication key of files


def check_replication_key(state: Mapping[str, Any], keys: Collection[str], stream: str) -> None:
    """Refuse a bookmark of another tap's stream of the same name, whose times mean something else.

    Args:
        state: The stream's part of the state; it may name no replication key.
        keys: The replication keys that the stream may have.
        stream: Name of the stream, for the message.

    Raises:
        StateError: The state names another replication key.
    """
    key = state.get("replication_key")
    if key is not None and key not in keys:
        msg = f"{stream}: the state's replication key is {key}, not {' or '.join(keys)}"
        raise StateError(msg, "it belongs to another tap; " + STATE_HINT)


def read_bookmark(state: Mapping[str, Any], now: datetime, stream: str) -> Bookmark:
    """Read a stream's part of the Singer state, also one that Meltano merged of two.

    A merge takes lists and single values from one state and the members of objects from
    both, so the finished files are those of the list and of the times together.

    Args:
        state: The stream's part of the state.
        now: The run's clock; no bookmark is later than a day after it.
        stream: Name of the stream, for messages.

    Raises:
        StateError: A value is not what a state holds, or the replication key is another one.
    """
    try:
        if state.get("from_scratch") == NOTHING_READ:
            return Bookmark(from_scratch=True)
        value = state.get("replication_key_value")
        newest = None if value is None else parse_generation(value)
        times = {k: parse_generation(v) for k, v in state.get("finished_at", {}).items()}
        keys = state.get("finished")
        if not isinstance(keys, list | None):
            raise TypeError(type(keys).__name__)  # noqa: TRY301 - reported as all others are
        partly_read = _partly_read(state)
        scratch = bool(state.get("from_scratch"))
        finished = {str(key): times.get(key, newest or UNKNOWN) for key in keys or ()}
        historical = frozenset(map(str, state.get("historical") or ()))
        counted = frozenset(map(str, state.get("counted") or ()))
        versions = {str(k): str(v) for k, v in (state.get("versions") or {}).items()}
        contents = {str(k): str(v) for k, v in (state.get("contents") or {}).items()}
        owners = _owners(state.get("owners") or {}, finished)
        generations = frozenset(map(parse_generation, state.get("unfinished") or ()))
        check_replication_key(state, (_KEY,), stream)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        is_value = isinstance(error, ValueError)
        reason = str(error) if is_value else "a member is missing, or is not of its type"
        msg = f"{stream}: the state cannot be read: {reason}"
        raise StateError(msg, STATE_HINT) from None
    closed_at = newest if keys is None else None
    partly_read = tuple(part for part in partly_read if part.key not in finished)
    if not scratch and keys is not None:
        unfinished = {part.key for part in partly_read}
        finished |= {k: moment for k, moment in times.items() if k not in unfinished}
    latest = now + AHEAD
    known = [
        moment
        for key, moment in finished.items()
        if key not in historical and UNKNOWN < moment <= latest
    ]
    if scratch:
        newest = None  # it may be that of the state before
    elif newest is not None and newest > latest:
        newest = latest if closed_at else None
    return Bookmark(
        generated_at=max((moment for moment in (newest, *known) if moment), default=None),
        finished=finished,
        closed_at=closed_at,
        partly_read=partly_read,
        historical=historical,
        versions=versions,
        contents=contents,
        counted=counted,
        owners=owners,
        unfinished=generations,
        from_scratch=scratch,
    )


def write_bookmark(bookmark: Bookmark) -> dict[str, Any]:
    """A stream's part of the Singer state: what `read_bookmark` reads.

    What may be left out later is a list or a single value: from an object, a merge of two
    states removes nothing.
    """
    ordered = sorted(bookmark.finished.items(), key=lambda item: (item[1], item[0]))
    key, rows = bookmark.in_progress
    state: dict[str, Any] = {
        "finished": [key for key, _ in ordered],
        "finished_at": {key: format_time(moment) for key, moment in ordered},
        "in_progress": {"file": key, "rows": rows},
        "from_scratch": bookmark.from_scratch,
    }
    if bookmark.generated_at:
        state["replication_key"] = _KEY
        state["replication_key_value"] = format_time(bookmark.generated_at)
    if bookmark.partly_read:
        state["partly_read"] = [
            {
                "file": part.key,
                "rows": part.rows,
                "generated_at": part.generated_at and format_time(part.generated_at),
                "content": part.content,
            }
            for part in bookmark.partly_read
        ]
    generations = {format_time(moment) for moment in bookmark.unfinished}
    for name, names in (
        ("historical", bookmark.historical),
        ("counted", bookmark.counted),
        ("unfinished", generations),
    ):
        if names:
            state[name] = sorted(names)
    # One account is the rule, and then its name is enough.
    accounts = {bookmark.owners.get(key, "") for key in bookmark.finished}
    if len(accounts) > 1:
        state["owners"] = dict(sorted(bookmark.owners.items()))
    elif accounts - {""}:
        state["owners"] = {"*": accounts.pop()}
    for name, values in (("versions", bookmark.versions), ("contents", bookmark.contents)):
        if values:
            state[name] = dict(sorted(values.items()))
    return state


def store_bookmark(state: MutableMapping[str, Any], bookmark: Bookmark, lookback_days: int) -> None:
    """Put a bookmark into a stream's part of the state, in place of the one in it.

    Args:
        state: The stream's part of the state; its other members stay.
        bookmark: How far the stream has been read.
        lookback_days: The setting, by which a later run sees that it was raised.
    """
    for name in MEMBERS:
        state.pop(name, None)
    state.update(write_bookmark(bookmark))
    state["lookback_days"] = lookback_days


def _partly_read(state: Mapping[str, Any]) -> tuple[PartlyRead, ...]:
    """The files that runs were cut off in, the last one first.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: The state holds something else.
    """
    last = state.get("in_progress") or {"file": "", "rows": 0}
    key, rows = str(last["file"]), _count(last["rows"])
    if not key:
        return ()
    entries = [
        PartlyRead(
            str(entry["file"]),
            _count(entry["rows"]),
            parse_generation(entry["generated_at"]) if entry["generated_at"] else None,
            str(entry["content"]),
        )
        for entry in state.get("partly_read") or ()
    ]
    # By itself in a state of the documented members.
    here = next((entry for entry in entries if (entry.key, entry.rows) == (key, rows)), None)
    if here is None:
        return (PartlyRead(key, rows),)
    return (here, *(entry for entry in entries if entry.key != key))


def _owners(state: Mapping[str, str], finished: Iterable[str]) -> dict[str, str]:
    """Key of each finished file → its account; ``*`` means all of them."""
    every = str(state.get("*", ""))
    owners = {key: str(state.get(key, every)) for key in finished}
    return {key: owner for key, owner in owners.items() if owner}


def _count(rows: object) -> int:
    """A number of rows.

    Raises:
        ValueError: It is not one.
    """
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 0:
        msg = f"{rows!r} is not a number of rows"
        raise ValueError(msg)
    return rows
