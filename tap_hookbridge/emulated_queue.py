"""Messages and export jobs of an emulated HookBridge, moved on by a clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from filetap.testing.storage import StoredFile
from tap_hookbridge.emulated_jobs import EmulatedExport, Snapshot, snapshot

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from datetime import datetime

    from tap_hookbridge.emulated_jobs import Span


@dataclass(kw_only=True, eq=False)
class JobQueue:
    """Messages and jobs. Mutable: the next request sees a change.

    Attributes:
        pending: Seconds that a job waits before its rows are taken.
        processing: Seconds from then on until it is completed.
        lifetime: Seconds from then on until it expires.
        stuck: True to leave new jobs in ``processing``.
        failing: How many of the next jobs fail.
        expiring: How many of the next jobs expire as soon as they are completed.
        border: ``half-open``, ``inclusive`` or ``exclusive``: how a span's ends count.
        snapshot: What files look like, and what is stated of them.
        messages: Stream → its messages, each with the columns of a row; change them at any time.
        exports: The jobs, oldest first.
        number: How many jobs there were so far; set it back to have ids used again.
    """

    pending: float = 0.0
    processing: float = 0.0
    lifetime: float = 7 * 86_400
    stuck: bool = False
    failing: int = 0
    expiring: int = 0
    border: str = "half-open"
    snapshot: Snapshot = field(default_factory=Snapshot)
    messages: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"outbound": [], "inbound": []}, init=False
    )
    exports: list[EmulatedExport] = field(default_factory=list, init=False)
    number: int = field(default=0, init=False)

    def find(self, export_id: str) -> EmulatedExport | None:
        """The job of an id; None if there is none."""
        return next((export for export in self.exports if export.id == export_id), None)

    def add_export(self, span: Span, direction: str, now: datetime, **more: Any) -> EmulatedExport:
        """Add a job, perhaps one that somebody else has requested.

        Args:
            span: What it is about.
            direction: ``outbound`` or ``inbound``.
            now: The time.
            more: Further attributes of the job.
        """
        self.number += 1
        fails = self.failing > 0
        expires = self.expiring > 0 and not fails
        self.failing -= fails
        self.expiring -= expires
        export = EmulatedExport(
            id=f"01935abc-def0-7123-4567-{self.number:012}",
            span=span,
            direction=direction,
            created_at=now,
            **{"fails": fails, "expires": expires, "stuck": self.stuck, **more},
        )
        self.exports.append(export)
        return export

    def advance(self, now: datetime, files: MutableMapping[str, StoredFile]) -> None:
        """Move every job on.

        Args:
            now: The time.
            files: Receives the files of those that are completed.
        """
        for export in self.exports:
            if export.is_due(now, self.pending):
                rows = self.messages[export.direction]
                export.take(now, snapshot(self.snapshot, rows, export.span, self.border))
            if export.is_done(now, self.processing):
                export.end(now, self.lifetime)
                if export.status == "completed" and export.taken and export.taken.body is not None:
                    files[export.id] = StoredFile(
                        key=f"exports/{export.id}.csv",
                        body=export.taken.body,
                        content_type="text/csv",
                        checksum_function="",
                    )
            export.expire(now)
