"""Exports that are made on request as a Singer stream."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, cast

from filetap.columns.added import EVENT_ID
from filetap.columns.protection import check_protected
from filetap.columns.sample import Sample, Sampler, sample
from filetap.jobs.keep import Keeper
from filetap.jobs.proof import rows_of
from filetap.jobs.reader import JobReader
from filetap.plan import plan_columns
from filetap.scan import identify
from filetap.singer.maps import unknown_columns
from filetap.singer.rows import RowReader
from filetap.singer.typed import TypedStream
from filetap.wording import counted

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import polars as pl
    from singer_sdk import Tap

    from filetap.download.spool import Spooled
    from filetap.jobs.reader import Delivery
    from filetap.jobs.source import JobSource
    from filetap.run import Run
    from filetap.singer.rows import BatchOptions
    from filetap.vendor import StreamSpec


_LOOKED_AT = 5  # files, at most, that discovery downloads


class JobStream(TypedStream):
    """A stream of windows, each requested from the vendor, and read once in a run."""

    def __init__(self, tap: Tap, spec: StreamSpec, run: Run) -> None:
        super().__init__(tap, spec, run, spec.times[0])
        self._source = cast("JobSource", run.transport)
        self._jobs = JobReader(spec, self._source, run.spool, run.settings, self.logger)
        tuning = run.settings.tuning
        self._rows = RowReader(self._table, self._tally, self._malformed, tuning, self.logger)
        self._times = spec.times
        self._keeper = Keeper(spec.times)
        self._deliveries: Iterator[Delivery] = iter(())
        self._first: Delivery | None = None

    # Before the first SCHEMA

    @override
    def discover(self) -> None:
        # The columns and types of the newest file that exists and has rows; none is requested.
        found = Sample()
        run, expected = self._run, self._table.expected
        files = sorted(run.transport.list_files(self.name), key=lambda file: file.generated_at)
        for file in reversed(files[-_LOOKED_AT:]):
            with closing(run.spool.download(run.transport, file)) as spooled:
                found = sample(spooled, expected, run.settings.tuning)
            if found.columns:
                break
        self._use(found)

    @override
    def prepare(self) -> None:
        # The SDK calls this first. Columns come from the first window that has rows; windows
        # without any are finished on the way.
        self._run.progress.begin(self._tally)
        state, table = self.stream_state, self._table
        table.known = table.known.with_state(state)
        # Ids count equal rows of all files.
        self._jobs.rereads = EVENT_ID in table.known.pinned_key
        windows = self._jobs.plan(state, incremental=self._is_incremental)
        self._check_accounts()
        self._log_method()
        self._tally.files = len(windows)
        self._tally.state_from = self._tally.state_to = self._jobs.reached.bookmark
        self.logger.info("%s: %s to request", self.name, counted(len(windows), "window"))
        self._deliveries = self._jobs.deliver(windows, lambda: table.expected, self._save)
        found = Sample()
        for delivery in self._deliveries:
            try:
                found = self._sampled(delivery)
                has_rows = found.columns or self._has_rows(delivery)
            except BaseException:
                delivery.close()
                raise
            if has_rows:
                self._first = delivery
                break
            with closing(delivery):
                self._finish(delivery)
        try:
            self._use(found, planned=True)
            table.announce(pin_key=bool(found.columns))
            table.write_schema(with_state=self._first is not None)
        except BaseException:
            self._close_first()
            raise

    def _sampled(self, delivery: Delivery) -> Sample:
        """What a window's files hold."""
        sampler = Sampler(self._table.expected, self._run.settings.tuning)
        for spooled in delivery.files:
            sampler.add(spooled)
        return sampler.found()

    def _has_rows(self, delivery: Delivery) -> bool:
        """True if a window has rows, perhaps only some that cannot be read."""
        expected = self._table.expected
        return any(rows_of(spooled, expected)[0] for spooled in delivery.files)

    def _use(self, found: Sample, *, planned: bool = False) -> None:
        """Use the columns of what was sampled."""
        table, maps = self._table, self._run.settings.maps
        table.known, doubts = check_protected(table.known, found)
        for doubt in doubts:
            self.logger.warning("%s: %s", self.name, doubt)
        columns = plan_columns(table.known, found) if planned else table.known.resolve(found)
        documented = (name for name in self._times if name in table.documented.columns)
        times = (name for name in self._times if name in columns.types)
        self.replication_key = next(times, "") or next(documented, self._times[0])
        # Even if no row has shown it: a SCHEMA has the column of its bookmark.
        kind = columns.types.get(self.replication_key, "date-time")
        types = {**columns.types, self.replication_key: kind}
        table.use(replace(columns, types=types), sampled=found.columns)
        for warning in unknown_columns(maps, self.name, table.names, table.documented):
            self.logger.warning("%s", warning)

    # Rows

    @override
    def typed_frames(self, batches: BatchOptions) -> Iterator[pl.DataFrame]:
        first = [self._first] if self._first else []
        try:
            for delivery in chain(first, self._deliveries):
                self._first = None
                with closing(delivery):
                    yield from self._window_frames(delivery, batches)
                    self._finish(delivery)
        finally:
            self._close_first()

    def _window_frames(
        self, delivery: Delivery, batches: BatchOptions
    ) -> Generator[pl.DataFrame, None, None]:
        """Typed batches of one window."""
        self._tally.files += max(0, len(delivery.files) - 1)
        keeper = self._keeper.begin(delivery.job.window)
        block, divert = self._run.settings.tuning.block, self._malformed is not None
        identities = identify(delivery.files, self._table, block=block, divert=divert)
        batches = replace(batches, identities=identities)
        for position, spooled in enumerate(delivery.files, start=1):
            if self._jobs.is_done(spooled):
                continue
            self._tally.open_file(spooled.size)
            yield from self._rows.frames(
                spooled,
                batches,
                skip=self._jobs.rows_read(spooled),
                reach=partial(self._reach, spooled),
                keeps=keeper,
            )
            self._jobs.finish_file(spooled)
            if position < len(delivery.files):
                self._save()
            self._tally.close_file()
        self._log_times(keeper)

    def _log_times(self, keeper: Keeper) -> None:
        """Log how many rows belong to other windows, and how many to none."""
        if keeper.dropped:
            dropped = counted(keeper.dropped, "row")
            self.logger.debug("%s: %s of other windows left out", self.name, dropped)
        if keeper.timeless:
            self.logger.warning(
                "%s: %s of the window have no time in %s that can be read, and may belong to "
                "another one; a run emits such a row once",
                self.name,
                counted(keeper.timeless, "row"),
                " or ".join(self._times),
            )

    # State

    def _reach(self, spooled: Spooled, rows: int) -> None:
        """Write STATE within a file."""
        self._jobs.reach(spooled, rows)
        self._save()

    def _finish(self, delivery: Delivery) -> None:
        """Write STATE after a window."""
        self._jobs.finish(delivery)
        self._tally.state_to = self._jobs.reached.bookmark
        self._save()

    def _save(self) -> None:
        """Write STATE as it is."""
        state = self.stream_state
        self._jobs.store(state)
        state["replication_key"] = self.replication_key
        self.write_state()

    def _close_first(self) -> None:
        """Free the downloads that were sampled and not read."""
        if self._first:
            self._first.close()
            self._first = None
