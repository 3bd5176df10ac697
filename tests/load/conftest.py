"""Where the tests load to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.load.places import DuckDBFile, Place, PostgresSchema

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def postgres(database: str, tmp_path: Path) -> PostgresSchema:
    """PostgreSQL, without tables."""
    return PostgresSchema(tmp_path, database)


@pytest.fixture(params=["postgres", "duckdb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each database, without tables."""
    if request.param == "duckdb":
        return DuckDBFile(tmp_path)
    return PostgresSchema(tmp_path, request.getfixturevalue("database"))
