"""What a run shows of its progress, on a terminal and elsewhere, but never on stdout."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import sys
import tempfile
import termios
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from filetap.progress import Tally
from filetap.testing.warm import warm
from tests.runs import IMPORTED, TAP, command, settings, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

STREAMS = ("activities", "campaigns", "users")
WORDS = ("files", "rows", "misfits", "diverted rows", "bytes", "seconds", "rows/s", "warnings")
_BAR = "━"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*(?:[34][0-9]|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


@dataclass(frozen=True)
class Shown:
    """What one run left on a terminal.

    Attributes:
        status: Exit status.
        out: What it wrote to stdout, which is not a terminal.
        drawn: All that the terminal got.
    """

    status: int
    out: bytes
    drawn: str

    @property
    def lines(self) -> list[str]:
        """The terminal's lines in the end, without styles."""
        screen = [""]
        for row in self.drawn.split("\n"):
            for piece in re.split(r"(\x1b\[1A|\x1b\[2K|\r)", row):
                if piece == "\x1b[1A":
                    screen.pop()
                elif piece == "\x1b[2K":
                    screen[-1] = ""
                elif piece != "\r":
                    screen[-1] += _CONTROL.sub("", piece)
            screen.append("")
        return [line.rstrip() for line in screen if line.strip()]


def _on_terminal(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    columns: int = 150,
    watch: Callable[[int, str], object] = lambda _tap, _drawn: None,
) -> Shown:
    """Run the tap with a terminal as its stderr.

    Args:
        arguments: Of the command line.
        env: More variables of the environment.
        columns: Width of the terminal.
        watch: Called with the id of the process and what is drawn, each time there is more.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    inherited = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS", "LINES"}}
    environment = {**inherited, "TERM": "xterm-256color", **(env or {})}
    drawn = b""
    with tempfile.TemporaryFile() as written:
        files = written.fileno(), theirs
        tap = warm(*IMPORTED).start([*TAP[1:], *arguments], environment, files)
        os.close(theirs)
        while True:
            try:
                drawn += os.read(ours, 1 << 16)
            except OSError:  # no process has it open any more
                break
            watch(tap.pid, drawn.decode(errors="replace"))
        os.close(ours)
        status = tap.wait()
        written.seek(0)
        return Shown(status, written.read(), drawn.decode())


def _summary(lines: list[str]) -> dict[str, dict[str, float]]:
    """Stream → word → figure, of the lines of a summary."""
    number = r"([\d,.]+)"
    plurals = ", ".join(f"{number} {word}" for word in ("files", *WORDS[1:]))
    told = re.sub(r"s(?=,|/s|$)", "s?", plurals).replace("seconds?", "seconds")
    pattern = re.compile(rf"(\w+): {number} of {told}$")
    found = [match for line in lines if (match := pattern.search(line))]
    return {
        match[1]: dict(
            zip(
                ("done", *WORDS),
                (float(text.replace(",", "")) for text in match.groups()[1:]),
                strict=True,
            )
        )
        for match in found
    }


def _only_messages(out: bytes) -> bool:
    """True if each line is a Singer message."""
    return all("type" in json.loads(line) for line in out.splitlines())


def _trouble(emulator: Emulator) -> None:
    """Files with misfits, rows that cannot be read, and a warning of the download."""
    first = "user_id,tenure\n" + "".join(f"{i},{i}\n" for i in range(200))
    emulator.add("users", "2026-05-14-13", first)
    emulator.add("users", "2026-05-14-14", "user_id,tenure\n1,5\n2,x\n3,y\n4\n5,6,7\n")
    emulator.add("activities", "2026-05-14-14", "likes\n" + "1\n" * 20, checksum_function="MD9")


def test_figures_of_the_summary(emulator: Emulator, tmp_path: Path) -> None:
    """The last lines are the streams' files, rows, misfits, diverted rows, bytes and warnings."""
    emulator.add("users", "2026-05-14-12", "user_id,tenure\n1,1\n")
    state = tmp_path / "state.json"
    path = write(tmp_path, "c.json", settings(emulator, malformed_rows="divert"))
    first = command("--config", path)
    state.write_text(json.dumps(first.state))
    emulator.files.clear()
    _trouble(emulator)
    done = command("--config", path, "--state", str(state))
    assert done.status == 0
    lines = done.log.splitlines()
    told = _summary(lines[-3:])
    assert tuple(told) == STREAMS
    for stream, figures in told.items():
        files = [file for file in emulator.files if file.stream == stream]
        warnings = [line for line in lines if "| WARNING" in line and f"| {stream}" in line]
        assert figures["done"] == figures["files"] == len(files)
        assert figures["bytes"] == sum(len(file.body) for file in files)
        assert figures["rows"] == len(done.records(stream))
        assert figures["diverted rows"] == len(done.records(f"{stream}_malformed"))
        assert figures["warnings"] == len(warnings)
    misfits = [r for r in done.records("users") if r.get("tenure__text") is not None]
    assert told["users"]["misfits"] == len(misfits) == 2
    assert told["users"]["diverted rows"] == 2
    assert [told[stream]["warnings"] > 0 for stream in STREAMS] == [True, False, True]


