"""The command ``doctor``: everything from the settings to typed rows, step by step."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.text import Text

from filetap.people.database import database_step, schema_option, to_option
from filetap.people.examination import Examination, examine
from filetap.people.options import TapOptions, tap_options
from filetap.people.steps import STEPS
from filetap.people.terminal import console
from filetap.redaction import SECRECY, printable
from filetap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from filetap.people.cli import Program
    from filetap.people.examination import Check, Step

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
    """

    bundle: Path | None
    to: str | None
    schema: str


def doctor_command(program: Program, steps: Mapping[str, Step] = STEPS) -> click.Command:
    """The command ``doctor`` of a vendor's program.

    Args:
        program: The program.
        steps: Name → step, in order.
    """

    def doctor(**given: Any) -> None:
        if not _examine(program, steps, DoctorOptions(**given)):
            sys.exit(1)

    return click.Command(
        "doctor",
        callback=doctor,
        help=(
            "Check everything from the settings to typed rows, step by step.\n\n"
            "Stops at the first step that fails, prints what to do, and exits with status 1."
        ),
        epilog=program.example("doctor --config config.json --bundle support.json"),
        params=[
            *tap_options(program.load_tap().vendor),
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
    examination = Examination(lambda: options.open(tap), has_state=options.state is not None)
    shown, checks = console(), []
    for check in examine(steps, examination):
        checks.append(check)
        _show(check, shown)
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
