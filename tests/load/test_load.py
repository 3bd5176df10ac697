"""Each row is loaded once, with its value, whatever happens between the runs and within them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.exports import TYPES, Firstup
from tests.loaders import expected, found

if TYPE_CHECKING:
    from tap_firstup_dde.emulator import Emulator
    from tests.load.places import Place


def assert_all_loaded(firstup: Firstup, place: Place) -> None:
    """Every row that Firstup has exported is loaded, and of each key the newest."""
    sent = dict(sorted(firstup.sent.items(), key=lambda item: item[1].generated_at))
    for stream, types in TYPES.items():
        there, wanted = found(stream, types, place), expected(sent, stream, types, place)
        assert dict(wanted.items() - there.items()) == {}
        assert dict(there.items() - wanted.items()) == {}
        kinds = {**types, "generated_at": "date-time", "_sdc_source_lineno": "integer"}
        for column, kind in place.columns(stream).items():
            assert kind == place.COLUMN_TYPES[kinds.get(column, "string")]


def test_ten_runs(emulator: Emulator, place: Place) -> None:
    """Whatever happens in ten runs, after each of them the tables are what the files say."""
    firstup = Firstup(emulator, seed=7)

    def load() -> int:
        rows = place.loaded(emulator)["rows"]
        assert_all_loaded(firstup, place)
        return int(rows)

    firstup.generate(0, drop=["team", "device"])
    firstup.generate(4, drop=["team", "device"])
    assert load()  # 1
    firstup.generate(8, drop=["note"], drift=True)
    load()  # 2: new columns, one is gone, and values that do not fit
    assert load() == 0  # 3: nothing new
    firstup.generate(12, rows=12_000)
    damage = emulator.fail("download", corrupt_at=50, times=None, match=emulator.files[-1].key)
    assert place.try_to(emulator).exit_code == 1  # 4: one file is damaged
    damage.times = 0
    firstup.generate(16)
    load()  # 5
    firstup.generate(20, drop=["device"])
    load()  # 6
    # Late, of a generation that was there before, with people who are nowhere else.
    firstup.generate(10, people=range(500, 520), streams=["users", "activities"])
    firstup.generate(10, file_name="001.csv", streams=["users"])  # older than what is loaded
    load()  # 7
    firstup.generate(24, drift=True)
    firstup.generate(24, drift=True, file_name="001.csv", people=range(700, 800))
    load()  # 8
    del emulator.files[:9]  # rows that Firstup no longer has stay
    load()  # 9
    firstup.generate(28)
    load()  # 10