@pytest.mark.parametrize("form", ["jsonl", "map"])
def test_other_ways_out(emulator: Emulator, tmp_path: Path, form: str) -> None:
    """Batch files and stream maps count the same rows."""
    emulator.add_generation(rows=300)
    more = (
        {"stream_maps": {"users": {"user_id": "user_id", "__else__": None}}}
        if form == "map"
        else {"batch_config": {"encoding": {"format": form}, "storage": {"root": str(tmp_path)}}}
    )
    done = command("--config", write(tmp_path, "c.json", settings(emulator, **more)))
    told = _summary(done.log.splitlines())
    assert {stream: figures["rows"] for stream, figures in told.items()} == {
        "activities": 600,
        "campaigns": 30,
        "users": 150,
    }


def test_nothing_to_read(emulator: Emulator, tmp_path: Path) -> None:
    """A run without new files has a line for each stream too."""
    done = command("--config", write(tmp_path, "c.json", settings(emulator)))
    told = _summary(done.log.splitlines()[-3:])
    assert tuple(told) == STREAMS
    assert all(not any(f[word] for word in WORDS if word != "seconds") for f in told.values())


def test_error_line_stays_last(emulator: Emulator, tmp_path: Path) -> None:
    """A run that fails has its summary too, and below it the line that says why."""
    emulator.add("activities", "2026-05-14-12", "likes\n" + "1\n" * 10)
    emulator.add("campaigns", "2026-05-14-12", "campaign_id\n1\n")
    emulator.add("campaigns", "2026-05-14-16", "campaign_id\n2\n").gone = True
    path = write(tmp_path, "c.json", settings(emulator))
    for shown in (command("--config", path), _on_terminal("--config", path, columns=80)):
        lines = shown.lines if isinstance(shown, Shown) else shown.log.splitlines()
        assert shown.status == 1
        assert "| ERROR" in lines[-1]
        assert "expired between list and download" in lines[-1]
        assert "Traceback" not in "".join(lines)
    told = _summary(command("--config", path).log.splitlines()[-3:-1])
    assert [(s, f["done"], f["files"], f["rows"]) for s, f in told.items()] == [
        ("activities", 1, 1, 10),
        ("campaigns", 1, 2, 1),
    ]


