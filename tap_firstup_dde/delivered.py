"""The files that Firstup pushes to a customer's SFTP server, or to a bucket behind it.

Source: Firstup's knowledge base, "Direct Data Export v2": files are named
``<programID>-<mm-dd-yyyy-hh>-<file type>-<export type>.gz``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from filetap.transports.folder import FolderTransport
from filetap.transports.folder_files import Named

if TYPE_CHECKING:
    from collections.abc import Mapping

STREAMS = {"campaign": "campaigns", "user": "users", "activity": "activities"}
_NAME = re.compile(
    r"(?P<program>[A-Za-z0-9][A-Za-z0-9_-]*)-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})-(?P<year>[0-9]{4})-(?P<hour>[0-9]{2})"
    r"-(?P<type>campaign|user|activity)-(?P<export>incremental|historical)"
    r"(?i:\.(?:csv|tsv|txt|json|jsonl|ndjson|xlsx))?(?i:\.(?:gz|gzip|zip))?"
)


def connect(config: Mapping[str, Any]) -> FolderTransport:
    """The transport of the setting ``folder``; settings are taken as validated."""
    folder = config["folder"]
    return FolderTransport(
        folder["url"],
        folder.get("options") or {},
        parse_name,
        resembles=resembles_export,
        program=str(folder.get("program_id") or ""),
        retries=int(config.get("max_retries", 5)),
    )


_RESEMBLING = re.compile(
    r"(?i)[^.].*[0-9]+-[0-9]+-.*(?:campaign|user|activit)(?!.*\.(?:asc|sig|sha[0-9]+)$).*"
)


def resembles_export(name: str) -> bool:
    """True if a file might be meant for an export, though its name is not one of an export.

    It has a date and a type, but the date does not exist, or the name has something added.
    """
    return bool(_RESEMBLING.fullmatch(name))


def parse_name(name: str) -> Named | None:
    """What a delivered file's name says; None for a name that is no delivered file's."""
    match = _NAME.fullmatch(name)
    if not match:
        return None
    year, month, day, hour = (int(match[part]) for part in ("year", "month", "day", "hour"))
    try:
        moment = datetime(year, month, day, hour, tzinfo=UTC)
    except ValueError:
        return None
    return Named(
        stream=STREAMS[match["type"]],
        generation=f"{moment:%Y-%m-%d-%H}",
        generated_at=moment,
        historical=match["export"] == "historical",
        program=match["program"],
    )
