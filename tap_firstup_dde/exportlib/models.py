"""What an export file is, where it comes from, and how far a stream has been read."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from tap_firstup_dde.exportlib.exceptions import StateError
from tap_firstup_dde.exportlib.secrecy import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from tap_firstup_dde.exportlib.checksum import Checksum

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


_UNKNOWN = datetime.min.replace(tzinfo=UTC)
_KEPT = timedelta(days=7)  # about as long as vendors keep files: no list explains a longer gap


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far a stream has been read.

    Attributes:
        generated_at: The newest generation that was finished; None before the first.
        finished: Key of each finished file → when it was generated.
        closed: Whether every file up to *generated_at* counts as finished, because the
            state was written by a tap that keeps no list of files.
        in_progress: Key of the file that was cut off → rows already emitted; 0 if none.
        historical: Keys of finished files that hold the past: they are kept for good.
        versions: Key of each file that was read → its version, where it has one.
    """

    generated_at: datetime | None = None
    finished: Mapping[str, datetime] = field(default_factory=dict)
    closed: bool = False
    in_progress: tuple[str, int] = ("", 0)
    historical: frozenset[str] = frozenset()
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Bookmark:
        """Read a stream's part of the Singer state.

        Raises:
            StateError: A value is not what a state holds.
        """
        try:
            value = state.get("replication_key_value")
            newest = None if value is None else parse_generation(value)
            times = {k: parse_generation(v) for k, v in state.get("finished_at", {}).items()}
            keys = state.get("finished")
            if not isinstance(keys, list | None):
                raise TypeError(type(keys).__name__)  # noqa: TRY301 - told as all others are
            progress = state.get("in_progress") or {"file": "", "rows": 0}
            in_progress = (str(progress["file"]), _count(progress["rows"]))
            finished = {str(key): times.get(key, newest or _UNKNOWN) for key in keys or ()}
            historical = frozenset(map(str, state.get("historical") or ()))
            versions = {str(k): str(v) for k, v in (state.get("versions") or {}).items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"the state cannot be read: {error!r}"
            raise StateError(msg, STATE_HINT) from None
        return cls(
            generated_at=newest,
            finished=finished,
            closed=newest is not None and keys is None,
            in_progress=in_progress,
            historical=historical,
            versions=versions,
        )

    def to_state(self) -> dict[str, Any]:
        """A stream's part of the Singer state: what `from_state` reads."""
        ordered = sorted(self.finished.items(), key=lambda item: (item[1], item[0]))
        state: dict[str, Any] = {
            "finished": [key for key, _ in ordered],
            "finished_at": {key: format_time(moment) for key, moment in ordered},
        }
        if self.generated_at:
            state["replication_key"] = "generated_at"
            state["replication_key_value"] = format_time(self.generated_at)
        if self.in_progress[0]:
            state["in_progress"] = {"file": self.in_progress[0], "rows": self.in_progress[1]}
        if self.historical:
            state["historical"] = sorted(self.historical)
        if self.versions:
            state["versions"] = dict(sorted(self.versions.items()))
        return state

    def settle(self, files: Iterable[ExportFile]) -> Bookmark:
        """Learn from the list what the state does not say.

        Of a state without a list of files, or with that of another source (of the API, and
        delivered files are listed now, or the other way round): what is listed up to it is
        finished, and a file that was cut off has another name now. Of one without times: when
        its files were generated.
        """
        files = list(files)
        listed = {file.key: file.generated_at for file in files}
        other = self._is_of_another_source(files)
        if (self.closed or other) and self.generated_at is not None:
            done = {key: moment for key, moment in listed.items() if moment <= self.generated_at}
            past = frozenset(file.key for file in files if file.historical and file.key in done)
            return replace(
                self,
                finished=done,
                closed=False,
                in_progress=("", 0) if other else self.in_progress,
                historical=past,
                versions={},
            )
        known = {
            key: listed.get(key, moment) if moment == _UNKNOWN else moment
            for key, moment in self.finished.items()
        }
        return replace(self, finished=known)

    def _is_of_another_source(self, files: Sequence[ExportFile]) -> bool:
        """Whether the files that are listed are not those that the finished ones are among."""
        if not self.finished or not files:
            return False
        if any(file.version for file in files):
            return not self.versions and not any(file.key in self.finished for file in files)
        return bool(self.versions)

    def gap(self, listed: Iterable[datetime]) -> tuple[datetime, datetime] | None:
        """Between which times files seem to have expired unread.

        Args:
            listed: When the files were generated that are available now.

        Returns:
            The bookmark and the oldest file's time, when they are further apart, by half, than any
            two generations in the list that follow each other; those that are finished tell where
            the list has one generation only. None when nothing seems to be missing.
        """
        times = sorted(set(listed))
        if not times or self.generated_at is None or times[0] <= self.generated_at:
            return None
        known = times if len(times) > 1 else sorted({*self.finished.values()} - {_UNKNOWN})
        cadence = max((b - a for a, b in pairwise(known)), default=_KEPT)
        # Files are not always generated on the minute of an hour.
        late = times[0] - self.generated_at > 1.5 * cadence
        return (self.generated_at, times[0]) if late else None

    def pending(
        self, files: Iterable[ExportFile], lookback: timedelta, start: datetime | None = None
    ) -> list[ExportFile]:
        """Files still to read, each once, ordered by (generated_at, id).

        A file is read when it is not finished in its present version, not older than *start*,
        and not older than the bookmark by more than *lookback*, unless it is historical.
        """
        floor = None if self.generated_at is None else _earlier(self.generated_at, lookback)
        unique = {
            file.id: file
            for file in files
            if (file.key not in self.finished or self.has_changed(file))
            and not (start and file.generated_at < start)
            and not (floor and file.generated_at < floor and not file.historical)
        }
        return sorted(unique.values(), key=lambda file: (file.generated_at, file.id))

    def has_changed(self, file: ExportFile) -> bool:
        """Whether *file* is another one than the one of its name that was read."""
        before = self.versions.get(file.key, "")
        return bool(before and file.version and before != file.version)

    def rows_read(self, file: ExportFile) -> int:
        """How many of the rows of *file* an earlier run has emitted before it was cut off."""
        key, rows = self.in_progress
        return rows if key == file.key and not self.has_changed(file) else 0

    def reach(self, file: ExportFile, rows: int) -> Bookmark:
        """The bookmark inside *file*, after its first *rows* rows."""
        # What an earlier version of it was is finished no longer.
        finished = {key: at for key, at in self.finished.items() if key != file.key}
        return replace(
            self,
            finished=finished,
            in_progress=(file.key, rows),
            versions=self._with_version(file),
        )

    def _with_version(self, file: ExportFile) -> dict[str, str]:
        """The versions, that of *file* among them."""
        return {**self.versions, **({file.key: file.version} if file.version else {})}

    def finish(self, file: ExportFile, lookback: timedelta) -> Bookmark:
        """The bookmark after *file*.

        Keys generated more than *lookback* before the newest generation are let go: such
        files are no longer read.
        """
        newest = self.generated_at
        if not file.historical:
            newest = max(file.generated_at, newest or file.generated_at)
        past = self.historical | ({file.key} if file.historical else frozenset())
        floor = _earlier(newest, lookback) if newest else _UNKNOWN
        finished = {**self.finished, file.key: file.generated_at}
        kept = {key: at for key, at in finished.items() if at >= floor or key in past}
        in_progress = ("", 0) if self.in_progress[0] == file.key else self.in_progress
        known = {*kept, in_progress[0]}
        return Bookmark(
            generated_at=newest,
            finished=kept,
            in_progress=in_progress,
            historical=past,
            versions={key: v for key, v in self._with_version(file).items() if key in known},
        )


def _count(rows: object) -> int:
    """A number of rows; ValueError for what is none."""
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 0:
        msg = f"{rows!r} is no number of rows"
        raise ValueError(msg)
    return rows


def _earlier(moment: datetime, span: timedelta) -> datetime:
    """*moment* less *span*, or the first moment there is."""
    first = datetime.min.replace(tzinfo=UTC)
    return first if moment - first < span else moment - span
