"""The files that Simpplr delivers to an SFTP server.

Source: Simpplr's API reference, "Register data export requests": a file is
``/exports/<tenant-id>/<year>/<month>/<day>/<entity>/<entity>.csv``. How the folder of an entity is
spelt is not documented, nor are the columns; entities go by their display names in the API.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from posixpath import basename
from typing import TYPE_CHECKING, Final

from filetap.columns.added import HASH_KEY
from filetap.transports.folder_dated import DatedFolderTransport
from filetap.transports.folder_files import Named
from filetap.vendor import Documented, StreamSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from filetap.files import ExportFile, Transport
    from filetap.settings import Folder, Retries

ENTITIES: Final = (
    "user",
    "user logins",
    "site",
    "site category",
    "content",
    "comment",
    "feed",
    "file",
    "interaction",
    "must reads",
    "theme",
    "section instance",
    "newsletter",
    "newsletter interaction",
    "newsletter category",
    "survey response",
    "survey recipient",
    "survey instance",
    "survey instance question",
    "survey question bank",
    "survey question answer bank",
    "sentiment check configuration",
    "sentiment check response",
    "awareness check question",
    "awareness check option",
    "awareness check response",
)
"""The entities by their display names."""

_ALIASES = {"user_login_events": "user_logins", "content_must_read_marked": "must_reads"}
_EVENTS = {"user_logins", "newsletter_interaction"}  # a row states what happened, for good
# `code` identifies a row, unless the file is a history. The numeric `id` is a warehouse's sequence.
_KEYS = (("code", "tenant_code"), ("code",), ("code", "active_date"))
_PATH = re.compile(
    r"(?:(?P<above>[^/]+)/)?(?:(?P<tenant>[^/]+)/)?"
    r"(?P<year>[0-9]{4})/(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})/"
    r"(?P<entity>[^/]+)/[^/.][^/]*(?i:\.csv(?:\.gz)?)"  # a dot begins the name of an upload
)


def stream_of(entity: str) -> str:
    """The stream of an entity, however its name is spelt: a display name, or that of a folder."""
    name = re.sub(r"[\W_]+", "_", entity.lower()).strip("_")
    return _ALIASES.get(name, name)


def _is_code(column: str) -> bool:
    """True for the columns that identify something."""
    return column in {"code", "id"} or column.endswith(("_code", "_id"))


def _assumed(column: str) -> str:
    """The type of a column that has no values yet, from its name."""
    return "date-time" if column.endswith(("_datetime", "_at")) else "string"


def _spec(stream: str) -> StreamSpec:
    """What is known of a stream: no column, but some conventions."""
    documented = Documented({}, assume=_assumed, named_text=_is_code)
    return StreamSpec(stream, HASH_KEY, documented, _KEYS, ordered=stream not in _EVENTS)


STREAMS: Final[Mapping[str, StreamSpec]] = {
    stream: _spec(stream) for stream in map(stream_of, ENTITIES)
}


def parse_path(path: str) -> Named | None:
    """Parse a delivered file's path; returns None for any other file.

    The path from the tenant on identifies the file, so the folder of all exports and the one above
    it are the same; from the tenant's own folder, its files have other ids.
    """
    match = _PATH.fullmatch(path)
    stream = stream_of(match["entity"]) if match else ""
    if not match or not stream:
        return None
    try:
        day = datetime(int(match["year"]), int(match["month"]), int(match["day"]), tzinfo=UTC)
    except ValueError:
        return None
    above, tenant = match["above"], match["tenant"]
    if not tenant and above != "exports":
        tenant = above
    own = f"{tenant}/" if tenant else ""
    return Named(
        id=own + path[match.start("year") :],
        stream=stream,
        generation=f"{day:%Y-%m-%d}",
        generated_at=day,
        account=tenant or "",
    )


def folder_transport(folder: Folder, retries: Retries) -> DatedFolderTransport:
    """The transport for a folder that Simpplr delivers to."""
    return DatedFolderTransport(
        folder, parse_path, resembles=resembles_export, names=NAMES, retries=retries
    )


NAMES: Final = "<year>/<month>/<day>/<entity>/<name>.csv or .csv.gz"
_RESEMBLING = re.compile(r"(?i)[^.].*\.(?:csv\..+|tsv|txt|json|jsonl|xlsx|parquet|gz|zip|zst)")


def resembles_export(path: str) -> bool:
    """True if a file in the folder of a day may be an export with another ending."""
    return bool(_RESEMBLING.fullmatch(basename(path)))


def newest(transport: Transport) -> datetime | None:
    """The newest day that has a folder."""
    return transport.newest if isinstance(transport, DatedFolderTransport) else None


def unsettled(transport: Transport, stream: str) -> Iterable[ExportFile]:
    """The files of a stream that Simpplr is still writing."""
    return transport.unsettled(stream) if isinstance(transport, DatedFolderTransport) else ()


def others(transport: Transport, since: datetime | None) -> Iterable[StreamSpec]:
    """The streams of the folders that have other names than the documented entities."""
    if isinstance(transport, DatedFolderTransport):
        yield from (
            _spec(stream)
            for stream in sorted({*map(stream_of, transport.names(since))} - {"", *STREAMS})
        )
