"""What a run will read: the pending files of a stream, and the columns they are read into."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from filetap.bookmark import Bookmark
from filetap.bookmark_listing import reconcile
from filetap.bookmark_state import read_bookmark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

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
    """

    stream: str
    now: datetime
    incremental: bool
    listed: tuple[ExportFile, ...]
    files: tuple[ExportFile, ...]
    bookmark: Bookmark
    counted: int


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
    before = read_bookmark(state, now)
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


def plan_columns(known: Known, sample: Sample) -> Columns:
    """The columns of a run whose pending files were sampled."""
    columns = known.resolve(sample)
    return columns if sample.columns or known.pinned else known.certain(columns)
