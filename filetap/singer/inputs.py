"""The JSON files that a run reads: settings, state and catalog."""

from __future__ import annotations

import json
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, validators
from singer_sdk.singerlib import Catalog

from filetap.bookmark_state import read_bookmark
from filetap.columns.resolve import pinned_key, pinned_types
from filetap.errors import STATE_HINT, ExportError, SettingsError, StateError
from filetap.jobs.state import read_job_state
from filetap.singer.private import load_json
from filetap.times import utc_now

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from filetap.vendor import StreamSpec

CATALOG_HINT = "create one with --discover"
_SHOWN = 5  # streams in a message, at most

_TEXT = {"type": ["string", "null"]}
_TEXTS = {"type": ["array", "null"], "items": {"type": "string"}}
_FLAG = {"type": ["boolean", "null"]}
# What the SDK assumes, and otherwise fails on with a traceback. Members that it never reads, and
# nulls that it treats as "not given", do no harm.
_CATALOG: dict[str, Any] = {
    "type": "object",
    "properties": {
        "streams": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tap_stream_id"],
                "properties": {
                    "tap_stream_id": {"type": "string"},
                    "stream": _TEXT,
                    "schema": {"$ref": "#/$defs/schema"},
                    "key_properties": _TEXTS,
                    "replication_key": _TEXT,
                    "replication_method": _TEXT,
                    "metadata": {
                        "type": ["array", "null"],
                        "items": {
                            "type": "object",
                            "required": ["breadcrumb", "metadata"],
                            "properties": {
                                "breadcrumb": {"type": "array", "items": {"type": "string"}},
                                "metadata": {
                                    "type": "object",
                                    "properties": {
                                        "inclusion": _TEXT,
                                        "selected": _FLAG,
                                        "selected-by-default": _FLAG,
                                        "replication-key": _TEXT,
                                        "replication-method": _TEXT,
                                        "forced-replication-method": _TEXT,
                                        "table-key-properties": _TEXTS,
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
    "$defs": {
        "schema": {
            "type": ["object", "null"],
            "properties": {
                "properties": {
                    "type": ["object", "null"],
                    "additionalProperties": {"$ref": "#/$defs/column"},
                },
            },
        },
        "column": {
            "type": "object",
            "properties": {
                "properties": {
                    "type": ["object", "null"],
                    "additionalProperties": {"$ref": "#/$defs/column"},
                },
                "items": {"$ref": "#/$defs/schema"},
            },
        },
    },
}
_STATE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "bookmarks": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "partitions": {"type": "array", "items": {"type": "object"}},
                    "progress_markers": {"type": "object"},
                },
            },
        },
    },
}


def read_json(option: str, data: bytes) -> Any:
    """The value of a JSON file, which is UTF-8 whatever the locale, with or without a BOM.

    Args:
        option: The option and the file that it names, for errors.
        data: The file's bytes.

    Raises:
        ExportError: It is not JSON in UTF-8.
    """
    try:
        value = load_json(data.decode("utf-8-sig"))
        # JSON can escape a lone surrogate, which no output can encode.
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeError:
        msg = f"{option}: the file cannot be read as JSON: it is not UTF-8 text"
        raise ExportError(msg, "save it as UTF-8") from None
    except RecursionError:
        msg = f"{option}: the file cannot be read as JSON: it is nested too deeply"
        raise ExportError(msg) from None
    except ValueError as error:
        why = str(error).replace("\n", " ") if data.strip() else "it is empty; omit it"
        msg = f"{option}: the file is not JSON: {why}"
        raise ExportError(msg) from None
    return value


def read_file(option: str, path: Path) -> Any:
    """The value of the JSON file at *path*, as `read_json` returns it.

    Raises:
        ExportError: It cannot be read, or is not JSON in UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        msg = f"{option}: the file {path} cannot be read ({error.strerror})"
        raise ExportError(msg) from None
    return read_json(f"{option} {path}", data)


def settings_file(path: Path) -> dict[str, Any]:
    """The settings in a file.

    Raises:
        ExportError: It does not exist, or is not a JSON object.
    """
    if not path.exists():
        msg = f"the settings file {path} does not exist"
        raise SettingsError(msg, "check --config")
    settings = read_file("--config", path)
    if not isinstance(settings, dict):
        msg = f"the settings file {path} is not a JSON object"
        raise SettingsError(msg, "check --config")
    return settings


def usable_state(state: Any) -> Any:
    """The state in *state*, which may also be a whole STATE message.

    Raises:
        StateError: It is not a state.
    """
    if not isinstance(state, dict | None):
        msg = "the state cannot be read: it is not an object"
        raise StateError(msg, STATE_HINT)
    if state and state.get("type") == "STATE":
        state = state.get("value") or {"value": None}
    if isinstance(state, dict) and isinstance(state.get("singer_state"), dict):
        state = state["singer_state"]  # as `meltano state get` prints it
    if not isinstance(state, dict | None) or (state and "bookmarks" not in state):
        msg = "the state cannot be read: it has no bookmarks"
        raise StateError(msg, STATE_HINT)
    if fault := _fault(state or {}, _STATE):
        msg = f"the state cannot be read: its bookmarks are malformed ({fault})"
        raise StateError(msg, STATE_HINT)
    return state


def usable_catalog(catalog: Any) -> Any:
    """A usable catalog, with the replication method from its metadata, which the SDK ignores.

    Raises:
        ExportError: It is not a catalog.
    """
    if isinstance(catalog, Catalog | None):
        return catalog
    if fault := _fault(catalog, _CATALOG):
        msg = f"the catalog cannot be read: {fault}"
        raise ExportError(msg, CATALOG_HINT)
    entries: dict[str, Any] = {}
    for entry in catalog.get("streams", []):
        name = entry["tap_stream_id"]
        if entries.setdefault(name, entry) is not entry:
            msg = f"the catalog cannot be read: it has {name} twice"
            raise ExportError(msg, CATALOG_HINT)
        for member in [name for name, value in entry.items() if value is None]:
            del entry[member]
        for column in (entry.get("schema", {}).get("properties") or {}).values():
            if "type" in column and column["type"] is None:
                column["type"] = "null"  # the SDK would drop it
        for item in entry.get("metadata", []):
            method = item["metadata"].get("replication-method")
            if method and not item["breadcrumb"]:
                entry.setdefault("replication_method", method)
    return catalog


def check_streams(catalog: Any, state: Any, streams: Collection[str]) -> None:
    """Refuse a catalog or a state that has none of a tap's streams: it is another tap's.

    Args:
        catalog: A usable catalog, or None.
        state: A usable state, or None.
        streams: The tap's streams.

    Raises:
        ExportError: The catalog has none of them.
        StateError: The state has streams, and none of them.
    """
    names = _listed(streams)
    if isinstance(catalog, dict):
        described = {entry["tap_stream_id"] for entry in catalog.get("streams", [])}
        if not described.intersection(streams):
            msg = f"the catalog has none of the streams {names}, so nothing would be read"
            raise ExportError(msg, CATALOG_HINT)
    read = (state or {}).get("bookmarks") or {}
    if read and not read.keys() & streams:
        msg = f"the state is about {_listed(sorted(read))}, and none of the streams {names}"
        raise StateError(msg, "it belongs to another tap; " + STATE_HINT)


def unknown_in_catalog(catalog: Any, streams: Collection[str]) -> list[str]:
    """Warnings about streams of a catalog that do not exist, if it has others that do.

    Args:
        catalog: A usable catalog, or None.
        streams: The tap's streams.
    """
    entries = catalog.get("streams", []) if isinstance(catalog, dict) else []
    names = [entry["tap_stream_id"] for entry in entries]
    if not {*names}.intersection(streams):
        return []
    found = []
    for name in [name for name in names if name not in streams]:
        near = get_close_matches(name, streams, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        found.append(f"the catalog has a stream {name}, which does not exist{hint}")
    return found


def lacking(catalog: Any, streams: Iterable[str]) -> list[str]:
    """The streams that a usable catalog does not have, sorted; none if no catalog is given."""
    if not isinstance(catalog, dict):
        return []
    return sorted({*streams} - {entry["tap_stream_id"] for entry in catalog.get("streams", [])})


def check_states(state: Mapping[str, Any], specs: Iterable[StreamSpec]) -> None:
    """Refuse a state of which a stream's part cannot be read, before any stream is.

    Args:
        state: A usable state.
        specs: The streams that are read.

    Raises:
        StateError: A part cannot be read.
    """
    now = utc_now()
    for spec in specs:
        part = state.get("bookmarks", {}).get(spec.name, {})
        if spec.times:
            read_job_state(part, spec)
        else:
            read_bookmark(part, now, spec.name)
        pinned_types(part, spec.name)
        pinned_key(part, spec)


def _listed(names: Collection[str]) -> str:
    """Some names in a message, not all of many."""
    return ", ".join(islice(names, _SHOWN)) + (", …" if len(names) > _SHOWN else "")


# The SDK's own catalogs have tuples where a file has arrays.
_Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "array", lambda _, value: isinstance(value, list | tuple)
    ),
)


def _fault(document: Any, schema: Mapping[str, Any]) -> str:
    """The first place where *document* differs from *schema*; empty if there is none."""
    for error in _Validator(schema).iter_errors(document):
        place = error.json_path.removeprefix("$").lstrip(".") or "it"
        path, wanted = list(error.absolute_path), error.validator_value
        if "properties" in path[-2:-1]:
            return f"{path[-1]} is not described by an object"
        if error.validator == "required":
            return f"{place} lacks one of {', '.join(wanted)}"
        kinds = [wanted] if isinstance(wanted, str) else wanted
        return f"{place} is not of type {' or '.join(kinds)}"
    return ""
