"""Typed batches as Arrow tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from filetap.columns.types import to_values

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# Column's type → Arrow's.
_ARROW_TYPES = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "date-time": pa.timestamp("us", "UTC"),
}


def typed_table(
    frame: pl.DataFrame, types: Mapping[str, str], key: Collection[str] = ()
) -> pa.Table:
    """Rows that fit their types as values of these types, dates and times among them.

    Args:
        frame: Text in canonical spelling, or integers.
        types: Column → type; it may have more columns than the frame.
        key: Columns that have no nulls.
    """
    table = to_values(frame, types).to_arrow(compat_level=pl.CompatLevel.oldest())
    fields = [pa.field(n, _ARROW_TYPES[types[n]], nullable=n not in key) for n in frame.columns]
    return table.cast(pa.schema(fields))
