"""Fitted batches as whole blocks of RECORD lines."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping

_TO_ESCAPE = r'["\\\x00-\x1f]'
_BARE = frozenset({"integer", "number", "boolean"})


def record_lines(
    frame: pl.DataFrame, types: Mapping[str, str], stream: str, time_extracted: str
) -> bytes:
    """RECORD messages of a batch, one a line.

    Values are copied as they are read, never parsed and printed: polars writes the lines as
    a CSV without quotes, whose cells are the JSON members and whose commas are JSON's.

    Args:
        frame: Text columns in canonical text, in the order of the record's members.
        types: Column → type; a column without one is ``string``.
        stream: Name of the stream.
        time_extracted: RFC 3339 time of the extraction.

    Returns:
        UTF-8, each line ended by LF; empty for a frame without rows.
    """
    if not frame.height:
        return b""
    texts = [c for c in frame.columns if types.get(c, "string") == "string"]
    escape = (
        frame.select(pl.col(texts).str.contains(_TO_ESCAPE).any()).row(0, named=True)
        if texts
        else {}
    )
    head = f'{{"type":"RECORD","stream":{json.dumps(stream)},"record":{{'
    tail = f'}},"time_extracted":{json.dumps(time_extracted)}}}'
    members = []
    for position, name in enumerate(frame.columns):
        label = json.dumps(name, ensure_ascii=False) + ":"
        if position == 0:
            label = head + label
        value = pl.col(name)
        if types.get(name, "string") in _BARE:
            member = pl.concat_str(pl.lit(label), value)
        elif escape.get(name):
            # A one-member object, {"v":"…"}, less what stands around the value.
            quoted = pl.struct(value.alias("v")).struct.json_encode()
            inner = quoted.str.slice(5).str.strip_suffix("}")
            member = pl.concat_str(pl.lit(label), pl.when(value.is_not_null()).then(inner))
        else:
            member = pl.concat_str(pl.lit(label + '"'), value, pl.lit('"'))
        if frame[name].null_count():
            member = member.fill_null(label + "null")
        if position == frame.width - 1:
            member = pl.concat_str(member, pl.lit(tail))
        members.append(member.alias(str(position)))
    lines = io.BytesIO()
    frame.select(members).write_csv(lines, include_header=False, quote_style="never")
    return lines.getvalue()
