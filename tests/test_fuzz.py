"""Fuzzing of the readers: a file that is broken in any way is read or is one error.

`make soak` tries more; `--seed` selects others.
"""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

from filetap.columns.added import ADDED
from filetap.download.gunzip import Gunzip
from filetap.errors import ExportError
from filetap.read.batch import ReadOptions
from filetap.read.detect import open_reader
from tests.read.contents import BROKEN, FORMATS, PACKINGS, workbook

if TYPE_CHECKING:
    import pytest

CORPUS = [
    *(pack(content) for content in FORMATS.values() for pack in PACKINGS.values()),
    *BROKEN.values(),
    workbook(),
]
TOKENS = (
    *(b'"', b'""', b",", b";", b"|", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\\", b":"),
    *(b"{", b"}", b"[", b"]", b"null", b"1e5", b"x^", b"\\ud800", b"PK\x03\x04", b"\x1f\x8b"),
    *(b"\xef\xbb\xbf", b"\xff\xfe"),
)

Rows = tuple[list[str], list[object], list[tuple[int, str]]]


def _mutated(dice: random.Random, content: bytes) -> bytes:
    """Some bytes changed, removed, doubled, or copied from elsewhere."""
    data = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 4, 9))):
        at = dice.randrange(len(data) + 1)
        upto = min(len(data), at + dice.randrange(1, 30))
        match dice.randrange(5):
            case 0:
                data[at:upto] = dice.randbytes(upto - at)
            case 1:
                del data[at:upto]
            case 2:
                data[at:at] = dice.choice(TOKENS)
            case 3:
                data[at:at] = data[: dice.randrange(40)]
            case _:
                other = dice.choice(CORPUS)
                data[at:upto] = other[dice.randrange(len(other) + 1) :][:60]
    return bytes(data)


def _read(content: bytes, block: int, *, divert: bool) -> Rows | None:
    """Columns, rows and malformed rows; None for an expected error."""
    options = ReadOptions(ADDED, block=block, divert=divert)
    rows: list[object] = []
    malformed: list[tuple[int, str]] = []
    try:
        reader = open_reader(io.BytesIO(content), "file", options)
        for batch in reader:
            rows += zip(batch.numbers, batch.frame.rows(), strict=True)
            malformed += [(row.number, row.raw or "") for row in batch.malformed]
    except ExportError:
        return None
    return list(reader.columns), rows, malformed


def test_mutated_files(pytestconfig: pytest.Config) -> None:
    """There are expected errors only, and the result does not depend on how a file is split."""
    first = pytestconfig.getoption("--seed")
    for seed in range(first, first + pytestconfig.getoption("--mutations")):
        dice = random.Random(seed)
        content = _mutated(dice, dice.choice(CORPUS))
        gunzip = Gunzip()
        gunzip.check(content)
        if gunzip.fault:
            continue  # such a file is an error before it is read
        _read(content, 1 << 21, divert=False)
        whole, cut = (_read(content, block, divert=True) for block in (1 << 21, 64))
        assert whole == cut, f"seed {seed}"
