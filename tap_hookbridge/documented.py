"""The streams of HookBridge's exports.

HookBridge documents no column of its files. What its API's logs and messages have is used to
recognise a file, and for the types of columns without values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from filetap.columns.added import EXPORTED_AT
from filetap.vendor import Documented, StreamSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIKELY: Final = {
    "id": "string",
    "message_id": "string",
    "project_id": "string",
    "endpoint_id": "string",
    "inbound_endpoint_id": "string",
    "endpoint": "string",
    "status": "string",
    "attempt_count": "integer",
    "replay_count": "integer",
    "created_at": "date-time",
    "received_at": "date-time",
    "updated_at": "date-time",
    "delivered_at": "date-time",
    "next_attempt_at": "date-time",
    "response_status": "integer",
    "response_latency_ms": "integer",
    "total_delivery_ms": "integer",
    "last_error": "string",
    "content_type": "string",
    "size_bytes": "integer",
    "payload_sha256": "string",
    "idempotency_key": "string",
}
# What customers write, and codes: it may look like numbers.
_TEXT: Final = frozenset(
    {"endpoint", "status", "last_error", "content_type", "payload_sha256", "idempotency_key"}
)
TIMES: Final = ("created_at", "received_at")
# A row may be a message, or an attempt to deliver one.
_KEYS: Final = (("message_id",), ("message_id", "attempt_no"), ("id",), ("id", "attempt_no"))

# The last word of the name of a column that holds such text.
_TEXT_WORDS: Final = frozenset(
    "id key url uri ip error reason name description type event topic tag label note text "
    "message subject body payload header headers metadata detail signature hash sha256 code "
    "version".split()
)


def _is_text(column: str) -> bool:
    """True for ids, keys, URLs and what else customers write, also for several of them."""
    word = column.rpartition("_")[2]
    return word in _TEXT_WORDS or word.removesuffix("s") in _TEXT_WORDS


def _assumed(column: str) -> str:
    """The type of a column that has no values yet, from its name."""
    return _LIKELY.get(column) or ("date-time" if column.endswith("_at") else "string")


def _spec(stream: str, time: str) -> StreamSpec:
    """What is known of a stream."""
    columns = {name: _LIKELY[name] for name in ("message_id", "status", time)}
    return StreamSpec(
        stream,
        ("message_id",),
        Documented(
            columns,
            text=_TEXT,
            assume=_assumed,
            named_text=_is_text,
            likely=frozenset(_LIKELY),
        ),
        _KEYS,
        times=TIMES,
        added=(EXPORTED_AT,),
    )


STREAMS: Final[Mapping[str, StreamSpec]] = {
    "outbound_messages": _spec("outbound_messages", "created_at"),
    "inbound_messages": _spec("inbound_messages", "received_at"),
}
