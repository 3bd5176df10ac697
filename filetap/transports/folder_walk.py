"""The files in a folder and below it, with what distinguishes versions of a file."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fsspec import AbstractFileSystem

_DEEPEST = 64  # levels of nested folders


@dataclass(frozen=True, slots=True)
class Found:
    """A file as its file system describes it.

    Attributes:
        path: Where it is in the file system.
        size: Bytes; None if not stated.
        version: Changes when the file is delivered again: its ETag, or its size and the
            whole seconds of its last change, which every protocol states alike. Stored in states.
        stamp: Changes with any change that the file system notices: finer than *version*, and
            comparable only with a stamp from the same file system.
        changed: When it was last changed, in whole seconds since the epoch; None if not stated.
    """

    path: str
    size: int | None
    version: str
    stamp: str
    changed: float | None

    @property
    def name(self) -> str:
        """Its name, without the folders that it is in."""
        return posixpath.basename(self.path)


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder or a file in a folder.

    Attributes:
        name: Its name.
        path: Where it is in the file system.
        file: The file; None for a folder.
    """

    name: str
    path: str
    file: Found | None


def entries(fs: AbstractFileSystem, folder: str) -> tuple[list[Entry], list[str]]:
    """The folders and files in one folder, by name, and the paths of anything else."""
    inside: list[Entry] = []
    others: list[str] = []
    for listed in fs.ls(folder, detail=True):
        path = str(listed["name"]).rstrip("/")
        if path.strip("/") == folder.strip("/"):
            continue  # a bucket lists the marker of a folder in it
        info = followed(fs, listed) if _is_text(path) else {"type": "other"}
        if info["type"] in {"directory", "file"}:
            file = found(path, info) if info["type"] == "file" else None
            inside.append(Entry(posixpath.basename(path), path, file))
        else:
            others.append(path)
    return sorted(inside, key=lambda entry: entry.name), others


def walk(fs: AbstractFileSystem, root: str) -> tuple[list[Found], list[str]]:
    """Find every file below *root*; links are followed, even if they form a circle.

    A folder that cannot be read is an error; fsspec's own functions would skip it.

    Returns:
        The files, and the paths of anything that cannot be opened as a file or a folder: dangling
        links, sockets, names that are not UTF-8.
    """
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    if not protocols & {"file", "local", "sftp", "ssh"}:
        every = fs.find(root, detail=True)
        return [found(p, info) for p, info in every.items() if info["type"] == "file"], []
    local = bool(protocols & {"file", "local"})
    files: list[Found] = []
    others: list[str] = []
    seen: set[str] = set()
    folders = [root]
    while folders:
        folder = folders.pop()
        real = posixpath.realpath(folder) if local else folder
        if real in seen or folder.count("/") > _DEEPEST:
            continue
        seen.add(real)
        for listed in fs.ls(folder, detail=True):
            path = listed["name"]
            info = followed(fs, listed) if _is_text(path) else {"type": "other"}
            if info["type"] == "directory":
                folders.append(path)
            elif info["type"] == "file":
                files.append(found(path, info))
            else:
                others.append(path)
    return files, others


def followed(fs: AbstractFileSystem, info: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a file system states about a file, a folder, or the target of a link."""
    path = info["name"]
    if not info.get("islink") and info["type"] in {"file", "directory", "other"}:
        return info
    if fs.isdir(path):
        return {**info, "type": "directory"}
    if not fs.isfile(path):
        return {**info, "type": "other"}
    return {**fs.info(path), "type": "file"}


def found(path: str, info: Mapping[str, Any]) -> Found:
    """The file that a file system describes by *info*."""
    exact = info.get("mtime") or info.get("LastModified") or info.get("last_modified")
    if isinstance(exact, datetime):
        exact = exact.timestamp()
    # Whole seconds: not every protocol states more.
    seconds = float(int(exact)) if isinstance(exact, int | float) else None
    tag = str(info.get("ETag") or info.get("etag") or "").strip('"')
    size = None if info.get("size") is None else int(info["size"])
    # A rewrite in place may restore the time of change, but not that of the inode ("created").
    stamp = "/".join(map(str, (size, exact, tag, info.get("ino"), info.get("created"))))
    return Found(path, size, tag or f"{size or 0}-{seconds or 0:.0f}", stamp, seconds)


def _is_text(path: str) -> bool:
    """True if a path can be encoded as UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
