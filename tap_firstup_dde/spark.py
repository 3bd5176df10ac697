"""Export files as a data source of Spark: one partition per file, by the tap's own functions.

The driver lists the files and settles the columns; each task fetches its files from the API or
the folder, proves them, and hands their rows over as Arrow batches. Partitions hold names of
files, never a URL or a credential; these travel in the data source's options only.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import lru_cache, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
from pyspark.sql.datasource import (
    DataSource,
    DataSourceReader,
    DataSourceStreamReader,
    InputPartition,
)
from pyspark.sql.types import (
    BooleanType,
    DateType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)
from upath import UPath
from upath.implementations.cloud import CloudPath

from tap_firstup_dde.client import connect
from tap_firstup_dde.columns import (
    ADDED_SCHEMA,
    Sources,
    certain,
    own_keys,
    own_types,
    pinned_types,
    with_added,
)
from tap_firstup_dde.documented import (
    ADDED,
    ALWAYS_ADDED,
    DOCUMENTED,
    KEYS,
    MALFORMED,
    MALFORMED_SUFFIX,
)
from tap_firstup_dde.exportlib.background import ahead
from tap_firstup_dde.exportlib.exceptions import (
    ExportError,
    FileGoneError,
    FormatError,
    SettingsError,
    StateError,
)
from tap_firstup_dde.exportlib.extract import Spool
from tap_firstup_dde.exportlib.formats import BLOCK, parts
from tap_firstup_dde.exportlib.look import LOOK_WHOLE, Look, look_into
from tap_firstup_dde.exportlib.models import Bookmark, ExportFile, format_time, parse_generation
from tap_firstup_dde.exportlib.schema import MISFIT_SUFFIX, fit, to_typed, type_of
from tap_firstup_dde.exportlib.secrecy import SECRECY
from tap_firstup_dde.pending import check_program, warn_of_gap, warn_of_longer_lookback
from tap_firstup_dde.settings import SETTINGS, from_texts, secrets

try:
    from pyspark.sql.streaming.datasource import (
        ReadAllAvailable,
        ReadMaxFiles,
        SupportsTriggerAvailableNow,
    )
except ImportError:  # before 4.2 Spark tells a source neither of limits nor of the trigger
    SupportsTriggerAvailableNow = object

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from tap_firstup_dde.exportlib.extract import Spooled
    from tap_firstup_dde.exportlib.look import Knowledge
    from tap_firstup_dde.exportlib.models import Transport

_logger = logging.getLogger(__name__)

_ROWS = 100_000  # of an Arrow batch, at most
_LOOKS_AT_ONCE = 8  # files that the driver looks into at a time
_LIST_EVERY = 2.0  # seconds between two listings of a stream that never ends
_ENVIRONMENT = "TAP_FIRSTUP_DDE_"

_STREAMS = (*KEYS, *(stream + MALFORMED_SUFFIX for stream in KEYS))
_OPTIONS: dict[str, Any] = {
    "type": "object",
    "required": ["stream"],
    "properties": {
        **{name: s for name, s in SETTINGS["properties"].items() if name != "batch_config"},
        # A program's requests are limited by the minute, and many tasks share them: so many
        # tries outlast a minute.
        "max_retries": {**SETTINGS["properties"]["max_retries"], "default": 8},
        "stream": {"type": ["string"], "enum": list(_STREAMS)},
        # Spark's own spelling is maxFilesPerTrigger; options come in lower case.
        "maxfilespertrigger": {"type": ["integer"], "minimum": 1},
        "maxconcurrentfiles": {"type": ["integer"], "minimum": 1},
        "schemalocation": {"type": ["string"], "minLength": 1},
        "misfitcolumns": {"type": ["string"], "enum": ["seen", "all"], "default": "seen"},
    },
}

_SPARK_TYPES = {
    "string": StringType(),
    "integer": LongType(),
    "number": DoubleType(),
    "boolean": BooleanType(),
    "date": DateType(),
    "date-time": TimestampType(),
}
# Spark's name of a type that a schema may have → the type of the values, and what Arrow calls it.
_READ_AS = {
    "string": ("string", pa.string()),
    "bigint": ("integer", pa.int64()),
    "int": ("integer", pa.int32()),
    "smallint": ("integer", pa.int16()),
    "tinyint": ("integer", pa.int8()),
    "double": ("number", pa.float64()),
    "boolean": ("boolean", pa.bool_()),
    "date": ("date", pa.date32()),
    "timestamp": ("date-time", pa.timestamp("us", "UTC")),
    "timestamp_ntz": ("date-time", pa.timestamp("us")),
}
_LOCATION_HINT = "give a folder that the driver can write to; it holds a file for each stream"
_SCHEMA_HINT = (
    "start the query anew, so that the columns are found anew, or give a schema: columns that are "
    "not in it are left out"
)


@contextmanager
def _brief() -> Iterator[None]:
    """Hand foreseen errors on without the way they came: Spark shows all of it."""
    try:
        yield
    except ExportError as error:
        raise type(error)(error.message, error.hint) from None


@dataclass(frozen=True)
class _Source:
    """What is read, and from where.

    Attributes:
        stream: Name of the stream whose files are read.
        malformed: Whether its rows that cannot be read are wanted, instead of the others.
        config: The tap's settings, credentials among them.
    """

    stream: str
    malformed: bool
    config: Mapping[str, Any] = field(repr=False)

    @classmethod
    @_brief()
    def of(cls, options: Mapping[str, str]) -> _Source:
        """What the options and the environment say; the options win.

        Raises:
            SettingsError: They cannot be used.
        """
        known = SETTINGS["properties"].keys() & _OPTIONS["properties"].keys()
        variables = ((name, os.environ.get(_ENVIRONMENT + name.upper())) for name in known)
        texts = {name: text for name, text in variables if text is not None}
        texts |= {name.lower(): options[name] for name in options}
        config = from_texts(texts, _OPTIONS)
        SECRECY.guard(secrets(config))
        stream = config["stream"]
        return cls(stream.removesuffix(MALFORMED_SUFFIX), stream.endswith(MALFORMED_SUFFIX), config)

    @property
    def lookback(self) -> timedelta:
        """How long after the bookmark a late file is still read."""
        return timedelta(days=self.config["lookback_days"])

    @property
    def start(self) -> datetime | None:
        """Files generated before it are never read; None for all."""
        text = self.config.get("start_date")
        return parse_generation(text) if text else None

    def pending(self, files: Collection[ExportFile], since: Bookmark) -> list[ExportFile]:
        """The files that are still to be read, in order."""
        return since.pending(files, self.lookback, self.start)

    def partitions(self, files: Sequence[ExportFile]) -> list[InputPartition]:
        """One partition per file, or as many as files may be read at once."""
        most = self.config.get("maxconcurrentfiles") or len(files)
        groups = (tuple(files[first::most]) for first in range(min(most, len(files))))
        return [InputPartition(group) for group in groups]

    def spool(self) -> Spool:
        """Where downloads are kept while they are read."""
        folder = self.config.get("spool_dir")
        return Spool(Path(folder) if folder else None, self.config["max_retries"])

    # Columns

    def schema(self, files: Sequence[ExportFile], transport: Transport) -> StructType:
        """The columns of *files* with the types that the tap would give them.

        Raises:
            ExportError: A file cannot be looked into.
        """
        types = dict(MALFORMED) if self.malformed else self._types(files, transport)
        several = len(transport.programs) > 1 and not self.malformed
        added = ADDED if several else ALWAYS_ADDED
        types |= {name: type_of(ADDED_SCHEMA[name]) for name in added}
        return StructType([StructField(name, _SPARK_TYPES[kind]) for name, kind in types.items()])

    def _types(self, files: Sequence[ExportFile], transport: Transport) -> dict[str, str]:
        """Column → type, from the settings and a look at every file."""
        keys = own_keys(self.config, self.stream) or KEYS[self.stream]
        pinned = self._pinned()
        sources = Sources(self.stream, own_types(self.config, self.stream), pinned, {}, keys)
        seen, whole = self._look(files, transport, sources.known)
        types, warnings = sources.types(seen)
        for warning in warnings:
            _logger.warning("%s: %s", self.stream, warning)
        if not files and not pinned:
            types = certain(types, self.stream, keys)
        if self.config["misfitcolumns"] == "all" or not whole:
            typed = [name for name, kind in types.items() if kind != "string"]
            types |= dict.fromkeys((name + MISFIT_SUFFIX for name in typed), "string")
        if types != pinned:
            self._pin(types)
        return types

    @property
    def _location(self) -> UPath | None:
        """Where the types of the columns that have been read are kept; None for nowhere."""
        place = self.config.get("schemalocation")
        return UPath(place) / f"{self.stream}.json" if place else None

    def _pinned(self) -> dict[str, str]:
        """Column → type of the columns that earlier queries have read.

        Raises:
            SettingsError: They cannot be known.
        """
        if self._location is None:
            return {}
        try:
            kept = json.loads(self._location.read_text())
            return pinned_types(kept, self.stream)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, StateError, ImportError) as error:
            msg = f"schemaLocation: {self.stream}.json cannot be read ({type(error).__name__})"
            raise SettingsError(msg, _LOCATION_HINT) from None

    def _pin(self, types: Mapping[str, str]) -> None:
        """Keep the types for queries to come.

        Raises:
            SettingsError: They cannot be kept.
        """
        place = self._location
        if place is None:
            return
        text = json.dumps({"types": types}, indent=1)
        try:
            if isinstance(place, CloudPath):  # an object is there whole or not at all
                place.write_text(text)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                fresh = place.with_name(f".{place.name}")
                fresh.write_text(text)
                fresh.rename(place)
        except OSError as error:
            msg = f"schemaLocation: {place.name} cannot be written ({type(error).__name__})"
            raise SettingsError(msg, _LOCATION_HINT) from None

    def _look(
        self, files: Sequence[ExportFile], transport: Transport, known: Knowledge
    ) -> tuple[Look, bool]:
        """What the files hold, and whether each was seen whole."""
        spool = self.spool()

        def look(file: ExportFile) -> tuple[Look, bool]:
            try:
                with closing(spool.download(transport, file, LOOK_WHOLE)) as spooled:
                    return look_into(spooled, known), spooled.whole
            except FileGoneError as error:  # a task that needs it will say so
                _logger.warning("%s", error)
                return Look(), True

        most = self.config.get("maxconcurrentfiles", _LOOKS_AT_ONCE)
        pool = ThreadPoolExecutor(min(most, _LOOKS_AT_ONCE))
        try:
            looks = list(pool.map(look, files))
        finally:
            pool.shutdown(cancel_futures=True)
        return reduce(or_, (seen for seen, _ in looks), Look()), all(whole for _, whole in looks)


@dataclass(frozen=True)
class _Reading:
    """How a task reads its files.

    Attributes:
        source: What is read, and from where.
        types: Column → type of its values, in the order of the schema.
        schema: The same columns, as Arrow has them.
        strict: Whether a column that is not among them is an error.
    """

    source: _Source
    types: Mapping[str, str]
    schema: pa.Schema
    strict: bool

    @classmethod
    @_brief()
    def of(cls, source: _Source, schema: StructType, *, strict: bool) -> _Reading:
        """What a schema asks for.

        Raises:
            SettingsError: A column has a type that none is read as.
        """
        types, fields = {}, []
        for column in schema.fields:
            word = column.dataType.simpleString()
            kind, arrow_type = _READ_AS.get(word, ("", None))
            own = type_of(ADDED_SCHEMA[column.name]) if column.name in ADDED else kind
            if not kind or kind not in {own, "string"}:
                msg = f"schema: column {column.name} cannot be read as {word}"
                raise SettingsError(msg, f"use one of {', '.join(_READ_AS)}, or leave it out")
            types[column.name] = kind
            fields.append(pa.field(column.name, arrow_type, nullable=column.nullable))
        if len(types) < len(fields) or not fields:
            msg = "schema: it has no columns, or one twice"
            raise SettingsError(msg, "give each column once")
        return cls(source, types, pa.schema(fields), strict)

    def batches(self, files: Sequence[ExportFile]) -> Iterator[pa.RecordBatch]:
        """The rows of *files*, each file proven before its first one.

        Raises:
            ExportError: A file cannot be had, or not be read.
        """
        SECRECY.guard(secrets(self.source.config))
        transport = _transport(json.dumps(self.source.config))
        spool = self.source.spool()
        with _brief():
            for file in files:
                with closing(spool.download(transport, file)) as spooled:
                    for frame in self._frames(spooled):
                        yield from self._as_arrow(frame, file)

    def _frames(self, spooled: Spooled) -> Iterator[pl.DataFrame]:
        """One file's rows, as text that fits the types."""
        source, file = self.source, spooled.file
        diverts = source.malformed or source.config["malformed_rows"] == "divert"
        reader = spooled.reader(ADDED, block=2 * BLOCK, divert=diverts)
        own = {name: kind for name, kind in self.types.items() if name not in ADDED}
        if not source.malformed:
            self._check_columns(file, reader.columns)
        for part in parts(ahead(iter(reader)), str(file), skip=0, most=_ROWS):
            frame, numbers = part.frame, part.numbers
            if source.malformed:
                rows = part.malformed
                texts = {name: [getattr(row, name) for row in rows] for name in MALFORMED}
                frame = pl.DataFrame(texts, dict.fromkeys(texts, pl.String))
                numbers = pl.Series([row.number for row in rows], dtype=pl.Int64)
            fitted = fit(frame, own, DOCUMENTED[source.stream])
            self._check_misfits(file, fitted.misfits)
            if len(numbers):
                yield with_added(fitted.frame, file, numbers, self.types).select(*self.types)

    def _check_columns(self, file: ExportFile, columns: Collection[str]) -> None:
        """Refuse a file with a column for which there is no place.

        Raises:
            FormatError: It has one.
        """
        if self.strict and (new := sorted(set(columns) - set(self.types))):
            msg = f"{file}: it has columns that the query does not have: {', '.join(new)}"
            raise FormatError(msg, _SCHEMA_HINT)

    def _check_misfits(self, file: ExportFile, misfits: Mapping[str, int]) -> None:
        """Refuse values that do not fit where there is no place for them.

        Raises:
            FormatError: There are some.
        """
        for name, count in misfits.items():
            if name + MISFIT_SUFFIX not in self.types:
                kind = self.types[name]
                msg = f"{file}: {count} values of {name} are not {kind}, and have no other place"
                hint = (
                    f"add the column {name}{MISFIT_SUFFIX} to the schema, or set misfitColumns to "
                    f"all, or column_types to have {name} as string"
                )
                raise FormatError(msg, hint)

    def _as_arrow(self, frame: pl.DataFrame, file: ExportFile) -> Iterator[pa.RecordBatch]:
        """Rows as Spark takes them.

        Raises:
            FormatError: A value is larger than its type, or missing where one must be.
        """
        for column in self.schema:
            if not column.nullable and frame[column.name].null_count():
                msg = f"{file}: {column.name} is empty in a row, and the schema says not null"
                raise FormatError(msg, "let the schema allow null")
        table = to_typed(frame, self.types).to_arrow(compat_level=pl.CompatLevel.oldest())
        try:
            yield from table.cast(self.schema).to_batches()
        except pa.ArrowInvalid:
            msg = f"{file}: an integer is larger than its type in the schema"
            raise FormatError(msg, "use bigint") from None


