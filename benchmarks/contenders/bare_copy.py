"""The bound for PostgreSQL: COPY of the CSV as it stands, into typed columns without a key."""

import sys

import psycopg
from isal import igzip_threaded
from psycopg import sql

from tap_firstup_dde.documented import STREAMS

TYPES = {"integer": "bigint", "boolean": "boolean", "date": "date", "date-time": "timestamp"}

uri, schema, path = sys.argv[1:]
with (
    psycopg.connect(uri, options=f"-c search_path={schema}") as connection,
    igzip_threaded.open(path, "rb", threads=1) as file,  # type: ignore[no-untyped-call]
):
    connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    columns = [
        sql.SQL("{} {}").format(
            sql.Identifier(name),
            sql.SQL(TYPES.get(STREAMS["activities"].documented.columns.get(name, ""), "text")),
        )
        for name in file.readline().decode().rstrip("\n").split(",")
    ]
    connection.execute(sql.SQL("create table activities ({})").format(sql.SQL(", ").join(columns)))
    with connection.cursor().copy("copy activities from stdin (format csv)") as copy:
        while block := file.read(1 << 20):
            copy.write(block)
