"""Emulated accounts that grow in steps, for `equality.py`: drift, odd formats, malformed rows."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import openpyxl

from tap_firstup_dde.sample_data import generation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

STEPS = 4  # of an account's growth; nothing is added in the last one
ROWS = 250_000  # of the large file: two STATE messages are written inside it
MISFIT_ROW = 180_000  # of the large file: beyond what is sampled before the first SCHEMA
_PROGRAM = "23552"
_OLD = 1_700_000_000  # when delivered files were changed: nobody is still writing them
_TYPES = {"campaigns": "campaign", "users": "user", "activities": "activity"}

_TYPED = """user_id,first_name,tenure,score,joined_on,blocked_at,remote,note
1,Zoë,12,1.5,2026-01-02,2026-05-01 08:00:00,true,"two
lines, a ""cell"" of its own"
2,,7,2.25,2026-02-03,2026-05-02T09:00:00+02:00,FALSE,""
3,Łukasz,-4,0.5,,,,
"""
_MISFITS = """user_id,first_name,tenure,score,joined_on,blocked_at,remote,team
4,Ana,A123,1.10,n/a,soon,maybe,blue
4,Ana,00123,1e5,2026-02-30,2026-05-03 10:00:00,t,red
5,Jo,3,2.5,2026-03-04,2026-05-03 10:00:00,true,
"""
_CLASHING = "user_id,First Name,first-name,Größe\n6,Ada,Lovelace,170\n"
_SEMICOLONS = "score;user_id;note\n3.5;7;back again\n"
_JSON_LINES = """{"user_id": "8", "tenure": 9, "score": 1.50, "team": {"ids": [1, 2.50]}}
{"user_id": "8", "tenure": null, "note": "a line\\nand another"}
"""
_SHEET = (("user_id", "tenure", "joined_on"), (11, 4, date(2026, 5, 4)), ("0012", 2.5, "soon"))
_HEADER = "user_id,content_id,likes\n"
_MALFORMED = b"""user_id,tenure
1,2
2,3,4
3
"4"x,5
\xff\xfe,6
7,8
"""
_KEYLESS = "first_name,tenure\nnobody,1\n"


@dataclass(frozen=True, slots=True)
class Export:
    """An export file, in the API and in the folder.

    Attributes:
        step: Step of the account's growth in which it appears.
        stream: Its stream.
        generated_at: Its generation, ``YYYY-MM-DD-HH``.
        content: Its content.
        ending: How its delivered name ends; with ``.gz`` it is compressed, in the API too.
        kind: ``incremental`` or ``historical``.
        program: Its program; the API has only one.
        subfolder: Where it is delivered below the folder, with a slash at the end.
        gone: Number of the first step in which the file is missing.
        listed: What the API says of it that is not true: attributes of the emulated file.
    """

    step: int
    stream: str
    generated_at: str
    content: str | bytes
    ending: str = ".gz"
    kind: str = "incremental"
    program: str = _PROGRAM
    subfolder: str = ""
    gone: int = STEPS + 1
    listed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The bytes as stored."""
        content = self.content.encode() if isinstance(self.content, str) else self.content
        return gzip.compress(content, mtime=0) if self.ending.endswith(".gz") else content

    @property
    def path(self) -> str:
        """Path of the delivered file below the folder."""
        year, month, day, hour = self.generated_at.split("-")
        name = f"{self.program}-{month}-{day}-{year}-{hour}-{_TYPES[self.stream]}-{self.kind}"
        return f"{self.subfolder}{name}{self.ending}"


class Account:
    """Export files that appear step by step, in the API and in a folder.

    Attributes:
        sources: ``API`` and ``folder`` → the settings that reach it.
    """

    def __init__(self, emulator: Emulator, folder: Path, exports: Iterable[Export]) -> None:
        """Nothing is available before the first step."""
        folder.mkdir()
        self._emulator = emulator
        self._folder = folder
        self._exports = tuple(exports)
        self.sources: Mapping[str, Mapping[str, Any]] = {
            "API": emulator.settings,
            "folder": {"folder": {"url": str(folder)}},
        }

    def show(self, step: int) -> None:
        """Make the files of a step available, and no others; steps come in order, from 1."""
        self._emulator.files.clear()
        for number, export in enumerate(self._exports):
            path = self._folder / export.path
            if export.gone == step:
                path.unlink()
            if not export.step <= step < export.gone:
                continue
            if export.step == step:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(export.body)
                os.utime(path, (_OLD + step, _OLD + step))
            if export.program == _PROGRAM:
                self._list(export, f"{number:03}.csv")

    def _list(self, export: Export, name: str) -> None:
        """Have the API list a file."""
        file = self._emulator.add(
            export.stream, export.generated_at, export.body, file_name=name, gzip=False
        )
        for attribute, value in export.listed.items():
            setattr(file, attribute, value)


