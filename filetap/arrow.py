"""A stream's export files as Arrow batches, for engines that read files in parallel.

Such an engine needs the columns before any row, and they cannot change later. So one process
lists the files and settles the columns (`Source`); any number of others read files (`Reading`),
each by itself.
"""

from __future__ import annotations

import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, reduce
from operator import or_
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from filetap.allocation import keep_freed_memory
from filetap.bookmark_checks import check_accounts
from filetap.columns.added import (
    ACCOUNT,
    ADDED,
    ADDED_TYPES,
    ALWAYS_ADDED,
    HASH_KEY,
    MALFORMED,
    added_columns,
    with_added,
)
from filetap.columns.expected import Expected
from filetap.columns.fit import fit
from filetap.columns.kept import keep, load_kept
from filetap.columns.protection import check_protected
from filetap.columns.resolve import Columns, Known
from filetap.columns.sample import Sample, sample
from filetap.columns.types import MISFIT_SUFFIX, to_values
from filetap.download.spool import Spool
from filetap.errors import FileGoneError, FormatError
from filetap.plan import plan_columns
from filetap.read.csv_fast import CSVReader
from filetap.read.detect import open_file
from filetap.redaction import SECRECY
from filetap.scan import ScanOptions, scan
from filetap.stats import FileStats
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator, Mapping, Sequence

    from filetap.download.spool import Spooled
    from filetap.files import ExportFile, Transport
    from filetap.read.batch import Reader
    from filetap.scan import Rows
    from filetap.settings import Settings
    from filetap.vendor import Documented, StreamSpec, Vendor

