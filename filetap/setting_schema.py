"""The JSON Schema of a tap's settings: the vendor's own and the common ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filetap.columns.types import TYPES
from filetap.settings import Settings
from filetap.write.batch_files import FILE_FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from filetap.vendor import Vendor

_DEFAULTS = Settings(source=None)
SECRET = {"secret": True, "writeOnly": True}  # what the SDK and Meltano Hub recognise


def setting(kinds: str, title: str, description: str, **rest: Any) -> dict[str, Any]:
    """The JSON Schema of a setting; *kinds* are its types besides null."""
    words = {"title": title, "description": description}
    return {"type": [*kinds.split(), "null"], **words, **rest}


def object_setting(
    title: str, description: str, properties: Mapping[str, Any], **rest: Any
) -> dict[str, Any]:
    """The JSON Schema of a setting that has these members and no others."""
    members = {"properties": dict(properties), "additionalProperties": False}
    return setting("object", title, description, **members, **rest)


def _per_stream(
    title: str, description: str, streams: Iterable[str] | None, of_each: Mapping[str, Any]
) -> dict[str, Any]:
    """The JSON Schema of a setting that has a member for each stream; None allows any name."""
    names = {} if streams is None else {"propertyNames": {"enum": list(streams)}}
    return setting("object", title, description, **names, additionalProperties=dict(of_each))


def folder_setting(account: str = "") -> dict[str, Any]:
    """The JSON Schema of the setting ``folder``.

    Args:
        account: The vendor's word for a tenant, if one folder can hold files of several.
    """
    # No defaults within objects: the SDK inserts them even into values of other types, and fails.
    members = {
        "url": setting(
            "string", "URL", "A folder, or an fsspec URL such as `sftp://user@host/path`."
        ),
        "options": setting(
            "object", "Options", "Options of the URL's file system, credentials included.", **SECRET
        ),
    }
    description = (
        "Read delivered files instead of the API: `url` (a folder, or an fsspec URL such as "
        "`sftp://user@host/path` or `s3://bucket/path`)"
    )
    if account:
        name = f"{account}_id"
        members[name] = setting(
            "string", account.capitalize(), f"Read this {account}'s files only."
        )
        description += (
            f", `options` of its file system, and `{name}`, to read one {account}'s files only"
        )
    else:
        description += " and `options` of its file system"
    return object_setting("Delivered files", f"{description}.", members, **SECRET)


# The SDK's own schema has neither arrow nor the storage's options.
_BATCH = object_setting(
    "Batch files",
    "Write batch files instead of records: `encoding` (`format` jsonl, parquet or arrow; "
    "`compression`), `storage` (`root`, a folder or an fsspec URL; `prefix`; `params` of "
    "its file system) and `batch_size`, rows per file at most. Not together with stream maps "
    "or flattening.",
    {
        "encoding": object_setting(
            "Encoding",
            "The files' format and compression.",
            {
                "format": setting(
                    "string",
                    "Format",
                    "Format of the files; required.",
                    enum=list(FILE_FORMATS),
                ),
                "compression": setting(
                    "string",
                    "Compression",
                    "gzip for jsonl unless set; parquet has its own.",
                    enum=["gzip", "none"],
                ),
            },
        ),
        "storage": object_setting(
            "Storage",
            "Where the files are written.",
            {
                "root": setting(
                    "string",
                    "Root",
                    "A folder, or an fsspec URL such as `s3://bucket/path`.",
                ),
                "prefix": setting("string", "Prefix", "Beginning of each file's name."),
                "params": setting(
                    "object",
                    "Options",
                    "Options of the root's file system, credentials included.",
                    **SECRET,
                ),
            },
        ),
        "batch_size": setting(
            "integer",
            "Batch size",
            "Rows per file at most: 10000 unless set, and never more than 100000.",
            minimum=1,
        ),
    },
)


def settings_schema(vendor: Vendor) -> dict[str, Any]:
    """The JSON Schema of a vendor's tap; the SDK adds its own settings."""
    # Credentials first, then what is common to all taps, then where else rows can come from and go.
    own = dict(vendor.settings)
    folder = {"folder": own.pop("folder")} if "folder" in own else {}
    common, batch = _common(vendor), {"batch_config": _BATCH}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {**own, **{n: common[n] for n in common if n not in own}, **folder, **batch},
    }


def job_settings() -> dict[str, Any]:
    """The JSON Schemas of the settings of vendors whose exports are made on request."""
    return {
        "poll_seconds": seconds_setting(
            "Poll interval",
            "Seconds before an export's state is requested again; it grows to a minute.",
            _DEFAULTS.poll,
        ),
        "job_timeout": seconds_setting(
            "Job timeout",
            "Seconds after which an export that has not ended is given up; the next run looks for "
            "it again.",
            _DEFAULTS.job_timeout,
        ),
    }


def seconds_setting(title: str, description: str, default: float) -> dict[str, Any]:
    """The JSON Schema of a setting in seconds, above 0."""
    return setting(
        "number string",  # the SDK leaves numbers from the environment text
        title,
        description,
        default=int(default),
        exclusiveMinimum=0,
        pattern=r"^(?!0+(\.0+)?$)[0-9]+(\.[0-9]+)?$",
    )


def _common(vendor: Vendor) -> dict[str, Any]:
    """The settings that all taps have."""
    # A stream that is not documented may have settings, too.
    streams = None if vendor.newest else vendor.streams
    return {
        "start_date": setting(
            "string",
            "Start date",
            "Export files generated before it are never read.",
            format="date-time",
        ),
        "lookback_days": setting(
            "integer",
            "Lookback",
            "A late file is read if it is at most this many days older than the bookmark.",
            default=vendor.lookback_days,
            minimum=0,
            maximum=36500,
        ),
        "primary_keys": _per_stream(
            "Primary keys",
            "Stream → list of columns that replace the stream's key.",
            streams,
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
        ),
        "column_types": _per_stream(
            "Column types",
            f"Stream → column → type, instead of the inferred one: {', '.join(TYPES)}.",
            streams,
            {"type": "object", "additionalProperties": {"enum": list(TYPES)}},
        ),
        "malformed_rows": setting(
            "string",
            "Malformed rows",
            "How to handle a row that cannot be read: `fail` ends the run, `divert` sends its text "
            "to the stream `<stream>_malformed` and continues.",
            default="divert" if _DEFAULTS.diverts else "fail",
            enum=["fail", "divert"],
        ),
        "request_timeout": seconds_setting(
            "Request timeout", "Seconds that one socket operation may take.", _DEFAULTS.timeout
        ),
        "max_retries": setting(
            "integer",
            "Retries",
            "How often a request is retried.",
            default=_DEFAULTS.retries.count,
            minimum=0,
        ),
        "concurrency": setting(
            "integer",
            "Concurrency",
            "Files that are downloaded at once; what is emitted keeps its order.",
            default=_DEFAULTS.concurrency,
            minimum=1,
            maximum=32,
        ),
        "spool_dir": setting(
            "string",
            "Spool folder",
            "Where a download is kept while it is read; the system's temporary folder unless set.",
        ),
    }
