"""Names of tables and columns in a database."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 63  # bytes of a name in PostgreSQL, which cuts longer ones silently
_MARK: Final = 10  # hex digits
_MARKED: Final = re.compile(rf"_[0-9a-f]{{{_MARK}}}$")
# PostgreSQL's own columns; DuckDB has rowid.
_SYSTEM: Final = frozenset({"cmax", "cmin", "ctid", "oid", "rowid", "tableoid", "xmax", "xmin"})


def database_name(name: str) -> str:
    """The name of a column or table in a database.

    It is the name itself wherever possible. Names of more than 63 bytes are cut and end with ten
    hex digits of the SHA-256 of the whole name; so do those that only case distinguishes from
    another, which DuckDB does not, and those of system columns. A name that already looks
    like that gets the digits too, so that two names never become equal.
    """
    data = name.encode()
    plain = len(data) <= LONGEST and name == name.lower() and name not in _SYSTEM
    if plain and not _MARKED.search(name):
        return name
    mark = hashlib.sha256(data).hexdigest()[:_MARK]
    return f"{data[: LONGEST - _MARK - 1].decode(errors='ignore')}_{mark}"


def quoted(name: str) -> str:
    """A column or table as SQL has it."""
    return identifier(database_name(name))


def identifier(name: str) -> str:
    """A name in quotes, as it is."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a database; its text is how SQL names it.

    Attributes:
        schema: The schema; empty for the one that the database chooses.
        name: Its name in the database.
        catalog: The catalog, if a schema's name could be mistaken for one; else empty.
    """

    schema: str
    name: str
    catalog: str = ""

    def __str__(self) -> str:
        """The names in quotes."""
        parts = (self.catalog, self.schema, self.name) if self.schema else (self.name,)
        return ".".join(identifier(part) for part in parts if part)
