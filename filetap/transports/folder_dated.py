"""A folder tree with a folder for each day: only the days that are needed are listed."""

from __future__ import annotations

import logging
import posixpath
import re
import sys
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from filetap.errors import FileGoneError, RetriableTransportError, TransportError
from filetap.redaction import printable
from filetap.times import utc_now
from filetap.transports.folder import FolderTransport
from filetap.transports.retry import with_retries

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filetap.transports.folder_walk import Entry, Found

_ABOVE = 2  # levels of folders above those of the years, at most
_YEAR = re.compile(r"[0-9]{4}")
_NUMBER = re.compile(r"[0-9]{1,2}")
_TOMORROW = timedelta(days=1)

logger = logging.getLogger(__name__)


class DatedFolderTransport(FolderTransport):
    """Lists ``<year>/<month>/<day>/<any>/<file>``, at most two levels below the folder.

    A listing reads the folders of the days that it is about, those above them, a month of each
    other year, and the folders beside those of years, which may be tenants'.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take what `FolderTransport` takes."""
        super().__init__(*args, **options)
        self._read: dict[str, list[Entry]] = {}  # folders above those of files
        self._listed: set[str] = set()  # folders of days

    @cached_property
    def newest(self) -> datetime | None:
        """The newest day that has a folder, at most tomorrow; None if no day has one."""
        latest = utc_now() + _TOMORROW
        return max(
            (
                day
                for years in self._years
                if (day := next((day for day, _ in self._days(years, None) if day <= latest), None))
            ),
            default=None,
        )

    def names(self, since: datetime | None) -> set[str]:
        """The names of the folders in those of *since* and later days."""
        return {
            entry.name
            for years in self._years
            for _, path in self._days(years, since)
            for entry in self._entries(path)
            if entry.file is None
        }

    @override
    def _list(self, since: datetime | None) -> None:
        everything: list[Found] = []
        others: list[str] = []
        for years in self._years:
            for _, path in self._days(years, since):
                if path not in self._listed:
                    self._listed.add(path)
                    files, rest = self._files_in(path)
                    everything += files
                    others += rest
        if everything or others:
            self._add(everything, others)

    def _files_in(self, day: str) -> tuple[list[Found], list[str]]:
        """The files in the folders of a day, and the paths of what cannot be opened."""
        files: list[Found] = []
        others: list[str] = []
        for entry in self._entries(day):
            if entry.file is None:
                inside, rest = self._now_in(entry.path)
                files += [one.file for one in inside if one.file]
                others += rest
        return files, others

    def _days(self, years: str, since: datetime | None) -> Iterator[tuple[datetime, str]]:
        """Each day of *since* and later with its folder, the newest first."""
        first = (0, 0, 0) if since is None else (since.year, since.month, since.day)
        for year, in_year in self._numbered(years, _YEAR):
            if year < first[0]:
                return
            for month, in_month in self._numbered(in_year, _NUMBER):
                if (year, month) < first[:2]:
                    break
                for day, path in self._numbered(in_month, _NUMBER):
                    if (year, month, day) < first:
                        break
                    try:
                        yield datetime(year, month, day, tzinfo=UTC), path
                    except ValueError:
                        self._warn_of_no_day(path)

    def _warn_of_no_day(self, folder: str) -> None:
        """Warn once about a folder whose date is not in the calendar: it may contain files."""
        if folder not in self._warned:
            self._warned.add(folder)
            where, name = self._folder.where, printable("/".join(folder.split("/")[-3:]))
            logger.warning("%s: the folder %s is skipped (no day of the calendar)", where, name)

    def _numbered(self, folder: str, pattern: re.Pattern[str]) -> list[tuple[int, str]]:
        """The folders in *folder* whose names are numbers, the largest first."""
        return sorted(
            (
                (int(entry.name), entry.path)
                for entry in self._entries(folder)
                if entry.file is None and pattern.fullmatch(entry.name)
            ),
            reverse=True,
        )

    @cached_property
    def _years(self) -> list[str]:
        """The folders that hold those of years."""
        try:
            level = [with_retries(lambda: self._folder.root, self._retries)]
            self._entries(level[0])
        except FileGoneError:
            msg = f"{self._folder.where}: the folder does not exist"
            hint = "check folder.url; in a bucket, a folder exists once it contains a file"
            raise TransportError(msg, hint) from None
        found: list[str] = []
        beside: set[str] = set()  # those beside folders of years, and below
        for _ in range(_ABOVE + 1):
            below: list[str] = []
            for path in level:
                if path in beside and not self._is_open(path):
                    continue
                years = {year for _, year in self._numbered(path, _YEAR) if self._is_year(year)}
                found += [path] if years else []
                others = [
                    entry.path
                    for entry in self._entries(path)
                    if entry.file is None and entry.path not in years
                ]
                below += others
                if years or path in beside:
                    beside |= {*others}
            level = below
        if not found:
            logger.warning(
                "%s: no folder of a year was found here or two levels below; folder.url names a "
                "folder above those of the years",
                self._folder.where,
            )
        return found

    def _is_year(self, folder: str) -> bool:
        """True if there are days in a folder: a tenant, too, may have a name of four digits."""
        return any(self._numbered(month, _NUMBER) for _, month in self._numbered(folder, _NUMBER))

    def _is_open(self, folder: str) -> bool:
        """True if a folder can be read; warns if not, as it may be no tenant's at all."""
        try:
            self._entries(folder)
        except RetriableTransportError:
            raise
        except TransportError as error:
            where, name = self._folder.where, printable(posixpath.basename(folder))
            logger.warning("%s: the folder %s is skipped (%s)", where, name, error.message)
            return False
        return True

    def _entries(self, folder: str) -> list[Entry]:
        """What is in a folder, which is read once."""
        if folder not in self._read:
            self._read[folder] = self._now_in(folder)[0]
        return self._read[folder]

    def _now_in(self, folder: str) -> tuple[list[Entry], list[str]]:
        """What is in a folder, and the paths of what cannot be opened."""
        return with_retries(lambda: self._folder.entries(folder), self._retries)
