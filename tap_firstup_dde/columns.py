"""A stream's columns before a SCHEMA goes out: which types they have, and which are the key."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import polars as pl

from tap_firstup_dde.documented import (
    ADDED,
    DOCUMENTED,
    GENERATED_AT,
    KEYS,
    PROGRAM_ID,
    SOURCE_FILE,
    SOURCE_LINE,
)
from tap_firstup_dde.exportlib.exceptions import StateError
from tap_firstup_dde.exportlib.look import Knowledge
from tap_firstup_dde.exportlib.models import STATE_HINT, format_time
from tap_firstup_dde.exportlib.names import column_names
from tap_firstup_dde.exportlib.schema import MISFIT_SUFFIX, TYPES, infer, json_schema, type_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tap_firstup_dde.exportlib.look import Look
    from tap_firstup_dde.exportlib.models import ExportFile

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
        catalog: Column → type, as the input catalog has it.
        keys: Columns of the stream's key.
    """

    stream: str
    settings: Mapping[str, str]
    pinned: Mapping[str, str]
    catalog: Mapping[str, str]
    keys: Sequence[str]

    @property
    def before(self) -> dict[str, str]:
        """Column → type of the columns that are known without a look at a file."""
        return {**self.catalog, **self.pinned}

    @property
    def settled(self) -> dict[str, str]:
        """Column → type, as settings, state and catalog have it; the first wins.

        A key is text, unless it has gone out as something else.
        """
        keys = {*KEYS[self.stream], *self.keys} - {*ADDED}
        text = {key: "string" for key in keys if self.pinned.get(key, "string") == "string"}
        return {**self.before, **self.settings, **text}

    @property
    def known(self) -> Knowledge:
        """What needs no look."""
        return Knowledge(self.settled, DOCUMENTED[self.stream], ADDED)

    def types(self, seen: Look) -> tuple[dict[str, str], list[str]]:
        """Column → type of every column that is known or *seen*, and what to say of them."""
        documented, settled = DOCUMENTED[self.stream], self.settled
        base = self.before
        if not base and not seen.columns:
            base = dict(documented.columns)
        types: dict[str, str] = {}
        warnings = []
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
    return {name: kind for name, kind in types.items() if name not in ADDED}


def catalog_types(schema: Mapping[str, Any] | None) -> dict[str, str]:
    """Column → type of the columns that an input catalog's schema has."""
    properties = (schema or {}).get("properties", {})
    return {name: type_of(column) for name, column in properties.items() if name not in ADDED}


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
    """Whether a misfit column's own column is mapped: its values must not get round it.

    Maps that make another stream of this one (``__source__``) do not count: this one would
    lose the values.
    """
    origin = name.removesuffix(MISFIT_SUFFIX)
    return name != origin and any(
        members.get(origin, origin) != origin and name not in members
        for pattern, members in maps.items()
        if isinstance(members, dict) and "__source__" not in members and fnmatch(stream, pattern)
    )


def with_added(
    frame: pl.DataFrame, file: ExportFile, numbers: pl.Series, names: Collection[str]
) -> pl.DataFrame:
    """*frame* with the columns among *names* that say where its rows are from, as text."""
    values = {
        GENERATED_AT: pl.repeat(format_time(file.generated_at), len(numbers), eager=True),
        SOURCE_FILE: pl.repeat(file.source, len(numbers), eager=True),
        SOURCE_LINE: numbers.cast(pl.String),
        PROGRAM_ID: pl.repeat(file.program, len(numbers), eager=True),
    }
    added = [value.alias(name) for name, value in values.items() if name in names]
    # A frame without columns has no rows either.
    return frame.with_columns(added) if frame.width else pl.DataFrame(added)


def record_schema(types: Mapping[str, str], added: Collection[str]) -> dict[str, Any]:
    """The JSON Schema of a record with these columns and these added ones."""
    properties = {name: json_schema(kind) for name, kind in types.items()}
    properties |= {name: dict(ADDED_SCHEMA[name]) for name in added}
    return {"type": "object", "properties": properties}
