"""Runs a command: sets up output and logging, and turns expected errors into one line."""

from __future__ import annotations

import io
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from filetap.errors import ExportError
from filetap.output import check_output, set_up_output
from filetap.redaction import SECRECY

if TYPE_CHECKING:
    from collections.abc import Callable


def run(command: Callable[[], Any]) -> Any:
    """Run *command* with output that takes any text, and return its result.

    Raises:
        ClickException: An expected error, as one line without secrets.
    """
    set_up_output()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        check_output()
        result = command()
        sys.stdout.flush()
    except ExportError as error:
        raise click.ClickException(SECRECY.scrub(str(error))) from None
    except OSError as error:
        message = f"the output cannot be written ({error.strerror})"
        raise click.ClickException(message) from None
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    else:
        return result
