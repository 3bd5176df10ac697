"""The steps of ``userpilot-exports doctor`` that are Userpilot's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from filetap.people.doctor import doctor_command
from filetap.people.examination import Finding
from filetap.people.steps import STEPS as COMMON
from filetap.wording import counted
from tap_userpilot.exports import UserpilotExports

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

    from filetap.people.cli import Program
    from filetap.people.examination import Examination, Step


def _jobs(examination: Examination) -> Finding:
    """List the export jobs, with which the key and the plan are checked."""
    transport = examination.tap.transport
    if not isinstance(transport, UserpilotExports):
        return Finding("not listed", skipped=True)
    jobs = transport.jobs()
    running = next((job for job in jobs if job.is_running), None)
    detail = f"the API accepts the key; {counted(len(jobs), 'job')} in the last days"
    if running:
        detail += f", of which {running.id} is running"
        return Finding(detail, "a run waits for it, up to job_wait")
    return Finding(detail)


STEPS: Final[Mapping[str, Step]] = {
    "settings": COMMON["settings"],
    "jobs": _jobs,
    **{name: step for name, step in COMMON.items() if name != "settings"},
}


def doctor(program: Program) -> click.Command:
    """The command ``doctor``."""
    return doctor_command(program, STEPS)
