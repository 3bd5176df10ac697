"""From typed batches to RECORD lines, a block at a time."""

from __future__ import annotations

import json
from itertools import compress
from typing import TYPE_CHECKING

from filetap.columns.patterns import any_match
from filetap.lazy import pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TO_ESCAPE = r'["\\\x00-\x1f]'
_BARE = frozenset({"integer", "number", "boolean", "object", "array"})
_TIMES = frozenset({"date", "date-time"})  # have nothing to escape


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
    before = f'{{"type":"RECORD","stream":{json.dumps(stream)},"record":'
    after = f',"time_extracted":{json.dumps(time_extracted)}}}'
    return json_lines(frame, types, before, after)


def json_lines(frame: pl.DataFrame, types: Mapping[str, str], before: str, after: str) -> bytes:
    """Rows as JSON objects, one per line, each between *before* and *after*."""
    # By position: polars takes a name like "*" for a pattern.
    names = frame.columns
    texts = {i for i, name in enumerate(names) if types.get(name) not in _BARE}
    free = [i for i in sorted(texts) if types.get(names[i]) not in _TIMES]
    escaped = _with_pattern(frame, free, _TO_ESCAPE)
    parts: list[pl.Expr] = []
    literal = before + "{"
    for position, name in enumerate(names):
        literal += f"{',' if position else ''}{json.dumps(name, ensure_ascii=False)}:"
        column = frame.to_series(position)
        value = pl.nth(position)
        nulls = column.null_count()
        if nulls == frame.height:
            literal += "null"
        elif position in escaped:
            # A one-member object, {"v":…}, without what surrounds the value.
            member = pl.struct(value.alias("v")).struct.json_encode()
            parts += (pl.lit(literal), member.str.slice(len('{"v":')).str.strip_suffix("}"))
            literal = ""
        elif position in texts and nulls:
            quoted = pl.lit('"') + value + pl.lit('"')
            parts += (pl.lit(literal), quoted.fill_null("null"))
            literal = ""
        elif nulls:
            parts += (pl.lit(literal), value.fill_null("null"))
            literal = ""
        else:
            quote = '"' if position in texts else ""
            literal += quote
            if (column == column[0]).all():
                literal += column[0]
            else:
                parts += (pl.lit(literal), value)
                literal = ""
            literal += quote
    parts.append(pl.repeat(literal + "}" + after + "\n", pl.len()))
    lines: bytes = frame.select(pl.concat_str(parts).str.join().cast(pl.Binary)).item()
    return lines


def _with_pattern(frame: pl.DataFrame, positions: Sequence[int], pattern: str) -> frozenset[int]:
    """The columns, by position, with a value that has *pattern* in it."""
    columns = [frame.to_series(position) for position in positions]
    return frozenset(compress(positions, any_match(columns, pattern)))