class _FileReader:
    """Reads partitions, without any state: what a task does."""

    def __init__(self, reading: _Reading) -> None:
        self._reading = reading

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """The rows of a partition's files; without files Spark asks for one of None.

        Raises:
            ExportError: A file cannot be had, or not be read; the message names it.
        """
        return self._reading.batches(partition.value or ())


class FirstupReader(_FileReader, DataSourceReader):
    """Reads every file that is available, once."""

    def __init__(self, reading: _Reading, files: Sequence[ExportFile] | None) -> None:
        super().__init__(reading)
        self._files = files

    def __getstate__(self) -> dict[str, Any]:
        """Without the files: each task has its own in its partition."""
        return {"_reading": self._reading, "_files": None}

    @override
    @_brief()
    def partitions(self) -> list[InputPartition]:
        source = self._reading.source
        if self._files is None:
            listed = connect(source.config).list_files(source.stream)
            self._files = source.pending(list(listed), Bookmark())
        return source.partitions(self._files)


class FirstupStreamReader(_FileReader, DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Reads the files that come, each once.

    An offset is the stream's part of the tap's state, and the files that were read to reach it.
    """

    def __init__(self, reading: _Reading) -> None:
        super().__init__(reading)
        self._at: dict[str, Any] = {}
        self._listed: Sequence[ExportFile] = ()
        self._listed_at = 0.0
        self._program: str | None = None
        self._ends = False

    @override
    def initialOffset(self) -> dict[str, Any]:
        return {}

    def getDefaultReadLimit(self) -> Any:  # noqa: N802 - Spark's name
        """How many files a micro-batch has: what Spark hands to `latestOffset`."""
        most = self._reading.source.config.get("maxfilespertrigger")
        return ReadMaxFiles(most) if most else ReadAllAvailable()

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802 - Spark's name
        """Take the files that are there now for all there will be."""
        self._list()
        self._ends = True

    @override
    @_brief()
    def latestOffset(
        self, start: dict[str, Any] | None = None, limit: Any = None
    ) -> dict[str, Any]:
        """The offset after the next micro-batch: *start* if there is nothing to read.

        Args:
            start: Where the last one ended; before Spark 4.2 nothing, and `partitions` has told.
            limit: How many files to read; before Spark 4.2 nothing, and the option holds.

        Raises:
            StateError: The offset is of another program.
            ExportError: The files cannot be listed.
        """
        source = self._reading.source
        at = self._at if start is None else start
        most = source.config.get("maxfilespertrigger")
        if limit is not None:
            most = getattr(limit, "max_files", None)
        files = self._pending(at)
        if not files and not self._ends:
            self._list()
            files = self._pending(at)
        if not files:
            return at
        bookmark = Bookmark.from_state(at).settle(self._listed)
        warn_of_gap(source.stream, bookmark, self._listed, _logger)
        days = source.config["lookback_days"]
        warn_of_longer_lookback(source.stream, at, files, days, _logger)
        chosen = files[:most]
        for file in chosen:
            bookmark = bookmark.finish(file, source.lookback)
        return {
            **bookmark.to_state(),
            "lookback_days": days,
            **({"program_id": self._program} if self._program else {}),
            "files": [_written(file) for file in chosen],
        }

    @override
    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> list[InputPartition]:
        self._at = end
        if start == end:
            return []
        source = self._reading.source
        files = []
        for file in map(_read, end["files"]):
            if source.start and file.generated_at < source.start:
                _logger.warning("%s: not read: it is older than start_date", file)
            else:
                files.append(file)
        return source.partitions(files)

    def _pending(self, at: Mapping[str, Any]) -> list[ExportFile]:
        """The listed files that are still to be read."""
        source = self._reading.source
        check_program(source.stream, at, self._program)
        return source.pending(self._listed, Bookmark.from_state(at).settle(self._listed))

    def _list(self) -> None:
        """List the files, not more often than every few seconds."""
        source = self._reading.source
        time.sleep(max(0.0, self._listed_at + _LIST_EVERY - time.monotonic()))
        transport = connect(source.config)
        self._listed = list(transport.list_files(source.stream))
        self._listed_at = time.monotonic()
        self._program = transport.program_id


class FirstupDataSource(DataSource):
    """Firstup's export files, for ``spark.read`` and ``spark.readStream``.

    The options are the settings of the tap, objects as JSON, and ``stream``; what is not among
    them is taken from the driver's environment, as by the tap.

    Raises:
        SettingsError: The options cannot be used.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self._source = _Source.of(options)
        self._files: list[ExportFile] | None = None
        self._given = True  # the schema: until it is found

    @classmethod
    @override
    def name(cls) -> str:
        return "firstup_dde"

    @override
    @_brief()
    def schema(self) -> StructType:
        """The columns of all files that are available, which are listed now.

        Raises:
            ExportError: The files cannot be listed, or one not be looked into.
        """
        transport = connect(self._source.config)
        listed = list(transport.list_files(self._source.stream))
        self._files = self._source.pending(listed, Bookmark())
        self._given = False
        return self._source.schema(self._files, transport)

    @override
    def reader(self, schema: StructType) -> FirstupReader:
        # Each task gets this object, too: only the driver needs the files.
        files, self._files = self._files, None
        return FirstupReader(self._reading(schema), files)

    @override
    def streamReader(self, schema: StructType) -> FirstupStreamReader:
        self._files = None
        return FirstupStreamReader(self._reading(schema))

    def _reading(self, schema: StructType) -> _Reading:
        return _Reading.of(self._source, schema, strict=not self._given)


@lru_cache(maxsize=1)
def _transport(config: str) -> Transport:
    """The transport of some settings, as JSON: a worker's tasks share its token."""
    return connect(json.loads(config))


def _written(file: ExportFile) -> dict[str, Any]:
    """A file as an offset has it."""
    return {**asdict(file), "generated_at": format_time(file.generated_at)}


def _read(entry: Mapping[str, Any]) -> ExportFile:
    """A file out of an offset."""
    moment = parse_generation(entry["generated_at"])
    return ExportFile(**{**entry, "generated_at": moment, "paths": tuple(entry["paths"])})
