"""Files that are hard to type, and the tap's rows of files as Arrow has them."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from tests.runs import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.runs import Run

ROW = ("_sdc_source_file", "_sdc_source_lineno")

# Columns that come and go, values that do not fit, quotes, line ends, times of every spelling.
AWKWARD = """User ID,Likes,Date,Tenure,Note,Is Featured,Started
7,1,2026-05-14T10:00:00Z,4,"a ""quoted"", cell",true,2026-05-14
007,,2026-05-14 12:30,five,"two
lines",,2026-05-15
8,-3,2026-05-14T23:59:59.123456+05:30,6,,FALSE,
9,9223372036854775807,,7.50,"",true,0001-01-01
"""
DRIFTED = """User ID,Likes,Date,Tenure,Office
10,many,2026-05-15,8,Pune
11,2,2026-05-15T00:00:00Z,,
"""


def tap_run(settings: Mapping[str, Any]) -> Run:
    """Run the tap; objects among its settings may be JSON."""
    objects = {"folder", "column_types", "primary_keys"}
    return run({n: json.loads(v) if n in objects else v for n, v in settings.items()})


def tap_rows(settings: Mapping[str, Any], stream: str) -> tuple[dict[str, Any], list[Any]]:
    """The properties of the tap's last SCHEMA, and its RECORDs with times as such."""
    done = tap_run(settings)
    properties = done.schema(stream)["schema"]["properties"]
    read = {"date": date.fromisoformat, "date-time": datetime.fromisoformat}
    rows = []
    for record in done.records(stream):
        assert list(record) == list(properties)
        rows.append(
            {
                name: read[kind](value)
                if value is not None and (kind := properties[name].get("format"))
                else value
                for name, value in record.items()
            }
        )
    return properties, sorted(rows, key=place)


def place(row: Mapping[str, Any]) -> tuple[str, int]:
    """A row's file and number, by which rows are ordered."""
    return row[ROW[0]], row[ROW[1]]
