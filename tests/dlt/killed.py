"""A pipeline that is killed, in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import TYPE_CHECKING, Any

from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient

from tap_firstup_dde.dlt import firstup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.dlt.warehouses import Warehouse

CLIENTS: tuple[Any, ...] = (DuckDbSqlClient, Psycopg2SqlClient)


def killed(warehouse: Warehouse, config: Mapping[str, Any], point: str | int) -> bool:
    """Run a pipeline that is killed; returns True if it was, False if it ended before.

    Args:
        warehouse: Where it loads.
        config: The source's settings.
        point: ``extract`` or ``normalize``, after which it is killed, or a number: before that
            many statements in the database.
    """
    # Copies of a process that has imported everything, which takes longer than the load.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_run, args=(warehouse, dict(config), point))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def _run(warehouse: Warehouse, config: Mapping[str, Any], point: str | int) -> None:
    """Run the pipeline up to that point."""
    # Of its parent, the server has not the environment of the test.
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    left = [point if isinstance(point, int) else -1]
    for client in CLIENTS:
        client.execute_query = _counted(client.execute_query, left)
    pipeline = warehouse.pipeline
    pipeline.extract(firstup(**config), loader_file_format=warehouse.form)
    if point == "extract":
        _kill()
    pipeline.normalize()
    if point == "normalize":
        _kill()
    pipeline.load()


def _counted(execute: Any, left: list[int]) -> Any:
    """A method that executes a statement, unless its process is to be killed first."""

    def counted(self: Any, *statement: Any, **values: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            _kill()
        return execute(self, *statement, **values)

    return counted


def _kill() -> None:
    """Kill this process, which can do nothing about it."""
    os.kill(os.getpid(), signal.SIGKILL)
