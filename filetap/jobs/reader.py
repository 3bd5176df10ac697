"""A stream whose exports are made on request: one window after the other, one job at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from filetap.errors import (
    FileGoneError,
    JobError,
    NotReadyError,
    SettingsError,
    TooLongError,
)
from filetap.jobs.proof import Proof
from filetap.jobs.source import Job, Lost, Ready, Running
from filetap.jobs.state import JobState, OpenJob, read_job_state, store_job_state
from filetap.jobs.windows import Window, common, first_moment, halves, outside, plan_windows
from filetap.times import format_time

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
    from typing import Any

    from filetap.columns.expected import Expected
    from filetap.download.spool import Spool, Spooled
    from filetap.jobs.source import JobSource, MadeFile
    from filetap.jobs.windows import Schedule
    from filetap.settings import Settings
    from filetap.vendor import StreamSpec

MOST_AGAIN = 3  # times that a lost job is requested again
LONGEST_POLL = 60.0  # seconds
_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Delivery:
    """A window whose files are on disk and proven; none of its rows has been emitted in this run.

    Attributes:
        job: The job that made them.
        files: Those whose rows are still to be emitted, in order.
    """

    job: Job
    files: tuple[Spooled, ...]

    def close(self) -> None:
        """Free the disk space."""
        for spooled in self.files:
            spooled.close()


class JobReader:
    """Requests a stream's windows, and keeps the state of what was read of them.

    Args:
        spec: The stream.
        source: Makes the files.
        spool: Downloads them.
        settings: Polling, time limit, pauses.
        logger: The stream's.

    Attributes:
        reached: How far the stream has been read.
        rereads: True to download files whose rows were emitted by an earlier run, too.
    """

    def __init__(
        self,
        spec: StreamSpec,
        source: JobSource,
        spool: Spool,
        settings: Settings,
        logger: logging.Logger,
    ) -> None:
        self.reached = JobState()
        self.rereads = False
        self._spec = spec
        self._stream = spec.name
        self._source = source
        self._spool = spool
        self._settings = settings
        self._log = logger
        self._proof = Proof(logger)
        self._fingerprint = ""
        self._schedule: Schedule  # from `plan` on

    def plan(self, state: Mapping[str, Any], *, incremental: bool = True) -> Sequence[Window]:
        """The windows that are read, in order; no job is requested yet.

        Args:
            state: The stream's part of the state; empty for none.
            incremental: False to read everything again, whatever the state says.

        Raises:
            SettingsError: It is not known where to begin.
            StateError: The state cannot be read.
        """
        reached = read_job_state(state, self._spec)
        self.reached = reached if incremental else JobState(closed=reached.closed)
        if self.reached.bookmark is None and self._settings.start is None:
            msg = f"{self._stream}: no start_date, which the first run needs"
            raise SettingsError(msg, "set start_date, for example 2026-05-14T00:00:00Z")
        self._fingerprint = self._source.fingerprint(self._stream)
        before = state.get("fingerprint")
        if before and before != self._fingerprint and self.reached.bookmark:
            message = "%s: what is requested has changed; rows up to %s were requested differently"
            self._log.warning(message, self._stream, format_time(self.reached.bookmark))
        job = self.reached.job
        opened = job.window if job and job.fingerprint == self._fingerprint else None
        self._schedule = self._source.schedule(self._stream)
        reached = self.reached
        windows = plan_windows(self._schedule, reached.bookmark, opened, reached.again)
        if job and windows[:1] != [opened]:
            self._log.info("%s: job %s is not needed any more", self._stream, job.id)
            self.reached = replace(self.reached, job=None, file="", rows=0, closed=job.id)
        return windows

    def deliver(
        self,
        windows: Sequence[Window],
        expected: Callable[[], Expected],
        save: Callable[[], object],
    ) -> Iterator[Delivery]:
        """Have the files of each window made, download them all, and prove them.

        A window that the vendor finds too long is halved, and so are those after it.

        Args:
            windows: The windows, in order; each must be finished before the next is requested.
            expected: Returns what files of the stream hold, as far as that is known by then.
            save: Writes STATE; called after each request.

        Raises:
            JobError: The job failed each time it was requested, or has not ended in time.
            IntegrityError: A file is not as promised, even after a second download.
            TransportError: The vendor cannot be reached, or refuses.
        """
        left, longest = list(windows), timedelta.max
        while left:
            window = left.pop(0)
            parts = halves(window, self._schedule.unit)
            fits = window.end - window.start <= longest or len(parts) == 1
            delivery = None
            if fits:
                try:
                    delivery = self._delivered(window, expected(), save)
                except TooLongError as error:
                    if len(parts) == 1:
                        raise
                    self._log.warning("%s; requesting half of it", error.message)
                    longest = max(part.end - part.start for part in parts)
            if delivery:
                yield delivery
            else:
                left[:0] = parts

    def _delivered(
        self, window: Window, expected: Expected, save: Callable[[], object]
    ) -> Delivery:
        """One window's files; raises as `deliver` does."""
        job = self._opened(window)
        for again in range(MOST_AGAIN + 1):
            if job is None:
                job = self._request(window)
                save()
            result = self._attempt(job, expected)
            if isinstance(result, Delivery):
                return result
            lost, job = f"{job}: the job {result.reason}", None
            note = result.note
            if again < MOST_AGAIN:
                self._log.warning("%s; requesting it again%s", lost, note and f"; {note}")
        msg = f"{lost}; it was requested again {MOST_AGAIN} times"
        hint = "run again later, or ask the vendor: the state is kept"
        raise JobError(msg, f"{hint}; {note}" if note else hint)

    def store(self, state: MutableMapping[str, Any]) -> None:
        """Put how far the stream has been read into its part of the state."""
        store_job_state(state, self.reached)
        state["fingerprint"] = self._fingerprint

    def rows_read(self, spooled: Spooled) -> int:
        """Rows of a file that an earlier run emitted before it stopped."""
        return self.reached.rows if self.reached.file == spooled.file.key else 0

    def is_done(self, spooled: Spooled) -> bool:
        """True if an earlier run emitted all rows of a file."""
        job = self.reached.job
        return job is not None and spooled.file.key in job.files_done

    def reach(self, spooled: Spooled, rows: int) -> None:
        """Note that the first *rows* rows of a file have been emitted."""
        self.reached = replace(self.reached, file=spooled.file.key, rows=rows)

    def finish_file(self, spooled: Spooled) -> None:
        """Note that all rows of a file have been emitted."""
        if job := self.reached.job:
            done = replace(job, files_done=(*job.files_done, spooled.file.key))
            self.reached = replace(self.reached, job=done, file="", rows=0)

    def finish(self, delivery: Delivery) -> None:
        """Move the bookmark past a window, and remove its job."""
        window, bookmark = delivery.job.window, self.reached.bookmark
        # A window that is read again lies before the bookmark.
        bookmark = max(bookmark or window.end, window.end)
        again = [rest for span in self.reached.again for rest in outside(span, [window])]
        again += self._stale(window)
        self.reached = JobState(bookmark, closed=delivery.job.id, again=tuple(again))

    def _stale(self, window: Window) -> Sequence[Window]:
        """What of a window must be read once more, because of when its job was requested.

        The run that requested the job would have left that to the lookback of the next one; after
        this run, that lookback begins later.
        """
        job = self.reached.job
        if job is None or job.asked is None or job.asked >= self._schedule.end:
            return ()
        then, now = (first_moment(self._schedule, end) for end in (job.asked, self._schedule.end))
        return common(window, Window(then or window.start, now or window.end))

    def _opened(self, window: Window) -> Job | None:
        """The open job, if it is this window's."""
        job = self.reached.job
        if job is None or job.window != window:
            return None
        self._log.info("%s: job %s for %s is resumed", self._stream, job.id, window)
        return Job(self._stream, job.id, window)

    def _request(self, window: Window) -> Job:
        """Find or request a job, which is then the open one."""
        job = self._source.find(self._stream, window)
        verb = "found" if job else "requested"
        job = job or self._source.request(self._stream, window)
        self._log.info("%s: %s", job, verb)
        asked = min(self._schedule.end, job.asked or self._schedule.end)
        opened = OpenJob(job.id, window, self._fingerprint, asked=asked)
        self.reached = replace(self.reached, job=opened, file="", rows=0)
        return job

    def _attempt(self, job: Job, expected: Expected) -> Delivery | Lost:
        """Wait until a job has ended, and download its files.

        Raises:
            JobError: It has not ended in time.
        """
        settings = self._settings
        deadline = time.monotonic() + settings.job_timeout
        pause = settings.poll
        while True:
            outcome = self._source.poll(job)
            if isinstance(outcome, Lost):
                return outcome
            if isinstance(outcome, Ready):
                try:
                    return self._download(job, outcome.files, expected)
                except NotReadyError as error:
                    outcome = Running("not ready for download", error.hint)
                except FileGoneError as error:
                    return Lost(f"has no file any more ({error.message})", error.hint)
            left = deadline - time.monotonic()
            if left <= 0:
                msg = f"{job}: still {outcome.status} after {settings.job_timeout:g} seconds"
                hint = "run again to go on waiting for it, or raise job_timeout"
                raise JobError(msg, f"{hint}; {outcome.note}" if outcome.note else hint)
            self._log.debug("%s: %s", job, outcome.status)
            settings.retries.pause(min(pause, left))
            pause = max(pause, min(pause * _GROWTH, LONGEST_POLL))

    def _download(self, job: Job, files: Sequence[MadeFile], expected: Expected) -> Delivery:
        """All files of a job that were not read before, downloaded and proven.

        Raises:
            FileGoneError: One of them can no longer be downloaded.
            NotReadyError: The job has not ended after all.
        """
        self.reached = self.reached.without({made.file.key for made in files if made.shifting})
        opened = self.reached.job
        done = opened.files_done if opened else ()
        download = partial(self._spool.download, self._source)
        found: list[Spooled] = []
        try:
            for made in files:
                if made.file.key in done and not self.rereads:
                    continue
                try:
                    spooled = self._proof.proven(made, expected, partial(download, made.file))
                except FileGoneError:
                    if made.rows != 0:  # a file without rows need not exist
                        raise
                    continue
                if any(_are_same(spooled, other) for other in found):
                    self._log.warning("%s: the job has this file twice; read once", made.file)
                    spooled.close()
                else:
                    found.append(spooled)
        except BaseException:
            for spooled in found:
                spooled.close()
            raise
        return Delivery(job, tuple(found))


def _are_same(one: Spooled, other: Spooled) -> bool:
    """True if two files of a job have one name and the same bytes."""
    return one.file.file_name == other.file.file_name and one.content == other.content
