"""Rows that cannot be read, as a stream of their own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from singer_sdk import Stream

from filetap.columns.resolve import record_schema
from filetap.files import format_time
from filetap.singer.maps import unknown_columns
from tap_firstup_dde.vendor import (
    ALWAYS_ADDED,
    GENERATED_AT,
    MALFORMED,
    MALFORMED_SUFFIX,
    ROW_KEY,
)

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from singer_sdk import Tap
    from singer_sdk.helpers.types import Context, Record

    from filetap.files import ExportFile
    from filetap.read.batch import Malformed


class MalformedStream(Stream):
    """Rows of a stream's files that cannot be read, as they stand there.

    It is in no catalog and no state: its stream writes it beside its own records, one by
    one, so that stream maps hold for it as for any other.
    """

    def __init__(self, tap: Tap, origin: str) -> None:
        schema = record_schema(MALFORMED, ALWAYS_ADDED)
        super().__init__(tap, schema, f"{origin}{MALFORMED_SUFFIX}")
        self.primary_keys = ROW_KEY
        self.replication_key = GENERATED_AT
        self._announced = False

    def write(self, file: ExportFile, rows: Sequence[Malformed]) -> None:
        """Send *rows* of *file*, before the first ones in a run their SCHEMA."""
        if not self._announced:
            maps = self.config.get("stream_maps") or {}
            for warning in unknown_columns(maps, self.name, self.schema["properties"]):
                self.logger.warning("%s", warning)
            self._tap.mapper.register_raw_stream_schema(self.name, self.schema, self.primary_keys)
            self._write_schema_message()
            self._announced = True
        for row in rows:
            place = (format_time(file.generated_at), file.source, row.number)
            record = dict(zip(ALWAYS_ADDED, place, strict=True))
            self._write_record_message({**record, "raw": row.raw, "reason": row.reason})

    @override
    def get_records(self, context: Context | None) -> Iterator[Record]:
        return iter(())
