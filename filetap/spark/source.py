"""The data source: columns and batch reader."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, ClassVar

from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition

from filetap.plan import plan_files
from filetap.spark.options import parse_options, reading_into, spark_schema
from filetap.spark.stream import ExportStreamReader
from filetap.spark.tasks import TaskReader, brief, partitions_of
from filetap.times import utc_now

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql.types import StructType

    from filetap.arrow import Reading, Source
    from filetap.files import ExportFile, Transport
    from filetap.vendor import Vendor


def _list(source: Source) -> tuple[Sequence[ExportFile], Transport]:
    """Every file that can be read now, in order, and where it was listed.

    Raises:
        TransportError: The files cannot be listed.
    """
    transport = source.vendor.connect(source.settings)
    listed = transport.list_files(source.stream)
    plan = plan_files(source.stream, listed, {}, source.settings, now=utc_now())
    return plan.files, transport


class ExportReader(TaskReader, DataSourceReader):
    """Reads every file that is available, once.

    Args:
        reading: How files are read.
        files: Those that the columns were found in; None to list them when they are needed.
    """

    def __init__(self, reading: Reading, files: Sequence[ExportFile] | None) -> None:
        super().__init__(reading)
        self._files = files

    @override
    @brief()
    def partitions(self) -> list[InputPartition]:
        """The partitions of all files.

        Raises:
            TransportError: The files cannot be listed.
        """
        source = self._reading.source
        files = _list(source)[0] if self._files is None else self._files
        # Where there is none, Spark makes one itself, of another kind in each version.
        return partitions_of(source, files) or [InputPartition(())]


class ExportDataSource(DataSource):
    """A vendor's export files, for ``spark.read`` and ``spark.readStream``.

    The options are the settings of the tap, objects as JSON, ``stream`` and a few more; settings
    that they lack are taken from the driver's environment, as the tap does. A subclass names the
    vendor; its format's name is that of the tap.

    Attributes:
        vendor: Whose files are read.

    Args:
        options: Option → text.

    Raises:
        SettingsError: The options cannot be used.
    """

    vendor: ClassVar[Vendor]

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = parse_options(options, self.vendor)
        self._files: Sequence[ExportFile] | None = None
        # Spark asks for the schema unless a user gave one.
        self._key: tuple[str, ...] | None = None

    @classmethod
    @override
    def name(cls) -> str:
        return cls.vendor.program.removeprefix("tap-").replace("-", "_")

    @override
    @brief()
    def schema(self) -> StructType:
        """The columns of all files that are available, which are listed now.

        Raises:
            ExportError: The files cannot be listed, or one cannot be sampled.
        """
        source = self._options.source
        self._files, transport = _list(source)
        columns = source.columns(self._files, transport)
        self._key = columns.key
        return spark_schema(columns.types)

    @override
    def reader(self, schema: StructType) -> ExportReader:
        # Each task receives this object too: only the driver needs the files.
        files, self._files = self._files, None
        return ExportReader(reading_into(self._options.source, schema, self._key), files)

    @override
    def streamReader(self, schema: StructType) -> ExportStreamReader:
        self._files = None
        reading = reading_into(self._options.source, schema, self._key)
        return ExportStreamReader(reading, self._options.per_trigger)
