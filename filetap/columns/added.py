"""The columns that every record carries besides its file's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filetap.columns.types import json_schema
from filetap.lazy import pl
from filetap.times import format_time

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from filetap.files import ExportFile
    from filetap.vendor import Vendor

SOURCE_FILE = "_sdc_source_file"
SOURCE_LINE = "_sdc_source_lineno"
GENERATED_AT = "generated_at"
ACCOUNT = "_sdc_program_id"  # only where files of several accounts are read, or a key names it
EXPORTED_AT = "_sdc_export_created_at"  # only where a vendor's exports are made on request
ROW_HASH = "_sdc_row_hash"  # these two only where they are the key
ROW_OCCURRENCE = "_sdc_row_occurrence"
EVENT_ID = "_sdc_event_id"  # only where it is the key
ALWAYS_ADDED = (GENERATED_AT, SOURCE_FILE, SOURCE_LINE)
ROW_KEY = (SOURCE_FILE, SOURCE_LINE)
HASH_KEY = (ROW_HASH, ROW_OCCURRENCE)
EVENT_KEY = (EVENT_ID,)
_OF_KEYS = (*HASH_KEY, *EVENT_KEY)
ADDED = (*ALWAYS_ADDED, ACCOUNT, EXPORTED_AT, *_OF_KEYS)
MALFORMED = {"raw": "string", "reason": "string"}  # columns of a malformed row
MALFORMED_SUFFIX = "_malformed"
ADDED_TYPES = {
    GENERATED_AT: "date-time",
    SOURCE_FILE: "string",
    SOURCE_LINE: "integer",
    ACCOUNT: "string",
    EXPORTED_AT: "date-time",
    ROW_HASH: "string",
    ROW_OCCURRENCE: "integer",
    EVENT_ID: "string",
}
_DESCRIPTIONS = {
    GENERATED_AT: "When {vendor} generated the file (UTC)",
    SOURCE_FILE: "Generation, name and key of the file",
    SOURCE_LINE: "Row number in the file, from 1",
    ACCOUNT: "Whose file it is, where a folder has those of several {account}s",
    EXPORTED_AT: "When the export was requested (UTC): of two records of a key, the later is newer",
    ROW_HASH: "First half of the SHA-256 of the row's cells that are not null, by column",
    ROW_OCCURRENCE: "Which of the equal rows of its file it is, from 1",
    EVENT_ID: "SHA-256 of what identifies the event, and which of the equal ones it is, from 1",
}


def added_columns(
    key: Collection[str], *, has_accounts: bool, others: Collection[str] = ()
) -> tuple[str, ...]:
    """The added columns that a stream's records have, unless a catalog deselects them.

    Args:
        key: Columns of the stream's key.
        has_accounts: True if records name the account whose file they come from.
        others: Optional added columns that the stream has.
    """
    account = (ACCOUNT,) if has_accounts else ()
    return (*ALWAYS_ADDED, *account, *others, *(name for name in _OF_KEYS if name in key))


def record_schema(
    types: Mapping[str, str], added: Collection[str], vendor: Vendor
) -> dict[str, Any]:
    """The JSON Schema of a record.

    Args:
        types: Column → type of the file's own columns.
        added: The added columns that the record has.
        vendor: The vendor, for descriptions.
    """
    properties = {name: json_schema(kind) for name, kind in types.items()}
    for name in added:
        description = _DESCRIPTIONS[name].format(vendor=vendor.name, account=vendor.account)
        properties[name] = {**json_schema(ADDED_TYPES[name]), "description": description}
    return {"type": "object", "properties": properties}


def with_added(
    frame: pl.DataFrame, file: ExportFile, numbers: pl.Series, names: Collection[str]
) -> pl.DataFrame:
    """*frame* with some of the added columns.

    Args:
        frame: Rows of one file.
        file: The file.
        numbers: Row number of each row, as text or not.
        names: The added columns that are wanted; other names are ignored.
    """
    generated_at = pl.repeat(format_time(file.generated_at), len(numbers), eager=True)
    values = {
        GENERATED_AT: generated_at,
        SOURCE_FILE: pl.repeat(file.source, len(numbers), eager=True),
        SOURCE_LINE: numbers,
        ACCOUNT: pl.repeat(file.account or None, len(numbers), dtype=pl.String, eager=True),
        EXPORTED_AT: generated_at,
    }
    added = [value.alias(name) for name, value in values.items() if name in names]
    # A frame without columns has no rows either.
    return frame.with_columns(added) if frame.width else pl.DataFrame(added)
