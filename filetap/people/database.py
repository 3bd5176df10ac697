"""The options that name a database, and the connection to it."""

from __future__ import annotations

import os
import re
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filetap.errors import DatabaseError
from filetap.load.names import LONGEST
from filetap.load.store import Store
from filetap.people.examination import Finding
from filetap.wording import counted

if TYPE_CHECKING:
    from filetap.load.database import Database
    from filetap.people.examination import Examination, Step

_FORMS = "postgresql://… or duckdb:FILE"


def to_option(*, required: bool = True) -> click.Option:
    """The option that names a database."""
    return click.Option(
        ["--to"],
        required=required,
        metavar="DATABASE",
        callback=_checked,
        help=f"{_FORMS}. A password is better in PGPASSWORD or ~/.pgpass than here.",
    )


def schema_option() -> click.Option:
    """The option that names a schema."""
    return click.Option(
        ["--schema"],
        default="",
        callback=_checked_schema,
        help="Schema of the tables, created if needed; by default the one the database chooses.",
    )


def _checked(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """A database that `open_database` knows."""
    # DuckDB does not treat these as names of files.
    known = r"postgres(?:ql)?://|duckdb:(?!:memory:|md:|motherduck:|\w+://)."
    if value is not None and not re.match(known, value):
        message = f"it must be {_FORMS}"
        raise click.BadParameter(message)
    if value is not None and value.startswith("duckdb:~"):  # no shell expands it there
        return f"duckdb:{Path(value.removeprefix('duckdb:')).expanduser()}"
    return value


def _checked_schema(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """A schema that PostgreSQL does not silently cut, so that two would become one."""
    if len(value.encode()) > LONGEST:
        message = f"a name has at most {LONGEST} bytes"
        raise click.BadParameter(message)
    return value


def open_database(to: str, program: str, spool: Path | None = None) -> Database:
    """Connect to a database.

    Args:
        to: ``postgresql://…`` or ``duckdb:FILE``.
        program: Name that the server shows for the connection.
        spool: Folder for rows on their way; None for the system's temporary one.

    Raises:
        DatabaseError: It cannot be reached, or its library is not installed.
    """
    scheme, _, path = to.partition(":")
    try:
        if scheme == "duckdb":
            database: Database = import_module("filetap.load.duck").DuckDB(path, spool)
        else:
            database = import_module("filetap.load.postgres").Postgres(to, program)
    except ImportError as error:
        msg = f"{error.name or 'a library'} is not installed"
        raise DatabaseError(msg, "install the extra load") from None
    return database


def database_step(to: str, schema: str, program: str) -> Step:
    """A step of ``doctor`` that checks the database which is loaded.

    Args:
        to: ``postgresql://…`` or ``duckdb:FILE``.
        schema: Its schema; empty for the one that the database chooses.
        program: Name that the server shows for the connection.
    """

    def check(examination: Examination) -> Finding:
        path = Path(to.removeprefix("duckdb:"))
        if to.startswith("duckdb:") and not path.exists():
            if not os.access(path.parent, os.W_OK | os.X_OK):
                msg = f"the database {path} cannot be created in its folder"
                raise DatabaseError(msg, "check --to, and that the folder exists")
            return Finding(f"{path} does not exist yet")
        with closing(open_database(to, program)) as database:
            version, vendor = database.version(), examination.tap.vendor
            store = Store(database, vendor.table_prefix, schema)
            if lacking := database.lacking(schema, store.names(vendor.streams)):
                msg = f"{version}; a load would fail"
                raise DatabaseError(msg, "; ".join(lacking))
            loaded = counted(len(store.states()), "stream")
            return Finding(f"{version}; {loaded} loaded so far", "; ".join(database.doubts()))

    return check
