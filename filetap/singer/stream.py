"""Export files as a Singer stream."""

from __future__ import annotations

import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from singer_sdk.helpers.conform import TypeConformanceLevel

from filetap.bookmark import earlier
from filetap.bookmark_checks import check_account, check_accounts, log_listing
from filetap.columns.added import ACCOUNT, ADDED_TYPES, GENERATED_AT
from filetap.columns.nested import iter_records
from filetap.columns.resolve import Columns, Known
from filetap.columns.sample import Sample
from filetap.plan import in_order, listed_since, plan_columns, plan_files
from filetap.progress import Tally
from filetap.singer.checkpoint import Checkpoint
from filetap.singer.malformed import MalformedStream
from filetap.singer.maps import unknown_columns
from filetap.singer.pending import PendingFiles
from filetap.singer.private import BaseBatchFileEncoding, ExtractorStream, plain_logger
from filetap.singer.table import StreamTable
from filetap.times import utc_now
from filetap.wording import counted
from filetap.write.batch_files import FILE_FORMATS, put, write_file
from filetap.write.records import record_lines

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl
    from singer_sdk import Tap
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.mapper import StreamMap
    from singer_sdk.singerlib import Catalog

    from filetap.plan import Plan
    from filetap.run import Run
    from filetap.singer.private import BatchConfig
    from filetap.vendor import StreamSpec


class ExportStream(ExtractorStream):
    """One stream of export files, each read exactly once, oldest first."""

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE  # types are final before records are made
    STATE_MSG_FREQUENCY = sys.maxsize  # STATE is written where the bookmark moves, nowhere else

    def __init__(self, tap: Tap, spec: StreamSpec, run: Run) -> None:
        """Start from the documented columns; nothing is requested before the first SCHEMA."""
        super().__init__(tap, name=spec.name)
        settings, vendor = run.settings, run.vendor
        self._run = run
        known = Known.of(spec, settings, {})
        self._table = StreamTable(self, known, vendor, settings.tuning)
        self._checkpoint = Checkpoint(self, settings)
        self._tally = Tally(spec.name)
        malformed = (
            MalformedStream(tap, spec.name, vendor, settings.maps) if settings.diverts else None
        )
        self._files = PendingFiles(
            run,
            self._table,
            checkpoint=self._checkpoint,
            tally=self._tally,
            malformed=malformed,
            logger=self.logger,
        )
        self.primary_keys = known.key
        if spec.full_table:
            self.forced_replication_method = "FULL_TABLE"
        else:
            self.replication_key = GENERATED_AT
        # The SDK logs each error too, before the line that says what to do.
        plain_logger(self.logger).addFilter(lambda line: "unhandled error" not in str(line.msg))

    # The interface that the SDK calls

    @property
    @override
    def schema(self) -> dict[str, Any]:
        return self._table.schema

    @property
    @override
    def effective_schema(self) -> dict[str, Any]:
        # The input catalog's columns are among the types; a run adds others.
        return self.schema

    @property
    @override
    def emit_activate_version_messages(self) -> bool:
        # Vendors keep files for days: a new version would delete a warehouse's history.
        return False

    @property
    @override
    def partitions(self) -> None:
        # The SDK would sync a stream once for each partition that it finds in a state.
        return None

    @property
    @override
    def stream_maps(self) -> list[StreamMap]:
        if not self.is_registered:
            self._table.register()
        return super().stream_maps

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        super().apply_catalog(catalog)
        spec = self._table.known.spec
        self.replication_key = None if spec.full_table else self.replication_key or GENERATED_AT
        key = tuple(dict.fromkeys(self.primary_keys or ()))
        known = self._table.known = self._table.known.with_catalog(self.input_schema, key)
        assume = known.spec.documented.assume
        types = {name: kind or assume(name) for name, kind in known.before.items()}
        self._table.columns = Columns(types or self._table.columns.types, known.key)
        self.primary_keys = known.key

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        # The SDK would write a signpost into STATE, where the bookmark has no use for it.
        return None

    @override
    def get_records(self, context: Context | None) -> Iterator[Record]:
        for frame in self._frames(self._run.settings.tuning.slice):
            yield from iter_records(frame, self._types)

    @override
    def record_blocks(self) -> Iterator[tuple[Callable[[str], bytes], int]]:
        tuning = self._run.settings.tuning
        for frame in self._frames(tuning.slice):
            for part in frame.iter_slices(tuning.lines):
                yield partial(record_lines, part, self._types, self.name), part.height

    @override
    def get_batches(
        self, batch_config: BatchConfig, context: Context | None = None
    ) -> Iterator[tuple[BaseBatchFileEncoding, list[str]]]:
        chosen, storage = batch_config.encoding, batch_config.storage
        compression = chosen.compression or FILE_FORMATS[chosen.format][0]
        encoding = BaseBatchFileEncoding(chosen.format, compression)
        suffix = chosen.format + (".gz" if compression == "gzip" else "")
        most = self._run.settings.tuning.slice
        if batch_config.batch_size > most:
            self.logger.warning("%s: batch files get at most %d rows", self.name, most)
        stem = f"{storage.prefix or ''}{self.tap_name}--{self.name}-{uuid4()}"
        values = chosen.format != "jsonl"
        frames = self._frames(min(batch_config.batch_size, most), fill=True, values=values)
        for number, frame in enumerate(frames, start=1):
            write = partial(write_file, frame, self._types, chosen.format, compression)
            name = f"{stem}-{number}.{suffix}"
            yield encoding, [put(storage.root, storage.params or {}, name, write)]

    def _frames(
        self, most: int, *, fill: bool = False, values: bool = False
    ) -> Iterator[pl.DataFrame]:
        """Typed batches of the pending files."""
        return self._files.frames(most, fill=fill, values=values, incremental=self._is_incremental)

    @property
    def _types(self) -> dict[str, str]:
        """Column → type, the added columns included."""
        return {**self._table.columns.types, **ADDED_TYPES}

    @property
    def _is_incremental(self) -> bool:
        """True to resume from the bookmark: always, unless the catalog says FULL_TABLE."""
        return str(self.replication_method).upper() != "FULL_TABLE"

    # Before the first SCHEMA

    def discover(self) -> None:
        """Take the columns and types of the newest generation that has any columns.

        Raises:
            ExportError: The list or the first of the files cannot be read.
        """
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

    def _check_accounts(self) -> None:
        """Check whose files they are; records name the account if there are several."""
        known, transport, state = self._table.known, self._run.transport, self.stream_state
        vendor = self._run.vendor
        check_account(self.name, state, transport.account, vendor.account)
        if transport.account:
            state["program_id"] = transport.account
        keyed = ACCOUNT in {*known.own_key, *known.catalog_key, *known.pinned_key}
        several = check_accounts(self.name, transport, vendor, self.logger, keyed=keyed)
        if several:
            state["programs"] = True
        self._table.has_accounts = keyed or several or bool(state.get("programs"))

    def _log_method(self) -> None:
        """Warn about a replication method that does not exist."""
        if self.replication_method not in {"INCREMENTAL", "FULL_TABLE"}:
            self.logger.warning(
                "%s: the replication method %s is treated as %s",
                self.name,
                self.replication_method,
                "INCREMENTAL" if self._is_incremental else "FULL_TABLE",
            )
