"""The Singer tap: settings, command line and discovery."""

from __future__ import annotations

import logging
import os
import signal
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import click
from singer_sdk import Tap
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.exceptions import (
    ConfigValidationError,
    MapExpressionError,
    StreamMapConfigError,
)
from singer_sdk.helpers._util import load_json
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.plugin_base import SingerCommand
from singer_sdk.singerlib import Catalog, StateMessage

from tap_firstup_dde import client
from tap_firstup_dde.documented import KEYS
from tap_firstup_dde.exportlib.exceptions import ExportError, StateError
from tap_firstup_dde.exportlib.extract import Spool
from tap_firstup_dde.exportlib.memory import keep_freed_memory
from tap_firstup_dde.exportlib.models import STATE_HINT
from tap_firstup_dde.exportlib.secrecy import SECRECY, printable
from tap_firstup_dde.progress import Progress
from tap_firstup_dde.settings import (
    SETTINGS,
    environment_faults,
    faults,
    secrets,
    shadowed,
    without_secrets,
)
from tap_firstup_dde.streams import ExportStream

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.singerlib.encoding.simple import Message

    from tap_firstup_dde.exportlib.models import Transport


CATALOG_HINT = "make one with --discover"


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
        self._state = b""

    @override
    def write_message(self, message: Message | bytes) -> None:
        lines = message if isinstance(message, bytes) else bytes(self.format_message(message))
        self._write(lines)
        if isinstance(message, StateMessage):
            self._state = lines
        if self.stopped_by:
            self._end(self.stopped_by)

    def _write(self, lines: bytes) -> None:
        """Write whole lines; returns once the other end, or the pipe, has them.

        Raises:
            OutputError: It takes no more.
        """
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

    def stop(self, number: signal.Signals) -> None:
        """End the process with the signal's status: between lines, or at once if asked again."""
        if self.stopped_by:
            sys.exit(128 + number)
        self.stopped_by = number
        if not self._writing:
            self._end(number)

    def _end(self, number: signal.Signals) -> NoReturn:
        """Repeat the last STATE as the last line, for readers that go by it, and exit."""
        self._write(self._state)
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
        except UnicodeDecodeError:
            message = "a settings, state or catalog file is not UTF-8 text"
        except ValueError as error:
            # The SDK reads JSON by json or by simplejson; both tell which document.
            if not hasattr(error, "doc"):
                raise
            why = str(error) if getattr(error, "doc", "") else "it is empty; leave it out"
            message = f"a settings, state or catalog file is not JSON: {why}"
        else:
            sys.exit(status)
        self.logger.error("%s", message.replace("\n", " "))
        sys.exit(1)

    @override
    def invoke(self, ctx: click.Context) -> Any:
        # The SDK's own way tells of wrong settings in several lines; main needs one.
        logging.captureWarnings(capture=True)
        keep_freed_memory()
        sys.excepthook = self.excepthook
        return click.Command.invoke(self, ctx)


