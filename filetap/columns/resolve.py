"""A stream's columns before they are emitted: their types, and which of them are the key."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from filetap.columns.added import ADDED, HASH_KEY, ROW_KEY
from filetap.columns.expected import Expected
from filetap.columns.infer import infer
from filetap.columns.mapped import is_mapped_away, mapped_misfits
from filetap.columns.types import MISFIT_SUFFIX, NESTED, TYPES, type_of
from filetap.errors import STATE_HINT, SettingsError, StateError
from filetap.settings import NOTHING_PROTECTED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from filetap.columns.sample import Sample
    from filetap.settings import Protection, Settings
    from filetap.vendor import StreamSpec

# Marks a column without values in a discovered catalog, so that a run still infers its type.
ASSUMED = "No value was seen: the type is assumed"


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that a stream's records have.

    Attributes:
        types: Column → type.
        key: Columns of the key.
        assumed: Columns whose type no value has shown.
        warnings: What is odd about them.
    """

    types: Mapping[str, str]
    key: tuple[str, ...]
    assumed: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that is known about a stream's columns without reading a file.

    Attributes:
        spec: What the vendor documents.
        key: Columns of the key as far as it is known.
        own_types: Column → type, as the setting ``column_types`` has it.
        own_key: The key, as the setting ``primary_keys`` has it; empty if it has none.
        pinned: Column → type of the columns that were emitted.
        pinned_key: The key that records were emitted with; empty if none were.
        catalog: Column → type, as the input catalog has it; an empty type where it has none.
        catalog_key: The key, as the input catalog has it.
        assumed: Columns of the input catalog whose types discovery assumed.
        maps: Stream maps.
        nulls: Texts that stand for null.
        protection: Columns that are left out, or whose values become hashes.
        found: Names and patterns of these that files had.
    """

    spec: StreamSpec
    key: tuple[str, ...]
    own_types: Mapping[str, str] = field(default_factory=dict)
    own_key: tuple[str, ...] = ()
    pinned: Mapping[str, str] = field(default_factory=dict)
    pinned_key: tuple[str, ...] = ()
    catalog: Mapping[str, str] = field(default_factory=dict)
    catalog_key: tuple[str, ...] = ()
    assumed: Sequence[str] = ()
    maps: Mapping[str, Any] = field(default_factory=dict)
    nulls: tuple[str, ...] = ()
    protection: Protection = NOTHING_PROTECTED
    found: frozenset[str] = frozenset()

    @classmethod
    def of(cls, spec: StreamSpec, settings: Settings, state: Mapping[str, Any]) -> Known:
        """What vendor, settings and a stream's part of the state say.

        Raises:
            SettingsError: A column of the key is to be left out, or the time of a row is protected.
            StateError: The state's types or key cannot be read.
        """
        own_key = settings.keys.get(spec.name, ())
        known = cls(
            spec,
            own_key or spec.key,
            own_types=settings.types.get(spec.name, {}),
            own_key=own_key,
            maps=settings.maps,
            nulls=settings.nulls,
            protection=settings.protection(spec.name),
        )
        known.check_key({*known.key} - {*ADDED})
        return known.with_state(state)

    def with_state(self, state: Mapping[str, Any]) -> Known:
        """The same with what a stream's part of the state says was emitted.

        Raises:
            StateError: The state's types or key cannot be read.
        """
        return replace(
            self,
            pinned=pinned_types(state, self.spec.name),
            pinned_key=pinned_key(state, self.spec),
            found=self.found | found_before(state),
        )

    def with_catalog(self, schema: Mapping[str, Any] | None, key: Sequence[str]) -> Known:
        """The same with an input catalog's schema and key."""
        return replace(
            self,
            key=self.own_key or tuple(key) or self.spec.key,
            catalog=catalog_types(schema, nested=self.spec.documented.nested),
            catalog_key=tuple(key),
            assumed=assumed_columns(schema),
        )

    @property
    def before(self) -> dict[str, str]:
        """Column → type of the columns that are known without a sample."""
        return {**dict.fromkeys(self.assumed, ""), **self.catalog, **self.pinned}

    @property
    def fixed(self) -> dict[str, str]:
        """Column → type, as settings, state and catalog have it; the first wins.

        A key is text, unless it was emitted as something else.
        """
        keys = {*self.spec.key, *self.key} - {*ADDED}
        text = {key: "string" for key in keys if self.pinned.get(key, "string") == "string"}
        typed = {name: kind for name, kind in self.before.items() if kind}
        # A hash is text; where another type was emitted, it goes to the misfit column.
        text |= {
            name: "string"
            for name in (*self.before, *self.own_types)
            if self.protection.hashes(name) and self.pinned.get(name, "string") == "string"
        }
        return {**self.always, **typed, **self.own_types, **text}

    @property
    def always(self) -> Mapping[str, str]:
        """Column → type of the documented columns that exist whatever the files have."""
        documented = self.spec.documented
        return documented.columns if documented.fixed else {}

    @property
    def expected(self) -> Expected:
        """What files are expected to hold."""
        choices = self.spec.choices if self._is_key_open else ()
        spec, documented = self.spec, self.spec.documented
        known = {*spec.key, *self.before, *documented.columns, *documented.likely}
        return Expected(
            self.fixed,
            documented,
            self.before,
            self.nulls,
            choices,
            self.protection,
            repeats=spec.repeats,
            named=frozenset((*self.own_types, *self.own_key)) - known,
        )

    @property
    def _is_key_open(self) -> bool:
        """True if files decide the key: a catalog repeats what discovery found in another one."""
        discovered = {(), self.spec.key, *self.spec.choices}
        return (
            bool(self.spec.choices)
            and not (self.own_key or self.pinned_key)
            and self.catalog_key in discovered
        )

    def resolve(self, sample: Sample) -> Columns:
        """The columns that are known or were sampled, with their types and the key."""
        if self._is_key_open:
            key = sample.key or self.spec.key
            return replace(self, key=key, own_key=key, catalog_key=()).resolve(sample)
        name, maps = self.spec.name, self.maps
        types, warnings = _types(self, sample)
        types |= dict.fromkeys(mapped_misfits(types, name, maps), "string")
        types = {c: kind for c, kind in types.items() if not is_mapped_away(c, name, maps)}
        types = self.without_dropped(types)
        key, doubts = self._choose_key(types, sample.shared)
        self.check_key({*key} - {*ADDED})
        types |= {column: "string" for column in key if column not in {*types, *ADDED}}
        shown = {*self.fixed, *sample.evidence.valued}
        assumed = {c for c in types.keys() - shown if not self.spec.documented.is_text(c)}
        return Columns(types, key, frozenset(assumed), (*warnings, *doubts))

    def without_dropped(self, types: Mapping[str, str]) -> dict[str, str]:
        """Columns with their types, less those that are left out, and their misfit columns."""
        drops = self.protection.drops
        return {n: k for n, k in types.items() if not drops(n, n.removesuffix(MISFIT_SUFFIX))}

    @property
    def found_pins(self) -> dict[str, Any]:
        """The member of the state that remembers which of the protected columns files had."""
        return {"protected": sorted(self.found)} if self.found else {}

    def check_key(self, key: Collection[str]) -> None:
        """Refuse to leave out a column of the key, and to protect the time of a row.

        Raises:
            SettingsError: It is to be left out, or the time hashed.
        """
        if times := [name for name in self.spec.times if self.protection.changes(name)]:
            msg = f"{self.spec.name}: {times[0]} is the time of a row, and cannot be protected"
            raise SettingsError(msg, "rows are selected by it; name it in no columns_to_… setting")
        if dropped := sorted(name for name in key if self.protection.drops(name)):
            names = ", ".join(dropped)
            msg = f"{self.spec.name}: columns_to_drop would leave out the key's column {names}"
            raise SettingsError(msg, "name it in columns_to_hash instead: it stays the key")

    def certain(self, columns: Columns) -> Columns:
        """Only columns whose type no file can change; used when there is none to infer from."""
        is_text, key = self.spec.documented.is_text, columns.key
        sure = {*self.always, *key}
        types = {n: kind for n, kind in columns.types.items() if is_text(n) or n in sure}
        return replace(columns, types=types)

    def _choose_key(
        self, types: Mapping[str, str], shared: Collection[str] | None
    ) -> tuple[tuple[str, ...], list[str]]:
        """The key's columns, and what to warn about.

        The first that is not empty wins: settings, emitted before, catalog, vendor. A key that
        records were emitted with is kept, whatever files or a catalog have; before that, the
        row's place is the key where a row might have none, or the row itself if files decide.

        Args:
            types: Column → type.
            shared: Columns that every file has; None if that is not known.
        """
        instead, warnings = HASH_KEY if self.spec.choices else ROW_KEY, []
        place = ", ".join(instead)
        own, pinned, catalog, usual = self.own_key, self.pinned_key, self.catalog_key, self.spec.key
        key = own or pinned or catalog or usual
        if own and pinned and set(own) != set(pinned):
            warnings.append(
                f"primary_keys makes the key {', '.join(key)}; it was {', '.join(pinned)}, "
                "and loaders may refuse the change"
            )
        elif pinned and not own:
            # A catalog that was discovered before any file does not know which key files have.
            assumed = self.spec.choices and catalog in (usual, *self.spec.choices)
            if catalog and set(catalog) != set(pinned) and not assumed:
                warnings.append(
                    f"the catalog's key is {', '.join(catalog)}; the key stays "
                    f"{', '.join(pinned)}, with which records were emitted"
                )
            return pinned, warnings
        if key == catalog and key == ROW_KEY != usual:
            warnings.append(
                f"the key is {', '.join(key)}, as in the catalog, not {', '.join(usual)}"
            )
        if shared is not None:  # without the value of such a column, a row is malformed
            shared = {*shared, *self.spec.documented.required}
        for fault in key_faults(key, types, shared):
            warnings.append(
                f"the key column {fault}; the key is {place} instead (primary_keys changes it)"
            )
            key = instead
        return key, warnings


