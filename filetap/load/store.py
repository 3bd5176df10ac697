"""The tables that are loaded: rows, the ledger of files, and the state."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from filetap.columns.added import GENERATED_AT, MALFORMED_SUFFIX, SOURCE_FILE, SOURCE_LINE
from filetap.errors import DatabaseError
from filetap.load.index import create_index, ensure_index
from filetap.load.names import Table, database_name, identifier, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from filetap.files import ExportFile
    from filetap.load.database import Database

_LEDGER: Final = {
    "stream": "string",
    "file_key": "string",
    "version": "string",
    "source_file": "string",
    "generated_at": "date-time",
    "rows": "integer",
    "bytes": "integer",
    "loaded_at": "date-time",
}
_LEDGER_KEY: Final = ("stream", "file_key", "version")


class Store:
    """A database's tables of one tap.

    Args:
        database: The connection.
        prefix: What the names of the ledger and the state begin with.
        schema: Where the tables are; empty for the schema that the database chooses.
        replace_nul: Takes the place of NUL characters; None to leave them to the database.

    Attributes:
        database: The connection.
        replace_nul: As given.
        staged: The temporary table where the rows of a file wait to be merged.
    """

    def __init__(
        self, database: Database, prefix: str, schema: str, replace_nul: str | None = None
    ) -> None:
        self.database = database
        self.replace_nul = replace_nul
        self._schema = schema
        self._ledger = self._own(f"{prefix}files")
        self._state = self._own(f"{prefix}state")
        self.staged = Table("", f"{prefix}new")  # temporary, so in no schema
        self._has_state = self._is_set_up = False
        self._indexed: set[Table] = set()  # that have their unique index, or get it in this run

    def _own(self, name: str) -> Table:
        return Table(self._schema, database_name(name), self.database.catalog)

    def table(self, name: str) -> Table:
        """The table of a stream, or of its malformed rows."""
        return self._own(name)

    def names(self, streams: Iterable[str]) -> list[str]:
        """Names of the tables of some streams, and of ledger and state."""
        own = [self._own(name + suffix) for name in streams for suffix in ("", MALFORMED_SUFFIX)]
        return [table.name for table in (*own, self._ledger, self._state)]

    # The state

    def states(self) -> dict[str, dict[str, Any]]:
        """Stream → its part of the state, of every stream that has one; a single query.

        Raises:
            DatabaseError: The database cannot be read.
        """
        found = self.database.find(f"SELECT stream, state FROM {self._state}")
        self._has_state = found is not None
        return {stream: state for stream, text in found or () if (state := _parsed(text))}

    def begin(self, stream: str) -> None:
        """Make sure that a stream has a state, and with it a row that loaders lock."""
        database = self.database
        if not self._is_set_up:
            ledger = database.find(f"SELECT 1 FROM {self._ledger} LIMIT 0")
            if not self._has_state or ledger is None:
                with database.transaction("ledger and state", "nothing was created"):
                    database.lock_set_up()
                    self._set_up()
            self._is_set_up = True
        database.query(
            f"INSERT INTO {self._state} VALUES ($1, '{{}}') ON CONFLICT DO NOTHING", stream
        )

    def _set_up(self) -> None:
        """Create schema, ledger and state where they do not exist."""
        query, types = self.database.query, self.database.TYPES
        known = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1"
        if self._schema and not query(known, self._schema):
            query(f"CREATE SCHEMA IF NOT EXISTS {Table(self.database.catalog, self._schema)}")
        columns = ", ".join(f"{name} {types[kind]} NOT NULL" for name, kind in _LEDGER.items())
        query(
            f"CREATE TABLE IF NOT EXISTS {self._ledger} "
            f"({columns}, PRIMARY KEY ({', '.join(_LEDGER_KEY)}))"
        )
        text, state = types["string"], self.database.STATE_TYPE
        query(
            f"CREATE TABLE IF NOT EXISTS {self._state} "
            f"(stream {text} PRIMARY KEY, state {state} NOT NULL)"
        )

    def locked_state(self, stream: str) -> dict[str, Any]:
        """The state as it is now; within a transaction, no other loader changes it."""
        found = self.database.query(
            f"SELECT state FROM {self._state} WHERE stream = $1{self.database.FOR_UPDATE}", stream
        )
        return _parsed(found[0][0]) if found else {}

    def save_state(self, stream: str, state: Mapping[str, Any]) -> None:
        """Replace a stream's part of the state."""
        text = json.dumps(state, ensure_ascii=False)
        self.database.query(f"UPDATE {self._state} SET state = $2 WHERE stream = $1", stream, text)

    # The ledger

    def claim(self, file: ExportFile, size: int, *, again: bool) -> bool:
        """Enter a file into the ledger, first of all that a transaction does with it.

        Another loader with the same file waits here until this one commits.

        Args:
            file: The file.
            size: Its bytes as stored.
            again: True to load it even if it was loaded.

        Returns:
            False if the file has been loaded.
        """
        query = self.database.query
        one = "stream = $1 AND file_key = $2 AND version = $3"
        key = (file.stream, file.key, file.version)
        if again:
            query(f"DELETE FROM {self._ledger} WHERE {one}", *key)
        names = ", ".join(_LEDGER)
        time = self.database.TYPES["date-time"]
        values = (*key, file.source, file.generated_at.isoformat(), size)
        found = query(
            f"INSERT INTO {self._ledger} ({names}) "
            f"VALUES ($1, $2, $3, $4, $5::{time}, 0, $6, now()) ON CONFLICT DO NOTHING RETURNING 1",
            *values,
        )
        return bool(found)

    def forget(self, file: ExportFile) -> int | None:
        """Remove the other versions of a file from the ledger.

        Returns:
            How many rows they had; None if there were none.
        """
        found = self.database.query(
            f"DELETE FROM {self._ledger} WHERE stream = $1 AND file_key = $2 AND version <> $3 "
            "RETURNING rows",
            *(file.stream, file.key, file.version),
        )
        return sum(rows for (rows,) in found) if found else None

    def count(self, file: ExportFile, rows: int) -> None:
        """Enter how many rows of a file were loaded."""
        self.database.query(
            f"UPDATE {self._ledger} SET rows = $4 "
            "WHERE stream = $1 AND file_key = $2 AND version = $3",
            *(file.stream, file.key, file.version, rows),
        )

    # Rows

    def ensure(self, table: Table, types: Mapping[str, str], key: Sequence[str] = ()) -> None:
        """Create a table, or add the columns that it lacks.

        Args:
            table: The table.
            types: Column → type.
            key: Columns by which rows are merged; empty if they are only added.

        Raises:
            DatabaseError: A column has another type, or rows share a key.
        """
        query, there = self.database.query, self.database.columns(table)
        wanted = {database_name(n): self.database.TYPES[kind] for n, kind in types.items()}
        if not there:
            columns = ", ".join(f"{identifier(name)} {kind}" for name, kind in wanted.items())
            query(f"CREATE TABLE {table} ({columns})")
            if key and self.database.HAS_INDEX:
                create_index(self.database, table, key)
            return
        for name, kind in wanted.items():
            if name not in there:
                query(f"ALTER TABLE {table} ADD COLUMN {identifier(name)} {kind}")
            elif there[name] != kind:
                msg = f"{table}: the column {name} is {there[name]}, and {kind} is needed"
                hint = (
                    "something else has made it, or column_types has changed; use another --schema"
                )
                raise DatabaseError(msg, hint)
        if key and self.database.HAS_INDEX and table not in self._indexed:
            ensure_index(self.database, table, key)
            self._indexed.add(table)

    def delete(self, table: Table, file: ExportFile, key: Sequence[str] = ()) -> None:
        """Delete the rows of a file.

        Args:
            table: The table.
            file: The file.
            key: Columns by which rows are merged: of such a table, only those without a key.
        """
        if self.database.columns(table):
            keyless = " OR ".join(f"{quoted(name)} IS NULL" for name in key)
            only = f" AND ({keyless})" if key else ""
            self.database.query(f"DELETE FROM {table} WHERE {SOURCE_FILE} = $1{only}", file.source)

    def stage(self, types: Mapping[str, str], before: Collection[str]) -> None:
        """Make the table where the rows of a file wait, or add the columns that it lacks.

        Args:
            types: Column → type.
            before: The columns that it has for this file; empty for the first rows.
        """
        database = self.database
        new = {n: database.TYPES[kind] for n, kind in types.items() if n not in before}
        columns = [f"{quoted(name)} {kind}" for name, kind in new.items()]
        if before:
            for column in columns:
                database.query(f"ALTER TABLE {self.staged} ADD COLUMN {column}")
        else:
            database.query(database.TEMPORARY.format(f"{self.staged} ({', '.join(columns)})"))

    def merge(
        self,
        table: Table,
        file: ExportFile,
        types: Mapping[str, str],
        key: Sequence[str],
        *,
        repeats: bool,
    ) -> None:
        """Move the staged rows of a file into the table, one for each key.

        Of several rows with one key the file's last one counts. It replaces the table's row
        unless that one is of a later generation. Rows without a key are added.

        Args:
            table: The table.
            file: The file.
            types: Column → type of the staged rows.
            key: Columns by which rows are merged; empty if they are only added.
            repeats: False if no two rows share a key.
        """
        query, new = self.database.query, self.staged
        names = ", ".join(map(quoted, types))
        values = ", ".join(f"n.{quoted(name)}" for name in types)
        insert = f"INSERT INTO {table} ({names}) SELECT {values} FROM {new} AS n"
        if key:
            same = " AND ".join(f"{{0}}.{quoted(name)} = n.{quoted(name)}" for name in key)
            time = self.database.TYPES["date-time"]
            if self.database.HAS_INDEX:
                query(f"ANALYZE {new}")
            query(
                f"DELETE FROM {table} AS t USING {new} AS n "
                f"WHERE {same.format('t')} "
                # Null in rows that something else has written: they count as older.
                f"AND (t.{GENERATED_AT} <= $1::{time} OR t.{GENERATED_AT} IS NULL)",
                file.generated_at.isoformat(),
            )
            insert += f" WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same.format('t')})"
            insert += f" AND NOT {_is_followed(new, key, same)}" if repeats else ""
        query(insert)
        query(f"DROP TABLE {new}")


def _is_followed(new: Table, key: Sequence[str], same: str) -> str:
    """A condition: a later row of the file has the key of row ``n``.

    Rows are grouped by key: comparing each with every other one takes quadratic time.

    Args:
        new: The rows.
        key: The columns of the key.
        same: That a row, whose name is to be filled in, has the key of ``n``.
    """
    keys = ", ".join(map(quoted, key))
    last = f"SELECT {keys}, max({SOURCE_LINE}) AS line FROM {new} GROUP BY {keys}"
    is_later = f"later.line > n.{SOURCE_LINE}"
    return f"EXISTS (SELECT 1 FROM ({last}) AS later WHERE {same.format('later')} AND {is_later})"


def _parsed(state: Any) -> dict[str, Any]:
    """A state as the database has it: text, or parsed already."""
    parsed = json.loads(state) if isinstance(state, str) else state
    return dict(parsed)
