"""The commands ``load`` and ``state``: export files into a database, and the state of them."""

from __future__ import annotations

import json
import logging
import time
from contextlib import closing
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filetap.allocation import keep_freed_memory
from filetap.errors import DatabaseError, SettingsError, StateError
from filetap.load.job_stream import JobLoadStream
from filetap.load.store import Store
from filetap.load.stream import LoadStream
from filetap.people.database import open_database, schema_option, to_option
from filetap.people.options import (
    TapOptions,
    chosen_streams,
    config_option,
    quiet_option,
    stream_option,
)
from filetap.run import Run
from filetap.singer.inputs import check_streams, read_file, usable_state
from filetap.singer.private import plain_logger
from filetap.summary import summarized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filetap.load.database import Database
    from filetap.people.cli import Program
    from filetap.progress import Tally
    from filetap.singer.tap import FileTap


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions(TapOptions):
    """What to load, and where.

    Attributes:
        streams: Names of streams; empty for all.
        to: The database.
        schema: Its schema; empty for the one that the database chooses.
        full_refresh: True to load every available file again.
        state_from: File with a Singer state to start from; None for none.
        replace_nul: Takes the place of NUL characters; None to leave them to the database.
        output: ``text`` or ``json``.
        quiet: True for no progress.
    """

    streams: tuple[str, ...]
    to: str
    schema: str
    full_refresh: bool
    state_from: Path | None
    replace_nul: str | None
    output: str
    quiet: bool


def load_command(program: Program) -> click.Command:
    """The command ``load`` of a vendor's program."""
    tap = program.load_tap()

    def load(**given: Any) -> None:
        _load(tap, LoadOptions(state=None, **given))

    return click.Command(
        "load",
        callback=load,
        help=(
            "Load export files into PostgreSQL or DuckDB, each file in one transaction.\n\n"
            "The database keeps the state beside the rows, so that a run continues where the last "
            "one stopped, however it ended. Reads the files that the tap would read, with the same "
            "columns and types."
        ),
        epilog=program.example("load --config config.json --to duckdb:exports.db"),
        params=[
            config_option(tap.vendor),
            stream_option(tap.vendor),
            to_option(),
            schema_option(),
            click.Option(
                ["--full-refresh"],
                is_flag=True,
                help=(
                    "Load every available file again, replacing its rows. Rows of files that are "
                    "no longer available are kept."
                ),
            ),
            click.Option(
                ["--state-from"],
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="A Singer state to start from; used for streams that have not been loaded.",
            ),
            click.Option(
                ["--replace-nul"],
                metavar="TEXT",
                help=(
                    "Replaces NUL characters, which PostgreSQL cannot store; may be empty. By "
                    "default a file that has one is refused."
                ),
            ),
            click.Option(
                ["--output"],
                type=click.Choice(["text", "json"]),
                default="text",
                show_default=True,
                help="What is printed at the end: nothing, or what was loaded as JSON.",
            ),
            quiet_option(),
        ],
    )


def state_command(program: Program) -> click.Command:
    """The command ``state`` of a vendor's program."""
    vendor = program.load_tap().vendor

    def state(to: str, schema: str) -> None:
        path = Path(to.removeprefix("duckdb:"))
        if to.startswith("duckdb:") and not path.exists():
            msg = f"the database {path} does not exist"
            raise DatabaseError(msg, "check --to")
        with closing(open_database(to, vendor.tool)) as database:
            states = Store(database, vendor.table_prefix, schema).states()
        click.echo(json.dumps({"bookmarks": states}, ensure_ascii=False, indent=2))

    return click.Command(
        "state",
        callback=state,
        help=(
            "Print the state of what was loaded, as a Singer state.\n\n"
            "The tap takes it by --state, and `load` by --state-from."
        ),
        epilog=program.example("state --to duckdb:exports.db"),
        params=[to_option(), schema_option()],
    )


def _load(tap_class: type[FileTap], options: LoadOptions) -> None:
    """Load, and print what was loaded."""
    tap = options.open(tap_class)
    _refuse_maps(tap)
    tap.check_streams()
    logger = plain_logger(tap.logger)
    logger.setLevel(logging.WARNING if options.quiet else logging.INFO)
    if tap.config.get("flattening_enabled"):
        logger.warning("flattening_enabled has no effect: load keeps objects as JSON")
    given = _given_state(options.state_from)
    if tap.vendor.newest is None:  # otherwise there are streams that are not documented
        check_streams(None, {"bookmarks": given}, tap.vendor.streams)
    keep_freed_memory()
    started = time.monotonic()
    with (
        summarized(tap.settings.summary, tap.vendor.tool, tap.progress),
        closing(_opened(tap, options.to)) as database,
        tap.progress,
    ):
        store = Store(database, tap.vendor.table_prefix, options.schema, options.replace_nul)
        states = store.states()
        run = Run(tap.vendor, tap.settings, tap.transport, tap.spool, tap.progress)
        tallies = []
        tap.looks_back = bool(states) and not options.full_refresh
        for stream in sorted(given.keys() - tap.specs.keys()):
            near = get_close_matches(stream, tap.specs, n=1, cutoff=0)
            message = "--state-from has a stream %s, which does not exist; did you mean %s?"
            logger.warning(message, stream, *near)
        for stream in chosen_streams(tap, options.streams):
            state, is_stored = states.get(stream, {}), True
            if given.get(stream) and state:
                logger.warning("%s: the database has a state, so --state-from is not used", stream)
            elif given.get(stream):
                state, is_stored = given[stream], False
            spec, log = tap.specs[stream], logger.getChild(stream)
            loader = JobLoadStream if spec.times else LoadStream
            loading = loader(run, store, spec, log)
            tallies.append(loading.tally)
            again = options.full_refresh or spec.full_table
            loading.load(state, is_stored=is_stored, again=again)
    if options.output == "json":
        click.echo(json.dumps(_as_json(tallies, time.monotonic() - started)))


def _opened(tap: FileTap, to: str) -> Database:
    """The database."""
    return open_database(to, tap.vendor.tool, tap.settings.spool)


def _as_json(tallies: list[Tally], seconds: float) -> dict[str, Any]:
    """The object that ``load --output json`` prints."""
    streams = {
        tally.stream: {
            "files": tally.files_done,
            "rows": tally.rows,
            "misfits": tally.misfits,
            "diverted_rows": tally.diverted,
            "bytes": tally.bytes,
            "seconds": round(tally.seconds, 3),
        }
        for tally in tallies
    }
    return {
        "streams": streams,
        "files": sum(tally.files_done for tally in tallies),
        "rows": sum(tally.rows for tally in tallies),
        "seconds": round(seconds, 3),
    }


def _given_state(path: Path | None) -> Mapping[str, Any]:
    """Stream → its part of the state in a file.

    Raises:
        StateError: It is not a state, or is empty.
    """
    if path is None:
        return {}
    state = usable_state(read_file("--state-from", path))
    bookmarks = (state or {}).get("bookmarks")
    if not bookmarks:
        msg = f"--state-from {path}: the state is empty"
        raise StateError(msg, "omit the option to load every file")
    return dict(bookmarks)


def _refuse_maps(tap: FileTap) -> None:
    """Refuse stream maps: values that they hide must not be loaded.

    Raises:
        SettingsError: There are some.
    """
    if tap.settings.maps:
        msg = "stream_maps is set, and load does not apply stream maps"
        raise SettingsError(msg, "remove it, or load with a Singer target")
