"""The Singer tap: settings, command line and discovery."""

from __future__ import annotations

import logging
import signal
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click
from singer_sdk import Tap
from singer_sdk import typing as th
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.plugin_base import SingerCommand

from tap_firstup_dde.client import REGIONS, FirstupTransport, connect
from tap_firstup_dde.documented import ADDED, KEYS
from tap_firstup_dde.exportlib.exceptions import ExportError
from tap_firstup_dde.exportlib.extract import Spool
from tap_firstup_dde.exportlib.http import is_secure
from tap_firstup_dde.exportlib.models import parse_generation
from tap_firstup_dde.exportlib.schema import TYPES
from tap_firstup_dde.streams import ExportStream

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.singerlib.encoding.simple import Message


class LinesWriter(MsgSpecWriter):
    """Writes messages, and blocks of messages that are lines already."""

    @override
    def write_message(self, message: Message | bytes) -> None:
        if isinstance(message, bytes):
            sys.stdout.buffer.write(message)
        else:
            super().write_message(message)


class TapCommand(SingerCommand):
    """The tap's command line; a foreseen error ends it with one line and status 1."""

    @override
    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except ConfigValidationError as error:
            message = "settings: " + "; ".join(error.errors)
        except ExportError as error:
            message = str(error)
        except ValueError as error:
            # The SDK reads JSON by json or by simplejson; both tell which document.
            if not hasattr(error, "doc"):
                raise
            message = f"a settings, state or catalog file is not JSON: {error}"
        self.logger.error(message)
        sys.exit(1)

    @override
    def invoke(self, ctx: click.Context) -> Any:
        # The SDK's own way tells of wrong settings in several lines; main needs one.
        logging.captureWarnings(capture=True)
        sys.excepthook = self.excepthook
        return click.Command.invoke(self, ctx)


def _settings() -> dict[str, Any]:
    """The JSON Schema of the tap's settings."""
    per_stream = {"type": ["object", "null"], "propertyNames": {"enum": list(KEYS)}}
    return th.PropertiesList(
        th.Property(
            "region",
            th.StringType,
            default="us1",
            allowed_values=list(REGIONS),
            title="Region",
            description="Where the program lives; picks api_url and auth_url.",
        ),
        th.Property(
            "api_url",
            th.URIType,
            title="API URL",
            description="Base of the API, without /v2; overrides the region's.",
        ),
        th.Property(
            "auth_url",
            th.URIType,
            title="Authorisation URL",
            description="Base of the authorisation server; overrides the region's.",
        ),
        th.Property(
            "client_id",
            th.StringType,
            secret=True,
            title="Client ID",
            description="OAuth client, from Firstup.",
        ),
        th.Property(
            "client_secret",
            th.StringType,
            secret=True,
            title="Client secret",
            description="Secret of the OAuth client.",
        ),
        th.Property(
            "scope",
            th.StringType,
            title="Scope",
            description="Sent with the token request only when set.",
        ),
        th.Property(
            "access_token",
            th.StringType,
            secret=True,
            title="Access token",
            description="A ready token, instead of client credentials.",
        ),
        th.Property(
            "start_date",
            th.DateTimeType,
            title="Start date",
            description="Export files generated before it are never read.",
        ),
        th.Property(
            "lookback_days",
            th.IntegerType(minimum=0, maximum=36500),
            default=14,
            title="Lookback",
            description="Days after the bookmark in which a late file is still picked up.",
        ),
        th.Property(
            "primary_keys",
            th.CustomType(
                {
                    **per_stream,
                    "additionalProperties": {
                        "type": "array",
                        "items": {"type": "string"},
                        "minItems": 1,
                    },
                }
            ),
            title="Primary keys",
            description="Stream → list of columns that replace the stream's key.",
        ),
        th.Property(
            "column_types",
            th.CustomType(
                {
                    **per_stream,
                    "additionalProperties": {
                        "type": "object",
                        "additionalProperties": {"enum": list(TYPES)},
                    },
                }
            ),
            title="Column types",
            description="Stream → column → type, instead of the inferred one: "
            + ", ".join(TYPES)
            + ".",
        ),
        th.Property(
            "request_timeout",
            th.NumberType(exclusive_minimum=0),
            default=60,
            title="Request timeout",
            description="Seconds that one socket operation may take.",
        ),
        th.Property(
            "max_retries",
            th.IntegerType(minimum=0),
            default=5,
            title="Retries",
            description="How often one request is tried again.",
        ),
        th.Property(
            "spool_dir",
            th.StringType,
            title="Spool folder",
            description="Where a download is kept while it is read; "
            "the system's temporary folder unless set.",
        ),
    ).to_dict()


