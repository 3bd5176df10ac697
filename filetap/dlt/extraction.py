"""A stream's pending files as Arrow tables; nothing here knows dlt."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from filetap.allocation import keep_freed_memory
from filetap.bookmark_checks import (
    check_account,
    check_accounts,
    is_unchanged_copy,
    log_listing,
    rows_read,
)
from filetap.bookmark_state import store_bookmark
from filetap.columns.added import (
    ACCOUNT,
    ADDED_TYPES,
    ALWAYS_ADDED,
    MALFORMED,
    MALFORMED_SUFFIX,
    ROW_KEY,
    with_added,
)
from filetap.columns.sample import sample_files
from filetap.dlt.table import PinnedTable
from filetap.dlt.typed import typed_table
from filetap.download.spool import Spool
from filetap.errors import FormatError
from filetap.plan import plan_columns, plan_files
from filetap.scan import ScanOptions, scan
from filetap.stats import FileStats
from filetap.times import utc_now
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, MutableMapping, Sequence

    import pyarrow as pa

    from filetap.bookmark import Bookmark
    from filetap.download.spool import Spooled
    from filetap.files import ExportFile, Transport
    from filetap.plan import Plan
    from filetap.read.batch import Malformed
    from filetap.settings import Settings
    from filetap.vendor import StreamSpec, Vendor

SEQUENCE = "_sdc_sequence"

logger = logging.getLogger(__name__)


class Origin:
    """Where files come from; the streams of a source share the transport, and so its token.

    Args:
        vendor: Whose files are read.
        settings: The tap's settings.
    """

    def __init__(self, vendor: Vendor, settings: Settings) -> None:
        self.vendor = vendor
        self.settings = settings
        self._transport: Transport | None = None

    def transport(self) -> Transport:
        """The API's transport, or one that lists a folder now: each does so once."""
        if self._transport is None or self.settings.delivered:
            self._transport = self.vendor.connect(self.settings)
        return self._transport


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of one file.

    Attributes:
        table: Name of the table that they belong to.
        key: Columns of its key.
        rows: The rows.
    """

    table: str
    key: tuple[str, ...]
    rows: pa.Table


class Extraction:
    """Reads the files of a stream that are pending, each verified before its first row.

    The state moves before rows are yielded: whoever stores it stores the rows too, or neither.

    Args:
        origin: Where files come from.
        stream: Name of the stream.
        state: The stream's part of the state, as in Singer's; it is changed.
    """

    def __init__(self, origin: Origin, stream: str, state: MutableMapping[str, Any]) -> None:
        self._vendor, self._settings = origin.vendor, origin.settings
        self._transport = origin.transport()
        self._spool = Spool.of(origin.settings)
        self._state = state
        self._spec: StreamSpec = origin.vendor.streams[stream]
        self._table = PinnedTable(self._spec, origin.settings, state, logger)

    def batches(self) -> Iterator[Batch]:
        """Yield the rows of the pending files.

        Raises:
            ExportError: Files cannot be listed, a file cannot be fetched or not be read, or the
                state belongs to something else.
        """
        keep_freed_memory()
        plan = self._plan()
        bookmark = plan.bookmark
        if plan.files:
            download = partial(self._spool.download, self._transport)
            sampled = sample_files(
                plan.files, download, self._table.expected, self._settings, whole_first=True
            )
            with closing(sampled.kept):
                self._table.check(sampled.found)
                self._table.use(plan_columns(self._table.known, sampled.found))
                if sampled.found.columns:
                    self._table.pin()
                files = sampled.downloads(plan.files, download, self._settings.concurrency)
                with closing(files):
                    following = [*plan.files[1:], None]
                    for spooled, after in zip(files, following, strict=True):
                        with closing(spooled):
                            bookmark = yield from self._file(spooled, after, bookmark, plan)
        self._state["listed_on"] = plan.now.date().isoformat()

    def _plan(self) -> Plan:
        """The files to read, once the state is known to be theirs."""
        stream, state, settings = self._spec.name, self._state, self._settings
        listed = self._transport.list_files(stream)
        plan = plan_files(stream, listed, state, settings, now=utc_now())
        self._check_accounts()
        log_listing(plan, state, settings, self._vendor, logger)
        # dlt never merges two states, which the mark is there for.
        plan = replace(plan, bookmark=replace(plan.bookmark, from_scratch=False))
        if plan.files or state:
            store_bookmark(state, plan.bookmark, settings.lookback_days)
        return plan

    def _check_accounts(self) -> None:
        """Check whose files they are; rows name the account if there are several."""
        known, transport, state = self._table.known, self._transport, self._state
        check_account(self._spec.name, state, transport.account, self._vendor.account)
        if transport.account:
            state["program_id"] = transport.account
        keyed = ACCOUNT in {*known.own_key, *known.pinned_key}
        several = check_accounts(self._spec.name, transport, self._vendor, logger, keyed=keyed)
        if several:
            state["programs"] = True
        self._table.has_accounts = keyed or several or bool(state.get("programs"))

    def _file(
        self, spooled: Spooled, after: ExportFile | None, bookmark: Bookmark, plan: Plan
    ) -> Generator[Batch, None, Bookmark]:
        """Yield one file's rows; returns the bookmark after it."""
        days, file = self._settings.lookback_days, spooled.file
        if not is_unchanged_copy(bookmark, spooled, logger):
            stats = FileStats(file, self._table.key)
            options = self._options(rows_read(bookmark, spooled, logger))
            for rows in scan(spooled, self._table, options, stats):
                bookmark = bookmark.reach(file, rows.last, spooled.content)
                store_bookmark(self._state, bookmark, days)
                if rows.malformed:
                    yield self._malformed(rows.malformed, file)
                if rows.frame.height:
                    yield self._typed(rows.frame, file)
            stats.log(logger, self._table.types, self._table.types)
        lookback = self._settings.lookback
        bookmark = bookmark.finish_before(after, file, lookback, plan.now, spooled.content)
        store_bookmark(self._state, bookmark, days)
        return bookmark

    def _options(self, skip: int) -> ScanOptions:
        """How a file is read after the rows that an earlier run has read."""
        tuning, diverts = self._settings.tuning, self._settings.diverts
        return ScanOptions(
            block=tuning.block,
            most=tuning.slice,
            fill=True,
            divert=diverts,
            skip=skip,
        )

    def _typed(self, frame: pl.DataFrame, file: ExportFile) -> Batch:
        """Rows as values.

        Of the rows of a load that share a key the last one stays, which dlt knows by a number;
        rows whose key is their place need none.

        Raises:
            FormatError: A row has no key.
        """
        self._table.pin()
        key = self._table.columns.key
        for name in key:
            if lacking := frame[name].null_count():
                msg = f"{file}: {name} is empty in {counted(lacking, 'row')}, and it is the key"
                hint = "set primary_keys to columns that no row lacks, and start a new table"
                raise FormatError(msg, hint)
        rows = typed_table(frame, {**self._table.types, **ADDED_TYPES}, key)
        if key != ROW_KEY:
            first = int(self._state.get("sequence", 0))
            self._state["sequence"] = first + frame.height
            numbers = pl.int_range(first + 1, first + frame.height + 1, eager=True)
            rows = rows.append_column(SEQUENCE, numbers.to_arrow())
        return Batch(self._spec.name, key, rows)

    def _malformed(self, malformed: Sequence[Malformed], file: ExportFile) -> Batch:
        """Malformed rows, verbatim."""
        texts = {name: [getattr(row, name) for row in malformed] for name in MALFORMED}
        frame = pl.DataFrame(texts, dict.fromkeys(texts, pl.String))
        numbers = pl.Series([row.number for row in malformed], dtype=pl.Int64)
        types: Mapping[str, str] = {**MALFORMED, **ADDED_TYPES}
        rows = typed_table(with_added(frame, file, numbers, ALWAYS_ADDED), types, ROW_KEY)
        return Batch(self._spec.name + MALFORMED_SUFFIX, ROW_KEY, rows)
