"""Opens a folder's file system, and translates its errors into the package's own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from filetap.errors import (
    ExportError,
    RetriableTransportError,
    TransportError,
)
from filetap.redaction import SECRECY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fsspec import AbstractFileSystem

_SFTP = ("sftp", "ssh")
# Scheme → the option for the user name, where fsspec does not decode the login in a URL.
_USER = {**dict.fromkeys((*_SFTP, "ftp", "smb"), "username"), "webhdfs": "user"}
# What asyncssh raises about a private key; each is a ValueError.
KEY_ERRORS = ("KeyImportError", "KeyEncryptionError")
# They log tracebacks of errors at DEBUG, which become messages here, and each connection at INFO.
_LOGGERS = ("asyncssh", "botocore", "aiobotocore", "fsspec", "s3fs")


def open_folder(
    url: str, options: Mapping[str, Any], refused: list[TransportError]
) -> tuple[AbstractFileSystem, str]:
    """Open the file system of a folder; a new one each time.

    Args:
        url: The folder: a path or an fsspec URL.
        options: Options of its file system; they override a login in the URL.
        refused: Receives the error about a host key that is not accepted.

    Returns:
        The file system, and the folder's path in it.

    Raises:
        Exception: Whatever the file system raises; `translated` makes it one of the package's.
    """
    from fsspec.core import url_to_fs  # noqa: PLC0415 - slow, and needed by folders only

    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    url, login = _apart(url)
    options = {**login, **options, "skip_instance_cache": True}
    if url.partition("://")[0] not in _SFTP:
        fs, root = url_to_fs(url, **options)
        return fs, str(root)
    from filetap.transports.sftp import (  # noqa: PLC0415 - of the extra sftp
        SFTPFileSystem,
        verifying,
    )

    return SFTPFileSystem.at(url, verifying(options, refused))


def _apart(url: str) -> tuple[str, dict[str, str]]:
    """Split the login off a URL, and guard its password from then on.

    RFC 3986 requires ``@``, ``:`` and ``/`` in a user name or a password to be percent-encoded. In
    a path a percent sign is literal.

    Returns:
        The URL without its login, and the login, decoded, as options.
    """
    scheme, sign, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    login, at, host = host.rpartition("@")
    if not at or scheme not in _USER:
        return url, {}
    user, colon, password = (unquote(part) for part in login.partition(":"))
    if colon:
        SECRECY.guard([password, f"{user}:{password}"])
    found = {_USER[scheme]: user, "password": password}
    return f"{scheme}{sign}{host}{slash}{path}", {k: v for k, v in found.items() if v}


def translated(error: Exception, what: str) -> ExportError:
    """The package's error for one that a file system raised."""
    kind = type(error).__name__
    if _code(error) == "InvalidObjectState":
        msg = f"{what}: the object is in an archive tier of its bucket"
        return TransportError(msg, "restore it there, then run again")
    if isinstance(error, PermissionError) or "Permission" in kind or "Credential" in kind:
        msg = f"{what}: access was denied"
        return TransportError(
            msg, "check folder.options: user name, password or key, and permissions"
        )
    if kind in KEY_ERRORS:
        msg = f"{what}: the private key cannot be used ({kind})"
        return TransportError(msg, "check client_keys and passphrase in folder.options")
    if "HostKey" in kind:
        msg = f"{what}: the server's host key cannot be verified"
        return TransportError(msg, "check known_hosts or fingerprint in folder.options")
    msg = f"{what}: the folder cannot be reached ({kind})"
    return RetriableTransportError(
        msg, "check folder.url and the network; run again: the state is kept"
    )


def _code(error: BaseException | None) -> str:
    """The error code of a bucket's response, which s3fs keeps as a cause; empty if none."""
    while error is not None:
        if isinstance(response := getattr(error, "response", None), dict):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""
