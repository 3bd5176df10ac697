"""What the engine needs to know about HookBridge."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from filetap.redaction import SECRECY
from filetap.setting_schema import SECRET, job_settings, setting
from filetap.transports.http import is_secure
from filetap.transports.oauth import is_token
from filetap.vendor import Hints, Vendor
from tap_hookbridge.api import HookBridgeTransport
from tap_hookbridge.client import Connection
from tap_hookbridge.documented import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

API_URL: Final = "https://api.hookbridge.io"
_DEFAULTS = Connection("", "")

_SETTINGS: Mapping[str, Any] = {
    "api_key": setting(
        "string", "API key", "Key of one project: hb_live_… or hb_test_….", **SECRET
    ),
    "api_url": setting(
        "string", "API URL", "Base of the API, without /v1.", default=API_URL, format="uri"
    ),
    "start_date": setting(
        "string",
        "Start date",
        "Messages created before it are never requested; the first run needs it.",
        format="date-time",
    ),
    "window_hours": setting(
        "integer",
        "Window",
        "Hours of messages in one export, cut at fixed times in UTC.",
        default=int(_DEFAULTS.window / timedelta(hours=1)),
        minimum=1,
        maximum=24 * 366,
    ),
    "settle_minutes": setting(
        "integer",
        "Settle time",
        "Messages younger than that, by the API's clock, are left to the next run.",
        default=int(_DEFAULTS.settle / timedelta(minutes=1)),
        minimum=0,
        maximum=24 * 60,
    ),
    "status_lookback_days": setting(
        "integer",
        "Status lookback",
        "Messages change their status later: each run reads windows this many days before the "
        "bookmark again.",
        default=_DEFAULTS.lookback.days,
        minimum=0,
        maximum=36500,
    ),
    "lookback_days": setting(
        "integer",
        "Lookback",
        "The same as status_lookback_days, of which the larger one counts.",
        default=0,
        minimum=0,
        maximum=36500,
    ),
    **job_settings(),
}


def _source(config: Mapping[str, Any]) -> Connection:
    """How the API is reached, and what is requested."""
    key = _key(config)
    SECRECY.guard([key])  # without what was pasted before it
    return Connection(
        (config.get("api_url") or API_URL).rstrip("/").removesuffix("/v1"),
        key,
        timedelta(hours=_number(config, "window_hours")),
        timedelta(minutes=_number(config, "settle_minutes")),
        timedelta(days=_number(config, "status_lookback_days")),
    )


def _number(config: Mapping[str, Any], name: str) -> int:
    """A number among the settings, or its default."""
    value = config.get(name)
    return int(_SETTINGS[name]["default"] if value is None else value)


def _key(config: Mapping[str, Any]) -> str:
    """The key, without what is often pasted around it."""
    text = (config.get("api_key") or "").strip()
    return text[7:].strip() if text[:7].lower() == "bearer " else text


def _faults(config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with HookBridge's own settings."""
    key, url = _key(config), config.get("api_url")
    if not key:
        yield "no api_key: set it to the key of a project (hb_live_… or hb_test_…)"
    elif not is_token(key):
        yield "api_key contains spaces or characters that no key has"
    if url and not is_secure(url):
        yield "api_url is not an https URL (http is for loopback hosts only)"
    if set(url or "") & set("@?#"):
        yield "api_url must not contain a login, query or fragment; the key has its own setting"


HOOKBRIDGE: Final = Vendor(
    name="HookBridge",
    program="tap-hookbridge",
    tool="hookbridge-exports",
    streams=STREAMS,
    settings=_SETTINGS,
    source=_source,
    connect=HookBridgeTransport,
    faults=_faults,
    hints=Hints(
        gone="the export has expired: the next run requests another one",
        gap="exports are made on request, so nothing is lost",
        empty="no export can be downloaded now; a run of the tap requests them",
        old="a run of the tap requests new exports",
    ),
    account="project",
    # By the example in HookBridge's documentation.
    retention=timedelta(days=7),
    distribution="tap-firstup-dde",
    lookback_days=0,
)
