"""The command ``simpplr-exports emulate``."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from filetap.people.emulate import port_option, seed_option, serve
from filetap.times import utc_now
from tap_simpplr.delivered import ENTITIES
from tap_simpplr.emulator import Emulator
from tap_simpplr.sample_data import Company
from tap_simpplr.schedule import SPELLINGS, Schedule

if TYPE_CHECKING:
    from filetap.people.cli import Program
    from filetap.testing.sftp import SFTP


_BACK = 365  # days before today where a clock that runs fast starts


def emulate_command(program: Program) -> click.Command:
    """The command ``emulate``."""
    return click.Command(
        "emulate",
        callback=_emulate,
        help=(
            "Serve an emulated Simpplr with sample data until interrupted.\n\n"
            "Prints one line of JSON when it is ready: all settings that the tap needs. All "
            "entities are registered daily, and the last day is today; with --new-every, days pass "
            "from a year ago on. POST /emulator/days lets a day pass, too."
        ),
        epilog=program.example("emulate --port 8765 --days 3 --new-every 60 --sftp"),
        params=[
            port_option(),
            seed_option(),
            click.Option(
                ["--days"],
                type=click.IntRange(min=0),
                default=3,
                show_default=True,
                help="Days of deliveries at the start.",
            ),
            click.Option(
                ["--rows"],
                type=click.IntRange(min=1),
                default=20,
                show_default=True,
                help="Rows of an entity's first file.",
            ),
            click.Option(
                ["--spelling"],
                type=click.Choice(list(SPELLINGS)),
                default="underscore",
                show_default=True,
                help="How the folders of entities are spelt.",
            ),
            click.Option(
                ["--new-every"],
                type=click.FloatRange(min=0, min_open=True),
                help="Seconds between new days; none without it.",
            ),
            click.Option(
                ["--deliver"],
                type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
                help="Deliver into this folder, which stays.",
            ),
            click.Option(["--sftp"], is_flag=True, help="Serve the folder by SFTP (extra sftp)."),
        ],
    )


def _emulate(  # noqa: PLR0913 - the command's options
    *,
    port: int,
    seed: int,
    days: int,
    rows: int,
    spelling: str,
    new_every: float | None,
    deliver: Path | None,
    sftp: bool,
) -> None:
    """Serve an emulator whose last day is today."""
    with ExitStack() as stack:
        folder = deliver or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        exports = folder / "exports" / "emulated"
        exports.mkdir(parents=True, exist_ok=True)
        schedule = Schedule(
            exports,
            utc_now().date() - timedelta(days=days + (_BACK if new_every else 0)),
            Company(seed, rows),
            spelling=spelling,
        )
        schedule.register(ENTITIES, "daily")
        server = stack.enter_context(_sftp(folder)) if sftp else None
        emulator = Emulator(port=port, schedule=schedule, sftp=server)
        serve(emulator, emulator.next_day, first=days, every=new_every)


def _sftp(folder: Path) -> SFTP:
    """A server of the folder.

    Raises:
        ClickException: The extra is not installed.
    """
    try:
        from filetap.testing.sftp import SFTP  # noqa: PLC0415 - of the extra sftp
    except ImportError:
        message = "--sftp needs the extra sftp: pip install 'tap-firstup-dde[sftp]'"
        raise click.ClickException(message) from None
    return SFTP(folder)
