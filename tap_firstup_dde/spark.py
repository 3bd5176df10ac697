"""Export files as a data source of Spark: one partition per file, by the tap's own functions.

The driver lists the files and settles the columns; each task fetches its files from the API or
the folder, proves them, and hands their rows over as Arrow batches. Partitions hold names of
files, never a URL or a credential; these travel in the data source's options only.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

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

from filetap.arrow import Reading, Source
from filetap.bookmark import Bookmark
from filetap.bookmark_checks import (
    check_program,
    last_look,
    warn_of_future,
    warn_of_gap,
    warn_of_longer_lookback,
)
from filetap.columns.resolve import ADDED_SCHEMA
from filetap.columns.types import MISFIT_SUFFIX, type_of
from filetap.errors import (
    ExportError,
    FileGoneError,
    SettingsError,
    StateError,
)
from filetap.files import STATE_HINT, ExportFile
from filetap.people.inventory import utc_now
from filetap.read.names import column_names
from filetap.redaction import SECRECY
from filetap.settings import SETTINGS, from_texts, secrets, shadowed
from filetap.times import format_time, parse_generation
from tap_firstup_dde.api import connect
from tap_firstup_dde.vendor import KEYS, MALFORMED_SUFFIX

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
    from collections.abc import Iterator, Mapping, Sequence

    from filetap.files import Transport

_LIST_EVERY = 2.0  # seconds between two listings of a stream that never ends
_LISTED_FOR = 60.0  # seconds that a listing is taken for true
_ENVIRONMENT = "TAP_FIRSTUP_DDE_"

_STREAMS = (*KEYS, *(stream + MALFORMED_SUFFIX for stream in KEYS))
_SETTINGS = {name: s for name, s in SETTINGS["properties"].items() if name != "batch_config"}
_OPTIONS: dict[str, Any] = {
    "type": "object",
    "required": ["stream"],
    "properties": {
        **_SETTINGS,
        # A program's requests are limited by the minute, and many tasks share them: so many
        # tries outlast a minute.
        "max_retries": {**_SETTINGS["max_retries"], "default": 8},
        "stream": {"type": ["string"], "enum": list(_STREAMS)},
        # Options come in lower case.
        "maxfilespertrigger": {"type": ["integer"], "minimum": 1},
        "maxconcurrentfiles": {"type": ["integer"], "minimum": 1},
        "misfitcolumns": {"type": ["string"], "enum": ["seen", "all"], "default": "seen"},
        "schemalocation": {"type": ["string"], "minLength": 1},
    },
}

# What the environment may have → options that take its place.
_OVERRULED = {
    "folder": {"client_id", "client_secret", "access_token"},
    "access_token": {"client_id", "client_secret", "folder"},
    "client_id": {"folder", "access_token"},
    "client_secret": {"folder", "access_token"},
}
_SPELLED = {
    name.lower(): name
    for name in ("maxFilesPerTrigger", "maxConcurrentFiles", "misfitColumns", "schemaLocation")
}
_OPTIONS_HINT = (
    f"options are stream, {', '.join(_SPELLED.values())} and the tap's settings, objects as JSON; "
    "the environment counts as it was when Spark was started"
)
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

logger = logging.getLogger(__name__)


@contextmanager
def _brief() -> Iterator[None]:
    """Hand foreseen errors on without the way they came: Spark shows all of it."""
    try:
        yield
    except ExportError as error:
        raise type(error)(error.message, error.hint) from None


@_brief()
def _source(options: Mapping[str, str]) -> Source:
    """What the options and the environment say; the options win.

    Raises:
        SettingsError: They cannot be used.
    """
    variables = ((name, os.environ.get(_ENVIRONMENT + name.upper())) for name in _SETTINGS)
    texts = {name: text for name, text in variables if text is not None}
    given = {name.lower(): options[name] for name in options}
    # Where options say where files come from, the environment does not say it otherwise.
    for name, others in _OVERRULED.items():
        if name not in given and given.keys() & others:
            texts.pop(name, None)
    texts |= given
    try:
        config = from_texts(texts, _OPTIONS)
    except SettingsError as error:
        told = re.sub("|".join(_SPELLED), lambda match: _SPELLED[match[0]], error.message)
        raise SettingsError(told, _OPTIONS_HINT) from None
    SECRECY.guard(secrets(config))
    for name, winner in shadowed(config).items():
        logger.warning("%s is set, so %s has no effect", winner, name)
    stream = config["stream"]
    return Source(
        stream.removesuffix(MALFORMED_SUFFIX),
        stream.endswith(MALFORMED_SUFFIX),
        config,
        at_once=config.get("maxconcurrentfiles"),
        every_misfit=config["misfitcolumns"] == "all",
        types_at=config.get("schemalocation", ""),
    )


@_brief()
def _reading(source: Source, schema: StructType, *, strict: bool) -> Reading:
    """How files are read into a schema.

    Raises:
        SettingsError: A column has a type that none is read as.
    """
    types, fields = {}, []
    for column in schema.fields:
        name, word = column.name, column.dataType.simpleString()
        base = name.removesuffix(MISFIT_SUFFIX)
        if (normal := column_names([base])[0]) != base and name not in ADDED_SCHEMA:
            msg = f"schema: there is no column {name}, as names are written here"
            raise SettingsError(msg, f"write {normal}")
        if name != base and base not in schema.names:
            msg = f"schema: {name} is what does not fit {base}, which is not in it"
            raise SettingsError(msg, f"add {base}")
        kind, arrow_type = _READ_AS.get(word, ("", None))
        own = type_of(ADDED_SCHEMA[name]) if name in ADDED_SCHEMA else kind
        if not kind or kind not in {"string" if name.endswith(MISFIT_SUFFIX) else own, "string"}:
            msg = f"schema: column {name} cannot be read as {word}"
            added = name in ADDED_SCHEMA
            words = (w for w, (k, _) in _READ_AS.items() if not added or k in {own, "string"})
            raise SettingsError(msg, f"use one of {', '.join(words)}, or leave it out")
        types[name] = kind
        fields.append(pa.field(name, arrow_type, nullable=column.nullable))
    if len(types) < len(fields) or not fields:
        msg = "schema: it has no columns, or one twice"
        raise SettingsError(msg, "give each column once")
    return Reading(source, types, pa.schema(fields), strict)


def _partitions(source: Source, files: Sequence[ExportFile]) -> list[InputPartition]:
    """One partition per file, or as many as files may be read at once."""
    most = source.at_once or len(files)
    groups = (tuple(files[first::most]) for first in range(min(most, len(files))))
    return [InputPartition(group) for group in groups]


class _FileReader:
    """Reads partitions, without any state: what a task does."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """The rows of a partition's files.

        Raises:
            ExportError: A file cannot be had, or not be read; the message names it.
        """
        with _brief():
            yield from self._reading.batches(partition.value)


class FirstupReader(_FileReader, DataSourceReader):
    """Reads every file that is available, once."""

    def __init__(self, reading: Reading, files: Sequence[ExportFile] | None) -> None:
        super().__init__(reading)
        self._files = files

    def __getstate__(self) -> dict[str, Any]:
        """Without the files: each task has its own in its partition."""
        return {"_reading": self._reading, "_files": None}

    @override
    @_brief()
    def partitions(self) -> list[InputPartition]:
        """The files that were listed for the schema; with a schema of the user's, listed now.

        Raises:
            ExportError: They cannot be listed.
        """
        source = self._reading.source
        if self._files is None:
            listed = connect(source.config).list_files(source.stream)
            self._files = source.pending(list(listed), Bookmark())
        # Where there is none, Spark makes one itself, of another kind in each version.
        return _partitions(source, self._files) or [InputPartition(())]


class FirstupStreamReader(_FileReader, DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Reads the files that come, each once.

    An offset is the stream's part of the tap's state, and the files that were read to reach it.
    """

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading)
        self._at: dict[str, Any] = {}
        self._listed: Sequence[ExportFile] = ()
        self._listed_at = -_LISTED_FOR
        self._transport: Transport | None = None
        self._only: frozenset[str] | None = None

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
        self._only = frozenset(file.id for file in self._listed)

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
            StateError: The offset is of another stream or program.
            TransportError: The files cannot be listed.
        """
        source = self._reading.source
        limits = source.limits
        at = self._at if start is None else start
        most = source.config.get("maxfilespertrigger")
        if limit is not None:
            most = getattr(limit, "max_files", None)
        transport = self._refresh()
        files = self._pending(at)
        if not files and self._only is None:
            self._list()
            files = self._pending(at)
        if not files:
            return at
        now = utc_now()
        bookmark = Bookmark.from_state(at, now).settle(self._listed)
        warn_of_gap(bookmark, self._listed, last_look(at), now.date(), logger)
        days = source.config["lookback_days"]
        warn_of_longer_lookback(source.stream, at, files, days, logger)
        chosen = files[:most]
        warn_of_future(chosen, now, logger)
        for file in chosen:
            bookmark = bookmark.finish(file, limits.lookback, now)
        return {
            **bookmark.to_state(),
            "lookback_days": days,
            **({"listed_on": now.date().isoformat()} if chosen == files else {}),
            **({"program_id": transport.program_id} if transport.program_id else {}),
            "stream": source.stream,
            "files": [_written(file) for file in chosen],
        }

    @override
    @_brief()
    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> list[InputPartition]:
        """The files between two offsets that follow each other, wherever they are now.

        Left out are files that were delivered again, whose new version is still to come, and
        those that are gone and older than ``start_date``.

        Raises:
            StateError: The offset is of another stream, program or source, or none.
            FormatError: Files are of several programs, and the query began with one.
            TransportError: The files cannot be listed.
        """
        self._at = end
        if start == end:
            return []
        transport = self._refresh()
        self._check(end)
        source = self._reading.source
        start_date = source.limits.start
        self._reading.check_programs(transport.programs)
        try:
            planned = [_read(entry) for entry in end["files"]]
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{source.stream}: the checkpoint cannot be read ({type(error).__name__})"
            raise StateError(msg, STATE_HINT) from None
        if any(bool(file.paths) != bool(source.config.get("folder")) for file in planned):
            msg = f"{source.stream}: the files of this micro-batch were listed in another source"
            raise StateError(msg, "finish it with the options of that one")
        there = {file.id: file for file in self._listed}
        files = []
        for file in planned:
            now = there.get(file.id, file)
            if now.version != file.version:
                logger.warning("%s: another file of this name was delivered, and comes next", file)
            elif start_date and file.generated_at < start_date and _is_gone(transport, file):
                logger.warning("%s: it is gone, and older than start_date: it is left out", file)
            else:
                files.append(now)
        return _partitions(source, files)

    def _pending(self, at: Mapping[str, Any]) -> list[ExportFile]:
        """The listed files that are still to be read."""
        self._check(at)
        listed = [f for f in self._listed if self._only is None or f.id in self._only]
        return self._reading.source.pending(
            listed, Bookmark.from_state(at, utc_now()).settle(self._listed)
        )

    def _check(self, at: Mapping[str, Any]) -> None:
        """Refuse to go on from an offset of something else.

        Raises:
            StateError: It is of another stream or program.
        """
        stream = self._reading.source.stream
        if at.get("stream", stream) != stream:
            msg = f"{stream}: the checkpoint is of the stream {at['stream']}"
            raise StateError(msg, "use one checkpoint per query")
        check_program(stream, at, self._transport.program_id if self._transport else None)

    def _refresh(self) -> Transport:
        """Where files come from, listed not long ago: what is planned is to be there still."""
        if self._transport is None or time.monotonic() - self._listed_at > _LISTED_FOR:
            return self._list()
        return self._transport

    @_brief()
    def _list(self) -> Transport:
        """List the files, not more often than every few seconds."""
        source = self._reading.source
        time.sleep(max(0.0, self._listed_at + _LIST_EVERY - time.monotonic()))
        # A folder's transport looks once; another one looks again. The API's keeps its token.
        if self._transport is None or source.config.get("folder"):
            self._transport = connect(source.config)
        self._listed = list(self._transport.list_files(source.stream))
        self._listed_at = time.monotonic()
        return self._transport


class FirstupDataSource(DataSource):
    """Firstup's export files, for ``spark.read`` and ``spark.readStream``.

    The options are the settings of the tap, objects as JSON, and ``stream``; what is not among
    them is taken from the driver's environment, as by the tap.

    Raises:
        SettingsError: The options cannot be used.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self._source = _source(options)
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
        columns = self._source.columns(self._files, transport)
        fields = [StructField(name, _SPARK_TYPES[kind]) for name, kind in columns.items()]
        return StructType(fields)

    @override
    def reader(self, schema: StructType) -> FirstupReader:
        # Each task gets this object, too: only the driver needs the files.
        files, self._files = self._files, None
        return FirstupReader(self._read(schema), files)

    @override
    def streamReader(self, schema: StructType) -> FirstupStreamReader:
        self._files = None
        return FirstupStreamReader(self._read(schema))

    def _read(self, schema: StructType) -> Reading:
        return _reading(self._source, schema, strict=not self._given)


def _is_gone(transport: Transport, file: ExportFile) -> bool:
    """Whether a file that was listed is no longer there."""
    try:
        transport.stored_size(file)
    except FileGoneError:
        return True
    return False


def _written(file: ExportFile) -> dict[str, Any]:
    """A file as an offset has it."""
    return {**asdict(file), "generated_at": format_time(file.generated_at)}


def _read(entry: Mapping[str, Any]) -> ExportFile:
    """A file out of an offset."""
    moment = parse_generation(entry["generated_at"])
    return ExportFile(**{**entry, "generated_at": moment, "paths": tuple(entry["paths"])})
