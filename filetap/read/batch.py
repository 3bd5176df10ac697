"""What every reader is, takes and yields: options, batches of text rows, limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from filetap.errors import STATE_HINT, StateError
from filetap.lazy import pl
from filetap.read.integers import unify_types
from filetap.settings import BLOCK, NOTHING_PROTECTED
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from filetap.settings import Protection

LONGEST_ROW = 256 << 20  # bytes
LONGEST_HEADER = 16 << 20  # bytes
MOST_COLUMNS = 10_000  # of a file; no database takes as many
HELD = 48 << 20  # bytes in memory at which a batch stops waiting for more rows
MALFORMED_HINT = (
    "the file is not marked as finished; set malformed_rows to divert to continue without the "
    "row, and report the file to its vendor"
)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read one file.

    Attributes:
        reserved: Column names that the file's own columns may not take.
        known: Names of columns that such a file may have. They help to choose the separator of
            CSV, and mark JSON objects that have one as rows.
        block: Bytes of CSV parsed at a time.
        divert: True to return a row that cannot be read as `Malformed`; False to raise an error.
        most: Stored bytes to read; None for all of them.
        cut: True if the bytes may end anywhere, as they also may with *most*: an unfinished last
            row is dropped, and nothing is verified.
        skip: Rows at the beginning that the caller drops: they are counted, but may come
            without values.
        integers: Columns that may come as integers, where every cell of them is one in canonical
            form.
        nulls: Texts that stand for null, quoted or not.
        protection: Columns that are left out, or whose values become hashes.
        nested: True if objects within a JSON row stay as they are written: two of their members
            may have one name.
        required: Columns without whose value a row is malformed, in a file that has them.
    """

    reserved: Collection[str] = ()
    known: Collection[str] = ()
    block: int = BLOCK
    divert: bool = False
    most: int | None = None
    cut: bool = False
    skip: int = 0
    integers: Collection[str] = ()
    nulls: Collection[str] = ()
    protection: Protection = NOTHING_PROTECTED
    nested: bool = False
    required: Collection[str] = ()


DEFAULTS = ReadOptions()


@dataclass(frozen=True, slots=True)
class Malformed:
    r"""A row that cannot be read.

    Attributes:
        number: Its number in the file, counted with all other rows.
        raw: Its text without the line end; a byte that is not UTF-8 appears as ``\xe9``. None
            where columns of the stream are protected.
        reason: What is wrong with it. It is emitted, so rewording it changes a stream's records.
    """

    number: int
    raw: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a file, as text.

    Attributes:
        frame: The columns in the file's order: text, or integers where these were asked for. In
            CSV, an unquoted empty cell is null and a quoted one is ``""``.
        numbers: Each row's number in the file, from 1; blank lines are not counted.
        malformed: Rows among them that cannot be read.
    """

    frame: pl.DataFrame
    numbers: pl.Series
    malformed: Sequence[Malformed] = ()

    @property
    def last(self) -> int:
        """The highest row number; 0 if the batch is empty."""
        numbers = (*self.numbers.tail(1), *(row.number for row in self.malformed[-1:]))
        return max(numbers, default=0)

    @property
    def size(self) -> int:
        """Approximate bytes in memory: a cell takes a view of 16 bytes beside its text."""
        views = 16 * self.frame.height * self.frame.width
        raw = sum(len(row.raw or "") for row in self.malformed)
        return views + int(self.frame.estimated_size()) + raw

    def between(self, after: int, upto: int) -> Batch:
        """The rows with a number above *after*, up to and including *upto*."""
        whole = len(self.numbers) and not self.malformed
        if whole and self.numbers[0] > after and self.numbers[-1] <= upto:
            return self
        start, stop = (int(self.numbers.search_sorted(n, side="right")) for n in (after, upto))
        malformed = tuple(row for row in self.malformed if after < row.number <= upto)
        return Batch(self.frame[start:stop], self.numbers[start:stop], malformed)


class Reader(Protocol):
    """A file's rows.

    Attributes:
        labels: The file's own names for its columns.
        columns: The column names made of them.
    """

    labels: Sequence[str]
    columns: list[str]

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rows in batches, in order."""

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*; call it before iterating."""


def join(batches: Sequence[Batch]) -> Batch:
    """Consecutive batches as one; at least one is needed."""
    if len(batches) == 1:
        return batches[0]
    frame = pl.concat(unify_types([batch.frame for batch in batches]), rechunk=True)
    numbers = pl.concat((batch.numbers for batch in batches), rechunk=True)
    return Batch(frame, numbers, tuple(row for batch in batches for row in batch.malformed))


def rebatch(
    batches: Iterable[Batch], what: str, *, skip: int, most: int, fill: bool = False
) -> Iterator[Batch]:
    """Drop the first rows of a file, and cut the rest into batches of at most *most* rows.

    Args:
        batches: All rows of the file, in order.
        what: The file, as messages name it.
        skip: Rows to drop at the beginning.
        most: Rows of one batch, at most.
        fill: True to merge small batches until they have *most* rows or take `HELD` bytes;
            False to emit them as they come.

    Raises:
        StateError: The file has fewer than *skip* rows.
    """
    done, size, total = skip, 0, 0
    waiting: list[Batch] = []
    for batch in batches:
        total = batch.last
        if batch.last <= done:
            continue
        waiting.append(batch)
        size += batch.size
        filling = fill and size < HELD
        if filling and batch.last - done < most:
            continue
        joined = join(waiting)
        waiting.clear()  # the rows are in *joined*: without this they would be in memory twice
        while joined.last - done >= (most if filling else 1):
            upto = min(done + most, joined.last)
            yield joined.between(done, upto)
            done = upto
        rest = joined.between(done, joined.last) if joined.last > done else None
        waiting += [rest] if rest else []
        # In proportion, not measured again: near enough for a bound.
        size = size * rest.frame.height // max(1, joined.frame.height) if rest else 0
    if waiting:
        joined = join(waiting)
        yield joined.between(done, joined.last)
    if skip > total:
        msg = f"{what}: the state counts {counted(skip, 'row')} as read, but the file has {total}"
        raise StateError(msg, STATE_HINT)


def without_texts(frame: pl.DataFrame, texts: Sequence[str]) -> pl.DataFrame:
    """*frame* with null in place of some texts; most frames have none of them."""
    # Not one query for all columns: planning it takes longer than searching a small frame.
    found = [
        column.name
        for column in frame.get_columns()
        if column.dtype == pl.String and any((column == text).any() for text in texts)
    ]
    columns = {name: pl.nth(frame.columns.index(name)) for name in found}
    return frame.with_columns(
        pl.when(~column.is_in(texts)).then(column).alias(name) for name, column in columns.items()
    )
