"""The steps of ``firstup-dde doctor`` that are Firstup's own."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

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
from filetap.times import utc_now
from filetap.transports.connection import bare_session
from filetap.transports.http import http_date, send
from tap_firstup_dde.api import URL_HINT, Connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

    from filetap.people.cli import Program
    from filetap.people.examination import Examination, Step
    from tap_firstup_dde.api import FirstupTransport

# With a larger difference, a token or a presigned URL may expire earlier than expected.
_SKEW = timedelta(minutes=5)


def _connection(examination: Examination) -> Connection | None:
    """How the API is reached; None if files are read from a folder."""
    source = examination.tap.settings.source
    return source if isinstance(source, Connection) else None


def _settings(examination: Examination) -> Finding:
    """Check the settings, and report how the API is reached."""
    found = check_settings(examination)
    api = _connection(examination)
    if api is None:
        return found
    credentials = "a ready-made token" if api.access_token else "client credentials"
    return Finding(f"complete; {credentials}, region {api.region}, {api.api_url}")


def _host(examination: Examination) -> Finding:
    """Connect to the API's and the authorisation server's host, and read their clocks."""
    api = _connection(examination)
    if api is None:
        return Finding("not needed: files are read from a folder", skipped=True)
    hosts: dict[str, None] = {}
    timeout = examination.tap.settings.timeout
    for url in dict.fromkeys((api.api_url, api.auth_url)):
        with bare_session() as session:
            before = utc_now()
            what = f"the host of {url}"
            response = send(session, "GET", url, what, hint=URL_HINT, timeout=timeout)
            if there := http_date(response.headers.get("Date") or ""):
                examination.skew = there - before
        hosts[urlsplit(url).hostname or url] = None
    return Finding(f"{' and '.join(hosts)} can be reached")


def _clock(examination: Examination) -> Finding:
    """Compare the clocks."""
    skew = examination.skew
    if skew is None:
        return Finding("no server stated the time", skipped=True)
    detail = f"this machine's clock and Firstup's are {abs(skew.total_seconds()):.0f} s apart"
    return Finding(detail, "set this machine's clock" if abs(skew) > _SKEW else "")


def _token(examination: Examination) -> Finding:
    """Request a token."""
    api = _connection(examination)
    if api is None:
        return Finding("not needed: files are read from a folder", skipped=True)
    cast("FirstupTransport", examination.tap.transport).authorise()
    return Finding("from the settings" if api.access_token else "issued for the client")


def _lists(examination: Examination) -> Finding:
    """List the files of each type; a missing scope is detected here."""
    found = check_lists(examination)
    if examination.stock or not _connection(examination) or examination.tap.transport.account:
        return found
    doubt = "check api_url and region: no response names the program"
    return replace(found, hint=f"{doubt}; or {found.hint}")


STEPS: Final[Mapping[str, Step]] = {
    "settings": _settings,
    "host": _host,
    "clock": _clock,
    "token": _token,
    "scope and lists": _lists,
    "program": check_owner,
    "pending": check_pending,
    "presigned URL": check_sizes,
    **CONTENT,
}


def doctor(program: Program) -> click.Command:
    """The command ``doctor``."""
    return doctor_command(program, STEPS)