def drifting() -> Iterator[Export]:
    """Files whose columns come and go, with values of other types, in every format."""
    yield from _sample(1, "2026-05-14-16")
    yield Export(1, "users", "2026-05-14-19", _TYPED, ".csv")
    yield Export(1, "users", "2026-05-14-18", "user_id,first_name\n9,as before\n", gone=3)
    yield Export(1, "users", "2026-05-14-17", "user_id,first_name\n10,same\n", gone=3)
    yield Export(1, "campaigns", "2026-05-14-17", b"", ".csv")
    yield Export(1, "activities", "2026-05-14-17", _HEADER)

    yield from _sample(2, "2026-05-14-20")
    yield Export(2, "users", "2026-05-14-12", _CLASHING)  # late
    yield Export(2, "users", "2026-05-14-21", _MISFITS)
    yield Export(2, "users", "2026-05-14-22", _JSON_LINES, ".jsonl.gz")
    yield Export(2, "users", "2026-05-14-22", "user_id\n20\n", kind="historical")
    yield Export(2, "users", "2026-05-14-22", "user_id\n21\n", ".csv.gz", subfolder="older/")

    yield from _sample(3, "2026-05-15-00")
    yield Export(3, "users", "2026-05-14-18", "user_id,first_name\n9,replaced\n")
    yield Export(3, "users", "2026-05-14-17", "user_id,first_name\n10,same\n")  # delivered again
    yield Export(3, "users", "2026-05-15-01", _SEMICOLONS)
    yield Export(3, "users", "2026-05-15-02", _workbook(), ".xlsx")
    yield Export(3, "users", "2026-05-15-03", _archive(_TYPED, _TYPED), ".zip")
    yield Export(3, "users", "2026-05-15-04", _TYPED.encode("utf-16"))
    yield Export(3, "campaigns", "2026-05-15-01", "campaign_id,duration\nc1,\nc1,5\nc2,007\n")


def malformed() -> Iterator[Export]:
    """Files with rows that cannot be read, and delivered files of a second program."""
    yield from _sample(1, "2026-05-14-16")
    yield Export(1, "users", "2026-05-14-17", _MALFORMED)
    yield Export(2, "users", "2026-05-14-20", _MALFORMED, ".csv")
    yield Export(2, "users", "2026-05-14-21", _KEYLESS)
    yield Export(2, "activities", "2026-05-14-21", _HEADER + "1,2\n3,4,x\n5,6,7\n")
    yield Export(3, "users", "2026-05-15-00", '{"user_id": "1"}\n[1]\n{"user_id": "2"}\n', ".jsonl")
    yield Export(3, "users", "2026-05-15-01", "user_id\n1\n", program="7")


def large() -> Iterator[Export]:
    """A file in which a run is cut off, between two small ones; a misfit comes late in it."""
    note = "a note that makes the rows so wide that a block has few of them"
    rows = (f"{i},{note},{'n/a' if i == MISFIT_ROW else i % 50}\n" for i in range(ROWS))
    yield Export(1, "users", "2026-05-14-16", _TYPED)
    yield Export(1, "users", "2026-05-14-20", "user_id,note,tenure\n" + "".join(rows), ".csv")
    yield Export(1, "users", "2026-05-15-00", _TYPED)


def damaged() -> Iterator[tuple[str, Export]]:
    """Files that no run reads: what is wrong with each, and the file."""
    at = "2026-05-14-16"
    yield "a foreign file", Export(1, "users", at, "order,amount\n1,2\n")
    yield "a file of another kind", Export(1, "users", at, b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", ".csv")
    yield "truncated gzip", Export(1, "users", at, gzip.compress(_TYPED.encode())[:-9], ".csv")
    yield "a malformed row", Export(1, "users", at, _MALFORMED)
    yield "no time", Export(1, "users", at, _TYPED, listed={"generated_at": "yesterday"})
    yield "another checksum", Export(1, "users", at, _TYPED, listed={"checksum": "AAAAAAAAAAA="})
    yield "another length", Export(1, "users", at, _TYPED, listed={"size_bytes": 5})
    yield "an expired file", Export(1, "users", at, _TYPED, listed={"gone": True})


def _sample(step: int, generated_at: str) -> Iterator[Export]:
    """A generation of sample data: two files of each stream."""
    moment = datetime.strptime(generated_at, "%Y-%m-%d-%H").replace(tzinfo=UTC)
    for stream, texts in generation(0, step, moment, 60).items():
        for text, ending in zip(texts, (".csv.gz", ".gz"), strict=True):
            yield Export(step, stream, generated_at, text, ending)


def _workbook() -> bytes:
    """A workbook with one sheet."""
    book, stored = openpyxl.Workbook(), io.BytesIO()
    for row in _SHEET:
        book.active.append(row)
    book.save(stored)
    return stored.getvalue()


def _archive(*texts: str) -> bytes:
    """A zip archive of CSV files."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        for number, text in enumerate(texts):
            archive.writestr(f"{number}.csv", text)
    return stored.getvalue()
