"""The steps of ``simpplr-exports doctor`` that are Simpplr's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from filetap.people.doctor import doctor_command
from filetap.people.examination import Finding
from filetap.people.steps import STEPS as COMMON
from tap_simpplr.delivered import stream_of
from tap_simpplr.registrations import has_api, open_api

if TYPE_CHECKING:
    from collections.abc import Mapping

    import click

    from filetap.people.cli import Program
    from filetap.people.examination import Examination, Step

_WITHOUT = "api_url, client_id and client_secret are not set; the tap does not need them"


def _api(examination: Examination) -> Finding:
    """Request a token, and check that the API accepts it."""
    if not has_api(examination.tap.config):
        return Finding(_WITHOUT, skipped=True)
    open_api(examination.tap).check()
    return Finding("the API accepts the client")


def _registrations(examination: Examination) -> Finding:
    """Compare what is registered with what was delivered."""
    if not has_api(examination.tap.config):
        return Finding(_WITHOUT, skipped=True)
    found = open_api(examination.tap).registrations()
    active = {stream_of(one.entity): one.frequency for one in found if one.active}
    delivered = {entry.file.stream for entry in examination.stock}
    missing = sorted(active.keys() - delivered)
    ended = sorted(delivered - active.keys())
    doubts = [f"no file has arrived of {', '.join(missing)}"] if missing else []
    doubts += [f"no longer registered: {', '.join(ended)}"] if ended else []
    often = ", ".join(f"{stream} {frequency}" for stream, frequency in sorted(active.items()))
    return Finding(often or "none", "; ".join(doubts))


STEPS: Final[Mapping[str, Step]] = {
    "settings": COMMON["settings"],
    "API": _api,
    "lists": COMMON["lists"],
    "registrations": _registrations,
    **{name: step for name, step in COMMON.items() if name not in {"settings", "lists"}},
}


def doctor(program: Program) -> click.Command:
    """The command ``doctor``."""
    return doctor_command(program, STEPS)
