"""Rows without a value of the key, which are malformed where every row must have one."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import IO, TYPE_CHECKING, cast

from filetap.errors import FormatError
from filetap.lazy import pl
from filetap.read.batch import MALFORMED_HINT

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from _typeshed import WriteableBuffer

    from filetap.read.batch import Batch, Malformed, Reader, ReadOptions


class KeyedReader:
    """The rows of a reader that have a value in each required column; others are malformed.

    An empty text is no value. A file that has not all of the columns is left to the caller.

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


def second(stored: IO[bytes], size: int) -> IO[bytes]:
    """A file of *size* bytes for another reader, which leaves the first one's position as it is."""
    return cast("IO[bytes]", io.BufferedReader(_View(stored, size)))


class _View(io.RawIOBase):
    """A file's bytes with a position of their own."""

    def __init__(self, stored: IO[bytes], size: int) -> None:
        super().__init__()
        self._stored = stored
        self._size = size
        self._at = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, origin + offset)
        return self._at

    @override
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        before = self._stored.tell()
        self._stored.seek(self._at)
        data = self._stored.read(len(view))
        self._stored.seek(before)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
