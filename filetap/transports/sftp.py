"""A folder on an SFTP server whose host key is verified."""

from __future__ import annotations

import asyncio
import posixpath
import sys
from typing import TYPE_CHECKING, Any

import asyncssh
from asyncssh import constants
from sshfs import SSHFileSystem
from sshfs.utils import wrap_exceptions

from filetap.errors import TransportError

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

_AT_ONCE = 32  # entries that are probed at the same time
_KINDS = {
    constants.FILEXFER_TYPE_REGULAR: "file",
    constants.FILEXFER_TYPE_DIRECTORY: "directory",
    constants.FILEXFER_TYPE_SYMLINK: "link",
    constants.FILEXFER_TYPE_UNKNOWN: "unknown",
}


class SFTPFileSystem(SSHFileSystem):
    """The SFTP file system of sshfs, also for servers that do not state the type of an entry.

    The protocol lets a server omit permissions, and with them the type. Such an entry is a
    folder if it can be listed, a file if it can be opened, and ``other`` if neither.
    """

    protocol = ("sftp", "ssh")

    @classmethod
    def at(cls, url: str, options: Mapping[str, Any]) -> tuple[Self, str]:
        """Connect to the server of *url*, whose login is among *options*.

        Returns:
            The file system, and the path of *url* in it.
        """
        given = cls._get_kwargs_from_urls(url)
        return cls(**{**given, **options}), str(cls._strip_protocol(url))

    @override
    def _decode_attributes(self, attributes: asyncssh.SFTPAttrs) -> dict[str, Any]:
        attributes.permissions = attributes.permissions or 0  # sshfs fails on None
        stated = super()._decode_attributes(attributes)
        return {**stated, "type": _KINDS.get(attributes.type, "other")}

    @override
    async def _info(self, path: str, **options: Any) -> dict[str, Any]:
        info: dict[str, Any] = await self._identified(await super()._info(path, **options))
        return info

    @override
    @wrap_exceptions  # type: ignore[untyped-decorator]
    async def _ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        del options
        # As bytes: one name that is not UTF-8 would make the whole folder unreadable.
        async with self._pool.get() as channel:
            entries = await channel.readdir(path.encode())
        infos = []
        for entry in entries:
            name = entry.filename.decode(errors="surrogateescape")
            if name not in {"", ".", ".."}:
                info = self._decode_attributes(entry.attrs)
                infos.append({**info, "name": posixpath.join(path, name)})
        if not detail:
            return [info["name"] for info in infos]
        found: list[Any] = []
        for first in range(0, len(infos), _AT_ONCE):
            some = infos[first : first + _AT_ONCE]
            found += await asyncio.gather(*map(self._identified, some))
        return found

    @wrap_exceptions  # type: ignore[untyped-decorator]
    async def _identified(self, info: dict[str, Any]) -> dict[str, Any]:
        """Add the type that the server did not state to *info*."""
        if info["type"] != "unknown":
            return info
        path = info["name"].encode(errors="surrogateescape")
        async with self._pool.get() as channel:
            try:
                async for _ in channel.scandir(path):
                    break
            except (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost):
                raise
            except asyncssh.SFTPError as error:
                not_listed = error
            else:
                return {**info, "type": "directory"}
            try:
                async with channel.open(path, "rb"):
                    # A listing states the size and time of a link, not of the file behind it.
                    attributes = await channel.stat(path)
            except (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost):
                raise
            except asyncssh.SFTPError:
                # A file is not a folder whatever its permissions, so this is a folder.
                if isinstance(not_listed, asyncssh.SFTPPermissionDenied):
                    raise not_listed from None
                return {**info, "type": "other"}
            return {**info, **self._decode_attributes(attributes), "type": "file"}


def verifying(options: Mapping[str, Any], refused: list[TransportError]) -> dict[str, Any]:
    """Options under which only a known host key, or the pinned one, is accepted.

    Args:
        options: As given by the user; ``fingerprint`` pins a key.
        refused: Receives the error about a key that is not accepted.
    """
    options = dict(options)
    pinned = options.pop("fingerprint", None)
    if not options.get("known_hosts"):
        # Not None, which would accept any key; a pinned key overrides the user's known_hosts file.
        options["known_hosts"] = ([], [], []) if pinned else ()

    class Client(asyncssh.SSHClient):
        """Accepts the pinned key; an error names any other key that is offered."""

        def validate_host_public_key(
            self, host: str, addr: str, port: int, key: asyncssh.SSHKey
        ) -> bool:
            del addr
            seen = key.get_fingerprint()
            if pinned and seen in {pinned, f"SHA256:{pinned}"}:
                return True
            place = host if port == 22 else f"[{host}]:{port}"
            why = "does not match folder.options.fingerprint" if pinned else "is not in known_hosts"
            msg = f"{host}: the host key {key.get_algorithm()} {seen} {why}"
            hint = (
                "if the server's operator confirms this fingerprint, set it as "
                f"folder.options.fingerprint or add the key of {place} to known_hosts"
            )
            refused.append(TransportError(msg, hint))
            return False

    options["client_factory"] = Client
    # The fastest of the usual ciphers comes first; the server may require another.
    options.setdefault("encryption_algs", "^aes128-gcm@openssh.com")
    return options
