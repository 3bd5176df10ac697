"""DuckDB: rows are inserted from unnamed Parquet files that polars writes.

Arrow data would need no files, but one statement per batch, of which DuckDB keeps so much until the
commit that a million rows of 33 columns take a gigabyte. A single statement takes half of that.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final

import duckdb
import polars as pl

from filetap.columns.types import to_values
from filetap.errors import DatabaseError, SpoolError
from filetap.load.database import STORE_HINT
from filetap.load.names import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from filetap.files import ExportFile
    from filetap.load.names import Table

_ROWS: Final = 100_000  # of a Parquet file, at least, if there are that many
_MOST_FILES: Final = 100  # that are open


class DuckDB:
    """A DuckDB file, which no other process can open meanwhile.

    Args:
        path: The file; it is created if it does not exist.
        spool: Folder for the Parquet files; None for the system's temporary one.

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
        "object": "JSON",
        "array": "JSON",
    }
    STATE_TYPE: ClassVar[str] = "VARCHAR"
    FOR_UPDATE: ClassVar[str] = ""
    TEMPORARY: ClassVar[str] = "CREATE OR REPLACE TEMPORARY TABLE {}"
    HAS_INDEX: ClassVar[bool] = False  # it joins by hashing, and its indexes slow it down

    def __init__(self, path: str, spool: Path | None = None) -> None:
        self._subject, self._hint = "the database", ""
        self._spool = spool
        # A pipe would wait for a writer for ever.
        if Path(path).exists() and not Path(path).is_file():
            msg = f"the database {path} is not a regular file"
            raise DatabaseError(msg, "check --to")
        try:
            self._connection = duckdb.connect(path)
        except duckdb.Error as error:
            msg = f"the database {path} cannot be opened ({_words(error)})"
            hint = "close the other program that has it open, or check --to"
            raise DatabaseError(msg, hint) from None
        self._connection.execute("SET enable_progress_bar = false").fetchall()
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
    def transaction(self, subject: str, hint: str) -> Iterator[None]:
        """Commit what is done within, or nothing of it; errors name the subject."""
        before = self._subject, self._hint
        self._subject, self._hint = subject, hint
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
            self._subject, self._hint = before

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the database's errors into ours."""
        try:
            yield
        except (duckdb.OperationalError, duckdb.FatalException) as error:
            msg = f"{self._subject}: the database cannot store it ({_words(error)})"
            raise DatabaseError(msg, STORE_HINT) from None
        except duckdb.Error as error:
            msg = f"{self._subject}: the database refused it ({_words(error)})"
            raise DatabaseError(msg, self._hint) from None

    def lock_set_up(self) -> None:
        """Do nothing: no other process has the file open."""

    def unique(self, table: Table) -> Collection[frozenset[str]]:  # noqa: ARG002 - nothing is searched
        """The sets of columns that have a unique index: none is needed."""
        return ()

    def columns(self, table: Table) -> dict[str, str]:
        """Column → the database's type; empty if the table does not exist."""
        found = self.query(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_catalog = current_database() AND table_name = $1 "
            "AND lower(table_schema) = lower(coalesce(nullif($2, ''), current_schema())) "
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
        into = f"INSERT INTO {table} ({names}) SELECT {values} FROM read_parquet"
        with closing(_Files(self._spool)) as files:

            def write(rows: pl.DataFrame) -> None:
                files.add(rows)
                if len(files.paths) == _MOST_FILES:
                    self.query(f"{into}($1)", files.paths)
                    files.close()

            yield write
            files.complete()
            if files.paths:
                self.query(f"{into}($1)", files.paths)

    def version(self) -> str:
        """Name and version of the library."""
        return f"DuckDB {duckdb.__version__}"

    def doubts(self) -> Sequence[str]:
        """What is unusual: nothing."""
        return ()

    def lacking(self, schema: str, tables: Collection[str]) -> Sequence[str]:  # noqa: ARG002 - see there
        """Nothing: there are no rights in DuckDB."""
        return ()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


class _Files:
    """Unnamed Parquet files, which disappear with the process, like the spool's.

    Args:
        folder: Where they are kept; None for the system's temporary folder.

    Attributes:
        paths: By which this process, and no other, can open them.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: list[IO[bytes]] = []
        self._waiting: list[pl.DataFrame] = []
        self.paths: list[str] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows, which wait until there are enough for a file."""
        self._waiting.append(rows)
        if sum(frame.height for frame in self._waiting) >= _ROWS:
            self.complete()

    def complete(self) -> None:
        """Write the rows that wait.

        Raises:
            SpoolError: The disk refuses them.
        """
        if not self._waiting:
            return
        try:
            file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by close()
            self._files.append(file)
            frame = pl.concat(self._waiting)
            frame.write_parquet(file, compression="lz4", statistics=False)
            file.flush()
        except OSError as error:
            msg = f"rows for DuckDB cannot be written to disk ({error.strerror})"
            raise SpoolError(msg, "free some space or set spool_dir to a larger disk") from None
        self._waiting.clear()
        self.paths.append(f"/dev/fd/{file.fileno()}")

    def close(self) -> None:
        """Free the disk space."""
        for file in self._files:
            with suppress(OSError):  # closing tries to write again what the disk refused
                file.close()
        self._files.clear()
        self.paths.clear()


def _words(error: duckdb.Error) -> str:
    """First line of DuckDB's message; the error's class name if the message may quote a value."""
    if match := re.search(r"NOT NULL constraint failed: [\w.]+", str(error)):
        return match[0]
    if isinstance(error, duckdb.DataError | duckdb.IntegrityError):
        return type(error).__name__
    return str(error).partition("\n")[0]