def test_terminal(emulator: Emulator, tmp_path: Path) -> None:
    """A terminal has a line for each stream while it is read, and a table in the end."""
    for _ in range(2):
        emulator.add_generation(rows=200)
    emulator.fail("download", stall=0.6, drop_after=-1, times=2)
    shown = _on_terminal("--config", write(tmp_path, "c.json", settings(emulator)))
    assert shown.status == 0
    assert _only_messages(shown.out)
    assert _BAR in shown.drawn
    assert re.search(r"activities .* of 4 files, [\d,]+ rows, .*, [\d,]+ rows/s", shown.drawn)
    assert shown.drawn.rindex("\x1b[?25h") > shown.drawn.rindex("\x1b[?25l")  # the cursor
    *log, _, header, rule, activities, campaigns, users = shown.lines
    assert header.split() == "stream files rows misfits rows bytes seconds rows/s warnings".split()
    assert set(rule) == {"─"}
    size = sum(len(file.body) for file in emulator.files if file.stream == "activities")
    assert activities.split()[:7] == ["activities", *"4 of 4 800 0 0".split()]
    assert activities.split()[7] == f"{size:,}"
    assert activities.split()[-1] == "2"  # each broken download is logged
    assert [line.split()[0] for line in (campaigns, users)] == ["campaigns", "users"]
    # Each line of the log is complete, above the drawing, of which nothing remains.
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \| ", line) for line in log)
    assert sum("rows" in line and "/00" in line for line in log) == 12


@pytest.mark.parametrize(("columns", "narrow"), [(100, False), (80, False), (60, True)])
def test_width(emulator: Emulator, tmp_path: Path, columns: int, *, narrow: bool) -> None:
    """No figure of the summary is truncated: if the table is too wide there are lines."""
    emulator.add_generation(rows=200)
    path = write(tmp_path, "c.json", settings(emulator))
    shown = _on_terminal("--config", path, columns=columns)
    assert "…" not in "".join(shown.lines[-3:])
    assert tuple(_summary(shown.lines)) == (STREAMS if narrow else ())


def test_no_color(emulator: Emulator, tmp_path: Path) -> None:
    """NO_COLOR keeps the bar's shape and removes its colours."""
    emulator.add_generation(rows=200)
    path = write(tmp_path, "c.json", settings(emulator))
    plain = _on_terminal("--config", path, env={"NO_COLOR": "1"})
    assert not _COLOUR.search(plain.drawn)
    assert _BAR in plain.drawn
    assert _COLOUR.search(_on_terminal("--config", path).drawn)


def test_dumb_terminal(emulator: Emulator, tmp_path: Path) -> None:
    """TERM=dumb gets the same output as a file."""
    emulator.add_generation(rows=200)
    path = write(tmp_path, "c.json", settings(emulator))
    shown = _on_terminal("--config", path, env={"TERM": "dumb"})
    assert "\x1b" not in shown.drawn
    assert tuple(_summary(shown.lines[-3:])) == STREAMS


