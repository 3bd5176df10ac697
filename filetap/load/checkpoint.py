"""How far a stream has been loaded: the state beside the rows, shared by all loaders."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from filetap.bookmark_state import store_bookmark
from filetap.plan import plan_files
from filetap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.load.columns import LoadTable
    from filetap.load.store import Store
    from filetap.settings import Settings


class LoadCheckpoint:
    """Moves a stream's bookmark by file, in the transaction that loads the file.

    Args:
        store: The tables.
        table: The stream's columns; their types are pinned in the state.
        settings: First date and lookback.
        state: The stream's part of the state; empty for none.
        is_stored: True if the database has this state, False if it comes from elsewhere.
        again: True to load every file again, whatever the state says.

    Attributes:
        state: The stream's part of the state, as it will be written.
    """

    def __init__(  # noqa: PLR0913 - everything that the choice depends on
        self,
        store: Store,
        table: LoadTable,
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
        self._settings = settings
        self._again = again
        self._now = utc_now()

    def plan(self, listed: Iterable[ExportFile]) -> None:
        """Choose the files to load.

        Raises:
            StateError: The state cannot be read.
        """
        self.planned = plan_files(
            self._stream,
            listed,
            self.state,
            self._settings,
            now=self._now,
            incremental=not self._again,
        )
        self.bookmark = self.planned.bookmark

    def is_pending(self, file: ExportFile) -> bool:
        """True if a file is still to be loaded."""
        settings = self._settings
        return self._again or bool(self.bookmark.pending([file], settings.lookback, settings.start))

    def resume(self) -> None:
        """Lock the state, and continue from whatever another loader has committed meanwhile."""
        state = self._store.locked_state(self._stream)
        if state and state != self._stored:
            notes = ("program_id", "programs", "lost")
            self.state = {**state, **{n: self.state[n] for n in notes if n in self.state}}
            self._stored = state
            self.plan(self.planned.listed)
            self._table.resume(self.state)

    def finish(self, spooled: Spooled, following: ExportFile | None) -> None:
        """Move the bookmark past a file, and write the state.

        Args:
            spooled: The file.
            following: The file that is loaded next; None after the last one.
        """
        self.bookmark = self.bookmark.finish_before(
            following, spooled.file, self._settings.lookback, self._now, spooled.content
        )
        self.write(complete=following is None)

    def write(self, *, complete: bool) -> None:
        """Write the state.

        Args:
            complete: True if everything listed has been loaded.
        """
        if complete:
            self.bookmark = replace(self.bookmark, from_scratch=False)
            self.state["listed_on"] = self._now.date().isoformat()
        store_bookmark(self.state, self.bookmark, self._settings.lookback_days)
        self.state.update(self._table.pins)
        self._store.save_state(self._stream, self.state)
        self._stored = dict(self.state)
