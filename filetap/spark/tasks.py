"""What tasks do: they read the files of their partition, and keep no state."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import InputPartition

from filetap.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from filetap.arrow import Reading, Source
    from filetap.files import ExportFile


@contextmanager
def brief() -> Iterator[None]:
    """Re-raise expected errors without their traceback, which Spark would print in full."""
    try:
        yield
    except ExportError as error:
        raise type(error)(error.message, error.hint) from None


def partitions_of(source: Source, files: Sequence[ExportFile]) -> list[InputPartition]:
    """One partition per file, or as many as files may be read at once."""
    most = source.at_once or len(files)
    groups = (tuple(files[first::most]) for first in range(min(most, len(files))))
    return [InputPartition(group) for group in groups]


class TaskReader:
    """Reads partitions; a task receives it without what else the driver's reader holds.

    Args:
        reading: How files are read.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def __getstate__(self) -> dict[str, Any]:
        """Only what a task needs: no list of files, no transport."""
        return {"_reading": self._reading}

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """The rows of a partition's files.

        Raises:
            ExportError: A file cannot be fetched, or not be read; the message names it.
        """
        with brief():
            yield from self._reading.batches(partition.value)
