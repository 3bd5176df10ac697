"""What a vendor's API must do so that its exports can be made on request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from filetap.files import Transport

if TYPE_CHECKING:
    from datetime import datetime

    from filetap.files import ExportFile
    from filetap.jobs.windows import Schedule, Window


_SPAN: Final = re.compile(r"(?i)range|span|window|period|interval|days|hours")
_TOO_LONG: Final = re.compile(
    r"(?i)too (?:long|large|wide|big)|exceed|maximum|at most|longer|limit|(?:less|more) than|up to"
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job that makes the files of one window.

    Attributes:
        stream: Stream whose rows it exports.
        id: The vendor's id.
        window: The window whose rows are kept.
        asked: Where all that was due ended when it was requested; None if that is now.
    """

    stream: str
    id: str
    window: Window
    asked: datetime | None = None

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.stream}: job {self.id} for {self.window}"


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file that a job has made, and what is promised of it.

    Attributes:
        file: The file. Its id is the job's, or begins with it and a slash, so that another job's
            file has another key; its generation is when the job was requested.
        size: Bytes, as stored or decompressed; None if not stated.
        rows: Data rows, or one more if the header row counts; None if not stated. A file of no
            rows may not exist.
        note: What the vendor's support needs to find the response; ends an error's text.
        shifting: True if a later run may find another file of the job under this id; a run that
            resumes the job reads such a file from its beginning, whatever was read of it.
    """

    file: ExportFile
    size: int | None = None
    rows: int | None = None
    note: str = ""
    shifting: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """The job has not ended.

    Attributes:
        status: The vendor's word for how far it is.
        note: What the vendor's support needs to find the response; ends an error's text.
    """

    status: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """The job has ended, and all of its files can be downloaded.

    Attributes:
        files: In the order in which they are read; none for a window without rows.
    """

    files: tuple[MadeFile, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """The job failed, expired or no longer exists: it must be requested again.

    Attributes:
        reason: Why, in words that follow "the job".
        note: What the vendor's support needs to find the response; ends an error's text.
    """

    reason: str
    note: str = ""


def finds_too_long(said: str) -> bool:
    """True if what a vendor says about a refused request is that its span is too long."""
    return bool(_SPAN.search(said) and _TOO_LONG.search(said))


Outcome = Running | Ready | Lost


class JobSource(Transport, Protocol):
    """A vendor whose exports are made on request.

    Every method may raise `TransportError`, which ends the run: AuthenticationError at once,
    transient errors only after the source has retried them itself.

    As a `Transport` it lists the files that jobs have made, for people's commands. Its ``fetch``
    raises two errors of jobs: `NotReadyError` if the job has not ended after all, and
    `FileGoneError` if it must be requested again.
    """

    def schedule(self, stream: str) -> Schedule:
        """What is due, by the vendor's clock; called once a stream and run."""

    def fingerprint(self, stream: str) -> str:
        """A text that changes when the same window would be requested differently."""

    def find(self, stream: str, window: Window) -> Job | None:
        """A job of this window that need not be requested again; None if there is none.

        Called before `request`, for a job that was requested by a run that did not get to note
        it. A source that cannot recognise its own jobs returns None.
        """

    def request(self, stream: str, window: Window) -> Job:
        """Request a job, waiting for others to end if the vendor allows only one at a time.

        Raises:
            TooLongError: The vendor accepts only shorter spans.
        """

    def poll(self, job: Job) -> Outcome:
        """How far a job is; also one of an earlier run, of which the id is all that is known."""
