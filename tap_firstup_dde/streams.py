"""Export files as Singer streams: which are pending, which types, which messages."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from singer_sdk import Stream
from singer_sdk.helpers._batch import BaseBatchFileEncoding
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform

from tap_firstup_dde.columns import (
    ADDED_TYPES,
    Sources,
    catalog_types,
    certain,
    is_mapped_away,
    key_faults,
    own_keys,
    own_types,
    pinned_types,
    record_schema,
    with_added,
)
from tap_firstup_dde.counts import FileCounts
from tap_firstup_dde.documented import (
    ADDED,
    ALWAYS_ADDED,
    DOCUMENTED,
    GENERATED_AT,
    KEYS,
    PROGRAM_ID,
    ROW_KEY,
)
from tap_firstup_dde.exportlib.background import ahead, one_ahead
from tap_firstup_dde.exportlib.encoding import FILE_FORMATS, record_lines, write_file
from tap_firstup_dde.exportlib.extract import Spooled
from tap_firstup_dde.exportlib.formats import BLOCK, parts
from tap_firstup_dde.exportlib.look import Look, discard, look_at, look_into
from tap_firstup_dde.exportlib.models import Bookmark, format_time, parse_generation
from tap_firstup_dde.exportlib.names import clashes
from tap_firstup_dde.exportlib.schema import MISFIT_SUFFIX, fit, to_values
from tap_firstup_dde.exportlib.storage import put
from tap_firstup_dde.malformed import MalformedStream
from tap_firstup_dde.pending import check_program, warn_of_gap, warn_of_longer_lookback
from tap_firstup_dde.progress import Tally

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Mapping

    import polars as pl
    from singer_sdk import Tap
    from singer_sdk.helpers._batch import BatchConfig
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.mapper import StreamMap
    from singer_sdk.singerlib import Catalog

    from tap_firstup_dde.exportlib.extract import Spool
    from tap_firstup_dde.exportlib.models import ExportFile, Transport
    from tap_firstup_dde.exportlib.readers import Reader
    from tap_firstup_dde.progress import Progress

LINES = 20_000  # rows made into RECORD lines at a time, at most
SLICE = 100_000  # rows that leave as one batch at most; STATE goes out after that many


class ExportStream(Stream):
    """One type of export files, each read exactly once, oldest first."""

    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE  # types are final before records are made
    STATE_MSG_FREQUENCY = sys.maxsize  # STATE goes out where the bookmark moves, nowhere else

    def __init__(
        self, tap: Tap, name: str, transport: Transport, spool: Spool, progress: Progress
    ) -> None:
        """Start from the documented columns; nothing is asked before the first SCHEMA."""
        super().__init__(tap, name=name)
        self._transport = transport
        self._spool = spool
        self._progress = progress
        self._tally = Tally(name)
        self._documented = DOCUMENTED[name]
        self._lookback = timedelta(days=self.config["lookback_days"])
        self._start = (
            parse_generation(self.config["start_date"]) if self.config.get("start_date") else None
        )
        self._own_types = own_types(self.config, name)
        self._own_keys = own_keys(self.config, name)
        self._types: dict[str, str] = dict(self._documented.columns)
        self._pending: list[ExportFile] = []
        self._kept: dict[str, Spooled] = {}
        self._bookmark = Bookmark()
        self._has_programs = False
        diverts = self.config["malformed_rows"] == "divert"
        self._malformed = MalformedStream(tap, name) if diverts else None
        self.primary_keys = self._own_keys or KEYS[name]
        self.replication_key = GENERATED_AT
        # The SDK's line about any error would stand before the one that says what to do. From 0.55
        # on its logger is a wrapped one.
        getattr(self.logger, "logger", self.logger).addFilter(
            lambda record: "unhandled error" not in str(record.msg)
        )

    # What the SDK asks of a stream

    @property
    @override
    def schema(self) -> dict[str, Any]:
        added = ADDED if self._has_programs else ALWAYS_ADDED
        return record_schema(self._types, added)

    @property
    @override
    def effective_schema(self) -> dict[str, Any]:
        # The input catalog's columns are among the types; others join them in the run.
        return self.schema

    @property
    @override
    def emit_activate_version_messages(self) -> bool:
        # Firstup keeps files for days: a new version would delete a warehouse's history.
        return False

    @property
    @override
    def partitions(self) -> None:
        return None

    @property
    @override
    def stream_maps(self) -> list[StreamMap]:
        if self.name not in self._tap.mapper.stream_maps:
            self._register()
        return super().stream_maps

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        super().apply_catalog(catalog)
        self.replication_key = self.replication_key or GENERATED_AT
        keys = self._own_keys or self.primary_keys or KEYS[self.name]
        self.primary_keys = tuple(dict.fromkeys(keys))
        if types := catalog_types(self._input_schema):
            self._types = types

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        return None

    @override
    def _write_starting_replication_value(self, context: Context | None) -> None:
        """Nothing: the bookmark moves by file, and only when a file is finished."""

    @override
    def _increment_stream_state(
        self, latest_record: Record, *, context: Context | None = None
    ) -> None:
        """Nothing: the bookmark moves by file, never by record."""

    @override
    def _write_batch_message(self, *args: Any, **kwargs: Any) -> None:
        super()._write_batch_message(*args, **kwargs)
        # The SDK's STATE that follows would not cover the batch: the bookmark has not moved yet.
        self.state_manager.is_flushed = True

    @override
    def _write_schema_message(self) -> None:
        # The SDK calls this first of all: what is pending must be known before SCHEMA goes out.
        try:
            self._prepare()
            super()._write_schema_message()
        except BaseException:
            discard(self._kept)
            raise

    @override
    def get_records(self, context: Context | None) -> Iterator[Record]:
        for frame in self._frames(SLICE):
            yield from to_values(frame, self._all_types()).iter_rows(named=True)

    @override
    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[dict[str, Any], Any, Any]:
        """Write whole blocks when records leave unchanged; otherwise let the SDK."""
        if not (write_messages and self._columnar):
            yield from super()._sync_records(context, write_messages=write_messages)
            return
        with self.get_record_counter() as counter, self.get_sync_timer():
            for frame in self._frames(SLICE):
                now = format_time(datetime.now(UTC))
                for part in frame.iter_slices(LINES):
                    self._tap.write_message(record_lines(part, self._all_types(), self.name, now))
                counter.increment(frame.height)
        self._finalize_state(self.stream_state)
        self._write_state_message()

    @override
    def get_batches(
        self, batch_config: BatchConfig, context: Context | None = None
    ) -> Iterator[tuple[BaseBatchFileEncoding, list[str]]]:
        chosen, storage = batch_config.encoding, batch_config.storage
        compression = chosen.compression or FILE_FORMATS[chosen.format][0]
        encoding = BaseBatchFileEncoding(chosen.format, compression)
        suffix = chosen.format + (".gz" if compression == "gzip" else "")
        if batch_config.batch_size > SLICE:
            self.logger.warning("%s: batch files get %d rows at most", self.name, SLICE)
        stem = f"{storage.prefix or ''}{self.tap_name}--{self.name}-{uuid4()}"
        frames = self._frames(min(batch_config.batch_size, SLICE), full=True)
        for number, frame in enumerate(frames, start=1):
            write = partial(write_file, frame, self._all_types(), chosen.format, compression)
            name = f"{stem}-{number}.{suffix}"
            yield encoding, [put(storage.root, storage.params or {}, name, write)]

    def _all_types(self) -> dict[str, str]:
        """Column → type, of the added columns too."""
        return {**self._types, **ADDED_TYPES}

    @property
    def _columnar(self) -> bool:
        """Whether records leave as they are: no map, no flattening, no limit, no child."""
        maps = self.stream_maps
        return (
            len(maps) == 1
            and type(maps[0]) is SameRecordTransform
            and not maps[0].flattening_enabled
            and self.ABORT_AT_RECORD_COUNT is None
            and not self.child_streams
        )

    # Before the first SCHEMA

    def discover(self) -> None:
        """Take the columns and types of the newest generation that has any columns.

        Raises:
            ExportError: The list or the first of the files cannot be read.
        """
        files = list(self._transport.list_files(self.name))
        seen = Look()
        for newest in sorted({file.generated_at for file in files}, reverse=True):
            self._pending = [file for file in files if file.generated_at == newest]
            seen = self._look(whole_first=False)
            discard(self._kept)
            if seen.columns:
                break
        self._settle_types(seen)

    def _prepare(self) -> None:
        """List, decide what is pending, look into it, and settle columns, types and key."""
        self._progress.begin(self._tally)
        self._bookmark = Bookmark.from_state(self.stream_state)
        files = list(self._transport.list_files(self.name))
        program = self._transport.program_id
        check_program(self.name, self.stream_state, program)
        if program:
            self.stream_state["program_id"] = program
        self._check_programs()
        settled = self._bookmark.settle(files)
        if settled != self._bookmark:
            if self._bookmark.finished and not self._bookmark.finished.keys() & settled.finished:
                self.logger.warning(
                    "%s: the state is of another source; files generated up to it count as read",
                    self.name,
                )
            self._bookmark = settled
            self.stream_state.update(settled.to_state())
        if self.replication_method not in {"INCREMENTAL", "FULL_TABLE"}:
            self.logger.warning(
                "%s: the replication method %s is taken for %s",
                self.name,
                self.replication_method,
                "INCREMENTAL" if self._is_incremental() else "FULL_TABLE",
            )
        since = self._bookmark if self._is_incremental() else Bookmark()
        self._pending = since.pending(files, self._lookback, self._start)
        self._tally.files = len(self._pending)
        self.logger.info("%s: %d of %d files to read", self.name, len(self._pending), len(files))
        self._warn_of_lost_rows(files)
        if self._is_incremental():
            days = self.config["lookback_days"]
            warn_of_longer_lookback(self.name, self.stream_state, self._pending, days, self.logger)
        warn_of_gap(self.name, self._bookmark, files, self.logger)
        self._settle_types(self._look())
        if not self._pending and not self._pinned():
            self._types = certain(self._types, self.name, self.primary_keys)
        self._announce()

    def _is_incremental(self) -> bool:
        """Whether to go on from the bookmark: unless the catalog asks for the full table."""
        return str(self.replication_method).upper() != "FULL_TABLE"

    def _warn_of_lost_rows(self, files: Collection[ExportFile]) -> None:
        """Say so when the file that an earlier run was cut off in is no longer listed."""
        key, rows = self._bookmark.in_progress
        if key and key != self.stream_state.get("lost") and key not in {f.key for f in files}:
            self.stream_state["lost"] = key  # told once
            self.logger.warning(
                "%s: file %s, of which %d rows were read, is no longer listed; its other rows "
                "are lost unless a historical export brings them",
                self.name,
                key,
                rows,
            )

    def _check_programs(self) -> None:
        """Say so when a folder has files of several programs; it is told apart from then on."""
        self._has_programs = bool(self.stream_state.get("programs"))
        if len(programs := self._transport.programs) > 1:
            self._has_programs = self.stream_state["programs"] = True
            self.logger.warning(
                "%s: the files are of %d programs (%s), which %s tells apart; folder.program_id "
                "reads one only",
                self.name,
                len(programs),
                ", ".join(sorted(programs)),
                PROGRAM_ID,
            )

    def _look(self, *, whole_first: bool = True) -> Look:
        """Read the pending files before their turn, and keep the small ones."""
        seen, self._kept = look_at(
            self._pending,
            self._transport,
            self._spool,
            self._sources().known,
            whole_first=whole_first,
        )
        return seen

    def _sources(self) -> Sources:
        """Where column types come from, as things are.

        Raises:
            StateError: The state holds types that do not exist.
        """
        return Sources(
            self.name,
            self._own_types,
            self._pinned(),
            catalog_types(self._input_schema),
            self.primary_keys,
        )

    def _pinned(self) -> dict[str, str]:
        """Column → type of the columns that have gone out."""
        return pinned_types(self.stream_state, self.name)

    def _settle_types(self, seen: Look) -> None:
        """Settle every column's type and the key, from all that is known of them."""
        sources = self._sources()
        types, warnings = sources.types(seen)
        for warning in warnings:
            self.logger.warning("%s: %s", self.name, warning)
        self._warn_of_new(set(seen.columns) - set(sources.before))
        maps = self.config.get("stream_maps") or {}
        self._types = {c: t for c, t in types.items() if not is_mapped_away(c, self.name, maps)}
        self._settle_key(seen)

    def _settle_key(self, seen: Look) -> None:
        """Fall back to the row's place where a row might have no key."""
        usual, place = KEYS[self.name], ", ".join(ROW_KEY)
        from_catalog = self._input_schema and not self._own_keys
        if from_catalog and tuple(self.primary_keys) == ROW_KEY != usual:
            self.logger.warning(
                "%s: the key is %s, as the catalog has it, not %s",
                self.name,
                place,
                ", ".join(usual),
            )
        for fault in key_faults(self.primary_keys, self._types, seen.shared):
            self.logger.warning(
                "%s: the key column %s; the key is %s instead (primary_keys changes it)",
                self.name,
                fault,
                place,
            )
            self.primary_keys = ROW_KEY

    def _warn_of_new(self, names: Collection[str]) -> None:
        """Say which columns go out though the input catalog does not know them."""
        if not self._input_schema:
            return  # nor must what is selected be asked before a catalog is applied
        if added := sorted(name for name in names if self._selected(name)):
            self.logger.warning(
                "%s: columns that the catalog does not know are added: %s",
                self.name,
                ", ".join(added),
            )

    def _announce(self) -> None:
        """Make the SDK's next SCHEMA the one of the types as they are, and pin them."""
        self._register()
        self.stream_state["types"] = {**self._pinned(), **self._wanted()}
        self._state_changed()

    def _register(self) -> None:
        """Have the SDK's maps start from the columns that go out."""
        schema = record_schema(self._wanted(), [name for name in ADDED if self._adds(name)])
        self._tap.mapper.register_raw_stream_schema(self.name, schema, self.primary_keys)
        self._stream_maps = None

    def _wanted(self) -> dict[str, str]:
        """Column → type of the columns that go out."""
        return {name: kind for name, kind in self._types.items() if self._selected(name)}

    def _selected(self, name: str) -> bool:
        """Whether a column goes out: keys do, a misfit column does with its own column."""
        if name in self.primary_keys:
            return True
        origin = name.removesuffix(MISFIT_SUFFIX)
        return self.mask[("properties", name)] and self.mask[("properties", origin)]

    def _adds(self, added: str) -> bool:
        """Whether an added column goes out: a catalog may deselect it unless it is needed."""
        if added == PROGRAM_ID and not self._has_programs:
            return False
        needed = {*self.primary_keys, self.replication_key}
        return added in needed or self.mask[("properties", added)]

    # Files to batches

    def _frames(self, most: int, *, full: bool = False) -> Iterator[pl.DataFrame]:
        """Fitted batches of the pending files, with the added columns; STATE goes out between.

        A batch is over when the next one is asked for: only then the bookmark moves.

        Args:
            most: Rows of a batch.
            full: Whether all batches of a file but the last have that many.
        """
        waiting = {file.key for file in self._pending}
        files = one_ahead(self._pending, self._fetch, Spooled.close)
        try:
            for file, spooled in files:
                self._tally.open_file(spooled.size)
                with closing(spooled):
                    yield from self._file_frames(spooled, waiting, most, full=full)
                waiting.discard(file.key)
                self._bookmark = self._bookmark.finish(file, self._lookback)
                self._write_bookmark()
                self._tally.close_file()
        finally:
            files.close()
            discard(self._kept)

    def _fetch(self, file: ExportFile) -> Spooled:
        """The proven bytes of *file*: kept by the look, or downloaded now."""
        return self._kept.pop(file.key, None) or self._spool.download(self._transport, file)

    def _file_frames(
        self, spooled: Spooled, waiting: Collection[str], most: int, *, full: bool
    ) -> Iterator[pl.DataFrame]:
        """One file's fitted batches, from where an earlier run was cut off."""
        file = spooled.file
        # Larger blocks are a tenth faster; RECORD lines would make too much of them.
        block = 2 * BLOCK if full else BLOCK
        reader = self._reader(spooled, block)
        if any(name not in self._types for name in reader.columns):
            seen = Look((*self._types, *reader.columns)) | look_into(spooled, self._sources().known)
            self._settle_types(seen)
            self._write_schema_again()
            reader = self._reader(spooled, block)
        if words := clashes(reader.labels, reader.columns):
            self.logger.warning("%s: only their order tells columns apart: %s", file, words)
        cut_off, _ = self._bookmark.in_progress
        incremental = self._is_incremental()
        skip = self._bookmark.rows_read(file) if incremental else 0
        if self._bookmark.has_changed(file):
            self.logger.warning(
                "%s: another file of this name was delivered, and is read from its beginning", file
            )
        # Another cut-off file that is still to come keeps its place in the state.
        resumable = incremental and (cut_off == file.key or cut_off not in waiting)
        report = FileCounts(file, self.primary_keys, self._tally, self.logger)
        rows, since_state = skip, 0
        for part in parts(ahead(iter(reader)), str(file), skip=skip, most=most, full=full):
            if part.malformed and self._malformed:
                self._malformed.write(file, part.malformed)
                report.divert(len(part.malformed))
            fitted, misfits = self._fit(part.frame)
            report.add(fitted, misfits, before=rows)
            added = [name for name in ADDED if self._adds(name)]
            frame = with_added(fitted, file, part.numbers, added)
            since_state, rows = since_state + part.last - rows, part.last
            del part, fitted  # not in memory while the batch is written
            if frame.height:
                yield frame
            self._tally.rows += frame.height
            self._tally.unread = spooled.unread
            if resumable and since_state >= SLICE:
                self._bookmark = self._bookmark.reach(file, rows)
                self._write_bookmark()
                since_state = 0
        report.tell(rows, self._types, self._wanted())

    def _reader(self, spooled: Spooled, block: int) -> Reader:
        """A reader of a file from its beginning."""
        known = self._sources().known
        divert = self._malformed is not None
        return spooled.reader(ADDED, known.names, block=block, divert=divert)

    def _fit(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Mapping[str, int]]:
        """Fit the selected columns; a first misfit adds its column and sends SCHEMA again."""
        wanted = self._wanted()
        fitted = fit(frame, wanted, self._documented)
        fresh = [name for name in fitted.frame.columns if name not in wanted]
        maps = self.config.get("stream_maps") or {}
        added = [n for n in fresh if self._selected(n) and not is_mapped_away(n, self.name, maps)]
        if added:
            self._types.update(dict.fromkeys(added, "string"))
            self._write_schema_again()
        hidden = set(fresh) - set(added)
        return fitted.frame.drop(hidden), fitted.misfits

    # State

    def _write_schema_again(self) -> None:
        """Send a SCHEMA in the middle of a run, before the first record that needs it."""
        self._announce()
        super()._write_schema_message()

    def _write_bookmark(self) -> None:
        """Send STATE with the bookmark as it is."""
        self.stream_state.pop("in_progress", None)
        self.stream_state.update(self._bookmark.to_state())
        self.stream_state["lookback_days"] = self.config["lookback_days"]
        self._state_changed()
        self._write_state_message()

    def _state_changed(self) -> None:
        """Have the SDK send STATE when it is next asked to."""
        self.state_manager.is_flushed = False