class TapFirstupDDE(Tap):
    """Singer tap for Firstup Direct Data Export v2."""

    name = "tap-firstup-dde"
    package_name = "tap-firstup-dde"
    config_jsonschema: ClassVar[dict[str, Any]] = SETTINGS
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
        """Take the state as the whole message, too, and what a catalog's metadata say.

        Raises:
            StateError: The state is not one.
            ExportError: The catalog is not one.
        """
        catalog = _usable_catalog(catalog)
        super().__init__(state=_usable_state(state), catalog=catalog, **options)
        SECRECY.guard(secrets(self.config))

    @cached_property
    def transport(self) -> Transport:
        """Where the export files come from."""
        return client.connect(self.config)

    @cached_property
    def spool(self) -> Spool:
        """Where downloads are kept while they are read."""
        return Spool.of(self.config)

    @cached_property
    def progress(self) -> Progress:
        """How far a run has come."""
        return Progress(self.logger)

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
        shared = (self.transport, self.spool, self.progress)
        return [ExportStream(self, name, *shared) for name in KEYS]

    @override
    def run_discovery(self) -> str:
        for stream in self.streams.values():
            if isinstance(stream, ExportStream):
                stream.discover()
        return super().run_discovery()

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        # A setting that is null is not set.
        for name in [name for name, value in self._config.items() if value is None]:
            del self._config[name]
        try:
            errors = super()._validate_config(raise_errors=raise_errors)
        except ConfigValidationError as error:
            errors = error.errors
        SECRECY.guard(secrets(self.config))  # one may be set under a wrong name, too
        errors = [without_secrets(e, self.config) for e in errors] or faults(self.config)
        errors = [printable(SECRECY.scrub(error)) for error in errors]
        for name in sorted(set(self.config) - set(self.config_jsonschema["properties"])):
            self.logger.warning("the setting %s is not known, and has no effect", name)
        for name, winner in shadowed(self.config).items():
            self.logger.warning("%s is set, so %s has no effect", winner, name)
        if errors and raise_errors:
            msg = "the settings cannot be used"
            raise ConfigValidationError(msg, errors=errors, schema=self.config_jsonschema)
        return errors

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        # The SDK writes STATE as it is just then, perhaps into the middle of a line, and exits
        # with 0: a run that was cut off would look finished.
        number = signal.Signals(signum)
        self.progress.end()
        self.logger.error("stopped by %s; run again to go on", number.name)
        if not isinstance(self.message_writer, LinesWriter):
            sys.exit(128 + number)
        self.message_writer.stop(number)

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        # Without a file the environment is all there is.
        if "" in value:
            msg = "a settings file has no name"
            raise ConfigValidationError(msg, errors=[f"{msg}; check --config"])
        sources = value or ("ENV",)
        if "ENV" in sources and (errors := environment_faults(cls.name, cls.config_jsonschema)):
            msg = "the environment cannot be used"
            raise ConfigValidationError(msg, errors=errors)
        try:
            return super().cb_config(ctx, param, sources)
        except OSError:
            msg = f"no settings file {' '.join(value)}"
            raise ConfigValidationError(msg, errors=[f"{msg}; check --config"]) from None
        except (TypeError, ValueError) as error:
            if hasattr(error, "doc"):
                raise
            msg = f"the settings file {' '.join(value)} holds no JSON object"
            raise ConfigValidationError(msg, errors=[f"{msg}; check --config"]) from None

    @classmethod
    @override
    def invoke(
        cls, *, about: bool = False, about_format: str | None = None, **options: Any
    ) -> None:
        # The SDK's own, but that the run is watched.
        super(Tap, cls).invoke(about=about, about_format=about_format)
        cls.print_version(print_fn=cls.logger.info)
        state, catalog = (
            load_json(file.read()) if (file := options[name]) else None
            for name in ("state", "catalog")
        )
        config = options["config"]
        tap = cls(
            config=config.config, parse_env_config=config.parse_env, state=state, catalog=catalog
        )
        with tap.progress:
            tap.sync_all()

    @staticmethod
    def cb_quiet(_context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
        """Turn off what is no warning, whichever logger tells it."""
        if value:
            logging.disable(logging.INFO)

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        command = super().get_singer_command()
        for parameter in command.params:
            if isinstance(parameter.type, click.File):
                # Opened when it is read: an error before that must not leave it open.
                parameter.type = click.File(lazy=True)
        command.params.append(
            click.Option(
                ["--quiet"],
                is_flag=True,
                is_eager=True,  # before a discovery, which is a callback as well
                expose_value=False,
                callback=cls.cb_quiet,
                help="Tell warnings and errors only: no progress and no summary.",
            )
        )
        return TapCommand(
            name=command.name,
            callback=command.callback,
            params=command.params,
            context_settings=command.context_settings,
            help=command.help,
            logger=cls.logger,
        )


def _usable_state(state: Any) -> Any:
    """A state, out of the message that it went out in where that is given.

    Raises:
        StateError: It is not one.
    """
    if not isinstance(state, dict | None):
        msg = "the state cannot be read: it is not an object"
        raise StateError(msg, STATE_HINT)
    if state and state.get("type") == "STATE":
        state = state.get("value") or {"value": None}
    if state and isinstance(state.get("singer_state"), dict):
        state = state["singer_state"]  # as `meltano state get` prints it
    if state and "bookmarks" not in state:
        msg = "the state cannot be read: it has no bookmarks"
        raise StateError(msg, STATE_HINT)
    return state


def _usable_catalog(catalog: Any) -> Any:
    """A catalog, with the replication method from its metadata, where the SDK drops it.

    Raises:
        ExportError: It is not one.
    """
    if not isinstance(catalog, dict | Catalog | None):
        msg = "the catalog cannot be read: it is not an object"
        raise ExportError(msg, CATALOG_HINT)
    for entry in catalog.get("streams", []) if isinstance(catalog, dict) else []:
        if not _is_entry(entry):
            msg = "the catalog cannot be read: an entry is not that of a stream"
            raise ExportError(msg, CATALOG_HINT)
        for name, column in entry.get("schema", {}).get("properties", {}).items():
            if not isinstance(column, dict):
                msg = f"the catalog cannot be read: {name} is not described by an object"
                raise ExportError(msg, CATALOG_HINT)
        for item in entry.get("metadata", []):
            method = item.get("metadata", {}).get("replication-method")
            if method and not item.get("breadcrumb"):
                entry.setdefault("replication_method", method)
    return catalog


def _is_entry(entry: Any) -> bool:
    """Whether a catalog's entry has the parts that the SDK takes for granted."""
    if not isinstance(entry, dict) or not isinstance(entry.get("tap_stream_id"), str):
        return False
    schema = entry.get("schema", {})
    return isinstance(schema, dict) and isinstance(schema.get("properties", {}), dict)
