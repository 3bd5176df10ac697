"""One stream of exports that are made on request into a database: a transaction a window."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, cast

from filetap.bookmark_checks import check_account
from filetap.columns.added import EVENT_ID
from filetap.columns.resolve import Known
from filetap.columns.sample import Sample, Sampler
from filetap.errors import DatabaseError
from filetap.jobs.keep import Keeper
from filetap.jobs.reader import JobReader
from filetap.load.columns import LoadTable
from filetap.load.rows import RowLoader, all_or_nothing
from filetap.progress import Tally
from filetap.scan import identify

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

    from filetap.jobs.reader import Delivery
    from filetap.jobs.source import JobSource
    from filetap.load.store import Store
    from filetap.run import Run
    from filetap.vendor import StreamSpec

_WHOLE: Final = "nothing of it was loaded; the windows before it are"


class JobLoadStream:
    """Loads the windows of one stream.

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
        self._spec = spec
        self._table = LoadTable(Known.of(spec, run.settings, {}), run.settings.tuning, logger)
        self._rows = RowLoader(store, self._table, run.settings, self.tally, logger)
        source = cast("JobSource", run.transport)
        self._keeper = Keeper(spec.times)
        self._jobs = JobReader(spec, source, run.spool, run.settings, logger)
        self._state: dict[str, Any] = {}
        self._stored: Mapping[str, Any] = {}
        self._has_columns = False

    def load(self, state: Mapping[str, Any], *, is_stored: bool, again: bool = False) -> None:
        """Request, wait and load.

        Args:
            state: The stream's part of the state; empty for none.
            is_stored: True if the database has it, False if it comes from elsewhere.
            again: True to load every window again, whatever the state says.

        Raises:
            ExportError: A window cannot be loaded; those before it are.
        """
        run, table, stream = self._run, self._table, self._spec.name
        run.progress.begin(self.tally)
        self._state, self._stored = dict(state), dict(state) if is_stored else {}
        table.known = table.known.with_state(state)
        if table.known.pinned:
            self._use(Sample())
        self._jobs.rereads = EVENT_ID in table.known.pinned_key
        windows = self._jobs.plan(state, incremental=not again)
        check_account(stream, state, run.transport.account, run.vendor.account)
        if run.transport.account:
            self._state["program_id"] = run.transport.account
        self.tally.files = len(windows)
        self.tally.state_from = self.tally.state_to = self._jobs.reached.bookmark
        if windows or (state and not is_stored):
            self._store.begin(stream)
        if state and not is_stored:
            self._save()
        for delivery in self._jobs.deliver(windows, lambda: table.expected, self._save):
            with closing(delivery):
                self._load(delivery)

    def _load(self, delivery: Delivery) -> None:
        """Load one window in one transaction, together with the state after it."""
        settings = self._run.settings
        if not self._has_columns:
            sampler = Sampler(self._table.expected, settings.tuning)
            for spooled in delivery.files:
                sampler.add(spooled)
            if sampler.found().columns:
                self._use(sampler.found())
        keeper = self._keeper.begin(delivery.job.window)
        files, table, tuning = delivery.files, self._table, settings.tuning
        identities = identify(files, table, block=tuning.block, divert=settings.diverts)
        with (
            all_or_nothing(self.tally),
            self._store.database.transaction(f"{delivery.job} into {self._rows.target}", _WHOLE),
        ):
            self._lock()
            for spooled in delivery.files:
                if self._jobs.is_done(spooled):
                    continue
                self.tally.open_file(spooled.size)
                self._store.claim(spooled.file, spooled.size, again=True)
                skip = self._jobs.rows_read(spooled)
                self._rows.load(spooled, skip=skip, keeps=keeper, identities=identities)
                self.tally.close_file()
            self._jobs.finish(delivery)
            self._write()
        self.tally.state_to = self._jobs.reached.bookmark

    def _use(self, found: Sample) -> None:
        """Use the columns that the state has pinned, and those of a sample."""
        self._table.use(found, self._state)
        self._has_columns = True

    def _save(self) -> None:
        """Write the state in a transaction of its own."""
        with self._store.database.transaction(self._spec.name, "its state is unchanged"):
            self._lock()
            self._write()

    def _lock(self) -> None:
        """Lock the state.

        Raises:
            DatabaseError: Another loader has written it meanwhile.
        """
        state = self._store.locked_state(self._spec.name)
        if state and state != self._stored:
            msg = f"{self._spec.name}: another loader has loaded it meanwhile"
            raise DatabaseError(msg, "run again, one load at a time")

    def _write(self) -> None:
        """Write the state."""
        self._jobs.store(self._state)
        if self._has_columns:
            self._state.update(self._table.pins)
        times = (name for name in self._spec.times if name in self._table.columns.types)
        self._state["replication_key"] = next(times, self._spec.times[0])
        self._store.save_state(self._spec.name, self._state)
        self._stored = dict(self._state)
