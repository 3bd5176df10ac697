"""The tap, forced onto the SDK's own ways: writer, type conformance, batchers."""

from singer_sdk import Stream
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.io_base import SingerWriter

from filetap.singer.stream import ExportStream
from tap_firstup_dde.tap import TapFirstupDDE

ExportStream.writes_lines = False  # type: ignore[assignment,method-assign]
ExportStream.TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.RECURSIVE
ExportStream.get_batches = Stream.get_batches  # type: ignore[assignment,method-assign]
TapFirstupDDE.message_writer_class = SingerWriter  # type: ignore[assignment]
TapFirstupDDE.cli()
