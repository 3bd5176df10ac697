"""The command ``report``: a page about the available files and what they hold."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filetap.columns.resolve import pinned_types
from filetap.columns.types import MISFIT_SUFFIX
from filetap.errors import ExportError
from filetap.people.contents import read_rows, table_for
from filetap.people.inventory import GONE, weigh
from filetap.people.options import FileOptions, file_options, quiet_option
from filetap.people.report.generations import StreamTypes, generations
from filetap.people.report.page import Report, Section, page
from filetap.people.terminal import progress_bar
from filetap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import polars as pl

    from filetap.people.cli import Program
    from filetap.people.inventory import Available
    from filetap.singer.tap import FileTap

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Extra:
    """A section that is made of the rows of one stream.

    Attributes:
        ident: Its id, which links lead to.
        title: Its heading.
        stream: Name of the stream.
        draw: Batches of text columns → HTML; no batches if files are not read.
    """

    ident: str
    title: str
    stream: str
    draw: Callable[[Iterable[pl.DataFrame]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions(FileOptions):
    """What the page is about, and where it is written to.

    Attributes:
        to: The page.
        no_content: True to leave files unread.
        quiet: True for no progress bar.
    """

    to: Path
    no_content: bool
    quiet: bool


def report_command(program: Program, extra: Extra | None = None) -> click.Command:
    """The command ``report`` of a vendor's program.

    Args:
        program: The program.
        extra: A section of the vendor's own.
    """
    tap = program.load_tap()

    def report(**given: Any) -> None:
        options = ReportOptions(**given)
        html = page(_report(options.open(tap), options, extra))
        try:
            options.to.write_text(html, encoding="utf-8")
        except OSError as error:
            message = f"{options.to} cannot be written ({error.strerror}); check --to"
            raise click.ClickException(message) from None
        click.echo(str(options.to))

    left_out = "no rows" + (f", no {extra.title.lower()}" if extra else "")
    return click.Command(
        "report",
        callback=report,
        help=(
            "Write a page about the files that are available, read, missing or about to expire.\n\n"
            "One HTML file that loads nothing from elsewhere. Downloads and reads each file once, "
            "unless --no-content is given."
        ),
        epilog=program.example("report --config config.json --state state.json"),
        params=[
            *file_options(tap.vendor),
            click.Option(
                ["--to"],
                type=click.Path(dir_okay=False, path_type=Path),
                default=f"{program.tool.partition('-')[0]}-report.html",
                show_default=True,
                help="File to write.",
            ),
            click.Option(
                ["--no-content"], is_flag=True, help=f"Do not read the files: {left_out}."
            ),
            quiet_option(),
        ],
    )


def _report(tap: FileTap, options: ReportOptions, extra: Extra | None) -> Report:
    """What the page shows; files that cannot be read are warned about."""
    weighed = weigh(tap.transport, options.stock(tap))
    stock = [entry for entry in weighed if entry.status != GONE]
    bookmarks: Mapping[str, Any] = tap.state.get("bookmarks", {})
    rows: dict[str, int] = {}
    with progress_bar(sum(entry.size or 0 for entry in stock), quiet=options.quiet) as show:
        frames = iter(()) if options.no_content else _frames(tap, stock, rows, show)
        wanted = (frame for stream, frame in frames if extra and stream == extra.stream)
        more = [Section(extra.ident, extra.title, extra.draw(wanted))] if extra else []
        for _ in wanted:  # what nobody has asked for is counted
            pass
    account = tap.transport.account
    return Report(
        heading=f"Export files of {tap.vendor.account} {account}" if account else "Export files",
        source=tap.transport.describe(),
        now=utc_now(),
        generations=[
            # What is made on request has no cadence.
            replace(each, historical=each.historical or bool(tap.specs[each.stream].times))
            for each in generations(stock, rows)
        ],
        types=_types(bookmarks, tap.specs),
        more=more,
    )


def _types(bookmarks: Mapping[str, Any], streams: Iterable[str]) -> list[StreamTypes]:
    """The column types that a state says were emitted."""
    pinned = {name: pinned_types(bookmarks.get(name, {}), name) for name in streams}
    return [
        StreamTypes(name, types, [column for column in types if column + MISFIT_SUFFIX in types])
        for name, types in pinned.items()
        if types
    ]


def _frames(
    tap: FileTap,
    stock: Sequence[Available],
    rows: dict[str, int],
    show: Callable[[int], object],
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Read the files.

    Args:
        tap: The tap.
        stock: The files.
        rows: Gets the key of each file that can be read, and its rows.
        show: Called with the bytes of all files read so far.

    Yields:
        Stream and batch.
    """
    bookmarks, before = tap.state.get("bookmarks", {}), 0
    for entry in stock:
        file, last = entry.file, 0
        try:
            with closing(tap.spool.download(tap.transport, file)) as spooled:
                table = table_for(spooled, tap, bookmarks.get(file.stream, {}))
                for part in read_rows(spooled, table, tap.settings, divert=True):
                    last = part.last
                    yield file.stream, part.frame
            rows[file.key] = last
        except ExportError as error:
            logger.warning("%s", error)
        before += entry.size or 0
        show(before)
