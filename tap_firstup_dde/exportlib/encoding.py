"""Fitted batches as whole blocks of RECORD lines."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TO_ESCAPE = r'["\\\x00-\x1f]'
_BARE = frozenset({"integer", "number", "boolean"})


def record_lines(
    frame: pl.DataFrame, types: Mapping[str, str], stream: str, time_extracted: str
) -> bytes:
    """RECORD messages of a batch, one a line.

    Values are copied as they are read, never parsed and printed.

    Args:
        frame: Text columns in canonical text, in the order of the record's members.
        types: Column → type; a column without one is ``string``.
        stream: Name of the stream.
        time_extracted: RFC 3339 time of the extraction.

    Returns:
        UTF-8, each line ended by LF; empty for a frame without rows.
    """
    # By position: polars takes a name like "*" for a pattern.
    texts = [i for i, name in enumerate(frame.columns) if types.get(name) not in _BARE]
    escaped = _with_pattern(frame, texts, _TO_ESCAPE)
    parts: list[pl.Expr] = []
    literal = f'{{"type":"RECORD","stream":{json.dumps(stream)},"record":{{'
    for position, name in enumerate(frame.columns):
        literal += f"{',' if position else ''}{json.dumps(name, ensure_ascii=False)}:"
        value = pl.nth(position)
        nulls = frame.to_series(position).null_count()
        if position in escaped:
            # A one-member object, {"v":…}, less what stands around the value.
            member = pl.struct(value.alias("v")).struct.json_encode()
            value = member.str.slice(len('{"v":')).str.strip_suffix("}")
        elif position in texts and nulls:
            value = (pl.lit('"') + value + pl.lit('"')).fill_null("null")
        elif position in texts:
            parts += (pl.lit(literal + '"'), value)
            literal = '"'
            continue
        elif nulls:
            value = value.fill_null("null")
        parts += (pl.lit(literal), value)
        literal = ""
    parts.append(pl.lit(f'{literal}}},"time_extracted":{json.dumps(time_extracted)}}}'))
    lines = io.BytesIO()
    # The fastest way from a text column to bytes: as a CSV of one column, without quotes.
    frame.select(pl.concat_str(parts)).write_csv(lines, include_header=False, quote_style="never")
    return lines.getvalue()


def _with_pattern(frame: pl.DataFrame, positions: Sequence[int], pattern: str) -> frozenset[int]:
    """The columns, by position, with a value that has *pattern* in it."""
    found = frame.select(
        pl.nth(position).str.contains(pattern).any().alias(str(position)) for position in positions
    )
    return frozenset(position for position in positions if found[str(position)][0])
