"""How far a stream has been read: which files are finished, and which are still to read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from filetap.errors import STATE_HINT, StateError
from filetap.times import format_time, parse_generation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from filetap.files import ExportFile

# The members of a stream's state that `Bookmark.to_state` writes.
MEMBERS = (
    "replication_key",
    "replication_key_value",
    "finished",
    "finished_at",
    "in_progress",
    "partly_read",
    "historical",
    "versions",
    "contents",
    "counted",
    "owners",
    "unfinished",
    "from_scratch",
)
AHEAD = timedelta(days=1)  # a clock, or a time zone, may be off by that much
_UNKNOWN = datetime.min.replace(tzinfo=UTC)
_OLD_VERSIONS = 1000  # versions remembered of listed files older than the lookback


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
        owners: Key of each finished file → the program that it belongs to, where that is known.
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

    @classmethod
    def from_state(cls, state: Mapping[str, Any], now: datetime) -> Bookmark:
        """Read a stream's part of the Singer state, also one that Meltano merged of two.

        A merge takes lists and single values from one state and the members of objects from
        both, so the finished files are those of the list and of the times together.

        Args:
            state: The stream's part of the state.
            now: The run's clock; no bookmark is later than a day after it.

        Raises:
            StateError: A value is not what a state holds.
        """
        try:
            value = state.get("replication_key_value")
            newest = None if value is None else parse_generation(value)
            times = {k: parse_generation(v) for k, v in state.get("finished_at", {}).items()}
            keys = state.get("finished")
            if not isinstance(keys, list | None):
                raise TypeError(type(keys).__name__)  # noqa: TRY301 - reported as all others are
            partly_read = _partly_read(state)
            scratch = bool(state.get("from_scratch"))
            finished = {str(key): times.get(key, newest or _UNKNOWN) for key in keys or ()}
            historical = frozenset(map(str, state.get("historical") or ()))
            counted = frozenset(map(str, state.get("counted") or ()))
            versions = {str(k): str(v) for k, v in (state.get("versions") or {}).items()}
            contents = {str(k): str(v) for k, v in (state.get("contents") or {}).items()}
            owners = _owners(state.get("owners") or {}, finished)
            generations = frozenset(map(parse_generation, state.get("unfinished") or ()))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"the state cannot be read: {error!r}"
            raise StateError(msg, STATE_HINT) from None
        closed_at = newest if keys is None else None
        partly_read = tuple(part for part in partly_read if part.key not in finished)
        if not scratch and keys is not None:
            unfinished = {part.key for part in partly_read}
            finished |= {k: moment for k, moment in times.items() if k not in unfinished}
        latest = now + AHEAD
        known = [
            moment
            for key, moment in finished.items()
            if key not in historical and _UNKNOWN < moment <= latest
        ]
        if scratch:
            newest = None  # it may be that of the state before
        elif newest is not None and newest > latest:
            newest = latest if closed_at else None
        return cls(
            generated_at=max((moment for moment in (newest, *known) if moment), default=None),
            finished=finished,
            closed_at=closed_at,
            partly_read=partly_read,
            historical=historical,
            versions=versions,
            contents=contents,
            counted=counted,
            owners=owners,
            unfinished=generations,
            from_scratch=scratch,
        )

    def to_state(self) -> dict[str, Any]:
        """A stream's part of the Singer state: what `from_state` reads.

        What may be left out later is a list or a single value: from an object, a merge of two
        states removes nothing.
        """
        ordered = sorted(self.finished.items(), key=lambda item: (item[1], item[0]))
        key, rows = self.in_progress
        state: dict[str, Any] = {
            "finished": [key for key, _ in ordered],
            "finished_at": {key: format_time(moment) for key, moment in ordered},
            "in_progress": {"file": key, "rows": rows},
            "from_scratch": self.from_scratch,
        }
        if self.generated_at:
            state["replication_key"] = "generated_at"
            state["replication_key_value"] = format_time(self.generated_at)
        if self.partly_read:
            state["partly_read"] = [
                {
                    "file": part.key,
                    "rows": part.rows,
                    "generated_at": part.generated_at and format_time(part.generated_at),
                    "content": part.content,
                }
                for part in self.partly_read
            ]
        generations = {format_time(moment) for moment in self.unfinished}
        for name, names in (
            ("historical", self.historical),
            ("counted", self.counted),
            ("unfinished", generations),
        ):
            if names:
                state[name] = sorted(names)
        # One program is the rule, and then its name is enough.
        programs = {self.owners.get(key, "") for key in self.finished}
        if len(programs) > 1:
            state["owners"] = dict(sorted(self.owners.items()))
        elif programs - {""}:
            state["owners"] = {"*": programs.pop()}
        for name, values in (("versions", self.versions), ("contents", self.contents)):
            if values:
                state[name] = dict(sorted(values.items()))
        return state

    @property
    def in_progress(self) -> tuple[str, int]:
        """Key and emitted rows of the file that was cut off last; ``("", 0)`` for none."""
        return (self.partly_read[0].key, self.partly_read[0].rows) if self.partly_read else ("", 0)

    def settle(self, files: Iterable[ExportFile]) -> Bookmark:
        """Learn from the list what the state does not say.

        Of a state without a list of files: what is listed up to it is finished. Of one from
        another source (of the API, and delivered files are listed now, or the other way
        round): files of a generation that was read there count as finished, the ones listed
        when the generation is first seen here, and no others; a file that was cut off there
        is continued here. Of one without times: when its files were generated.
        """
        files = list(files)
        listed = {file.key: file.generated_at for file in files}
        if self.closed_at is not None:
            done = [file for file in files if file.generated_at <= self.closed_at]
            return replace(
                self,
                finished={file.key: file.generated_at for file in done},
                closed_at=None,
                owners={file.key: file.account for file in done if file.account},
                historical=frozenset(file.key for file in done if file.historical),
                versions={file.key: file.version for file in done if file.version},
            )
        finished = {
            key: listed.get(key, moment) if moment == _UNKNOWN else moment
            for key, moment in self.finished.items()
        }
        past = self.historical | {f.key for f in files if f.historical and f.key in finished}
        known = replace(self, finished=finished, historical=past)
        counted = _read_elsewhere(known, files)
        versions = {file.key: file.version for file in counted if file.version}
        return replace(
            known,
            finished=finished | {file.key: file.generated_at for file in counted},
            partly_read=_continued(known, files),
            versions=_listed_versions(known, files) | versions,
            counted=self.counted | {file.key for file in counted},
            owners={**self.owners, **{file.key: file.account for file in counted if file.account}},
        )

    def gap(self, listed: Iterable[datetime], kept: timedelta) -> tuple[datetime, datetime] | None:
        """The times between which files seem to have expired unread.

        Args:
            listed: When the files were generated that are available now.
            kept: How long files are available.

        Returns:
            The bookmark and the oldest file's time, when they are further apart, by half, than any
            two generations in the list that follow each other; those that are finished tell where
            the list has one generation only. None when nothing seems to be missing.
        """
        times = sorted(set(listed))
        if not times or self.generated_at is None or times[0] <= self.generated_at:
            return None
        known = times if len(times) > 1 else sorted({*self.finished.values()} - {_UNKNOWN})
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
        floor = None if self.generated_at is None else _earlier(self.generated_at, lookback)
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
        floor = _earlier(newest, lookback) if newest else _UNKNOWN
        finished = {**self.finished, file.key: file.generated_at}
        kept = {key: at for key, at in finished.items() if at >= floor or key in past}
        contents = {key: c for key, c in self.contents.items() if key != file.key}
        if content and file.version:
            contents[file.key] = content
        return Bookmark(
            generated_at=newest,
            finished=kept,
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
            unfinished=self.unfinished,
            from_scratch=self.from_scratch,
        )


def _read_elsewhere(bookmark: Bookmark, files: Iterable[ExportFile]) -> list[ExportFile]:
    """The files of generations that were read from another source, all of them and to their ends.

    Only delivered files have versions. A generation that has a file of this source already
    was seen here before: another file of it is a new one. Another program's is another one, too.
    """
    # By source and generation: the programs whose files were read there, and seen there.
    read: dict[tuple[bool, datetime], set[str]] = {}
    seen: dict[tuple[bool, datetime], set[str]] = {}
    for key, moment in bookmark.finished.items():
        place = (key in bookmark.versions, moment)
        owner = bookmark.owners.get(key, "")
        seen.setdefault(place, set()).add(owner)
        if key not in bookmark.counted and key not in bookmark.historical:
            read.setdefault(place, set()).add(owner)
    in_part = {part.key for part in bookmark.partly_read}
    unfinished = bookmark.unfinished | {part.generated_at for part in bookmark.partly_read}
    return [
        file
        for file in files
        if not file.historical
        and file.key not in bookmark.finished
        and file.key not in in_part
        and file.generated_at not in unfinished
        and _may_own(read.get((not file.version, file.generated_at)), file.account)
        and not _may_own(seen.get((bool(file.version), file.generated_at)), file.account)
    ]


def _may_own(owners: AbstractSet[str] | None, program: str) -> bool:
    """True if files of these programs may be the program's; an empty name is not known."""
    return owners is not None and (not program or not owners.isdisjoint({"", program}))


