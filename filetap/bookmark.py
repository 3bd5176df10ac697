"""How far a stream has been read: which files are finished, and which are still to read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from filetap.files import ExportFile

AHEAD = timedelta(days=1)  # a clock, or a time zone, may be off by that much
UNKNOWN = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PartlyRead:
    """A file that a run was cut off in.

    Attributes:
        key: Key of the file.
        rows: Rows of it that were emitted.
        generated_at: When it was generated; None if the state does not say.
        content: Fingerprint of its stored bytes; empty if not known.
    """

    key: str
    rows: int
    generated_at: datetime | None = None
    content: str = ""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """How far a stream has been read.

    Attributes:
        generated_at: The newest generation that was finished; None before the first.
        finished: Key of each finished file → when it was generated.
        closed_at: Time up to which every file counts as finished, because the state was
            written by a tap that keeps no list of files; None otherwise.
        partly_read: Files that runs were cut off in, the last one first.
        historical: Keys of finished files that hold the past: they are kept for good.
        versions: Key of each delivered file that was read → its version.
        contents: Key of each delivered file that was read → fingerprint of its stored bytes.
        counted: Keys of finished files that were not read themselves: another source's file
            of their generation was.
        owners: Key of each finished file → the account that it belongs to, where that is known.
        unfinished: Generations of which some files were read when a run ended, and others were
            listed but not read.
        from_scratch: True until the first run without a state has read everything. Meltano
            merges the state of such a run, when it dies, into the one before: what that one
            has finished then does not count.
    """

    generated_at: datetime | None = None
    finished: Mapping[str, datetime] = field(default_factory=dict)
    closed_at: datetime | None = None
    partly_read: tuple[PartlyRead, ...] = ()
    historical: frozenset[str] = frozenset()
    versions: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    counted: frozenset[str] = frozenset()
    owners: Mapping[str, str] = field(default_factory=dict)
    unfinished: frozenset[datetime] = frozenset()
    from_scratch: bool = False

    @property
    def in_progress(self) -> tuple[str, int]:
        """Key and emitted rows of the file that was cut off last; ``("", 0)`` for none."""
        return (self.partly_read[0].key, self.partly_read[0].rows) if self.partly_read else ("", 0)

    def gap(self, listed: Iterable[datetime], kept: timedelta) -> tuple[datetime, datetime] | None:
        """The times between which files seem to have expired unread.

        Args:
            listed: When the files were generated that are available now.
            kept: How long files are available.

        Returns:
            The bookmark and the time of the oldest listed file, if more than 1.5 times the longest
            interval between consecutive listed generations lies between them (between finished
            ones, if only one is listed); None if nothing seems to be missing.
        """
        times = sorted(set(listed))
        if not times or self.generated_at is None or times[0] <= self.generated_at:
            return None
        known = times if len(times) > 1 else sorted({*self.finished.values()} - {UNKNOWN})
        cadence = max((b - a for a, b in pairwise(known)), default=kept)
        # Files are not always generated on the minute of an hour.
        late = times[0] - self.generated_at > 1.5 * cadence
        return (self.generated_at, times[0]) if late else None

    def pending(
        self, files: Iterable[ExportFile], lookback: timedelta, start: datetime | None = None
    ) -> list[ExportFile]:
        """Files still to read, each once, ordered by (generated_at, id).

        A file is read when it is not finished in its present version, not older than *start*,
        and not older than the bookmark by more than *lookback*, unless it is historical or was
        delivered again.
        """
        floor = None if self.generated_at is None else earlier(self.generated_at, lookback)
        unique = {
            file.id: file
            for file in files
            if (file.key not in self.finished or self.has_changed(file))
            and not (start and file.generated_at < start)
            and not (
                floor
                and file.generated_at < floor
                and not file.historical
                and not self.has_changed(file)
            )
        }
        return sorted(unique.values(), key=lambda file: (file.generated_at, file.id))

    def has_changed(self, file: ExportFile) -> bool:
        """True if *file* is not the file of its name that was read before."""
        before = self.versions.get(file.key, "")
        return bool(before and file.version and before != file.version)

    def has_same_content(self, file: ExportFile, content: str) -> bool:
        """True if *file* is finished and the bytes that were read then are those of now."""
        return (
            file.key in self.finished and bool(content) and self.contents.get(file.key) == content
        )

    def rows_read(self, file: ExportFile, content: str = "") -> int:
        """Rows of *file* that an earlier run has emitted before it was cut off.

        Args:
            file: The file.
            content: Fingerprint of its stored bytes; empty if not known. A file that has changed
                since is another one unless its bytes are the same.
        """
        for part in self.partly_read:
            if part.key == file.key:
                same = bool(content) and part.content == content
                return part.rows if same or not self.has_changed(file) else 0
        return 0

    def is_replaced(self, file: ExportFile, content: str) -> bool:
        """True if the bytes of *file* are not those that an earlier run was cut off in."""
        before = next((part.content for part in self.partly_read if part.key == file.key), "")
        return bool(before and content and before != content)

    def reach(self, file: ExportFile, rows: int, content: str = "") -> Bookmark:
        """The bookmark inside *file*, after its first *rows* rows.

        Args:
            file: The file that is being read.
            rows: Rows of it that were emitted.
            content: Fingerprint of its stored bytes; empty if not known.
        """
        here = PartlyRead(file.key, rows, file.generated_at, content)
        return replace(
            self,
            # An earlier version of the file is no longer finished.
            finished={key: at for key, at in self.finished.items() if key != file.key},
            partly_read=(here, *(part for part in self.partly_read if part.key != file.key)),
            versions=self._with_version(file),
            counted=self.counted - {file.key},
        )

    def accept(self, copies: Iterable[ExportFile]) -> Bookmark:
        """The bookmark once the present versions of finished files count as the ones read."""
        return replace(self, versions={**self.versions, **{f.key: f.version for f in copies}})

    def forget_versions(self) -> Bookmark:
        """The bookmark without the versions of files that are no longer listed: they are older."""
        known = {*self.finished, *(part.key for part in self.partly_read)}
        return replace(self, versions={k: v for k, v in self.versions.items() if k in known})

    def reopen(self, files: Iterable[ExportFile], after: ExportFile) -> Bookmark:
        """The bookmark before the *files* that follow *after* are read again.

        They count as partly read, with no rows: a merge of two states keeps that.
        """
        parts = {part.key: part for part in self.partly_read}
        again = {
            file.key: PartlyRead(file.key, 0, file.generated_at)
            for file in files
            if (file.generated_at, file.id) > (after.generated_at, after.id)
            if file.key in self.finished or file.key in parts
        }
        return replace(
            self,
            finished={key: at for key, at in self.finished.items() if key not in again},
            partly_read=tuple({**parts, **again}.values()),
        )

    def is_reopened(self, file: ExportFile) -> bool:
        """True if *file* was read, and is to be read again."""
        return any(part.key == file.key and not part.rows for part in self.partly_read)

    def _with_version(self, file: ExportFile) -> dict[str, str]:
        """The versions, that of *file* among them."""
        return {**self.versions, **({file.key: file.version} if file.version else {})}

    def finish(
        self, file: ExportFile, lookback: timedelta, now: datetime, content: str = ""
    ) -> Bookmark:
        """The bookmark after *file*.

        Keys generated more than *lookback* before the newest generation are dropped: such
        files are no longer read.

        Args:
            file: The file that was read.
            lookback: How long after the bookmark a late file is still read.
            now: The run's clock: a generation later than a day after it moves no bookmark.
            content: Fingerprint of the stored bytes; empty if not known.
        """
        newest = self.generated_at
        if not file.historical and file.generated_at <= now + AHEAD:
            newest = max(file.generated_at, newest or file.generated_at)
        past = self.historical | ({file.key} if file.historical else frozenset())
        floor = earlier(newest, lookback) if newest else UNKNOWN
        finished = {**self.finished, file.key: file.generated_at}
        kept = {key: at for key, at in finished.items() if at >= floor or key in past}
        contents = {key: c for key, c in self.contents.items() if key != file.key}
        if content and file.version:
            contents[file.key] = content
        return replace(
            self,
            generated_at=newest,
            finished=kept,
            closed_at=None,
            partly_read=tuple(part for part in self.partly_read if part.key != file.key),
            historical=past,
            versions=self._with_version(file),
            contents={key: c for key, c in contents.items() if key in kept},
            counted=(self.counted - {file.key}) & kept.keys(),
            owners={
                key: owner
                for key, owner in (*self.owners.items(), (file.key, file.account))
                if owner and key in kept
            },
        )

    def finish_before(
        self,
        following: ExportFile | None,
        file: ExportFile,
        lookback: timedelta,
        now: datetime,
        content: str = "",
    ) -> Bookmark:
        """The bookmark after *file*, which marks its generation if more of it is to be read.

        Args:
            following: The file that is read next; None after the last one.
            file: The file that was read.
            lookback: How long after the bookmark a late file is still read.
            now: The run's clock.
            content: Fingerprint of the stored bytes; empty if not known.
        """
        bookmark = self.finish(file, lookback, now, content)
        # Files come in order of generation.
        more = following is not None and following.generated_at == file.generated_at
        generation = {file.generated_at}
        unfinished = bookmark.unfinished | generation if more else bookmark.unfinished - generation
        return replace(bookmark, unfinished=unfinished)


def earlier(moment: datetime, span: timedelta) -> datetime:
    """*moment* less *span*, or the first moment of the calendar."""
    first = datetime.min.replace(tzinfo=UTC)
    return first if moment - first < span else moment - span
