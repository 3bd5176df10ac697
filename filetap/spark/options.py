"""What is read: options and environment to a `Source`, a schema to a `Reading`."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql.types import (
    BooleanType,
    DateType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from filetap.arrow import Reading, Source
from filetap.columns.added import ADDED_TYPES, MALFORMED_SUFFIX
from filetap.columns.types import MISFIT_SUFFIX
from filetap.errors import SettingsError
from filetap.read.names import column_names
from filetap.setting_checks import (
    check_protected_streams,
    config_from_texts,
    parse,
    settings_warnings,
)
from filetap.setting_schema import settings_schema
from filetap.spark.tasks import brief

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from filetap.vendor import Vendor

_OWN: dict[str, Any] = {
    "maxFilesPerTrigger": {"type": ["integer"], "minimum": 1},
    "maxConcurrentFiles": {"type": ["integer"], "minimum": 1},
    "misfitColumns": {"type": ["string"], "enum": ["seen", "all"], "default": "seen"},
    "schemaLocation": {"type": ["string"], "minLength": 1},
}
_SPELLED = {name.lower(): name for name in _OWN}  # Spark makes options lower case
_HINT = (
    f"options are stream, {', '.join(_OWN)} and the tap's settings, objects as JSON; "
    "environment variables count as they were when Spark was started"
)
_FOR_RUNS = {"batch_config", "summary_file"}  # settings of a Singer tap's run
# An API's limit is by the minute, and many tasks share it: this many retries outlast a minute.
_RETRIES = 8

_SPARK_TYPES = {
    "string": StringType(),
    "integer": LongType(),
    "number": DoubleType(),
    "boolean": BooleanType(),
    "date": DateType(),
    "date-time": TimestampType(),
}
# Spark's name of a type that a schema may have → the type of the values, and Arrow's type.
_READ_AS = {
    "string": ("string", pa.string()),
    "bigint": ("integer", pa.int64()),
    "int": ("integer", pa.int32()),
    "smallint": ("integer", pa.int16()),
    "tinyint": ("integer", pa.int8()),
    "double": ("number", pa.float64()),
    "boolean": ("boolean", pa.bool_()),
    "date": ("date", pa.date32()),
    "timestamp": ("date-time", pa.timestamp("us", "UTC")),
    "timestamp_ntz": ("date-time", pa.timestamp("us")),
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What a data source is asked for.

    Attributes:
        source: What is read.
        per_trigger: Files of a micro-batch, at most; None for any number.
    """

    source: Source
    per_trigger: int | None = None


@brief()
def parse_options(options: Mapping[str, str], vendor: Vendor) -> Options:
    """The options, and the environment's settings where they have none.

    Args:
        options: Option → text, in letters of any case.
        vendor: Whose files are read.

    Raises:
        SettingsError: They cannot be used.
    """
    schema = _schema(vendor)
    given = {name.lower(): options[name] for name in options}
    try:
        config = config_from_texts(_environment(given, vendor) | given, vendor, schema)
    except SettingsError as error:
        message = re.sub("|".join(_SPELLED), lambda match: _SPELLED[match[0]], error.message)
        raise SettingsError(message, _HINT) from None
    settings = parse(config, vendor)
    check_protected_streams(settings, vendor.streams)
    for warning in settings_warnings(config, vendor, schema["properties"]):
        logger.warning("%s", warning)
    stream = config["stream"]
    source = Source(
        vendor,
        stream.removesuffix(MALFORMED_SUFFIX),
        settings,
        malformed=stream.endswith(MALFORMED_SUFFIX),
        at_once=config.get("maxconcurrentfiles"),
        every_misfit=config["misfitcolumns"] == "all",
        types_at=config.get("schemalocation", ""),
    )
    return Options(source, config.get("maxfilespertrigger"))


def _settings(vendor: Vendor) -> dict[str, Any]:
    """The JSON Schemas of the tap's settings that mean something to Spark."""
    known = settings_schema(vendor)["properties"]
    return {name: known[name] for name in known if name not in _FOR_RUNS}


def _schema(vendor: Vendor) -> dict[str, Any]:
    """The JSON Schema of the options, in lower case."""
    settings = _settings(vendor)
    names = [*vendor.streams, *(stream + MALFORMED_SUFFIX for stream in vendor.streams)]
    return {
        "type": "object",
        "required": ["stream"],
        "properties": {
            **settings,
            "max_retries": {**settings["max_retries"], "default": _RETRIES},
            "stream": {"type": ["string"], "enum": names},
            **{name.lower(): option for name, option in _OWN.items()},
        },
    }


def _environment(given: Collection[str], vendor: Vendor) -> dict[str, str]:
    """The environment's settings, without those that compete with an option.

    Where options say where files come from, the environment does not say it otherwise.
    """
    texts = {name: os.environ.get(vendor.prefix + name.upper()) for name in _settings(vendor)}
    return {
        name: text
        for name, text in texts.items()
        if text is not None
        # Of two settings that compete, one has no effect.
        and not any(vendor.shadowed({name: "set", option: "set"}) for option in given)
    }


def spark_schema(types: Mapping[str, str]) -> StructType:
    """The columns as Spark has them.

    Args:
        types: Column → type.
    """
    return StructType([StructField(name, _SPARK_TYPES[kind]) for name, kind in types.items()])


@brief()
def reading_into(source: Source, schema: StructType, key: tuple[str, ...] | None = None) -> Reading:
    """How files are read into a schema.

    Args:
        source: What is read.
        schema: Its columns.
        key: Columns of the key, if the schema is what files were found to hold; None for a schema
            that a user gave, which may leave columns out.

    Raises:
        SettingsError: A column has another name, or another type, than files are read into.
    """
    types, fields = {}, []
    for column in schema.fields:
        name, word = column.name, column.dataType.simpleString()
        _check_name(name, schema.names)
        types[name], arrow_type = _type_of(name, word)
        fields.append(pa.field(name, arrow_type, nullable=column.nullable))
    if len(types) < len(fields) or not fields:
        msg = "schema: it is empty, or has a column twice"
        raise SettingsError(msg, "list each column once")
    return Reading(source, types, pa.schema(fields), key is not None, key or ())


def _check_name(name: str, names: Collection[str]) -> None:
    """Refuse a column whose name no file can give: it would be empty.

    Args:
        name: The column.
        names: All columns of the schema.

    Raises:
        SettingsError: It is spelled differently, or lacks its base column.
    """
    base = name.removesuffix(MISFIT_SUFFIX)
    if (normal := column_names([base])[0]) != base and name not in ADDED_TYPES:
        msg = f"schema: no column is named {name}"
        raise SettingsError(msg, f"write {normal}")
    if name != base and base not in names:
        msg = f"schema: {name} holds the misfits of {base}, which is missing"
        raise SettingsError(msg, f"add {base}")


def _type_of(name: str, word: str) -> tuple[str, pa.DataType]:
    """The type of a column's values, and Arrow's type for it.

    Args:
        name: The column.
        word: Spark's name of its type.

    Raises:
        SettingsError: The column cannot be read as that.
    """
    fixed = "string" if name.endswith(MISFIT_SUFFIX) else ADDED_TYPES.get(name, "")
    allowed = {w: k for w, (k, _) in _READ_AS.items() if not fixed or k in {fixed, "string"}}
    if word not in allowed:
        msg = f"schema: column {name} cannot be read as {word}"
        raise SettingsError(msg, f"use one of {', '.join(allowed)}, or leave it out")
    return _READ_AS[word]
