"""A stream's columns before a SCHEMA goes out: which types they have, and which are the key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import polars as pl

from filetap.columns.sample import Knowledge
from filetap.columns.types import MISFIT_SUFFIX, TYPES, infer, json_schema, type_of
from filetap.errors import StateError
from filetap.files import STATE_HINT, format_time
from filetap.read.names import column_names
from tap_firstup_dde.vendor import (
    ADDED,
    DOCUMENTED,
    GENERATED_AT,
    KEYS,
    PROGRAM_ID,
    ROW_KEY,
    SOURCE_FILE,
    SOURCE_LINE,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from filetap.columns.sample import Look
    from filetap.files import ExportFile

ADDED_SCHEMA: Mapping[str, dict[str, Any]] = {
    GENERATED_AT: {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "When Firstup generated the file (UTC)",
    },
    SOURCE_FILE: {
        "type": ["string", "null"],
        "description": "Generation, name and key of the file",
    },
    SOURCE_LINE: {"type": ["integer", "null"], "description": "Row number in the file, from 1"},
    PROGRAM_ID: {
        "type": ["string", "null"],
        "description": "Whose file it is, where a folder has those of several programs",
    },
}
ADDED_TYPES = {SOURCE_LINE: "integer"}
# What a discovered catalog says of a column without values, so that a run may still infer its type.
ASSUMED = "No value was seen: the type is assumed"


def own_types(config: Mapping[str, Any], stream: str) -> dict[str, str]:
    """Column → type, as the setting ``column_types`` has it; labels may be as the CSV has them."""
    types = (config.get("column_types") or {}).get(stream, {})
    return {column_names([label])[0]: kind for label, kind in types.items()}


def own_keys(config: Mapping[str, Any], stream: str) -> tuple[str, ...]:
    """The columns that the setting ``primary_keys`` has for a stream; none if it has none."""
    labels = (config.get("primary_keys") or {}).get(stream) or ()
    names = (label if label in ADDED else column_names([label])[0] for label in labels)
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the types of a stream's columns come from.

    Attributes:
        stream: Name of the stream.
        settings: Column → type, as ``column_types`` has it.
        pinned: Column → type of the columns that have gone out.
        catalog: Column → type, as the input catalog has it; empty where it has none.
        keys: Columns of the stream's key.
        assumed: Columns that the input catalog has, and whose types discovery assumed.
    """

    stream: str
    settings: Mapping[str, str]
    pinned: Mapping[str, str]
    catalog: Mapping[str, str]
    keys: Sequence[str]
    assumed: Sequence[str] = ()

    @property
    def before(self) -> dict[str, str]:
        """Column → type of the columns that are known without a look at a file."""
        return {**dict.fromkeys(self.assumed, ""), **self.catalog, **self.pinned}

    @property
    def settled(self) -> dict[str, str]:
        """Column → type, as settings, state and catalog have it; the first wins.

        A key is text, unless it has gone out as something else.
        """
        keys = {*KEYS[self.stream], *self.keys} - {*ADDED}
        text = {key: "string" for key in keys if self.pinned.get(key, "string") == "string"}
        typed = {name: kind for name, kind in self.before.items() if kind}
        return {**typed, **self.settings, **text}

    @property
    def known(self) -> Knowledge:
        """What needs no look."""
        return Knowledge(self.settled, DOCUMENTED[self.stream], ADDED, self.before)

    def types(self, seen: Look) -> tuple[dict[str, str], list[str]]:
        """Column → type of every column that is known or *seen*, and what to say of them."""
        documented, settled = DOCUMENTED[self.stream], self.settled
        base = self.before
        if not base and not seen.columns:
            base = dict(documented.columns)
        types: dict[str, str] = {}
        warnings = []
        if untyped := sorted(name for name, kind in self.catalog.items() if not kind):
            warnings.append(
                f"the catalog has a schema without a type for {', '.join(untyped)}; the type that "
                "was emitted before is kept, else it is inferred"
            )
        for name in dict.fromkeys([*base, *seen.columns]):
            kind = types[name] = settled.get(name) or infer(name, seen.evidence, documented)
            gone_out = self.pinned.get(name, kind)
            if self.settings.get(name, kind) != kind:
                warnings.append(f"{name} is a key and stays a string")
            elif name in self.settings and kind != gone_out:
                warnings.append(
                    f"column_types makes {name} {kind}; it has gone out as {gone_out}, and "
                    "loaders may refuse"
                )
        if seen.columns and (absent := sorted(set(self.settings) - set(types))):
            warnings.append(f"column_types names columns that are not there: {', '.join(absent)}")
        types |= {name + MISFIT_SUFFIX: "string" for name in sorted(seen.misfits & set(types))}
        return types, warnings


