"""The command ``firstup-dde``, for people."""

from __future__ import annotations

import io
import re
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import polars as pl
    from rich.console import Console

    from filetap.people.inventory import Available
    from tap_firstup_dde.tap import TapFirstupDDE

STREAMS = ("campaigns", "users", "activities")  # here, too, so that help loads no data library
_AGO = re.compile(r"([0-9]+)([dh])")


class Since(click.ParamType):  # type: ignore[type-arg]  # generic in newer click only
    """A time, or a span before now: ``3d``, ``12h``."""

    name = "time"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: Any) -> datetime:
        from filetap.files import parse_generation  # noqa: PLC0415

        if isinstance(value, datetime):
            return value
        try:
            if match := _AGO.fullmatch(value):
                unit = "days" if match[2] == "d" else "hours"
                return datetime.now(UTC) - timedelta(**{unit: int(match[1])})
            return parse_generation(value)
        except (OverflowError, ValueError):
            self.fail(f"{value!r} is not a time like 2026-05-14, 2026-05-14-16, 3d or 12h")


class People(click.Group):
    """Commands whose foreseen errors are one line, with status 1."""

    @override
    def invoke(self, ctx: click.Context) -> Any:
        import logging  # noqa: PLC0415

        from filetap.errors import ExportError  # noqa: PLC0415
        from filetap.output import check_output, set_up_output  # noqa: PLC0415
        from filetap.redaction import SECRECY  # noqa: PLC0415

        set_up_output()
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            check_output()
            result = super().invoke(ctx)
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


def _tap(config: tuple[str, ...], state: Path | None) -> TapFirstupDDE:
    """The tap with settings as on its own command line, and a state.

    Raises:
        click.ClickException: The settings, or the state, cannot be used.
    """
    from singer_sdk.exceptions import ConfigValidationError  # noqa: PLC0415

    from filetap.settings import settings_warnings  # noqa: PLC0415
    from filetap.singer.inputs import read_file  # noqa: PLC0415
    from tap_firstup_dde.tap import TapFirstupDDE  # noqa: PLC0415

    try:
        option = click.Option(["--config"])
        given = TapFirstupDDE.cb_config(click.get_current_context(), option, config)
        tap = TapFirstupDDE(
            config=given.config,
            parse_env_config=given.parse_env,
            state=None if state is None else read_file("--state", state),
            setup_mapper=False,
        )
    except ConfigValidationError as error:
        raise click.ClickException("settings: " + "; ".join(error.errors)) from None
    for warning in settings_warnings(tap.config):
        tap.logger.warning("%s", warning)
    return tap


def _stock(
    tap: TapFirstupDDE,
    streams: Iterable[str],
    since: datetime | None,
    *,
    has_state: bool,
    sizes: bool = True,
) -> list[Available]:
    """The available files of some streams, generated at *since* or later."""
    from filetap.people.inventory import Limits, take_stock  # noqa: PLC0415

    state = tap.state if has_state else None
    limits = Limits.of(tap.config)
    return take_stock(tap.transport, streams or STREAMS, state, limits, since=since, sizes=sizes)


def _console(*, stderr: bool = False) -> Console:
    """A console; what is no terminal gets lines as long as they are."""
    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 240
    return console


def _shown(text: str) -> str:
    """A text of somebody else's, without what a terminal would obey."""
    from filetap.redaction import printable  # noqa: PLC0415

    return printable(text)


