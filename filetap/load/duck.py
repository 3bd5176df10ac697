"""DuckDB: rows go in as Arrow data, which polars has and DuckDB reads."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final

import duckdb
import polars as pl

from filetap.columns.types import to_values
from filetap.errors import DatabaseError
from filetap.load.names import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from filetap.files import ExportFile
    from filetap.load.names import Table

_ROWS: Final = "filetap_rows"
# Rows of one statement: each holds a block of a quarter MiB for each column until the commit.
_AT_ONCE: Final = 100_000
_WHOLE: Final = "nothing of it was loaded; the files before it are"


class _Arrow:
    """A frame with nothing but its Arrow interface: for a frame, DuckDB would need pyarrow."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The frame as a stream of Arrow data."""
        return self._frame.__arrow_c_stream__(requested_schema)


class DuckDB:
    """A DuckDB file, which no other process can have open.

    Args:
        path: The file; it is created if it does not exist.

    Raises:
        DatabaseError: It cannot be opened.
    """

    TYPES: ClassVar[Mapping[str, str]] = {
        "string": "VARCHAR",
        "integer": "BIGINT",
        "number": "DOUBLE",
        "boolean": "BOOLEAN",
        "date": "DATE",
        "date-time": "TIMESTAMP WITH TIME ZONE",
    }
    STATE_TYPE: ClassVar[str] = "VARCHAR"
    FOR_UPDATE: ClassVar[str] = ""
    TEMPORARY: ClassVar[str] = "CREATE OR REPLACE TEMPORARY TABLE {}"
    HAS_INDEX: ClassVar[bool] = False  # it joins by hashing, and its indexes slow it down

    def __init__(self, path: str) -> None:
        self._subject = "the database"
        try:
            self._connection = duckdb.connect(path)
        except duckdb.Error as error:
            msg = f"the database {path} cannot be opened ({_words(error)})"
            hint = "close the other program that has it open, or check --to"
            raise DatabaseError(msg, hint) from None
        # The catalog is named for the file, often as the schema is.
        ((self.catalog,),) = self._connection.execute("SELECT current_database()").fetchall()

    def query(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows that a statement returns; ``$1`` in it is the first of *values*."""
        with self._errors():
            return self._connection.execute(text, list(values)).fetchall()

    def find(self, text: str) -> list[tuple[Any, ...]] | None:
        """The rows that a query returns; None if its table does not exist."""
        with self._errors():
            try:
                return self._connection.execute(text).fetchall()
            except duckdb.CatalogException:
                return None

    @contextmanager
    def transaction(self, subject: str) -> Iterator[None]:
        """Commit what is done within, or nothing of it; errors name the subject."""
        before, self._subject = self._subject, subject
        try:
            with self._errors():
                self._connection.begin()
                try:
                    yield
                except BaseException:
                    self._connection.rollback()
                    raise
                self._connection.commit()
        finally:
            self._subject = before

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the database's errors into ours."""
        try:
            yield
        except duckdb.Error as error:
            msg = f"{self._subject}: the database refused it ({_words(error)})"
            raise DatabaseError(msg, _WHOLE) from None

    def lock_set_up(self) -> None:
        """Do nothing: no other process has the file open."""

    def columns(self, table: Table) -> dict[str, str]:
        """Column → the database's type; empty if there is no such table."""
        found = self.query(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_catalog = current_database() AND table_name = $1 "
            "AND table_schema = coalesce(nullif($2, ''), current_schema()) "
            "ORDER BY ordinal_position",
            table.name,
            table.schema,
        )
        return dict(found)

    def encode(
        self,
        frame: pl.DataFrame,
        types: Mapping[str, str],
        file: ExportFile,  # noqa: ARG002 - no value is refused
    ) -> pl.DataFrame:
        """Some rows with their values; dates and times stay text, which DuckDB parses fastest."""
        values = to_values(frame, types)
        values.columns = [f"c{position}" for position in range(values.width)]
        return values

    @contextmanager
    def copy(
        self, table: Table, types: Mapping[str, str]
    ) -> Iterator[Callable[[pl.DataFrame], object]]:
        """Append rows to a table."""
        names = ", ".join(map(quoted, types))
        values = ", ".join(f"c{i}::{self.TYPES[kind]}" for i, kind in enumerate(types.values()))
        text = f"INSERT INTO {table} ({names}) SELECT {values} FROM {_ROWS}"

        waiting: list[pl.DataFrame] = []

        def write(rows: pl.DataFrame) -> None:
            waiting.append(rows)
            if sum(frame.height for frame in waiting) >= _AT_ONCE:
                self._insert(text, waiting)

        yield write
        if waiting:
            self._insert(text, waiting)

    def _insert(self, text: str, frames: list[pl.DataFrame]) -> None:
        """Run a statement that inserts some rows, and forget them here."""
        with self._errors():
            self._connection.register(_ROWS, _Arrow(pl.concat(frames)))
            self._connection.execute(text).fetchall()
            self._connection.unregister(_ROWS)
        frames.clear()

    def version(self) -> str:
        """Name and version of the library."""
        return f"DuckDB {duckdb.__version__}"

    def doubts(self, schema: str) -> Sequence[str]:  # noqa: ARG002 - whoever opens it may do all
        """What may keep this user from loading: nothing."""
        return ()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _words(error: duckdb.Error) -> str:
    """What DuckDB says in its first line; a name where that might have a value."""
    if isinstance(error, duckdb.DataError | duckdb.IntegrityError):
        return type(error).__name__
    return str(error).partition("\n")[0]
