"""Where batch files are kept: a folder, or whatever else fsspec has a file system for."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from fsspec.core import split_protocol
from fsspec.registry import get_filesystem_class
from upath import UPath
from upath.implementations.cloud import CloudPath

from filetap.errors import BatchFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


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
    """Why no file system can be had for a folder's path or URL; empty when one can."""
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