def _types(known: Known, sample: Sample) -> tuple[dict[str, str], list[str]]:
    """Column → type, and what to warn about."""
    documented, fixed, base = known.spec.documented, known.fixed, known.before
    if not base and not sample.columns:
        base = dict(documented.columns)
    types: dict[str, str] = {}
    warnings = []
    if untyped := sorted(name for name, kind in known.catalog.items() if not kind):
        warnings.append(
            f"the catalog has a schema without a type for {', '.join(untyped)}; the type that "
            "was emitted before is kept, else it is inferred"
        )
    for name in dict.fromkeys([*known.always, *base, *sample.columns]):
        is_hashed = known.protection.hashes(name)
        kind = fixed.get(name) or (
            "string" if is_hashed else infer(name, sample.evidence, documented)
        )
        types[name] = kind
        emitted = known.pinned.get(name, kind)
        if is_hashed and kind != "string":
            warnings.append(
                f"{name} was emitted as {kind}, so its hashes go to {name}{MISFIT_SUFFIX}"
            )
        elif known.own_types.get(name, kind) != kind:
            why = "is hashed" if is_hashed else "is a key"
            warnings.append(f"{name} {why} and stays a string")
        elif name in known.own_types and kind != emitted:
            warnings.append(
                f"column_types makes {name} {kind}; it was emitted as {emitted}, and loaders "
                "may refuse the change"
            )
    if sample.columns and (absent := sorted(set(known.own_types) - set(types))):
        warnings.append(f"column_types names columns that do not exist: {', '.join(absent)}")
    # What did not fit its column's type was seen before the column became a key, which is text.
    misfits = sorted(name for name in sample.misfits & set(types) if types[name] != "string")
    types |= {name + MISFIT_SUFFIX: "string" for name in misfits}
    return types, warnings


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


