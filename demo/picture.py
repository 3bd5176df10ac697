#!/usr/bin/env python3
"""Make docs/terminal.svg from a real run of the commands against the emulator: `make picture`."""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tap_firstup_dde.emulator import Emulator
from tap_firstup_dde.sample_data import INTERVAL

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(sys.executable).parent
COMMANDS = (
    "firstup-dde doctor",
    "tap-firstup-dde > messages.jsonl",
    "firstup-dde files --stream users --since 10h",
)
WIDTH = 118
# Fonts would be fetched from elsewhere.
_FACES = re.compile(r"@font-face \{.*?\}\n?|<!--.*?-->\n?", re.DOTALL)
_DRAWN = re.compile(r"\x1b\[\?25.|\x1b\[[0-9]*[AK]|\x1b\[2K|[^\n]*\r(?!\n)")  # a bar's pictures


def shown(command: str, folder: Path, env: dict[str, str]) -> str:
    """What a command leaves on a terminal, colours included."""
    ours, theirs = pty.openpty()
    words = shlex.split(command.partition(">")[0])
    with (
        (folder / "messages.jsonl").open("wb") as messages,
        subprocess.Popen(
            [PROGRAMS / words[0], *words[1:]],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=messages if ">" in command else theirs,
            stderr=theirs,
        ) as process,
    ):
        os.close(theirs)
        text = b""
        while piece := _read(ours):
            text += piece
        process.wait()
    os.close(ours)
    return text.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    """The next bytes; none at the end."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def main() -> None:
    """Run the commands, and draw what they leave."""
    now = datetime.now(UTC)
    newest = now - (now - datetime.min.replace(tzinfo=UTC)) % INTERVAL
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    emulated = Emulator(first_generation=newest - 2 * INTERVAL)
    with emulated as emulator, tempfile.TemporaryDirectory() as folder:
        for _ in range(3):
            emulator.add_generation(rows=20_000)
        env = {k: v for k, v in os.environ.items() if not k.startswith("TAP_FIRSTUP_DDE_")}
        env |= {f"TAP_FIRSTUP_DDE_{k.upper()}": v for k, v in emulator.settings.items()}
        env |= {"COLUMNS": str(WIDTH), "LINES": "60", "TERM": "xterm-256color"}
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "green"), (command, "bold")))
            text = shown(command, Path(folder), env)
            if ">" in command:  # the log is long; its end is the table
                text = text[text.rindex("\n", 0, text.rindex("diverted")) + 1 :]
            console.print(Text.from_ansi(_DRAWN.sub("", text).rstrip("\n")))
            console.print()
    picture = console.export_svg(title="tap-firstup-dde")
    (ROOT / "docs" / "terminal.svg").write_text(_FACES.sub("", picture), encoding="utf-8")


if __name__ == "__main__":
    main()
