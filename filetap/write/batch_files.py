"""From typed batches to batch files, in a folder or on any storage that fsspec knows."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from fsspec.core import split_protocol
from fsspec.registry import get_filesystem_class
from isal import isal_zlib
from upath import UPath
from upath.implementations.cloud import CloudPath

from filetap.columns.types import to_values
from filetap.errors import BatchFileError
from filetap.lazy import pl
from filetap.write.arrow_files import write_arrow
from filetap.write.records import json_lines, slices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import polars as pl

# How batch files are made: format → its compressions, the one that is taken unasked first.
# No Zstandard: no target reads it.
FILE_FORMATS: Mapping[str, Sequence[str]] = {
    "jsonl": ("gzip", "none"),
    "parquet": ("none", "gzip"),
    "arrow": ("none",),
}
# 0 to 3; as fast as 0, whose files are a quarter larger; 3 takes four times as long.
_GZIP_LEVEL = 1


def write_file(
    frame: pl.DataFrame,
    types: Mapping[str, str],
    file_format: str,
    compression: str,
    file: IO[bytes],
) -> None:
    """Write a batch as the content of a batch file.

    Every format has the same values as RECORD: dates and times are text, as JSON has them.

    Args:
        frame: Text columns in canonical text.
        types: Column → type; a column without one is ``string``.
        file_format: One of `FILE_FORMATS`.
        compression: One that the format has.
        file: Where the content goes.
    """
    if file_format == "jsonl":
        blocks = (json_lines(part, types, "", "") for part in slices(frame))
        file.writelines(_gzip(blocks) if compression == "gzip" else blocks)
    elif file_format == "parquet":
        values = to_values(frame, types)
        values.write_parquet(file, compression="gzip" if compression == "gzip" else "snappy")
    else:
        write_arrow(to_values(frame, types), file)


def _gzip(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks as one gzip member."""
    member = isal_zlib.compressobj(_GZIP_LEVEL, wbits=31)
    for block in blocks:
        yield member.compress(block)
    yield member.flush()


def put(
    root: str, params: Mapping[str, Any], name: str, write: Callable[[IO[bytes]], object]
) -> str:
    """Keep a file, whole once this returns.

    Args:
        root: A folder's path, or a URL of fsspec's.
        params: Options of the file system.
        name: The file's name below *root*.
        write: Called with the open file to write its content.

    Returns:
        The file's URL.

    Raises:
        BatchFileError: The file cannot be written.
    """
    try:
        with _quiet():
            path: UPath = UPath(root, **params).resolve() / name
            # A bucket has no folders, and making them would make a bucket that is not there.
            if not isinstance(path, CloudPath):
                path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                write(file)
            return path.as_uri()
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        # Not the error's own words: they may hold what is in the params.
        msg = f"{name}: a batch file cannot be written ({type(error).__name__})"
        hint = "check batch_config.storage"
        if isinstance(error, ImportError):
            hint = "install the file system of batch_config.storage.root (for s3:// the extra s3)"
        raise BatchFileError(msg, hint) from None


def root_fault(root: str) -> str:
    """Return why fsspec cannot open *root*, or an empty text."""
    protocol, _ = split_protocol(root)
    try:
        get_filesystem_class(protocol or "file")
    except ValueError:
        return f"{protocol}:// is no file system that is known"
    except ImportError:
        extra = " (the extra s3)" if protocol in {"s3", "s3a"} else ""
        return f"install what {protocol}:// needs{extra}"
    return ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep DEBUG lines out of the log: in them, file systems tell keys and tokens."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.DEBUG))
    try:
        yield
    finally:
        logging.disable(before)
