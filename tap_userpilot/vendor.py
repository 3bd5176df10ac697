"""What the engine needs to know about Userpilot."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from filetap.redaction import SECRECY
from filetap.setting_schema import SECRET, job_settings, setting
from filetap.transports.http import is_secure
from filetap.vendor import Hints, Vendor
from tap_userpilot.api import Connection
from tap_userpilot.documented import EVENT_TYPES, EVENTS, METADATA, STREAMS
from tap_userpilot.exports import Source, UserpilotExports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from filetap.settings import Settings

_API_URL: Final = "https://appex.userpilot.io"
_TEXTS: Final = {"items": {"type": "string"}}
_FILTERS: Final = {"user_ids": "user_id", "company_ids": "company_id"}

_SETTINGS: Mapping[str, Any] = {
    "api_key": setting(
        "string",
        "API key",
        "Key of the environment, from Userpilot's Environment page; a leading `Token ` is removed.",
        **SECRET,
    ),
    "api_url": setting(
        "string", "API URL", "Base of the API, without a path.", format="uri", default=_API_URL
    ),
    "start_date": setting(
        "string",
        "Start date",
        "Events before it are never requested; the first run of events needs it.",
        format="date-time",
    ),
    "window_days": setting(
        "integer",
        "Window",
        "Days of events that one export job covers, at most.",
        default=28,
        minimum=1,
        maximum=366,
    ),
    "lookback_days": setting(
        "integer",
        "Lookback",
        "Days before the bookmark that are requested again, for events that arrive late.",
        default=3,
        minimum=0,
        maximum=36500,
    ),
    "settle_hours": setting(
        "integer",
        "Settling time",
        "Hours after its end at which a day (UTC) counts as whole.",
        default=3,
        minimum=0,
        maximum=720,
    ),
    "event_types": setting(
        "array",
        "Event types",
        f"Types of events to export: {', '.join(EVENT_TYPES)}; all unless set.",
        **_TEXTS,
    ),
    "user_ids": setting("array", "User IDs", "Export events of these users only.", **_TEXTS),
    "company_ids": setting(
        "array", "Company IDs", "Export events of these companies only.", **_TEXTS
    ),
    "segment_id": setting("string", "Segment ID", "Export events of this segment only."),
    "exclusions": setting(
        "boolean",
        "Exclusions",
        "Leave out the users and companies that are excluded in Userpilot.",
        default=False,
    ),
    "metadata": setting(
        "string",
        "Metadata",
        "What the column `metadata` is: an `object`, or a `string` with its JSON.",
        default="object",
        enum=["object", "string"],
    ),
    "job_wait": setting(
        "number string",  # the SDK leaves numbers from the environment text
        "Job wait",
        "Seconds to wait for other export jobs of the application, of which one at a time runs; 0 "
        "to fail at once.",
        default=3600,
        minimum=0,
        pattern=r"^[0-9]+(\.[0-9]+)?$",
    ),
    **job_settings(),
}


def _key(config: Mapping[str, Any]) -> str:
    """The API key, as it is sent."""
    key = str(config.get("api_key") or "").strip()
    scheme, _, rest = key.partition(" ")
    return rest.strip() if scheme.lower() == "token" else key


def _source(config: Mapping[str, Any]) -> Source:
    """What is read, out of validated settings."""
    key = _key(config)
    SECRECY.guard([key])
    filters: dict[str, Any] = {
        member: list(config[name]) for name, member in _FILTERS.items() if config.get(name)
    }
    if config.get("segment_id"):
        filters["segment_id"] = config["segment_id"]
    if config.get("exclusions"):
        filters["exclusions"] = True
    url = (config.get("api_url") or _API_URL).strip().rstrip("/")
    url = url.removesuffix("/analytics/exports").removesuffix("/api/v1")
    return Source(
        Connection(url, key),
        config["window_days"],
        config["settle_hours"],
        float(config["job_wait"]),
        filters,
        tuple(config.get("event_types") or ()),
    )


def _types(config: Mapping[str, Any]) -> Mapping[str, Mapping[str, str]]:
    """The types of columns that a setting of their own decides."""
    return {EVENTS: {METADATA: "string"}} if config.get("metadata") == "string" else {}


def _connect(settings: Settings) -> UserpilotExports:
    """The API."""
    return UserpilotExports(settings)


def _faults(config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with Userpilot's own settings."""
    key = _key(config)
    if not key:
        yield "api_key is not set: Userpilot's Environment page has it"
    elif not (key.isascii() and key.isprintable()) or " " in key:
        yield "api_key has characters that no key has: copy it again from the Environment page"
    url = (config.get("api_url") or _API_URL).strip()
    if not is_secure(url):
        yield "api_url is not an https URL (http is for loopback hosts only)"
    if set(url) & set("@?#"):
        yield "api_url must not contain a login, query or fragment; the key has its own setting"


USERPILOT: Final = Vendor(
    name="Userpilot",
    program="tap-userpilot",
    tool="userpilot-exports",
    streams=STREAMS,
    settings=_SETTINGS,
    source=_source,
    connect=_connect,
    faults=_faults,
    types=_types,
    hints=Hints(
        gone="run again: the days are asked for again",
        gap="a daily run leaves no gap",
        empty="export jobs are made by the tap; a run makes one",
        old="run the tap daily",
    ),
    account="application",
    retention=timedelta(days=2),
    distribution="tap-firstup-dde",
    lookback_days=3,
)