class TapFirstupDDE(Tap):
    """Singer tap for Firstup Direct Data Export v2."""

    name = "tap-firstup-dde"
    package_name = "tap-firstup-dde"
    config_jsonschema: ClassVar[dict[str, Any]] = _settings()
    dynamic_catalog = True
    message_writer_class = LinesWriter
    # No activate-version: Firstup keeps files for days, a warehouse keeps their rows.
    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        TapCapabilities.CATALOG,
        TapCapabilities.STATE,
        TapCapabilities.DISCOVER,
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.BATCH,
        PluginCapabilities.STRUCTURED_LOGGING,
    ]

    @cached_property
    def transport(self) -> FirstupTransport:
        """Where the export files come from."""
        return connect(self.config)

    @cached_property
    def spool(self) -> Spool:
        """Where downloads are kept while they are read."""
        folder = self.config.get("spool_dir")
        return Spool(Path(folder) if folder else None, self.config["max_retries"])

    @override
    def discover_streams(self) -> Sequence[ExportStream]:
        return [ExportStream(self, name) for name in KEYS]

    @override
    def run_discovery(self) -> str:
        for stream in self.streams.values():
            if isinstance(stream, ExportStream):
                stream.discover()
        return super().run_discovery()

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        try:
            errors = super()._validate_config(raise_errors=raise_errors)
        except ConfigValidationError as error:
            errors = error.errors
        errors = [_without_secrets(e, self.config) for e in errors] or _faults(self.config)
        if errors and raise_errors:
            msg = "the settings cannot be used"
            raise ConfigValidationError(msg, errors=errors, schema=self.config_jsonschema)
        return errors

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        # The SDK writes STATE, perhaps into the middle of a line, and exits with 0: a run that
        # was cut off would look finished. The last STATE that went out stands as it is.
        self.logger.error("stopped by %s; run again to go on", signal.Signals(signum).name)
        sys.exit(128 + signum)

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        # Without a file the environment is all there is.
        try:
            return super().cb_config(ctx, param, value or ("ENV",))
        except OSError:
            msg = f"no settings file {' '.join(value)}"
            raise ConfigValidationError(msg, errors=[f"{msg}; check --config"]) from None

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        command = super().get_singer_command()
        return TapCommand(
            name=command.name,
            callback=command.callback,
            params=command.params,
            context_settings=command.context_settings,
            help=command.help,
            logger=cls.logger,
        )


def _faults(config: Mapping[str, Any]) -> list[str]:
    """What is wrong with settings that have the right types; each with what to do."""
    faults = []
    has_client = config.get("client_id") and config.get("client_secret")
    if not has_client and not config.get("access_token"):
        faults.append(
            "no credentials: set client_id and client_secret (or access_token) as Firstup gave them"
        )
    faults += [
        f"{name} is not an https URL (http is for loopback hosts only)"
        for name in ("api_url", "auth_url")
        if config.get(name) and not is_secure(config[name])
    ]
    start, folder = config.get("start_date"), config.get("spool_dir")
    if start and not _is_time(start):
        faults.append(f"start_date {start!r} is not a time; write it like 2026-05-14T00:00:00Z")
    if folder and not Path(folder).is_dir():
        faults.append(f"spool_dir {folder!r} is not a folder; create it or unset it")
    maps = config.get("stream_maps") or config.get("flattening_enabled")
    if maps and config.get("batch_config"):
        faults.append(
            "batch_config cannot be used with stream_maps or flattening: "
            "batch files would hold unmapped rows; unset one of them"
        )
    return faults + [
        f"column_types.{stream}: {name} is added by the tap; leave it out"
        for stream, types in (config.get("column_types") or {}).items()
        for name in types
        if name in ADDED
    ]


def _is_time(text: str) -> bool:
    """Whether *text* is a time as settings take it."""
    try:
        parse_generation(text)
    except ValueError:
        return False
    return True


def _without_secrets(message: str, config: Mapping[str, Any]) -> str:
    """*message* with every secret setting's value struck out."""
    for name in ("client_id", "client_secret", "access_token"):
        if config.get(name):
            message = message.replace(repr(config[name]), "***")
    return message
