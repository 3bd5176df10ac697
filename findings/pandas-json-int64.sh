#!/usr/bin/env bash
# pandas 3.1.1: read_json with dtype_backend="pyarrow" gives a column of the type int64 whose values were rounded
# to floating point on the way, once the column has a null. There is no warning, and dtype=False changes nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet pandas==3.1.1 pyarrow==26.0.1
cat >"$work/try.py" <<'PYTHON'
import io
import sys

import pandas as pd
import pyarrow as pa

print("pandas", pd.__version__, "pyarrow", pa.__version__)
found = {}
for lines in ('{"n": 9007199254740993}\n', '{"n": 9007199254740993}\n{"n": null}\n'):
    for options in ({}, {"dtype": False}):
        read = pd.read_json(io.StringIO(lines), lines=True, dtype_backend="pyarrow", **options)
        print(repr(lines), options, str(read["n"].dtype), read["n"][0])
        found[lines.count("\n"), len(options)] = str(read["n"].dtype), int(read["n"][0])
right, wrong = ("int64[pyarrow]", 9007199254740993), ("int64[pyarrow]", 9007199254740992)
same = found == {(1, 0): right, (1, 1): right, (2, 0): wrong, (2, 1): wrong}
sys.exit(0 if same else "The behaviour has changed.")
PYTHON
"$work/venv/bin/python" "$work/try.py"
