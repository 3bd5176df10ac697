"""What the engine needs to know about Simpplr."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from filetap.setting_checks import folder_of
from filetap.setting_schema import SECRET, folder_setting, setting
from filetap.settings import Folder
from filetap.transports.http import is_secure
from filetap.vendor import Hints, Vendor
from tap_simpplr.delivered import STREAMS, folder_transport, newest, others, unsettled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from filetap.settings import Settings
    from filetap.transports.folder_dated import DatedFolderTransport

FULL_LOAD: Final = "simpplr-exports full-load asks for complete files"

_SETTINGS: Mapping[str, Any] = {
    "null_values": setting(
        "array",
        "Null values",
        r"Texts that stand for null, quoted or not, such as `\N`. A cell that is empty without "
        "quotes always does; the default adds the quoted empty one, and `[]` keeps that as an "
        "empty text.",
        items={"type": "string"},
        default=[""],
    ),
    "api_url": setting(
        "string",
        "API URL",
        "Base of the API, such as https://platform.app.simpplr.com/v1; for simpplr-exports only.",
        format="uri",
    ),
    "auth_url": setting(
        "string",
        "Authorisation URL",
        "Where tokens are requested, if not at /identity/oauth/token of api_url; for "
        "simpplr-exports only.",
        format="uri",
    ),
    "client_id": setting(
        "string", "Client ID", "OAuth client; for simpplr-exports only.", **SECRET
    ),
    "client_secret": setting(
        "string",
        "Client secret",
        "Secret of the OAuth client; for simpplr-exports only.",
        **SECRET,
    ),
    "scope": setting(
        "string",
        "Scope",
        "`read`, `write` or `everything`, sent with the token request only when set; for "
        "simpplr-exports only.",
    ),
    "folder": {
        **folder_setting(),
        "description": (
            "Where Simpplr delivers: `url` (a folder, or an fsspec URL such as "
            "`sftp://user@host/exports` or `s3://bucket/path`; the folder that holds `exports`, "
            "the one of that name, the tenant's, or the one that holds the years) and `options` "
            "of its file system."
        ),
    },
}


def _source(config: Mapping[str, Any]) -> Folder:
    """The folder that files are delivered to; one without a URL if it is not set."""
    return folder_of(config) or Folder("")


def _connect(settings: Settings) -> DatedFolderTransport:
    """The transport of the folder."""
    return folder_transport(settings.source, settings.retries)


def _faults(config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with Simpplr's own settings."""
    if config.get("folder") is None:
        yield "no folder: set folder to the place that Simpplr delivers files to"
    yield from insecure(config)


def insecure(config: Mapping[str, Any]) -> Iterator[str]:
    """The URLs to which secrets would be sent as plain text."""
    for name in ("api_url", "auth_url"):
        if (url := config.get(name)) and not is_secure(url):
            yield f"{name} is not an https URL (http is for loopback hosts only)"


SIMPPLR: Final = Vendor(
    name="Simpplr",
    program="tap-simpplr",
    tool="simpplr-exports",
    streams=STREAMS,
    settings=_SETTINGS,
    source=_source,
    connect=_connect,
    faults=_faults,
    hints=Hints(
        gone=f"run more often; {FULL_LOAD}",
        gap=f"a daily run leaves no gap; {FULL_LOAD}",
        empty=(
            "is folder.url the folder that holds exports, the tenant's or the one that holds the "
            "years? simpplr-exports registrations lists what is exported"
        ),
        old="simpplr-exports registrations lists what is exported, and how often",
        lost=f"; {FULL_LOAD}",
    ),
    account="tenant",
    distribution="tap-firstup-dde",
    lookback_days=35,
    fingerprint="SHA256",
    newest=newest,
    unsettled=unsettled,
    others=others,
)
