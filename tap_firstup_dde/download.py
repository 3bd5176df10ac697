"""Export files into a folder, for people: verified, resumed, and plain CSV where that is wanted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tap_firstup_dde.exportlib.compression import decompress, is_gzip
from tap_firstup_dde.exportlib.exceptions import SpoolError

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.exportlib.extract import Spool
    from tap_firstup_dde.exportlib.models import ExportFile, Transport

_LONGEST = 100  # characters of a file's name; its key tells it from others
_UNFIT = re.compile(r"[^\w.-]+")


def place(file: ExportFile, folder: Path) -> Path:
    """Where *file* goes below *folder*, without the ending of a compressed one.

    The key is in the name: Firstup calls the first file of every generation the same.
    """
    name = _UNFIT.sub("_", file.file_name)[-_LONGEST:] or "file"
    name = name.removesuffix(".gz")
    stem, dot, ending = name.rpartition(".")
    named = f"{stem}-{file.key}.{ending}" if dot and stem else f"{name}-{file.key}"
    return folder / file.stream / _UNFIT.sub("_", file.generation) / named


def present(file: ExportFile, folder: Path, *, unzip: bool, size: int | None = None) -> Path | None:
    """The file that an earlier download left, whole and proven; None where there is none.

    One that is not decompressed must have the *size* that is stated, where one is.
    """
    plain = place(file, folder)
    packed = plain.with_name(plain.name + ".gz")
    choice = (plain,) if unzip else (packed, plain)
    known = None if unzip else size
    return next(
        (p for p in choice if p.is_file() and known in {None, p.stat().st_size}),
        None,
    )


def download(
    transport: Transport, spool: Spool, file: ExportFile, folder: Path, *, unzip: bool
) -> Path:
    """Fetch *file* into *folder*, proven as the tap proves it; a broken download is resumed.

    Args:
        transport: Where it comes from.
        spool: How downloads are made.
        file: What to fetch.
        folder: Where it goes; made if it is not there.
        unzip: Whether to decompress it; else it is kept as stored.

    Returns:
        Where it is. It has this name only once it is whole.

    Raises:
        ExportError: It cannot be fetched, proven or written; what has come is kept to go on from.
    """
    target = place(file, folder)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{target.parent} cannot be made ({error.strerror})"
        raise SpoolError(msg, "check --to") from None
    spool.download_to(transport, file, part)
    try:
        return _unpacked(part, target) if unzip else _kept(part, target)
    except OSError as error:
        msg = f"{file}: {target} cannot be written ({error.strerror})"
        raise SpoolError(msg, "free some space, or name another folder") from None


def _kept(part: Path, target: Path) -> Path:
    """The proven bytes under their name, with the ending that they need."""
    with part.open("rb") as stored:
        packed = is_gzip(stored.read(2))
    return part.replace(target.with_name(target.name + ".gz") if packed else target)


def _unpacked(part: Path, target: Path) -> Path:
    """The proven bytes decompressed; what is not gzip stays as it is."""
    unpacking = target.with_name(target.name + ".unzip")
    with part.open("rb") as stored, unpacking.open("wb") as plain:
        for piece in decompress(stored):
            plain.write(piece)
    unpacking.replace(target)
    part.unlink()
    return target
