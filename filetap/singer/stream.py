"""Export files as Singer streams: which are pending, which types, which messages."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from singer_sdk import Stream
from singer_sdk.helpers._batch import BaseBatchFileEncoding
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import SameRecordTransform

from filetap.bookmark import MEMBERS, Bookmark
from filetap.bookmark_checks import (
    check_program,
    last_look,
    warn_of_future,
    warn_of_future_bookmark,
    warn_of_gap,
    warn_of_longer_lookback,
    warn_of_lost_rows,
)
from filetap.columns.resolve import (
    ADDED_TYPES,
    ASSUMED,
    KeySources,
    Sources,
    assumed_columns,
    catalog_types,
    certain,
    is_mapped_away,
    mapped_misfits,
    own_keys,
    own_types,
    pinned_key,
    pinned_types,
    record_schema,
    with_added,
)
from filetap.columns.sample import Look, check_columns, look_at, look_into
from filetap.columns.types import MISFIT_SUFFIX, fit, to_values
from filetap.download.pack import Pack
from filetap.download.prefetch import ahead, one_ahead
from filetap.download.spool import Spooled
from filetap.errors import ExportError, SettingsError
from filetap.files import format_time, parse_generation
from filetap.read.batch import BLOCK, ReadOptions, rebatch
from filetap.read.names import clashes
from filetap.singer.malformed import MalformedStream
from filetap.singer.maps import unknown_columns
from filetap.singer.progress import Tally
from filetap.stats import FileCounts
from filetap.wording import counted
from filetap.write.records import FILE_FORMATS, record_lines, write_file
from filetap.write.storage import put
from tap_firstup_dde.vendor import (
    ADDED,
    ALWAYS_ADDED,
    DOCUMENTED,
    GENERATED_AT,
    KEYS,
    PROGRAM_ID,
)

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Mapping, Sequence

    import polars as pl
    from singer_sdk import Tap
    from singer_sdk.helpers._batch import BatchConfig
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.mapper import StreamMap
    from singer_sdk.singerlib import Catalog

    from filetap.download.spool import Spool
    from filetap.files import ExportFile, Transport
    from filetap.read.detect import Reader
    from filetap.singer.progress import Progress

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
        self._assumed: frozenset[str] = frozenset()  # columns whose type no value has shown
        self._pending: list[ExportFile] = []
        self._kept = Pack(spool.folder)
        self._now = datetime.now(UTC)  # the run's clock
        self._bookmark = Bookmark()
        self._rows_since_state = 0
        self._has_new_pins = False
        self._catalog_keys: tuple[str, ...] = ()
        self._has_programs = PROGRAM_ID in self._own_keys
        self._warned: set[str] = set()
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
        schema = record_schema(self._types, added)
        for name in self._assumed.intersection(self._types):
            schema["properties"][name]["description"] = ASSUMED
        return schema

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
        self._catalog_keys = tuple(dict.fromkeys(self.primary_keys or ()))
        self.primary_keys = self._own_keys or self._catalog_keys or KEYS[self.name]
        assumed = dict.fromkeys(assumed_columns(self._input_schema), "")
        if types := {**assumed, **catalog_types(self._input_schema)}:
            assume = self._documented.assume
            self._types = {name: kind or assume(name) for name, kind in types.items()}

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
        # The SDK calls this first of all: what is pending must be known before the first SCHEMA.
        try:
            self._prepare()
            self._send_schema(with_state=bool(self._pending))
        except BaseException:
            self._kept.close()
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
            self._kept.close()
            if seen.columns:
                break
        self._settle_types(seen)

    def _prepare(self) -> None:
        """List, decide what is pending, look into it, and settle columns, types and key."""
        self._progress.begin(self._tally)
        self._now = datetime.now(UTC)
        state = self.stream_state
        bookmark = Bookmark.from_state(state, self._now)
        warn_of_future_bookmark(self.name, state, self._now, self.logger)
        from_scratch = bookmark.from_scratch or not state
        files = list(self._transport.list_files(self.name))
        self._check_programs()
        self._bookmark = replace(bookmark.settle(files), from_scratch=from_scratch)
        if count := len(self._bookmark.counted - bookmark.counted):
            self.logger.warning(
                "%s: the state is of another source; files of generations that were read there "
                "count as read (%d)",
                self.name,
                count,
            )
        if self.replication_method not in {"INCREMENTAL", "FULL_TABLE"}:
            self.logger.warning(
                "%s: the replication method %s is taken for %s",
                self.name,
                self.replication_method,
                "INCREMENTAL" if self._is_incremental() else "FULL_TABLE",
            )
        since = self._bookmark if self._is_incremental() else Bookmark()
        self._pending = since.pending(files, self._lookback, self._start)
        times = {file.generated_at for file in self._pending}
        unfinished = times.intersection(self._bookmark.finished.values())
        self._bookmark = replace(self._bookmark, unfinished=frozenset(unfinished))
        self._tally.files = len(self._pending)
        listed = counted(len(files), "file")
        self.logger.info("%s: %d of %s to read", self.name, len(self._pending), listed)
        self._warn_of_files(files)
        if not self._pending:
            self._complete()
        if self._pending or self._bookmark != Bookmark():
            self._take_bookmark()
        seen = self._look()
        self._settle_types(seen)
        if not seen.columns and not self._pinned():
            self._types = certain(self._types, self.name, self.primary_keys)
        maps = self.config.get("stream_maps") or {}
        for warning in unknown_columns(maps, self.name, self._types):
            self.logger.warning("%s", warning)
        self._announce(pin_key=bool(seen.columns))

    def _warn_of_files(self, files: Sequence[ExportFile]) -> None:
        """Log what is odd about the listed files in the light of the state."""
        state, days = self.stream_state, self.config["lookback_days"]
        warn_of_future(self._pending, self._now, self.logger)
        lost = warn_of_lost_rows(self._bookmark, files, state.get("lost"), self.name, self.logger)
        if lost:
            state["lost"] = lost
        if self._is_incremental():
            warn_of_longer_lookback(self.name, state, self._pending, days, self.logger)
        today = self._now.date()
        warn_of_gap(self._bookmark, files, last_look(state), today, self.logger)

    def _is_incremental(self) -> bool:
        """Whether to go on from the bookmark: unless the catalog asks for the full table."""
        return str(self.replication_method).upper() != "FULL_TABLE"

    def _check_programs(self) -> None:
        """Check whose files they are; warn if a folder has files of several programs.

        Raises:
            StateError: The state is of another program.
            SettingsError: The key needs the program, which nothing says.
        """
        program = self._transport.program_id
        check_program(self.name, self.stream_state, program)
        if program:
            self.stream_state["program_id"] = program
        keyed = self._is_keyed_by_program()
        if keyed and not (program or self._transport.programs):
            msg = f"{self.name}: the key names {PROGRAM_ID}, and nothing says whose files they are"
            raise SettingsError(msg, f"leave it out of primary_keys.{self.name}")
        self._has_programs = keyed or bool(self.stream_state.get("programs"))
        if len(programs := self._transport.programs) > 1:
            self._has_programs = self.stream_state["programs"] = True
            self.logger.warning(
                "%s: the files are of %d programs (%s), which %s tells apart; folder.program_id "
                "reads one only: ids may be the same in two programs, so name it in primary_keys",
                self.name,
                len(programs),
                ", ".join(sorted(programs)),
                PROGRAM_ID,
            )

    def _is_keyed_by_program(self) -> bool:
        """True if the key, wherever it comes from, names the program."""
        pinned = pinned_key(self.stream_state, self.name)
        return PROGRAM_ID in {*self._own_keys, *self._catalog_keys, *pinned}

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
            assumed_columns(self._input_schema),
        )

    def _pinned(self) -> dict[str, str]:
        """Column → type of the columns that have gone out."""
        return pinned_types(self.stream_state, self.name)

    def _settle_types(self, seen: Look) -> None:
        """Settle every column's type and the key, from all that is known of them."""
        sources = self._sources()
        types, warnings = sources.types(seen)
        self._warn_of_new(set(seen.columns) - set(sources.before))
        maps = self.config.get("stream_maps") or {}
        types |= dict.fromkeys(mapped_misfits(types, self.name, maps), "string")
        self._types = {c: t for c, t in types.items() if not is_mapped_away(c, self.name, maps)}
        keys = KeySources(
            self._own_keys,
            pinned_key(self.stream_state, self.name),
            self._catalog_keys,
            KEYS[self.name],
        )
        self.primary_keys, doubts = keys.choose(self._types, seen.shared)
        self._types |= {k: "string" for k in self.primary_keys if k not in {*self._types, *ADDED}}
        known = {*sources.settled, *self._documented.text, *seen.evidence.valued}
        self._assumed = frozenset(self._types.keys() - known)
        for warning in (*warnings, *doubts):
            if warning not in self._warned:
                self._warned.add(warning)
                self.logger.warning("%s: %s", self.name, warning)

    def _warn_of_new(self, names: Collection[str]) -> None:
        """Warn about columns that are emitted although the catalog lacks them."""
        if not self._input_schema:
            return  # nor must what is selected be asked before a catalog is applied
        if added := sorted(name for name in names if self._selected(name)):
            self.logger.warning(
                "%s: columns that the catalog does not know are added: %s",
                self.name,
                ", ".join(added),
            )

    def _announce(self, *, pin_key: bool) -> None:
        """Make the SDK's next SCHEMA the one of the types as they are, and pin them.

        Args:
            pin_key: True if records may be emitted with the key as it is.
        """
        self._register()
        pins: dict[str, Any] = {"types": {**self._pinned(), **self._wanted()}}
        if pin_key:
            pins["key"] = list(self.primary_keys)
        before = {name: self.stream_state.get(name) for name in pins}
        self._has_new_pins = self._has_new_pins or before != pins
        self.stream_state.update(pins)
        self._state_changed()

    def _send_schema(self, *, with_state: bool) -> None:
        """Write SCHEMA, and STATE after it if that has types that no STATE has had.

        A run that is killed before its next STATE has emitted records of these types.

        Args:
            with_state: True if records follow.
        """
        super()._write_schema_message()
        if with_state and self._has_new_pins:
            self._state_changed()
            self._write_state_message()
            self._has_new_pins = False

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
        files = one_ahead(self._pending, self._fetch, Spooled.close)
        try:
            for position, (_, spooled) in enumerate(files, start=1):
                self._tally.open_file(spooled.size)
                with closing(spooled):
                    if not self._is_read(spooled):
                        yield from self._file_frames(spooled, most, full=full)
                self._finish(spooled, next(iter(self._pending[position : position + 1]), None))
                self._tally.close_file()
        except ExportError:
            if self._rows_since_state:
                self._write_bookmark()  # of the files before
            raise
        finally:
            files.close()
            self._kept.close()

    def _fetch(self, file: ExportFile) -> Spooled:
        """The proven bytes of *file*: kept by the look, or downloaded now."""
        return self._kept.take(file) or self._spool.download(self._transport, file)

    def _is_read(self, spooled: Spooled) -> bool:
        """True if a file was moved or written again, and holds what it held when it was read."""
        file = spooled.file
        if not self._is_incremental() or not self._bookmark.has_changed(file):
            return False
        same = self._bookmark.has_same_content(file, spooled.content)
        if same:
            self.logger.info(
                "%s: it was copied or moved, its content is the one that was read", file
            )
        else:
            self.logger.warning(
                "%s: another file of this name was delivered, and is read from its beginning", file
            )
        return same

    def _file_frames(self, spooled: Spooled, most: int, *, full: bool) -> Iterator[pl.DataFrame]:
        """One file's fitted batches, from where an earlier run was cut off."""
        file = spooled.file
        incremental = self._is_incremental()
        skip = self._bookmark.rows_read(file, spooled.content) if incremental else 0
        if skip and self._bookmark.is_replaced(file, spooled.content):
            self.logger.warning(
                "%s: the file was replaced since it was partly read; it is read from its beginning",
                file,
            )
            skip = 0
        # Larger blocks are a tenth faster; RECORD lines would make too much of them.
        reader = self._open(spooled, 2 * BLOCK if full else BLOCK, skip)
        report = FileCounts(file, self.primary_keys, self._tally, self.logger)
        rows, since_state = skip, 0
        for part in rebatch(ahead(iter(reader)), str(file), skip=skip, most=most, fill=full):
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
            if incremental and since_state >= SLICE:
                self._bookmark = self._bookmark.reach(file, rows, spooled.content)
                self._write_bookmark()
                since_state = 0
        self._rows_since_state += since_state
        report.tell(rows, self._types, self._wanted())

    def _open(self, spooled: Spooled, block: int, skip: int) -> Reader:
        """A reader of a file from its beginning, once its columns have their place.

        A file without rows changes nothing. Rows without the key's columns are malformed.

        Raises:
            FormatError: The file cannot be read, or is not an export of the stream.
        """
        reader = self._reader(spooled, block, skip)
        known = self._sources().known
        check_columns(spooled.file, reader.columns, known)
        if words := clashes(reader.labels, reader.columns):
            self.logger.warning("%s: only their order tells columns apart: %s", spooled.file, words)
        lacking = [k for k in self.primary_keys if k not in {*reader.columns, *ADDED}]
        if not lacking and all(name in self._types for name in reader.columns):
            return reader
        if any(batch.frame.height for batch in reader):
            if not lacking:
                columns = (*self._types, *reader.columns)
                self._settle_types(Look(columns) | look_into(spooled, known))
                self._announce(pin_key=True)
                self._send_schema(with_state=True)
            reader = self._reader(spooled, block, skip)
            if lacking:
                reader.refuse(f"the file lacks the key's column {', '.join(lacking)}")
            return reader
        return self._reader(spooled, block, skip)

    def _reader(self, spooled: Spooled, block: int, skip: int) -> Reader:
        """A reader of a file from its beginning; the first *skip* rows may lack their values."""
        known = self._sources().known
        divert = self._malformed is not None
        return spooled.reader(ReadOptions(ADDED, known.names, block, divert=divert, skip=skip))

    def _fit(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Mapping[str, int]]:
        """Fit the selected columns; a first misfit adds its column and sends SCHEMA again."""
        wanted = self._wanted()
        fitted = fit(frame, wanted, self._documented)
        fresh = [name for name in fitted.frame.columns if name not in wanted]
        maps = self.config.get("stream_maps") or {}
        added = [n for n in fresh if self._selected(n) and not is_mapped_away(n, self.name, maps)]
        if added:
            self._types.update(dict.fromkeys(added, "string"))
            self._announce(pin_key=True)
            self._send_schema(with_state=True)
        hidden = set(fresh) - set(added)
        return fitted.frame.drop(hidden), fitted.misfits

    # State

    def _finish(self, spooled: Spooled, following: ExportFile | None) -> None:
        """Move the bookmark past a file, and write STATE.

        Files of few rows share one, so that all STATE messages together grow with the files.

        Args:
            spooled: The file.
            following: The file that is read next; None after the last one.
        """
        file = spooled.file
        bookmark = self._bookmark.finish(file, self._lookback, self._now, spooled.content)
        # Files come in order of generation.
        more = following is not None and following.generated_at == file.generated_at
        generation = {file.generated_at}
        unfinished = bookmark.unfinished | generation if more else bookmark.unfinished - generation
        self._bookmark = replace(bookmark, unfinished=unfinished)
        self._take_bookmark()
        if following is None:
            self._complete()
        if following is None or is_state_due(self._rows_since_state, len(self._bookmark.finished)):
            self._write_bookmark()

    def _complete(self) -> None:
        """Note that all that was listed is read."""
        self._bookmark = replace(self._bookmark, from_scratch=False)
        self.stream_state["listed_on"] = self._now.date().isoformat()

    def _take_bookmark(self) -> None:
        """Have the next STATE hold the bookmark as it is."""
        for name in MEMBERS:
            self.stream_state.pop(name, None)
        self.stream_state.update(self._bookmark.to_state())
        self.stream_state["lookback_days"] = self.config["lookback_days"]

    def _write_bookmark(self) -> None:
        """Write STATE with the bookmark as it is."""
        self._take_bookmark()
        self._rows_since_state = 0
        self._state_changed()
        self._write_state_message()

    def _state_changed(self) -> None:
        """Have the SDK write STATE when it is next asked to."""
        self.state_manager.is_flushed = False


def is_state_due(rows: int, files: int) -> bool:
    """True if STATE, which lists *files* finished files, follows a file.

    Each listed file takes some sixty bytes: over rows and files STATE stays a fraction of the
    records, where one after each file would grow with the square of the files.

    Args:
        rows: Rows emitted since the last STATE.
        files: Files that STATE lists.
    """
    return files <= 64 + 8 * rows
