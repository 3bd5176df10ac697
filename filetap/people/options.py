"""Options that several commands share: the settings, the state, and which files."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from singer_sdk.exceptions import ConfigValidationError

from filetap.environment import log_level_fault
from filetap.people.inventory import take_stock
from filetap.redaction import printable
from filetap.singer.inputs import read_file
from filetap.times import parse_generation, utc_now

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filetap.people.inventory import Available
    from filetap.singer.tap import FileTap
    from filetap.vendor import Vendor

_AGO = re.compile(r"([0-9]+)([dh])")


class Since(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """A time, or a span before now: ``3d``, ``12h``."""

    name = "time"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if match := _AGO.fullmatch(value):
                unit = "days" if match[2] == "d" else "hours"
                return utc_now() - timedelta(**{unit: int(match[1])})
            return parse_generation(value)
        except (OverflowError, ValueError):
            self.fail(f"{value!r} is not a time like 2026-05-14, 2026-05-14-16, 3d or 12h")


@dataclass(frozen=True, slots=True, kw_only=True)
class TapOptions:
    """How a command gets its tap.

    Attributes:
        config: Settings files, or ``ENV``; empty for the environment.
        state: File of the last STATE; None if none was given.
    """

    config: tuple[str, ...]
    state: Path | None

    def open(self, tap: type[FileTap], state: Mapping[str, Any] | None = None) -> FileTap:
        """The tap with settings as on its own command line, and the state.

        Args:
            tap: Its class.
            state: The state, where no file has it.

        Raises:
            ClickException: The settings cannot be used.
            ExportError: The state cannot be used.
        """
        if fault := log_level_fault(tap.vendor.prefix):
            raise click.ClickException(fault)
        try:
            option = click.Option(["--config"])
            given = tap.cb_config(click.get_current_context(), option, self.config)
            opened = tap(
                config=given.config,
                parse_env_config=given.parse_env,
                state=state if self.state is None else read_file("--state", self.state),
                setup_mapper=False,
            )
        except ConfigValidationError as error:
            raise click.ClickException("settings: " + "; ".join(error.errors)) from None
        opened.warn_of_settings()
        return opened


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOptions(TapOptions):
    """Which files a command is about.

    Attributes:
        streams: Names of streams; empty for all.
        since: Leave out files generated before; None for none.
    """

    streams: tuple[str, ...]
    since: datetime | None

    def stock(self, tap: FileTap) -> list[Available]:
        """The available files; without a state they have no status.

        Raises:
            StateError: The state cannot be read.
            TransportError: A listing failed.
        """
        streams = chosen_streams(tap, self.streams)
        return take_stock(tap, streams, since=self.since, has_state=self.state is not None)


def config_option(vendor: Vendor) -> click.Option:
    """The option that names the settings."""
    return click.Option(
        ["--config"],
        multiple=True,
        metavar="FILE",
        help=(
            "Settings as the tap has them: a JSON file, or ENV for the environment variables "
            f"{vendor.prefix}…, which is the default."
        ),
    )


def stream_option(vendor: Vendor) -> click.Option:
    """The option that chooses streams."""
    return click.Option(
        ["--stream", "streams"],
        multiple=True,
        type=None if vendor.newest else click.Choice(list(vendor.streams)),
        help="Only this stream; may be repeated.",
    )


def chosen_streams(tap: FileTap, names: Sequence[str]) -> Sequence[str]:
    """The streams that a command is about: those named, or all.

    Raises:
        ClickException: There is no stream of a name.
    """
    for name in names:
        if name not in tap.specs:
            near = get_close_matches(name, tap.specs, 3, 0.5)
            also = f"; did you mean {', '.join(near)}?" if near else ""
            message = f"{printable(name)}: there is no such stream{also}"
            raise click.ClickException(message)
    return names or [*tap.specs]


def tap_options(vendor: Vendor) -> list[click.Parameter]:
    """The options of `TapOptions`."""
    return [
        config_option(vendor),
        click.Option(
            ["--state"],
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="The tap's last STATE: it shows what was read.",
        ),
    ]


def file_options(vendor: Vendor) -> list[click.Parameter]:
    """The options of `FileOptions`."""
    return [
        *tap_options(vendor),
        stream_option(vendor),
        click.Option(
            ["--since"],
            type=Since(),
            help="Only files generated at this time or later: 2026-05-14, 2026-05-14-16, 3d, 12h.",
        ),
    ]


def quiet_option() -> click.Option:
    """The option that leaves the progress bar out."""
    return click.Option(["--quiet"], is_flag=True, help="Print no progress, only warnings.")
