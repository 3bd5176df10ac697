"""Runs the tap in this process or in one of its own, and reads what it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from singer_sdk.contrib.msgspec import MsgSpecWriter

from tap_firstup_dde.api import FirstupTransport
from tap_firstup_dde.tap import TapFirstupDDE
from tap_firstup_dde.vendor import FIRSTUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pytest
    from singer_sdk.singerlib.encoding.simple import Message


class Collector(MsgSpecWriter):
    """Keeps every message as a target would read it."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []

    def write_message(self, message: Message | bytes) -> None:
        """Decode at once: the SDK goes on changing the state it gave."""
        lines = message if isinstance(message, bytes) else bytes(self.format_message(message))
        assert lines.endswith(b"\n") or not lines
        self.messages += [json.loads(line) for line in lines.split(b"\n")[:-1]]


@dataclass
class Run:
    """What one run of the tap wrote.

    Attributes:
        messages: Singer messages in order.
        status: Exit status.
        log: Text on stderr; empty for a run in this process.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    status: int = 0
    log: str = ""

    def records(self, stream: str) -> list[dict[str, Any]]:
        """The records of one stream, in order."""
        return [m["record"] for m in self.of("RECORD") if m["stream"] == stream]

    def schema(self, stream: str) -> dict[str, Any]:
        """The last SCHEMA message of one stream."""
        return [m for m in self.of("SCHEMA") if m["stream"] == stream][-1]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The messages of one type, in order."""
        return [m for m in self.messages if m["type"] == kind]

    @property
    def state(self) -> dict[str, Any]:
        """The last STATE; empty when there was none."""
        states = self.of("STATE")
        return states[-1]["value"] if states else {}

    def rows(self, stream: str) -> list[tuple[str, int]]:
        """Source file and row number of each record, in order."""
        return [(r["_sdc_source_file"], r["_sdc_source_lineno"]) for r in self.records(stream)]


def settings(emulator: Any, **more: Any) -> dict[str, Any]:
    """Settings of the tap that reach *emulator*."""
    return {**emulator.settings, **more}


def connect(config: Mapping[str, Any]) -> FirstupTransport:
    """The API that settings name; those that are not given have their defaults."""
    timeout, retries = config.get("request_timeout", 60.0), config.get("max_retries", 5)
    return FirstupTransport(FIRSTUP.source(config), timeout, retries)


def tune(monkeypatch: pytest.MonkeyPatch, **sizes: int) -> None:
    """Make sizes of the tap small, or large."""
    monkeypatch.setattr(TapFirstupDDE, "tuning", replace(TapFirstupDDE.tuning, **sizes))


def run(
    config: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    catalog: Mapping[str, Any] | None = None,
) -> Run:
    """Run the tap in this process.

    Raises:
        ExportError: What the command line would end with.
    """
    collector = Collector()
    tap = TapFirstupDDE(
        config=dict(config),
        state=json.loads(json.dumps(state or {})),
        catalog=json.loads(json.dumps(catalog)) if catalog else None,
        message_writer=collector,
    )
    try:
        tap.sync_all()
    except Exception as error:
        error.add_note(json.dumps(collector.messages)[-200:])
        error.run = Run(collector.messages, 1)  # type: ignore[attr-defined]
        raise
    return Run(collector.messages)


def discover(config: Mapping[str, Any], capture: Any) -> dict[str, Any]:
    """The catalog that discovery prints; *capture* is pytest's ``capsys``."""
    TapFirstupDDE(config=dict(config), setup_mapper=False).run_discovery()
    return dict(json.loads(capture.readouterr().out))


def command(
    *arguments: str, env: Mapping[str, str] | None = None, program: Iterable[str] = ()
) -> Run:
    """Run the tap's command line in a process of its own, with a clean environment."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TAP_FIRSTUP_DDE_")}
    done = subprocess.run(
        [*(program or (sys.executable, "-m", "tap_firstup_dde")), *arguments],
        capture_output=True,
        text=True,
        env={**inherited, **(env or {})},
        timeout=120,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"type"')]
    return Run([json.loads(line) for line in lines], done.returncode, done.stderr)


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
