"""What Simpplr exports is listed and changed by name, and nothing is posted without ``--yes``."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from tap_simpplr.cli import main
from tap_simpplr.emulator import Emulator
from tap_simpplr.schedule import Schedule
from tests.runs import write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def simpplr(tmp_path: Path) -> Iterator[Emulator]:
    """An emulated Simpplr that exports user and content weekly, and exported feed before."""
    schedule = Schedule(tmp_path / "tree", date(2026, 3, 2))
    schedule.register(["feed"], "daily")
    schedule.register(["user", "content"], "weekly")
    with Emulator(schedule=schedule, page=2) as serving:
        yield serving


def call(simpplr: Emulator, tmp_path: Path, *words: str, **more: Any) -> Result:
    """Run the program with settings that reach the API, and no folder."""
    config = {n: v for n, v in simpplr.settings.items() if n != "folder"} | more
    first, *rest = words
    path = write(tmp_path, "config.json", config)
    return CliRunner().invoke(main, [first, "--config", path, *rest])


def active(simpplr: Emulator) -> dict[str, str]:
    """Entity → frequency, of those that are exported."""
    exports = simpplr.schedule.exports
    return {entity: one.frequency for entity, one in exports.items() if one.active}


def test_list(simpplr: Emulator, tmp_path: Path) -> None:
    """All registrations are listed, whatever their pages, those that have ended too."""
    done = call(simpplr, tmp_path, "registrations", "--output", "json")
    found = {one["entity"]: (one["frequency"], one["active"]) for one in json.loads(done.stdout)}
    assert found == {
        "feed": ("daily", False),
        "user": ("weekly", True),
        "content": ("weekly", True),
    }
    assert "content" in call(simpplr, tmp_path, "registrations").stdout


@pytest.mark.parametrize(
    ("words", "shown", "after"),
    [
        (
            ["add", "user_logins"],
            ["+ user logins (weekly)", "  user (weekly)", "  content (weekly)"],
            {"user": "weekly", "content": "weekly", "user logins": "weekly"},
        ),
        (
            ["add", "feed", "--frequency", "daily"],
            ["+ feed (daily)", "~ user (weekly → daily)", "~ content (weekly → daily)"],
            {"feed": "daily", "user": "daily", "content": "daily"},
        ),
        (["remove", "user"], ["- user (weekly)", "  content (weekly)"], {"content": "weekly"}),
        (["remove", "user", "content"], ["- user (weekly)", "- content (weekly)"], {}),
        (
            ["set", "site"],
            ["+ site (weekly)", "- user (weekly)", "- content (weekly)"],
            {"site": "weekly"},
        ),
        (["disable"], ["- user (weekly)", "- content (weekly)"], {}),
        (["add", "user"], [], {"user": "weekly", "content": "weekly"}),
    ],
)
def test_change(
    simpplr: Emulator, tmp_path: Path, words: list[str], shown: list[str], after: dict[str, str]
) -> None:
    """The difference is shown; the whole list is posted with ``--yes`` only."""
    before = active(simpplr)
    done = call(simpplr, tmp_path, "registrations", *words)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == shown
    assert simpplr.count("register") == 0
    assert active(simpplr) == before
    done = call(simpplr, tmp_path, "registrations", *words, "--yes")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == shown
    assert active(simpplr) == after


@pytest.mark.parametrize(
    ("words", "posted", "changes"),
    [
        (["add", "user"], False, []),
        (
            ["remove", "user"],
            False,
            [("user", "weekly", None), ("content", "weekly", "weekly")],
        ),
        (
            ["set", "site", "user", "--frequency", "daily", "--yes"],
            True,
            [("site", None, "daily"), ("content", "weekly", None), ("user", "weekly", "daily")],
        ),
    ],
)
def test_change_as_json(
    simpplr: Emulator,
    tmp_path: Path,
    words: list[str],
    posted: bool,  # noqa: FBT001 - a parameter of the table
    changes: list[tuple[str, str | None, str | None]],
) -> None:
    """With ``--output json``, a change is JSON, and nothing else is on stdout."""
    done = call(simpplr, tmp_path, "registrations", *words, "--output", "json")
    shown = json.loads(done.stdout)
    assert shown["posted"] is posted is (simpplr.count("register") == 1)
    assert [(c["entity"], c["before"], c["after"]) for c in shown["changes"]] == changes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["registrations", "add", "user login"], "did you mean user logins"),
        (["registrations", "add"], "add needs an entity"),
        (["registrations", "disable", "user"], "disable takes neither entities"),
        (["registrations", "disable", "--frequency", "daily"], "nor a frequency"),
        (["registrations", "--frequency", "daily"], "say set, add, remove or disable"),
        (["full-load", "site", "--yes"], "not registered"),
        (["full-load", "sitemap", "--yes"], "sitemap is not an entity"),
    ],
)
def test_refused(simpplr: Emulator, tmp_path: Path, words: list[str], message: str) -> None:
    """What makes no sense is refused here, with the nearest names, and nothing is posted."""
    done = call(simpplr, tmp_path, *words)
    assert done.exit_code in {1, 2}
    assert message in done.output
    assert simpplr.count("register") + simpplr.count("full load") == 0


def test_full_load(simpplr: Emulator, tmp_path: Path) -> None:
    """A full load is asked for with ``--yes`` only."""
    simpplr.schedule.exports["user"].full = False
    done = call(simpplr, tmp_path, "full-load", "user")
    assert "user: the next weekly file has all rows" in done.stdout
    assert simpplr.count("full load") == 0
    assert call(simpplr, tmp_path, "full-load", "user", "--yes").exit_code == 0
    assert simpplr.schedule.exports["user"].full


def test_others_stay(simpplr: Emulator, tmp_path: Path) -> None:
    """An entity that is registered and not documented is neither dropped nor refused."""
    simpplr.schedule.exports["polls"] = simpplr.schedule.exports["user"]
    done = call(simpplr, tmp_path, "registrations", "add", "site", "polls", "--yes")
    assert "polls" in done.stdout
    (body,) = (json.loads(r.body) for r in simpplr.requests if r.route == "register")
    assert set(body["entityList"]) == {"user", "content", "polls", "site"}


def test_odd_list(simpplr: Emulator, tmp_path: Path) -> None:
    """Frequencies may be in capitals, and flags text or numbers: nothing else changes."""
    items = [
        {"entity": "User", "is_active": True, "frequency": "Weekly"},
        {"entity": "feed", "is_active": "false", "frequency": "daily"},
        {"entity": "file", "is_active": 0, "frequency": "daily"},
        {"entity": "theme", "is_active": "True", "frequency": "weekly"},
        {"entity": "polls", "is_active": 1, "frequency": "weekly"},
    ]
    body = json.dumps({"result": {"listOfItems": items, "nextPageToken": ""}})
    simpplr.fail("list", status=200, body=body, times=None)
    done = call(simpplr, tmp_path, "registrations", "add", "site")
    kept = ["  User (weekly)", "  theme (weekly)", "  polls (weekly)"]
    assert done.stdout.splitlines() == ["+ site (weekly)", *kept]


@pytest.mark.parametrize("first", ["user_login_events", "user logins"])
@pytest.mark.parametrize(
    ("words", "posted"),
    [
        (["add", "site", "user logins"], ["feed", "user_login_events", "site"]),
        (["add", "user-logins", "site"], ["site", "feed", "user_login_events"]),
        (["remove", "user logins"], ["feed"]),
        (["remove", "user_login_events"], ["feed"]),
        (["set", "user logins"], ["user_login_events"]),
    ],
)
def test_two_spellings(
    simpplr: Emulator, tmp_path: Path, first: str, words: list[str], posted: list[str]
) -> None:
    """An entity that is listed in two spellings is the active one, wherever it is in the list."""
    items = [
        {"entity": "feed", "is_active": True, "frequency": "daily"},
        {"entity": "user_login_events", "is_active": True, "frequency": "daily"},
        {"entity": "user logins", "is_active": False, "frequency": "daily"},
    ]
    items = sorted(items, key=lambda item: item["entity"] == first)
    body = json.dumps({"result": {"listOfItems": items, "nextPageToken": ""}})
    simpplr.fail("list", status=200, body=body, times=None)
    simpplr.fail("register", status=200, body="{}")
    done = call(simpplr, tmp_path, "registrations", *words, "--yes")
    assert done.exit_code == 0, done.output
    (sent,) = (json.loads(r.body) for r in simpplr.requests if r.route == "register")
    assert sorted(sent["entityList"]) == sorted(posted)


@pytest.mark.parametrize("words", [["add", "user"], ["remove", "site"], ["set", "feed", "user"]])
def test_nothing_changes(simpplr: Emulator, tmp_path: Path, words: list[str]) -> None:
    """A list that stays as it is is not posted, whatever its frequencies."""
    items = [
        {"entity": "user", "is_active": True, "frequency": "weekly"},
        {"entity": "feed", "is_active": True, "frequency": "daily"},
    ]
    body = json.dumps({"result": {"listOfItems": items, "nextPageToken": ""}})
    simpplr.fail("list", status=200, body=body, times=None)
    done = call(simpplr, tmp_path, "registrations", *words, "--yes")
    assert (done.exit_code, done.stdout, simpplr.count("register")) == (0, "", 0)


@pytest.mark.parametrize("frequency", ["hourly", None])
def test_unknown_frequency(simpplr: Emulator, tmp_path: Path, frequency: str | None) -> None:
    """A list with an unknown frequency is posted with ``--frequency`` only, or to end it."""
    items = [
        {"entity": "user", "is_active": True, "frequency": "weekly"},
        {"entity": "feed", "is_active": True, "frequency": frequency},
    ]
    body = json.dumps({"result": {"listOfItems": items, "nextPageToken": ""}})
    simpplr.fail("list", status=200, body=body, times=None)
    for words in (["add", "site"], ["remove", "user"], ["set", "user"]):
        done = call(simpplr, tmp_path, "registrations", *words, "--yes")
        assert (done.exit_code, simpplr.count("register")) == (1, 0)
        assert repr(frequency or "") in done.output
        assert "--frequency" in done.output
    given = ("add", "site", "--frequency", "daily", "--yes")
    assert call(simpplr, tmp_path, "registrations", *given).exit_code == 0
    assert call(simpplr, tmp_path, "registrations", "disable", "--yes").exit_code == 0
    assert simpplr.count("register") == 2


@pytest.mark.parametrize(
    ("words", "failure", "hint"),
    [
        (["registrations", "add", "site", "--yes"], ("register", 500), "may have been replaced"),
        (["registrations", "add", "site", "--yes"], ("register", 429), "run again later"),
        (["full-load", "user", "--yes"], ("full load", 503), "may have been queued"),
        (["registrations"], ("list", 500), "run again later"),
        (["registrations"], ("token", 503), "run again later"),
    ],
)
def test_hint_after_a_failure(
    simpplr: Emulator, tmp_path: Path, words: list[str], failure: tuple[str, int], hint: str
) -> None:
    """A post that failed midway is not repeated: it may have been carried out, as the hint says.

    No hint speaks of a state, which these commands do not have.
    """
    route, status = failure
    simpplr.fail(route, status=status, times=None)
    done = call(simpplr, tmp_path, *words, max_retries=0)
    assert (done.exit_code, simpplr.count(route)) == (1, 1)
    assert hint in done.output
    assert "the state is kept" not in done.output


def test_token_is_renewed(simpplr: Emulator, tmp_path: Path) -> None:
    """A token that is refused is renewed once; a second refusal is an error."""
    simpplr.fail("list", status=401)
    assert call(simpplr, tmp_path, "registrations").exit_code == 0
    assert simpplr.count("token") == 2
    simpplr.fail("list", status=401, times=None)
    done = call(simpplr, tmp_path, "registrations")
    assert (done.exit_code, "client_secret" in done.output) == (1, True)


@pytest.mark.parametrize("before", [0, 385, 395])
def test_secret_in_a_long_answer(simpplr: Emulator, tmp_path: Path, before: int) -> None:
    """A secret within the API's words is redacted, also where these are cut off."""
    secret = str(simpplr.settings["client_secret"])
    simpplr.fail("list", status=403, body=f"{'y' * before}{secret} and more", times=None)
    done = call(simpplr, tmp_path, "registrations")
    assert done.exit_code == 1
    assert "answered 403" in done.output
    assert secret[:4] not in done.output


