"""A stream's export files as Arrow batches, for engines that read files side by side.

Such an engine wants to know the columns before any row, and cannot be told of others later. So
one process lists the files and settles the columns (`Source`); any number of others read files
(`Reading`), each by itself.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import polars as pl
import pyarrow as pa
from upath import UPath
from upath.implementations.cloud import CloudPath

from filetap.allocation import keep_freed_memory
from filetap.columns.resolve import (
    ADDED_SCHEMA,
    Sources,
    certain,
    own_keys,
    own_types,
    pinned_types,
    with_added,
)
from filetap.columns.sample import (
    LOOK_WHOLE,
    Knowledge,
    Look,
    check_columns,
    look_into,
)
from filetap.columns.types import MISFIT_SUFFIX, fit, to_values, type_of
from filetap.download.prefetch import ahead
from filetap.download.spool import Spool
from filetap.errors import FileGoneError, FormatError, SettingsError
from filetap.people.inventory import Limits
from filetap.read.batch import BLOCK, ReadOptions, rebatch
from filetap.read.csv_fast import CSVReader
from filetap.read.names import clashes
from filetap.redaction import SECRECY
from filetap.settings import secrets
from filetap.wording import counted
from tap_firstup_dde.api import connect
from tap_firstup_dde.vendor import (
    ADDED,
    ALWAYS_ADDED,
    DOCUMENTED,
    KEYS,
    MALFORMED,
    MALFORMED_SUFFIX,
    PROGRAM_ID,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from filetap.bookmark import Bookmark
    from filetap.download.spool import Spooled
    from filetap.files import ExportFile, Transport

ROWS = 25_000  # of a batch, at most
LOOKS_AT_ONCE = 8  # files that are looked into at a time
_LOCATION_HINT = "give a folder that the driver can write to; it holds a file for each stream"
_MISFIT_HINT = "set misfitColumns to all, and start the query anew"
_SCHEMA_HINT = (
    "start the query anew, so that the columns are found anew, or give a schema: columns that are "
    "not in it are left out"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """What is read, and from where.

    Attributes:
        stream: Name of the stream whose files are read.
        malformed: Whether its rows that cannot be read are wanted, instead of the others.
        config: The tap's settings, validated, credentials among them.
        at_once: How many files are read at once, at most; None for any number.
        every_misfit: Whether each typed column gets one for values that do not fit.
        types_at: The folder where the types of columns that were read are kept; empty for none.
    """

    stream: str
    malformed: bool
    config: Mapping[str, Any] = field(repr=False)
    at_once: int | None = None
    every_misfit: bool = False
    types_at: str = ""

    @property
    def limits(self) -> Limits:
        """Which files the settings have read."""
        return Limits.of(self.config)

    def pending(self, files: Collection[ExportFile], since: Bookmark) -> list[ExportFile]:
        """The files that are still to be read, in order."""
        return since.pending(files, self.limits.lookback, self.limits.start)

    def columns(self, files: Sequence[ExportFile], transport: Transport) -> dict[str, str]:
        """Column → type, as the tap would have them, the added ones too.

        Args:
            files: Those that are available.
            transport: Where they were listed.

        Raises:
            ExportError: A file cannot be looked into.
            SettingsError: The types that were kept cannot be read, or new ones not be kept.
        """
        types = dict(MALFORMED) if self.malformed else self._types(files, transport)
        several = PROGRAM_ID in types
        types.pop(PROGRAM_ID, None)
        added = ADDED if several else ALWAYS_ADDED
        return types | {name: type_of(ADDED_SCHEMA[name]) for name in added}

    def _types(self, files: Sequence[ExportFile], transport: Transport) -> dict[str, str]:
        """Column → type, from the settings, what was kept, and a look at every file."""
        keys = own_keys(self.config, self.stream) or KEYS[self.stream]
        kept = self._kept() if self.types_at else {}
        several = kept.pop(PROGRAM_ID, "") or len(transport.programs) > 1 or PROGRAM_ID in keys
        sources = Sources(self.stream, own_types(self.config, self.stream), kept, {}, keys)
        looks = self._look(files, transport, sources.known)
        seen = reduce(or_, (seen for seen, _ in looks), Look())
        whole = all(whole for _, whole in looks)
        types, warnings = sources.types(seen)
        for warning in warnings:
            logger.warning("%s: %s", self.stream, warning)
        # Of a file that has expired nobody knows whether it had rows.
        if not seen.columns and not kept and len(looks) == len(files):
            types = certain(types, self.stream, keys)
        if self.every_misfit or not whole:
            typed = [name for name, kind in types.items() if kind != "string"]
            types |= dict.fromkeys((name + MISFIT_SUFFIX for name in typed), "string")
        if several:
            types[PROGRAM_ID] = "string"
        # What nobody has seen is no reason for a type that lasts.
        if self.types_at and seen.columns:
            self._keep(types)
        return types

    def _kept(self) -> dict[str, str]:
        """Column → type of the columns that were read before.

        Raises:
            SettingsError: They cannot be known.
        """
        name = f"{self.stream}.json"
        try:
            kept = json.loads((UPath(self.types_at) / name).read_text(encoding="utf-8"))
            program = {PROGRAM_ID: "string"} if PROGRAM_ID in kept["types"] else {}
            return pinned_types(kept, self.stream) | program
        except FileNotFoundError:
            return {}
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            msg = f"schemaLocation: {name} cannot be read ({type(error).__name__})"
            raise SettingsError(msg, _LOCATION_HINT) from None

    def _keep(self, types: Mapping[str, str]) -> None:
        """Keep types for whoever reads later.

        Raises:
            SettingsError: They cannot be kept.
        """
        name, text = f"{self.stream}.json", json.dumps({"types": types}, indent=1)
        try:
            folder = UPath(self.types_at)
            if isinstance(folder, CloudPath):  # an object is there whole or not at all
                (folder / name).write_text(text, encoding="utf-8")
            else:
                folder.mkdir(parents=True, exist_ok=True)
                fresh = folder / f".{name}.{uuid4().hex}"
                fresh.write_text(text, encoding="utf-8")
                fresh.rename(folder / name)
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            msg = f"schemaLocation: {name} cannot be written ({type(error).__name__})"
            raise SettingsError(msg, _LOCATION_HINT) from None

    def _look(
        self, files: Sequence[ExportFile], transport: Transport, known: Knowledge
    ) -> list[tuple[Look, bool]]:
        """What each file holds, and whether it was seen whole; without those that have expired."""
        spool = Spool.of(self.config)
        options = ReadOptions(known.reserved, known.names, divert=True)

        def look(file: ExportFile) -> tuple[Look, bool] | None:
            try:
                with closing(spool.download(transport, file, LOOK_WHOLE)) as spooled:
                    seen = look_into(spooled, known)
                    if spooled.whole:
                        return seen, True
                    reader = spooled.reader(options)
                    if seen.columns and isinstance(reader, CSVReader):
                        return seen, False
                # Of other files the beginning does not tell the columns.
                with closing(spool.download(transport, file)) as spooled:
                    columns = spooled.reader(options).columns
                    return Look(tuple(columns)) | look_into(spooled, known), False
            except FileGoneError as error:  # a task that needs it will say so
                logger.warning("%s", error)
                return None

        pool = ThreadPoolExecutor(min(self.at_once or LOOKS_AT_ONCE, LOOKS_AT_ONCE))
        try:
            return [found for found in pool.map(look, files) if found is not None]
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Reading:
    """How files are read, wherever.

    Attributes:
        source: What is read, and from where.
        types: Column → type of its values, in the order of *schema*.
        schema: The same columns, as Arrow has them.
        strict: Whether a column that is not among them is an error.
    """

    source: Source
    types: Mapping[str, str]
    schema: pa.Schema
    strict: bool

    def check_programs(self, programs: Collection[str]) -> None:
        """Refuse files of several programs where nothing would tell them apart.

        Raises:
            FormatError: They are, and the columns were found when there was one program.
        """
        tells = PROGRAM_ID in self.types or self.source.malformed
        if self.strict and len(programs) > 1 and not tells:
            msg = f"{self.source.stream}: there are files of a second program now"
            raise FormatError(msg, "start the query anew, or read one by folder.program_id")

    def batches(self, files: Sequence[ExportFile]) -> Iterator[pa.RecordBatch]:
        """The rows of *files*, each file proven before its first one.

        Raises:
            ExportError: A file cannot be had, or not be read.
        """
        SECRECY.guard(secrets(self.source.config))
        keep_freed_memory()
        transport = _transport(json.dumps(self.source.config))
        spool = Spool.of(self.source.config)
        for file in files:
            with closing(spool.download(transport, file)) as spooled:
                for frame in self._frames(spooled):
                    yield from self._as_arrow(frame, file)

    def _frames(self, spooled: Spooled) -> Iterator[pl.DataFrame]:
        """One file's rows, as text that fits the types."""
        source, file = self.source, spooled.file
        diverts = source.malformed or source.config["malformed_rows"] == "divert"
        names = {*self.types, *DOCUMENTED[source.stream].columns}
        reader = spooled.reader(ReadOptions(ADDED, names, 2 * BLOCK, divert=diverts))
        if words := clashes(reader.labels, reader.columns):
            logger.warning("%s: only their order tells columns apart: %s", file, words)
        own = {name: kind for name, kind in self.types.items() if name not in ADDED}
        if not source.malformed:
            check_columns(file, reader.columns, Knowledge(own, DOCUMENTED[source.stream], ADDED))
            self._check_columns(file, reader.columns)
        diverted = 0
        for part in rebatch(ahead(iter(reader)), str(file), skip=0, most=ROWS, fill=True):
            diverted += len(part.malformed)
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
        if diverted and not source.malformed:
            others = source.stream + MALFORMED_SUFFIX
            told, them = counted(diverted, "row"), "it" if diverted == 1 else "them"
            logger.warning("%s: %s cannot be read; %s has %s", file, told, others, them)

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
                be, have = ("is", "has") if count == 1 else ("are", "have")
                found = f"{counted(count, 'value')} of {name} {be} not {kind}"
                msg = f"{file}: {found}, and {have} no other place"
                hint = f"add {name}{MISFIT_SUFFIX} string to the schema, or have {name} as string"
                raise FormatError(msg, _MISFIT_HINT if self.strict else hint)

    def _as_arrow(self, frame: pl.DataFrame, file: ExportFile) -> Iterator[pa.RecordBatch]:
        """Rows as the schema has them.

        Raises:
            FormatError: A value is larger than its type, or missing where one must be.
        """
        for column in self.schema:
            if not column.nullable and frame[column.name].null_count():
                msg = f"{file}: {column.name} is empty in a row, and the schema says not null"
                raise FormatError(msg, "let the schema allow null")
        table = to_values(frame, self.types).to_arrow(compat_level=pl.CompatLevel.oldest())
        utc = pa.timestamp("us", "UTC")
        # Arrow makes times of text at ten times polars' speed, of Z such that have a zone.
        zoned = [f.with_type(utc) if pa.types.is_timestamp(f.type) else f for f in self.schema]
        try:
            yield from table.cast(pa.schema(zoned)).cast(self.schema).to_batches()
        except pa.ArrowInvalid:
            msg = f"{file}: an integer is larger than its type in the schema"
            raise FormatError(msg, "use bigint") from None


@lru_cache(maxsize=1)
def _transport(config: str) -> Transport:
    """The transport of some settings, as JSON: what one process reads shares its token."""
    return connect(json.loads(config))
