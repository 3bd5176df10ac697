#!/usr/bin/env bash
# openpyxl 3.1.5 removes "x005F_" from every shared text and decodes no other escape (_xHHHH_, ECMA-376 22.9.2.19).
# So texts that hold these letters lose them, and a carriage return comes back as the letters _x000D_.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet openpyxl==3.1.5 XlsxWriter==3.3.1 python-calamine==0.9.1
cat >"$work/try.py" <<'PYTHON'
import importlib.metadata
import sys

import openpyxl
import python_calamine
import xlsxwriter

texts = ["line1\r\nline2", "0x005F_7", "a_x0041_b", "_x005F_"]
with xlsxwriter.Workbook("book.xlsx") as book:
    sheet = book.add_worksheet()
    for row, text in enumerate(texts):
        sheet.write_string(row, 0, text)
mine = [row[0] for row in openpyxl.load_workbook("book.xlsx").active.iter_rows(values_only=True)]
book = python_calamine.CalamineWorkbook.from_path("book.xlsx")
other = [row[0] for row in book.get_sheet_by_index(0).to_python()]

for name in ("openpyxl", "XlsxWriter", "python-calamine"):
    print(name, importlib.metadata.version(name))
for text, read, also in zip(texts, mine, other):
    print(f"written {text!r}: openpyxl {read!r}, python-calamine {also!r}")
same = mine == ["line1_x000D_\nline2", "07", "a_x0041_b", "_"] and other == texts
sys.exit(0 if same else "The behaviour has changed.")
PYTHON
cd "$work"
venv/bin/python try.py
