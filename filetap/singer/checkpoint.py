"""How far a Singer stream has been read, and when STATE records it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from filetap.bookmark import Bookmark
from filetap.bookmark_state import NOTHING_READ, store_bookmark
from filetap.times import format_time, utc_now

if TYPE_CHECKING:
    from datetime import datetime

    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.plan import Plan
    from filetap.settings import Settings
    from filetap.singer.private import ExtractorStream


class Checkpoint:
    """Moves a stream's bookmark by file, and writes STATE after the records that it covers.

    Args:
        stream: The stream.
        settings: The lookback.

    Attributes:
        bookmark: How far the stream has been read.
        now: The run's clock.
    """

    def __init__(self, stream: ExtractorStream, settings: Settings) -> None:
        self._stream = stream
        self._settings = settings
        self._rows = 0  # emitted since the last STATE
        self._by_date = False
        self._listed_to: datetime | None = None
        self.bookmark = Bookmark()
        self.now = utc_now()

    def begin(self, plan: Plan) -> None:
        """Start from a plan's bookmark; nothing is written yet."""
        self.now = plan.now
        self._by_date = plan.newest is not None
        self._listed_to = plan.listed_to
        self.bookmark = plan.bookmark
        if not plan.files:
            self._complete(listed=bool(plan.listed))
        if plan.files or replace(self.bookmark, from_scratch=False) != Bookmark():
            self._store()
        elif plan.bookmark.from_scratch:
            self._stream.stream_state["from_scratch"] = NOTHING_READ

    def count(self, rows: int) -> None:
        """Count rows that were emitted since the last STATE."""
        self._rows += rows

    def reach(self, spooled: Spooled, rows: int) -> None:
        """Write STATE within a file, after its first *rows* rows."""
        self.bookmark = self.bookmark.reach(spooled.file, rows, spooled.content)
        self.write()

    def finish(self, spooled: Spooled, following: ExportFile | None) -> None:
        """Move the bookmark past a file, and write STATE.

        Files of few rows share a STATE, so that the total size of STATE grows with the records.

        Args:
            spooled: The file.
            following: The file that is read next; None after the last one.
        """
        bookmark = self.bookmark.finish_before(
            following, spooled.file, self._settings.lookback, self.now, spooled.content
        )
        self.bookmark = bookmark.forget_versions() if self._by_date else bookmark
        self._store()
        if following is None:
            self._complete(listed=True)
        if following is None or is_state_due(self._rows, self._entries()):
            self.write()

    def flush(self) -> None:
        """Write STATE if rows were emitted since the last one."""
        if self._rows:
            self.write()

    def write(self) -> None:
        """Write STATE with the bookmark as it is."""
        self._store()
        self._rows = 0
        self._stream.write_state()

    def _entries(self) -> int:
        """How many names of files STATE has; one file may be in it several times."""
        bookmark = self.bookmark
        return len(bookmark.finished) + len(bookmark.versions) + len(bookmark.contents)

    def _complete(self, *, listed: bool) -> None:
        """Record that everything listed has been read, which proves nothing if no file was."""
        if listed:
            self.bookmark = replace(self.bookmark, from_scratch=False)
        self._stream.stream_state["listed_on"] = self.now.date().isoformat()
        if self._listed_to:
            self._stream.stream_state["listed_to"] = format_time(self._listed_to)

    def _store(self) -> None:
        """Put the bookmark into the state."""
        store_bookmark(self._stream.stream_state, self.bookmark, self._settings.lookback_days)


def is_state_due(rows: int, names: int) -> bool:
    """True if STATE, with *names* names of files, is due after a file.

    Each name takes about sixty bytes. This rule keeps the total size of STATE near that of the
    records; a STATE after every file would grow with the square of the number of files.

    Args:
        rows: Rows emitted since the last STATE.
        names: Names of files that STATE has.
    """
    return names <= 64 + 2 * rows
