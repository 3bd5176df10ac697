"""A small company whose intranet changes every day: what Simpplr exports of it."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tap_simpplr.delivered import stream_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

Row = dict[str, str]
TENANT: Final = "8f14e45f"
_EVENTS = {"user_logins": "login_datetime", "newsletter_interaction": "interaction_datetime"}
_HISTORIES = {"section_instance"}
_WORDS = "amber basalt cedar delta ember fjord grove harbor iris juniper".split()


@dataclass
class Company:
    """Rows that are added, changed and marked as deleted, day by day.

    Entities have a ``code``; events have none, and two of them may be equal; a history has a row
    for each time that a code had a value.

    Attributes:
        seed: Seed of everything.
        rows: Rows of an entity on its first day.
    """

    seed: int = 0
    rows: int = 20
    _changes: dict[str, list[tuple[date, Row]]] = field(default_factory=dict, init=False)

    def live(self, entity: str, day: date) -> None:
        """Let a day pass for an entity; days must come in order."""
        chance = random.Random(f"{self.seed}/{entity}/{day}")  # noqa: S311 - sample data
        stream, changes = stream_of(entity), self._changes.setdefault(entity, [])
        first = not changes
        if stream in _EVENTS:
            for _ in range(self.rows if first else chance.randint(0, self.rows // 2)):
                changes.append((day, self._event(stream, day, chance)))
                if chance.random() < 0.1:  # the same user, the same second
                    changes.append(changes[-1])
            return
        known = {row["code"] for _, row in changes}
        new = self.rows if first else chance.randint(0, 2)
        codes = [f"{stream[:4]}-{len(known) + number}" for number in range(new)]
        if known:
            codes += chance.sample(sorted(known), k=min(len(known), chance.randint(0, 4)))
        if first and stream in _HISTORIES:
            before = day - timedelta(days=1)
            changes += [(day, self._row(stream, code, before, chance)) for code in codes]
        changes += [(day, self._row(stream, code, day, chance)) for code in codes]

    def rows_of(self, entity: str, after: date | None, upto: date) -> list[Row]:
        """The rows of an entity that changed after a day, as they are at the end of another.

        Args:
            entity: Its display name.
            after: Leave out rows that have not changed since; None for all rows.
            upto: The last day that counts.
        """
        lived = [(day, row) for day, row in self._changes.get(entity, []) if day <= upto]
        fresh = [row for day, row in lived if after is None or day > after]
        if stream_of(entity) in _EVENTS | dict.fromkeys(_HISTORIES, ""):
            return fresh
        return list({row["code"]: row for row in fresh}.values())

    def _event(self, stream: str, day: date, chance: random.Random) -> Row:
        """Something that happened."""
        moment = f"{day} {chance.randint(7, 18):02}:{chance.randint(0, 59):02}:00"
        user = f"user-{chance.randint(0, self.rows - 1)}"
        return {"tenant_code": TENANT, "user_code": user, _EVENTS[stream]: moment}

    def _row(self, stream: str, code: str, day: date, chance: random.Random) -> Row:
        """A row as it is after a change."""
        name = " ".join(chance.sample(_WORDS, 2))
        row = {"code": code, "tenant_code": TENANT, "name": name}
        if stream in _HISTORIES:
            return {**row, "active_date": str(day)}
        deleted = "true" if chance.random() < 0.05 else "false"
        more = {"views": str(chance.randint(0, 999)), "is_deleted": deleted}
        return {**row, **more, "updated_datetime": f"{day} {chance.randint(0, 23):02}:00:00"}


def as_csv(rows: Iterable[Row], columns: Iterable[str]) -> str:
    """Rows as Simpplr writes them; the header alone if there are none."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
