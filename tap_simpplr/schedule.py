"""What Simpplr delivers when: a scheduler with a clock of its own."""

from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from tap_simpplr.sample_data import Company, as_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

_SETTLED = 3600  # seconds; a file whose last change is as long ago is complete
_INTERNAL = {"user logins": "user_login_events", "must reads": "content_must_read_marked"}
SPELLINGS: Final[Mapping[str, Callable[[str], str]]] = {
    "blank": lambda entity: entity,
    "underscore": lambda entity: entity.replace(" ", "_"),
    "dash": lambda entity: entity.replace(" ", "-"),
    "internal": lambda entity: _INTERNAL.get(entity, entity.replace(" ", "_")),
}


@dataclass
class Export:
    """A registered entity.

    Attributes:
        frequency: ``daily``, ``weekly`` (Mondays) or ``monthly`` (the first).
        active: True while it is exported.
        registered: The day of the registration.
        delivered: The day of the last delivery; None before the first.
        full: True if the next delivery is complete.
    """

    frequency: str
    active: bool
    registered: date
    delivered: date | None = None
    full: bool = True

    def is_due(self, day: date) -> bool:
        """True if a file is delivered on that day."""
        if not self.active:
            return False
        by = {"weekly": day.weekday() == 0, "monthly": day.day == 1}
        return by.get(self.frequency, True)


@dataclass
class Schedule:
    """Delivers into a folder: complete files first, then the changes since the last ones.

    Attributes:
        folder: The folder that holds the years.
        today: The clock.
        company: Whose rows they are.
        spelling: How folders are spelt, a name among `SPELLINGS`.
        padded: True for ``2026/03/02``, False for ``2026/3/2``.
        suffix: Ending of the files; ``.csv.gz`` are compressed.
        restarts_full: True if the first file after a new registration is complete.
        keeps: Days that files are kept; None for all.
        exports: Entity → registration.
        held: Files that come late: content by path.
    """

    folder: Path
    today: date
    company: Company = field(default_factory=Company)
    spelling: str = "underscore"
    padded: bool = True
    suffix: str = ".csv"
    restarts_full: bool = True
    keeps: int | None = None
    exports: dict[str, Export] = field(default_factory=dict)
    held: dict[Path, bytes] = field(default_factory=dict)
    _columns: dict[str, list[str]] = field(default_factory=dict)
    _writes: int = 0

    def register(self, entities: Iterable[str], frequency: str) -> None:
        """Export these entities, and no others."""
        wanted = list(entities)
        for entity, export in self.exports.items():
            export.active = entity in wanted
        for entity in wanted:
            known = self.exports.get(entity)
            if known is None:
                self.exports[entity] = Export(frequency, active=True, registered=self.today)
                continue
            if not known.active and self.restarts_full:
                known.full = True
            known.active, known.frequency = True, frequency

    def queue_full_load(self, entities: Iterable[str]) -> None:
        """Have the next file of each of these entities be complete."""
        for entity in entities:
            self.exports[entity].full = True

    def next_day(self, *, hold: Iterable[str] = ()) -> dict[str, int]:
        """Let a day pass, and deliver what is due.

        Args:
            hold: Entities whose files are kept back, until `release`.

        Returns:
            Entity → rows that were delivered.
        """
        rows = {}
        self.today += timedelta(days=1)
        for entity in self.exports:
            self.company.live(entity, self.today)
        for entity, export in self.exports.items():
            if export.is_due(self.today):
                after = None if export.full else export.delivered
                path, content, count = self._file(entity, after, self.today)
                export.delivered, export.full = self.today, False
                if entity in hold:
                    self.held[path] = content
                else:
                    self._write(path, content)
                    rows[entity] = count
        if self.keeps is not None:
            self.purge(self.today - timedelta(days=self.keeps))
        return rows

    def release(self) -> None:
        """Deliver the files that were kept back."""
        for path, content in self.held.items():
            self._write(path, content)
        self.held.clear()

    def deliver_again(self, entity: str, day: date, after: date | None = None) -> None:
        """Overwrite a day's file.

        Args:
            entity: Its display name.
            day: The day.
            after: Rows that changed since then, as they are now; None for all of them.
        """
        path, content, _ = self._file(entity, after, day)
        self._write(path, content)

    def touch(self, entity: str, day: date) -> None:
        """Change a file's time, and nothing else."""
        path = self.path(entity, day)
        self._write(path, path.read_bytes())

    def purge(self, before: date) -> None:
        """Remove the folders of all days before one."""
        for path in self.folder.glob("*/*/*"):
            year, month, day = (int(part) for part in path.parts[-3:])
            if date(year, month, day) < before:
                shutil.rmtree(path)

    def path(self, entity: str, day: date) -> Path:
        """Where an entity's file of a day is delivered."""
        words = f"{day:%Y/%m/%d}" if self.padded else f"{day.year}/{day.month}/{day.day}"
        name = SPELLINGS[self.spelling](entity)
        return self.folder / words / name / f"{name}{self.suffix}"

    def _file(self, entity: str, after: date | None, day: date) -> tuple[Path, bytes, int]:
        """A file's path, content and number of rows."""
        rows = self.company.rows_of(entity, after, day)
        columns = self._columns.setdefault(entity, list(rows[0]) if rows else ["code"])
        data = as_csv(rows, columns).encode()
        path = self.path(entity, day)
        content = gzip.compress(data, mtime=0) if path.suffix == ".gz" else data
        return path, content, len(rows)

    def _write(self, path: Path, content: bytes) -> None:
        """Write a file in place, with a time of change that no other write has."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self._writes += 1
        noon = datetime(self.today.year, self.today.month, self.today.day, 12, tzinfo=UTC)
        latest = datetime.now(UTC).timestamp() - _SETTLED
        moment = min(noon.timestamp(), latest) + self._writes % 1000
        os.utime(path, (moment, moment))
