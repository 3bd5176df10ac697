"""The programs, in processes that begin with everything imported.

Importing takes most of the time of a short run, and most tests are about something else. So one
process imports what the programs need and then forks for each command. It has no threads and runs
no program itself; a child has the arguments, environment, folder and output of its command, and
ends as any process does. What is about the start of a program, its locale or its kill needs one of
its own: `subprocess`.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_IMPORTED = ("tap_firstup_dde.tap", "tap_firstup_dde.cli", "filetap.people.doctor")
_LONGEST = 1 << 20  # bytes of a command with its environment


class Warm:
    """The process that forks, as this one sees it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = f"from tests.warm import serve; serve({theirs.fileno()})"
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        atexit.register(self.close)

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait()

    def start(self, arguments: Sequence[str], env: Mapping[str, str], *, out: int, log: int) -> int:
        """Start a command; the next one has to wait for its end.

        Args:
            arguments: What follows ``python`` on its command line: ``-m``, a module and its
                arguments, or ``-c``, code and its arguments.
            env: Its complete environment.
            out: File that becomes its stdout; still to be closed here.
            log: The same of stderr.

        Returns:
            The id of its process.
        """
        what = {"arguments": list(arguments), "env": dict(env), "folder": str(Path.cwd())}
        socket.send_fds(self._socket, [json.dumps(what).encode()], [out, log])
        return int(self._socket.recv(100))

    def wait(self, seconds: float = 120) -> int:
        """Wait for the end of the command; its exit status."""
        self._socket.settimeout(seconds)
        return int(self._socket.recv(100))

    def run(
        self, arguments: Sequence[str], env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; arguments as for `start`."""
        (out, their_out), (log, their_log) = os.pipe(), os.pipe()
        self.start(arguments, env, out=their_out, log=their_log)
        os.close(their_out)
        os.close(their_log)
        with ThreadPoolExecutor(2) as readers:
            printed, logged = readers.map(_read, [out, log])
        return subprocess.CompletedProcess([*arguments], self.wait(), printed, logged)


def _read(pipe: int) -> str:
    """All that comes out of a pipe."""
    with os.fdopen(pipe, encoding="utf-8") as file:
        return file.read()


@cache
def warm() -> Warm:
    """The process of this test session."""
    return Warm()


def serve(at: int) -> None:
    """Fork for each command that comes from a socket; a child runs it and returns."""
    with socket.socket(fileno=at) as asking:
        for name in _IMPORTED:
            import_module(name)
        gc.collect()
        gc.freeze()  # or each child copies all pages of these objects when it ends
        while True:
            message, files, _, _ = socket.recv_fds(asking, _LONGEST, 2)
            if not message:
                return
            if not (child := os.fork()):
                break
            asking.send(str(child).encode())
            for file in files:
                os.close(file)
            _, status = os.waitpid(child, 0)
            asking.send(str(os.waitstatus_to_exitcode(status)).encode())
    _become(json.loads(message), files)


def _become(what: Mapping[str, Any], files: Sequence[int]) -> None:
    """Run a command in this process, with files as its stdout and stderr."""
    for place, file in enumerate(files, start=1):
        os.dup2(file, place)
        os.close(file)
    os.environ.clear()
    os.environ.update(what["env"])
    time.tzset()
    os.chdir(what["folder"])
    kind, program, *arguments = what["arguments"]
    if kind == "-m":
        sys.argv = [program, *arguments]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.argv = [kind, *arguments]
        exec(program, {"__name__": "__main__"})  # noqa: S102 - code of the tests
