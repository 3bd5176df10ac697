"""From typed batches to RECORD lines, a block at a time.

polars writes JSON lines fastest itself. It would print a number of type ``number`` in its own way,
though, and nested JSON as a string, so lines with these are put together from their texts.
"""

from __future__ import annotations

import io
import json
from itertools import compress
from typing import TYPE_CHECKING

from filetap.columns.patterns import any_match
from filetap.columns.types import to_values
from filetap.lazy import pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_CELLS = 300_000  # made into lines at a time, at most
_VERBATIM = frozenset({"number", "object", "array"})
_TO_ESCAPE = r'["\\\x00-\x1f]'
_BARE = frozenset({"integer", "number", "boolean", "object", "array"})
_TIMES = frozenset({"date", "date-time"})  # have nothing to escape


def slices(frame: pl.DataFrame, most: int = _CELLS) -> Iterator[pl.DataFrame]:
    """Yield a batch in slices that take little memory as lines.

    Args:
        frame: The batch.
        most: Rows of a slice, at most; of many columns it has fewer, but at least one.
    """
    return frame.iter_slices(min(most, max(1, _CELLS // frame.width)))


def record_lines(
    frame: pl.DataFrame, types: Mapping[str, str], stream: str, time_extracted: str
) -> bytes:
    """RECORD messages of a batch, one a line.

    Every value is written as it was read: what is parsed and printed has one canonical form.

    Args:
        frame: Canonical text, or integers as such, in the order of the record's members.
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
    if _VERBATIM.isdisjoint(types.get(name) for name in frame.columns):
        return _between(_printed(frame, types), before, after)
    return _joined(frame.cast({pl.Int64: pl.String}), types, before, after)


def _printed(frame: pl.DataFrame, types: Mapping[str, str]) -> bytes:
    """Rows as JSON objects, one per line, written by polars."""
    lines = io.BytesIO()
    to_values(frame, types).write_ndjson(lines)
    return lines.getvalue()


def _between(lines: bytes, before: str, after: str) -> bytes:
    """Lines with text before and after each; only a line's end is a line feed."""
    if not lines or not before + after:
        return lines
    start = before.encode()
    rest = lines.replace(b"\n", f"{after}\n{before}".encode())
    return b"".join((start, memoryview(rest)[: len(rest) - len(start)]))


def _joined(frame: pl.DataFrame, types: Mapping[str, str], before: str, after: str) -> bytes:
    """The same as `json_lines`, from text columns, with numbers and nested JSON as they are."""
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
