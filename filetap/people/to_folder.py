"""Downloads export files to a folder: verified, resumed, and decompressed on request."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from typing import IO, TYPE_CHECKING

from filetap.download.gunzip import decompress, is_gzip
from filetap.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from filetap.download.spool import Spool
    from filetap.files import ExportFile, Transport

_LONGEST = 100  # bytes of a file's name, far below any file system's limit; its key identifies it
_UNFIT = re.compile(r"[^\w.-]+")


def place(file: ExportFile, folder: Path) -> Path:
    """Where *file* is written below *folder*, without the ending of a compressed file.

    The key is in the name: vendors use one file name in every generation. So is what
    distinguishes the versions of a file that may be delivered again.
    """
    stem, ending = _named(file)
    mark = f"-{hashlib.sha256(file.version.encode()).hexdigest()[:6]}" if file.version else ""
    return folder / file.stream / _UNFIT.sub("_", file.generation) / f"{stem}{mark}{ending}"


def _named(file: ExportFile) -> tuple[str, str]:
    """What the name of any version of *file* begins and ends with."""
    name = _UNFIT.sub("_", file.file_name).encode()[-_LONGEST:].decode(errors="ignore")
    name = (name or "file").removesuffix(".gz")
    stem, dot, ending = name.rpartition(".")
    return (f"{stem}-{file.key}", f".{ending}") if dot and stem else (f"{name}-{file.key}", "")


def present(file: ExportFile, folder: Path, *, unzip: bool, size: int | None = None) -> Path | None:
    """The verified file that an earlier download left; None if there is none.

    A file that is not decompressed must have the stated *size*, if any. Links do not count.
    """
    plain = place(file, folder)
    packed = plain.with_name(plain.name + ".gz")
    choice = (plain,) if unzip else (packed, plain)
    known = None if unzip else size
    return next(
        (
            path
            for path in choice
            if path.is_file() and not path.is_symlink() and known in {None, path.stat().st_size}
        ),
        None,
    )


def download(  # noqa: PLR0913 - what, from where, to where and how
    transport: Transport,
    spool: Spool,
    file: ExportFile,
    folder: Path,
    *,
    unzip: bool,
    size: int | None = None,
) -> Path:
    """Download *file* to *folder*, verified as the tap verifies it; resumes a broken download.

    If another process is downloading the same file, wait for it and use its result.

    Args:
        transport: Where it comes from.
        spool: Downloads it.
        file: The file.
        folder: Where it is written; created if it does not exist.
        unzip: True to decompress it; otherwise it stays as stored.
        size: Bytes as stored; None if not known.

    Returns:
        Its path. It has this name only once it is complete.

    Raises:
        ExportError: It cannot be downloaded, verified or written; the next download resumes from
            what has arrived.
    """
    target = place(file, folder)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{target.parent} cannot be created ({error.strerror})"
        raise SpoolError(msg, "check --to") from None
    try:
        with _locked(part) as stored:
            if path := present(file, folder, unzip=unzip, size=size):
                part.unlink()
                return path
            spool.download_to(transport, file, stored)
            stored.seek(0)
            if unzip:
                path = _unpacked(stored, part, target, str(file))
            else:
                packed = is_gzip(stored.read(2))
                path = part.replace(target.with_name(target.name + ".gz") if packed else target)
            if file.version:
                _remove_others(file, path)
            return path
    except OSError as error:
        msg = f"{file}: {target} cannot be written ({error.strerror})"
        raise SpoolError(msg, "free some space, or name another folder") from None


def _remove_others(file: ExportFile, path: Path) -> None:
    """Remove what earlier versions of *file* have left beside its download *path*."""
    stem, ending = _named(file)
    form = re.compile(re.escape(stem) + r"(?:-[0-9a-f]{6})?" + re.escape(ending) + r"(?:\.gz)?")
    for other in path.parent.iterdir():
        if form.fullmatch(other.name) and other != path:
            other.unlink()


@contextmanager
def _locked(part: Path) -> Iterator[IO[bytes]]:
    """Open *part* for this process alone, waiting for any other; links are not followed."""
    while True:
        if part.is_symlink():
            part.unlink()
        number = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with os.fdopen(number, "r+b") as stored:
            flock(stored, LOCK_EX)
            # The process that had it may have renamed it: then the name is free, or another's.
            if _is_at(number, part):
                yield stored
                return


def _is_at(number: int, path: Path) -> bool:
    """True if an open file, given by its descriptor, is the one at *path*."""
    try:
        return os.path.samestat(os.fstat(number), path.lstat())
    except FileNotFoundError:
        return False


def _unpacked(stored: IO[bytes], part: Path, target: Path, what: str) -> Path:
    """Decompress verified bytes; other than gzip they stay as they are."""
    unpacking = target.with_name(target.name + ".unzip")
    unpacking.unlink(missing_ok=True)
    with unpacking.open("xb") as plain:  # a new file: no link is followed
        for piece in decompress(stored, what):
            plain.write(piece)
    unpacking.replace(target)
    part.unlink()
    return target
