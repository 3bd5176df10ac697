"""The Singer tap: settings, command line and discovery."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click
from singer_sdk import Tap
from singer_sdk import typing as th
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.exceptions import (
    ConfigValidationError,
    MapExpressionError,
    StreamMapConfigError,
)
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.plugin_base import SingerCommand

from tap_firstup_dde.client import REGIONS, FirstupTransport, connect, is_token
from tap_firstup_dde.documented import ADDED, KEYS
from tap_firstup_dde.exportlib.exceptions import ExportError, StateError
from tap_firstup_dde.exportlib.extract import Spool
from tap_firstup_dde.exportlib.http import is_secure
from tap_firstup_dde.exportlib.models import STATE_HINT, parse_generation
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


class OutputError(ExportError):
    """Messages can no longer be written."""


class LinesWriter(MsgSpecWriter):
    """Writes messages, and blocks of messages that are lines already.

    Attributes:
        stopped_by: The signal that ends the run once the line on its way is whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopped_by: signal.Signals | None = None
        self._writing = False

    @override
    def write_message(self, message: Message | bytes) -> None:
        lines = message if isinstance(message, bytes) else self.format_message(message)
        if sys.stdout is None:
            msg = "stdout is closed"
            raise OutputError(msg, "pipe the tap into a target, or into a file")
        self._writing = True
        try:
            sys.stdout.buffer.write(lines)
            sys.stdout.buffer.flush()
        except OSError as error:
            # Nothing can be written any more, at the end of the process neither.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            msg = f"messages cannot be written: {error.strerror}"
            hint = "see the target's log; run again to go on from its last state"
            raise OutputError(msg, hint) from None
        finally:
            self._writing = False
        if self.stopped_by:
            self.stop(self.stopped_by)

    def stop(self, number: signal.Signals) -> None:
        """End the process with the signal's status: between lines, or at once if asked again."""
        if self._writing and not self.stopped_by:
            self.stopped_by = number
            return
        sys.exit(128 + number)


class TapCommand(SingerCommand):
    """The tap's command line; a foreseen error ends it with one line and status 1."""

    @override
    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            status = super().main(*args, **{**kwargs, "standalone_mode": False})
        except ConfigValidationError as error:
            message = "settings: " + "; ".join(error.errors)
        except (MapExpressionError, StreamMapConfigError) as error:
            message = f"stream_maps: {error} {error.__cause__ or ''}".strip()
        except ExportError as error:
            message = str(error)
        except click.ClickException as error:
            message = error.format_message()
        except ValueError as error:
            # The SDK reads JSON by json or by simplejson; both tell which document.
            if not hasattr(error, "doc"):
                raise
            message = f"a settings, state or catalog file is not JSON: {error}"
        else:
            sys.exit(status)
        self.logger.error("%s", message.replace("\n", " "))
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
            # The SDK leaves numbers from the environment text.
            th.CustomType(
                {
                    "type": ["number", "string", "null"],
                    "exclusiveMinimum": 0,
                    "pattern": r"^(?!0+(\.0+)?$)[0-9]+(\.[0-9]+)?$",
                }
            ),
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

    def __init__(self, *, state: Any = None, catalog: Any = None, **options: Any) -> None:
        """Take the replication method from a catalog's metadata as well: the SDK drops it.

        Raises:
            StateError: The state is not an object.
        """
        if not isinstance(state, dict | None):
            msg = "the state cannot be read: it is not an object"
            raise StateError(msg, STATE_HINT)
        for entry in catalog.get("streams", []) if isinstance(catalog, dict) else []:
            for item in entry.get("metadata", []):
                method = item.get("metadata", {}).get("replication-method")
                if method and not item.get("breadcrumb"):
                    entry.setdefault("replication_method", method)
        super().__init__(state=state, catalog=catalog, **options)

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
    def setup_mapper(self) -> None:
        # Not the SDK's: each stream registers its columns when they are known, an input
        # catalog that lacks some included.
        super(Tap, self).setup_mapper()

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        bookmarks = state.get("bookmarks", {})
        if not isinstance(bookmarks, dict) or not all(
            isinstance(bookmark, dict) for bookmark in bookmarks.values()
        ):
            msg = "the state cannot be read: it holds no bookmarks by stream"
            raise StateError(msg, STATE_HINT)
        super().load_state(state)

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
        number = signal.Signals(signum)
        self.logger.error("stopped by %s; run again to go on", number.name)
        if not isinstance(self.message_writer, LinesWriter):
            sys.exit(128 + number)
        self.message_writer.stop(number)

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        # Without a file the environment is all there is.
        sources = value or ("ENV",)
        if "ENV" in sources and (errors := _environment_faults(cls)):
            msg = "the environment cannot be used"
            raise ConfigValidationError(msg, errors=errors)
        try:
            return super().cb_config(ctx, param, sources)
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
    if (token := config.get("access_token")) and not is_token(token.strip()):
        faults.append("access_token holds blanks or characters that no token has")
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
    batch = config.get("batch_config")
    if batch and not (batch.get("encoding", {}).get("format") and batch.get("storage")):
        faults.append("batch_config needs encoding.format and storage.root")
    maps = config.get("stream_maps") or config.get("flattening_enabled")
    if maps and batch:
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


def _environment_faults(tap: type[TapFirstupDDE]) -> list[str]:
    """What is wrong with settings in the environment that must be integers or JSON."""
    faults = []
    for name, schema in tap.config_jsonschema["properties"].items():
        variable = f"{tap.name.upper().replace('-', '_')}_{name.upper()}"
        text, kinds = os.environ.get(variable), schema.get("type", [])
        if text is None:
            continue
        if "integer" in kinds and not re.fullmatch(r"-?[0-9]+", text):
            faults.append(f"{variable} is not an integer: {text!r}")
        elif "object" in kinds and not _is_json(text):
            faults.append(f"{variable} is not JSON")
    return faults


def _is_json(text: str) -> bool:
    """Whether *text* is JSON."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


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
