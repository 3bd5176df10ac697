"""What Firstup exports, generation after generation."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.loaders import Export, Misfit, add

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tap_firstup_dde.emulator import Emulator

TYPES = {
    "campaigns": {
        "campaign_id": "string",
        "campaign_name": "string",
        "is_featured": "boolean",
        "priority": "integer",
        "published_at": "date-time",
    },
    "users": {
        "user_id": "string",
        "first_name": "string",
        "tenure": "integer",
        "blocked_at": "date-time",
        "score": "number",
        "team": "string",
    },
    "activities": {
        "user_id": "string",
        "content_id": "integer",
        "date": "date-time",
        "day": "date",
        "opens": "integer",
        "rating": "number",
        "seen": "boolean",
        "note": "string",
        "device": "string",
        "rank": "integer",
    },
}
NOTES = ["", "a, b", 'say "hi"', "two\nlines", "Zoë 😀", "NULL", "\\N", "0012", None]


@dataclass
class Firstup:
    """What Firstup has exported so far.

    Attributes:
        emulator: Where it is served.
        seed: Picks the data.
        sent: Name of a file in records → the file, in the order in which they must be loaded.
    """

    emulator: Emulator
    seed: int
    sent: dict[str, Export] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Seed the data."""
        self.random = random.Random(self.seed)

    def generate(
        self,
        hour: int,
        *,
        rows: int = 500,
        people: range = range(1, 300),
        drop: Sequence[str] = (),
        drift: bool = False,
        streams: Sequence[str] = tuple(TYPES),
        file_name: str = "000.csv",
    ) -> None:
        """Export a generation.

        Args:
            hour: When, in hours after the beginning.
            rows: Rows of the activities.
            people: Users whose data are updated, about half of them.
            drop: Columns to omit.
            drift: True for some values that do not fit earlier types.
            streams: Streams to export.
            file_name: The files' name.
        """
        day, hour = divmod(hour, 24)
        generated_at = f"2026-05-{14 + day:02}-{hour:02}"
        users = self.random.sample(people, len(people) // 2)
        keys = {
            "campaigns": [str(n) for n in self.random.sample(range(100, 140), 15)],
            "users": [f"{n:06}" for n in users],
            "activities": [f"{self.random.choice(people):06}" for _ in range(rows)],
        }
        for stream in streams:
            columns: dict[str, list[str | None]] = {
                name: [self._value(kind, drift=drift) for _ in keys[stream]]
                for name, kind in TYPES[stream].items()
                if name not in drop
            }
            columns[next(iter(TYPES[stream]))] = [*keys[stream]]
            export = Export(stream, generated_at, columns)
            self.sent[add(self.emulator, export, file_name)] = export

    def _value(self, kind: str, *, drift: bool) -> str | None:
        """A value of a type, or one that only drift brings."""
        pick = self.random
        if drift and kind != "string" and pick.random() < 0.02:
            return Misfit(pick.choice(["A123", "0012", "n/a", "1.10", "2026-02-30", " "]))
        if pick.random() < 0.1:
            return None
        minute = f"{pick.randrange(24):02}:{pick.randrange(60):02}"
        values: dict[str, Callable[[], str | None]] = {
            "string": lambda: pick.choice(NOTES),
            "integer": lambda: str(pick.randrange(-9, 10**6)),
            "number": lambda: f"{pick.randrange(999)}.{pick.randrange(9)}{pick.randrange(1, 9)}",
            "boolean": lambda: pick.choice(["true", "false"]),
            "date": lambda: f"20{pick.randrange(10, 60)}-0{pick.randrange(1, 9)}-11",
            "date-time": lambda: f"2026-05-1{pick.randrange(9)} {minute}:00",
        }
        return values[kind]()
