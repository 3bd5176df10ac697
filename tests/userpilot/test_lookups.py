"""Lookups: every row once, whatever the pages do meanwhile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from filetap.errors import FormatError, TransportError
from tap_userpilot.documented import LOOKUPS
from tests.userpilot.vendor import emulated, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from filetap.testing.runs import Run

PAGED = ("events_properties", "segments")
UNCAPPED = json.dumps(
    {"data": [{"id": 1}], "metadata": {"total_count": 2, "total_count_cap_exceeded": "false"}}
)


def kinds(done: Run, stream: str) -> dict[str, str]:
    """Column → type in the stream's SCHEMA, of the lookup's own columns."""
    properties = done.schema(stream)["schema"]["properties"]
    return {n: p["type"][0] for n, p in properties.items() if not n.startswith(("_sdc", "gen"))}


def test_lookups() -> None:
    """Each lookup is a full table with its key; ids are text, nested members stay nested."""
    with emulated(0) as userpilot:
        done = run(userpilot, streams=LOOKUPS)
        for name in LOOKUPS:
            assert len(done.records(name)) == len(userpilot.lookups[name]), name
            (key,) = done.schema(name)["key_properties"]
            wanted = {"features_events": "key", "resource_center_modules": "key"}
            assert key == wanted.get(name, "id")
        assert [row["id"] for row in done.records("user_properties")] == ["1", "2", "3", "4"]
        assert done.records("surveys")[0]["modules"][0]["question"] == 'How "likely"?'
        assert done.records("checklists")[0]["tasks"] == [{"id": 7, "title": "First"}]
        assert kinds(done, "events_properties")["event"] == "object"
        assert kinds(done, "surveys")["modules"] == "array"
        assert done.records("events_properties")[0]["event"]["id"] is None
        assert userpilot.jobs.made == []
        again = run(userpilot, done.state, streams=LOOKUPS)
        assert [len(again.records(n)) for n in LOOKUPS] == [len(done.records(n)) for n in LOOKUPS]
        assert [again.schema(n)["schema"] for n in LOOKUPS] == [
            done.schema(n)["schema"] for n in LOOKUPS
        ]


def _to_the_end(rows: list[dict[str, Any]]) -> None:
    """Move the first row to the end: the next page begins one row too late."""
    rows.append(rows.pop(0))


def _to_the_beginning(rows: list[dict[str, Any]]) -> None:
    """Move the last row to the beginning: the next page repeats a row."""
    rows.insert(0, rows.pop())


@pytest.mark.parametrize("cursor", ["null", "missing", "repeated"])
@pytest.mark.parametrize("shift", [_to_the_end, _to_the_beginning, lambda _: None])
def test_pages(cursor: str, shift: Callable[[list[dict[str, Any]]], None]) -> None:
    """Cursors are followed to the end, repeats dropped, and missed rows read in another turn."""
    with emulated(0) as userpilot:
        userpilot.last_cursor, userpilot.shift, userpilot.page = cursor, shift, 20
        done = run(userpilot, streams=PAGED)
        for name in PAGED:
            found = [row["id"] for row in done.records(name)]
            assert len(found) == len(set(found)) == len(userpilot.lookups[name])


def test_count() -> None:
    """A list that stays shorter than stated is an error; a count with a cap says nothing."""
    with emulated(0) as userpilot:
        userpilot.cap = 30
        assert len(run(userpilot, streams=["segments"]).records("segments")) == 61
        userpilot.cap = 1000
        for pages in (
            ['{"data": [{"id": 1}], "metadata": {"cursor": {"after": null, "total_count": 2}}}'],
            ['{"data": [{"id": 1}], "metadata": {"total_count": "2"}}'],
            [UNCAPPED],
            [
                '{"data": [], "metadata": {"cursor": {"after": "x"}, "total_count": 2}}',
                '{"data": [{"id": 1}], "metadata": {"cursor": {"after": null}}}',
            ],
        ):
            userpilot.forget()
            for body in 3 * pages:
                userpilot.fail("lookup", status=200, body=body)
            with pytest.raises(FormatError, match="only 1 of the 2 rows"):
                run(userpilot, streams=["segments"])
            assert userpilot.count("lookup") == 3 * len(pages)


def test_ids_as_numbers_and_as_text() -> None:
    """A repeat is one whether its id is a number or a text."""
    with emulated(0) as userpilot:
        userpilot.lookups["flows"] = [{"id": n, "title": "a"} for n in (7, "7", "8", 8)]
        done = run(userpilot, streams=["flows"])
        assert [row["id"] for row in done.records("flows")] == ["7", "8"]


def test_empty_ids() -> None:
    """An empty id identifies no row."""
    with emulated(0) as userpilot:
        userpilot.lookups["flows"] = [{"id": "", "title": title} for title in "ab"]
        done = run(userpilot, streams=["flows"])
        assert [row["title"] for row in done.records("flows")] == ["a", "b"]


def test_property_of_several_events() -> None:
    """Where a property's id comes once per event, the event's id is part of the key."""
    with emulated(0) as userpilot:
        rows = userpilot.lookups["events_properties"]
        rows.append({**rows[-1], "event": {"id": 9, "display_name": "Nine"}})
        done = run(userpilot, streams=["events_properties"])
        assert done.schema("events_properties")["key_properties"] == ["id", "event_id"]
        assert done.records("events_properties")[-1]["event_id"] == "9"
        assert len(done.records("events_properties")) == len(rows)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<html>", "the answer is not a list"),
        ('{"error": "x"}', "the answer is not a list"),
        ("[1]", "an item of the list is not an object"),
        ("[" * 100_000, "the answer is not a list"),
    ],
)
def test_wrong_answers(body: str, words: str) -> None:
    """An answer that is not a lookup is one error."""
    with emulated(0) as userpilot:
        userpilot.fail("lookup", status=200, body=body, times=None)
        with pytest.raises(FormatError, match=words):
            run(userpilot, streams=["flows"])


def test_one_row_with_an_array() -> None:
    """The only row of a lookup is a row, whatever array it holds."""
    with emulated(0) as userpilot:
        rows = [{"name": "n", "steps": [{"a": 1}, {"a": 2}]}]
        userpilot.lookups["checklists"] = rows
        done = run(userpilot, streams=["checklists"])
        (record,) = done.records("checklists")
        assert {name: record[name] for name in rows[0]} == rows[0]
        assert done.schema("checklists")["key_properties"] == [
            "_sdc_row_hash",
            "_sdc_row_occurrence",
        ]


def test_missing_lookup() -> None:
    """A lookup that the API does not have is one error that names it."""
    with emulated(0) as userpilot:
        del userpilot.lookups["spotlights"]
        with pytest.raises(TransportError, match="spotlights: Userpilot answered 404"):
            run(userpilot, streams=["spotlights"])


def test_numbers_as_written() -> None:
    """A lookup's columns have types that keep their values, nested ones as they are written."""
    with emulated(0) as userpilot:
        body = (
            '[{"id": 12345678901234567890123, "title": 7, "weight": 1.5,\n "odd": {"a":\n 1.10}},'
            ' {"id": "b", "title": null, "weight": 2}]'
        )
        userpilot.fail("lookup", status=200, body=body, times=None)
        done = run(userpilot, streams=["flows"])
        first, second = done.records("flows")
        assert first["id"] == "12345678901234567890123"
        assert first["title"] == "7"
        assert first["odd"] == {"a": 1.10}
        assert (first["weight"], second["weight"]) == (1.5, 2)
        assert kinds(done, "flows")["odd"] == "object"
