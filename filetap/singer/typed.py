"""What all streams of files share: columns that grow, and typed batches as RECORD or BATCH."""

from __future__ import annotations

import sys
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from singer_sdk.helpers.conform import TypeConformanceLevel

from filetap.bookmark_checks import check_account, check_accounts
from filetap.columns.added import ACCOUNT, ADDED_TYPES
from filetap.columns.nested import iter_records
from filetap.columns.resolve import Columns, Known
from filetap.progress import Tally
from filetap.singer.malformed import MalformedStream
from filetap.singer.private import BaseBatchFileEncoding, ExtractorStream, plain_logger
from filetap.singer.rows import BatchOptions
from filetap.singer.table import StreamTable
from filetap.write.batch_files import FILE_FORMATS, put, write_file
from filetap.write.records import record_lines, slices

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

    from filetap.run import Run
    from filetap.singer.private import BatchConfig
    from filetap.vendor import StreamSpec


class TypedStream(ExtractorStream):
    """A stream of files whose columns have types that never change."""

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE  # types are final before records are made
    STATE_MSG_FREQUENCY = sys.maxsize  # STATE is written where the bookmark moves, nowhere else

    def __init__(self, tap: Tap, spec: StreamSpec, run: Run, replication_key: str) -> None:
        """Start from the documented columns; nothing is requested before the first SCHEMA."""
        super().__init__(tap, name=spec.name)
        settings, vendor = run.settings, run.vendor
        self._run = run
        known = Known.of(spec, settings, {})
        self._table = StreamTable(self, known, vendor, settings.tuning)
        self._tally = Tally(spec.name)
        self._malformed = (
            MalformedStream(tap, spec.name, vendor, settings.maps) if settings.diverts else None
        )
        self.primary_keys = known.key
        self.replication_key = self._usual_replication_key = replication_key or None
        if spec.full_table:
            self.forced_replication_method = "FULL_TABLE"
        # The SDK logs each error too, before the line that says what to do.
        plain_logger(self.logger).addFilter(lambda line: "unhandled error" not in str(line.msg))

    @abstractmethod
    def discover(self) -> None:
        """Take columns and types from what the vendor has now.

        Raises:
            ExportError: It cannot be read.
        """

    @abstractmethod
    def typed_frames(self, batches: BatchOptions) -> Iterator[pl.DataFrame]:
        """Typed batches of all that is read; STATE is written between them."""

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
        self.replication_key = self.replication_key or self._usual_replication_key
        key = tuple(dict.fromkeys(self.primary_keys or ()))
        known = self._table.known = self._table.known.with_catalog(self.input_schema, key)
        assume = known.spec.documented.assume
        types = {name: kind or assume(name) for name, kind in known.before.items()}
        types = known.without_dropped(types) or dict(self._table.columns.types)
        self._table.columns = Columns(types, known.key)
        self.primary_keys = known.key

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        # The SDK would write a signpost into STATE, where the bookmark has no use for it.
        return None

    @override
    def get_records(self, context: Context | None) -> Iterator[Record]:
        for frame in self.typed_frames(BatchOptions(self._run.settings.tuning.slice)):
            yield from iter_records(frame, self._types)

    @override
    def record_blocks(self) -> Iterator[tuple[Callable[[str], bytes], int]]:
        tuning = self._run.settings.tuning
        for frame in self.typed_frames(BatchOptions(tuning.slice)):
            for part in slices(frame, tuning.lines):
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
        options = BatchOptions(min(batch_config.batch_size, most), fill=True)
        for number, frame in enumerate(self.typed_frames(options), start=1):
            write = partial(write_file, frame, self._types, chosen.format, compression)
            name = f"{stem}-{number}.{suffix}"
            yield encoding, [put(storage.root, storage.params or {}, name, write)]

    @property
    def _types(self) -> dict[str, str]:
        """Column → type, the added columns included."""
        return {**self._table.columns.types, **ADDED_TYPES}

    @property
    def _is_incremental(self) -> bool:
        """True to resume from the bookmark: always, unless the catalog says FULL_TABLE."""
        return str(self.replication_method).upper() != "FULL_TABLE"

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