def _asks(*, state: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options of a command that asks Firstup."""
    config = click.option(
        "--config",
        multiple=True,
        metavar="FILE",
        help="Settings, as the tap's: a JSON file, or ENV. TAP_FIRSTUP_DDE_… without it.",
    )
    held = click.option(
        "--state",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The tap's last STATE: tells what was read.",
    )

    def add(function: Callable[..., None]) -> Callable[..., None]:
        return config(held(function) if state else function)

    return add


def _chooses(function: Callable[..., None]) -> Callable[..., None]:
    """The options that choose files."""
    streams = click.option(
        "--stream", "streams", multiple=True, type=click.Choice(STREAMS), help="Only this one."
    )
    since = click.option(
        "--since",
        type=Since(),
        help="Only files generated at that time or later: 2026-05-14, 2026-05-14-16, 3d, 12h.",
    )
    return streams(since(function))


@click.group(cls=People, epilog="Example: firstup-dde doctor --config config.json")
@click.version_option(package_name="tap-firstup-dde", prog_name="firstup-dde")
def main() -> None:
    """See, fetch and check Firstup's export files; try all of it without Firstup.

    Exit status: 0 done, 1 it failed (one line says why), 2 the command was misspelt.
    """


@main.command(epilog="Example: firstup-dde files --config config.json --state state.json")
@_asks()
@_chooses
@click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)
def files(
    *,
    config: tuple[str, ...],
    state: Path | None,
    streams: tuple[str, ...],
    since: datetime | None,
    output: str,
) -> None:
    """List the export files that can be fetched now, and what the next run reads.

    Times are UTC. A file of the API is gone seven days after it was generated.
    """
    import json  # noqa: PLC0415

    from filetap.people.inventory import utc_now  # noqa: PLC0415

    stock = _stock(_tap(config, state), streams, since, has_state=state is not None)
    now = utc_now()
    if output == "json":
        click.echo(json.dumps([entry.as_json(now) for entry in stock], indent=2))
        return
    console, table = _console(), _table(stock, now)
    # A key that is cut is of no use: a narrow terminal wraps lines instead.
    unbounded = console.options.update(max_width=1000)
    console.width = max(console.width, console.measure(table, options=unbounded).maximum)
    console.print(table)


def _table(stock: Sequence[Available], now: datetime) -> Any:
    """The files as a table, with totals."""
    from rich.table import Table  # noqa: PLC0415

    from filetap.people.inventory import (  # noqa: PLC0415
        GONE,
        LEFT_OUT,
        PARTLY,
        PENDING,
        READ,
        size_words,
        span_words,
    )

    styles = {PENDING: "yellow", PARTLY: "yellow", READ: "green", LEFT_OUT: "dim", GONE: "red"}
    table = Table(box=None, pad_edge=False, show_footer=True)
    columns = ("stream", "generated", "file", "key", "size", "age", "expires", "status")
    totals = _totals(stock)
    for name, total in zip(columns, totals, strict=True):
        right = name in {"size", "age", "expires"}
        table.add_column(name, total, justify="right" if right else "left", no_wrap=True)
    for entry in stock:
        left = entry.expires_at - now if entry.expires_at else None
        table.add_row(
            entry.file.stream,
            entry.file.generated_at.isoformat(" ", "minutes")[:16],
            _shown(entry.file.file_name) + (" (historical)" if entry.file.historical else ""),
            entry.file.key,
            size_words(entry.size),
            span_words(now - entry.file.generated_at),
            "" if left is None else span_words(left) if left > timedelta() else "overdue",
            entry.status or "",
            style=styles.get(entry.status or "", ""),
        )
    return table


def _totals(stock: Sequence[Available]) -> tuple[str, ...]:
    """The table's last row."""
    from collections import Counter  # noqa: PLC0415

    from filetap.people.inventory import size_words  # noqa: PLC0415
    from filetap.wording import counted  # noqa: PLC0415

    statuses = Counter(entry.status for entry in stock if entry.status)
    size = sum(entry.size or 0 for entry in stock)
    told = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    return (counted(len(stock), "file"), "", "", "", size_words(size), "", "", told)


@main.command(
    epilog="Example: firstup-dde get --config config.json --since 2d --to exports --unzip"
)
@_asks()
@_chooses
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--all", "everything", is_flag=True, help="Every available file.")
@click.option("--pending", is_flag=True, help="Those that the next run with --state would read.")
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    default=".",
    show_default="here",
    help="Folder they go to.",
)
@click.option("--unzip", is_flag=True, help="Decompress gzip: plain CSV.")
@click.option("--quiet", is_flag=True, help="No progress; only what is wrong.")
def get(  # noqa: PLR0913  # one per option
    *,
    config: tuple[str, ...],
    state: Path | None,
    streams: tuple[str, ...],
    since: datetime | None,
    keys: tuple[str, ...],
    everything: bool,
    pending: bool,
    to: Path,
    unzip: bool,
    quiet: bool,
) -> None:
    """Download export files, verified as the tap verifies them.

    Name files by the KEY that `files` shows, or choose them by --since, --stream, --pending or
    --all. What is there already is not fetched again; a download that broke off goes on. Prints
    the path of each file.
    """
    from filetap.people.inventory import GONE, PARTLY, PENDING, weigh  # noqa: PLC0415
    from filetap.people.to_folder import download, present  # noqa: PLC0415
    from filetap.redaction import SECRECY  # noqa: PLC0415

    if not (keys or everything or pending or since or streams):
        message = "name files by their keys, or choose by --since, --stream, --pending or --all"
        raise click.UsageError(message)
    if pending and state is None:
        message = "--pending needs --state"
        raise click.UsageError(message)
    tap = _tap(config, state)
    stock = _stock(tap, streams, since, has_state=state is not None, sizes=False)
    if unknown := set(keys) - {entry.file.key for entry in stock}:
        message = f"no such file is available: {', '.join(sorted(unknown))}; see firstup-dde files"
        raise click.ClickException(message)
    wanted = [
        entry
        for entry in stock
        if (not keys or entry.file.key in keys)
        and (not pending or entry.status in {PENDING, PARTLY})
    ]
    weighed = weigh(tap.transport, wanted)
    chosen = [entry for entry in weighed if entry.status != GONE]
    for entry in weighed:
        if entry.status == GONE:
            message = f"WARNING: {entry.file} is listed and has expired since"
            click.echo(SECRECY.scrub(message), err=True)
    if not wanted:
        click.echo("no file is chosen; see firstup-dde files", err=True)
    with _bar(sum(entry.size or 0 for entry in chosen), quiet=quiet) as show:
        before = 0
        for entry in chosen:
            path = present(entry.file, to, unzip=unzip, size=entry.size)
            if path is None:
                spool = replace(tap.spool, arrived=partial(_show, show, before))
                path = download(tap.transport, spool, entry.file, to, unzip=unzip, size=entry.size)
            before += entry.size or 0
            show(before)
            click.echo(str(path))
    if len(chosen) < len(wanted):
        sys.exit(1)


