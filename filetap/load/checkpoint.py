"""How far a stream has been loaded: the state beside the rows, shared by all loaders."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from filetap.bookmark_state import store_bookmark
from filetap.plan import last_date
from filetap.times import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.listing import Listing
    from filetap.load.columns import LoadTable
    from filetap.load.store import Store
    from filetap.settings import Settings


class LoadCheckpoint:
    """Moves a stream's bookmark by file, in the transaction that loads the file.

    Args:
        store: The tables.
        table: The stream's columns; their types are pinned in the state.
        listing: The files that are available.
        settings: First date and lookback.
        state: The stream's part of the state; empty for none.
        is_stored: True if the database has this state, False if it comes from elsewhere.
        again: True to load every file again, whatever the state says.

    Attributes:
        state: The stream's part of the state, as it will be written.
        planned: The files to load.
        bookmark: How far the stream has been loaded.

    Raises:
        StateError: The state cannot be read.
    """

    def __init__(  # noqa: PLR0913 - everything that the choice depends on
        self,
        store: Store,
        table: LoadTable,
        listing: Listing,
        settings: Settings,
        state: Mapping[str, Any],
        *,
        is_stored: bool,
        again: bool,
    ) -> None:
        self.state = dict(state)
        self._stored: Mapping[str, Any] = dict(state) if is_stored else {}
        self._store = store
        self._table = table
        self._stream = table.known.spec.name
        self._listing = listing
        self._settings = settings
        self._again = again
        self._plan()

    def _plan(self) -> None:
        """Choose the files to load."""
        self.planned = self._listing.plan(self.state)
        self.bookmark = self.planned.bookmark

    def is_pending(self, file: ExportFile) -> bool:
        """True if a file is still to be loaded."""
        settings = self._settings
        return self._again or bool(self.bookmark.pending([file], settings.lookback, settings.start))

    def is_repeated(self, file: ExportFile) -> bool:
        """True if a file is loaded though the ledger may have it in its present version."""
        return self._again or self.bookmark.is_reopened(file)

    @property
    def is_moved(self) -> bool:
        """True if a run that loads nothing has learned what the next one should know.

        That is a newer date up to which files are listed, or that a file was touched.
        """
        plan = self.planned
        return plan.newest is not None and (
            plan.listed_to not in {None, last_date(self._stored)}
            or dict(plan.bookmark.versions) != self._stored.get("versions", {})
        )

    def resume(self) -> None:
        """Lock the state, and continue from whatever another loader has committed meanwhile."""
        state = self._store.locked_state(self._stream)
        if state and state != self._stored:
            notes = ("program_id", "programs", "lost")
            self.state = {**state, **{n: self.state[n] for n in notes if n in self.state}}
            self._stored = state
            self._plan()
            self._table.resume(self.state)

    def finish(self, spooled: Spooled, following: ExportFile | None) -> None:
        """Move the bookmark past a file, and write the state.

        Args:
            spooled: The file.
            following: The file that is loaded next; None after the last one.
        """
        self.bookmark = self.bookmark.finish_before(
            following, spooled.file, self._settings.lookback, self.planned.now, spooled.content
        )
        if self.planned.newest:
            self.bookmark = self.bookmark.forget_versions()
        self.write(complete=following is None)

    def write(self, *, complete: bool) -> None:
        """Write the state.

        Args:
            complete: True if everything listed has been loaded.
        """
        if complete:
            self.bookmark = replace(self.bookmark, from_scratch=False)
            self.state["listed_on"] = self.planned.now.date().isoformat()
            if self.planned.listed_to:
                self.state["listed_to"] = format_time(self.planned.listed_to)
        store_bookmark(self.state, self.bookmark, self._settings.lookback_days)
        self.state.update(self._table.pins)
        self._store.save_state(self._stream, self.state)
        self._stored = dict(self.state)
