"""Rows without a value of the key, which are malformed where every row must have one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from filetap.errors import FormatError
from filetap.lazy import pl
from filetap.read.batch import MALFORMED_HINT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filetap.read.batch import Batch, Malformed, Reader, ReadOptions


class KeyedReader:
    """The rows of a reader that have a value in each required column; others are malformed.

    An empty text counts as missing. A file without one of the columns is the caller's to refuse.

    Args:
        reader: The reader.
        again: Opens a second reader of the file, for the text of malformed rows.
        what: The file, as messages name it.
        options: How it is read.
    """

    def __init__(
        self, reader: Reader, again: Callable[[], Reader], what: str, options: ReadOptions
    ) -> None:
        self._reader = reader
        self._again = again
        self._what = what
        self._options = options
        self.labels: Sequence[str] = reader.labels
        self.columns = reader.columns

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*."""
        self._reader.refuse(reason)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rows in batches, in order.

        Raises:
            FormatError: A row lacks a value, and malformed rows are not diverted.
        """
        required = [name for name in self.columns if name in self._options.required]
        reason = f"the row lacks the key's column {', '.join(required)}"
        refused: Iterator[Malformed] | None = None
        for batch in self._reader:
            lacking = _lacking(batch, required, self._options.skip)
            if lacking is None:
                yield batch
                continue
            numbers = batch.numbers.filter(lacking)
            if not self._options.divert:
                msg = f"{self._what}: row {numbers[0]}: {reason}"
                raise FormatError(msg, MALFORMED_HINT)
            refused = refused or self._refused(reason)
            malformed = [*batch.malformed, *_with_numbers(refused, numbers.to_list())]
            malformed.sort(key=lambda row: row.number)
            yield replace(
                batch,
                frame=batch.frame.filter(~lacking),
                numbers=batch.numbers.filter(~lacking),
                malformed=malformed,
            )

    def _refused(self, reason: str) -> Iterator[Malformed]:
        """Every row of the file as a malformed one."""
        reader = self._again()
        reader.refuse(reason)
        return (row for batch in reader for row in batch.malformed)


def _lacking(batch: Batch, required: Sequence[str], skip: int) -> pl.Series | None:
    """True for each row after the first *skip* ones that lacks a value; None if none does."""
    columns = [batch.frame[name] for name in required]
    if not any(column.null_count() or (column == "").any() for column in columns):
        return None
    lacks = pl.any_horizontal(pl.col(required).is_null() | (pl.col(required) == ""))
    lacking = batch.frame.select(lacks.alias("lacks")).to_series() & (batch.numbers > skip)
    return lacking if lacking.any() else None


def _with_numbers(rows: Iterator[Malformed], numbers: Sequence[int]) -> Iterator[Malformed]:
    """Those of a file's rows, from where they are, that have some ascending numbers."""
    for number in numbers:
        yield next(row for row in rows if row.number == number)