def pinned_types(state: Mapping[str, Any], stream: str) -> dict[str, str]:
    """Column → type of the columns that were emitted, from a stream's part of the state.

    Raises:
        StateError: The state holds types that do not exist.
    """
    types = state.get("types") or {}
    if not isinstance(types, dict) or not all(kind in (*TYPES, *NESTED) for kind in types.values()):
        msg = f"{stream}: the state's types cannot be read"
        raise StateError(msg, STATE_HINT)
    return {name: _own_type(name, kind) for name, kind in types.items() if name not in ADDED}


def pinned_key(state: Mapping[str, Any], spec: StreamSpec) -> tuple[str, ...]:
    """The key that records were emitted with; empty if none were, or it is not known.

    A state of an earlier version names no key: then it is the usual one, where its columns
    were emitted as text.

    Raises:
        StateError: The state holds a key that is not a list of names.
    """
    key = state.get("key")
    if key is None:
        types, usual = pinned_types(state, spec.name), spec.key
        if spec.choices or not types or not set(usual) - {*ADDED} <= {*types}:
            return ()
        return usual if all(types.get(name, "string") == "string" for name in usual) else ()
    if not isinstance(key, list) or not all(isinstance(name, str) for name in key):
        msg = f"{spec.name}: the state's key cannot be read"
        raise StateError(msg, STATE_HINT)
    return tuple(key)


def found_before(state: Mapping[str, Any]) -> frozenset[str]:
    """The names and patterns of protected columns that files had, as the state has them."""
    found = state.get("protected")
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()


def _own_type(name: str, kind: str) -> str:
    """The type of a column; a misfit column is always text: it holds what fits no other type."""
    return "string" if name.endswith(MISFIT_SUFFIX) else kind


def catalog_types(schema: Mapping[str, Any] | None, *, nested: bool = False) -> dict[str, str]:
    """Column → type of the columns of an input catalog's schema; empty where it has no type.

    Args:
        schema: The schema; None for none.
        nested: True if columns may be objects or arrays.
    """
    properties = (schema or {}).get("properties") or {}
    return {
        name: _own_type(name, type_of(column, nested=nested))
        for name, column in properties.items()
        if name not in ADDED and column.get("description") != ASSUMED
    }


def assumed_columns(schema: Mapping[str, Any] | None) -> list[str]:
    """The columns of an input catalog whose types discovery assumed, having seen no value."""
    properties = (schema or {}).get("properties") or {}
    return [name for name, column in properties.items() if column.get("description") == ASSUMED]
