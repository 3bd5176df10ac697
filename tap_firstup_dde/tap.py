"""The Singer tap: settings, command line and discovery."""

from __future__ import annotations

import logging
import signal
import sys
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import click
from singer_sdk import Tap
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.exceptions import (
    ConfigValidationError,
    MapExpressionError,
    StreamMapConfigError,
)
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.plugin_base import SingerCommand
from singer_sdk.singerlib import StateMessage

from filetap.allocation import keep_freed_memory
from filetap.download.spool import Spool
from filetap.environment import from_environment
from filetap.errors import ExportError
from filetap.output import OutputError, check_output
from filetap.redaction import SECRECY, printable
from filetap.settings import (
    SETTINGS,
    faults,
    secrets,
    settings_warnings,
    without_secrets,
)
from filetap.singer.inputs import read_json, settings_file, usable_catalog, usable_state
from filetap.singer.maps import Mapper, unknown_streams
from filetap.singer.progress import Progress
from filetap.singer.stream import ExportStream
from tap_firstup_dde import api as client
from tap_firstup_dde.vendor import KEYS

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from singer_sdk.helpers.capabilities import CapabilitiesEnum
    from singer_sdk.singerlib.encoding.simple import Message

    from filetap.files import Transport


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
        self._writing = True
        try:
            sys.stdout.buffer.write(lines)
            sys.stdout.buffer.flush()
        except OutputError as error:
            msg = f"messages cannot be written: {error.reason}"
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
            check_output()
            status = super().main(*args, **{**kwargs, "standalone_mode": False})
        except ConfigValidationError as error:
            message = "settings: " + "; ".join(error.errors)
        except (MapExpressionError, StreamMapConfigError) as error:
            message = f"stream_maps: {error} {error.__cause__ or ''}".strip()
        except ExportError as error:
            message = str(error)
        except click.ClickException as error:
            message = error.format_message()
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
        catalog = usable_catalog(catalog)
        super().__init__(state=usable_state(state), catalog=catalog, **options)
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
        maps = self.config.get("stream_maps") or {}
        for warning in (*settings_warnings(self.config), *unknown_streams(maps)):
            self.logger.warning("%s", warning)
        self.mapper = Mapper(plugin_config=dict(self.config), logger=self.logger)

    @override
    def discover_streams(self) -> Sequence[ExportStream]:
        shared = (self.transport, self.spool, self.progress)
        return [ExportStream(self, name, *shared) for name in KEYS]

    @override
    def run_discovery(self) -> str:
        for stream in self.streams.values():
            if isinstance(stream, ExportStream):
                # What there is to say of keys and columns belongs to the run that follows.
                with silenced(stream.logger):
                    stream.discover()
        text = super().run_discovery()
        sys.stdout.flush()
        return text

    @classmethod
    @override
    def print_about(cls, output_format: str | None = None) -> None:
        super().print_about(output_format)
        sys.stdout.flush()

    @classproperty
    @override
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - the SDK's decorator
        cls.append_builtin_config(cls.config_jsonschema)
        config, errors = from_environment(cls._env_var_prefix, cls.config_jsonschema)
        if errors:
            msg = "the environment cannot be used"
            raise ConfigValidationError(msg, errors=errors)
        return config

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        # A setting that is null is not set.
        for name in [name for name, value in self._config.items() if value is None]:
            del self._config[name]
        try:
            errors = super()._validate_config(raise_errors=raise_errors)
        except ConfigValidationError as error:
            errors = error.errors
        except AttributeError:
            # In the SDK's own schema for __else__ one of the alternatives is not a schema.
            errors = ["stream_maps: __else__ can be __NULL__ or null only"]
        SECRECY.guard(secrets(self.config))  # one may be set under a wrong name, too
        errors = [without_secrets(e, self.config) for e in errors] or faults(self.config)
        errors = [printable(SECRECY.scrub(error)) for error in errors]
        if errors and raise_errors:
            for warning in settings_warnings(self.config):
                self.logger.warning("%s", warning)
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
        given = super().cb_config(ctx, param, tuple(s for s in sources if s == "ENV"))
        for source in sources:
            if source != "ENV":
                given.config |= settings_file(Path(source))
        return given

    @classmethod
    @override
    def cb_discover(cls, ctx: click.Context, param: click.Option, value: bool) -> None:
        # The SDK's own logs each wrong setting in a line of its own.
        if value:
            given = ctx.params["config"]
            cls(
                config=given.config, parse_env_config=given.parse_env, setup_mapper=False
            ).run_discovery()
            ctx.exit()

    @classmethod
    @override
    def invoke(
        cls, *, about: bool = False, about_format: str | None = None, **options: Any
    ) -> None:
        # The SDK's own, but that the run is watched.
        super(Tap, cls).invoke(about=about, about_format=about_format)
        cls.print_version(print_fn=cls.logger.info)
        state, catalog = (
            read_json(f"--{name} {file.name}", file.read()) if (file := options[name]) else None
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
                parameter.type = click.File("rb", lazy=True)
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


@contextmanager
def silenced(logger: Any) -> Iterator[None]:
    """Keep a stream's logger from logging anything; others still do."""
    plain = getattr(logger, "logger", logger)  # from 0.55 on the SDK's is a wrapped one
    before, plain.disabled = plain.disabled, True
    try:
        yield
    finally:
        plain.disabled = before
