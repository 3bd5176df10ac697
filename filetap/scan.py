"""One export file to typed batches: the only way to read rows into a table."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from filetap.columns.added import ADDED, EVENT_ID, ROW_HASH, ROW_OCCURRENCE, with_added
from filetap.columns.expected import check_columns
from filetap.columns.fit import fit
from filetap.columns.identities import Identities
from filetap.columns.keys import with_row_hashes
from filetap.prefetch import ahead
from filetap.read.batch import rebatch
from filetap.read.detect import open_file
from filetap.read.names import clashes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence

    import polars as pl

    from filetap.columns.expected import Expected
    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.read.batch import Malformed, Reader
    from filetap.stats import FileStats
    from filetap.vendor import Documented

SMALL = 1 << 16  # stored bytes of a file that is not worth a thread

logger = logging.getLogger(__name__)


class Table(Protocol):
    """The columns that rows are read into; it accepts or refuses what a file adds to them."""

    @property
    def expected(self) -> Expected:
        """What files are expected to hold."""

    @property
    def documented(self) -> Documented:
        """What the vendor documents."""

    @property
    def key(self) -> Sequence[str]:
        """Columns of the key."""

    @property
    def names(self) -> Container[str]:
        """The file columns that have their place, wanted or not."""

    @property
    def types(self) -> Mapping[str, str]:
        """Column → type of the file columns that are wanted."""

    @property
    def added(self) -> Collection[str]:
        """The added columns that are wanted."""

    def extend(self, spooled: Spooled, columns: Sequence[str]) -> None:
        """Accept the columns of a file that has rows, some of them new.

        Raises:
            FormatError: There is no place for them.
        """

    def add_misfits(self, file: ExportFile, misfits: Mapping[str, int]) -> None:
        """Accept misfit columns that do not exist yet; those not accepted are left out.

        Args:
            file: The file.
            misfits: Column → values that do not fit its type.

        Raises:
            FormatError: There is no place for them.
        """


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How a file is scanned.

    Attributes:
        block: Bytes of CSV parsed at a time.
        most: Rows of a batch, at most.
        fill: True to give every batch but the last that many rows.
        divert: True to hand malformed rows on, False to fail.
        skip: Rows at the beginning that an earlier run emitted.
        keeps: Takes a batch of rows as read; returns True for each that is wanted. None for all.
        identities: Ids of the rows of several files; None for those of each file alone.
    """

    block: int
    most: int
    fill: bool = False
    divert: bool = False
    skip: int = 0
    keeps: Callable[[pl.DataFrame], pl.Series] | None = None
    identities: Identities | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of one file.

    Attributes:
        frame: The table's columns and the added ones in canonical text; an integer column may come
            as integers, where that loses nothing of their text. It may have no rows.
        malformed: Rows among them that cannot be read.
        last: Number of the last of them in the file.
    """

    frame: pl.DataFrame
    malformed: Sequence[Malformed]
    last: int


def scan(spooled: Spooled, table: Table, options: ScanOptions, stats: FileStats) -> Iterator[Rows]:
    """Read a verified file's rows into a table's columns.

    A file without rows changes nothing. Rows without the columns of the key are malformed.

    Args:
        spooled: The file.
        table: Its columns; they may grow between batches.
        options: How it is read.
        stats: Counts what is read.

    Raises:
        FormatError: The file cannot be read, or is not an export of the stream.
        StateError: The file has fewer rows than are to be skipped.
    """
    stats.rows = options.skip
    stats.has_text = not table.expected.protection
    reader = iter(_open(spooled, table, options))
    read = ahead(reader) if spooled.size > SMALL else reader
    if EVENT_ID in table.added:
        identities = options.identities or _identities([spooled], table, options)
        read = identities.add(spooled, read)
    batches = rebatch(
        with_row_hashes(read) if ROW_HASH in table.added else read,
        str(spooled.file),
        skip=options.skip,
        most=options.most,
        fill=options.fill,
    )
    for batch in batches:
        last = batch.last
        if options.keeps:
            wanted = options.keeps(batch.frame)
            batch = replace(  # noqa: PLW2901 - the same rows, fewer of them
                batch, frame=batch.frame.filter(wanted), numbers=batch.numbers.filter(wanted)
            )
        fitted, misfits = _fit(batch.frame, spooled.file, table)
        stats.add(fitted, misfits, len(batch.malformed), last)
        if ROW_HASH in table.added:
            fitted = fitted.with_columns(batch.frame.select(ROW_HASH, ROW_OCCURRENCE))
        if EVENT_ID in table.added:
            fitted = fitted.with_columns(batch.frame[EVENT_ID])
        frame = with_added(fitted, spooled.file, batch.numbers, table.added)
        malformed = batch.malformed
        del batch, fitted  # not in memory while the batch is written
        yield Rows(frame, malformed, last)


def identify(
    files: Sequence[Spooled], table: Table, *, block: int, divert: bool
) -> Identities | None:
    """Ids of the rows of files that are read together; None unless they are the table's key.

    Raises:
        FormatError: A file cannot be read.
    """
    if EVENT_ID not in table.key:
        return None
    return _identities(files, table, ScanOptions(block=block, most=0, divert=divert))


def _identities(files: Sequence[Spooled], table: Table, options: ScanOptions) -> Identities:
    """Ids of the rows of files; raises as `identify` does."""
    return Identities(table.documented, files, lambda spooled: _reader(spooled, table, options))


def _open(spooled: Spooled, table: Table, options: ScanOptions) -> Reader:
    """A reader of a file from its beginning, once its columns have their place."""
    reader = _reader(spooled, table, options)
    check_columns(spooled.file, reader, table.expected)
    if words := clashes(reader.labels, reader.columns):
        logger.warning("%s: only their order distinguishes columns: %s", spooled.file, words)
    lacking = [name for name in table.key if name not in {*reader.columns, *ADDED}]
    new = [name for name in reader.columns if name not in table.names]
    if not lacking and not new:
        return reader
    has_rows = any(batch.frame.height for batch in reader)
    if has_rows and not lacking:
        table.extend(spooled, reader.columns)
    reader = _reader(spooled, table, options)
    if has_rows and lacking:
        reader.refuse(f"the file lacks the key's column {', '.join(lacking)}")
    return reader


def _reader(spooled: Spooled, table: Table, options: ScanOptions) -> Reader:
    """A reader of a file from its beginning; the rows that are skipped may lack their values."""
    return open_file(
        spooled,
        replace(
            table.expected.options,
            block=options.block,
            divert=options.divert,
            # An occurrence counts all equal rows before it.
            skip=0 if {ROW_HASH, EVENT_ID}.intersection(table.added) else options.skip,
            integers=[name for name, kind in table.types.items() if kind == "integer"],
            required=table.documented.required.intersection(table.key),
        ),
    )


def _fit(
    frame: pl.DataFrame, file: ExportFile, table: Table
) -> tuple[pl.DataFrame, Mapping[str, int]]:
    """Fit the wanted columns, once misfits have a column of their own."""
    types = table.types
    fitted = fit(frame, types, table.documented)
    if all(name in types for name in fitted.frame.columns):
        return fitted.frame, fitted.misfits
    table.add_misfits(file, fitted.misfits)
    hidden = set(fitted.frame.columns) - set(table.types)
    return fitted.frame.drop(hidden), fitted.misfits
