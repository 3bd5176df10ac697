"""Programs in processes that begin with everything imported.

Importing takes most of the time of a short run, and most tests are about something else. So one
process imports what a program needs and then forks for each command. It has no threads by then, or
a child could wait for ever for what one of them held, and it runs no program itself. A child has
the arguments, environment, folder and output of its command, and ends as any process does. What is
about the start of a program, its locale or its kill, or about two at once, needs a process of its
own.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROOT = Path(__file__).parents[2]
_LONGEST = 1 << 20  # bytes of a command with its environment


class Started:
    """A command that was started.

    Attributes:
        pid: The id of its process.
    """

    def __init__(self, answers: socket.socket) -> None:
        """Wait for its start; *answers* has its id, and in the end its status."""
        self._answers = answers
        self._status: int | None = None
        answers.settimeout(120)
        self.pid = int(answers.recv(100))

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._answer(0.0)

    def wait(self, timeout: float = 120) -> int:
        """Its exit status, once it has ended; *timeout* is in seconds."""
        status = self._answer(timeout)
        if status is None:
            self.kill()
            raise TimeoutError
        return status

    def kill(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)
        self._answer(None)

    def _answer(self, timeout: float | None) -> int | None:
        if self._status is None:
            self._answers.settimeout(timeout)
            try:
                self._status = int(self._answers.recv(100))
            except (TimeoutError, BlockingIOError):
                return None
        return self._status


class Warm:
    """A process that forks for each command, one at a time.

    Args:
        modules: What it imports.
        python: The interpreter.
    """

    def __init__(self, *modules: str, python: str = sys.executable) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Another interpreter has packages of its own.
        path = sys.path if python == sys.executable else [str(_ROOT)]
        code = f"from filetap.testing.warm import serve; serve({theirs.fileno()}, {modules})"
        with theirs:
            self._process = subprocess.Popen(
                [python, "-c", code],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            )
        self._started: Started | None = None
        atexit.register(self.close)

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait()

    def start(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        files: tuple[int, int],
        *,
        folder: Path | None = None,
        leads: bool = False,
    ) -> Started:
        """Start a command.

        Args:
            arguments: What follows ``python`` on its command line: ``-m``, a module and its
                arguments, or ``-c``, code and its arguments.
            env: Its complete environment.
            files: Descriptors that become its stdout and stderr; still to be closed here.
            folder: Its working folder; None for that of this process.
            leads: True to make it the leader of a process group of its own.
        """
        what = {
            "arguments": [*arguments],
            "env": {**env},
            "folder": str(folder or Path.cwd()),
            "leads": leads,
        }
        if self._started and self._started.poll() is None:
            self._started.kill()  # a test has failed
        socket.send_fds(self._socket, [json.dumps(what).encode()], files)
        self._started = Started(self._socket)
        return self._started

    def run(
        self, arguments: Sequence[str], env: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; arguments as for `start`."""
        (out, their_out), (log, their_log) = os.pipe(), os.pipe()
        started = self.start(arguments, env, (their_out, their_log))
        os.close(their_out)
        os.close(their_log)
        with ThreadPoolExecutor(2) as readers:
            reading = readers.map(_read, [out, log])
            status = started.wait()
            printed, logged = reading
        return subprocess.CompletedProcess([*arguments], status, printed, logged)


def _read(pipe: int) -> str:
    """All that comes out of a pipe."""
    with os.fdopen(pipe, encoding="utf-8") as file:
        return file.read()


@cache
def warm(*modules: str, python: str = sys.executable) -> Warm:
    """The process of this session in which an interpreter has imported these modules."""
    return Warm(*modules, python=python)


def serve(at: int, modules: Sequence[str]) -> None:
    """Fork for each command that comes from a socket; a child runs it and returns."""
    with socket.socket(fileno=at) as asking:
        for name in modules:
            import_module(name)
        for thread in threading.enumerate():  # some packages load a part of theirs in one
            if thread is not threading.main_thread():
                thread.join(60)
        assert threading.active_count() == 1
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
    if what["leads"]:
        os.setsid()
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
        exec(program, {"__name__": "__main__"})  # noqa: S102 - the tests' own
