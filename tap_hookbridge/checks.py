"""The steps of ``hookbridge-exports doctor`` that are HookBridge's own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from filetap.people.doctor import doctor_command
from filetap.people.examination import Finding
from filetap.people.steps import (
    CONTENT,
    check_lists,
    check_owner,
    check_pending,
    check_settings,
    check_sizes,
)
from filetap.times import format_time, utc_now
from filetap.transports.connection import bare_session
from filetap.transports.http import http_date, send
from tap_hookbridge.responses import URL_HINT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

    from filetap.people.cli import Program
    from filetap.people.examination import Examination, Step

# With a larger difference, what is requested as the newest surprises.
_SKEW: Final = timedelta(minutes=5)


def _settings(examination: Examination) -> Finding:
    """Check the settings, and report what a first run would request."""
    found = check_settings(examination)
    start = examination.tap.settings.start
    if start is None:
        return Finding(found.detail, "a first run needs start_date")
    return Finding(f"{found.detail}, from {format_time(start)} on")


def _host(examination: Examination) -> Finding:
    """Connect to the API's host without the key, and compare the clocks."""
    settings = examination.tap.settings
    with bare_session() as session:
        before, url = utc_now(), settings.source.api_url
        what = f"the host of {url}"
        response = send(
            session, "GET", url, what, hint=URL_HINT, timeout=settings.timeout, refusals=True
        )
    there = http_date(response.headers.get("Date") or "")
    detail = f"{examination.tap.transport.describe()} can be reached"
    if there is None:
        return Finding(f"{detail}; it does not state the time")
    examination.skew = there - before
    seconds = abs(examination.skew.total_seconds())
    hint = "set this machine's clock" if abs(examination.skew) > _SKEW else ""
    return Finding(f"{detail}; its clock and this machine's are {seconds:.0f} s apart", hint)


STEPS: Final[Mapping[str, Step]] = {
    "settings": _settings,
    "host": _host,
    "key and lists": check_lists,
    "project": check_owner,
    "pending": check_pending,
    "sizes": check_sizes,
    **CONTENT,
}


def doctor(program: Program) -> click.Command:
    """The command ``doctor``."""
    return doctor_command(program, STEPS)
