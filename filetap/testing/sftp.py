"""An SFTP server on loopback that serves a folder, for tests and emulators.

Needs asyncssh, which the extra ``sftp`` brings.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self

import asyncssh

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


class SFTP:
    """An SFTP server on loopback that serves a folder.

    Attributes:
        port: Its port.
        key: Its host key.
        users: The keys that are accepted instead of a password, by kind.
        read: Bytes read so far.
        drop_after: Bytes read of a file after which connections are cut, once.
        login: The user and password that are accepted.
        stated: Turns attributes into those that the server states.
        before_read: Called with the offset before each part of a file is read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.users = {kind: asyncssh.generate_private_key(kind) for kind in ("ssh-ed25519",)}
        self.users["ssh-rsa"] = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
        self.drop_after: int | None = None
        self.read = 0
        self.login = ("bob", "precious")
        self.stated: Callable[[asyncssh.SFTPAttrs], asyncssh.SFTPAttrs] = lambda attrs: attrs
        self.before_read: Callable[[int], object] = lambda _: None
        self._loop = asyncio.new_event_loop()
        self._connections: list[Any] = []

    def __enter__(self) -> Self:
        """Start serving."""
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> int:  # noqa: C901 - two classes of short methods
        sftp = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: Any) -> None:
                sftp._connections.append(conn)

            def begin_auth(self, _username: str) -> bool:
                return True

            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                return (username, password) == sftp.login

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, _username: str, key: Any) -> bool:
                return key.public_data in {k.public_data for k in sftp.users.values()}

        class Files(asyncssh.SFTPServer):
            def __init__(self, chan: Any) -> None:
                super().__init__(chan, chroot=str(sftp.root).encode())

            def stat(self, path: bytes) -> asyncssh.SFTPAttrs:
                status: Any = super().stat(path)
                return sftp.stated(asyncssh.SFTPAttrs.from_local(status))

            def lstat(self, path: bytes) -> asyncssh.SFTPAttrs:
                status: Any = super().lstat(path)
                return sftp.stated(asyncssh.SFTPAttrs.from_local(status))

            async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
                async for name in super().scandir(path):
                    name.attrs = sftp.stated(name.attrs)
                    yield name

            def read(self, file_obj: Any, offset: int, size: int) -> Any:
                sftp.before_read(offset)
                sftp.read += size
                if sftp.drop_after is not None and sftp.read > sftp.drop_after:
                    sftp.drop_after = None
                    for connection in sftp._connections:
                        connection.abort()
                return super().read(file_obj, offset, size)

        self._server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=Server,
            server_host_keys=[self.key],
            sftp_factory=Files,
        )
        return int(self._server.get_port())

    async def _stop(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.abort()
        await self._server.wait_closed()

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its host key."""
        return str(self.key.get_fingerprint())

    def settings(self, **options: Any) -> dict[str, Any]:
        """Settings for reading its folder."""
        options = {"password": "precious", **options}
        url = f"sftp://bob@127.0.0.1:{self.port}/"
        return {"folder": {"url": url, "options": options}, "max_retries": 2}
