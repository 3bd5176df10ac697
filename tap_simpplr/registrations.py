"""The commands ``registrations`` and ``full-load``: what Simpplr exports.

Each registration replaces the whole list, so the list is read first, and the difference is shown.
Nothing is posted without ``--yes``.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from filetap.people.options import TapOptions, tap_options
from filetap.people.terminal import console
from filetap.singer.tap import FileTap
from tap_simpplr.api import FREQUENCIES, Connection, Registration, SimpplrAPI
from tap_simpplr.delivered import ENTITIES, stream_of
from tap_simpplr.vendor import SIMPPLR, insecure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from filetap.people.cli import Program

_API_SETTINGS = ("api_url", "client_id", "client_secret")


@dataclass(frozen=True, slots=True)
class Change:
    """An entity and its frequency, before a change of the list and after it.

    Attributes:
        entity: Its name, as Simpplr states it.
        before: The frequency; None if it is not exported.
        after: The same, after the change.
    """

    entity: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        """A line that begins with ``+`` (added), ``-`` (removed), ``~`` (changed) or a blank."""
        if self.before is None:
            return f"+ {self.entity} ({self.after})"
        if self.after is None:
            return f"- {self.entity} ({self.before})"
        if self.before != self.after:
            return f"~ {self.entity} ({self.before} → {self.after})"
        return f"  {self.entity} ({self.after})"


def _faults(config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the settings of the API."""
    if missing := [name for name in _API_SETTINGS if not config.get(name)]:
        yield f"the API needs {', '.join(missing)}"
    yield from insecure(config)


class _WithAPI(FileTap):
    """The tap, as far as its settings reach the API: it needs no folder."""

    vendor = replace(SIMPPLR, faults=_faults)


def connection_of(config: Mapping[str, Any]) -> Connection:
    """How the API is reached, out of validated settings."""
    return Connection(
        config["api_url"].rstrip("/").removesuffix("/b2b"),
        (config.get("auth_url") or "").rstrip("/"),
        config["client_id"].rstrip("\r\n"),
        config["client_secret"].rstrip("\r\n"),
        (config.get("scope") or "").strip(),
    )


def has_api(config: Mapping[str, Any]) -> bool:
    """True if the settings name an API and a client."""
    return not any(_faults(config))


def open_api(tap: FileTap) -> SimpplrAPI:
    """The API that a tap's settings reach."""
    settings = tap.settings
    return SimpplrAPI(connection_of(tap.config), settings.timeout, settings.retries)


def registrations_command(program: Program) -> click.Command:
    """The command ``registrations``."""
    return click.Command(
        "registrations",
        callback=_registrations,
        help=(
            "List what Simpplr exports, or change it.\n\n"
            "Without an ACTION, lists every entity that is or was registered. `set` registers "
            "these entities and no others, `add` and `remove` change the list and keep the rest, "
            "`disable` ends all exports. The difference is shown; nothing is posted without --yes."
        ),
        epilog=program.example("registrations add content 'user logins' --yes"),
        params=[
            *tap_options(_WithAPI.vendor)[:1],
            click.Argument(
                ["action"],
                type=click.Choice(["list", "set", "add", "remove", "disable"]),
                default="list",
                required=False,
            ),
            click.Argument(["entities"], nargs=-1, metavar="[ENTITY]..."),
            click.Option(
                ["--frequency"],
                type=click.Choice(FREQUENCIES),
                help="How often all of them are exported; by default as often as now.",
            ),
            _yes_option(),
            click.Option(
                ["--output"],
                type=click.Choice(["table", "json"]),
                default="table",
                show_default=True,
                help="A table for people, JSON for programs.",
            ),
        ],
    )


def full_load_command(program: Program) -> click.Command:
    """The command ``full-load``."""
    return click.Command(
        "full-load",
        callback=_full_load,
        help=(
            "Ask for complete files: the next scheduled file of each ENTITY then has all rows.\n\n"
            "Nothing is posted without --yes."
        ),
        epilog=program.example("full-load user content --yes"),
        params=[
            *tap_options(_WithAPI.vendor)[:1],
            click.Argument(["entities"], nargs=-1, required=True, metavar="ENTITY..."),
            _yes_option(),
        ],
    )


def _yes_option() -> click.Option:
    """The option that posts."""
    return click.Option(["--yes"], is_flag=True, help="Post it; without, it is only shown.")