@pytest.mark.parametrize("arguments", [(), ("--discover",), ("--test",)])
def test_quiet(emulator: Emulator, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """--quiet shows warnings and errors only, on a terminal or not, at any position."""
    emulator.add_generation(rows=20)
    path = write(tmp_path, "c.json", settings(emulator))
    for options in (("--quiet", "--config", path, *arguments), ("--config", path, "--quiet")):
        shown = _on_terminal(*options, env={"TAP_FIRSTUP_DDE_LOGLEVEL": "DEBUG"})
        assert (shown.status, shown.drawn) == (0, "")
        assert shown.out
    _trouble(emulator)
    log = command("--config", path, "--quiet", *arguments).log
    if not arguments:
        assert "| WARNING" in log
        assert "| ERROR" in log
    assert "| INFO" not in log
    assert not _summary(log.splitlines())


def test_now_and_then(emulator: Emulator, tmp_path: Path) -> None:
    """Without a terminal a long read is logged at intervals, with figures that only grow."""
    emulator.add("users", "2026-05-14-12", "user_id\n" + "1\n" * 1000)
    emulator.add("users", "2026-05-14-16", "user_id\n" + "1\n" * 500)
    emulator.add("users", "2026-05-14-20", "user_id\n1\n")
    for match in ("05-14-16", "05-14-20"):
        emulator.fail("download", match=match, stall=1.5, drop_after=10)
    code = (
        "from filetap import progress\n"
        "from tap_firstup_dde import tap\n"
        "progress.INTERVAL = 0.5\n"
        "tap.TapFirstupDDE.cli()"
    )
    path = write(tmp_path, "c.json", settings(emulator))
    done = command("--config", path, program=[sys.executable, "-c", code])
    assert done.status == 0
    line = r"\| INFO .* users: (\d) of 3 files, ([\d,]+) rows, .+ (?:bytes|kB), [\d,]+ rows/s$"
    told = re.findall(line, done.log, re.MULTILINE)
    assert len(told) >= 3
    assert told == sorted(told, key=lambda pair: (pair[0], int(pair[1].replace(",", ""))))
    assert len(done.records("users")) == 1501
    assert "\x1b" not in done.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_on_a_terminal(emulator: Emulator, tmp_path: Path, number: signal.Signals) -> None:
    """A run that is signalled leaves a clean terminal: the table, then the line that says so."""
    emulator.add("activities", "2026-05-16-00", "likes\n1\n")
    emulator.add("activities", "2026-05-16-04", "likes\n" + "1\n" * (5 << 19), gzip=False)
    emulator.fail("download", match="2026-05-16-04", skip=1, stall=30, drop_after=100, times=None)
    asked: list[float] = []

    def stop(tap: int, drawn: str) -> None:
        if "1 of 2 files" in drawn and not asked:
            os.kill(tap, number)
            asked.append(time.monotonic())

    shown = _on_terminal("--config", write(tmp_path, "c.json", settings(emulator)), watch=stop)
    assert shown.status == 128 + number
    assert time.monotonic() - asked[0] < 10
    assert _only_messages(shown.out)
    assert json.loads(shown.out.splitlines()[-1])["type"] == "STATE"
    said = f"stopped by {number.name}; run again to resume"
    (at,) = (index for index, line in enumerate(shown.lines) if said in line)
    rule, activities = shown.lines[at - 2 : at]
    assert set(rule) == {"─"}
    assert activities.split()[:5] == ["activities", "1", "of", "2", "1"]
    assert _BAR not in "".join(shown.lines)
    assert shown.drawn.rindex("\x1b[?25h") > shown.drawn.rindex("\x1b[?25l")


def test_stdout_in_every_mode(emulator: Emulator, tmp_path: Path) -> None:
    """The messages are the same with any stderr."""
    _trouble(emulator)
    path = write(tmp_path, "c.json", settings(emulator, malformed_rows="divert"))
    runs = [
        _on_terminal("--config", path),
        _on_terminal("--config", path, "--quiet"),
        _on_terminal("--config", path, env={"TERM": "dumb"}),
    ]
    assert [run.status for run in runs] == [0, 0, 0]
    extracted = re.compile(rb'"time_extracted":"[^"]*"')
    first, *others = (extracted.sub(b'"time_extracted":0', run.out) for run in runs)
    assert _only_messages(runs[0].out)
    assert others == [first, first]
    done = command("--config", path)
    assert [json.loads(line)["type"] for line in first.splitlines()] == [
        message["type"] for message in done.messages
    ]


def test_no_rich_without_a_terminal(emulator: Emulator, tmp_path: Path) -> None:
    """A run whose stderr is not a terminal does not load the drawing library."""
    emulator.add_generation(rows=20)
    path = write(tmp_path, "c.json", settings(emulator))
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('rich' in sys.modules, file=sys.stderr))\n"
        "from tap_firstup_dde import tap\n"
        "tap.TapFirstupDDE.cli()"
    )
    done = command("--config", path, program=[sys.executable, "-c", code])
    assert done.log.splitlines()[-1] == "False"


def test_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is estimated to be read at the same pace; unknown at first, and empty at the end."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    tally = Tally("users", files=4, begun=0.0)
    assert tally.remaining == ""
    tally.open_file(1_000)
    tally.unread, now = 500, 450.0
    assert tally.remaining == "0:52:30 left"  # an eighth is read
    tally.close_file()
    tally.open_file(3_000)
    assert tally.share == pytest.approx(1 / 8)  # they are larger than estimated
    for _ in range(3):
        tally.close_file()
    assert tally.files_done == 4
