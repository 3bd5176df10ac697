"""A tap's command line: expected errors take one line, and signals do not cut messages off."""

from __future__ import annotations

import logging
import sys
from typing import Any

import click
from singer_sdk.exceptions import (
    ConfigValidationError,
    MapExpressionError,
    StreamMapConfigError,
)
from singer_sdk.plugin_base import SingerCommand

from filetap.allocation import keep_freed_memory
from filetap.errors import ExportError
from filetap.output import check_output

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override


class TapCommand(SingerCommand):
    """The tap's command line; an expected error ends it with one line and status 1."""

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
        # The SDK's own logs wrong settings in several lines; main logs one.
        logging.captureWarnings(capture=True)
        keep_freed_memory()
        sys.excepthook = self.excepthook
        return click.Command.invoke(self, ctx)


def quiet(_context: click.Context, _option: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    """Silence everything below WARNING."""
    if value:
        logging.disable(logging.INFO)


def tap_command(command: click.Command, logger: logging.Logger) -> TapCommand:
    """The SDK's command with ``--quiet``, and with one-line errors."""
    for parameter in command.params:
        if isinstance(parameter.type, click.File):
            # Opened when it is first read: an earlier error must not leave it open.
            parameter.type = click.File("rb", lazy=True)
    command.params.append(
        click.Option(
            ["--quiet"],
            is_flag=True,
            is_eager=True,  # before --discover, which is a callback too
            expose_value=False,
            callback=quiet,
            help="Log warnings and errors only: no progress and no summary.",
        )
    )
    return TapCommand(
        name=command.name,
        callback=command.callback,
        params=command.params,
        context_settings=command.context_settings,
        help=command.help,
        logger=logger,
    )
