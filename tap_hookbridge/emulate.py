"""The command ``hookbridge-exports emulate``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from filetap.people.emulate import port_option, seed_option, serve
from tap_hookbridge.emulator import Emulator

if TYPE_CHECKING:
    from filetap.people.cli import Program


def emulate_command(program: Program) -> click.Command:
    """The command ``emulate``."""
    return click.Command(
        "emulate",
        callback=_emulate,
        help=(
            "Serve an emulated HookBridge with sample data until interrupted.\n\n"
            "Prints one line of JSON when it is ready: all settings that the tap needs. Its "
            "messages are of the last three days. POST to /emulator/messages adds some, and moves "
            "the status of others on; GET /emulator/requests counts the requests, DELETE "
            "/emulator/requests clears the count."
        ),
        epilog=program.example("emulate --port 8765 --messages 500 --new-every 60"),
        params=[
            port_option(),
            seed_option(),
            click.Option(
                ["--messages"],
                type=click.IntRange(min=0),
                default=300,
                show_default=True,
                help="Messages of each direction at the start.",
            ),
            click.Option(
                ["--pending"],
                type=click.FloatRange(min=0),
                default=1.0,
                show_default=True,
                help="Seconds until an export is processed.",
            ),
            click.Option(
                ["--processing"],
                type=click.FloatRange(min=0),
                default=1.0,
                show_default=True,
                help="Seconds that processing takes.",
            ),
            click.Option(
                ["--border"],
                type=click.Choice(["half-open", "inclusive", "exclusive"]),
                default="half-open",
                show_default=True,
                help="How the ends of a requested span count.",
            ),
            click.Option(
                ["--url-ttl"],
                type=click.IntRange(min=1),
                default=300,
                show_default=True,
                help="Seconds until a presigned URL expires.",
            ),
            click.Option(
                ["--new-every"],
                type=click.FloatRange(min=0, min_open=True),
                help="Seconds between new messages; none without it.",
            ),
        ],
    )


def _emulate(*, messages: int, new_every: float | None, **options: Any) -> None:
    """Serve an emulator.

    Args:
        messages: Messages of each direction at the start.
        new_every: Seconds between further ones; None for none.
        options: The emulator's attributes of the same names.
    """
    emulator = Emulator(**options)
    emulator.add_messages(messages)
    add = partial(emulator.add_messages, max(1, messages // 10))
    serve(emulator, add, first=0, every=new_every)
