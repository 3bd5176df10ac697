"""The command ``report``: a page about the available files and what they hold."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filetap.columns.resolve import pinned_types
from filetap.columns.types import MISFIT_SUFFIX
from filetap.errors import ExportError, SettingsError
from filetap.people.contents import check_names, read_rows, table_for
from filetap.people.freshness import Limits, expected_streams, freshness, limit_options
from filetap.people.inventory import GONE, weigh
from filetap.people.options import FileOptions, file_options, quiet_option
from filetap.people.report.generations import StreamTypes, generations
from filetap.people.report.page import Report, Section, page
from filetap.people.terminal import progress_bar
from filetap.times import utc_now
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    import polars as pl

    from filetap.people.cli import Program
    from filetap.people.inventory import Available
    from filetap.singer.tap import FileTap
    from filetap.table import KnownTable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Extra:
    """A section that is made of the rows of some streams.

    Attributes:
        ident: Its id, which links lead to.
        title: Its heading.
        streams: Names of the streams.
        draw: Stream and batch of text columns, for all batches → HTML; none if files are not read.
    """

    ident: str
    title: str
    streams: tuple[str, ...]
    draw: Callable[[Iterable[tuple[str, pl.DataFrame]]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions(FileOptions):
    """What the page is about, and where it is written to.

    Attributes:
        max_age: Age that a stream's newest generation may have; None for any.
        expires_within: Unread files may not expire within this time; None if they may.
        to: The page.
        no_content: True to leave files unread.
        quiet: True for no progress bar.
    """

    max_age: timedelta | None
    expires_within: timedelta | None
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
        options, problems = ReportOptions(**given), list[str]()
        html = page(_report(options.open(tap), options, extra, problems))
        try:
            options.to.write_text(html, encoding="utf-8")
        except OSError as error:
            message = f"{options.to} cannot be written ({error.strerror}); check --to"
            raise click.ClickException(message) from None
        click.echo(str(options.to))
        if problems:
            raise click.ClickException("; ".join(problems))

    left_out = "no rows" + (f", no {extra.title.lower()}" if extra else "")
    return click.Command(
        "report",
        callback=report,
        help=(
            "Write a page about the files that are available, read, missing or about to expire.\n\n"
            "One HTML file that loads nothing from elsewhere. Downloads and reads each file once, "
            "unless --no-content is given. Exits with status 1 if a file cannot be read, or if "
            "files are not fresh by --max-age and --expires-within."
        ),
        epilog=program.example("report --config config.json --state state.json"),
        params=[
            *file_options(tap.vendor),
            *limit_options(),
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


def _report(
    tap: FileTap, options: ReportOptions, extra: Extra | None, problems: list[str]
) -> Report:
    """What the page shows; files that cannot be read are warned about.

    Args:
        tap: The tap.
        options: What the page is about.
        extra: A section of the vendor's own.
        problems: Receives what is not as it should be.
    """
    weighed = weigh(tap.transport, options.stock(tap))
    stock = [entry for entry in weighed if entry.status != GONE]
    bookmarks: Mapping[str, Any] = tap.state.get("bookmarks", {})
    rows: dict[str, int] = {}
    damaged: list[str] = []
    with progress_bar(sum(entry.size or 0 for entry in stock), quiet=options.quiet) as show:
        frames = iter(()) if options.no_content else _frames(tap, stock, rows, damaged, show)
        wanted = (each for each in frames if extra and each[0] in extra.streams)
        more = [Section(extra.ident, extra.title, extra.draw(wanted))] if extra else []
        for _ in wanted:  # what nobody has asked for is counted
            pass
    limits = Limits(options.max_age, options.expires_within)
    expected = expected_streams(tap, stock, options.streams)
    for each in freshness(stock, expected, limits, utc_now()):
        problems += each.problems
    if not options.no_content and (unreadable := len({e.file.key for e in stock} - rows.keys())):
        problems.append(f"{counted(unreadable, 'file')} cannot be read; the log names them")
    account = tap.transport.account
    return Report(
        heading=f"Export files of {tap.vendor.account} {account}" if account else "Export files",
        source=tap.transport.describe(),
        now=utc_now(),
        generations=generations(stock, rows, [s for s, spec in tap.specs.items() if spec.times]),
        types=_types(bookmarks, tap.specs),
        more=more,
        damaged=damaged,
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
    damaged: list[str],
    show: Callable[[int], object],
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Read the files.

    Args:
        tap: The tap.
        stock: The files.
        rows: Gets the key of each file that can be read, and its rows.
        damaged: Gets a message about each file that cannot be read.
        show: Called with the bytes of all files read so far.

    Yields:
        Stream and batch.
    """
    bookmarks, before = tap.state.get("bookmarks", {}), 0
    tables: dict[str, KnownTable] = {}
    found: dict[str, frozenset[str]] = {}
    for entry in stock:
        file, last = entry.file, 0
        try:
            with closing(tap.spool.download(tap.transport, file)) as spooled:
                table = table_for(spooled, tap, bookmarks.get(file.stream, {}))
                tables[file.stream] = table
                found[file.stream] = found.get(file.stream, frozenset()) | table.known.found
                for part in read_rows(spooled, table, tap.settings, divert=tap.settings.diverts):
                    last = part.last
                    yield file.stream, part.frame
            rows[file.key] = last
        except ExportError as error:
            logger.warning("%s", error)
            damaged.append(str(error))
        before += entry.size or 0
        show(before)
    for stream, table in tables.items():
        try:
            doubts = [f"{stream}: {doubt}" for doubt in check_names(table, found[stream])]
        except SettingsError as error:
            doubts = [str(error)]
        for doubt in doubts:
            logger.warning("%s", doubt)
