"""One large file from an SFTP server: the tap's way to the disk against `sftp get`: `make sftp`.

The server (asyncssh) runs in a process of its own on loopback. Each way fetches the file to the
temporary folder, in turn; the tap's proves its gzip's check on the way.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

FETCH = """
import json, resource, sys
from filetap.settings import Folder, Retries
from tap_firstup_dde.delivered import folder_transport
from filetap.download.spool import Spool
transport = folder_transport(Folder(**json.loads(sys.argv[1])), Retries())
(file,) = transport.list_files("users")
with Spool().download(transport, file).stored:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


def serve(root: str, key: bytes, public: bytes, ready: Connection) -> None:
    """Serve a folder until killed; tells its port."""

    class Server(asyncssh.SSHServer):
        def begin_auth(self, _username: str) -> bool:
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, _username: str, offered: Any) -> bool:
            return bool(offered.export_public_key() == public)

    class Files(asyncssh.SFTPServer):
        def __init__(self, chan: Any) -> None:
            super().__init__(chan, chroot=root.encode())

    async def main() -> None:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[asyncssh.import_private_key(key)],
            sftp_factory=Files,
        )
        ready.send(server.get_port())
        await server.wait_closed()

    asyncio.run(main())


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(prog="make sftp", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=1000)
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="firstup-sftp-"))
    try:
        measure(scratch, options.rounds, options.megabytes)
    finally:
        shutil.rmtree(scratch)


def measure(scratch: Path, rounds: int, megabytes: int) -> None:
    """Run both ways in turn."""
    root = scratch / "root"
    root.mkdir()
    name = "1-05-14-2026-16-user-incremental.gz"
    with (root / name).open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(1_000_000))
    os.utime(root / name, (1_700_000_000,) * 2)
    host, user = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    user.write_private_key(str(scratch / "key"))
    (scratch / "key").chmod(0o600)
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(
        target=serve,
        args=(str(root), host.export_private_key(), user.export_public_key(), there),
        daemon=True,
    )
    server.start()
    port = here.recv()
    (scratch / "known").write_text(f"[127.0.0.1]:{port} {host.export_public_key().decode()}")
    import json  # noqa: PLC0415

    options = {
        "client_keys": [str(scratch / "key")],
        "fingerprint": host.get_fingerprint(),
    }
    config = {"folder": {"url": f"sftp://bob@127.0.0.1:{port}/", "options": options}}
    ways = {
        "the tap": [sys.executable, "-c", FETCH, json.dumps(config["folder"])],
        "sftp get": [
            "sftp",
            "-q",
            "-P",
            str(port),
            "-i",
            str(scratch / "key"),
            "-o",
            f"UserKnownHostsFile={scratch / 'known'}",
            f"bob@127.0.0.1:/{name}",
            str(scratch / "got"),
        ],
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, command in ways.items():
            began = time.perf_counter()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            taken[way].append(time.perf_counter() - began)
            if way == "the tap":
                print(f"peak memory of the tap's way: {done.stdout.strip()} MiB")
    for way, seconds in taken.items():
        print(f"{way}: {megabytes / statistics.median(seconds):.0f} MB/s")
    pairs = zip(taken["sftp get"], taken["the tap"], strict=True)
    print("sftp get's time to the tap's:", *(f"{other / own:.2f}" for other, own in pairs))
    print(f"{os.cpu_count()} cores")
    server.terminate()


if __name__ == "__main__":
    main()
