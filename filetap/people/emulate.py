"""What a vendor's command ``emulate`` is made of: its port, and serving until interrupted."""

from __future__ import annotations

import json
import signal
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Emulator(Protocol):
    """A vendor's emulator."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The tap's settings that reach it, once it has started."""

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1; 0 for any free one until it has started."""

    def start(self) -> None:
        """Serve in a background thread.

        Raises:
            OSError: The port is not free.
        """

    def stop(self) -> None:
        """Stop serving."""


def port_option() -> click.Option:
    """The port to serve on."""
    return click.Option(
        ["--port"],
        type=click.IntRange(0, 65535),
        default=0,
        show_default="any free one",
        help="Port on 127.0.0.1.",
    )


def seed_option() -> click.Option:
    """The option ``--seed``."""
    return click.Option(
        ["--seed"], type=int, default=0, show_default=True, help="Seed of the sample data."
    )


def serve(
    emulator: Emulator, add: Callable[[], object], *, first: int, every: float | None
) -> None:
    """Serve until interrupted; prints the settings as one line of JSON when ready.

    Args:
        emulator: What to serve.
        add: Adds sample data.
        first: How often it is called before the settings are printed.
        every: Seconds between later calls; None for no calls.

    Raises:
        ClickException: The port is not free.
    """
    signals: SimpleQueue[int] = SimpleQueue()  # its put() may interrupt its get()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _: signals.put(caught))
    try:
        emulator.start()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        message = f"cannot serve on 127.0.0.1:{emulator.port}: {reason}; try another --port"
        raise click.ClickException(message) from None
    try:
        for _ in range(first):
            add()
        click.echo(json.dumps(emulator.settings))
        click.echo("serving; stop with Ctrl-C, or kill in the background", err=True)
        while True:
            try:
                signals.get(timeout=every)
                break
            except Empty:
                add()
                click.echo("more sample data were added", err=True)
    finally:
        emulator.stop()
