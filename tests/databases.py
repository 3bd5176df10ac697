"""Queries, by their own libraries, of the databases that tests load into."""

from __future__ import annotations

from typing import Any, Final

import duckdb
import psycopg
from psycopg.rows import dict_row

from tests.loaders import named

DUCKDB_TYPES: Final = named(
    "VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP WITH TIME ZONE"
)


def in_postgres(uri: str, text: str) -> list[dict[str, Any]]:
    """The rows that a query returns, with times in UTC; none for a statement without rows."""
    with psycopg.connect(uri, row_factory=dict_row) as connection:
        connection.execute("set timezone = 'UTC'")
        cursor = connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []


def in_duckdb(path: str, text: str) -> list[dict[str, Any]]:
    """The rows that a query returns, with times in UTC."""
    with duckdb.connect(path) as connection:
        connection.execute("set timezone = 'UTC'")
        found = connection.execute(text)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
