"""PostgreSQL: rows are loaded by COPY, as CSV that polars writes."""

from __future__ import annotations

import io
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg
from psycopg.errors import InsufficientPrivilege, UndefinedTable

from filetap.columns.added import SOURCE_LINE
from filetap.errors import DatabaseError, FormatError
from filetap.load.database import AGAIN, STORE_HINT
from filetap.load.names import quoted
from filetap.redaction import SECRECY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import polars as pl

    from filetap.files import ExportFile
    from filetap.load.names import Table

_OLDEST: Final = 120_000  # PostgreSQL 12, as the server numbers it
# Both ends find out within two minutes that the other one is gone; by default it takes two hours,
# for which the server keeps the locks of a loader whose machine has died.
_KEEPALIVE: Final = {"idle": 60, "interval": 10, "count": 6}  # seconds, seconds, probes
_CLOCK: Final = 60.0  # seconds that two clocks may differ
# Classes of the server's errors: resources such as its disk, its system, its own defects.
_TROUBLE: Final = frozenset({"53", "58", "XX"})
# What loading does with a table that exists; it also adds columns, which only an owner can.
_RIGHTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")


class Postgres:
    """A connection to PostgreSQL.

    Args:
        url: ``postgresql://…``, as libpq reads it.
        program: Name that the server shows for the connection.

    Raises:
        DatabaseError: The server cannot be reached, or refuses the login.
    """

    TYPES: ClassVar[Mapping[str, str]] = {
        "string": "text",
        "integer": "bigint",
        "number": "double precision",
        "boolean": "boolean",
        "date": "date",
        "date-time": "timestamp with time zone",
        "object": "json",  # not jsonb, which reorders members and refuses some texts
        "array": "json",
    }
    STATE_TYPE: ClassVar[str] = "json"
    FOR_UPDATE: ClassVar[str] = " FOR UPDATE"
    TEMPORARY: ClassVar[str] = "CREATE TEMPORARY TABLE {} ON COMMIT DROP"
    HAS_INDEX: ClassVar[bool] = True

    def __init__(self, url: str, program: str) -> None:
        SECRECY.guard(_secrets(url))
        # It warns of what follows from an error, which is reported.
        logging.getLogger("psycopg").setLevel(logging.ERROR)
        self.catalog = ""
        self._subject, self._hint = "the database", ""
        self._keeps_alive = False
        try:
            parts = psycopg.conninfo.conninfo_to_dict(url)
            if "@" in f"{parts.get('host')}{parts.get('hostaddr')}":
                raise psycopg.ProgrammingError  # an @ in the password that is not written %40
            alive = {f"keepalives_{name}": value for name, value in _KEEPALIVE.items()}
            target = psycopg.conninfo.make_conninfo("", **{**alive, **parts})
        except psycopg.Error:
            # Without the error's own message, which may contain a part of the password.
            msg = "--to: the URL cannot be read"
            hint = "write postgresql://user@host:port/database, special characters as %XX"
            raise DatabaseError(msg, hint) from None
        try:
            self._connection = psycopg.connect(
                target,
                autocommit=True,
                prepare_threshold=None,  # poolers may change the server between transactions
                client_encoding="utf8",
                fallback_application_name=program,
                cursor_factory=psycopg.RawCursor,
            )
        except psycopg.Error as error:
            msg = f"the database cannot be reached ({_words(error)})"
            raise DatabaseError(msg, "check --to, the network and the password") from None

    def query(self, text: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows that a statement returns; ``$1`` in it is the first of *values*."""
        with self._errors():
            cursor = self._connection.execute(text.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def find(self, text: str) -> list[tuple[Any, ...]] | None:
        """The rows that a query returns; None if its table does not exist."""
        with self._errors():
            try:
                return self._connection.execute(text.encode()).fetchall()
            except UndefinedTable:
                return None

    @contextmanager
    def transaction(self, subject: str, hint: str) -> Iterator[None]:
        """Commit what is done within, or nothing of it; errors name the subject."""
        before = self._subject, self._hint
        self._subject, self._hint = subject, hint
        try:
            with self._errors():
                self._keep_alive()
                with self._connection.transaction():
                    yield
        finally:
            self._subject, self._hint = before

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the database's errors into ours."""
        try:
            yield
        except psycopg.Error as error:
            why = _words(error)
            if self._connection.closed:
                msg = f"{self._subject}: the connection to the database was lost ({why})"
                raise DatabaseError(msg, AGAIN) from None
            if isinstance(error, InsufficientPrivilege):
                msg = f"{self._subject}: the database does not allow it ({why})"
                raise DatabaseError(msg, "grant the rights that docs/load.md lists") from None
            if error.sqlstate and error.sqlstate[:2] in _TROUBLE:
                msg = f"{self._subject}: the database cannot store it ({why})"
                raise DatabaseError(msg, STORE_HINT) from None
            msg = f"{self._subject}: the database refused it ({why})"
            raise DatabaseError(msg, self._hint) from None

    def _keep_alive(self) -> None:
        """Let the server find out when this machine is gone."""
        if not self._keeps_alive:
            values = {f"keepalives_{name}": value for name, value in _KEEPALIVE.items()}
            values["user_timeout"] = 120_000  # milliseconds until an answer must have arrived
            text = "; ".join(f"SET tcp_{name} = {value}" for name, value in values.items())
            self._connection.execute(text.encode())
            self._keeps_alive = True

    def lock_set_up(self) -> None:
        """Let one transaction at a time create tables that all loaders share."""
        self.query("SELECT pg_advisory_xact_lock(hashtext('filetap'))")

    def columns(self, table: Table) -> dict[str, str]:
        """Column → the database's type; empty if the table does not exist."""
        found = self.query(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute "
            "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            str(table),
        )
        return dict(found)

    def encode(self, frame: pl.DataFrame, types: Mapping[str, str], file: ExportFile) -> bytes:
        """Some rows as CSV: null is empty, an empty text is ``""``."""
        buffer = io.BytesIO()
        frame.write_csv(buffer, include_header=False)
        data = buffer.getvalue()
        if b"\0" in data:
            _refuse_nul(frame, [name for name, kind in types.items() if kind == "string"], file)
        return data

    @contextmanager
    def copy(self, table: Table, types: Mapping[str, str]) -> Iterator[Callable[[bytes], object]]:
        """Append rows to a table by COPY."""
        names = ", ".join(map(quoted, types))
        text = f"COPY {table} ({names}) FROM STDIN (FORMAT csv)"
        with self._errors(), self._connection.cursor().copy(text.encode()) as copy:
            yield copy.write

    def version(self) -> str:
        """Name and version of the server."""
        return f"PostgreSQL {self.query('SHOW server_version')[0][0]}"

    def unique(self, table: Table) -> Collection[frozenset[str]]:
        """The sets of columns that have a unique index over all rows."""
        found = self.query(
            "SELECT array_agg(a.attname::text) "
            "FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a "
            "ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) "
            "WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid "
            "AND i.indpred IS NULL AND i.indexprs IS NULL GROUP BY i.indexrelid",
            str(table),
        )
        return [frozenset(names) for (names,) in found]

    def doubts(self) -> list[str]:
        """What is unusual about the server."""
        number, encoding, clock = self.query(
            "SELECT current_setting('server_version_num')::int, "
            "current_setting('server_encoding'), extract(epoch FROM clock_timestamp())::float8"
        )[0]
        found = []
        if abs(ahead := clock - time.time()) > _CLOCK:
            word = "ahead of" if ahead > 0 else "behind"
            found.append(f"the server's clock is {abs(ahead):.0f} s {word} this machine's")
        if number < _OLDEST:
            found.append("the server is older than PostgreSQL 12")
        if encoding != "UTF8":
            found.append(f"the database's encoding is {encoding}, which cannot hold every text")
        return found

    def lacking(self, schema: str, tables: Collection[str]) -> list[str]:
        """How to give this user the rights that loading needs and it lacks."""
        temporary, name, exists, usable, database, is_read_only = self.query(
            "SELECT has_database_privilege(current_database(), 'TEMPORARY'), s.name, "
            "n.oid IS NOT NULL, "
            "has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE'), "
            "has_database_privilege(current_database(), 'CREATE'), "
            "current_setting('transaction_read_only') = 'on' "
            "FROM (SELECT coalesce(nullif($1, ''), current_schema()) AS name) s "
            "LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = s.name",
            schema,
        )[0]
        found = []
        if is_read_only:
            found.append("the server is read-only: connect to the one that can be written to")
        if name is None:
            found.append("no schema of the search_path exists: create one, or set --schema")
            exists = database = True
        if not temporary:
            found.append("grant TEMPORARY on the database to this user")
        if exists and not usable:
            found.append(f"grant USAGE and CREATE on the schema {name} to this user")
        if not exists and not database:
            found.append(f"create the schema {name}, or grant CREATE on the database to this user")
        held = ", ".join(f"has_table_privilege(c.oid, '{right}')" for right in _RIGHTS)
        for table, is_owner, *rights in self.query(
            f"SELECT c.relname, pg_has_role(c.relowner, 'USAGE'), {held} "
            "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = $1 AND c.relname = ANY($2) ORDER BY c.relname",
            name,
            list(tables),
        ):
            if missing := [right for right, has in zip(_RIGHTS, rights, strict=True) if not has]:
                found.append(f"grant {', '.join(missing)} on the table {table} to this user")
            if not is_owner:
                found.append(f"make this user, or a role of which it is a member, own {table}")
        return found

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _secrets(url: str) -> list[str]:
    """The passwords in a URL, also in one that cannot be read, as they are and decoded."""
    login = url.partition("://")[2].rpartition("@")[0]
    _, _, password = login.partition(":")
    query = parse_qs(urlsplit(url.replace("[", "").replace("]", "")).query)
    values = [password, *query.get("password", ()), *query.get("sslpassword", ())]
    return [form for value in values for form in (value, unquote(value)) if form]


def _words(error: psycopg.Error) -> str:
    """First line of the server's or libpq's message.

    If that may quote a value, the name of the error's class, of its column and its constraint.
    """
    if error.sqlstate and error.sqlstate[:2] in {"22", "23"}:  # data, integrity
        found = {"column": error.diag.column_name, "constraint": error.diag.constraint_name}
        named = (f", {word} {name}" for word, name in found.items() if name)
        return type(error).__name__ + "".join(named)
    return str(error.diag.message_primary or str(error).partition("\n")[0] or type(error).__name__)


def _refuse_nul(frame: pl.DataFrame, names: Sequence[str], file: ExportFile) -> None:
    """Name the first row with a NUL character.

    Raises:
        FormatError: There is one.
    """
    for name in names:
        found = frame.filter(frame[name].str.contains("\0", literal=True).fill_null(value=False))
        if found.height:
            row = found[SOURCE_LINE][0]
            msg = f"{file}: row {row} has a NUL character in {name}, which PostgreSQL cannot store"
            hint = "correct the file, or set --replace-nul"
            raise FormatError(msg, hint)
