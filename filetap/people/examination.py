"""An examination: steps that each check one thing, up to the first that fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from filetap.errors import ExportError
from filetap.redaction import SECRECY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from filetap.download.spool import Spooled
    from filetap.people.inventory import Available
    from filetap.singer.tap import FileTap
    from filetap.table import KnownTable


@dataclass(frozen=True, slots=True)
class Check:
    """A step and its outcome.

    Attributes:
        name: What was checked.
        outcome: ``ok``, ``doubtful`` (it works, but look at it), ``skipped`` or ``failed``.
        seconds: How long it took.
        detail: What was found.
        hint: What to do; empty if there is nothing to do.
    """

    name: str
    outcome: str
    seconds: float
    detail: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a step found.

    Attributes:
        detail: What was found.
        hint: What to do about it; the step is doubtful then.
        skipped: True if there was nothing to check.
        failed: True if the step failed.
    """

    detail: str
    hint: str = ""
    skipped: bool = False
    failed: bool = False

    @property
    def outcome(self) -> str:
        """The outcome, as `Check` has it."""
        if self.failed or self.skipped:
            return "failed" if self.failed else "skipped"
        return "doubtful" if self.hint else "ok"


@dataclass
class Examination:
    """What the steps have found out so far; each adds to it.

    Attributes:
        open_tap: Reads and checks the settings.
        has_state: True if the tap that it opens has a state.
        tap: The tap, once the first step has opened it.
        skew: How far the server's clock is ahead of this one; None if not known.
        is_listed: True once the available files are known.
        stock: The available files.
        spooled: The newest file of each stream, once downloaded.
        tables: Their columns, once read.
    """

    open_tap: Callable[[], FileTap]
    has_state: bool
    tap: FileTap = field(init=False)
    skew: timedelta | None = None
    is_listed: bool = False
    stock: list[Available] = field(default_factory=list)
    spooled: dict[str, Spooled] = field(default_factory=dict)
    tables: dict[str, KnownTable] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """The settings; empty if they cannot be used."""
        return dict(self.tap.config) if hasattr(self, "tap") else {}

    @property
    def bookmarks(self) -> dict[str, Any]:
        """Stream → its part of the state."""
        return dict(self.tap.state.get("bookmarks", {}))

    def close(self) -> None:
        """Free the disk space."""
        for spooled in self.spooled.values():
            spooled.close()


Step = Callable[[Examination], Finding]


def examine(steps: Mapping[str, Step], examination: Examination) -> Iterator[Check]:
    """Take every step up to the first that fails.

    Args:
        steps: Name → step, in order.
        examination: What they add to; closed in the end.
    """
    with closing(examination):
        for name, step in steps.items():
            started = time.monotonic()
            try:
                found = step(examination)
            except ExportError as error:
                detail, hint, outcome = error.message, error.hint, "failed"
            except click.ClickException as error:
                detail, _, hint = error.format_message().partition("; ")
                outcome = "failed"
            else:
                detail, hint, outcome = found.detail, found.hint, found.outcome
            seconds = time.monotonic() - started
            yield Check(name, outcome, seconds, SECRECY.scrub(detail), SECRECY.scrub(hint))
            if outcome == "failed":
                return