def certain(types: Mapping[str, str], stream: str, keys: Collection[str]) -> dict[str, str]:
    """The columns that no file can gainsay, where there is none to learn types from."""
    names = DOCUMENTED[stream].text | set(keys)
    return {name: kind for name, kind in types.items() if name in names}


def pinned_types(state: Mapping[str, Any], stream: str) -> dict[str, str]:
    """Column → type of the columns that have gone out, as a stream's state has it.

    Raises:
        StateError: The state holds types that do not exist.
    """
    types = state.get("types") or {}
    if not isinstance(types, dict) or not all(kind in TYPES for kind in types.values()):
        msg = f"{stream}: the state's types cannot be read"
        raise StateError(msg, STATE_HINT)
    return {name: _own_type(name, kind) for name, kind in types.items() if name not in ADDED}


def pinned_key(state: Mapping[str, Any], stream: str) -> tuple[str, ...]:
    """The key that records were emitted with; empty if none were, or it is not known.

    A state of an earlier version names no key: then it is the usual one, where its columns
    have been emitted as text.

    Raises:
        StateError: The state holds a key that is not a list of names.
    """
    key = state.get("key")
    if key is None:
        types, usual = pinned_types(state, stream), KEYS[stream]
        if not types or not set(usual) - {*ADDED} <= {*types}:
            return ()
        return usual if all(types.get(name, "string") == "string" for name in usual) else ()
    if not isinstance(key, list) or not all(isinstance(name, str) for name in key):
        msg = f"{stream}: the state's key cannot be read"
        raise StateError(msg, STATE_HINT)
    return tuple(key)


def _own_type(name: str, kind: str) -> str:
    """The type of a column; of a misfit column always text: it holds what fits no other."""
    return "string" if name.endswith(MISFIT_SUFFIX) else kind


def catalog_types(schema: Mapping[str, Any] | None) -> dict[str, str]:
    """Column → type of the columns that an input catalog's schema has; empty for no type."""
    properties = (schema or {}).get("properties") or {}
    return {
        name: _own_type(name, type_of(column))
        for name, column in properties.items()
        if name not in ADDED and column.get("description") != ASSUMED
    }


def assumed_columns(schema: Mapping[str, Any] | None) -> list[str]:
    """The columns of an input catalog whose types discovery assumed, having seen no value."""
    properties = (schema or {}).get("properties") or {}
    return [name for name, column in properties.items() if column.get("description") == ASSUMED]


@dataclass(frozen=True, slots=True)
class KeySources:
    """Where a stream's key comes from; the first one that is not empty wins.

    Attributes:
        settings: The columns that ``primary_keys`` names.
        pinned: The columns that records were emitted with.
        catalog: The columns that the input catalog names.
        usual: The columns that the stream has by default.
    """

    settings: tuple[str, ...]
    pinned: tuple[str, ...]
    catalog: tuple[str, ...]
    usual: tuple[str, ...]

    def choose(
        self, types: Mapping[str, str], shared: Collection[str] | None
    ) -> tuple[tuple[str, ...], list[str]]:
        """The key's columns, and what to warn about.

        A key that records were emitted with is kept, whatever files or a catalog have; before
        that, the row's place is the key where a row might have none.

        Args:
            types: Column → type.
            shared: Columns that every file has; None if that is not known.
        """
        place, warnings = ", ".join(ROW_KEY), []
        key = self.settings or self.pinned or self.catalog or self.usual
        if self.settings and self.pinned and set(self.settings) != set(self.pinned):
            warnings.append(
                f"primary_keys makes the key {', '.join(key)}; it was {', '.join(self.pinned)}, "
                "and loaders may refuse"
            )
        elif self.pinned and not self.settings:
            if self.catalog and set(self.catalog) != set(self.pinned):
                warnings.append(
                    f"the catalog's key is {', '.join(self.catalog)}; the key stays "
                    f"{', '.join(self.pinned)}, with which records were emitted"
                )
            return self.pinned, warnings
        if key == self.catalog and key == ROW_KEY != self.usual:
            usual = ", ".join(self.usual)
            warnings.append(f"the key is {place}, as the catalog has it, not {usual}")
        for fault in key_faults(key, types, shared):
            warnings.append(
                f"the key column {fault}; the key is {place} instead (primary_keys changes it)"
            )
            key = ROW_KEY
        return key, warnings


