"""What the engine needs to know about Firstup."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from filetap.setting_checks import folder_of
from filetap.setting_schema import SECRET, folder_setting, setting
from filetap.settings import Folder
from filetap.transports.http import is_secure
from filetap.transports.oauth import is_token
from filetap.vendor import Hints, Vendor
from tap_firstup_dde.api import (
    GONE_HINT,
    REGIONS,
    REQUESTS_PER_MINUTE,
    Connection,
    FirstupTransport,
)
from tap_firstup_dde.delivered import folder_transport
from tap_firstup_dde.documented import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from filetap.files import Transport
    from filetap.settings import Settings

_SETTINGS: Mapping[str, Any] = {
    "region": setting(
        "string",
        "Region",
        "Where the program is hosted; selects api_url and auth_url.",
        default="us1",
        enum=list(REGIONS),
    ),
    "api_url": setting(
        "string",
        "API URL",
        "Base of the API, without /v2; overrides the region's.",
        format="uri",
    ),
    "auth_url": setting(
        "string",
        "Authorisation URL",
        "Base of the authorisation server; overrides the region's.",
        format="uri",
    ),
    "client_id": setting("string", "Client ID", "OAuth client, from Firstup.", **SECRET),
    "client_secret": setting("string", "Client secret", "Secret of the OAuth client.", **SECRET),
    "scope": setting("string", "Scope", "Sent with the token request only when set."),
    "access_token": setting(
        "string", "Access token", "A ready-made token, instead of client credentials.", **SECRET
    ),
    "requests_per_minute": setting(
        "integer",
        "Requests per minute",
        "Requests to the API in any minute, at most; Firstup allows 1,000 for each program.",
        default=REQUESTS_PER_MINUTE,
        minimum=1,
    ),
    "folder": folder_setting("program"),
}


def _source(config: Mapping[str, Any]) -> Folder | Connection:
    """The folder if one is set, otherwise the API."""
    if folder := folder_of(config, "program"):
        return folder
    api_url, auth_url = REGIONS[config.get("region") or "us1"]
    return Connection(
        api_url=(config.get("api_url") or api_url).rstrip("/").removesuffix("/v2"),
        auth_url=(config.get("auth_url") or auth_url).rstrip("/"),
        region=config.get("region") or "",
        # Secrets read from files often end with a newline.
        client_id=(config.get("client_id") or "").rstrip("\r\n"),
        client_secret=(config.get("client_secret") or "").rstrip("\r\n"),
        scope=(config.get("scope") or "").strip(),
        access_token=(config.get("access_token") or "").strip(),
        requests_per_minute=config.get("requests_per_minute") or REQUESTS_PER_MINUTE,
    )


def _connect(settings: Settings) -> Transport:
    """The transport of the API, or of a folder."""
    if isinstance(settings.source, Folder):
        return folder_transport(settings.source, settings.retries)
    return FirstupTransport(settings.source, settings.timeout, settings.retries)


def _faults(config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with Firstup's own settings."""
    has_client = config.get("client_id") and config.get("client_secret")
    if not has_client and not config.get("access_token") and config.get("folder") is None:
        yield (
            "no credentials: set client_id and client_secret (or access_token) from Firstup, or "
            "folder to read delivered files"
        )
    if (token := config.get("access_token")) and not is_token(token.strip()):
        yield "access_token contains spaces or characters that no token has"
    for name in ("api_url", "auth_url"):
        url = config.get(name)
        if url and not is_secure(url):
            yield f"{name} is not an https URL (http is for loopback hosts only)"
        if set(url or "") & set("@?#"):
            yield (
                f"{name} must not contain a login, query or fragment; credentials have their own "
                "settings"
            )


def _shadowed(config: Mapping[str, Any]) -> dict[str, str]:
    """Settings that are set but have no effect → the one that is used instead."""
    found = {}
    if config.get("access_token"):
        found = dict.fromkeys(("client_id", "client_secret"), "access_token")
    if config.get("folder"):
        found = dict.fromkeys(("client_id", "client_secret", "access_token"), "folder")
    return {name: winner for name, winner in found.items() if config.get(name)}


FIRSTUP = Vendor(
    name="Firstup",
    program="tap-firstup-dde",
    tool="firstup-dde",
    streams=STREAMS,
    settings=_SETTINGS,
    source=_source,
    connect=_connect,
    faults=_faults,
    shadowed=_shadowed,
    hints=Hints(
        gone=GONE_HINT,
        gap=(
            "a historical export in Creator Studio, which reaches 24 months back, fills such a "
            "gap; a run every few hours leaves none"
        ),
        empty=(
            "in Creator Studio, Configure > Insights > Recurring Data Connections must be set "
            "up; files appear after the first scheduled run that has data"
        ),
        old="check in Creator Studio that exports still run",
        lost=" unless a historical export brings them",
        accounts="; folder.program_id reads one only",
    ),
    account="program",
    # Firstup's knowledge base, "Direct Data Export": how long files can be downloaded.
    retention=timedelta(days=7),
)
