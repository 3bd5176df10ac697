"""A stream's export files as Arrow batches, for engines that read files in parallel.

Such an engine needs the columns before any row, and they cannot change later. So one process
lists the files and settles the columns (`Source`); any number of others read files (`Reading`),
each by itself.
"""

from __future__ import annotations

import json
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import polars as pl
import pyarrow as pa
from upath import UPath
from upath.implementations.cloud import CloudPath

from filetap.allocation import keep_freed_memory
from filetap.bookmark_checks import check_accounts
from filetap.columns.added import (
    ACCOUNT,
    ADDED,
    ADDED_TYPES,
    ALWAYS_ADDED,
    MALFORMED,
    with_added,
)
from filetap.columns.resolve import Columns, Known
from filetap.columns.sample import Expected, Sample, sample
from filetap.columns.types import MISFIT_SUFFIX, to_values
from filetap.download.spool import Spool
from filetap.errors import FileGoneError, FormatError, SettingsError
from filetap.plan import plan_columns
from filetap.read.batch import ReadOptions
from filetap.read.csv_fast import CSVReader
from filetap.read.detect import open_file
from filetap.redaction import SECRECY
from filetap.scan import ScanOptions, scan
from filetap.stats import FileStats
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from filetap.download.spool import Spooled
    from filetap.files import ExportFile, Transport
    from filetap.settings import Settings
    from filetap.vendor import Documented, Vendor

