#!/usr/bin/env bash
# polars 2.1.0 (pola-rs/polars issue 22323): write_ipc writes the schema without the header of a message.
# So what follows the file's magic word is not a stream, as the format demands, and readers that skip the footer fail.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet polars==2.1.0 pyarrow==26.0.1 nanoarrow==0.9.0
cat >"$work/try.py" <<'PYTHON'
import importlib.metadata
import io
import sys

import nanoarrow
import polars
import pyarrow
import pyarrow.ipc

frame = polars.DataFrame({"a": [1, None]})
rows = frame.to_dicts()
file = io.BytesIO()
frame.write_ipc(file, compat_level=polars.CompatLevel.oldest())
other = io.BytesIO()
table = frame.to_arrow(compat_level=polars.CompatLevel.oldest())
with pyarrow.ipc.new_file(other, table.schema) as writer:
    writer.write_table(table)

READERS = {
    "pyarrow, by the footer": lambda data: pyarrow.ipc.open_file(data).read_all(),
    "pyarrow, the stream": lambda data: pyarrow.ipc.open_stream(data[8:]).read_all(),
    "nanoarrow, the stream": lambda data: nanoarrow.ArrayStream.from_readable(io.BytesIO(data[8:])).read_all(),
}


def read(reader, data):
    """What the reader makes of a file."""
    try:
        return "read" if reader(data).to_pylist() == rows else "other rows"
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


for name in ("polars", "pyarrow", "nanoarrow"):
    print(name, importlib.metadata.version(name))
found = {"polars": [], "pyarrow": []}
for writer, data in (("polars", file.getvalue()), ("pyarrow", other.getvalue())):
    print(f"written by {writer}: after the magic word {data[8:16].hex(' ')}")
    for name, reader in READERS.items():
        found[writer].append(result := read(reader, data))
        print(f"  {name}: {result}")
sound = [result == "read" for result in found["polars"]]
same = sound == [True, False, False] and {*found["pyarrow"]} == {"read"}
sys.exit(0 if same else "The behaviour has changed.")
PYTHON
cd "$work"
venv/bin/python try.py
