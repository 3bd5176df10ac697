"""The command ``firstup-dde emulate``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filetap.people.emulate import port_option, seed_option, serve
from filetap.times import utc_now
from tap_firstup_dde.emulator import Emulator
from tap_firstup_dde.sample_data import INTERVAL

if TYPE_CHECKING:
    from filetap.people.cli import Program


def emulate_command(program: Program) -> click.Command:
    """The command ``emulate``."""
    return click.Command(
        "emulate",
        callback=_emulate,
        help=(
            "Serve an emulated Firstup with sample data until interrupted.\n\n"
            "Prints one line of JSON when it is ready: the settings for connecting to it. POST to "
            "/emulator/generations adds a generation, never in the future; GET "
            "/emulator/requests counts the requests, DELETE /emulator/requests clears the count."
        ),
        epilog=program.example("emulate --port 8765 --generations 3 --new-every 60"),
        params=[
            port_option(),
            seed_option(),
            click.Option(
                ["--generations"],
                type=click.IntRange(min=0),
                default=3,
                show_default=True,
                help="Generations at the start, four hours apart.",
            ),
            click.Option(
                ["--rows"],
                type=click.IntRange(min=0),
                default=1000,
                show_default=True,
                help="Rows of an activities file.",
            ),
            click.Option(
                ["--parts"],
                type=click.IntRange(min=1),
                default=2,
                show_default=True,
                help="Files per stream and generation.",
            ),
            click.Option(
                ["--url-ttl"],
                type=click.IntRange(min=1),
                default=900,
                show_default=True,
                help="Seconds until a presigned URL expires.",
            ),
            click.Option(
                ["--new-every"],
                type=click.FloatRange(min=0, min_open=True),
                help="Seconds between new generations; none without it.",
            ),
            click.Option(
                ["--deliver"],
                type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
                help="Deliver the files into this folder as well, as to an SFTP server.",
            ),
        ],
    )


def _emulate(*, generations: int, new_every: float | None, **options: Any) -> None:
    """Serve an emulator whose newest generation covers the last full four hours.

    Args:
        generations: Number of generations at the start.
        new_every: Seconds between further generations; None for none.
        options: The emulator's attributes of the same names.
    """
    now = utc_now()
    newest = now - (now - datetime.min.replace(tzinfo=UTC)) % INTERVAL
    emulator = Emulator(
        first_generation=newest - INTERVAL * max(0, generations - 1), up_to_now=True, **options
    )
    serve(emulator, emulator.add_generation, first=generations, every=new_every)
