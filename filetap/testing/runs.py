"""Runs a tap in this process or in one of its own, and reads what it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from singer_sdk.contrib.msgspec import MsgSpecWriter

from filetap.testing.warm import warm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from singer_sdk.singerlib.encoding.simple import Message

    from filetap.singer.tap import FileTap

Json = dict[str, Any]


class CutOffError(BaseException):
    """Cuts a run off: its target receives only what was written before."""


class Collector(MsgSpecWriter):
    """Keeps every message as a target would read it.

    Args:
        most: Messages after which the run is cut off; None for never.
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self.messages: list[Json] = []
        self._most = most

    def write_message(self, message: Message | bytes) -> None:
        """Decode at once, since the SDK keeps changing the state that it passes.

        Raises:
            CutOffError: The limit is reached; of a block, perhaps only a part is received.
        """
        lines = message if isinstance(message, bytes) else bytes(self.format_message(message))
        assert lines.endswith(b"\n") or not lines
        self.messages += [json.loads(line) for line in lines.split(b"\n")[:-1]]
        if self._most is not None and len(self.messages) >= self._most:
            del self.messages[self._most :]
            raise CutOffError


@dataclass
class Run:
    """What one run of a tap wrote.

    Attributes:
        messages: Singer messages in order.
        status: Exit status.
        log: Text on stderr; empty for a run in this process.
        out: Text on stdout; empty for a run in this process.
    """

    messages: list[Json] = field(default_factory=list)
    status: int = 0
    log: str = ""
    out: str = field(default="", repr=False)

    def records(self, stream: str) -> list[Json]:
        """The records of one stream, in order."""
        return [m["record"] for m in self.of("RECORD") if m["stream"] == stream]

    def schema(self, stream: str) -> Json:
        """The last SCHEMA message of one stream."""
        return [m for m in self.of("SCHEMA") if m["stream"] == stream][-1]

    def of(self, kind: str) -> list[Json]:
        """The messages of one type, in order."""
        return [m for m in self.messages if m["type"] == kind]

    @property
    def state(self) -> Json:
        """The last STATE; empty if there was none."""
        states = self.of("STATE")
        return states[-1]["value"] if states else {}

    def rows(self, stream: str) -> list[tuple[str, int]]:
        """Source file and row number of each record, in order."""
        return [(r["_sdc_source_file"], r["_sdc_source_lineno"]) for r in self.records(stream)]

    def at_state(self) -> tuple[Run, Run]:
        """The run up to its last STATE, and what it wrote after that."""
        kinds = [message["type"] for message in self.messages]
        end = len(kinds) - kinds[::-1].index("STATE") if "STATE" in kinds else 0
        return Run(self.messages[:end]), Run(self.messages[end:])


def run_tap(
    tap: type[FileTap],
    config: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
    catalog: Mapping[str, Any] | None = None,
    collector: Collector | None = None,
) -> Run:
    """Run a tap in this process.

    Args:
        tap: The tap's class.
        config: Its settings.
        state: State of an earlier run.
        catalog: Input catalog.
        collector: Receives the messages; perhaps one that cuts the run off.

    Raises:
        ExportError: What the command line would end with; the run so far is its attribute ``run``.
    """
    collector = collector or Collector()
    running = tap(
        config=dict(config),
        state=json.loads(json.dumps(state or {})),
        catalog=json.loads(json.dumps(catalog)) if catalog else None,
        message_writer=collector,
    )
    try:
        running.sync_all()
    except CutOffError:
        return Run(collector.messages, 1)
    except Exception as error:
        error.add_note(json.dumps(collector.messages)[-200:])
        error.run = Run(collector.messages, 1)  # type: ignore[attr-defined]
        raise
    return Run(collector.messages)


def program_of(tap: type[FileTap]) -> tuple[str, ...]:
    """The command line that starts a tap's program, wherever its class is defined."""
    start = f"run_program('{tap.__module__}:{tap.__qualname__}')"
    path = f"import sys; sys.path[:] = {sys.path!r}"
    return sys.executable, "-c", f"{path}; from filetap.singer.main import run_program; {start}"


def run_program(tap: type[FileTap], *arguments: str, env: Mapping[str, str]) -> Run:
    """Run a tap's command line in a process that need not import it (`filetap.testing.warm`).

    Args:
        tap: The tap's class.
        arguments: The arguments.
        env: The complete environment.
    """
    start = f"run_program('{tap.__module__}:{tap.__qualname__}')"
    code = f"from filetap.singer.main import run_program; {start}"
    return run_of(warm(tap.__module__).run(["-c", code, *arguments], env))


def run_command(program: Iterable[str], *arguments: str, env: Mapping[str, str]) -> Run:
    """Run a tap's command line in a process of its own.

    Args:
        program: The command that starts it.
        arguments: Further arguments.
        env: Its complete environment.
    """
    done = subprocess.run(
        [*program, *arguments], capture_output=True, text=True, env=env, timeout=120, check=False
    )
    return run_of(done)


def run_of(done: subprocess.CompletedProcess[str]) -> Run:
    """What a tap's command line has written, as a run."""
    return Run(_messages(done.stdout), done.returncode, done.stderr, done.stdout)


def run_killed(
    lines: int, program: Iterable[str], *arguments: str, env: Mapping[str, str] | None = None
) -> Run:
    """Run a tap's command line until it is killed (SIGKILL) once it has written some lines.

    Args:
        lines: How many lines.
        program: The command that starts it.
        arguments: Further arguments.
        env: Its complete environment; None for that of this process.

    Returns:
        The run with all that it wrote, which may be more than *lines* lines.
    """
    received = []
    with subprocess.Popen(
        [*program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    ) as running:
        assert running.stdout
        for line in running.stdout:
            received.append(line)
            if len(received) == lines:
                running.kill()
    assert running.returncode in {0, -signal.SIGKILL}
    if received and not received[-1].endswith(b"\n"):
        received.pop()
    return Run(_messages(b"".join(received).decode()), running.returncode)


def environment_without(prefix: str) -> dict[str, str]:
    """This process's environment without a tap's variables, whose names begin with *prefix*."""
    return {name: text for name, text in os.environ.items() if not name.startswith(prefix)}


def _messages(out: str) -> list[Json]:
    """The Singer messages on stdout."""
    return [json.loads(line) for line in out.splitlines() if line.startswith('{"type"')]
