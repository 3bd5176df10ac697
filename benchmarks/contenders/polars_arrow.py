"""The bound for arrow: a gzip CSV file as typed Arrow files, by polars and nothing else.

The types are taken from a file that the tap wrote. No value is verified, none is kept as it was.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from isal import igzip_threaded

BLOCK = 16 << 20


def blocks(path: str) -> Iterator[bytes]:
    """The file's bytes, some whole lines of it at a time."""
    with igzip_threaded.open(path, "rb", threads=1) as file:  # type: ignore[no-untyped-call]
        file.readline()
        rest = b""
        while data := file.read(BLOCK):
            lines, _, rest = (rest + data).rpartition(b"\n")
            while lines.count(b'"') % 2:  # the line break stands in a cell
                lines, _, more = lines.rpartition(b"\n")
                rest = more + b"\n" + rest
            yield lines


source, typed, target = sys.argv[1], next(Path(sys.argv[2]).glob("*.arrow")), Path(sys.argv[3])
schema = {name: kind for name, kind in pl.read_ipc_schema(typed).items() if name[0] != "_"}
del schema["generated_at"]
for number, block in enumerate(blocks(source)):
    frame = pl.read_csv(block, has_header=False, schema=schema)
    frame.write_ipc(target / f"{number}.arrow", compat_level=pl.CompatLevel.oldest())
