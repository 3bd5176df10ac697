"""Made-up messages: the same for the same seed."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Final

from filetap.times import format_time, parse_generation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_ENDPOINTS: Final = ("https://example.com/hooks/orders", "https://example.org/in?team=7,8")
_ERRORS: Final = ('HTTP 500: "Internal Server Error"', "timeout,\nafter 30 s", "503")


def message(seed: int, number: int, direction: str, created_at: datetime) -> dict[str, Any]:
    """One message as a row of an export has it.

    Args:
        seed: Seed of the sample data.
        number: Its number among all messages.
        direction: ``outbound`` or ``inbound``.
        created_at: When it was created or received.
    """
    random = Random(f"{seed} {number}")  # noqa: S311 - sample data
    digits = f"{random.getrandbits(48):012x}"
    row: dict[str, Any] = {"message_id": f"01935abc-def0-7123-8567-{digits}"}
    if direction == "outbound":
        row |= {
            "endpoint_id": f"550e8400-e29b-41d4-a716-44665544{number % 3:04}",
            "endpoint": _ENDPOINTS[number % 2],
            "created_at": format_time(created_at),
        }
    else:
        row |= {
            "inbound_endpoint_id": f"660e8400-e29b-41d4-a716-44665544{number % 3:04}",
            "received_at": format_time(created_at),
        }
    failed = number % 7 == 3
    return row | {
        "status": "pending_retry" if failed else "queued" if number % 5 == 0 else "succeeded",
        "attempt_count": 1 + 2 * failed,
        "replay_count": 0,
        "delivered_at": None if failed else format_time(created_at + timedelta(seconds=2)),
        "response_status": 500 if failed else 200,
        "response_latency_ms": random.randrange(20, 900),
        "last_error": random.choice(_ERRORS) if failed else None,
        "idempotency_key": f"{number:08}",
        "size_bytes": random.randrange(100, 20_000),
    }


def moments(start: datetime, end: datetime, count: int) -> list[datetime]:
    """Whole seconds, evenly spread from *start* until before *end*."""
    step = (end - start) / max(1, count)
    return [(start + number * step).replace(microsecond=0) for number in range(count)]


def move_on(seed: int, rows: Sequence[dict[str, Any]]) -> None:
    """Deliver some of the messages that wait, and replay some that were delivered."""
    random = Random(seed)  # noqa: S311 - sample data
    for row in rows:
        name = "created_at" if "created_at" in row else "received_at"
        if row["status"] in {"queued", "pending_retry"} and random.random() < 0.5:
            row["status"] = "succeeded"
            moment = parse_generation(row[name]) + timedelta(hours=1)
            row["delivered_at"] = format_time(moment)
            row["attempt_count"] += 1
        elif row["status"] == "succeeded" and random.random() < 0.02:
            row["replay_count"] += 1
