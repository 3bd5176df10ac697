"""Runs the tap in this or another process, and reads what it writes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from filetap.settings import Retries
from filetap.testing.runs import (
    Collector,
    CutOffError,
    Run,
    environment_without,
    run_command,
    run_of,
    run_tap,
)
from filetap.testing.warm import warm
from tap_firstup_dde.api import FirstupTransport
from tap_firstup_dde.tap import TapFirstupDDE
from tap_firstup_dde.vendor import FIRSTUP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest

__all__ = [
    "IMPORTED",
    "PEOPLE",
    "TAP",
    "Collector",
    "Killed",
    "Run",
    "command",
    "connect",
    "discover",
    "merged",
    "run",
    "settings",
    "tune",
    "write",
]


# How the programs start, as a command line, and what they import.
TAP = (sys.executable, "-m", "tap_firstup_dde")
PEOPLE = (sys.executable, "-c", "from tap_firstup_dde.cli import main; main()")
IMPORTED = ("tap_firstup_dde.tap", "tap_firstup_dde.cli", "filetap.people.doctor")


def settings(emulator: Any, **more: Any) -> dict[str, Any]:
    """The tap's settings for *emulator*."""
    return {**emulator.settings, **more}


def connect(config: Mapping[str, Any]) -> FirstupTransport:
    """The API for some settings, with defaults for the others."""
    timeout, retries = config.get("request_timeout", 60.0), config.get("max_retries", 5)
    pause = TapFirstupDDE.tuning.first_pause
    return FirstupTransport(FIRSTUP.source(config), timeout, Retries(retries, pause))


def tune(monkeypatch: pytest.MonkeyPatch, **sizes: Any) -> None:
    """Make sizes of the tap small, or large."""
    monkeypatch.setattr(TapFirstupDDE, "tuning", replace(TapFirstupDDE.tuning, **sizes))


def run(
    config: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    catalog: Mapping[str, Any] | None = None,
) -> Run:
    """Run the tap in this process.

    Raises:
        ExportError: The error that the command line would end with.
    """
    return run_tap(TapFirstupDDE, config, state, catalog, Collector())


def discover(config: Mapping[str, Any], capture: Any) -> dict[str, Any]:
    """The catalog that discovery prints; *capture* is pytest's ``capsys``."""
    TapFirstupDDE(config=dict(config), setup_mapper=False).run_discovery()
    return dict(json.loads(capture.readouterr().out))


def command(
    *arguments: str, env: Mapping[str, str] | None = None, program: Sequence[str] = TAP
) -> Run:
    """Run a command line in a process of its own, with a clean environment.

    Args:
        arguments: Its arguments.
        env: More variables of its environment.
        program: What it begins with. `TAP` and `PEOPLE` are forked from a process that has
            imported them, unless a variable changes how Python starts.
    """
    more = env or {}
    environment = {**environment_without(FIRSTUP.prefix), **more}
    starts_otherwise = any(name.startswith(("LC_", "PYTHON")) for name in more)
    if starts_otherwise or tuple(program) not in {TAP, PEOPLE}:
        return run_command(program, *arguments, env=environment)
    return run_of(warm(*IMPORTED).run([*program[1:], *arguments], environment))


def write(folder: Path, name: str, content: Any) -> str:
    """Write *content* as JSON; returns the path."""
    path = folder / name
    path.write_text(json.dumps(content))
    return str(path)


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """A state as Meltano 4.4 merges *new* into *old*: objects at depth, all else replaced."""
    result = dict(old)
    for name, value in new.items():
        if isinstance(value, dict):
            before = result.get(name)
            value = merged(before if isinstance(before, dict) else {}, value)  # noqa: PLW2901
        result[name] = value
    return result


class Killed:
    """Ends a run at its nth request, or right after it, without a word, as a kill does.

    Args:
        patch: Undoes it.
        number: Which request; the one after it fails, too.
        senders: Modules, and the names of their functions that send requests.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, number: int, senders: Sequence[tuple[Any, str]]
    ) -> None:
        self._left = number
        for module, name in senders:
            patch.setattr(module, name, self._counting(getattr(module, name)))

    def _counting(self, original: Any) -> Any:
        def request(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                raise CutOffError
            response = original(*arguments, **options)
            if self._left == -1:
                raise CutOffError  # after the response
            return response

        return request
