"""What a run is set to do, parsed once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


BLOCK = 2 << 20  # bytes of CSV parsed at a time


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
    lines: int = 20_000
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
        nulls: Texts that stand for null, besides a cell that is empty without quotes.
        fingerprint: Algorithm that tells the contents of two versions of a file apart.
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
    nulls: tuple[str, ...] = ()
    fingerprint: str = "CRC64NVME"
    poll: float = 5.0
    job_timeout: float = 3600.0
    maps: Mapping[str, Any] = field(default_factory=dict, repr=False)
    secrets: tuple[Any, ...] = field(default=(), repr=False)
    tuning: Tuning = Tuning()

    @property
    def lookback(self) -> timedelta:
        """How much older than the bookmark a late file may be and still be read."""
        return timedelta(days=self.lookback_days)

    @property
    def delivered(self) -> bool:
        """True if files are read from a folder, where they stay."""
        return isinstance(self.source, Folder)