def test_scope(simpplr: Emulator, tmp_path: Path) -> None:
    """A scope that may not write is named, and nothing is tried again."""
    simpplr.scope = "read"
    done = call(simpplr, tmp_path, "registrations", "add", "site", "--yes")
    assert done.exit_code == 1
    assert "403" in done.output
    assert "set scope to write or everything" in done.output
    assert simpplr.count("register") == 1


@pytest.mark.parametrize(
    "body",
    [
        {"result": {"listOfItems": [], "nextPageToken": "1"}},
        {"result": {}},
        {"result": {"listOfItems": [{}]}},
        {"result": {"listOfItems": [{"entity": "user", "frequency": "daily"}]}},
        {"result": {"listOfItems": [{"entity": "user", "is_active": None}]}},
        {"result": {"listOfItems": [{"entity": "user", "is_active": "yes"}]}},
        {"result": {"listOfItems": [{"entity": "user", "is_active": 2}]}},
    ],
    ids=["pages without end", "no list", "no entity", "no flag", "null", "text", "number"],
)
def test_incomplete_list(simpplr: Emulator, tmp_path: Path, body: dict[str, Any]) -> None:
    """Nothing is posted unless the list was read to its end."""
    simpplr.fail("list", status=200, body=json.dumps(body), times=None)
    done = call(simpplr, tmp_path, "registrations", "add", "site", "--yes")
    assert done.exit_code == 1
    assert simpplr.count("register") == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"api_url": None}, "api_url"),
        ({"client_secret": None}, "client_secret"),
        ({"api_url": "http://example.org/v1"}, "https"),
        ({"client_secret": "wrong"}, "check client_id"),
    ],
)
def test_settings(simpplr: Emulator, tmp_path: Path, more: dict[str, Any], message: str) -> None:
    """What the API needs is named; the secret is not shown."""
    done = call(simpplr, tmp_path, "registrations", **more)
    assert done.exit_code == 1
    assert message in done.output
    assert "emulated-secret" not in done.output


def test_redirect(simpplr: Emulator, tmp_path: Path) -> None:
    """A redirect to another host is not followed: the token is for the API alone."""
    simpplr.fail("list", status=302, headers={"Location": "http://localhost:9/elsewhere"})
    done = call(simpplr, tmp_path, "registrations")
    assert "302" in done.output
