"""Types and keys of streams, kept in a folder for queries that have no state of their own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from upath import UPath
from upath.implementations.cloud import CloudPath

from filetap.columns.resolve import pinned_key, pinned_types
from filetap.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filetap.vendor import StreamSpec

_HINT = "give a folder that the driver can write to; it holds a file for each stream"


def load_kept(location: str, spec: StreamSpec) -> dict[str, Any]:
    """What was kept of a stream, as its part of a state has it; empty for nothing.

    Args:
        location: A folder's path, or an fsspec URL.
        spec: The stream.

    Raises:
        SettingsError: It cannot be read.
    """
    name = f"{spec.name}.json"
    try:
        kept = dict(json.loads((UPath(location) / name).read_text(encoding="utf-8")))
        pinned_types({"types": dict(kept["types"])}, spec.name)
        pinned_key(kept, spec)
    except FileNotFoundError:
        return {}
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        msg = f"schemaLocation: {name} cannot be read ({type(error).__name__})"
        raise SettingsError(msg, _HINT) from None
    return kept


def keep(location: str, stream: str, state: Mapping[str, Any]) -> None:
    """Keep a stream's types and key.

    Args:
        location: A folder's path, or an fsspec URL; the folder is created.
        stream: Name of the stream.
        state: ``types`` and ``key``, as in a stream's part of a state.

    Raises:
        SettingsError: They cannot be kept.
    """
    name, text = f"{stream}.json", json.dumps(state, indent=1)
    try:
        folder = UPath(location)
        if isinstance(folder, CloudPath):  # an object exists whole or not at all
            (folder / name).write_text(text, encoding="utf-8")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f".{name}.{uuid4().hex}"
            temporary.write_text(text, encoding="utf-8")
            temporary.rename(folder / name)
    except Exception as error:  # noqa: BLE001 - each file system has errors of its own
        msg = f"schemaLocation: {name} cannot be written ({type(error).__name__})"
        raise SettingsError(msg, _HINT) from None
