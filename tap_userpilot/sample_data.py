"""A small product whose users do things all day: the events that Userpilot collects of them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from tap_userpilot.documented import EVENT_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

APP: Final = "NX-emulated"
_SOURCES = ("web-client", "backend-http", "backend-segment")
_PAGES = ("/", "/settings", "/reports/weekly", "/users/Zoë", '/search?q="a, b"')
# Numbers in forms that a parser would rewrite, and one attribute with several types.
_ATTRIBUTES = (
    '"price":1.10',
    '"total":1E5',
    '"account":123456789012345678901234567890',
    '"plan":"pro"',
    '"plan":3',
    '"plan":{"name":"pro","seats":[1, 2]}',
    '"note":"two\\nlines, \\"quoted\\""',
    '"tags":["a",null,true]',
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a user did.

    Attributes:
        at: When, in UTC.
        members: Member → value, without ``inserted_at``, ``metadata`` and the id.
        metadata: The attributes as JSON.
    """

    at: datetime
    members: dict[str, Any]
    metadata: str = "{}"


def events_of(day: date, count: int, seed: int = 0) -> Iterator[Event]:
    """The events of a UTC day, in order of time; some at the same microsecond."""
    chance = random.Random(f"{seed}/{day}")  # noqa: S311 - sample data
    start = datetime.combine(day, time(), UTC)
    moment = start
    for number in range(count):
        if number == 0 or chance.random() > 0.02:
            span = timedelta(days=1) / max(1, count)
            moment = start + number * span + timedelta(microseconds=chance.randrange(900))
        yield _event(moment, chance)


def _event(moment: datetime, chance: random.Random) -> Event:
    """An event at a time."""
    kind = chance.choice(EVENT_TYPES)
    user = f"{chance.randrange(500):05}"
    members: dict[str, Any] = {
        "app_token": APP,
        "event_type": kind,
        "event_name": _name(kind, chance),
        "user_id": user,
        "company_id": str(int(user) % 40),
        "source": chance.choice(_SOURCES),
        "session": str(chance.randrange(10**9)),
    }
    if members["source"] == "web-client":
        members |= {
            "hostname": "app.example.com",
            "pathname": chance.choice(_PAGES),
            "browser": chance.choice(["Chrome", "Firefox"]),
            "country_code": chance.choice(["DE", "US", "JO"]),
            "screen_width": chance.choice([1440, 1920]),
            "screen_height": 900,
        }
    attributes = chance.sample(_ATTRIBUTES, chance.randrange(4))
    names = {text.partition(":")[0]: text for text in attributes}
    return Event(moment, members, f"{{{', '.join(names.values())}}}")


def _name(kind: str, chance: random.Random) -> str | None:
    """The name of an event, which depends on its type."""
    names = {
        "track": lambda: chance.choice(["Clicked Save", "Invited, a user", "007"]),
        "track_feature": lambda: str(chance.randrange(1, 90)),
        "interaction": lambda: f"checklist:{chance.randrange(9)}:SEEN",
    }
    return names[kind]() if kind in names else ""


def lookups(seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Lookup → its rows; ids are numbers in some, text in others."""
    chance = random.Random(f"{seed}/lookups")  # noqa: S311 - sample data
    properties = [
        {
            "id": number if number % 2 else str(number),
            "type": "user",
            "key": key,
            "display_name": key.title(),
            "data_type": "string",
            "is_auto_property": number < 3,
        }
        for number, key in enumerate(("email", "plan", "role", "007"), start=1)
    ]
    named = [{"id": number, "title": f"Number {number}"} for number in range(1, 6)]
    modules = [{"id": 1, "order": 0, "type": "nps", "question": 'How "likely"?'}]
    return {
        "user_properties": properties,
        "company_properties": [{**row, "type": "company"} for row in properties],
        "features_events": [
            {"display_name": f"Feature {n}", "key": str(n), "data_type": "feature"}
            for n in range(1, 20)
        ],
        "events_properties": [_property(number, chance) for number in range(-2, 120)],
        "segments": [
            {
                "id": number,
                "title": f"Segment {number}",
                "usage": {"flows": number},
                "category": None,
                "is_hidden": False,
                "is_protected": number == 1,
                "status": "active",
            }
            for number in range(1, 62)
        ],
        "flows": named,
        "banners": named[:2],
        "spotlights": [],
        "surveys": [{**row, "platform": "web", "modules": modules} for row in named[:3]],
        "resource_center_modules": [{"display_name": "Help", "key": "help", "data_type": "link"}],
        "checklists": [{"id": 2, "title": "Start", "tasks": [{"id": 7, "title": "First"}]}],
    }


def _property(number: int, chance: random.Random) -> dict[str, Any]:
    """A property of events."""
    seen = datetime(2024, 9, 29, 13, 11, 32, tzinfo=UTC) + timedelta(minutes=chance.randrange(999))
    owner = {"display_name": "All events", "id": None}
    if number > 0:
        owner = {"display_name": f"Event {number % 7}", "id": str(number % 7)}
    return {
        "category": None,
        "data_type": "string",
        "description": None,
        "display_name": f"Property {number}",
        "event": owner,
        "id": str(number),
        "inserted_at": "2023-08-16T09:22:44+03:00",
        "is_archived": False,
        "is_auto_property": number <= 0,
        "key": f"property_{number}",
        "last_seen": seen.isoformat(),
    }


def as_text(row: dict[str, Any]) -> str:
    """A row as JSON."""
    return json.dumps(row, ensure_ascii=False)
