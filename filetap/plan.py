"""What a run will read: the pending files of a stream, and the columns they are read into."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from filetap.bookmark import Bookmark, earlier
from filetap.bookmark_listing import reconcile
from filetap.bookmark_state import read_bookmark
from filetap.times import parse_generation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime, timedelta

    from filetap.columns.resolve import Columns, Known
    from filetap.columns.sample import Sample
    from filetap.files import ExportFile
    from filetap.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """The files of a stream that are read next.

    Attributes:
        stream: Name of the stream.
        now: The run's clock.
        incremental: False if everything is read again, whatever the state says.
        listed: Every file that is available.
        files: Those still to read, in order.
        bookmark: How far the stream was read, in terms of the files that are listed.
        counted: Listed files that count as read because another source's were.
        again: Files to read that were read before: an older one came late or was replaced.
        unsettled: Files that were found, but not listed: they are still being written.
        waiting: Files that are left for the next run because of them.
        newest: The newest date that was listed, where files are listed by date; else None.
    """

    stream: str
    now: datetime
    incremental: bool
    listed: tuple[ExportFile, ...]
    files: tuple[ExportFile, ...]
    bookmark: Bookmark
    counted: int
    again: tuple[ExportFile, ...] = ()
    unsettled: tuple[ExportFile, ...] = ()
    waiting: tuple[ExportFile, ...] = ()
    newest: datetime | None = None

    @property
    def listed_to(self) -> datetime | None:
        """The newest date, if all files up to it are read in this run; else None."""
        return None if self.unsettled else self.newest


def plan_files(  # noqa: PLR0913 - everything that the choice depends on
    stream: str,
    listed: Iterable[ExportFile],
    state: Mapping[str, Any],
    settings: Settings,
    *,
    now: datetime,
    incremental: bool = True,
) -> Plan:
    """Choose the files to read.

    Args:
        stream: Name of the stream.
        listed: Every file that is available.
        state: The stream's part of the state; empty for none.
        settings: First date and lookback.
        now: The run's clock.
        incremental: False to read everything again, whatever the state says.

    Raises:
        StateError: The state cannot be read.
    """
    files = tuple(listed)
    before = read_bookmark(state, now, stream)
    reconciled = reconcile(before, files)
    since = reconciled if incremental else Bookmark()
    pending = since.pending(files, settings.lookback, settings.start)
    times = {file.generated_at for file in pending}
    unfinished = times.intersection(reconciled.finished.values())
    bookmark = replace(
        reconciled,
        from_scratch=before.from_scratch or not state,
        unfinished=frozenset(unfinished),
    )
    counted = len(reconciled.counted - before.counted)
    return Plan(stream, now, incremental, files, tuple(pending), bookmark, counted)


def in_order(plan: Plan, copies: Collection[ExportFile], settings: Settings) -> Plan:
    """The plan that leaves each row as its newest file has it.

    After a file that came late or was replaced, all later ones are read again.

    Args:
        plan: What would be read otherwise.
        copies: Pending files whose content was read before.
        settings: First date and lookback.
    """
    if not plan.incremental:
        return plan
    bookmark = plan.bookmark.accept(copies)
    pending = files = [file for file in plan.files if file not in copies]
    known = {file.id for file in pending}
    if pending:
        bookmark = bookmark.reopen(plan.listed, pending[0])
        files = bookmark.pending(plan.listed, settings.lookback, settings.start)
    again = tuple(file for file in files if file.id not in known)
    return replace(plan, files=tuple(files), bookmark=bookmark, again=again)


def waiting_for(plan: Plan, unsettled: Iterable[ExportFile], lead: timedelta) -> Plan:
    """The plan in which files wait for older ones that are still being written.

    Args:
        plan: What would be read otherwise.
        unsettled: The files that are still being written.
        lead: How much later a file may be generated that does not wait; zero to keep the order.
    """
    found = sorted(unsettled, key=_place)
    if not found:
        return plan
    first = found[0]

    def is_ready(file: ExportFile) -> bool:
        """True if a file need not wait."""
        return _place(file) < _place(first) or file.generated_at - first.generated_at < lead

    return replace(
        plan,
        files=tuple(filter(is_ready, plan.files)),
        again=tuple(filter(is_ready, plan.again)),
        waiting=tuple(file for file in plan.files if not is_ready(file)),
        unsettled=tuple(found),
    )


def _place(file: ExportFile) -> tuple[datetime, str]:
    """A file's place in the order in which files are read."""
    return file.generated_at, file.id


def listed_since(
    stream: str, state: Mapping[str, Any], settings: Settings, now: datetime
) -> datetime | None:
    """The time since when files are listed, where they are listed by date; None for all.

    Args:
        stream: Name of the stream.
        state: The stream's part of the state; empty for none.
        settings: First date and lookback.
        now: The run's clock.

    Raises:
        StateError: The state cannot be read.
    """
    reached = [read_bookmark(state, now, stream).generated_at, last_date(state)]
    newest = max((moment for moment in reached if moment), default=None)
    since = None if newest is None else earlier(newest, settings.lookback)
    return max((moment for moment in (since, settings.start) if moment), default=None)


def last_date(state: Mapping[str, Any]) -> datetime | None:
    """The newest date that a run had listed when it read the last of a stream's files."""
    # A run that started from scratch and died may have been merged into an older state.
    value = None if state.get("from_scratch") is True else state.get("listed_to")
    try:
        return None if value is None else parse_generation(value)
    except (TypeError, ValueError):
        return None


def plan_columns(known: Known, sample: Sample) -> Columns:
    """The columns of a run whose pending files were sampled."""
    columns = known.resolve(sample)
    return columns if sample.columns or known.pinned else known.certain(columns)
