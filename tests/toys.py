"""A vendor whose toys are delivered as files; its tap needs nothing else."""

import re
from datetime import UTC, datetime

from filetap.setting_checks import folder_of
from filetap.setting_schema import folder_setting
from filetap.singer.tap import FileTap
from filetap.transports.folder import FolderTransport
from filetap.transports.folder_files import Named
from filetap.vendor import Documented, StreamSpec, Vendor


def _parse(path: str) -> Named | None:
    """Toys are delivered as ``<date>/<anything>.csv``."""
    if match := re.fullmatch(r"(\d{4}-\d\d-\d\d)/\w+\.csv", path):
        when = datetime.fromisoformat(match[1]).replace(tzinfo=UTC)
        return Named(path, "toys", match[1], when)
    return None


class TapToys(FileTap):
    """A tap for the toys that a vendor delivers."""

    vendor = Vendor(
        name="Toys",
        program="tap-toys",
        tool="toys-exports",
        streams={"toys": StreamSpec("toys", ("id",), Documented({"id": "string"}))},
        settings={"folder": folder_setting()},
        source=folder_of,
        connect=lambda settings: FolderTransport(settings.source, _parse, retries=settings.retries),
    )
