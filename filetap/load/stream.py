"""One stream into a database: plan, sample, and then a transaction for each file."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from filetap.bookmark_checks import (
    check_account,
    check_accounts,
    is_unchanged_copy,
    last_listed,
    log_listing,
    rows_read,
)
from filetap.columns.added import ACCOUNT
from filetap.columns.resolve import Known
from filetap.columns.sample import sample_files
from filetap.listing import Listing
from filetap.load.checkpoint import LoadCheckpoint
from filetap.load.columns import LoadTable
from filetap.load.rows import RowLoader, all_or_nothing
from filetap.progress import Tally
from filetap.times import utc_now

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence

    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.load.store import Store
    from filetap.run import Run
    from filetap.vendor import StreamSpec

_WHOLE: Final = "nothing of it was loaded; the files before it are"


class _LoadedError(Exception):
    """A file has been loaded already, by another loader."""


class LoadStream:
    """Loads the pending files of one stream.

    Args:
        run: What all streams share.
        store: The tables.
        spec: The stream.
        logger: Receives what is logged about it.

    Attributes:
        tally: Counts what is loaded.
    """

    def __init__(self, run: Run, store: Store, spec: StreamSpec, logger: logging.Logger) -> None:
        self.tally = Tally(spec.name)
        self._run = run
        self._store = store
        self._stream = spec.name
        self._log = logger
        self._table = LoadTable(Known.of(spec, run.settings, {}), run.settings.tuning, logger)
        self._rows = RowLoader(store, self._table, run.settings, self.tally, logger)

    def load(self, state: Mapping[str, Any], *, is_stored: bool, again: bool = False) -> None:
        """List, plan and load.

        Args:
            state: The stream's part of the state; empty for none.
            is_stored: True if the database has it, False if it comes from elsewhere.
            again: True to load every available file again, whatever the state says.

        Raises:
            ExportError: A file cannot be loaded; those before it are.
        """
        run, table, store = self._run, self._table, self._store
        run.progress.begin(self.tally)
        spec = table.known.spec
        listing = Listing(run, spec, state, self._log, incremental=not again)
        checkpoint = self._checkpoint = LoadCheckpoint(
            store, table, listing, run.settings, state, is_stored=is_stored, again=again
        )
        table.known = table.known.with_state(state)
        self._check_accounts()
        log_listing(checkpoint.planned, checkpoint.state, run.settings, run.vendor, self._log)
        files = checkpoint.planned.files
        self.tally.plan(checkpoint.planned)
        if files:
            store.begin(self._stream)
            self._load_files(files, is_stored=is_stored or not state)
        elif checkpoint.is_moved or (state and (not is_stored or self._is_to_note(state))):
            store.begin(self._stream)
            self._write_state(complete=True)

    def _check_accounts(self) -> None:
        """Check whose files they are; rows name the account if there are several."""
        run, known, state = self._run, self._table.known, self._checkpoint.state
        check_account(self._stream, state, run.transport.account, run.vendor.account)
        if run.transport.account:
            state["program_id"] = run.transport.account
        keyed = ACCOUNT in {*known.own_key, *known.pinned_key}
        several = check_accounts(self._stream, run.transport, run.vendor, self._log, keyed=keyed)
        if several:
            state["programs"] = True
        self._table.has_accounts = keyed or several or bool(state.get("programs"))

    def _is_to_note(self, state: Mapping[str, Any]) -> bool:
        """True if a run with nothing new has something to write.

        Otherwise it writes nothing; but the day of a listing proves less and less.
        """
        if self._checkpoint.state.get("lost") != state.get("lost"):
            return True
        kept, last = self._run.vendor.retention, last_listed(state)
        return kept is not None and (last is None or utc_now().date() - last > kept / 2)

    def _write_state(self, *, complete: bool) -> None:
        """Write the state, unless another loader has written one meanwhile."""
        with self._store.database.transaction(self._stream, "its state is unchanged"):
            self._checkpoint.resume()
            self._checkpoint.write(complete=complete)

    def _load_files(self, files: Sequence[ExportFile], *, is_stored: bool) -> None:
        """Sample the files, and load one after the other."""
        run, table = self._run, self._table
        download = partial(run.spool.download, run.transport)
        sampled = sample_files(files, download, table.expected, run.settings, whole_first=True)
        with closing(sampled.kept):
            table.use(sampled.found, self._checkpoint.state)
            if not is_stored:
                self._write_state(complete=False)
            downloads = sampled.downloads(files, download, run.settings.concurrency)
            with closing(downloads):
                for position, spooled in enumerate(downloads, start=1):
                    self.tally.open_file(spooled.size)
                    with closing(spooled):
                        self._load_file(spooled, next(iter(files[position : position + 1]), None))
                    self.tally.close_file()
                    self.tally.state_to = self._checkpoint.bookmark.generated_at

    def _load_file(self, spooled: Spooled, following: ExportFile | None) -> None:
        """Load one file in one transaction, together with the state after it."""
        file, store, checkpoint = spooled.file, self._store, self._checkpoint
        try:
            with (
                all_or_nothing(self.tally),
                store.database.transaction(f"{file} into {self._rows.target}", _WHOLE),
            ):
                self._claim(spooled)
                repeated = checkpoint.is_repeated(file)
                if repeated or not is_unchanged_copy(checkpoint.bookmark, spooled, self._log):
                    self._replace(spooled, repeated=repeated)
                else:
                    store.count(file, store.forget(file) or 0)
                checkpoint.finish(spooled, following)
        except _LoadedError:
            self._log.info("%s: another loader has loaded it", file)
            with store.database.transaction(str(file), _WHOLE):
                checkpoint.resume()
                if checkpoint.is_pending(file):
                    checkpoint.finish(spooled, following)

    def _claim(self, spooled: Spooled) -> None:
        """Make sure that no other loader has loaded a file, or loads it now.

        Raises:
            _LoadedError: It has been loaded.
        """
        # First of all: another loader with the same file waits here.
        repeated = self._checkpoint.is_repeated(spooled.file)
        if not self._store.claim(spooled.file, spooled.size, again=repeated):
            raise _LoadedError
        self._checkpoint.resume()
        if not self._checkpoint.is_pending(spooled.file):
            raise _LoadedError

    def _replace(self, spooled: Spooled, *, repeated: bool) -> None:
        """Copy a file's rows, in place of those that it had before.

        Args:
            spooled: The file.
            repeated: True if it was loaded in this version.
        """
        file, bookmark = spooled.file, self._checkpoint.bookmark
        is_known = self._store.forget(file) is not None
        replaces = is_known or repeated or bookmark.has_changed(file)
        skip = 0 if replaces else rows_read(bookmark, spooled, self._log)
        self._rows.load(spooled, skip=skip, replaces=replaces)
