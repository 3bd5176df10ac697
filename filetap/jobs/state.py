"""A job stream's part of the state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from filetap.bookmark_state import check_replication_key
from filetap.errors import STATE_HINT, StateError
from filetap.jobs.windows import Window
from filetap.times import format_time, parse_generation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, MutableMapping
    from datetime import datetime

    from filetap.vendor import StreamSpec


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job whose rows have not all been emitted.

    Attributes:
        id: The vendor's id.
        window: Its window.
        fingerprint: How it was requested.
        files_done: Keys of its files whose rows were emitted.
        asked: Where all that was due ended when it was requested; None if that is not known.
    """

    id: str
    window: Window
    fingerprint: str
    files_done: tuple[str, ...] = ()
    asked: datetime | None = None


@dataclass(frozen=True, slots=True)
class JobState:
    """How far a stream has been read.

    Attributes:
        bookmark: End of the windows that were finished; None before the first.
        job: The open job; None if there is none.
        file: Key of the file that was being read; empty for none.
        rows: Rows of that file that were read.
        closed: Id of the job that was finished last. Meltano merges the states of runs that
            died and never removes a member, so that a finished job may come back.
        again: Spans that must be read once more: the job of each had been requested by an earlier
            run than the one that read it, and what arrived in between is not in its files.
    """

    bookmark: datetime | None = None
    job: OpenJob | None = None
    file: str = ""
    rows: int = 0
    closed: str = ""
    again: tuple[Window, ...] = ()

    def without(self, keys: Collection[str]) -> JobState:
        """The state without what was read of some files of the open job."""
        job = self.job and replace(
            self.job, files_done=tuple(key for key in self.job.files_done if key not in keys)
        )
        if self.file in keys:
            return replace(self, job=job, file="", rows=0)
        return replace(self, job=job)


def read_job_state(state: Mapping[str, Any], spec: StreamSpec) -> JobState:
    """How far a stream was read, from its part of the state; empty for none.

    Raises:
        StateError: The state cannot be read, or its replication key is another one.
    """
    try:
        check_replication_key(state, spec.times, spec.name)
        value = state.get("replication_key_value")
        last = state.get("in_progress") or {"file": "", "rows": 0}
        closed = str(state.get("closed_job") or "")
        job = _open_job(state) if state.get("job") else None
        rows = last["rows"]
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < 0:
            raise ValueError  # noqa: TRY301 - as other values that cannot be read
        return JobState(
            parse_generation(value) if value else None,
            None if job and job.id == closed else job,
            str(last["file"]),
            rows,
            closed,
            tuple(_window(span) for span in state.get("read_again") or ()),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        msg = f"{spec.name}: the state's job or bookmark cannot be read"
        raise StateError(msg, STATE_HINT) from None


def _open_job(state: Mapping[str, Any]) -> OpenJob:
    """The job in a state; raises as `read_job_state` does before it is caught."""
    job, asked = state["job"], state.get("job_asked")
    return OpenJob(
        str(job["id"]),
        _window(job),
        str(job.get("fingerprint") or ""),
        tuple(map(str, job.get("files_done") or ())),
        parse_generation(asked) if asked else None,
    )


def _window(span: Mapping[str, Any]) -> Window:
    """A span in a state; raises likewise."""
    return Window(parse_generation(span["from"]), parse_generation(span["to"]))


def store_job_state(state: MutableMapping[str, Any], reached: JobState) -> None:
    """Put how far a stream has been read into its part of the state."""
    if reached.bookmark:
        state["replication_key_value"] = format_time(reached.bookmark)
    state.pop("job", None)
    state.pop("job_asked", None)
    if job := reached.job:
        state["job"] = {
            "id": job.id,
            **_span(job.window),
            "fingerprint": job.fingerprint,
            "files_done": list(job.files_done),
        }
        if job.asked:
            state["job_asked"] = format_time(job.asked)
    if reached.again or state.get("read_again"):
        state["read_again"] = [_span(window) for window in reached.again]
    # Empty, not absent: Meltano never removes a member.
    state["in_progress"] = {"file": reached.file, "rows": reached.rows}
    state["closed_job"] = reached.closed


def _span(window: Window) -> dict[str, str]:
    """A window as states name it."""
    return {"from": format_time(window.start), "to": format_time(window.end)}
