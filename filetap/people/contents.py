"""The rows of one downloaded file, read as a run would read them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from filetap.columns.added import ADDED
from filetap.columns.resolve import Known
from filetap.columns.sample import Sample, sample
from filetap.columns.types import MISFIT_SUFFIX
from filetap.plan import plan_columns
from filetap.read.batch import ReadOptions
from filetap.read.detect import open_file
from filetap.scan import ScanOptions, scan
from filetap.stats import FileStats

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from filetap.columns.resolve import Columns
    from filetap.columns.sample import Expected
    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.scan import Rows
    from filetap.settings import Settings, Tuning
    from filetap.singer.tap import FileTap
    from filetap.vendor import Documented


@dataclass
class LocalTable:
    """A stream's columns, which grow without a word to anyone: nothing is emitted.

    Attributes:
        known: What is known about the columns without reading a file.
        columns: The columns by now.
        tuning: How much of a file is sampled.
    """

    known: Known
    columns: Columns
    tuning: Tuning

    @property
    def expected(self) -> Expected:
        """What files are expected to hold."""
        return self.known.expected

    @property
    def documented(self) -> Documented:
        """What the vendor documents."""
        return self.known.spec.documented

    @property
    def key(self) -> Sequence[str]:
        """Columns of the key."""
        return self.columns.key

    @property
    def names(self) -> Collection[str]:
        """The file columns by now."""
        return self.columns.types

    @property
    def types(self) -> Mapping[str, str]:
        """Column → type of the file columns."""
        return self.columns.types

    @property
    def added(self) -> Collection[str]:
        """No added columns: only the file's own are of interest."""
        return ()

    def extend(self, spooled: Spooled, columns: Sequence[str]) -> None:
        """Add the columns of a file that has rows."""
        found = Sample((*self.columns.types, *columns))
        self.columns = self.known.resolve(found | sample(spooled, self.expected, self.tuning))

    def add_misfits(self, file: ExportFile, misfits: Mapping[str, int]) -> None:  # noqa: ARG002
        """Add misfit columns."""
        added = {name + MISFIT_SUFFIX: "string" for name in misfits}
        self.columns = replace(self.columns, types={**self.columns.types, **added})


def table_for(spooled: Spooled, tap: FileTap, state: Mapping[str, Any]) -> LocalTable:
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
    known = Known.of(tap.vendor.streams[spooled.file.stream], settings, state)
    found = sample(spooled, known.expected, settings.tuning)
    return LocalTable(known, plan_columns(known, found), settings.tuning)


def read_rows(
    spooled: Spooled, table: LocalTable, settings: Settings, *, divert: bool
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


def header(spooled: Spooled, table: LocalTable) -> Sequence[str]:
    """The columns of a file, whether it has rows or not."""
    options = ReadOptions(reserved=ADDED, known=table.expected.names)
    return open_file(spooled, options).columns
