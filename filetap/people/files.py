"""The command ``files``: which export files are available, and how far they were read."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from filetap.people.inventory import (
    GONE,
    LEFT_OUT,
    PARTLY,
    PENDING,
    READ,
    size_words,
    span_words,
    sum_known,
    weigh,
)
from filetap.people.options import FileOptions, file_options
from filetap.people.terminal import console
from filetap.redaction import printable
from filetap.times import utc_now
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from filetap.people.cli import Program
    from filetap.people.inventory import Available
    from filetap.singer.tap import FileTap

_STYLES = {PENDING: "yellow", PARTLY: "yellow", READ: "green", LEFT_OUT: "dim", GONE: "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesOptions(FileOptions):
    """What to list, and how.

    Attributes:
        output: ``table`` or ``json``.
    """

    output: str


def files_command(program: Program) -> click.Command:
    """The command ``files`` of a vendor's program."""
    tap = program.load_tap()

    def files(**given: Any) -> None:
        _list(tap, FilesOptions(**given))

    return click.Command(
        "files",
        callback=files,
        help=(
            "List the export files that are available, and what the next run reads.\n\n"
            f"Times are UTC.{_expiry_help(tap)}"
        ),
        epilog=program.example("files --config config.json --state state.json"),
        params=[
            *file_options(tap.vendor),
            click.Option(
                ["--output"],
                type=click.Choice(["table", "json"]),
                default="table",
                show_default=True,
                help="A table for people, JSON for programs.",
            ),
        ],
    )


def _expiry_help(tap: type[FileTap]) -> str:
    """A sentence about how long files are available; empty if they stay."""
    kept = tap.vendor.retention
    if kept is None:
        return ""
    return f" A file of the API expires {counted(kept.days, 'day')} after it was generated."


def _list(tap_class: type[FileTap], options: FilesOptions) -> None:
    """Print the files."""
    tap = options.open(tap_class)
    stock = weigh(tap.transport, options.stock(tap))
    now = utc_now()
    if options.output == "json":
        click.echo(json.dumps([entry.as_json(now) for entry in stock], indent=2))
        return
    shown, table = console(), _table(stock, now)
    # A key that is cut cannot be used: a narrow terminal wraps lines instead.
    unbounded = shown.options.update(max_width=1000)
    shown.width = max(shown.width, shown.measure(table, options=unbounded).maximum)
    shown.print(table)


def _table(stock: Sequence[Available], now: datetime) -> Table:
    """The files as a table, with totals."""
    table = Table(box=None, pad_edge=False, show_footer=True)
    columns = ("stream", "generated", "file", "key", "size", "age", "expires", "status")
    for name, total in zip(columns, _totals(stock), strict=True):
        right = name in {"size", "age", "expires"}
        table.add_column(name, total, justify="right" if right else "left", no_wrap=True)
    for entry in stock:
        file = entry.file
        left = entry.expires_at - now if entry.expires_at else None
        table.add_row(
            file.stream,
            file.generated_at.isoformat(" ", "minutes")[:16],
            printable(file.file_name) + (" (historical)" if file.historical else ""),
            file.key,
            size_words(entry.size),
            span_words(now - file.generated_at),
            "" if left is None else span_words(left) if left > timedelta() else "overdue",
            entry.status or "",
            style=_STYLES.get(entry.status or "", ""),
        )
    return table


def _totals(stock: Sequence[Available]) -> tuple[str, ...]:
    """The last row of the table."""
    statuses = Counter(entry.status for entry in stock if entry.status)
    size = sum_known(entry.size for entry in stock if entry.status != GONE)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    return (counted(len(stock), "file"), "", "", "", size_words(size), "", "", counts)
