"""Export files as a Singer stream."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import TYPE_CHECKING

from filetap.bookmark import earlier
from filetap.bookmark_checks import log_listing
from filetap.columns.added import GENERATED_AT
from filetap.columns.sample import Sample
from filetap.plan import in_order, listed_since, plan_columns, plan_files
from filetap.singer.checkpoint import Checkpoint
from filetap.singer.maps import unknown_columns
from filetap.singer.pending import PendingFiles
from filetap.singer.typed import TypedStream
from filetap.times import utc_now
from filetap.wording import counted

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from singer_sdk import Tap

    from filetap.plan import Plan
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
        now = utc_now()
        table.known = table.known.with_state(state)
        by_date = run.vendor.newest is not None and self._is_incremental
        since = listed_since(state, run.settings, now) if by_date else None
        listed = list(run.transport.list_files(self.name, since))
        plan = plan_files(
            self.name, listed, state, run.settings, now=now, incremental=self._is_incremental
        )
        if table.known.spec.ordered:
            plan = self._in_order(plan)
        self._check_accounts()
        self._files.files = plan.files
        self._tally.files = len(plan.files)
        self._log_method()
        log_listing(plan, state, run.settings, run.vendor, self.logger)
        self._checkpoint.begin(plan, run.vendor.newest and run.vendor.newest(run.transport))
        found = self._files.sample()
        table.use(plan_columns(table.known, found), sampled=found.columns)
        for warning in unknown_columns(run.settings.maps, self.name, table.names, table.documented):
            self.logger.warning("%s", warning)
        table.announce(pin_key=bool(found.columns))

    def _in_order(self, plan: Plan) -> Plan:
        """The plan that leaves each row as its newest file has it."""
        run, bookmark = self._run, plan.bookmark
        copies = []
        for file in plan.files:
            if file.key in bookmark.finished and bookmark.has_changed(file):
                with closing(run.spool.download(run.transport, file)) as spooled:
                    if bookmark.has_same_content(file, spooled.content):
                        copies.append(file)
        for file in copies:
            self.logger.info("%s: the file was touched, but its content is read already", file)
        ordered = in_order(plan, copies, run.settings)
        if again := {*ordered.files} - {*plan.files}:
            count = counted(len(again), "later file")
            be = "is" if len(again) == 1 else "are"
            self.logger.info("%s: %s %s read again after it", ordered.files[0], count, be)
        return ordered
