"""A forked program is a process like any other."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from filetap.testing.warm import warm

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("code", "status", "out", "log"),
    [
        ("print('a'); import sys; print(sys.argv[1:], file=sys.stderr)", 0, "a\n", "['x']\n"),
        ("import sys; sys.exit(3)", 3, "", ""),
        ("import sys; sys.exit('why')", 1, "", "why\n"),
        ("import atexit; atexit.register(print, 'end')", 0, "end\n", ""),
        ("import os; print(dict(os.environ))", 0, "{'A': 'b'}\n", ""),
        ("import os; os.kill(os.getpid(), 9)", -9, "", ""),
    ],
)
def test_run(code: str, status: int, out: str, log: str) -> None:
    """Arguments, environment, output and end are its own."""
    done = warm("json").run(["-c", code, "x"], {"A": "b"})
    assert (done.returncode, done.stdout, done.stderr) == (status, out, log)


def test_traceback() -> None:
    """An error that nobody expected has a traceback, and leaves later programs alone."""
    done = warm("json").run(["-c", "import json; json.nope = 1; 1 / 0"], {})
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert warm("json").run(["-c", "import json; json.nope"], {}).returncode == 1


def test_start(tmp_path: Path) -> None:
    """A program that was started can be waited for and killed; the next one starts either way."""
    code = "import time; open('started', 'w'); time.sleep(60)"
    with (tmp_path / "log").open("wb") as log:
        files = log.fileno(), log.fileno()
        started = warm("json").start(["-c", code], os.environ, files, folder=tmp_path, leads=True)
        while not (tmp_path / "started").exists():
            assert started.poll() is None
        os.killpg(started.pid, signal.SIGKILL)
        assert started.wait() == started.poll() == -signal.SIGKILL
        left = warm("json").start(["-c", code], os.environ, files, folder=tmp_path)
        assert warm("json").run(["-m", "platform"], os.environ).returncode == 0
    assert left.poll() == -signal.SIGKILL


def test_thread_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is held that a thread of an imported module held before the fork."""
    (tmp_path / "holding.py").write_text(
        "import threading, time\n"
        "lock, held = threading.Lock(), threading.Event()\n"
        "def hold():\n"
        "    with lock:\n"
        "        held.set()\n"
        "        time.sleep(0.5)\n"
        "threading.Thread(target=hold, daemon=True).start()\n"
        "held.wait()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    done = warm("holding").run(["-c", "import holding; print(holding.lock.acquire(timeout=1))"], {})
    assert done.stdout == "True\n"
