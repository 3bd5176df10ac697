"""Databases that dlt loads into, read like those of the Singer loaders."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, ClassVar

import dlt

from tap_firstup_dde.dlt import firstup
from tests.databases import DUCKDB_TYPES, in_duckdb, in_postgres
from tests.loaders import Database, named

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dlt.pipeline.pipeline import Pipeline


class Warehouse(Database):
    """A dlt pipeline with its database.

    Args:
        folder: Where the pipeline keeps its files; its name is that of the dataset.
        form: The format of dlt's files, if not its choice.
    """

    def __init__(self, folder: Path, form: str | None = None) -> None:
        self.folder = folder
        self.schema = folder.name.lower()
        self.form: Any = form
        # dlt has PostgreSQL read an empty text in CSV as null.
        self.HAS_EMPTY = form != "csv"  # type: ignore[misc]

    @property
    def destination(self) -> Any:
        """The destination, as in a user's script."""
        raise NotImplementedError

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline, as a new process has it."""
        return dlt.pipeline(
            self.schema,
            pipelines_dir=str(self.folder / "pipelines"),
            destination=self.destination,
            dataset_name=self.schema,
        )

    def run(self, config: Mapping[str, Any], *streams: str) -> int:
        """Load what is new of some streams, or of all; returns the number of load packages."""
        source = firstup(**config)
        source = source.with_resources(*streams) if streams else source
        done = self.pipeline.run(source, loader_file_format=self.form)
        done.raise_on_failed_jobs()
        return len(done.loads_ids)

    def forget(self) -> None:
        """Lose what the pipeline keeps on this machine."""
        shutil.rmtree(self.folder / "pipelines")

    def state_of(self, stream: str) -> dict[str, Any]:
        """The stream's state."""
        return dict(self.pipeline.state["sources"]["firstup"]["resources"][stream])

    def columns(self, stream: str) -> dict[str, str]:
        """Column → the database's type; empty if the table does not exist."""
        return {n: kind for n, kind in super().columns(stream).items() if n != "_sdc_sequence"}

    def size(self, stream: str) -> int:
        """The number of rows loaded."""
        return len(self.rows(stream)) if self.columns(stream) else 0


class Postgres(Warehouse):
    """PostgreSQL."""

    COLUMN_TYPES: ClassVar[Mapping[str, str]] = named(
        *("character varying", "bigint", "double precision"),
        *("boolean", "date", "timestamp with time zone"),
    )

    def __init__(self, folder: Path, uri: str, form: str | None = None) -> None:
        super().__init__(folder, form)
        self.uri = uri

    @property
    def destination(self) -> Any:
        """The server of the tests: dlt requires a host, for which its socket's folder counts."""
        return dlt.destinations.postgres(self.uri.replace(":@/", ":none@localhost/"))

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows that a query returns."""
        return in_postgres(self.uri, text)


class DuckDB(Warehouse):
    """A DuckDB file."""

    COLUMN_TYPES = DUCKDB_TYPES

    @property
    def path(self) -> str:
        """The database's file."""
        return str(self.folder / "loaded.duckdb")

    @property
    def destination(self) -> Any:
        """The file."""
        return dlt.destinations.duckdb(self.path)

    def query(self, text: str) -> list[dict[str, Any]]:
        """The rows that a query returns."""
        return in_duckdb(self.path, text)
