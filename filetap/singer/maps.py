"""The SDK's stream maps, with one-line errors, and with warnings about misspelt names."""

from __future__ import annotations

import ast
import sys
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import simpleeval
from singer_sdk.exceptions import ConfigValidationError, MapExpressionError, StreamMapConfigError
from singer_sdk.mapper import NULL_STRING, CustomStreamMap, PluginMapper, StreamMap

from filetap.columns.added import ADDED, MALFORMED_SUFFIX, SOURCE_FILE, SOURCE_LINE
from filetap.columns.types import MISFIT_SUFFIX
from filetap.errors import ExportError, SettingsError
from filetap.singer.private import flatten_key

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from filetap.vendor import Documented

_RECORD = frozenset({"record", "_"})  # names of the whole record in expressions
_OPTIONS = "__"  # prefix of a map's options
_NAMES = frozenset(
    {"self", "config", "fake", "md5", "sha256", "datetime", "bool", "json"}
    | {"__stream_name__", "__original_stream_name__"}
    | _RECORD
    | simpleeval.DEFAULT_FUNCTIONS.keys()
    | simpleeval.DEFAULT_NAMES.keys()
)
_REASONS: Mapping[type[BaseException], str] = {
    ZeroDivisionError: "it divides by zero",
    TypeError: "a value in it is null or has the wrong type",
    ValueError: "a value in it cannot be converted",
    KeyError: "it uses a member that does not exist",
}


class MapError(ExportError):
    """A stream map cannot be applied to a record."""


class Mapper(PluginMapper):
    """The SDK's mapper with one-line errors, and with keys that follow flattened names."""

    @override
    def register_raw_stream_schema(
        self, stream_name: str, schema: dict[str, Any], key_properties: Sequence[str] | None
    ) -> None:
        before = self.stream_maps.get(stream_name)
        self._check_flattened(stream_name, schema["properties"])
        try:
            super().register_raw_stream_schema(stream_name, schema, key_properties)
        except ConfigValidationError:
            raise
        except Exception as error:
            own = isinstance(error, MapExpressionError | StreamMapConfigError)
            reason = str(error) if own else f"{type(error).__name__}: {error}"
            msg = f"stream_maps: {stream_name}: the map cannot be used ({' '.join(reason.split())})"
            raise SettingsError(msg) from error
        if self.stream_maps[stream_name] is before:
            return
        maps = self.stream_maps[stream_name]
        self.stream_maps[stream_name] = [
            GuardedMap(entry) if isinstance(entry, CustomStreamMap) else entry for entry in maps
        ]
        for entry in self.stream_maps[stream_name]:
            keys = entry.transformed_key_properties
            if keys and entry.flattening_enabled:
                entry.transformed_key_properties = [self._flattened(key) for key in keys]

    def _flattened(self, name: str) -> str:
        """The name that flattening gives a column."""
        options = self.flattening_options
        return flatten_key(name, [], options.separator, max_key_length=options.max_key_length)

    def _check_flattened(self, stream: str, names: Collection[str]) -> None:
        """Refuse a length at which two columns get the same name."""
        if not self.flattening_options.enabled or self.flattening_options.max_level <= 0:
            return
        taken: dict[str, str] = {}
        for name in names:
            other = taken.setdefault(self._flattened(name), name)
            if other != name:
                length = self.flattening_options.max_key_length
                msg = (
                    f"flattening_max_key_length {length} gives the columns {other} and {name} "
                    f"of {stream} the same name"
                )
                raise SettingsError(msg, "set it higher, or unset it")