def key_faults(
    keys: Collection[str], types: Mapping[str, str], shared: Collection[str] | None
) -> list[str]:
    """Why rows might have no key.

    Args:
        keys: Columns of the key.
        types: Column → type.
        shared: Columns that every file has; None if that is not known.
    """
    own = set(keys) - {*ADDED}
    faults = {
        "is not in every file": own - set(types if shared is None else shared),
        "is not text in the database": {key for key in own if types.get(key, "string") != "string"},
    }
    return [f"{', '.join(sorted(names))} {fault}" for fault, names in faults.items() if names]


def is_mapped_away(name: str, stream: str, maps: Mapping[str, Any]) -> bool:
    """True if a stream map changes or drops the base column: its misfits must not leak.

    Maps that make another stream of this one (``__source__``) do not count: this one would
    lose the values.
    """
    origin = name.removesuffix(MISFIT_SUFFIX)
    return name != origin and any(
        members.get(origin, origin) != origin and name not in _names_in(members)
        for members in _maps_of(stream, maps)
        if "__source__" not in members
    )


def mapped_misfits(types: Collection[str], stream: str, maps: Mapping[str, Any]) -> list[str]:
    """The misfit columns that a stream map names, of columns among *types*."""
    named = {name for members in _maps_of(stream, maps) for name in _names_in(members)}
    return [name + MISFIT_SUFFIX for name in types if name + MISFIT_SUFFIX in named]


def _maps_of(stream: str, maps: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The stream maps of one stream, those that make another one of it included."""
    return [
        members
        for pattern, members in maps.items()
        if isinstance(members, dict) and fnmatch(members.get("__source__") or stream, stream)
        if "__source__" in members or fnmatch(stream, pattern)
    ]


def _names_in(members: Mapping[str, Any]) -> set[str]:
    """The words of a stream map that may be columns: its members, and what expressions name."""
    expressions = " ".join(text for text in members.values() if isinstance(text, str))
    return {*members, *re.findall(r"\w+", expressions)}


def with_added(
    frame: pl.DataFrame, file: ExportFile, numbers: pl.Series, names: Collection[str]
) -> pl.DataFrame:
    """*frame* with the columns among *names* that say where its rows are from, as text."""
    values = {
        GENERATED_AT: pl.repeat(format_time(file.generated_at), len(numbers), eager=True),
        SOURCE_FILE: pl.repeat(file.source, len(numbers), eager=True),
        SOURCE_LINE: numbers.cast(pl.String),
        PROGRAM_ID: pl.repeat(file.program or None, len(numbers), dtype=pl.String, eager=True),
    }
    added = [value.alias(name) for name, value in values.items() if name in names]
    # A frame without columns has no rows either.
    return frame.with_columns(added) if frame.width else pl.DataFrame(added)


def record_schema(types: Mapping[str, str], added: Collection[str]) -> dict[str, Any]:
    """The JSON Schema of a record with these columns and these added ones."""
    properties = {name: json_schema(kind) for name, kind in types.items()}
    properties |= {name: dict(ADDED_SCHEMA[name]) for name in added}
    return {"type": "object", "properties": properties}
