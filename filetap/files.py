"""What an export file is, and where it comes from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from filetap.redaction import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from contextlib import AbstractContextManager
    from datetime import datetime

    from filetap.checksum import Checksum


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
        historical: True for an export of past data, made on request: always read, however old,
            and it never moves the bookmark.
        version: Changes when the stored file changes; empty if not known.
        account: The vendor's id of the account it belongs to; empty if not known.
        paths: Its path in a folder's file system, then those of files beside it that may hold its
            checksum; empty for a file that is requested by its id.
    """

    stream: str
    id: str
    file_name: str
    generation: str
    generated_at: datetime
    historical: bool = False
    version: str = ""
    account: str = ""
    paths: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Twelve hex digits that represent the id in state and records."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:12]

    @property
    def source(self) -> str:
        """The value of ``_sdc_source_file``."""
        return f"{self.generation}/{self.file_name}/{self.key}"

    def __str__(self) -> str:
        """The name that messages use: on one line, without control characters."""
        return f"{self.stream} {printable(self.source)}"


@dataclass(frozen=True, slots=True)
class Body:
    """A download of an export file.

    Attributes:
        chunks: The bytes as stored, never decompressed.
        offset: Position of the first byte in *chunks*; 0 if the sender restarted the file.
        size: Length of the whole file in bytes; None if not stated.
        checksum: Of the whole file; None if not stated.
        version: Changes when the stored file changes (an HTTP ETag); empty if not stated.
        promises: True if this sender states a checksum of every file.
    """

    chunks: Iterator[bytes]
    offset: int
    size: int | None
    checksum: Checksum | None
    version: str = ""
    promises: bool = True


class Transport(Protocol):
    """Where export files come from."""

    def list_files(self, stream: str, since: datetime | None = None) -> Iterable[ExportFile]:
        """List the files that are available now, in any order.

        Args:
            stream: Name of the stream.
            since: Files generated before it may be left out; None for all.
        """

    def fetch(
        self, file: ExportFile, offset: int = 0, version: str = ""
    ) -> AbstractContextManager[Body]:
        """Open the file from *offset* (bytes), or from 0 if it is no longer *version*.

        Safe to call from threads, for a file each.

        Raises:
            RetriableTransportError: Try again.
            RangeRefusedError: Start over at the first byte.
            ExpiredURLError: Call again: that uses a new URL.
            FileGoneError: The file no longer exists.
            TransportError: The file cannot be fetched.
        """

    def stored_size(self, file: ExportFile) -> int | None:
        """The file's bytes as stored; None if not stated. Safe to call from threads."""

    def describe(self) -> str:
        """Where files come from, in a few words without secrets."""

    @property
    def account(self) -> str | None:
        """The account whose files they are; None if not known, or if there are several."""

    @property
    def accounts(self) -> Collection[str]:
        """The accounts whose files they are, as far as the files state them."""
