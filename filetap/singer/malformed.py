"""Malformed rows, as a stream of their own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from filetap.columns.added import (
    ALWAYS_ADDED,
    GENERATED_AT,
    MALFORMED,
    MALFORMED_SUFFIX,
    ROW_KEY,
    record_schema,
)
from filetap.singer.maps import unknown_columns
from filetap.singer.private import ExtractorStream
from filetap.times import format_time

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from singer_sdk import Tap
    from singer_sdk.helpers.types import Context, Record

    from filetap.files import ExportFile
    from filetap.read.batch import Malformed
    from filetap.vendor import Vendor


class MalformedStream(ExtractorStream):
    """A stream's malformed rows, verbatim.

    It is in no catalog and no state. The stream whose rows they are writes it beside its own
    records, one by one, so that stream maps apply to it too.
    """

    def __init__(self, tap: Tap, origin: str, vendor: Vendor, maps: Mapping[str, Any]) -> None:
        schema = record_schema(MALFORMED, ALWAYS_ADDED, vendor)
        super().__init__(tap, schema, f"{origin}{MALFORMED_SUFFIX}")
        self.primary_keys = ROW_KEY
        self.replication_key = GENERATED_AT
        self._maps = maps
        self._announced = False

    def write(self, file: ExportFile, rows: Sequence[Malformed]) -> None:
        """Write *rows* of *file*; before the first ones of a run, their SCHEMA."""
        if not self._announced:
            self.prepare()
        for row in rows:
            place = (format_time(file.generated_at), file.source, row.number)
            record = dict(zip(ALWAYS_ADDED, place, strict=True))
            self.write_record({**record, "raw": row.raw, "reason": row.reason})

    @override
    def prepare(self) -> None:
        for warning in unknown_columns(self._maps, self.name, self.schema["properties"]):
            self.logger.warning("%s", warning)
        self.register(self.schema)
        self.write_schema()
        self._announced = True

    @override
    def record_blocks(self) -> Iterator[tuple[Callable[[str], bytes], int]]:
        return iter(())

    @override
    def get_records(self, context: Context | None) -> Iterator[Record]:
        return iter(())
