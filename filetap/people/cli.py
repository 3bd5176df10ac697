"""A vendor's program for people: a click group that loads a command when it is used.

The help lists the commands without loading any of them, so that it loads no data library.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem

from filetap.importing import fast_imports

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filetap.singer.tap import FileTap


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that is not loaded yet.

    Attributes:
        maker: ``module:function``; the function makes the command for a `Program`.
        summary: What the list of commands says about it.
    """

    maker: str
    summary: str


COMMANDS: Final = {
    "files": Entry(
        "filetap.people.files:files_command",
        "List the export files that are available, and what the next run reads.",
    ),
    "get": Entry(
        "filetap.people.get:get_command",
        "Download export files, verified as the tap verifies them.",
    ),
    "doctor": Entry(
        "filetap.people.doctor:doctor_command",
        "Check everything from the settings to typed rows, step by step.",
    ),
    "load": Entry(
        "filetap.people.load:load_command",
        "Load export files into PostgreSQL or DuckDB, each file in one transaction.",
    ),
    "state": Entry(
        "filetap.people.load:state_command",
        "Print the state of what was loaded, as a Singer state.",
    ),
    "report": Entry(
        "filetap.people.report.command:report_command",
        "Write a page about the files that are available, read, missing or about to expire.",
    ),
}
"""The commands that need nothing of the vendor's own; it may replace them, and add others."""


@dataclass(frozen=True, slots=True)
class Program:
    """A vendor's program for people.

    Its help needs name and vendor before the tap is loaded, which takes a second; they are the
    ones that the tap's `Vendor` has.

    Attributes:
        tool: Name of the program.
        vendor: The vendor's name.
        distribution: Distribution whose version it prints.
        tap: ``module:class`` of the tap.
        commands: Name → command.
    """

    tool: str
    vendor: str
    distribution: str
    tap: str
    commands: Mapping[str, Entry]

    def load_tap(self) -> type[FileTap]:
        """Import the tap's class."""
        tap: type[FileTap] = _resolve(self.tap)
        return tap

    def example(self, words: str) -> str:
        """The last line of a command's help."""
        return f"Example: {self.tool} {words}"


def people_program(program: Program) -> PeopleGroup:
    """Make a vendor's program for people."""
    group = PeopleGroup(program)
    version = click.version_option(package_name=program.distribution, prog_name=program.tool)
    return version(group)


class PeopleGroup(click.Group):
    """Commands that are loaded when they are used; expected errors are one line, with status 1.

    Attributes:
        program: What the group is made of.
    """

    def __init__(self, program: Program) -> None:
        super().__init__(
            program.tool,
            help=(
                f"List, download and check {program.vendor}'s export files, or try it all on an "
                "emulator.\n\n"
                "Exit status: 0 success, 1 failure (one line says why), 2 usage error."
            ),
            epilog=program.example("doctor --config config.json"),
        )
        self.program = program

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.program.commands)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands and cmd_name in self.program.commands:
            make = _resolve(self.program.commands[cmd_name].maker)
            self.add_command(make(self.program), cmd_name)
        return super().get_command(ctx, cmd_name)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click would load every command for its summary.
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self._entries()])

    @override
    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # Here, too.
        return [
            CompletionItem(name, help=entry.summary)
            for name, entry in self._entries()
            if name.startswith(incomplete)
        ] + click.Command.shell_complete(self, ctx, incomplete)

    def _entries(self) -> list[tuple[str, Entry]]:
        """The commands in alphabetical order."""
        return sorted(self.program.commands.items())

    @override
    def invoke(self, ctx: click.Context) -> Any:
        run = _resolve("filetap.people.running:run")
        return run(partial(super().invoke, ctx))


def _resolve(path: str) -> Any:
    """Import what ``module:name`` names."""
    module, _, name = path.partition(":")
    with fast_imports():
        return getattr(import_module(module), name)
