"""The steps of an examination that are the same for every vendor."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import closing
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from filetap.bookmark_checks import check_account
from filetap.errors import FileGoneError, SettingsError
from filetap.people.contents import check_names, header, read_rows, table_for
from filetap.people.examination import Finding
from filetap.people.freshness import Limits, freshness
from filetap.people.inventory import (
    GONE,
    PARTLY,
    PENDING,
    size_words,
    sum_known,
    take_stock,
    weigh,
)
from filetap.people.meltano import check_project
from filetap.singer.maps import unknown_columns, unknown_streams
from filetap.times import utc_now
from filetap.transports.folder import FolderTransport, shown_names
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filetap.files import ExportFile, Transport
    from filetap.people.examination import Examination, Step

_ROOM = 1 << 30  # bytes; a download and the next one
_OLD = timedelta(days=2)  # exports that are made on schedule are made once a day at least
_SHOWN = 5  # columns that are not documented


def check_settings(examination: Examination) -> Finding:
    """Read the settings, and connect."""
    examination.tap = examination.open_tap()
    return Finding(f"complete; files are read from {examination.tap.transport.describe()}")


def check_lists(examination: Examination) -> Finding:
    """List the files of every stream."""
    vendor = examination.tap.vendor
    stock = examination.stock = take_stock(examination.tap, examination.tap.specs)
    examination.is_listed = True
    counts = Counter(entry.file.stream for entry in stock)
    detail = ", ".join(f"{counts[stream]} {stream}" for stream in examination.tap.specs) + " files"
    if not stock:
        return Finding(detail, _misnamed(examination.tap.transport) or vendor.hints.empty)
    newest = max(entry.file.generated_at for entry in stock)
    detail += f", the newest of {newest.isoformat(' ', 'minutes')[:16]} UTC"
    old = utc_now() - newest > _OLD and not examination.tap.settings.delivered
    return Finding(detail, vendor.hints.old if old else "")


def _misnamed(transport: Transport) -> str:
    """What to say about a folder with files that are not named like exports; empty if it has none.

    Args:
        transport: Where files were listed.
    """
    if not isinstance(transport, FolderTransport) or not transport.foreign:
        return ""
    lie = "file lies" if transport.foreign == 1 else "files lie"
    names = f": {shown_names(transport.alike)}" if transport.alike else ""
    expected = (
        f"; export files are named {transport.expected_names}" if transport.expected_names else ""
    )
    return f"{transport.foreign} {lie} there, not named as expected{names}{expected}"


def check_owner(examination: Examination) -> Finding:
    """Check that the state and the files are of the same account.

    Raises:
        StateError: The state belongs to another account.
    """
    transport, word = examination.tap.transport, examination.tap.vendor.account
    for stream, state in examination.bookmarks.items():
        check_account(stream, state, transport.account, word)
    accounts = ", ".join(sorted(transport.accounts))
    return Finding(accounts) if accounts else Finding("not stated", skipped=True)


def check_pending(examination: Examination) -> Finding:
    """Count the files that the next run reads."""
    if not examination.has_state:
        return Finding("no --state was given, so which files are new is not known", skipped=True)
    statuses = Counter(entry.status for entry in examination.stock)
    waiting = statuses[PENDING] + statuses[PARTLY]
    be = "is" if waiting == 1 else "are"
    detail = f"{counted(waiting, 'file')} {be} to be read, of {len(examination.stock)}"
    found = freshness(examination.stock, examination.tap.specs.values(), Limits(), utc_now())
    expiring = sum(each.expiring for each in found)
    hint = f"run the pipeline now: {counted(expiring, 'file')} of them will expire within a day"
    return Finding(detail, hint if expiring else "")


def check_sizes(examination: Examination) -> Finding:
    """Ask for the size of every file; one that has expired is an error if it is pending.

    Raises:
        FileGoneError: A pending file has expired.
    """
    before = examination.stock
    if not before:
        return Finding("no file", skipped=True)
    stock = examination.stock = weigh(examination.tap.transport, before)
    for old, new in zip(before, stock, strict=True):
        if new.status == GONE and old.status in {PENDING, PARTLY}:
            message = f"{new.file}: the file expired between list and download"
            raise FileGoneError(message, examination.tap.vendor.hints.gone)
    available = [entry for entry in stock if entry.status != GONE]
    size = sum_known(entry.size for entry in available)
    words = "sizes are not stated" if size is None else size_words(size)
    return Finding(f"{counted(len(available), 'file')} can be downloaded, {words}")


def check_space(examination: Examination) -> Finding:
    """Check that downloads find room."""
    folder = examination.tap.settings.spool or tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    detail = f"{size_words(free)} are free where downloads are kept"
    return Finding(detail, "set spool_dir to a larger disk" if free < _ROOM else "")


def check_bytes(examination: Examination) -> Finding:
    """Download the newest file of each stream, and verify it."""
    tap, spooled = examination.tap, examination.spooled
    newest: dict[str, ExportFile] = {}
    for entry in examination.stock:  # in order of generation
        if entry.status != GONE:
            newest[entry.file.stream] = entry.file
    for stream, file in newest.items():
        spooled[stream] = tap.spool.download(tap.transport, file)
    if not spooled:
        return Finding("no file", skipped=True)
    size = size_words(sum(each.size for each in spooled.values()))
    return Finding(f"{counted(len(spooled), 'file')}, {size}; length and checksum as far as stated")


def check_rows(examination: Examination) -> Finding:
    """Read all rows of these files, as a run reads them."""
    tap, counts = examination.tap, []
    for stream, spooled in examination.spooled.items():
        state = examination.bookmarks.get(stream, {})
        table = examination.tables[stream] = table_for(spooled, tap, state)
        parts = read_rows(spooled, table, tap.settings, divert=tap.settings.diverts)
        counts.append(f"{sum(part.frame.height for part in parts)} {stream}")
    if not counts:
        return Finding("no file", skipped=True)
    return Finding(f"{', '.join(counts)}, in the newest file of each stream")


def check_columns(examination: Examination) -> Finding:
    """Compare their header rows with the documented columns."""
    details = []
    for stream, table in examination.tables.items():
        documented = set(table.documented.columns)
        names = set(header(examination.spooled[stream], table))
        if not names:
            continue
        detail = f"{stream} {len(names & documented)} of {len(documented)} documented"
        if others := sorted(names - documented):
            shown = ", ".join(islice(others, _SHOWN)) + (", …" if len(others) > _SHOWN else "")
            detail += f" and {len(others)} more ({shown})"
        details.append(detail)
    return Finding("; ".join(details)) if details else Finding("no column", skipped=True)


def check_types(examination: Examination) -> Finding:
    """Show the types and the key that a run would give these files' columns."""
    maps = examination.tap.settings.maps
    details, refused = [], list[SettingsError]()
    warnings = unknown_streams(maps, examination.tap.specs)
    for stream, table in examination.tables.items():
        columns = table.columns
        counts = Counter(columns.types.values()).most_common()
        types = ", ".join(f"{count} {kind}" for kind, count in counts)
        details.append(f"{stream} {types} (key {', '.join(columns.key)})")
        try:
            doubts = _check_names(examination, stream)
        except SettingsError as error:
            doubts = []
            refused.append(error)
        warnings += [f"{stream}: {warning}" for warning in (*columns.warnings, *doubts)]
        warnings += unknown_columns(maps, stream, table.names, table.documented)
    if refused:
        return Finding("; ".join(map(str, refused)), failed=True)
    if not details:
        return Finding("no file", skipped=True)
    return Finding(f"{'; '.join(details)}, by these files", "; ".join(warnings))


