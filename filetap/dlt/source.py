"""The dlt source of a vendor: its settings, and a resource per stream."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

import dlt
from dlt.common.typing import TSecretStrValue

from filetap.dlt.extraction import SEQUENCE, Extraction, Origin
from filetap.read.names import column_names
from filetap.setting_checks import check_protected_streams, parse, settings_warnings, validated
from filetap.setting_schema import settings_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dlt.extract import DltResource, DltSource

    from filetap.vendor import StreamSpec, Vendor

_FORMAT: Final = "parquet"  # of dlt's files, unless a user chooses; CSV loses empty texts
_TYPES: Mapping[str, Any] = {"string": str, "integer": int, "number": float, "object": dict}

logger = logging.getLogger(__name__)


class SourceFactory(Protocol):
    """A function that takes the tap's settings and returns a source."""

    def __call__(self, **settings: Any) -> DltSource:
        """The source; settings that are not given are taken from dlt's configuration."""


def source_of(vendor: Vendor) -> SourceFactory:
    """The function that makes a vendor's source, named after the vendor.

    Its arguments are the tap's settings. What a caller leaves out is looked up where dlt has its
    configuration: below ``sources.<name>`` in ``config.toml``, ``secrets.toml`` or the environment.
    """
    (name,) = column_names([vendor.name])

    def make(**settings: Any) -> list[DltResource]:
        return _resources(vendor, settings)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"{vendor.name}'s export files, a resource per stream."
    make.__signature__ = inspect.Signature(_parameters(vendor))  # type: ignore[attr-defined]
    return dlt.source(make, name=name, section=name, max_table_nesting=0)


def _schema(vendor: Vendor) -> dict[str, Any]:
    """The JSON Schema of the settings that mean something to dlt."""
    schema = settings_schema(vendor)
    of_runs = {"batch_config", "summary_file"}
    settings = {n: s for n, s in schema["properties"].items() if n not in of_runs}
    return {**schema, "properties": settings}


def _parameters(vendor: Vendor) -> list[inspect.Parameter]:
    """An argument per setting, each with its default."""
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=setting.get("default"),
            annotation=_annotation(setting),
        )
        for name, setting in _schema(vendor)["properties"].items()
    ]


def _annotation(setting: Mapping[str, Any]) -> Any:
    """The type by which dlt parses a setting's text, and that makes it look among secrets."""
    kind = _TYPES[setting["type"][0]]
    return TSecretStrValue if setting.get("secret") and kind is str else kind


def _resources(vendor: Vendor, settings: Mapping[str, Any]) -> list[DltResource]:
    """A resource per stream.

    Raises:
        SettingsError: The settings cannot be used.
    """
    schema = _schema(vendor)
    config = validated(settings, vendor, schema)
    for warning in settings_warnings(config, vendor, schema["properties"]):
        logger.warning("%s", warning)
    origin = Origin(vendor, parse(config, vendor))
    check_protected_streams(origin.settings, vendor.streams)
    return [_resource(origin, spec) for spec in vendor.streams.values()]


def _resource(origin: Origin, spec: StreamSpec) -> DltResource:
    """A stream's resource; its malformed rows go to a table of their own."""
    key = origin.settings.keys.get(spec.name) or spec.key

    def rows() -> Iterator[Any]:
        extraction = Extraction(origin, spec.name, dlt.current.resource_state())
        hinted = set()
        for batch in extraction.batches():
            if batch.table in hinted:
                yield dlt.mark.with_table_name(batch.rows, batch.table)
                continue
            # Only now is the key known, and that there is a table for malformed rows.
            hinted.add(batch.table)
            hints = _hints(batch.table, batch.key)
            if SEQUENCE in batch.rows.column_names:
                hints["columns"] = {SEQUENCE: {"data_type": "bigint", "dedup_sort": "desc"}}
            variant = batch.table != spec.name
            made = dlt.mark.make_hints(**hints, file_format=_FORMAT if variant else None)
            yield dlt.mark.with_hints(batch.rows, made, create_table_variant=variant)

    return dlt.resource(rows, name=spec.name, file_format=_FORMAT, **_hints(spec.name, key))


def _hints(table: str, key: tuple[str, ...]) -> dict[str, Any]:
    """How a table is loaded: a row replaces the one with its key."""
    return {
        "table_name": table,
        "write_disposition": "merge",
        "primary_key": list(key),
    }
