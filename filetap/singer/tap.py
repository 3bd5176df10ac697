"""The Singer tap of any vendor: settings, streams, discovery and the run."""

from __future__ import annotations

import logging
import signal
import sys
from contextlib import contextmanager, redirect_stdout
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from singer_sdk import Tap
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities

from filetap.bookmark import earlier
from filetap.download.spool import Spool
from filetap.environment import from_environment, unknown_variables
from filetap.errors import ExportError
from filetap.progress import Progress
from filetap.redaction import SECRECY, printable
from filetap.run import Run
from filetap.setting_checks import (
    check_protected_streams,
    faults,
    misnamed_streams,
    parse,
    secrets,
    settings_warnings,
    without_secrets,
)
from filetap.setting_schema import settings_schema
from filetap.settings import Settings, Tuning
from filetap.singer.about import with_streams
from filetap.singer.command import tap_command
from filetap.singer.inputs import (
    CATALOG_HINT,
    check_states,
    check_streams,
    lacking,
    read_json,
    settings_file,
    unknown_in_catalog,
    usable_catalog,
    usable_state,
)
from filetap.singer.job_stream import JobStream
from filetap.singer.maps import Mapper, unknown_streams
from filetap.singer.private import ConfiguredTap
from filetap.singer.stream import ExportStream
from filetap.singer.typed import TypedStream
from filetap.singer.writer import LinesWriter
from filetap.summary import summarized

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import click
    from singer_sdk.helpers.capabilities import CapabilitiesEnum

    from filetap.files import Transport
    from filetap.vendor import StreamSpec, Vendor


_RETRIES = "filetap.transports.retry"  # says why a discovery takes long