def _check_names(examination: Examination, stream: str) -> list[str]:
    """Check the names of protected columns; older files are read only where the newest lacks one.

    Returns:
        What to warn about.

    Raises:
        SettingsError: A name is of no column of any file that a run reads.
    """
    tap, table = examination.tap, examination.tables[stream]
    newest, found = examination.spooled[stream].file, frozenset[str]()
    older = [
        entry.file
        for entry in examination.stock
        if entry.file.stream == stream and entry.file != newest
        if entry.status in {None, PENDING, PARTLY}
    ]
    while True:
        try:
            return check_names(table, found)
        except SettingsError:
            if not older:
                raise
        with closing(tap.spool.download(tap.transport, older.pop())) as spooled:
            found |= table_for(spooled, tap, {}).known.found


CONTENT: Final[Mapping[str, Step]] = {
    "spool space": check_space,
    "checksum": check_bytes,
    "rows": check_rows,
    "columns": check_columns,
    "types": check_types,
    "meltano.yml": check_project,
}
"""The steps after a listing, which no vendor has to change."""

STEPS: Final[Mapping[str, Step]] = {
    "settings": check_settings,
    "lists": check_lists,
    "pending": check_pending,
    "sizes": check_sizes,
    **CONTENT,
}
"""The steps for a vendor without steps of its own."""