def _continued(bookmark: Bookmark, files: Sequence[ExportFile]) -> tuple[PartlyRead, ...]:
    """The files that were cut off, each by the name that it has in this source now.

    One whose generation has several files, here or there, is left out: which rows of them were
    emitted is not known.
    """
    listed = {file.key for file in files}
    parts = []
    for part in bookmark.partly_read:
        delivered = part.key in bookmark.versions
        same = [
            file.key
            for file in files
            if file.generated_at == part.generated_at
            and not file.historical
            and file.key not in bookmark.finished
            and bool(file.version) != delivered
        ]
        alone = part.generated_at not in bookmark.unfinished and all(
            moment != part.generated_at or (key in bookmark.versions) != delivered
            for key, moment in bookmark.finished.items()
        )
        if part.key in listed or not same:
            parts.append(part)
        elif len(same) == 1 and alone:
            parts.append(replace(part, key=same[0], content=""))
    return tuple(parts)


def _listed_versions(bookmark: Bookmark, files: Sequence[ExportFile]) -> dict[str, str]:
    """The versions that are still of use: of finished files, and of some listed ones.

    A listed file that is older than the lookback is in no list of finished files, but it
    may be delivered again.
    """
    newest = sorted(files, key=lambda file: file.generated_at)[-_OLD_VERSIONS:]
    useful = {
        *bookmark.finished,
        *(part.key for part in bookmark.partly_read),
        *(file.key for file in newest),
    }
    return {key: version for key, version in bookmark.versions.items() if key in useful}


