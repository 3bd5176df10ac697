"""What an export file is, and where it comes from."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from filetap.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from contextlib import AbstractContextManager

    from filetap.download.checksum import Checksum

STATE_HINT = "give the last STATE as it was written, or none"
_HOURLY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})-([0-9]{2})")
# Python's own reader takes any character for the T.
_ISO_8601 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.,]+(?:Z|[+-][0-9:]+)?)?"
    r"|[0-9]{8}(?:T[0-9.,]+(?:Z|[+-][0-9:]+)?)?"
)


def parse_generation(text: str) -> datetime:
    """When a file was generated, from the text in a listing.

    Firstup documents ``YYYY-MM-DD-HH`` by example and no time zone; UTC fits the samples.
    ISO 8601 is accepted as well; without an offset it is UTC.

    Returns:
        An aware time in UTC.

    Raises:
        ValueError: The text is neither.
    """
    if match := _HOURLY.fullmatch(text):
        year, month, day, hour = map(int, match.groups())
        return datetime(year, month, day, hour, tzinfo=UTC)
    if not _ISO_8601.fullmatch(text):
        msg = f"{text!r} is not a time"
        raise ValueError(msg)
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        msg = f"{text!r} is outside the calendar"
        raise ValueError(msg) from None


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second, or to the microsecond where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One export file that a vendor has made available.

    Plain data: no URL, no credential. It can be logged, stored or pickled.

    Attributes:
        stream: Singer stream the file belongs to, for example ``"users"``.
        id: The vendor's name for the file, opaque, unique within the stream.
        file_name: The name people see; not unique.
        generation: When it was generated, as listed.
        generated_at: The same, as an aware time in UTC.
        historical: Whether it holds the past up to then, asked for at any time: it is never too
            late to be read, and moves no bookmark.
        version: Changes when the stored file changes; empty if not known.
        program: The vendor's name for whose file it is; empty if not known.
        paths: Where it is stored in a folder's file system, and after that what stands beside it
            and may hold its checksum; empty for a file that is asked for by its id.
    """

    stream: str
    id: str
    file_name: str
    generation: str
    generated_at: datetime
    historical: bool = False
    version: str = ""
    program: str = ""
    paths: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Twelve hex digits that stand for the id in state and records."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:12]

    @property
    def source(self) -> str:
        """The value of ``_sdc_source_file``."""
        return f"{self.generation}/{self.file_name}/{self.key}"

    def __str__(self) -> str:
        """The name that messages use: in one line, and nothing that a terminal obeys."""
        return f"{self.stream} {printable(self.source)}"


@dataclass(frozen=True, slots=True)
class Body:
    """An export file's bytes on their way.

    Attributes:
        chunks: The bytes as stored, never decompressed.
        offset: First byte that *chunks* holds; 0 if the sender restarted the file.
        size: Length of the whole file in bytes; None if not stated.
        checksum: Of the whole file; None if not stated.
        version: Changes when the stored file changes (an HTTP ETag); empty if not stated.
        promises: Whether this sender states a checksum of every file.
    """

    chunks: Iterator[bytes]
    offset: int
    size: int | None
    checksum: Checksum | None
    version: str = ""
    promises: bool = True


class Transport(Protocol):
    """Where export files come from."""

    def list_files(self, stream: str) -> Iterable[ExportFile]:
        """The files that are available now, in any order."""

    def fetch(
        self, file: ExportFile, offset: int = 0, version: str = ""
    ) -> AbstractContextManager[Body]:
        """Open the file from *offset* (bytes), or from 0 if it is no longer *version*.

        Safe to call from threads, for a file each.
        """

    def stored_size(self, file: ExportFile) -> int | None:
        """Bytes of the file as stored; None if that is not stated. Safe to call from threads."""

    @property
    def program_id(self) -> str | None:
        """The program that the files belong to, once known, and if there is only one."""

    @property
    def programs(self) -> Collection[str]:
        """The programs that the files belong to, where files say so."""