def _show(show: Callable[[int], object], before: int, here: int) -> None:
    """Show the bytes of the files before, and of the one that is on its way."""
    show(before + here)


@contextmanager
def _bar(total: int, *, quiet: bool) -> Iterator[Callable[[int], object]]:
    """A bar of bytes on stderr, if that is a terminal; gives what tells it how many are here."""
    from rich import progress  # noqa: PLC0415

    console = _console(stderr=True)
    with progress.Progress(
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=total or None)
        yield lambda here: bar.update(task, completed=here)


@main.command(epilog="Example: firstup-dde doctor --config config.json --bundle support.json")
@_asks()
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write what was found, without secrets, to send to somebody who helps.",
)
def doctor(*, config: tuple[str, ...], state: Path | None, bundle: Path | None) -> None:
    """Check the whole way from the settings to typed rows, step by step.

    Stops at the first step that fails, says what to do, and ends with status 1.
    """
    import json  # noqa: PLC0415

    from rich.text import Text  # noqa: PLC0415

    from filetap.people.doctor import MARKS, Examination, support_bundle  # noqa: PLC0415

    console = _console()
    checks = []
    examination = Examination(lambda: _tap(config, state), has_state=state is not None)
    for check in examination.checks():
        checks.append(check)
        mark, plain, style = MARKS[check.outcome]
        rich = "utf" in console.encoding.lower()
        line = Text.assemble(
            (mark if rich else plain, style), f" {check.name:<16} {check.seconds:5.2f} s  "
        )
        console.print(line + Text(_shown(check.detail)), soft_wrap=True)
        if check.hint:
            arrow = "→" if rich else "->"
            console.print(Text(f"  {arrow} {_shown(check.hint)}", style="bold"), soft_wrap=True)
    if bundle:
        try:
            bundle.write_text(
                json.dumps(support_bundle(checks, examination.config), indent=2) + "\n",
                encoding="utf-8",
            )
        except OSError as error:
            message = f"{bundle} cannot be written ({error.strerror}); check --bundle"
            raise click.ClickException(message) from None
        click.echo(f"{bundle} is written; read it before you send it", err=True)
    if checks[-1].outcome == "failed":
        sys.exit(1)


@main.command(epilog="Example: firstup-dde report --config config.json --state state.json")
@_asks()
@_chooses
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    default="firstup-report.html",
    show_default=True,
    help="The page.",
)
@click.option("--no-content", is_flag=True, help="Do not read the files: no rows, no engagement.")
@click.option("--quiet", is_flag=True, help="No progress; only what is wrong.")
def report(  # noqa: PLR0913  # one per option
    *,
    config: tuple[str, ...],
    state: Path | None,
    streams: tuple[str, ...],
    since: datetime | None,
    to: Path,
    no_content: bool,
    quiet: bool,
) -> None:
    """Write a page that shows what is there, what is read, what is missing, and what expires.

    One HTML file, which fetches nothing. Reads each file once, unless --no-content is given.
    """
    from filetap.columns.resolve import pinned_types  # noqa: PLC0415
    from filetap.columns.types import MISFIT_SUFFIX  # noqa: PLC0415
    from filetap.people.inventory import GONE, utc_now  # noqa: PLC0415
    from filetap.people.report.generations import StreamTypes, engagement, generations  # noqa: PLC0415
    from filetap.people.report.page import page  # noqa: PLC0415

    tap = _tap(config, state)
    listed = _stock(tap, streams, since, has_state=state is not None)
    stock = [entry for entry in listed if entry.status != GONE]
    rows: dict[str, int] = {}
    with _bar(sum(entry.size or 0 for entry in stock), quiet=quiet) as show:
        read = () if no_content else _activities(tap, stock, rows, show)
        engaged = engagement(read)
    pinned = {
        name: pinned_types(tap.state.get("bookmarks", {}).get(name, {}), name) for name in STREAMS
    }
    html = page(
        program=tap.transport.program_id,
        source=_source(tap),
        now=utc_now(),
        generations=generations(stock, rows),
        types=[
            StreamTypes(name, types, [c for c in types if c + MISFIT_SUFFIX in types])
            for name, types in pinned.items()
            if types
        ],
        engagement=engaged,
    )
    try:
        to.write_text(html, encoding="utf-8")
    except OSError as error:
        message = f"{to} cannot be written ({error.strerror}); check --to"
        raise click.ClickException(message) from None
    click.echo(str(to))