def _registrations(  # noqa: PLR0913 - the command's options
    *,
    config: tuple[str, ...],
    action: str,
    entities: tuple[str, ...],
    frequency: str | None,
    yes: bool,
    output: str,
) -> None:
    """List or change what is exported."""
    if action == "list" and (entities or frequency):
        message = "to change the list, say set, add, remove or disable"
        raise click.UsageError(message)
    if action in {"set", "add", "remove"} and not entities:
        message = f"{action} needs an entity"
        raise click.UsageError(message)
    if action == "disable" and (entities or frequency):
        message = "disable takes neither entities nor a frequency: it ends all exports"
        raise click.UsageError(message)
    api = open_api(TapOptions(config=config, state=None).open(_WithAPI))
    found = api.registrations()
    if action == "list":
        _show(found, output)
        return
    before = [one for one in found if one.active]
    after = _changed(action, before, _known(entities, found))
    often = frequency or (_frequency(before) if after else "")
    # The whole list is posted with one frequency, so posting it would change those that differ.
    stays = frequency is None and {*after} == {one.entity for one in before}
    changes = [] if stays else _difference(before, after, often)
    if output == "table":  # before anything is posted
        for one in changes:
            click.echo(str(one))
    if posted := bool(changes) and yes:
        api.register(after, often)
    if output == "json":
        shown = {"posted": posted, "changes": [asdict(one) for one in changes]}
        click.echo(json.dumps(shown, indent=2))
    click.echo(_outcome(changes, posted=posted), err=True)


def _full_load(*, config: tuple[str, ...], entities: tuple[str, ...], yes: bool) -> None:
    """Ask for complete files."""
    api = open_api(TapOptions(config=config, state=None).open(_WithAPI))
    active = {stream_of(one.entity): one for one in api.registrations() if one.active}
    wanted = _known(entities, active.values())
    if lacking := [entity for entity in wanted if stream_of(entity) not in active]:
        message = (
            f"not registered, so there is no next file: {', '.join(lacking)}; see registrations add"
        )
        raise click.ClickException(message)
    for entity in wanted:
        one = active[stream_of(entity)]
        click.echo(f"* {one.entity}: the next {one.frequency} file has all rows")
    if yes:
        api.full_load(wanted)
        click.echo("posted", err=True)
    else:
        click.echo("nothing was posted; add --yes to post it", err=True)


def _known(entities: Iterable[str], registered: Iterable[Registration]) -> list[str]:
    """The entities by the names that Simpplr has for them.

    Args:
        entities: As people spell them: display names, or names of streams or folders.
        registered: What Simpplr lists, which may be more than what is documented, and one entity
            in two spellings: that of an active registration is preferred.

    Raises:
        ClickException: One is not known.
    """
    names = {stream_of(entity): entity for entity in ENTITIES}
    by_activity = sorted(registered, key=lambda one: one.active)
    names |= {stream_of(one.entity): one.entity for one in by_activity}
    found = []
    for entity in entities:
        stream = stream_of(entity)
        if stream not in names:
            near = get_close_matches(stream, names, n=3, cutoff=0.5)
            nearest = ", ".join(names[name] for name in near)
            message = f"{entity} is not an entity" + (f"; did you mean {nearest}?" if near else "")
            message += f"; there are: {', '.join(sorted(names.values()))}"
            raise click.ClickException(message)
        found.append(names[stream])
    return list(dict.fromkeys(found))


def _changed(action: str, before: Sequence[Registration], entities: Sequence[str]) -> list[str]:
    """The entities that are exported after a change."""
    names = list(dict.fromkeys(one.entity for one in before))
    if action == "add":
        return list(dict.fromkeys([*names, *entities]))
    if action == "remove":
        ended = {stream_of(entity) for entity in entities}
        return [name for name in names if stream_of(name) not in ended]
    return [*entities] if action == "set" else []


def _frequency(before: Iterable[Registration]) -> str:
    """The frequency that most registrations have; ``daily`` if there are none.

    Raises:
        ClickException: One is unknown, and could not be posted as it is.
    """
    counts = Counter(one.frequency for one in before)
    if odd := sorted(counts.keys() - {*FREQUENCIES}):
        message = (
            f"Simpplr lists a frequency that is unknown here: {', '.join(map(repr, odd))}; "
            "all are registered with one frequency, so choose it with --frequency"
        )
        raise click.ClickException(message)
    return counts.most_common(1)[0][0] if counts else "daily"


def _difference(
    before: Sequence[Registration], after: Sequence[str], frequency: str
) -> list[Change]:
    """What a change adds, removes, changes and keeps, in this order; empty for nothing."""
    old = {one.entity: one.frequency for one in before}
    added = [Change(name, None, frequency) for name in after if name not in old]
    removed = [Change(name, old[name], None) for name in old if name not in after]
    stay = [Change(name, old[name], frequency) for name in after if name in old]
    stay.sort(key=lambda one: one.before == one.after)
    changed = any(one.before != one.after for one in stay)
    return [*added, *removed, *stay] if added or removed or changed else []


def _outcome(changes: Sequence[Change], *, posted: bool) -> str:
    """What became of a change."""
    if posted:
        return "posted"
    if changes:
        return "nothing was posted; add --yes to post the whole list"
    return "nothing changes, and nothing was posted"


def _show(found: Sequence[Registration], output: str) -> None:
    """Print the registrations."""
    if output == "json":
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("entity", "stream", "frequency", "active", "registered", "updated"):
        table.add_column(name, no_wrap=True)
    for one in sorted(found, key=lambda one: (not one.active, one.entity)):
        active = "yes" if one.active else "no"
        style = "" if one.active else "dim"
        table.add_row(
            one.entity,
            stream_of(one.entity),
            one.frequency,
            active,
            one.registered_at,
            one.updated_at,
            style=style,
        )
    console().print(table)
