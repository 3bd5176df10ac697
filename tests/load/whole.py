"""Export files of known rows, and the promise that a database has whole files of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tap_firstup_dde.emulator import Emulator
    from tests.load.places import Place


def assert_whole_files(place: Place) -> None:
    """The tables have the rows of the files in the ledger, and no others."""
    ledger = place.ledger()
    rows: Counter[str] = Counter()
    for stream in ("campaigns", "users", "activities"):
        if place.columns(stream):
            found = place.query(f"select _sdc_source_file as f from {place.schema}.{stream}")  # noqa: S608
            rows.update(row["f"] for row in found)
    assert rows == ledger
    finished = {
        key for part in place.state()["bookmarks"].values() for key in part.get("finished", ())
    }
    assert {name.rpartition("/")[2] for name in ledger} == finished


def exports(emulator: Emulator, files: int, first: int = 0) -> int:
    """Files whose rows all have keys of their own; returns the number of rows."""
    total = 0
    for number in range(first, first + files):
        for stream, key in (("users", "user_id"), ("activities", "user_id")):
            rows = 40 + number
            lines = "".join(f"{number}-{i},{i}\n" for i in range(rows))
            name = "tenure" if number < 2 else "team"
            moment = f"2026-05-{14 + number // 6:02}-{number % 6 * 4:02}"
            emulator.add(stream, moment, f"{key},{name}\n{lines}")
            total += rows
    return total
