"""Export files in every format and packing, with the same rows, and files that are broken."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from datetime import date
from typing import TYPE_CHECKING, Any

import openpyxl

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ["User ID", "tenure", "score", "hired", "active", "note"]
ROWS: list[list[Any]] = [
    ["1", 7, 1.5, date(2026, 5, 14), True, 'a, "b"\nc'],
    ["02", None, -0.25, date(2025, 1, 1), False, "é"],
    ["3", 123456789012, None, None, None, None],
]


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _csv(separator: str, encoding: str) -> bytes:
    lines = []
    for row in [NAMES, *ROWS]:
        cells = ["" if c is None else _text(c) or "" for c in row]
        lines.append(
            separator.join(
                '"' + c.replace('"', '""') + '"' if set(c) & {'"', "\n", separator} else c
                for c in cells
            )
        )
    return "\r\n".join(lines).encode(encoding)


def _objects() -> list[dict[str, Any]]:
    shown = [[c.isoformat() if isinstance(c, date) else c for c in row] for row in ROWS]
    return [dict(zip(NAMES, row, strict=True)) for row in shown]


def _lines(end: str, **options: Any) -> bytes:
    return end.join(json.dumps(one, **options) for one in _objects()).encode()


def workbook() -> bytes:
    """The rows as a workbook's first sheet."""
    book = openpyxl.Workbook()
    sheet: Any = book.active
    for row in [NAMES, *ROWS]:
        sheet.append(row)
    book.create_sheet("another")
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def zipped(*contents: bytes, **options: Any) -> bytes:
    """A zip archive of some files in a folder, and one that a desktop system left there."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, **options) as file:
        for number, content in enumerate(contents):
            file.writestr(f"folder/{number}.csv", content)
        file.writestr("__MACOSX/folder/._0.csv", b"\0\5")
    return archive.getvalue()


FORMATS = {
    **{f"csv {s!r}": _csv(s, "utf-8") for s in ",;\t|"},
    "csv with BOM": _csv(",", "utf-8-sig"),
    "csv in UTF-16": _csv(",", "utf-16"),
    "csv in UTF-16 BE": b"\xfe\xff" + _csv(",", "utf-16-be"),
    "ndjson": _lines("\n"),
    "ndjson with BOM": b"\xef\xbb\xbf" + _lines("\r\n", ensure_ascii=False),
    "json objects": _lines("", indent=2),
    "json array": json.dumps(_objects()).encode(),
    "json array, indented": json.dumps(_objects(), indent=1).encode() + b"\n",
}
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip of several members": lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:]),
    "zip": zipped,
}


def archive_of(**members: bytes) -> bytes:
    """A zip archive of named files."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return archive.getvalue()


def _broken() -> dict[str, bytes]:
    """Description of a fault → bytes of a file with it."""
    good = gzip.compress(FORMATS["csv ','"])
    archive = zipped(FORMATS["csv ','"] * 50)
    book = workbook()
    locked = bytearray(zipped(b"user_id\n1\n"))
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = locked.find(sign)
        while at >= 0:
            locked[at + place] |= 1
            at = locked.find(sign, at + 1)
    return {
        "gzip cut short": good[:-3],
        "gzip without an end": good[:40],
        "gzip with a flipped bit": good[:30] + bytes([good[30] ^ 4]) + good[31:],
        "gzip with another CRC": good[:-8] + b"\0\0\0\0" + good[-4:],
        "gzip and other bytes": good + b"user_id\n",
        "gzip in gzip": gzip.compress(good),
        "zip in gzip": gzip.compress(archive),
        "zip cut short": archive[: len(archive) // 2],
        "zip without a list": archive[:-40],
        "zip with a flipped bit": archive[:80] + bytes([archive[80] ^ 4]) + archive[81:],
        "zip with a password": bytes(locked),
        "zip of different files": zipped(b"user_id\n1\n", b"user_id,more\n1,2\n"),
        "zip in zip": zipped(archive),
        "workbook cut short": book[: len(book) // 2],
        "workbook without sheets": archive_of(**{"xl/workbook.xml": b"<workbook/>"}),
        "workbook with a broken sheet": _broken_sheet(),
        "an array of numbers alone": b"[1, 2, 3]",
        "an array of arrays": b'[["a"], ["b"]]',
        "an object without quotes": b"{user_id: 1}",
        "objects without members": b"{}\n{}\n",
        "parquet": b"PAR1\x15\x04\x15\0\0\0",
        "arrow": b"ARROW1\0\0\xff\xff\xff\xff\0\0",
        "bzip2": b"BZh91AY&SY\0\0\0",
        "xz": b"\xfd7zXZ\0\0\x04",
        "zstandard": b"\x28\xb5\x2f\xfd\x04\x00\x01",
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        "old workbook": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0",
        "HTML": b"<!DOCTYPE html><html></html>",
        "XML": b"<?xml version='1.0'?><Error/>",
        "sep= line": b"sep=;\nuser_id;a\n1;2\n",
        "UTF-16 cut short": _csv(",", "utf-16")[:-1],
        "UTF-16 with a lone surrogate": b"\xff\xfeu\0s\0\0\xd8a\0",
        "a short row": b"user_id,a\n1,2\n3\n",
        "a long row": b"user_id,a\n1,2,3\n",
        "a quote without end": b'user_id,a\n1,"2\n3,4\n',
        "bytes that are not UTF-8": b"user_id,a\n1,\xe9\n",
        "JSON that ends early": b'{"user_id": "1"}\n{"user_id":',
        "an array that ends early": b'[{"user_id": "1"},\n',
        "an array of numbers": b'[{"user_id": "1"}, 5]',
    }


def _broken_sheet() -> bytes:
    """A workbook whose sheet's XML ends early."""
    archive, copy = zipfile.ZipFile(io.BytesIO(workbook())), io.BytesIO()
    with zipfile.ZipFile(copy, "w") as file:
        for name in archive.namelist():
            data = archive.read(name)
            file.writestr(name, data[:-40] if name.endswith("sheet1.xml") else data)
    return copy.getvalue()


BROKEN = _broken()
