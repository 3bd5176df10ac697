"""What is not known about Firstup yet: both possibilities work, or the error names the fix.

The numbers are those of docs/unknowns.md.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tap_firstup_dde.documented import STREAMS
from tests.runs import run, settings, tune

if TYPE_CHECKING:
    from tap_firstup_dde.emulator import Emulator

MOMENT = "2026-05-14-16"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses before retries."""
    tune(monkeypatch, first_pause=0.0)


def _one(emulator: Emulator, header: str, *rows: str, stream: str = "users") -> dict[str, Any]:
    """The first record of a file."""
    emulator.add(stream, MOMENT, "\n".join([header, *rows]) + "\n")
    return run(settings(emulator)).records(stream)[0]


@pytest.mark.parametrize("stream", STREAMS)
def test_1_header_spelling(emulator: Emulator, stream: str) -> None:
    """Labels as documented and names in snake case are the same columns, of the same types."""
    names = list(STREAMS[stream].documented.columns)
    titles = [name.replace("_", " ").title() for name in names]
    schemas = []
    for header in (names, titles):
        emulator.files.clear()
        emulator.add(stream, MOMENT, ",".join(header) + "\n" + "," * (len(header) - 1) + "\n")
        schemas.append(run(settings(emulator)).schema(stream))
    assert schemas[0] == schemas[1]


def test_2_generated_at_in_rows(emulator: Emulator) -> None:
    """With or without a Generated At in rows, generated_at is the file's; theirs is beside it."""
    with_it = _one(emulator, "User ID,Generated At", "1,2026-05-13 10:00:00")
    assert (with_it["generated_at"], with_it["generated_at_2"]) == (
        "2026-05-14T16:00:00Z",
        "2026-05-13T10:00:00Z",
    )
    emulator.files.clear()
    without = _one(emulator, "User ID", "1")
    assert without["generated_at"] == with_it["generated_at"]
    assert "generated_at_2" not in without


@pytest.mark.parametrize("body", ["", "<html>busy</html>", '{"errors": [{"code": 429}]}'])
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}, {"X-RateLimit-Reset": "5"}])
def test_3_error_bodies(emulator: Emulator, body: str, headers: dict[str, str]) -> None:
    """Whatever a 429 looks like, the tap waits and retries."""
    emulator.fail("list", status=429, body=body, headers=headers, times=2)
    assert _one(emulator, "user_id", "1")["user_id"] == "1"


@pytest.mark.parametrize("meta", [{}, {"meta": {"has_more": False}}, {"meta": {"next": None}}])
@pytest.mark.parametrize("reverse", [False, True])
def test_4_list(emulator: Emulator, meta: dict[str, Any], reverse: bool) -> None:  # noqa: FBT001
    """Order, a block about the list, and files kept for years do not matter."""
    for year in (2024, 2025, 2026):
        emulator.add("users", f"{year}-05-14-16", f"user_id\n{year}\n")
    if reverse:
        emulator.files.reverse()
    emulator.list_extra = meta
    found = [record["user_id"] for record in run(settings(emulator)).records("users")]
    assert found == ["2024", "2025", "2026"]


@pytest.mark.parametrize("later", [False, True])
def test_5_parts(emulator: Emulator, later: bool) -> None:  # noqa: FBT001 - a table of one column
    """Several files of one generation are all read, also when one is listed after a run."""
    emulator.add("users", MOMENT, "user_id\n1\n", file_name="000.csv")
    before = run(settings(emulator)) if later else None
    emulator.add("users", MOMENT, "user_id\n2\n", file_name="001.csv")
    done = run(settings(emulator), before.state if before else None)
    assert [record["user_id"] for record in done.records("users")] == (
        ["2"] if later else ["1", "2"]
    )


@pytest.mark.parametrize(("generation", "read"), [("2026-05-14-17", 1), ("2024-05-14-16", 0)])
def test_6_historical_files(emulator: Emulator, generation: str, read: int) -> None:
    """A historical file of today is read like any other; one dated years back only from the start.

    It is read regardless of lookback_days.
    """
    emulator.add("users", MOMENT, "user_id\n1\n")
    state = run(settings(emulator)).state
    emulator.add("users", generation, "user_id\n0\n")
    assert len(run(settings(emulator), state).records("users")) == read
    assert len(run(settings(emulator)).records("users")) == 2
    assert len(run(settings(emulator, lookback_days=800), state).records("users")) == 1


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        *[("is_featured", text, True) for text in ("t", "true", "TRUE", "yes", "1")],
        *[("is_featured", text, False) for text in ("f", "false", "no", "0")],
        ("publish_date", "2026-05-14 10:00:00", "2026-05-14T10:00:00Z"),
        ("publish_date", "2026-05-14T10:00:00.25Z", "2026-05-14T10:00:00.25Z"),
        ("publish_date", "2026-05-14T12:00:00+02:00", "2026-05-14T10:00:00Z"),
        ("publish_date", "2026-05-14", "2026-05-14"),
        ("topics", '"[{""Topic ID"": 5}]"', '[{"Topic ID": 5}]'),
        ("topics", "Safety;News", "Safety;News"),
        ("channels", '"web,mobile"', "web,mobile"),
    ],
)
def test_7_encodings(emulator: Emulator, column: str, text: str, value: Any) -> None:
    """Booleans, times and lists are read in every common encoding."""
    found = _one(emulator, f"campaign_id,{column}", f"1,{text}", stream="campaigns")
    assert found[column] == value


def test_8_custom_attributes(emulator: Emulator) -> None:
    """Eighty custom columns come and go, and none changes or loses its values."""
    own = [f"Attribute {'x' * 50} {n}" for n in range(80)]
    state: Any = None
    for hour, names in (("00", own[:40]), ("04", own), ("08", own[40:]), ("12", own)):
        header = ",".join(["User ID", *names])
        emulator.add("users", f"2026-05-14-{hour}", f"{header}\n1{',v' * len(names)}\n")
        done = run(settings(emulator), state)
        state = done.state
        (record,) = done.records("users")
        assert sum(value == "v" for value in record.values()) == len(names)
    assert len(state["bookmarks"]["users"]["types"]) == 81


@pytest.mark.parametrize("ttl", [None, 7200, 1])
@pytest.mark.parametrize("scope", [None, "data_exports.read"])
def test_9_tokens(emulator: Emulator, ttl: int | None, scope: str | None) -> None:
    """A token response with or without expires_in, a request with or without scope."""
    emulator.token_ttl = ttl
    emulator.add("users", MOMENT, "user_id\n1\n")
    assert run(settings(emulator, scope=scope)).records("users")


@pytest.mark.parametrize("listed", [MOMENT, "2026-05-14T16:00:00Z", "2026-05-14T18:00:00+02:00"])
def test_12_time_zone(emulator: Emulator, listed: str) -> None:
    """generated_at without a zone is in UTC; a zone is respected."""
    emulator.add("users", MOMENT, "user_id\n1\n", listed_generated_at=listed)
    assert run(settings(emulator)).records("users")[0]["generated_at"] == "2026-05-14T16:00:00Z"


@pytest.mark.parametrize("answer", [{"status": 404}, {"status": 204}, {"status": 200}])
def test_no_data(emulator: Emulator, answer: dict[str, Any]) -> None:
    """Without data the response may be a 404, empty, or an empty list."""
    body = json.dumps({"data": {"files": []}}) if answer["status"] == 200 else ""
    emulator.fail("list", **answer, body=body, times=None)
    assert run(settings(emulator)).of("RECORD") == []
