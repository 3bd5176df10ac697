"""Where the tests load to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.load.places import DuckDBFile, Place, PostgresSchema

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, and no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("TAP_FIRSTUP_DDE_"):
            monkeypatch.delenv(name)


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
