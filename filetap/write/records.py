"""Fitted batches as what leaves: blocks of RECORD lines, and batch files."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING

import polars as pl
from isal import isal_zlib

from filetap.columns.types import to_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# How batch files are made: format → its compressions, the one that is taken unasked first.
# Zstandard is not among them: no target reads it.
FILE_FORMATS: Mapping[str, Sequence[str]] = {
    "jsonl": ("gzip", "none"),
    "parquet": ("none", "gzip"),
    "arrow": ("none",),
}
_GZIP_LEVEL = (
    1  # 0 to 3; as fast as 0, whose files are a quarter larger; 3 takes four times as long
)
_BLOCK_ROWS = 4000  # rows made into lines at a time
_TO_ESCAPE = r'["\\\x00-\x1f]'
_BARE = frozenset({"integer", "number", "boolean"})
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
    return _lines(frame, types, before, after)


def write_file(
    frame: pl.DataFrame,
    types: Mapping[str, str],
    file_format: str,
    compression: str,
    file: IO[bytes],
) -> None:
    """Write a batch as the content of a batch file.

    Every format has the same values as RECORD: dates and times are text, as JSON has them.

    Args:
        frame: Text columns in canonical text.
        types: Column → type; a column without one is ``string``.
        file_format: One of `FILE_FORMATS`.
        compression: One that the format has.
        file: Where the content goes.
    """
    if file_format == "jsonl":
        blocks = (_lines(part, types, "", "") for part in frame.iter_slices(_BLOCK_ROWS))
        file.writelines(_gzip(blocks) if compression == "gzip" else blocks)
    elif file_format == "parquet":
        values = to_values(frame, types)
        values.write_parquet(file, compression="gzip" if compression == "gzip" else "snappy")
    else:
        # Not string views, which many readers do not know.
        to_values(frame, types).write_ipc(file, compat_level=pl.CompatLevel.oldest())


def _gzip(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks as one gzip member."""
    member = isal_zlib.compressobj(_GZIP_LEVEL, wbits=31)
    for block in blocks:
        yield member.compress(block)
    yield member.flush()


def _lines(frame: pl.DataFrame, types: Mapping[str, str], before: str, after: str) -> bytes:
    """Rows as JSON objects, one a line, each between the same words."""
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
            # A one-member object, {"v":…}, less what stands around the value.
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
    found = frame.select(
        pl.nth(position).str.contains(pattern).any().alias(str(position)) for position in positions
    )
    return frozenset(position for position in positions if found[str(position)][0])
