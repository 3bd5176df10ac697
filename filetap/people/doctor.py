"""The command ``doctor``: everything from the settings to typed rows, step by step."""

from __future__ import annotations

import json
import platform
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.text import Text

from filetap.errors import DatabaseError
from filetap.load.store import Store
from filetap.people.database import database_step, open_database, schema_option, to_option
from filetap.people.examination import Examination, examine
from filetap.people.freshness import (
    Freshness,
    Limits,
    check_freshness,
    expected_streams,
    freshness,
    limit_options,
)
from filetap.people.options import TapOptions, chosen_streams, stream_option, tap_options
from filetap.people.steps import STEPS
from filetap.people.terminal import console
from filetap.redaction import SECRECY, printable
from filetap.times import format_time, utc_now
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from rich.console import Console

    from filetap.people.cli import Program
    from filetap.people.examination import Check, Step
    from filetap.singer.tap import FileTap

_MARKS: Final = {  # the second one where the first cannot be shown
    "ok": ("✓", "+", "green"),
    "doubtful": ("!", "!", "yellow"),
    "skipped": ("-", "-", "dim"),
    "failed": ("✗", "x", "bold red"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions(TapOptions):
    """What to examine.

    Attributes:
        bundle: File that the support bundle is written to; None for no bundle.
        to: The database that is loaded; None for none.
        schema: Its schema; empty for the one that the database chooses.
        streams: Streams that should be fresh; empty for all.
        max_age: Age that a stream's newest generation may have; None for any.
        expires_within: Unread files may not expire within this time; None if they may.
        output: ``text`` or ``json``.
    """

    bundle: Path | None
    to: str | None
    schema: str
    streams: tuple[str, ...]
    max_age: timedelta | None
    expires_within: timedelta | None
    output: str

    @property
    def limits(self) -> Limits:
        """What counts as late."""
        return Limits(self.max_age, self.expires_within)

    def examined(self, tap: type[FileTap], state: Mapping[str, Any] | None) -> FileTap:
        """The tap that is examined.

        Raises:
            ClickException: The settings cannot be used, or a stream does not exist.
            ExportError: The state cannot be used.
        """
        opened = self.open(tap, state)
        chosen_streams(opened, self.streams)
        return opened

    def states(self, tap: type[FileTap]) -> dict[str, Any] | None:
        """The state of what was loaded into the database; None if there is another, or no database.

        The step that checks the database reports why it cannot be read.
        """
        if not self.to or self.state:
            return None
        if self.to.startswith("duckdb:") and not Path(self.to.removeprefix("duckdb:")).exists():
            return {"bookmarks": {}}
        try:
            with closing(open_database(self.to, tap.vendor.tool)) as database:
                states = Store(database, tap.vendor.table_prefix, self.schema).states()
        except DatabaseError:
            return None
        return {"bookmarks": states}


def doctor_command(program: Program, steps: Mapping[str, Step] = STEPS) -> click.Command:
    """The command ``doctor`` of a vendor's program.

    Args:
        program: The program.
        steps: Name → step, in order.
    """
    vendor = program.load_tap().vendor

    def doctor(**given: Any) -> None:
        if not _examine(program, steps, DoctorOptions(**given)):
            sys.exit(1)

    return click.Command(
        "doctor",
        callback=doctor,
        help=(
            "Check everything from the settings to typed rows, step by step.\n\n"
            "Stops at the first step that fails, prints what to do, and exits with status 1. "
            "With limits it also checks that files are fresh, and are read before they expire."
        ),
        epilog=program.example("doctor --config config.json --bundle support.json"),
        params=[
            *tap_options(vendor),
            *limit_options(),
            stream_option(vendor),
            click.Option(
                ["--output"],
                type=click.Choice(["text", "json"]),
                default="text",
                show_default=True,
                help="Lines for people, or one JSON object for programs.",
            ),
            click.Option(
                ["--bundle"],
                type=click.Path(dir_okay=False, path_type=Path),
                help="Write a redacted bundle for a support request.",
            ),
            to_option(required=False),
            schema_option(),
        ],
    )


def _examine(program: Program, steps: Mapping[str, Step], options: DoctorOptions) -> bool:
    """Print every step; False if one failed."""
    tap = program.load_tap()
    if options.to:
        first, *others = steps.items()
        database = database_step(options.to, options.schema, program.tool)
        steps = dict([first, ("database", database), *others])
    if options.limits:
        step = partial(check_freshness, limits=options.limits, streams=options.streams)
        steps = {**steps, "freshness": step}
    states = options.states(tap)
    has_state = options.state is not None or states is not None
    examination = Examination(lambda: options.examined(tap, states), has_state)
    shown, checks = console(), []
    for check in examine(steps, examination):
        checks.append(check)
        if options.output == "text":
            _show(check, shown)
    if options.output == "text":
        click.echo(verdict(checks))
    else:
        click.echo(json.dumps(_as_json(checks, examination, options)))
    if options.bundle:
        known = tap.config_jsonschema["properties"]
        bundle = support_bundle(checks, examination.config, known, program.distribution)
        try:
            options.bundle.write_text(json.dumps(bundle, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            message = f"{options.bundle} cannot be written ({error.strerror}); check --bundle"
            raise click.ClickException(message) from None
        click.echo(f"{options.bundle} is written; read it before you send it", err=True)
    return checks[-1].outcome != "failed"


def _show(check: Check, shown: Console) -> None:
    """Print one step in a line, and what to do in another."""
    unicode = "utf" in shown.encoding.lower()
    mark, plain, style = _MARKS[check.outcome]
    line = Text(mark if unicode else plain, style=style)
    line.append(f" {check.name:<16} {check.seconds:5.2f} s  {printable(check.detail)}", style="")
    shown.print(line, soft_wrap=True)
    if check.hint:
        arrow = "→" if unicode else "->"
        shown.print(Text(f"  {arrow} {printable(check.hint)}", style="bold"), soft_wrap=True)


def verdict(checks: Sequence[Check]) -> str:
    """All checks in a line: ``all well``, or how many problems and warnings there are."""
    failed, doubtful = (
        [check.name for check in checks if check.outcome == outcome]
        for outcome in ("failed", "doubtful")
    )
    if not failed and not doubtful:
        return "all well"
    parts = [(failed, "problem")] if failed else []
    parts += [(doubtful, "warning")] if doubtful else []
    return "; ".join(f"{counted(len(names), word)}: {', '.join(names)}" for names, word in parts)


def _as_json(
    checks: Sequence[Check], examination: Examination, options: DoctorOptions
) -> dict[str, Any]:
    """The object that ``doctor --output json`` prints."""
    now, streams = utc_now(), list[Freshness]()
    if examination.is_listed:
        expected = expected_streams(examination.tap, examination.stock, options.streams)
        has_state = examination.has_state
        streams = freshness(examination.stock, expected, options.limits, now, has_state=has_state)
    return {
        "well": checks[-1].outcome != "failed",
        "verdict": verdict(checks),
        "checked_at": format_time(now),
        "checks": [asdict(check) for check in checks],
        "streams": {each.stream: each.as_json(now) for each in streams},
    }


def support_bundle(
    checks: Sequence[Check],
    config: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]],
    distribution: str,
) -> dict[str, Any]:
    """What somebody who helps needs to know; no secret, no row.

    Args:
        checks: What an examination found.
        config: The settings.
        known: Setting → its JSON Schema, of all settings that exist.
        distribution: Distribution that the tap belongs to.
    """
    packages = (distribution, "singer-sdk", "polars", "awscrt", "requests", "fsspec")
    plain = {name: value for name, value in config.items() if name in known}
    for name, value in plain.items():
        # Options of file systems may hold anything, and a secret may have another setting's name.
        if known[name].get("secret") or isinstance(value, dict):
            plain[name] = "***"
        elif isinstance(value, str):
            plain[name] = SECRECY.scrub(value)
    return {
        "made_at": utc_now().isoformat(timespec="seconds"),
        "python": sys.version,
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in packages},
        "settings": plain,
        "checks": [asdict(check) for check in checks],
    }
