"""The command ``get``: export files into a folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filetap.people.inventory import GONE, PARTLY, PENDING, weigh
from filetap.people.options import FileOptions, file_options, quiet_option
from filetap.people.terminal import progress_bar
from filetap.people.to_folder import download, present
from filetap.redaction import SECRECY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filetap.people.cli import Program
    from filetap.people.inventory import Available
    from filetap.singer.tap import FileTap


@dataclass(frozen=True, slots=True, kw_only=True)
class GetOptions(FileOptions):
    """Which files to download, and how.

    Attributes:
        keys: Keys of files; empty for all that the other options choose.
        everything: True to choose every available file.
        pending: True to choose the files that the next run would read.
        to: Folder that they are written to.
        unzip: True to decompress gzip.
        quiet: True for no progress bar.
    """

    keys: tuple[str, ...]
    everything: bool
    pending: bool
    to: Path
    unzip: bool
    quiet: bool

    def check(self) -> None:
        """Refuse a command line that chooses no files, or has --pending without --state.

        Raises:
            UsageError: It chooses no files, or cannot know which are pending.
        """
        chosen = (self.keys, self.everything, self.pending, self.since, self.streams)
        if not any(chosen):
            message = "name files by their keys, or choose by --since, --stream, --pending or --all"
            raise click.UsageError(message)
        if self.pending and self.state is None:
            message = "--pending needs --state"
            raise click.UsageError(message)


def get_command(program: Program) -> click.Command:
    """The command ``get`` of a vendor's program."""
    tap = program.load_tap()

    def get(**given: Any) -> None:
        options = GetOptions(**given)
        options.check()
        if not _get(tap, options):
            sys.exit(1)

    return click.Command(
        "get",
        callback=get,
        help=(
            "Download export files, verified as the tap verifies them.\n\n"
            "Name files by the KEY that `files` shows, or choose them by --since, --stream, "
            "--pending or --all. Files that are in the folder already are not downloaded again, "
            "and an interrupted download resumes. Prints the path of each file."
        ),
        epilog=program.example("get --config config.json --since 2d --to exports --unzip"),
        params=[
            *file_options(tap.vendor),
            click.Argument(["keys"], nargs=-1, metavar="[KEY]..."),
            click.Option(["--all", "everything"], is_flag=True, help="Every available file."),
            click.Option(
                ["--pending"],
                is_flag=True,
                help="The files that the next run would read, given --state.",
            ),
            click.Option(
                ["--to"],
                type=click.Path(file_okay=False, path_type=Path),
                default=".",
                show_default="current folder",
                help="Folder to write to.",
            ),
            click.Option(["--unzip"], is_flag=True, help="Decompress gzip, to plain CSV."),
            quiet_option(),
        ],
    )


def _get(tap_class: type[FileTap], options: GetOptions) -> bool:
    """Download the chosen files; False if some of them have expired."""
    tap = options.open(tap_class)
    wanted = _choose(options.stock(tap), options, tap.vendor.tool)
    weighed = weigh(tap.transport, wanted)
    chosen = [entry for entry in weighed if entry.status != GONE]
    for entry in weighed:
        if entry.status == GONE:
            message = f"WARNING: {entry.file} is listed and has expired since"
            click.echo(SECRECY.scrub(message), err=True)
    if not wanted:
        click.echo(f"no file is chosen; see {tap.vendor.tool} files", err=True)
    with progress_bar(sum(entry.size or 0 for entry in chosen), quiet=options.quiet) as show:
        before = 0
        for entry in chosen:
            click.echo(str(_fetch(tap, entry, options, _shifted(show, before))))
            before += entry.size or 0
            show(before)
    return len(chosen) == len(wanted)


def _choose(stock: Sequence[Available], options: GetOptions, tool: str) -> list[Available]:
    """The files that the options name.

    Raises:
        ClickException: A key is not that of an available file.
    """
    if unknown := set(options.keys) - {entry.file.key for entry in stock}:
        keys = ", ".join(sorted(unknown))
        message = f"no such file is available: {keys}; see {tool} files"
        raise click.ClickException(message)
    return [
        entry
        for entry in stock
        if (not options.keys or entry.file.key in options.keys)
        and (not options.pending or entry.status in {PENDING, PARTLY})
    ]


def _fetch(
    tap: FileTap, entry: Available, options: GetOptions, arrived: Callable[[int], object]
) -> Path:
    """Where a file is, once it is in the folder."""
    file, to, unzip, size = entry.file, options.to, options.unzip, entry.size
    if path := present(file, to, unzip=unzip, size=size):
        return path
    spool = replace(tap.spool, arrived=arrived)
    return download(tap.transport, spool, file, to, unzip=unzip, size=size)


def _shifted(show: Callable[[int], object], before: int) -> Callable[[int], object]:
    """*show* for the bytes of one file, after those of the files before it."""
    return lambda received: show(before + received)
