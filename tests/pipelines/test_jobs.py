"""Exports that are made on request, through the real Meltano and target-postgres.

CI makes one run of each tap; with ``--pipeline-runs 10``, every other one is killed.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tap_userpilot.documented import EVENTS
from tap_userpilot.emulated_files import Form, event_number
from tap_userpilot.sample_data import events_of
from tests import ROOT
from tests.hookbridge import vendor as hookbridge
from tests.loaders import Postgres, in_meltano
from tests.project import UNTIL_CUT, Project
from tests.userpilot import vendor as userpilot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from filetap.testing.server import LocalServer

logger = logging.getLogger(__name__)

OPTIONS = ("--force", "--no-install")  # Meltano treats a killed run as active for five minutes
LINES = 400  # that a run writes at least

# Starts the tap as `meltano run` does; a run is killed after the lines in `cut`.
TAP = """#!{python}
import os, pathlib, subprocess, sys
cut = pathlib.Path(__file__).with_name("cut")
lines = 0
if cut.exists() and not {{"--discover", "--version"}} & set(sys.argv):
    lines = int(cut.read_text())
    cut.unlink()
tap = subprocess.Popen(
    [sys.executable, "-m", {module!r}, *sys.argv[1:]],
    env={{**os.environ, "PYTHONPATH": {root!r}}},
    stdout=subprocess.PIPE if lines else None,
)
"""


class Vendor(Protocol):
    """A vendor, and what it should have made of a table."""

    tap: str
    stream: str
    server: LocalServer

    @property
    def settings(self) -> Mapping[str, Any]:
        """The tap's settings."""

    def day(self, chance: random.Random) -> None:
        """Let a day pass, with rows, late ones among them, and something that goes wrong."""

    def truth(self) -> dict[str, Any]:
        """Key → the rest, of all rows that are due."""

    def loaded(self, loader: Postgres) -> Iterator[tuple[str, Any]]:
        """The same of each row of the table."""


class Userpilot:
    """Events, which arrive up to two days late."""

    tap, stream = "tap-userpilot", EVENTS

    def __init__(self) -> None:
        self.server = userpilot.emulated(6, 150, form=Form(shuffled=True))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The tap's settings."""
        return userpilot.settings(self.server, window_days=4, poll_seconds=1)

    def day(self, chance: random.Random) -> None:
        """Let a day pass; jobs fail, links expire, and somebody else's job is in the list."""
        jobs, today = self.server.jobs, self.server.now().date()
        jobs.events += events_of(today, 150)
        for late in (1, 2):
            jobs.events += events_of(today - timedelta(late), 5, seed=chance.randrange(10**9))
        self.server.now.move(days=1)  # type: ignore[attr-defined]
        jobs.fail_next = chance.randrange(3)
        self.server.bucket.fail("download", status=403)
        jobs.start({"from": "2026-01-01", "to": "2026-01-02"}, self.server.now(), foreign=True)

    def truth(self) -> dict[str, Any]:
        """Id → type, session and metadata, of the events of whole days."""
        today = self.server.now().date()
        return {
            str(event_number(event)): _marks(event.members, json.loads(event.metadata))
            for event in self.server.jobs.events
            if event.at.date() < today
        }

    def loaded(self, loader: Postgres) -> Iterator[tuple[str, Any]]:
        """The same of each row of the table."""
        for row in loader.query(f"select * from {loader.schema}.{EVENTS}"):  # noqa: S608 - ours
            yield row["internal_event_id"], _marks(row, row["metadata"])


def _marks(members: Mapping[str, Any], metadata: Any) -> tuple[Any, ...]:
    """What tells an event apart, beside its id."""
    return (members["event_type"], members["user_id"], members["session"], metadata)


class HookBridge:
    """Messages, whose statuses change for three days."""

    tap, stream = "tap-hookbridge", hookbridge.OUT

    def __init__(self) -> None:
        self.server = hookbridge.emulated(0)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The tap's settings."""
        return hookbridge.settings(self.server, status_lookback_days=3, poll_seconds=1)

    def day(self, chance: random.Random) -> None:
        """Let a day pass; statuses change, jobs fail or expire, and links die."""
        now = self.server.now()
        for row in self.server.messages["outbound"]:
            recent = row["created_at"] > f"{now - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"
            if recent and chance.random() < 0.3:
                row["status"] = chance.choice(["succeeded", "failed_permanent", "pending_retry"])
        for second in range(0, 86_100, 150):
            self.server.add("outbound", now + timedelta(seconds=second), status="queued")
        self.server.now.move(days=1)  # type: ignore[attr-defined]
        self.server.failing, self.server.expiring = chance.randrange(3), chance.randrange(2)
        self.server.store.fail("download", status=403)

    def truth(self) -> dict[str, Any]:
        """Id → status."""
        return {row["message_id"]: row["status"] for row in self.server.messages["outbound"]}

    def loaded(self, loader: Postgres) -> Iterator[tuple[str, Any]]:
        """The same of each row of the table."""
        for row in loader.rows(self.stream):
            yield str(row["message_id"]), str(row["status"])


@pytest.fixture(params=[Userpilot, HookBridge])
def vendor(request: pytest.FixtureRequest) -> Iterator[Vendor]:
    """Each vendor, whose server runs."""
    made: Vendor = request.param()
    with made.server:
        yield made


def _project(folder: Path, vendor: Vendor, loader: Postgres) -> Project:
    """A project that loads one stream with the tap of this repository."""
    project = Project(folder, {vendor.tap: {**vendor.settings}, loader.NAME: loader.config})
    program = folder / "tap"
    module = vendor.tap.replace("-", "_")
    text = TAP.format(python=sys.executable, module=module, root=str(ROOT))
    program.write_text(text + UNTIL_CUT)
    program.chmod(0o755)
    project.plugin(vendor.tap).update(executable=str(program), select=[f"{vendor.stream}.*"])
    project.write()
    return project


def test_runs(vendor: Vendor, database: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """After each whole run the table is right, whatever fails, and though runs are killed."""
    loader = Postgres(tmp_path, database, in_meltano(Postgres.NAME))
    project = _project(tmp_path, vendor, loader)
    chance = random.Random(pytestconfig.getoption("--seed"))
    blocks = ("run", *OPTIONS, vendor.tap, loader.NAME)

    def check(*, whole: bool) -> None:
        there = [*vendor.loaded(loader)] if loader.columns(vendor.stream) else []
        assert len({key for key, _ in there}) == len(there)
        wanted = vendor.truth()
        assert {key for key, _ in there} <= {*wanted}
        assert not whole or dict(there) == wanted

    for number in range(pytestconfig.getoption("--pipeline-runs")):
        is_killed = number % 2 == 1
        if is_killed or not number:  # what an old job has is corrected one run later
            vendor.day(chance)
        begun = time.monotonic()
        if not is_killed:
            assert project.run(*blocks) == 0, project.log[-6000:]
        elif number % 4 == 1:
            (tmp_path / "cut").write_text(str(chance.randrange(1, LINES)))
            assert project.run(*blocks) == 1, project.log[-6000:]
            assert not (tmp_path / "cut").exists()
        else:
            meltano = project.start(*blocks)
            until = len(vendor.server.requests) + chance.randrange(3, 12)
            while meltano.poll() is None and len(vendor.server.requests) < until:
                time.sleep(0.01)
            os.killpg(meltano.pid, signal.SIGKILL)
            assert meltano.wait() != 0
        check(whole=not is_killed)
        seconds, rows = time.monotonic() - begun, len(vendor.truth())
        logger.warning("%s: run %d: %.1f s, %d rows", vendor.tap, number + 1, seconds, rows)
