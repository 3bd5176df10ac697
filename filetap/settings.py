"""What a run is set to do, parsed once."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path


BLOCK = 4 << 20  # bytes of CSV parsed at a time
PATTERN = re.compile(r"[*?\[]")  # in the name of a column that stands for several


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is repeated, and the pauses in between.

    Attributes:
        count: Retries at most.
        first_pause: Seconds before the first retry, less up to half of it at random; doubled for
            each further one.
        pause: Waits that many seconds.
    """

    count: int = 5
    first_pause: float = 0.5
    pause: Callable[[float], object] = time.sleep


@dataclass(frozen=True, slots=True)
class Tuning:
    """Sizes that trade memory for speed; users need not know them, tests make them small.

    Attributes:
        block: Bytes of CSV parsed at a time.
        lines: Rows turned into RECORD lines at a time, at most.
        slice: Rows of a batch at most; STATE is written after that many.
        whole: Bytes as stored; of a larger file only the beginning is sampled.
        head: Bytes of a large file that are sampled.
        kept: Bytes as stored that sampling leaves on disk until the files are read.
        unpacked: Bytes of rows, as text in memory, that are sampled of a large archive.
        first_pause: Seconds before the first retry of a request.
    """

    block: int = BLOCK
    lines: int = 10_000
    slice: int = 100_000
    whole: int = 4 << 20
    head: int = 1 << 20
    kept: int = 256 << 20
    unpacked: int = 16 << 20
    first_pause: float = Retries().first_pause


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that files are delivered into.

    Attributes:
        url: A path or an fsspec URL.
        options: Options of its file system; secret.
        account: Whose files are read; empty for all.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    account: str = ""


@dataclass(frozen=True, slots=True)
class Protection:
    """Columns of a stream whose values are not emitted as they are.

    Attributes:
        dropped: Columns that are left out: names, and patterns in lower case. A column that is
            among both is left out.
        hashed: Columns whose values are replaced by hashes.
        key: Key of the hashes; secret.
    """

    dropped: tuple[str, ...] = ()
    hashed: tuple[str, ...] = ()
    key: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        """True if there are any."""
        return bool(self.dropped or self.hashed)

    def changes(self, column: str) -> bool:
        """True if a column's values are not emitted as they are."""
        return self.drops(column) or self.hashes(column)

    def drops(self, *spellings: str) -> bool:
        """True if a column, in any of its spellings, is left out."""
        return bool(matching(self.dropped, spellings))

    def hashes(self, *spellings: str) -> bool:
        """True if a column's values are replaced by hashes."""
        return bool(matching(self.hashed, spellings)) and not self.drops(*spellings)


def matching(names: Iterable[str], spellings: Iterable[str]) -> list[str]:
    """Those of some names and patterns that a column, in any of its spellings, matches."""
    spelt = [*spellings]
    return [
        name
        for name in names
        if name in spelt or (PATTERN.search(name) and any(fnmatchcase(s, name) for s in spelt))
    ]


NOTHING_PROTECTED = Protection()


@dataclass(frozen=True, slots=True)
class Settings:
    """A tap's settings.

    Attributes:
        source: Where export files come from, with credentials: a `Folder`, or the vendor's own.
        start: Files generated before it are never read; None for all.
        lookback_days: How many days older than the bookmark a late file may be and still be read.
        keys: Stream → columns that replace its key.
        types: Stream → column → type, instead of the inferred one.
        diverts: True to send malformed rows to a stream of their own, False to fail.
        timeout: Seconds that one socket operation may take.
        retries: How often one request is repeated.
        concurrency: Files that are downloaded at once, at most.
        spool: Folder for downloads while they are read; None for the system's temporary one.
        summary: File that gets a summary of the run; None for none.
        nulls: Texts that stand for null, besides a cell that is empty without quotes.
        fingerprint: Algorithm that tells the contents of two versions of a file apart.
        protected: Stream → columns whose values are not emitted as they are.
        poll: Seconds before the state of a job is requested for the second time; more and more
            later on.
        job_timeout: Seconds after which a job is given up.
        maps: Stream maps.
        secrets: Values to keep out of any output.
        tuning: Sizes.
    """

    source: Any = field(repr=False)
    start: datetime | None = None
    lookback_days: int = 14
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    types: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    diverts: bool = False
    timeout: float = 60.0
    retries: Retries = Retries()
    concurrency: int = 8
    spool: Path | None = None
    summary: Path | None = None
    nulls: tuple[str, ...] = ()
    fingerprint: str = "CRC64NVME"
    protected: Mapping[str, Protection] = field(default_factory=dict)
    poll: float = 5.0
    job_timeout: float = 3600.0
    maps: Mapping[str, Any] = field(default_factory=dict, repr=False)
    secrets: tuple[Any, ...] = field(default=(), repr=False)
    tuning: Tuning = Tuning()

    @property
    def lookback(self) -> timedelta:
        """How much older than the bookmark a late file may be and still be read."""
        return timedelta(days=self.lookback_days)

    def protection(self, stream: str) -> Protection:
        """The columns of a stream whose values are not emitted as they are."""
        return self.protected.get(stream, NOTHING_PROTECTED)

    @property
    def delivered(self) -> bool:
        """True if files are read from a folder, where they stay."""
        return isinstance(self.source, Folder)
