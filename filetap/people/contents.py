"""The rows of one downloaded file, read as a run would read them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from filetap.columns.protection import check_protected
from filetap.columns.resolve import Known
from filetap.columns.sample import Sample, sample
from filetap.plan import plan_columns
from filetap.read.detect import open_file
from filetap.scan import ScanOptions, scan
from filetap.stats import FileStats
from filetap.table import KnownTable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from filetap.download.spool import Spooled
    from filetap.scan import Rows
    from filetap.settings import Settings
    from filetap.singer.tap import FileTap


def table_for(spooled: Spooled, tap: FileTap, state: Mapping[str, Any]) -> KnownTable:
    """The columns of a run that has only this file to read.

    Args:
        spooled: The file.
        tap: The tap with its settings.
        state: The stream's part of the state; empty for none.

    Raises:
        FormatError: The file is not an export of its stream.
        StateError: The state's types or key cannot be read.
    """
    settings = tap.settings
    known = Known.of(tap.specs[spooled.file.stream], settings, state)
    found = sample(spooled, known.expected, settings.tuning)
    columns = plan_columns(known, found)
    known = replace(known, found=known.found | found.protected)
    return KnownTable(known, columns, settings.tuning)


def check_names(table: KnownTable, found: Collection[str] = ()) -> list[str]:
    """Refuse names of protected columns that a run would refuse.

    Args:
        table: The columns of a file of the stream, from `table_for`.
        found: Names and patterns of protected columns that its other files have.

    Returns:
        What to warn about.

    Raises:
        SettingsError: A name is of no column of these files.
    """
    known = replace(table.known, found=table.known.found.union(found))
    return check_protected(known, Sample(tuple(table.names)))[1]


def read_rows(
    spooled: Spooled, table: KnownTable, settings: Settings, *, divert: bool
) -> Iterator[Rows]:
    """Read all rows of a file.

    Args:
        spooled: The file.
        table: Its columns.
        settings: How much is read at a time.
        divert: True to get malformed rows as such, False to fail.

    Raises:
        FormatError: The file, or a row of it, cannot be read.
    """
    tuning = settings.tuning
    options = ScanOptions(block=tuning.block, most=tuning.slice, divert=divert)
    # Without a key, so that rows that share one are not looked for.
    yield from scan(spooled, table, options, FileStats(spooled.file, ()))


def header(spooled: Spooled, table: KnownTable) -> Sequence[str]:
    """The columns of a file, whether it has rows or not."""
    return open_file(spooled, table.expected.options).columns
