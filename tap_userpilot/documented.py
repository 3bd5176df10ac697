"""What Userpilot documents about its events and lookups.

Source: Userpilot's Help Center, "Bulk Data Export API" and "Event data schema".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from filetap.columns.added import EVENT_KEY, HASH_KEY
from filetap.vendor import Documented, StreamSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENTS: Final = "events"
EVENT_ID: Final = "internal_event_id"
INSERTED_AT: Final = "inserted_at"
METADATA: Final = "metadata"
EVENT_TYPES: Final = (
    "identify_user",
    "identify_company",
    "page_view",
    "track",
    "track_feature",
    "interaction",
    "session_start",
)
"""All types; without a filter, the last one may be left out."""

IDENTITY: Final = ("app_token", "event_type", "event_name", "user_id", "company_id", INSERTED_AT)
"""The columns that identify an event where it has no id."""

_EVENT_COLUMNS: Final = {
    **dict.fromkeys(
        ("app_token", "event_type", "event_name", "user_id", "company_id", "source"), "string"
    ),
    INSERTED_AT: "date-time",
    EVENT_ID: "string",
    **dict.fromkeys(
        (
            "hostname",
            "pathname",
            "device_type",
            "user_agent",
            "operating_system",
            "browser",
            "browser_language",
            "country_code",
        ),
        "string",
    ),
    "screen_width": "integer",
    "screen_height": "integer",
    "session": "string",
    METADATA: "object",
}
_LOOKUP_COLUMNS: Final = {
    "id": "string",
    "key": "string",
    "display_name": "string",
    "title": "string",
    "type": "string",
    "data_type": "string",
    "category": "string",
    "description": "string",
    "status": "string",
    "platform": "string",
    "event_id": "string",
    "event": "object",
    "modules": "array",
    "is_auto_property": "boolean",
    "is_mobile_auto_property": "boolean",
    "is_archived": "boolean",
    "is_hidden": "boolean",
    "is_protected": "boolean",
    "inserted_at": "date-time",
    "last_seen": "date-time",
}
_OF_LOOKUP: Final[Mapping[str, tuple[str, ...]]] = {
    "user_properties": ("id", "type", "key", "display_name", "data_type", "is_auto_property"),
    "company_properties": ("id", "type", "key", "display_name", "data_type", "is_auto_property"),
    "features_events": ("display_name", "key", "data_type"),
    "events_properties": (
        "id",
        "event_id",
        "key",
        "display_name",
        "data_type",
        "category",
        "description",
        "event",
        "is_archived",
        "is_auto_property",
        "is_mobile_auto_property",
        "inserted_at",
        "last_seen",
    ),
    "segments": ("id", "title", "category", "is_hidden", "is_protected", "status"),
    "flows": ("id", "title"),
    "banners": ("id", "title"),
    "spotlights": ("id", "title"),
    "surveys": ("id", "title", "platform", "modules"),
    "resource_center_modules": ("display_name", "key", "data_type"),
    "checklists": ("display_name", "key", "data_type"),
}
LOOKUPS: Final = tuple(_OF_LOOKUP)
_KEYS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "features_events": (("key",), ("id",)),
    # A property may belong to several events.
    "events_properties": (("id",), ("id", "event_id")),
    "resource_center_modules": (("key",), ("id",), HASH_KEY),
    "checklists": (("key",), ("id",), HASH_KEY),
}
"""The keys to choose from; the last one where rows have none of the others."""


def _is_text(column: str) -> bool:
    """True for columns that hold ids, names or a customer's text."""
    return column.endswith("_id") or _LOOKUP_COLUMNS.get(column) == "string"


def _assumed(column: str) -> str:
    """The type of a lookup's column that has no values yet."""
    return _LOOKUP_COLUMNS.get(column, "string")


def lookup_keys(lookup: str) -> tuple[tuple[str, ...], ...]:
    """The keys that rows of a lookup may have, the best first."""
    return _KEYS.get(lookup, (("id",), ("key",)))


def _lookup(name: str) -> StreamSpec:
    """What is known of a lookup: examples."""
    keys = lookup_keys(name)
    documented = Documented(
        {column: _LOOKUP_COLUMNS[column] for column in _OF_LOOKUP[name]},
        assume=_assumed,
        named_text=_is_text,
        nested=True,
        open=True,
    )
    usual = keys[-1] if keys[-1] == HASH_KEY else keys[0]
    choices = tuple(key for key in keys if key != HASH_KEY)
    return StreamSpec(name, usual, documented, choices, full_table=True)


_EVENT_TEXT: Final = frozenset(c for c, kind in _EVENT_COLUMNS.items() if kind == "string")
STREAMS: Final[Mapping[str, StreamSpec]] = {
    EVENTS: StreamSpec(
        EVENTS,
        EVENT_KEY,
        Documented(
            _EVENT_COLUMNS,
            _EVENT_TEXT,
            fixed=True,
            nested=True,
            identity=IDENTITY,
            order=METADATA,
            required=frozenset({EVENT_ID}),
        ),
        choices=((EVENT_ID,),),
        repeats=True,
        times=(INSERTED_AT,),
    ),
    **{name: _lookup(name) for name in LOOKUPS},
}