ROWS = 25_000  # of a batch, at most
SAMPLES_AT_ONCE = 8  # files that are sampled at a time
_LOCATION_HINT = "give a folder that the driver can write to; it holds a file for each stream"
_MISFIT_HINT = "set misfitColumns to all, and start the query again"
_SCHEMA_HINT = (
    "start the query again, so that the columns are found again, or give a schema: columns that "
    "are not in it are left out"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """What is read, and from where.

    Attributes:
        vendor: Whose files are read.
        stream: Name of the stream.
        settings: The tap's settings, credentials among them.
        malformed: True to read malformed rows instead of the others.
        at_once: How many files are read at once, at most; None for any number.
        every_misfit: True to give each typed column one for values that do not fit.
        types_at: Folder where the types of columns that were read are kept; empty for none.
    """

    vendor: Vendor
    stream: str
    settings: Settings = field(repr=False)
    malformed: bool = False
    at_once: int | None = None
    every_misfit: bool = False
    types_at: str = ""

    def columns(self, files: Sequence[ExportFile], transport: Transport) -> Columns:
        """The columns as the tap would have them, the added ones included.

        Args:
            files: Those that are available.
            transport: Where they were listed.

        Raises:
            ExportError: A file cannot be sampled.
            SettingsError: The types that were kept cannot be read, or new ones not be kept.
        """
        kept = self._kept() if self.types_at and not self.malformed else {}
        known = Known.of(self.vendor.streams[self.stream], self.settings, kept)
        keyed = ACCOUNT in {*known.own_key, *known.pinned_key}
        several = check_accounts(self.stream, transport, self.vendor, logger, keyed=keyed)
        names = ADDED if keyed or several or ACCOUNT in kept.get("types", ()) else ALWAYS_ADDED
        added = {name: ADDED_TYPES[name] for name in names}
        if self.malformed:
            return Columns({**MALFORMED, **added}, ())
        columns, has_seen = self._sampled(known, files, transport)
        columns = replace(columns, types={**columns.types, **added})
        # What no file has shown is not a reason for a type that lasts.
        if self.types_at and has_seen:
            own = {n: kind for n, kind in columns.types.items() if n not in ALWAYS_ADDED}
            self._keep({"types": own, "key": list(columns.key)})
        return columns

    def _sampled(
        self, known: Known, files: Sequence[ExportFile], transport: Transport
    ) -> tuple[Columns, bool]:
        """The files' own columns from a sample of every file; True if any file had rows."""
        samples = self._sample(files, transport, known.expected)
        found = reduce(or_, (one for one, _ in samples), Sample())
        whole = all(whole for _, whole in samples)
        # Nobody knows whether a file that has expired had rows.
        complete = len(samples) == len(files)
        columns = plan_columns(known, found) if complete else known.resolve(found)
        for warning in columns.warnings:
            logger.warning("%s: %s", self.stream, warning)
        types = dict(columns.types)
        if self.every_misfit or not whole:
            typed = [name for name, kind in types.items() if kind != "string"]
            types |= dict.fromkeys((name + MISFIT_SUFFIX for name in typed), "string")
        return replace(columns, types=types), bool(found.columns)

    def _kept(self) -> dict[str, Any]:
        """What was kept of the columns that were read before, as a stream's state has it.

        Raises:
            SettingsError: It cannot be read.
        """
        name = f"{self.stream}.json"
        try:
            kept = json.loads((UPath(self.types_at) / name).read_text(encoding="utf-8"))
            Known.of(self.vendor.streams[self.stream], self.settings, kept)
        except FileNotFoundError:
            return {}
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            msg = f"schemaLocation: {name} cannot be read ({type(error).__name__})"
            raise SettingsError(msg, _LOCATION_HINT) from None
        return dict(kept)

    def _keep(self, state: Mapping[str, Any]) -> None:
        """Keep types and key for whoever reads later.

        Raises:
            SettingsError: They cannot be kept.
        """
        name, text = f"{self.stream}.json", json.dumps(state, indent=1)
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

    def _sample(
        self, files: Sequence[ExportFile], transport: Transport, expected: Expected
    ) -> list[tuple[Sample, bool]]:
        """Each file's sample, and True if it is of the whole file; expired files are left out."""
        spool, tuning = Spool.of(self.settings), self.settings.tuning
        options = ReadOptions(reserved=ADDED, known=expected.names, divert=True)

        def one(file: ExportFile) -> tuple[Sample, bool] | None:
            try:
                with closing(spool.download(transport, file, tuning.whole)) as spooled:
                    found = sample(spooled, expected, tuning)
                    if spooled.whole:
                        return found, True
                    reader = open_file(spooled, options)
                    if found.columns and isinstance(reader, CSVReader):
                        return found, False
                # The beginning of other files does not show all columns.
                with closing(spool.download(transport, file)) as spooled:
                    columns = open_file(spooled, options).columns
                    return Sample(tuple(columns)) | sample(spooled, expected, tuning), False
            except FileGoneError as error:  # an error for the task that needs it
                logger.warning("%s", error)
                return None

        pool = ThreadPoolExecutor(min(self.at_once or SAMPLES_AT_ONCE, SAMPLES_AT_ONCE))
        try:
            return [found for found in pool.map(one, files) if found is not None]
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class FixedTable:
    """Columns that cannot grow: those of a query that has begun, or that its user gave.

    Attributes:
        expected: What files are expected to hold.
        all_types: Column → type, the added columns included.
        key: Columns of the key; empty if it is not among the columns.
        strict: True if a column that has no place is an error; otherwise it is left out.
    """

    expected: Expected
    all_types: Mapping[str, str]
    key: tuple[str, ...]
    strict: bool

    @property
    def documented(self) -> Documented:
        """What the vendor documents."""
        return self.expected.documented

    @cached_property
    def types(self) -> dict[str, str]:
        """Column → type of the file columns."""
        return {name: kind for name, kind in self.all_types.items() if name not in ADDED}

    @property
    def names(self) -> Collection[str]:
        """The file columns that have their place."""
        return self.types

    @property
    def added(self) -> Collection[str]:
        """The added columns that are wanted."""
        return self.all_types.keys() & {*ADDED}

    def extend(self, spooled: Spooled, columns: Sequence[str]) -> None:
        """Refuse a file with a column that has no place; leave it out if not strict.

        Raises:
            FormatError: It has one.
        """
        if self.strict and (new := sorted(set(columns) - set(self.types))):
            msg = f"{spooled.file}: it has columns that the query lacks: {', '.join(new)}"
            raise FormatError(msg, _SCHEMA_HINT)

    def add_misfits(self, file: ExportFile, misfits: Mapping[str, int]) -> None:
        """Refuse values that do not fit where there is no place for them.

        Raises:
            FormatError: There are some.
        """
        for name, count in misfits.items():
            if name + MISFIT_SUFFIX not in self.types:
                kind = self.types[name]
                be, have = ("is", "has") if count == 1 else ("are", "have")
                found = f"{counted(count, 'value')} in {name} {be} not {kind}"
                msg = f"{file}: {found}, and {have} no other place"
                hint = f"add {name}{MISFIT_SUFFIX} string to the schema, or make {name} a string"
                raise FormatError(msg, _MISFIT_HINT if self.strict else hint)


@dataclass(frozen=True)
class Reading:
    """How files are read, wherever.

    Attributes:
        source: What is read, and from where.
        types: Column → type of its values, in the order of *schema*.
        schema: The same columns, as Arrow has them.
        strict: True if a column that is not among them is an error.
        key: Columns of the key; empty if that is not known.
    """

    source: Source
    types: Mapping[str, str]
    schema: pa.Schema
    strict: bool
    key: tuple[str, ...] = ()

    def check_accounts(self, accounts: Collection[str]) -> None:
        """Refuse files of several accounts where nothing would tell them apart.

        Raises:
            FormatError: There are several, and the columns were found when there was one.
        """
        tells = ACCOUNT in self.types or self.source.malformed
        if self.strict and len(accounts) > 1 and not tells:
            vendor = self.source.vendor
            msg = f"{self.source.stream}: there are files of a second {vendor.account} now"
            raise FormatError(msg, f"start the query again{vendor.hints.accounts}")

    def batches(self, files: Sequence[ExportFile]) -> Iterator[pa.RecordBatch]:
        """The rows of *files*, each file verified before its first one.

        Raises:
            ExportError: A file cannot be fetched, or not be read.
        """
        settings = self.source.settings
        keep_freed_memory()
        transport = _transport(pickle.dumps((self.source.vendor, settings)))
        spool = Spool.of(settings)
        for file in files:
            with closing(spool.download(transport, file)) as spooled:
                for frame in self._frames(spooled):
                    yield from self._as_arrow(frame, file)

    def _frames(self, spooled: Spooled) -> Iterator[pl.DataFrame]:
        """One file's rows, as text that fits the types."""
        source, file = self.source, spooled.file
        own = {name: kind for name, kind in self.types.items() if name not in ADDED}
        documented = source.vendor.streams[source.stream].documented
        expected = Expected({} if source.malformed else own, documented)
        table = FixedTable(expected, self.types, self.key, self.strict)
        if source.malformed:
            table = FixedTable(expected, {}, (), strict=False)
        options = ScanOptions(
            block=2 * source.settings.tuning.block,
            most=ROWS,
            fill=True,
            divert=source.malformed or source.settings.diverts,
        )
        stats = FileStats(file, self.key)
        for rows in scan(spooled, table, options, stats):
            frame = rows.frame
            if source.malformed:
                texts = {name: [getattr(row, name) for row in rows.malformed] for name in MALFORMED}
                frame = pl.DataFrame(texts, dict.fromkeys(texts, pl.String))
                numbers = pl.Series([row.number for row in rows.malformed], dtype=pl.Int64)
                frame = with_added(frame, file, numbers, self.types)
            if frame.height:
                yield frame.select(*self.types)
        if not source.malformed:
            stats.log(logger, self.types, self.types)

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
def _transport(pickled: bytes) -> Transport:
    """The transport of a vendor and settings: what one process reads shares its token."""
    vendor, settings = pickle.loads(pickled)  # noqa: S301 - our own
    SECRECY.guard(list(settings.secrets))
    transport: Transport = vendor.connect(settings)
    return transport