ROWS = 25_000  # of a batch, at most
SAMPLES_AT_ONCE = 8  # files that are sampled at a time
_MISFIT_HINT = "set misfitColumns to all, and start the query again"
_SCHEMA_HINT = (
    "start the query again, which finds all columns, or give a schema: columns that it lacks are "
    "left out"
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

    @property
    def spec(self) -> StreamSpec:
        """What the vendor documents about the stream."""
        return self.vendor.streams[self.stream]

    def columns(self, files: Sequence[ExportFile], transport: Transport) -> Columns:
        """The columns as the tap would have them, the added ones included.

        Args:
            files: Those that are available.
            transport: Where they were listed.

        Raises:
            ExportError: A file cannot be sampled.
            SettingsError: The types that were kept cannot be read, or new ones not be kept.
        """
        if self.malformed:
            return _with_added(Columns(MALFORMED, ()), ALWAYS_ADDED)
        kept = load_kept(self.types_at, self.spec) if self.types_at else {}
        known = Known.of(self.spec, self.settings, kept)
        keyed = ACCOUNT in {*known.own_key, *known.pinned_key}
        several = check_accounts(self.stream, transport, self.vendor, logger, keyed=keyed)
        has_accounts = keyed or several or ACCOUNT in kept.get("types", ())
        columns, found = self._sampled(known, files, transport)
        known, doubts = check_protected(known, found)
        for warning in (*columns.warnings, *doubts):
            logger.warning("%s: %s", self.stream, warning)
        columns = _with_added(columns, added_columns(columns.key, has_accounts=has_accounts))
        # What no file has shown is not a reason for a type that lasts.
        if self.types_at and found.columns:
            unkept = {*ALWAYS_ADDED, *HASH_KEY}
            own = {n: kind for n, kind in columns.types.items() if n not in unkept}
            pins = {"types": own, "key": list(columns.key), **known.found_pins}
            keep(self.types_at, self.stream, pins)
        return columns

    def _sampled(
        self, known: Known, files: Sequence[ExportFile], transport: Transport
    ) -> tuple[Columns, Sample]:
        """The files' own columns, and the sample of every file that they come from."""
        samples = self._sample(files, transport, known.expected)
        found = reduce(or_, (one for one, _ in samples), Sample())
        whole = all(whole for _, whole in samples)
        # Nobody knows whether a file that has expired had rows.
        complete = len(samples) == len(files)
        columns = plan_columns(known, found) if complete else known.resolve(found)
        types = dict(columns.types)
        if self.every_misfit or not whole:
            typed = [name for name, kind in types.items() if kind != "string"]
            types |= dict.fromkeys((name + MISFIT_SUFFIX for name in typed), "string")
        return replace(columns, types=types), found

    def _sample(
        self, files: Sequence[ExportFile], transport: Transport, expected: Expected
    ) -> list[tuple[Sample, bool]]:
        """Each file's sample, and True if it is of the whole file; expired files are left out."""
        spool = Spool.of(self.settings)

        def one(file: ExportFile) -> tuple[Sample, bool] | None:
            try:
                return self._sample_file(file, transport, spool, expected)
            except FileGoneError as error:  # an error for the task that needs it
                logger.warning("%s", error)
                return None

        pool = ThreadPoolExecutor(min(self.at_once or SAMPLES_AT_ONCE, SAMPLES_AT_ONCE))
        try:
            return [found for found in pool.map(one, files) if found is not None]
        finally:
            pool.shutdown(cancel_futures=True)

    def _sample_file(
        self, file: ExportFile, transport: Transport, spool: Spool, expected: Expected
    ) -> tuple[Sample, bool]:
        """One file's sample, and True if it is of the whole file."""
        tuning = self.settings.tuning
        with closing(spool.download(transport, file, tuning.whole)) as spooled:
            found = sample(spooled, expected, tuning)
            if spooled.whole:
                return found, True
            # The beginning of other files does not show all columns.
            if found.columns and isinstance(_reader(spooled, expected), CSVReader):
                return found, False
        with closing(spool.download(transport, file)) as spooled:
            columns = tuple(_reader(spooled, expected).columns)
            return Sample(columns) | sample(spooled, expected, tuning), False


def _with_added(columns: Columns, added: Collection[str]) -> Columns:
    """The same with some of the added columns."""
    return replace(columns, types={**columns.types, **{n: ADDED_TYPES[n] for n in added}})


def _reader(spooled: Spooled, expected: Expected) -> Reader:
    """A reader of a file whose columns are wanted, not its malformed rows."""
    return open_file(spooled, replace(expected.options, divert=True))


class _Everything:
    """Contains every name."""

    def __contains__(self, name: object) -> bool:
        return True


@dataclass(frozen=True)
class FixedTable:
    """Columns that cannot grow: those of a query that has started, or of a user's schema.

    Attributes:
        expected: What files are expected to hold.
        all_types: Column → type, the added columns included.
        key: Columns that a file with rows must have.
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
    def names(self) -> Container[str]:
        """The file columns that a file may have."""
        return self.types if self.strict else _Everything()

    @property
    def added(self) -> Collection[str]:
        """The added columns that are wanted."""
        return self.all_types.keys() & {*ADDED}

    def extend(self, spooled: Spooled, columns: Sequence[str]) -> None:
        """Refuse a file with a column that has no place.

        Raises:
            FormatError: The file has such a column.
        """
        new = sorted(set(columns) - set(self.types))
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
        transport = _transport(_Origin.of(self.source))
        spool = Spool.of(settings)
        for file in files:
            with closing(spool.download(transport, file)) as spooled:
                for frame in self._frames(spooled):
                    yield from self._as_arrow(frame, file)

    def _frames(self, spooled: Spooled) -> Iterator[pl.DataFrame]:
        """One file's rows, as text that fits the types."""
        source, file = self.source, spooled.file
        diverts = source.malformed or source.settings.diverts
        own = {name: kind for name, kind in self.types.items() if name not in ADDED}
        settings = source.settings
        expected = Expected(
            own,
            source.spec.documented,
            nulls=settings.nulls,
            protection=settings.protection(source.stream),
        )
        # Which key the rows' own query found is not known where malformed rows are read; so rows
        # without it are not malformed, or they would be in neither.
        key = () if diverts else self.key
        table = scanned = FixedTable(expected, self.types, key, self.strict)
        if source.malformed:
            expected = Known.of(source.spec, source.settings, {}).expected
            scanned = FixedTable(expected, {}, (), strict=False)
        options = ScanOptions(
            block=source.settings.tuning.block,
            most=ROWS,
            fill=True,
            divert=diverts,
        )
        stats = FileStats(file, self.key)
        for rows in scan(spooled, scanned, options, stats):
            frame = _of_malformed(rows, file, table) if source.malformed else rows.frame
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


def _of_malformed(rows: Rows, file: ExportFile, table: FixedTable) -> pl.DataFrame:
    """The malformed ones of some rows, as rows of a table.

    Raises:
        FormatError: The table has other types than text for them.
    """
    texts = {name: [getattr(row, name) for row in rows.malformed] for name in MALFORMED}
    frame = pl.DataFrame(texts, dict.fromkeys(texts, pl.String))
    fitted = fit(frame, table.types, table.documented)
    table.add_misfits(file, fitted.misfits)
    numbers = pl.Series([row.number for row in rows.malformed], dtype=pl.Int64)
    return with_added(fitted.frame, file, numbers, table.added)


@dataclass(frozen=True)
class _Origin:
    """A vendor with settings; equal to another one if they give the same transport."""

    program: str
    pickled: bytes
    vendor: Vendor = field(compare=False)
    settings: Settings = field(compare=False)

    @classmethod
    def of(cls, source: Source) -> _Origin:
        """Where the files of *source* come from."""
        vendor, settings = source.vendor, source.settings
        return cls(vendor.program, pickle.dumps(settings), vendor, settings)


@lru_cache(maxsize=1)
def _transport(origin: _Origin) -> Transport:
    """A transport that everything that one process reads shares, and so its token."""
    SECRECY.guard(list(origin.settings.secrets))
    return origin.vendor.connect(origin.settings)
