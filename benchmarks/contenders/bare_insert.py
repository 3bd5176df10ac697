"""The bound for DuckDB: its own reader, into typed columns without a key."""

import sys

import duckdb

from tap_firstup_dde.documented import STREAMS

TYPES = {
    "integer": "BIGINT",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "date-time": "TIMESTAMP",
}

database, path = sys.argv[1:]
with duckdb.connect(database) as connection:
    names = [
        name
        for name, *_ in connection.execute(
            "DESCRIBE FROM read_csv($1, header = true, all_varchar = true)", [path]
        ).fetchall()
    ]
    documented = STREAMS["activities"].documented.columns
    types = {name: TYPES.get(documented.get(name, ""), "VARCHAR") for name in names}
    columns = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
    connection.execute(f"CREATE TABLE activities ({columns})")
    connection.execute(
        "INSERT INTO activities FROM read_csv($1, header = true, columns = $2)", [path, types]
    )
