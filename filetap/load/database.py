"""What loading asks of a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    import polars as pl

    from filetap.files import ExportFile
    from filetap.load.names import Table

AGAIN: Final = "run again: files are loaded whole or not at all"
STORE_HINT: Final = f"check the free space on its disk, then {AGAIN}"


class Database(Protocol):
    """A connection to a database. Each of its errors is a `DatabaseError` that names the subject.

    Attributes:
        TYPES: Type → the database's type, as its catalog spells it.
        STATE_TYPE: The database's type of the state.
        FOR_UPDATE: What a query ends with to lock the rows that it returns.
        TEMPORARY: Makes the table for a file's rows; ``{}`` is its name and columns.
        HAS_INDEX: True if merging by key needs a unique index.
        catalog: What the names of tables begin with; empty for nothing.
    """

    TYPES: ClassVar[Mapping[str, str]]
    STATE_TYPE: ClassVar[str]
    FOR_UPDATE: ClassVar[str]
    TEMPORARY: ClassVar[str]
    HAS_INDEX: ClassVar[bool]
    catalog: str

    def query(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows that a statement returns; ``$1`` in it is the first of *values*."""

    def find(self, text: str) -> list[tuple[Any, ...]] | None:
        """The rows that a query returns; None if its table does not exist."""

    def transaction(self, subject: str, hint: str) -> AbstractContextManager[object]:
        """Commit what is done within, or nothing of it.

        Args:
            subject: What it is about, for errors.
            hint: What follows if the database refuses it.
        """

    def lock_set_up(self) -> None:
        """Let one transaction at a time create tables that all loaders share."""

    def columns(self, table: Table) -> dict[str, str]:
        """Column → the database's type; empty if the table does not exist."""

    def unique(self, table: Table) -> Collection[frozenset[str]]:
        """The sets of columns that have a unique index over all rows."""

    def encode(self, frame: pl.DataFrame, types: Mapping[str, str], file: ExportFile) -> Any:
        """Some rows in the form that `copy` takes; safe to call from another thread.

        Args:
            frame: Rows in canonical text.
            types: Column → type, in the order of the frame's columns.
            file: The file that they come from.

        Raises:
            FormatError: The database cannot hold a value.
        """

    def copy(
        self, table: Table, types: Mapping[str, str]
    ) -> AbstractContextManager[Callable[[Any], object]]:
        """Append rows to a table by calling what this yields with encoded rows.

        Args:
            table: The table.
            types: Column → type of the columns that the rows have, in order.
        """

    def version(self) -> str:
        """Name and version of the server."""

    def doubts(self) -> Sequence[str]:
        """What is unusual about the server, and may matter."""

    def lacking(self, schema: str, tables: Collection[str]) -> Sequence[str]:
        """How to give this user the rights that loading needs and it lacks.

        Args:
            schema: The schema; empty for the one that the database chooses.
            tables: Names of the tables that are loaded into, whether they exist or not.
        """

    def close(self) -> None:
        """Close the connection."""
