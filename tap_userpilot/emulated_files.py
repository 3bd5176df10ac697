"""The files of an emulated export job: weeks, in one of many forms."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tap_userpilot.sample_data import Event


@dataclass
class Form:
    """How the emulator writes files; each documented or suspected way can be chosen.

    Attributes:
        ids: ``internal_event_id`` as ``text``, as ``number``, ``empty`` or ``absent``; in ``some``
            rows.
        time: Format of ``inserted_at``.
        twice: True if a week that crosses a month is two files of one name.
        scattered: True if the rows of a week are in two files of one name, in turns.
        doubled: True if each file is listed twice.
        csv_metadata: ``text``, ``omitted`` or ``flattened``, in CSV.
        line_end: What ends a line.
        blank_lines: True for an empty line after each.
        cut: True if the end of the last line is missing.
        members: Members of a gzip file; 0 for none: the file is not compressed.
        shuffled: True if rows are not in order of time.
    """

    ids: str = "text"
    time: str = "%Y-%m-%dT%H:%M:%S.%fZ"
    twice: bool = True
    scattered: bool = False
    doubled: bool = False
    csv_metadata: str = "text"
    line_end: str = "\n"
    blank_lines: bool = False
    cut: bool = False
    members: int = 1
    shuffled: bool = False

    def files(self, events: Iterable[Event], *, as_csv: bool) -> list[tuple[str, bytes]]:
        """Name and content of each week's file, in order."""
        weeks = defaultdict[tuple[str, str], list[Any]](list)
        for number, event in enumerate(events):
            monday = event.at.date() - timedelta(days=event.at.weekday())
            part = f"{event.at:%Y-%m}" if self.twice else ""
            part = str(number % 2) if self.scattered else part
            weeks[monday.isoformat(), part].append(event)
        ending = "csv" if as_csv else "json"
        ending += ".gz" if self.members else ""
        return [
            (f"{monday}.{ending}", self._content(found, as_csv=as_csv))
            for (monday, _), found in sorted(weeks.items())
            for _ in range(1 + self.doubled)
        ]

    def _content(self, events: list[Event], *, as_csv: bool) -> bytes:
        """The content of a file."""
        if self.shuffled:
            random.Random(len(events)).shuffle(events)  # noqa: S311 - sample data
        lines = self._csv_lines(events) if as_csv else [self._line(event) for event in events]
        end = self.line_end * (2 if self.blank_lines else 1)
        text = "".join(line + end for line in lines)
        if self.cut and lines:
            text = text[: len(text) - len(end) - len(lines[-1]) // 2]
        return self._compressed(text.encode())

    def _compressed(self, data: bytes) -> bytes:
        """Data in as many members as are wanted."""
        if not self.members:
            return data
        size = -(-len(data) // self.members) or 1
        parts = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
        return b"".join(gzip.compress(part, 1, mtime=0) for part in parts)

    def _row(self, event: Event) -> dict[str, Any]:
        """The members of an event except the metadata."""
        found = {**event.members, "inserted_at": event.at.strftime(self.time)}
        number = event_number(event)
        if self.ids == "number":
            found["internal_event_id"] = number
        elif self.ids == "empty":
            found["internal_event_id"] = ""
        elif self.ids == "text" or (self.ids == "some" and number % 2):
            found["internal_event_id"] = str(number)
        return found

    def _line(self, event: Event) -> str:
        """An event as a line of JSON, its metadata as they are written."""
        row = json.dumps(self._row(event), ensure_ascii=False, separators=(",", ":"))
        return f'{row[:-1]},"metadata":{event.metadata}}}'

    def _csv_lines(self, events: Sequence[Event]) -> list[str]:
        """Events as lines of CSV, with a header."""
        rows = [self._csv_row(event) for event in events]
        names = list(dict.fromkeys(name for row in rows for name in row))
        lines = []
        for row in ([dict(zip(names, names, strict=True))] if names else []) + rows:
            buffer = io.StringIO()
            csv.DictWriter(buffer, names, lineterminator="").writerow(row)
            lines.append(buffer.getvalue())
        return lines

    def _csv_row(self, event: Event) -> dict[str, Any]:
        """The cells of an event."""
        row = self._row(event)
        if self.csv_metadata == "text":
            row["metadata"] = event.metadata
        elif self.csv_metadata == "flattened":
            members = json.loads(event.metadata).items()
            row |= {f"metadata.{name}": json.dumps(value) for name, value in members}
        return row


def event_number(event: Event) -> int:
    """The id of an event: 64 bits, the same for the same six members."""
    names = ("app_token", "event_type", "event_name", "user_id", "company_id")
    text = "/".join(str(event.members.get(name)) for name in names)
    digest = hashlib.sha256(f"{text}/{event.at.isoformat()}".encode()).digest()
    return int.from_bytes(digest[:8])
