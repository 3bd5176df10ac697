"""Rows without a value of the key are malformed where every row must have one."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from filetap.download.spool import Spooled
from filetap.errors import FormatError
from filetap.files import ExportFile
from filetap.read.batch import ReadOptions
from filetap.read.detect import open_file

if TYPE_CHECKING:
    from collections.abc import Sequence

LACKING = (2, 3, 10_001, 25_000)
TOTAL = 25_000
FILE = ExportFile("toys", "a", "a", "2026-05-14-16", datetime(2026, 5, 14, 16, tzinfo=UTC))


def _lines(absent: Sequence[str], form: str) -> list[str]:
    """A file's lines, without an id in the rows `LACKING`."""
    texts = [f'"{n}"' for n in range(1, TOTAL + 1)]
    for number, text in zip(LACKING, absent, strict=True):
        texts[number - 1] = text
    if form == "csv":
        return ["id,n", *(f"{text},{n}" for n, text in enumerate(texts, 1))]
    return [
        f'{{"id":{text},"n":{n}}}' if text else json.dumps({"n": n})
        for n, text in enumerate(texts, 1)
    ]


@pytest.mark.parametrize(
    ("form", "absent"), [("json", ("", "null", '""', "null")), ("csv", ("", '""', "", ""))]
)
@pytest.mark.parametrize("skip", [0, 2, 10_001])
def test_rows_without_a_key(form: str, absent: Sequence[str], skip: int) -> None:
    """Each is diverted with its own text, or ends the file; rows that are skipped are not."""
    lines = _lines(absent, form)
    content = gzip.compress("\n".join(lines).encode(), 1)
    spooled = Spooled(FILE, io.BytesIO(content), len(content), "")
    first = LACKING[0] if not skip else next(n for n in LACKING if n > skip)
    with pytest.raises(FormatError, match=f"row {first}: the row lacks the key's column id"):
        list(open_file(spooled, ReadOptions(required={"id"}, skip=skip)))
    batches = list(open_file(spooled, ReadOptions(required={"id"}, skip=skip, divert=True)))
    malformed = {row.number: row.raw for batch in batches for row in batch.malformed}
    header = form == "csv"
    assert malformed == {n: lines[n - 1 + header] for n in LACKING if n > skip}
    numbers = [n for batch in batches for n in batch.numbers.to_list()]
    assert numbers == [n for n in range(1, TOTAL + 1) if n not in malformed]
    found = [n for batch in batches for n in batch.frame["n"].cast(str).to_list() if n]
    assert found[-5:] == [str(n) for n in numbers[-5:]]
    assert batches[-1].last == TOTAL
