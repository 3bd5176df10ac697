"""The columns that the rows of a stream are read into, where they may grow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from filetap.columns.sample import Sample, sample
from filetap.columns.types import MISFIT_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from filetap.columns.expected import Expected
    from filetap.columns.resolve import Columns, Known
    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.settings import Tuning
    from filetap.vendor import Documented


class KnownTable:
    """A stream's columns, which grow as files add to them; nothing is announced.

    Args:
        known: What is known about the columns without reading a file.
        columns: The columns to begin with.
        tuning: How much of a file is sampled.

    Attributes:
        known: What is known by now.
        columns: The columns by now.
    """

    def __init__(self, known: Known, columns: Columns, tuning: Tuning) -> None:
        self.known = known
        self.columns = columns
        self._tuning = tuning

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
        """The file columns that have their place, wanted or not."""
        return self.columns.types

    @property
    def types(self) -> Mapping[str, str]:
        """Column → type of the file columns that are wanted."""
        return self.columns.types

    @property
    def added(self) -> Collection[str]:
        """The added columns that are wanted: none."""
        return ()

    def extend(self, spooled: Spooled, columns: Sequence[str]) -> None:
        """Add the columns of a file that has rows.

        Args:
            spooled: The file.
            columns: Its columns, some of them new.

        Raises:
            FormatError: The file cannot be sampled.
        """
        self.columns = self.known.resolve(self._with(spooled, columns))

    def _with(self, spooled: Spooled, columns: Sequence[str]) -> Sample:
        """A sample of the columns so far and of a file."""
        found = Sample((*self.columns.types, *columns))
        return found | sample(spooled, self.expected, self._tuning)

    def add_misfits(self, file: ExportFile, misfits: Mapping[str, int]) -> None:  # noqa: ARG002
        """Add a misfit column for each column in *misfits*, whose file does not matter here."""
        self._add_text(column + MISFIT_SUFFIX for column in misfits)

    def _add_text(self, names: Iterable[str]) -> None:
        """Add string columns."""
        types = {**self.columns.types, **dict.fromkeys(names, "string")}
        self.columns = replace(self.columns, types=types)
