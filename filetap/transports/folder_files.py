"""Which of the files in a folder are export files, and what stands beside them."""

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
    """What a delivered file's name says.

    Attributes:
        stream: The stream its rows belong to.
        generation: When it was generated, as written.
        generated_at: The same as an aware time in UTC.
        historical: Whether it holds the past.
        program: Whose file it is.
    """

    stream: str
    generation: str
    generated_at: datetime
    historical: bool
    program: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """An export file in a folder.

    Attributes:
        found: Where it is, and in which version.
        named: What its name says.
        beside: Paths of files beside it that may hold its checksum.
    """

    found: Found
    named: Named
    beside: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """The files in a folder by what they are.

    Attributes:
        files: Name → export file; the newest, where one name is there several times.
        twice: The names of those.
        unfinished: Names that say that a file is still being written.
        foreign: What is added to "file" in messages → number of files that are ignored.
        alike: Names of ignored files that resemble those of export files.
    """

    files: Mapping[str, Delivered]
    twice: Sequence[str]
    unfinished: Sequence[str]
    foreign: Mapping[str, int]
    alike: Sequence[str]


def sort_out(
    everything: Iterable[Found],
    parse: Callable[[str], Named | None],
    resembles: Callable[[str], bool],
    program: str,
) -> Contents:
    """Tell export files from others.

    Args:
        everything: The files in the folder and below.
        parse: What a file's name says; None for a foreign file.
        resembles: True if a foreign file's name might be meant for an export file's.
        program: The program whose files are read; empty for all.
    """
    ordered = sorted(everything, key=lambda one: (one.changed or 0, one.path))
    beside, without = _sidecars(ordered, parse)
    foreign = Counter({"": without} if without else {})
    files: dict[str, Delivered] = {}
    twice, unfinished, alike = [], [], []
    for one in ordered:
        named = parse(one.name)
        if _ending(one.path) in _CHECKSUMS:
            continue
        if one.name.lower().endswith(_UNFINISHED):
            unfinished.append(one.name)
        elif named is None:
            foreign[""] += 1
            alike += [one.name] if resembles(one.name) else []
        elif program in {"", named.program}:
            if one.name in files:
                twice.append(one.name)
            files[one.name] = Delivered(one, named, tuple(beside.get(one.path, ())))
        else:
            foreign[" of other programs"] += 1
    return Contents(files, twice, unfinished, foreign, alike)


def _sidecars(
    ordered: Iterable[Found], parse: Callable[[str], Named | None]
) -> tuple[dict[str, list[str]], int]:
    """Path of an export file → those of checksum files beside it; the number of other such files.

    A checksum file has the other file's name, or it without its ending, before its own ending.
    """
    paths = [one.path for one in ordered]
    plain = [path for path in paths if _ending(path) not in _CHECKSUMS]
    owners = {path.rpartition(".")[0]: path for path in plain} | {path: path for path in plain}
    beside: dict[str, list[str]] = {}
    without = 0
    for path in (path for path in paths if _ending(path) in _CHECKSUMS):
        owner = owners.get(path.rpartition(".")[0], "")
        if parse(posixpath.basename(owner)):
            beside.setdefault(owner, []).append(path)
        else:
            without += 1
    return beside, without


def _ending(path: str) -> str:
    """What follows a name's last dot, in lower case."""
    return posixpath.basename(path).rpartition(".")[2].lower()
