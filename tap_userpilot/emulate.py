"""The command ``userpilot-exports emulate``."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from filetap.people.emulate import port_option, seed_option, serve
from filetap.times import utc_now
from tap_userpilot.emulated_jobs import Jobs
from tap_userpilot.emulator import Emulator
from tap_userpilot.sample_data import events_of, lookups

if TYPE_CHECKING:
    from filetap.people.cli import Program


def emulate_command(program: Program) -> click.Command:
    """The command ``emulate``."""
    return click.Command(
        "emulate",
        callback=_emulate,
        help=(
            "Serve an emulated Userpilot with sample data until interrupted.\n\n"
            "Prints one line of JSON when it is ready: the settings for connecting to it."
        ),
        epilog=program.example("emulate --port 8765 --days 60 --rows 1000"),
        params=[
            port_option(),
            seed_option(),
            click.Option(
                ["--days"],
                type=click.IntRange(min=1),
                default=40,
                show_default=True,
                help="Days of events, up to yesterday.",
            ),
            click.Option(
                ["--rows"],
                type=click.IntRange(min=0),
                default=200,
                show_default=True,
                help="Events of a day.",
            ),
            click.Option(
                ["--job-seconds"],
                type=click.FloatRange(min=0),
                default=2.0,
                show_default=True,
                help="How long an export job runs.",
            ),
        ],
    )


def _emulate(*, port: int, seed: int, days: int, rows: int, job_seconds: float) -> None:
    """Serve an emulator whose last whole day is yesterday."""
    jobs = Jobs(takes=timedelta(seconds=job_seconds))
    emulator = Emulator(port=port, jobs=jobs, lookups=lookups(seed))
    day = utc_now().date() - timedelta(days=days + 1)

    def next_day() -> None:
        nonlocal day
        day += timedelta(days=1)
        jobs.events += events_of(day, rows, seed)

    serve(emulator, next_day, first=days, every=None)
