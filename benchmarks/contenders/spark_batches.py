"""A file through Spark: seconds, rows and peak memory (MiB) of its Python worker, each round.

The third argument says how far: ``task`` to the batches of a task, before Spark has them;
``batches`` to Spark; ``rows`` to a sink that throws rows away.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import SparkSession
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition

from tap_firstup_dde.spark import FirstupDataSource

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS, ROUNDS, HOW = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


class Task(DataSource):  # type: ignore[misc]
    """What a task takes for its batches, as a row."""

    @classmethod
    def name(cls) -> str:
        """Of the format."""
        return "task"

    def schema(self) -> str:
        """Of the row."""
        return "seconds double, rows bigint"

    def reader(self, schema: Any) -> DataSourceReader:
        """Reads as the data source does, and keeps no batch."""
        del schema  # of the row
        inner = FirstupDataSource(self.options).reader(columns)

        class Reader(DataSourceReader):  # type: ignore[misc]
            def partitions(self) -> list[InputPartition]:
                return list(inner.partitions())

            def read(self, partition: InputPartition) -> Iterator[tuple[float, int]]:
                begun = time.perf_counter()
                rows = sum(batch.num_rows for batch in inner.read(partition))
                yield time.perf_counter() - begun, rows

        return Reader()


def peak() -> int:
    """The most resident memory (MiB) of any of Spark's Python processes."""
    peaks = [0]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"pyspark.daemon" in (process / "cmdline").read_bytes():
                found = re.search(
                    r"VmHWM:\s+(\d+)", (process / "status").read_text(encoding="utf-8")
                )
                peaks += [int(found[1]) >> 10] if found else []
        except OSError:
            continue
    return max(peaks)


def frame(name: str) -> Any:
    """The rows, as one of the data sources has them."""
    return spark.read.format(name).options(stream="activities", **SETTINGS)


spark = (
    SparkSession.builder.master("local[1]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.log.level", "OFF")
    .getOrCreate()
)
spark.dataSource.register(FirstupDataSource)
columns = frame("firstup_dde").load().schema
spark.dataSource.register(Task)  # goes out with the columns as they are now
files = frame("firstup_dde").schema(columns).load()
expected = files.count()
for number in range(1 + ROUNDS):  # the first does not count
    begun, rows = time.perf_counter(), expected
    if HOW == "rows":
        files.write.format("noop").mode("overwrite").save()
    elif HOW == "batches":
        rows = files.count()
    seconds = time.perf_counter() - begun
    if HOW == "task":
        ((seconds, rows),) = frame("task").load().collect()
    if number:
        print(seconds, rows, peak())
