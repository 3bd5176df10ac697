"""The files that Firstup pushes to a customer's SFTP server, or to a bucket behind it.

Source: Firstup's knowledge base, "Direct Data Export v2": files are named
``<programID>-<mm-dd-yyyy-hh>-<file type>-<export type>.gz``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from posixpath import basename
from typing import TYPE_CHECKING

from filetap.transports.folder import FolderTransport
from filetap.transports.folder_files import Named

if TYPE_CHECKING:
    from filetap.settings import Folder, Retries

STREAMS = {"campaign": "campaigns", "user": "users", "activity": "activities"}
_NAME = re.compile(
    r"(?P<program>[A-Za-z0-9][A-Za-z0-9_-]*)-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})-(?P<year>[0-9]{4})-(?P<hour>[0-9]{2})"
    r"-(?P<type>campaign|user|activity)-(?P<export>incremental|historical)"
    r"(?i:\.(?:csv|tsv|txt|json|jsonl|ndjson|xlsx))?(?i:\.(?:gz|gzip|zip))?"
)


def folder_transport(folder: Folder, retries: Retries) -> FolderTransport:
    """The transport for a folder that Firstup delivers to."""
    return FolderTransport(
        folder, parse_path, resembles=resembles_export, names=NAMES, retries=retries
    )


NAMES = "<programID>-<mm-dd-yyyy-hh>-<campaign|user|activity>-<incremental|historical>.gz"
_RESEMBLING = re.compile(
    # A date before a type; or a date or a kind of export in the name of a file of data.
    r"(?i)(?!\.)(?!.*\.(?:asc|sig|sha[0-9]+)$)(?:"
    r".+[0-9]+-[0-9]+-.*(?:campaign|user|activit).*"
    r"|(?=.*(?:campaign|user|activit))(?=.*(?:[0-9]{4}|[0-9]-[0-9]|incremental|historical)).*"
    r"\.(?:csv|tsv|json|jsonl|ndjson|xlsx|parquet|gz|gzip|zip|bz2|zst|pgp|gpg))"
)


def resembles_export(path: str) -> bool:
    """True if a file may be an export whose name is misspelt.

    The date does not exist or is written otherwise, something is added or in another order.
    """
    return bool(_RESEMBLING.fullmatch(basename(path)))


def parse_path(path: str) -> Named | None:
    """Parse a delivered file's path; returns None for any other file.

    The name identifies the file, so moving it to another folder makes no difference.
    """
    name = basename(path)
    match = _NAME.fullmatch(name)
    if not match:
        return None
    year, month, day, hour = (int(match[part]) for part in ("year", "month", "day", "hour"))
    try:
        moment = datetime(year, month, day, hour, tzinfo=UTC)
    except ValueError:
        return None
    return Named(
        id=name,
        stream=STREAMS[match["type"]],
        generation=f"{moment:%Y-%m-%d-%H}",
        generated_at=moment,
        historical=match["export"] == "historical",
        account=match["program"],
    )