def _partly_read(state: Mapping[str, Any]) -> tuple[PartlyRead, ...]:
    """The files that runs were cut off in, the last one first.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: The state holds something else.
    """
    last = state.get("in_progress") or {"file": "", "rows": 0}
    key, rows = str(last["file"]), _count(last["rows"])
    if not key:
        return ()
    entries = [
        PartlyRead(
            str(entry["file"]),
            _count(entry["rows"]),
            parse_generation(entry["generated_at"]) if entry["generated_at"] else None,
            str(entry["content"]),
        )
        for entry in state.get("partly_read") or ()
    ]
    # By itself in a state of the documented members.
    here = next((entry for entry in entries if (entry.key, entry.rows) == (key, rows)), None)
    if here is None:
        return (PartlyRead(key, rows),)
    return (here, *(entry for entry in entries if entry.key != key))


def _owners(state: Mapping[str, str], finished: Iterable[str]) -> dict[str, str]:
    """Key of each finished file → its program; ``*`` stands for all."""
    every = str(state.get("*", ""))
    owners = {key: str(state.get(key, every)) for key in finished}
    return {key: owner for key, owner in owners.items() if owner}


def _count(rows: object) -> int:
    """A number of rows.

    Raises:
        ValueError: It is not one.
    """
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 0:
        msg = f"{rows!r} is not a number of rows"
        raise ValueError(msg)
    return rows


def _earlier(moment: datetime, span: timedelta) -> datetime:
    """*moment* less *span*, or the first moment of the calendar."""
    first = datetime.min.replace(tzinfo=UTC)
    return first if moment - first < span else moment - span
