"""The unique index by which rows are merged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filetap.errors import DatabaseError
from filetap.load.names import database_name, quoted
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filetap.load.database import Database
    from filetap.load.names import Table


def create_index(database: Database, table: Table, key: Sequence[str]) -> None:
    """Create the index of a table on its key."""
    database.query(f"CREATE UNIQUE INDEX ON {table} ({', '.join(map(quoted, key))})")


def ensure_index(database: Database, table: Table, key: Sequence[str]) -> None:
    """Create the index of a table that something else may have created without one.

    Raises:
        DatabaseError: Rows have the same key.
    """
    if frozenset(map(database_name, key)) in database.unique(table):
        return
    names = ", ".join(map(quoted, key))
    keyed = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in key)
    shared = f"SELECT {names} FROM {table} WHERE {keyed} GROUP BY {names} HAVING count(*) > 1"
    ((keys,),) = database.query(f"SELECT count(*) FROM ({shared}) AS keys")
    if keys:
        msg = f"{table}: rows have the same key ({names}) in {counted(keys, 'case')}"
        raise DatabaseError(msg, f"keep one of each, or use another --schema; {shared}")
    create_index(database, table, key)
