"""Export jobs of an emulated Userpilot, which a clock moves."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from filetap.testing.storage import StoredFile
from tap_userpilot.documented import EVENT_TYPES
from tap_userpilot.emulated_files import Form

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tap_userpilot.sample_data import Event

JOB_LIFE = timedelta(days=3)


@dataclass
class EmulatedJob:
    """A job.

    Attributes:
        id: Its id.
        request: What it was asked for.
        started: When it was asked for.
        takes: How long it runs; None for ever.
        fails: True if it fails in the end.
        lacks: How many requests see it completed without one of its chunks.
        foreign: True if somebody else asked for it.
        files: Its files, once it has ended: of one name, perhaps several.
    """

    id: str
    request: Mapping[str, Any]
    started: datetime
    takes: timedelta | None
    fails: bool = False
    lacks: int = 0
    foreign: bool = False
    files: list[tuple[str, StoredFile]] | None = None


@dataclass
class Jobs:
    """What the application was asked to export; one job at a time runs.

    Attributes:
        events: Every event there is; a test may add some.
        form: How files are written.
        takes: How long a new job runs; None for ever.
        running: What a running job's status may be, one after the other.
        fail_next: How many of the next jobs fail.
        lack_next: How many requests see the next jobs completed without one of their chunks.
        inclusive: True if the last day is exported.
        zone: The hours by which the days of requests are ahead of UTC.
        formats: Names of formats that are accepted.
        types: Types of events that are accepted.
        longest: Days of the longest range that is accepted; None for any.
        as_csv: True to export CSV whatever is asked for.
        lagging: True if ``progress`` stays behind.
        without_files: Of a job without events: ``empty`` or ``missing`` list of files.
        made: Every job so far.
    """

    events: list[Event] = field(default_factory=list)
    form: Form = field(default_factory=Form)
    takes: timedelta | None = timedelta()
    running: Sequence[str] = ("in_progress",)
    fail_next: int = 0
    lack_next: int = 0
    inclusive: bool = True
    zone: float = 0.0
    formats: Sequence[str] = ("json", "csv")
    types: Sequence[str] = EVENT_TYPES
    longest: int | None = None
    as_csv: bool = False
    lagging: bool = True
    without_files: str = "empty"
    made: list[EmulatedJob] = field(default_factory=list)

    def fault(self, request: Mapping[str, Any], now: datetime) -> str:
        """What is wrong with a request; empty if nothing is."""
        try:
            first, last = (date.fromisoformat(request[name]) for name in ("from", "to"))
        except (KeyError, ValueError, TypeError):
            return "from and to must be dates"
        if first > last:
            return "from is after to"
        if last > now.date() + timedelta(days=1):
            return "to is in the future"
        if self.longest and (last - first).days >= self.longest:
            return f"the range must not exceed {self.longest} days"
        if request.get("format", "json") not in self.formats:
            return f"format must be one of {', '.join(self.formats)}"
        unknown = [kind for kind in request.get("event_type") or [] if kind not in self.types]
        return f"event_type has unknown values: {', '.join(unknown)}" if unknown else ""

    def active(self, now: datetime) -> EmulatedJob | None:
        """The job that is running; None if there is none."""
        return next((job for job in self.made if not self.has_ended(job, now)), None)

    def has_ended(self, job: EmulatedJob, now: datetime) -> bool:
        """True if a job has ended, well or not."""
        return job.takes is not None and now >= job.started + job.takes

    def start(
        self, request: Mapping[str, Any], now: datetime, *, foreign: bool = False
    ) -> EmulatedJob:
        """Start a job, whatever runs."""
        job = EmulatedJob(str(uuid.uuid4()), request, now, self.takes, foreign=foreign)
        if not foreign:
            job.fails = self.fail_next > 0
            self.fail_next -= job.fails
            job.lacks = self.lack_next
        self.made.append(job)
        return job

    def find(self, job_id: str, now: datetime) -> EmulatedJob | None:
        """A job that is still described; None for any other."""
        return next((job for job in self.listed(now) if job.id == job_id), None)

    def listed(self, now: datetime) -> list[EmulatedJob]:
        """The jobs that are still described."""
        return [job for job in self.made if now < job.started + JOB_LIFE]

    def summary(self, job: EmulatedJob, now: datetime) -> dict[str, Any]:
        """A job as the list shows it."""
        ended = self.has_ended(job, now)
        count = len(self.chunks(job))
        words = self.running[int(now.timestamp()) % len(self.running)]
        status = ("failed" if job.fails else "completed") if ended else words
        found = {
            "job_id": job.id,
            "status": status,
            "progress": f"{count // 2 if self.lagging else count} out of {count} partitions",
            "start_time": job.started.astimezone(UTC).replace(tzinfo=None).isoformat(),
        }
        if ended:
            seconds = int((job.takes or timedelta()).total_seconds())
            end = job.started + timedelta(seconds=seconds)
            found |= {"end_time": f"{end.replace(tzinfo=None).isoformat()}Z"}
            found |= {"elapsed_time": f"{seconds} seconds", "elapsed_time_seconds": str(seconds)}
        return found

    def chunks(self, job: EmulatedJob) -> list[str]:
        """The months of a job's days."""
        first, end = self._span(job.request)
        days = (first + timedelta(days=n) for n in range((end - first).days))
        months = dict.fromkeys(f"{day:%Y-%m-01}" for day in days)
        return list(months) or [f"{first:%Y-%m-01}"]

    def export(self, job: EmulatedJob) -> list[tuple[str, StoredFile]]:
        """The files of a job that has ended, as things are when they are first asked for."""
        if job.files is None:
            as_csv = self.as_csv or job.request.get("format") == "csv"
            found = self.form.files(self._wanted(job.request), as_csv=as_csv)
            job.files = [
                (name, StoredFile(key=f"{job.id}/{n}/{name}", body=body, checksum_function=""))
                for n, (name, body) in enumerate(found)
            ]
        return job.files

    def _span(self, request: Mapping[str, Any]) -> tuple[date, date]:
        """The first day of a request, and the one after its last."""
        first, last = (date.fromisoformat(request[name]) for name in ("from", "to"))
        return first, last + timedelta(days=self.inclusive)

    def _wanted(self, request: Mapping[str, Any]) -> Iterator[Event]:
        """The events that a request asks for."""
        shift = timedelta(hours=self.zone)
        start, end = (datetime.combine(day, time(), UTC) - shift for day in self._span(request))
        filters = {
            name: set(request[name])
            for name in ("event_type", "user_id", "company_id")
            if request.get(name)
        }
        for event in self.events:
            if start <= event.at < end and all(
                event.members.get(name) in allowed for name, allowed in filters.items()
            ):
                yield event
