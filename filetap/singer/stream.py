"""Export files as a Singer stream."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from filetap.bookmark import earlier
from filetap.bookmark_checks import log_listing
from filetap.columns.added import GENERATED_AT
from filetap.columns.protection import check_protected
from filetap.columns.sample import Sample
from filetap.listing import Listing
from filetap.plan import plan_columns
from filetap.singer.checkpoint import Checkpoint
from filetap.singer.maps import unknown_columns
from filetap.singer.pending import PendingFiles
from filetap.singer.typed import TypedStream

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from singer_sdk import Tap

    from filetap.run import Run
    from filetap.singer.rows import BatchOptions
    from filetap.vendor import StreamSpec


class ExportStream(TypedStream):
    """One stream of export files, each read exactly once, oldest first."""

    def __init__(self, tap: Tap, spec: StreamSpec, run: Run) -> None:
        super().__init__(tap, spec, run, "" if spec.full_table else GENERATED_AT)
        self._checkpoint = Checkpoint(self, run.settings)
        self._files = PendingFiles(
            run,
            self._table,
            checkpoint=self._checkpoint,
            tally=self._tally,
            malformed=self._malformed,
            logger=self.logger,
        )

    @override
    def typed_frames(self, batches: BatchOptions) -> Iterator[pl.DataFrame]:
        return self._files.frames(batches, incremental=self._is_incremental)

    # Before the first SCHEMA

    @override
    def discover(self) -> None:
        # The columns and types of the newest generation that has any columns.
        run = self._run
        newest_listed = run.vendor.newest and run.vendor.newest(run.transport)
        since = earlier(newest_listed, run.settings.lookback) if newest_listed else None
        files = list(run.transport.list_files(self.name, since))
        found = Sample()
        for newest in sorted({file.generated_at for file in files}, reverse=True):
            self._files.files = [file for file in files if file.generated_at == newest]
            found = self._files.sample(whole_first=False)
            self._files.close()
            if found.columns:
                break
        self._table.use(self._table.known.resolve(found), sampled=found.columns)

    @override
    def prepare(self) -> None:
        # The SDK calls this first: the pending files must be known before the first SCHEMA.
        try:
            self._plan()
            self._table.write_schema(with_state=bool(self._files.files))
        except BaseException:
            self._files.close()
            raise

    def _plan(self) -> None:
        """List files, choose those to read, sample them, and resolve columns, types and key."""
        run, table, state = self._run, self._table, self.stream_state
        run.progress.begin(self._tally)
        table.known = table.known.with_state(state)
        plan = Listing(
            run, table.known.spec, state, self.logger, incremental=self._is_incremental
        ).plan(state)
        self._check_accounts()
        self._files.files = plan.files
        self._tally.plan(plan)
        self._log_method()
        log_listing(plan, state, run.settings, run.vendor, self.logger)
        self._checkpoint.begin(plan)
        found = self._files.sample()
        table.known, doubts = check_protected(table.known, found)
        for doubt in doubts:
            self.logger.warning("%s: %s", self.name, doubt)
        table.use(plan_columns(table.known, found), sampled=found.columns)
        for warning in unknown_columns(run.settings.maps, self.name, table.names, table.documented):
            self.logger.warning("%s", warning)
        table.announce(pin_key=bool(found.columns))