class FileTap(ConfiguredTap):
    """A tap for export files; a vendor's tap adds a name and a `Vendor`.

    Attributes:
        vendor: Whose files it reads.
        tuning: Sizes that trade memory for speed.
        looks_back: True to look for other streams than the documented ones within the lookback
            only, where files are listed by date; read before the first use of `specs`.
    """

    vendor: ClassVar[Vendor]
    tuning: ClassVar[Tuning] = Tuning()
    dynamic_catalog = True
    message_writer_class = LinesWriter
    # No activate-version: vendors keep files for days, warehouses keep their rows.
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

    def __init_subclass__(cls, **options: Any) -> None:
        """Derive the tap's settings from its vendor."""
        super().__init_subclass__(**options)
        cls.name = cls.vendor.program
        cls.package_name = cls.vendor.distribution or cls.vendor.program
        cls.config_jsonschema = settings_schema(cls.vendor)
        # Up to 0.54 the SDK does so itself, later; from 0.55 on to copies only.
        cls.append_builtin_config(cls.config_jsonschema)

    def __init__(self, *, state: Any = None, catalog: Any = None, **options: Any) -> None:
        """Accept a whole STATE message as the state too, and respect a catalog's metadata.

        Raises:
            StateError: The state cannot be used.
            ExportError: The catalog cannot be used.
        """
        catalog = usable_catalog(catalog)
        state = usable_state(state)
        self.looks_back = bool((state or {}).get("bookmarks"))
        self._reads_environment = bool(options.get("parse_env_config"))
        self._given = catalog, state
        if self.vendor.newest is None:
            check_streams(catalog, state, self.vendor.streams)
        super().__init__(state=state, catalog=catalog, **options)

    @cached_property
    def settings(self) -> Settings:
        """The settings, parsed."""
        return parse(self.config, self.vendor, self.tuning)

    @cached_property
    def transport(self) -> Transport:
        """Where the export files come from."""
        return self.vendor.connect(self.settings)

    @cached_property
    def specs(self) -> Mapping[str, StreamSpec]:
        """The streams: those that are documented, and others that there are files of.

        Where files are listed by date, a run without a state looks for these everywhere, and
        discovery, or a run with a state, within the lookback.
        """
        vendor, transport = self.vendor, self.transport
        newest = vendor.newest(transport) if vendor.newest and self.looks_back else None
        since = earlier(newest, self.settings.lookback) if newest else None
        others = {spec.name: spec for spec in vendor.others(transport, since)}
        return {**vendor.streams, **{n: s for n, s in others.items() if n not in vendor.streams}}

    @cached_property
    def spool(self) -> Spool:
        """Downloads files, and keeps them while they are read."""
        return Spool.of(self.settings)

    @cached_property
    def progress(self) -> Progress:
        """How far a run has come."""
        return Progress(self.logger, ("filetap", type(self).__module__.partition(".")[0]))

    def check_streams(self) -> None:
        """Refuse protected columns of streams that do not exist, and warn about other settings.

        Raises:
            SettingsError: A stream does not exist.
        """
        settings = self.settings
        if {*settings.protected, *settings.keys, *settings.types} - self.vendor.streams.keys():
            known = {*self.specs, *self.state.get("bookmarks", ())}
            check_protected_streams(settings, known)
            for warning in misnamed_streams(self.config, known):
                self.logger.warning("%s", warning)

    def warn_of_given(self) -> None:
        """Warn of a catalog or a state that lacks streams, if some are not documented.

        Such a stream may exist although it has no files lately.
        """
        if self.vendor.newest:
            try:
                check_streams(*self._given, self.specs)
            except ExportError as error:
                self.logger.warning("%s", error)
            for name in lacking(self._given[0], self.specs.keys() - self.vendor.streams.keys()):
                self.logger.warning(
                    "%s: the catalog lacks the stream, so its files are not read; %s, with a "
                    "lookback_days that reaches them",
                    name,
                    CATALOG_HINT,
                )

    @override
    def setup_mapper(self) -> None:
        # Not the SDK's: each stream registers its columns once they are known, also those that an
        # input catalog lacks.
        self.warn_of_settings()
        warnings = unknown_in_catalog(self._given[0], self.specs)
        if maps := self.config.get("stream_maps"):
            warnings += unknown_streams(maps, self.specs)
        for warning in warnings:
            self.logger.warning("%s", warning)
        self.mapper = Mapper(plugin_config=dict(self.config), logger=self.logger)

    @override
    def discover_streams(self) -> Sequence[TypedStream]:
        self.check_streams()
        specs = self.specs  # a folder that cannot be read ends the run here
        self.warn_of_given()
        run = Run(self.vendor, self.settings, self.transport, self.spool, self.progress)
        return [
            JobStream(self, spec, run) if spec.times else ExportStream(self, spec, run)
            for spec in specs.values()
        ]

    @override
    def run_discovery(self) -> str:
        self.looks_back = True
        # Warnings about files, keys and columns belong to the run that follows.
        with without_warnings({"filetap", type(self).__module__.partition(".")[0], self.name}):
            for stream in self.streams.values():
                if isinstance(stream, TypedStream):
                    stream.discover()
            text = super().run_discovery()
        sys.stdout.flush()
        return text

    @classmethod
    @override
    def print_about(cls, output_format: str | None = None) -> None:
        with redirect_stdout(StringIO()) as printed:
            super().print_about(output_format)
        text = with_streams(printed.getvalue(), output_format or "text", cls.vendor.streams)
        sys.stdout.write(text.rstrip("\n") + "\n")
        sys.stdout.flush()

    @classmethod
    @override
    def environment(cls, schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        return from_environment(cls.vendor.prefix, schema)

    @override
    def settings_errors(self, errors: list[str]) -> list[str]:
        config, vendor = self.config, self.vendor
        SECRECY.guard(secrets(config, vendor))  # a secret may be set under a wrong name
        found = [without_secrets(e, config, vendor) for e in errors] or faults(config, vendor)
        return [printable(SECRECY.scrub(error)) for error in found]

    @override
    def warn_of_settings(self) -> None:
        known = self.config_jsonschema["properties"]
        warnings = settings_warnings(self.config, self.vendor, known)
        if self._reads_environment:
            warnings += unknown_variables(self.vendor.prefix, known)
        for warning in warnings:
            self.logger.warning("%s", warning)

    @override
    def stopped(self, number: int) -> None:
        caught = signal.Signals(number)
        self.progress.end()
        self.logger.error("stopped by %s; run again to resume", caught.name)
        if not isinstance(self.message_writer, LinesWriter):
            sys.exit(128 + caught)
        self.message_writer.stop(caught)

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        # Without a file, all settings come from the environment.
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
        # The SDK's own logs a line for each wrong setting.
        if value:
            given = ctx.params["config"]
            tap = cls(config=given.config, parse_env_config=given.parse_env, setup_mapper=False)
            # Meltano discovers before each run, which ends here if that fails.
            with summarized(tap.settings.summary, cls.name, tap.progress, only_failed=True):
                tap.run_discovery()
            ctx.exit()

    @classmethod
    @override
    def invoke(
        cls, *, about: bool = False, about_format: str | None = None, **options: Any
    ) -> None:
        # As the SDK's own, with a display of the progress.
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
        with summarized(tap.settings.summary, cls.name, tap.progress), tap.progress:
            selected = {name for name, stream in tap.streams.items() if stream.selected}
            if not selected:
                tap.logger.warning("the catalog selects no stream, so nothing is read")
            check_states(tap.state, [spec for n, spec in tap.specs.items() if n in selected])
            tap.sync_all()

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        return tap_command(super().get_singer_command(), cls.logger)


@contextmanager
def without_warnings(packages: Collection[str]) -> Iterator[None]:
    """Drop the warnings of some loggers and their children, except those about retries.

    Args:
        packages: Names of the loggers.
    """

    def keep(record: logging.LogRecord) -> bool:
        ours = record.name.partition(".")[0] in packages and record.name != _RETRIES
        return record.levelno != logging.WARNING or not ours

    handlers = logging.getLogger().handlers
    for handler in handlers:
        handler.addFilter(keep)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(keep)