class GuardedMap(StreamMap):
    """A stream's map whose expressions fail with a one-line error that shows no value.

    Args:
        inner: The SDK's map.
    """

    def __init__(self, inner: CustomStreamMap) -> None:
        super().__init__(
            inner.stream_alias,
            inner.raw_schema,
            inner.raw_key_properties,
            inner.flattening_options,
        )
        self.transformed_schema = inner.transformed_schema
        self.transformed_key_properties = inner.transformed_key_properties
        self._inner = inner

    @override
    def transform(self, record: dict[str, Any]) -> dict[str, Any] | None:
        with self._errors(record):
            return self._inner.transform(record)

    @override
    def get_filter_result(self, record: dict[str, Any]) -> bool:
        with self._errors(record):
            return self._inner.get_filter_result(record)

    @contextmanager
    def _errors(self, record: Mapping[str, Any]) -> Iterator[None]:
        """Turn what an expression raises into a one-line error.

        Raises:
            SettingsError: The map is invalid.
            MapError: An expression fails on the record.
        """
        try:
            yield
        except StreamMapConfigError as error:
            msg = f"stream_maps: {self._inner.stream_name}: the map cannot be used ({error})"
            raise SettingsError(msg) from error
        except Exception as error:
            raise self._error(record, error) from error

    def _error(self, record: Mapping[str, Any], error: Exception) -> MapError:
        """The error to raise for *error*, whose own text may hold values of the record."""
        cause = error.__cause__ if isinstance(error, MapExpressionError) else error
        hint = "handle such values in it, or exclude the row with __filter__"
        reason = next(
            (words for kind, words in _REASONS.items() if isinstance(cause, kind)),
            type(cause).__name__,
        )
        if isinstance(cause, simpleeval.NameNotDefined):
            reason, hint = _unknown("column", str(cause.name), record), "check the name"
        elif isinstance(cause, simpleeval.FunctionNotDefined):
            functions = self._inner.functions
            reason = _unknown("function", str(cause.func_name), functions)
            hint = "check the name"
        expression = " ".join(self._inner.expr_evaluator.expr.split())
        place = f"{record.get(SOURCE_FILE)}: row {record.get(SOURCE_LINE)}"
        msg = (
            f"stream_maps: {self._inner.stream_name}: the expression {expression} fails on "
            f"{place}: {reason}"
        )
        return MapError(msg, hint)


def unknown_streams(maps: Mapping[str, Any], streams: Iterable[str]) -> list[str]:
    """Warnings about streams that stream maps name but that are not among *streams*."""
    names = [name + suffix for suffix in ("", MALFORMED_SUFFIX) for name in streams]
    sources = [_source(pattern, members) for pattern, members in maps.items()]
    return [
        f"stream_maps: {_unknown('stream', source, names)}"
        for source in dict.fromkeys(sources)
        if not source.startswith(_OPTIONS) and not any(fnmatch(name, source) for name in names)
    ]


def unknown_columns(
    maps: Mapping[str, Any],
    stream: str,
    columns: Collection[str],
    documented: Documented | None = None,
) -> list[str]:
    """Warnings about columns that the maps of a stream remove or use, but that it does not have.

    A member with a new name is an addition. Maps of several streams at once, by a pattern, are not
    checked: streams differ in their columns.

    Args:
        maps: The setting ``stream_maps``.
        stream: Name of the stream.
        columns: The columns that it has, selected or not.
        documented: What the vendor documents; None for nothing.
    """
    known = {*columns, *(documented.columns if documented else ()), *ADDED}
    known |= {name + MISFIT_SUFFIX for name in known}
    found = {
        name: None
        for pattern, members in maps.items()
        if isinstance(members, dict) and _source(pattern, members) == stream
        for name in _named(members, known)
        if name not in known
    }
    return [f"{stream}: stream_maps: {_unknown('column', name, known)}" for name in found]


def _source(pattern: str, members: Any) -> str:
    """The stream, or pattern of streams, that a map applies to."""
    source = members.get("__source__") if isinstance(members, dict) else None
    return source or pattern


def _named(members: Mapping[str, str | None], known: Collection[str]) -> Iterator[str]:
    """The columns that a map removes or uses."""
    for name, definition in members.items():
        if name.startswith(_OPTIONS) and name != "__filter__":
            continue
        if definition is None or definition == NULL_STRING:
            yield name
            continue
        used = list(_used(definition))
        if "self" in used and name not in known and name != "__filter__":
            yield name
        yield from (column for column in used if column not in _NAMES)


def _used(expression: str) -> Iterator[str]:
    """The names that an expression uses, those of the record's members among them."""
    try:
        tree = ast.parse(expression)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # reported as an error when the map is registered
    own = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) if name not in own:
                yield name
            case ast.Subscript(value=ast.Name(id=owner), slice=ast.Constant(value=str(name))):
                yield from [name] if owner in _RECORD else []
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=owner), attr="get"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield from [name] if owner in _RECORD else []


def _unknown(kind: str, name: str, known: Collection[str]) -> str:
    """The message about a name that does not exist, with the nearest one that does."""
    near = get_close_matches(name.lower(), known, n=1)
    return f"there is no {kind} {name}" + (f"; did you mean {near[0]}?" if near else "")
