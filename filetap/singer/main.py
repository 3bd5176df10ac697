"""How a tap's program starts: imports nothing heavy until signals are set."""

import signal
import sys
from importlib import import_module


def run_program(tap: str) -> None:
    """Run a tap's command line; a signal while it is still loading ends it silently.

    Args:
        tap: ``module:class`` of the tap. Importing it takes about a second.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    import_module("filetap.output").set_up_output()
    module, _, name = tap.partition(":")
    getattr(import_module(module), name).cli()
