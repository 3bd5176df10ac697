"""The bound for RECORD: a gzip CSV file as RECORD lines, by polars and nothing else.

No types, no verification, no state.
"""

import io
import json
import sys
from collections.abc import Iterator

import polars as pl
from isal import igzip_threaded

BLOCK = 16 << 20


def blocks(path: str) -> Iterator[pl.DataFrame]:
    """The file's rows, some whole lines of it at a time."""
    with igzip_threaded.open(path, "rb", threads=1) as file:  # type: ignore[no-untyped-call]
        names = file.readline().decode().rstrip("\n").split(",")
        rest = b""
        while data := file.read(BLOCK):
            lines, _, rest = (rest + data).rpartition(b"\n")
            while lines.count(b'"') % 2:  # the line break stands in a cell
                lines, _, more = lines.rpartition(b"\n")
                rest = more + b"\n" + rest
            yield pl.read_csv(lines, has_header=False, new_columns=names, infer_schema=False)


def record_lines(frame: pl.DataFrame) -> bytes:
    """RECORD messages, one a line."""
    parts: list[pl.Expr] = []
    literal = '{"type":"RECORD","stream":"activities","record":{'
    escaped = frame.select(pl.all().str.contains(r'["\\\x00-\x1f]').any()).row(0)
    for position, name in enumerate(frame.columns):
        literal += f"{',' if position else ''}{json.dumps(name)}:"
        if escaped[position]:
            member = pl.struct(pl.col(name).alias("v")).struct.json_encode()
            parts += (pl.lit(literal), member.str.slice(len('{"v":')).str.strip_suffix("}"))
            literal = ""
        elif frame[name].null_count():
            quoted = pl.concat_str(pl.lit('"'), pl.col(name), pl.lit('"'))
            parts += (pl.lit(literal), quoted.fill_null("null"))
            literal = ""
        else:
            parts += (pl.lit(literal + '"'), pl.col(name))
            literal = '"'
    parts.append(pl.lit(literal + "}}"))
    lines = io.BytesIO()
    frame.select(pl.concat_str(parts)).write_csv(lines, include_header=False, quote_style="never")
    return lines.getvalue()


for block in blocks(sys.argv[1]):
    sys.stdout.buffer.write(record_lines(block))
