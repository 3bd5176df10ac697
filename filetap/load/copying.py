"""Rows on their way into tables: encoded ahead, in another thread, and copied in order."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import polars as pl

from filetap.columns.added import ADDED_TYPES, ALWAYS_ADDED, MALFORMED, with_added

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from filetap.files import ExportFile
    from filetap.load.columns import LoadTable
    from filetap.load.database import Database
    from filetap.load.names import Table
    from filetap.read.batch import Malformed
    from filetap.scan import Rows

MALFORMED_TYPES: Final = {**MALFORMED, **{name: ADDED_TYPES[name] for name in ALWAYS_ADDED}}


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a file, ready to be copied.

    Attributes:
        types: Column → type.
        data: The rows as the database takes them.
        height: How many they are.
        malformed: Rows among them that cannot be read.
    """

    types: Mapping[str, str]
    data: Any
    height: int
    malformed: Sequence[Malformed]


def encoded(
    batches: Iterator[Rows],
    table: LoadTable,
    database: Database,
    file: ExportFile,
    replace_nul: str | None,
) -> Iterator[Block]:
    """The rows of a file, encoded.

    Args:
        batches: The rows.
        table: Their columns, which may grow between batches.
        database: Encodes them.
        file: The file.
        replace_nul: Takes the place of NUL characters; None to leave them to the database.
    """
    for rows in batches:
        kinds = table.all_types
        types = {name: kinds[name] for name in rows.frame.columns}
        height = rows.frame.height
        frame = without_nul(rows.frame, replace_nul)
        data = database.encode(frame, types, file) if height else b""
        yield Block(types, data, height, rows.malformed)


def without_nul(frame: pl.DataFrame, text: str | None) -> pl.DataFrame:
    """Rows with *text* in place of NUL characters; unchanged if it is None."""
    if text is None:
        return frame
    return frame.with_columns(pl.col(pl.String).str.replace_all("\0", text, literal=True))


def malformed_frame(rows: Sequence[Malformed], file: ExportFile) -> pl.DataFrame:
    """Malformed rows as rows of a table."""
    texts = {name: [getattr(row, name) for row in rows] for name in MALFORMED}
    frame = pl.DataFrame(texts, dict.fromkeys(texts, pl.String))
    numbers = pl.Series([row.number for row in rows], dtype=pl.Int64)
    return with_added(frame, file, numbers, ALWAYS_ADDED)


class Copier:
    """Copies rows into tables; consecutive ones with the same columns in one statement.

    Args:
        database: The connection.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stack = ExitStack()
        self._write: Callable[[Any], object] | None = None
        self._place: tuple[Table, list[str]] | None = None

    def __enter__(self) -> Self:
        """Start without rows."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Complete the last ones, or abandon them after an error."""
        self._write = self._place = None
        self._stack.__exit__(kind, error, trace)

    def complete(self) -> None:
        """Complete the rows so far, so that other statements can follow."""
        self._write = self._place = None
        self._stack.close()

    def is_open(self, table: Table, types: Mapping[str, str]) -> bool:
        """True if rows with these columns follow the ones before without another statement."""
        return self._place == (table, [*types])

    def copy(self, table: Table, types: Mapping[str, str], data: Any) -> None:
        """Append rows to a table.

        Args:
            table: The table, which has these columns.
            types: Column → type.
            data: The rows, encoded.
        """
        if self._write is None or not self.is_open(table, types):
            self.complete()
            self._write = self._stack.enter_context(self._database.copy(table, types))
            self._place = (table, [*types])
        self._write(data)