def _source(tap: TapFirstupDDE) -> str:
    """Where the files come from, without what is secret."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    from filetap.transports.folder import FolderTransport  # noqa: PLC0415
    from tap_firstup_dde.api import FirstupTransport  # noqa: PLC0415

    transport = tap.transport
    if isinstance(transport, FirstupTransport):
        return urlsplit(transport.hosts[0]).hostname or ""
    return transport.where if isinstance(transport, FolderTransport) else ""


def _activities(
    tap: TapFirstupDDE,
    stock: Sequence[Available],
    rows: dict[str, int],
    show: Callable[[int], object],
) -> Iterator[pl.DataFrame]:
    """The blocks of the activities' files; counts the rows of every file on the way."""
    import logging  # noqa: PLC0415
    from contextlib import closing  # noqa: PLC0415

    from filetap.errors import ExportError  # noqa: PLC0415
    from filetap.read.batch import ReadOptions  # noqa: PLC0415
    from tap_firstup_dde.vendor import ADDED, DOCUMENTED  # noqa: PLC0415

    before = 0
    for entry in stock:
        file, count = entry.file, 0
        try:
            with closing(tap.spool.download(tap.transport, file)) as spooled:
                names = DOCUMENTED[file.stream].columns
                for batch in spooled.reader(ReadOptions(ADDED, names, divert=True)):
                    count += batch.frame.height + len(batch.malformed)
                    if file.stream == "activities":
                        yield batch.frame
            rows[file.key] = count
        except ExportError as error:
            logging.getLogger(__name__).warning("%s", error)
        before += entry.size or 0
        show(before)


@main.command(epilog="Example: firstup-dde emulate --port 8765 --generations 3 --new-every 60")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="Port on 127.0.0.1.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Picks the sample data.")
@click.option(
    "--generations",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Generations there are at the start, four hours apart.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    help="Rows of one activities file.",
)
@click.option(
    "--parts",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Files per stream and generation.",
)
@click.option(
    "--url-ttl",
    type=click.IntRange(min=1),
    default=900,
    show_default=True,
    help="Seconds a presigned URL lives.",
)
@click.option(
    "--new-every",
    type=click.FloatRange(min=0, min_open=True),
    help="Add a generation every so many seconds.",
)
@click.option(
    "--deliver",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    help="Push files into this folder, too, as into an SFTP server.",
)
def emulate(  # noqa: PLR0913  # one per option
    *,
    port: int,
    seed: int,
    generations: int,
    rows: int,
    parts: int,
    url_ttl: int,
    new_every: float | None,
    deliver: Path | None,
) -> None:
    """Serve an emulated Firstup with sample data until interrupted.

    Prints one line of JSON once it serves: the settings that reach it. POST to
    /emulator/generations adds a generation, never one of the future, GET
    /emulator/requests counts the requests, DELETE /emulator/requests forgets them.
    """
    # Not above, so that help does not wait for them.
    import json  # noqa: PLC0415
    import queue  # noqa: PLC0415
    from datetime import UTC, datetime  # noqa: PLC0415

    from filetap.wording import counted  # noqa: PLC0415
    from tap_firstup_dde.emulator import Emulator  # noqa: PLC0415
    from tap_firstup_dde.sample_data import INTERVAL  # noqa: PLC0415

    signals: queue.SimpleQueue[int] = queue.SimpleQueue()  # its put() may interrupt its get()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _: signals.put(caught))
    now = datetime.now(UTC)
    newest = now - (now - datetime.min.replace(tzinfo=UTC)) % INTERVAL
    emulator = Emulator(
        port=port,
        seed=seed,
        rows=rows,
        parts=parts,
        url_ttl=url_ttl,
        deliver=deliver,
        first_generation=newest - INTERVAL * max(0, generations - 1),
        up_to_now=True,
    )
    try:
        emulator.start()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        message = f"cannot serve on 127.0.0.1:{port}: {reason}; try another --port"
        raise click.ClickException(message) from None
    try:
        for _ in range(generations):
            emulator.add_generation()
        click.echo(json.dumps(emulator.settings))
        click.echo(f"{counted(len(emulator.files), 'file')}; stop with Ctrl-C", err=True)
        while True:
            try:
                signals.get(timeout=new_every)
                break
            except queue.Empty:
                emulator.add_generation()
                click.echo("One more generation", err=True)
    finally:
        emulator.stop()
