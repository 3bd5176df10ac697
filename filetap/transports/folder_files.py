"""Sorts the files in a folder: export files, the checksum files beside them, and others."""

from __future__ import annotations

import posixpath
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from filetap.transports.folder_walk import Found

_CHECKSUMS = {"md5", "sha1", "sha256", "sha512", "crc64nvme", "crc64", "crc", "checksum", "digest"}
_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".swp")


@dataclass(frozen=True, slots=True)
class Named:
    """What a delivered file's path states.

    Attributes:
        id: What identifies the file, wherever it is: its name, or its path below the root.
        stream: The stream its rows belong to.
        generation: When it was generated, as written.
        generated_at: The same as an aware time in UTC.
        historical: True for an export of past data.
        account: The account it belongs to; empty if there is only one.
    """

    id: str
    stream: str
    generation: str
    generated_at: datetime
    historical: bool = False
    account: str = ""


@dataclass(frozen=True, slots=True)
class Delivered:
    """An export file in a folder.

    Attributes:
        found: Its path, size and version.
        named: What its path states.
        beside: Paths of files beside it that may hold its checksum.
    """

    found: Found
    named: Named
    beside: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """The files in a folder, by kind.

    Attributes:
        files: Id → export file; the newest of several with one id.
        twice: Names of files whose id another file has too.
        unfinished: Names that mark a file as still being written.
        foreign: Words after "file" in messages → number of such files, which are ignored.
        alike: Names of ignored files that resemble those of export files.
    """

    files: Mapping[str, Delivered]
    twice: Sequence[str]
    unfinished: Sequence[str]
    foreign: Mapping[str, int]
    alike: Sequence[str]


def sort_out(
    everything: Iterable[Found],
    root: str,
    parse: Callable[[str], Named | None],
    resembles: Callable[[str], bool],
    account: str,
) -> Contents:
    """Separate export files from others.

    Args:
        everything: The files in the folder and below.
        root: The folder's path.
        parse: Parses a file's path below the root; returns None for a foreign file.
        resembles: Returns True if a foreign file's path may be a misspelt export file's.
        account: The account whose files are read; empty for all.
    """
    ordered = sorted(everything, key=lambda one: (one.changed or 0, one.path))
    named_by = {one.path: parse(relative(one.path, root)) for one in ordered}
    beside, without = _sidecars(named_by)
    foreign = Counter({"": without} if without else {})
    files: dict[str, Delivered] = {}
    twice, unfinished, alike = [], [], []
    for one in ordered:
        named = named_by[one.path]
        if _ending(one.path) in _CHECKSUMS:
            continue
        if one.name.lower().endswith(_UNFINISHED):
            unfinished.append(one.name)
        elif named is None:
            foreign[""] += 1
            alike += [one.name] if resembles(relative(one.path, root)) else []
        elif account in {"", named.account}:
            if named.id in files:
                twice.append(one.name)
            files[named.id] = Delivered(one, named, tuple(beside.get(one.path, ())))
        else:
            foreign[" of other accounts"] += 1
    return Contents(files, twice, unfinished, foreign, alike)


def relative(path: str, root: str) -> str:
    """A path relative to *root*."""
    return path.removeprefix(root.rstrip("/")).lstrip("/")


def _sidecars(named_by: Mapping[str, Named | None]) -> tuple[dict[str, list[str]], int]:
    """Assign checksum files to the export files beside them.

    A checksum file is named like its export file, with or without that file's ending, plus its own.

    Args:
        named_by: Path of every file → what it states.

    Returns:
        Path of an export file → paths of its checksum files, and the number of checksum files that
        belong to no export file.
    """
    plain = [path for path in named_by if _ending(path) not in _CHECKSUMS]
    owners = {path.rpartition(".")[0]: path for path in plain} | {path: path for path in plain}
    beside: dict[str, list[str]] = {}
    without = 0
    for path in (path for path in named_by if _ending(path) in _CHECKSUMS):
        owner = owners.get(path.rpartition(".")[0], "")
        if named_by.get(owner):
            beside.setdefault(owner, []).append(path)
        else:
            without += 1
    return beside, without


def _ending(path: str) -> str:
    """What follows a name's last dot, in lower case."""
    return posixpath.basename(path).rpartition(".")[2].lower()
