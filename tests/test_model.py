"""Whatever happens between runs and within them, every row leaves once: held against a model.

The model is the set of (file, row) that Firstup has offered. Runs are cut off, requests fail, files
come late, in parts, shuffled, and go; each run goes on from the last STATE that got out of the one
before. `make soak` runs ten times as many interleavings and ninety days; with
`--hypothesis-seed` and `--seed` they are the same ones again.
"""

from __future__ import annotations

import json
import logging
import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tap_firstup_dde import streams
from tap_firstup_dde.documented import KEYS
from tap_firstup_dde.exportlib import http
from tap_firstup_dde.exportlib.exceptions import ExportError
from tap_firstup_dde.exportlib.models import ExportFile, parse_generation
from tap_firstup_dde.sample_data import INTERVAL
from tap_firstup_dde.tap import TapFirstupDDE
from tests.singer import Collector
from tests.singer import settings as tap_settings

if TYPE_CHECKING:
    from singer_sdk.singerlib.encoding.simple import Message

    from tap_firstup_dde.emulator import EmulatedFile, Emulator

Row = tuple[str, str, int]  # stream, _sdc_source_file, _sdc_source_lineno

SLICE = 4  # rows between STATEs within a file
KEPT = timedelta(days=7)  # by Firstup

# What may go wrong with the next requests. Most of it passes by itself or when it is tried again;
# some of it ends the run.
FAULTS: dict[str, dict[str, Any]] = {
    "list 503": {"route": "list", "status": 503},
    "list 503 for long": {"route": "list", "status": 503, "times": 4},
    "list 429": {"route": "list", "status": 429, "headers": {"Retry-After": "0"}},
    "list 401": {"route": "list", "status": 401},
    "list 403": {"route": "list", "status": 403},
    "list 404": {"route": "list", "status": 404},
    "list dropped": {"route": "list", "drop_after": 20},
    "list is HTML": {"route": "list", "status": 200, "body": "<html>"},
    "token 500": {"route": "token", "status": 500},
    "token 401": {"route": "token", "status": 401},
    "show 500": {"route": "show", "status": 500},
    "show 404": {"route": "show", "status": 404},
    "show unanswered": {"route": "show", "drop_after": -1},
    "download 403": {"route": "download", "status": 403},
    "download 403 for long": {"route": "download", "status": 403, "times": 9},
    "download 503 burst": {"route": "download", "status": 503, "times": 2},
    "download dropped": {"route": "download", "drop_after": 30},
    "download dropped at once": {"route": "download", "drop_after": 0},
    "download dropped for long": {"route": "download", "drop_after": 0, "times": 9},
    "range ignored": {"route": "download", "ignore_range": True},
    "another range": {"route": "download", "content_range": "bytes 3-9/10"},
    "another version": {"route": "download", "etag": '"other"'},
    "bit flipped": {"route": "download", "corrupt_at": 25},
    "bits flipped for long": {"route": "download", "corrupt_at": 25, "times": 9},
    "labelled gzip": {"route": "download", "headers_extra": {"Content-Encoding": "gzip"}},
}


class Cut(BaseException):
    """A run is killed: what it wrote before is all that got out."""


class Mortal(Collector):
    """Dies once it has written some messages."""

    def __init__(self, messages: int | None) -> None:
        super().__init__()
        self._most = messages

    def write_message(self, message: Message | bytes) -> None:
        """Write, or die on the way: of a block of lines some get out."""
        super().write_message(message)
        if self._most is not None and len(self.messages) >= self._most:
            del self.messages[self._most :]
            raise Cut


class World:
    """A program that generates files, a tap that is run now and then, and what must hold."""

    def __init__(self, emulator: Emulator) -> None:
        emulator.files.clear()
        emulator.heal()
        emulator.forget()
        self.emulator = emulator
        self.moment = emulator.first_generation
        self.state: dict[str, Any] = {}
        self.offered: dict[Row, str] = {}  # with the text of its tenure
        self.covered: set[Row] = set()  # by a STATE that got out
        self._serial = 0

    @property
    def generation(self) -> str:
        """The newest generation, as Firstup writes it."""
        return f"{self.moment:%Y-%m-%d-%H}"

    def add(self, stream: str, generation: str, rows: int, *, fits: bool) -> None:
        """List a file; only if it *fits* its numbers are numbers."""
        self._serial += 1
        texts = [f"{n}" if fits else f"A{n}" for n in range(rows)]
        file = self.emulator.add(
            stream,
            generation,
            "\n".join(["user_id,tenure", *(f"{n},{text}" for n, text in enumerate(texts))]),
            file_name=f"{self._serial:03}.csv",
            file_id=f"id-{self._serial}",
        )
        source = _source(file)
        self.offered |= {(stream, source, n): text for n, text in enumerate(texts, start=1)}

    def expire(self, age: timedelta) -> None:
        """Files that old leave the list, once they were read."""
        limit = f"{self.moment - age:%Y-%m-%d-%H}"
        for file in [file for file in self.emulator.files if file.generated_at < limit]:
            source = _source(file)
            rows = {row for row in self.offered if row[:2] == (file.stream, source)}
            if rows <= self.covered:
                self.emulator.remove(file)

    def run(self, cut: int | None = None) -> BaseException | None:
        """Run the tap from the last STATE that got out, perhaps until it is killed."""
        writer, ended = Mortal(cut), None
        try:
            TapFirstupDDE(
                config=tap_settings(self.emulator, max_retries=3),
                state=self.state or None,
                message_writer=writer,
            ).sync_all()
        except (ExportError, Cut) as error:
            ended = error
        self._take(writer)
        return ended

    def _take(self, writer: Mortal) -> None:
        """Hold what got out against the model."""
        since: set[Row] = set()
        for message in writer.messages:
            if message["type"] == "RECORD":
                record = message["record"]
                source, line = record["_sdc_source_file"], record["_sdc_source_lineno"]
                row = (message["stream"], source, line)
                assert row in self.offered, f"{row} was never offered"
                assert row not in self.covered, f"{row} came again though a STATE covered it"
                assert row not in since, f"{row} came twice in one run"
                since.add(row)
                value, misfit = record["tenure"], record.get("tenure__text")
                text = str(value) if misfit is None else misfit
                assert text == self.offered[row], f"{row} changed"
            elif message["type"] == "STATE":
                self.state = message["value"]
                self.covered |= since
                since.clear()

    def assert_complete(self) -> None:
        """After two runs undisturbed nothing is missing."""
        self.emulator.heal()
        assert [self.run(), self.run()] == [None, None]
        assert self.offered.keys() == self.covered


class Interleavings(RuleBasedStateMachine):
    """Anything in any order."""

    emulator: Emulator
    ends: Counter[bool]

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.emulator)
        self.late: list[tuple[str, str, int, bool]] = []

    @initialize()
    def first(self) -> None:
        """Begin with a file."""
        self.world.add("users", self.world.generation, 3, fits=True)

    @rule(
        stream=st.sampled_from(["users", "activities"]),
        rows=st.integers(0, 11),
        parts=st.integers(1, 3),
        fits=st.booleans(),
    )
    def generate(self, stream: str, rows: int, parts: int, *, fits: bool) -> None:
        """Firstup generates files, after some hours."""
        self.world.moment += INTERVAL
        for _ in range(parts):
            self.world.add(stream, self.world.generation, rows, fits=fits)

    @rule(
        stream=st.sampled_from(["users", "activities"]), rows=st.integers(1, 6), fits=st.booleans()
    )
    def hold_back(self, stream: str, rows: int, *, fits: bool) -> None:
        """A file is generated, but not listed yet."""
        self.late.append((stream, self.world.generation, rows, fits))

    @precondition(lambda self: self.late)
    @rule()
    def show_up(self) -> None:
        """A file that was held back is listed."""
        stream, generation, rows, fits = self.late.pop()
        self.world.add(stream, generation, rows, fits=fits)

    @rule(order=st.randoms(use_true_random=False))
    def shuffle(self, order: random.Random) -> None:
        """The list comes in another order."""
        order.shuffle(self.emulator.files)

    @rule(days=st.integers(1, 6))
    def expire(self, days: int) -> None:
        """Files leave the list."""
        self.world.expire(timedelta(days=days))

    @rule(name=st.sampled_from(sorted(FAULTS)), skip=st.integers(0, 4))
    def fault(self, name: str, skip: int) -> None:
        """Something will go wrong."""
        self.emulator.fail(**FAULTS[name], skip=skip)

    @rule()
    def heal(self) -> None:
        """All is well again."""
        self.emulator.heal()

    @rule(what=st.sampled_from(["tokens", "urls"]))
    def lapse(self, what: str) -> None:
        """Tokens, or presigned URLs, are no longer accepted."""
        getattr(self.emulator, f"expire_{what}")()

    @rule(cut=st.none() | st.integers(1, 40), columnar=st.booleans())
    def run(self, cut: int | None, *, columnar: bool) -> None:
        """The tap runs, on either of its ways."""
        with pytest.MonkeyPatch.context() as patch:
            if not columnar:
                patch.setattr(streams.ExportStream, "_columnar", property(lambda _: False))
            end = self.world.run(cut)
        self.ends[end is None] += 1
        note(f"the run ended with {end!r}")

    def teardown(self) -> None:
        """In the end everything shows up."""
        while self.late:
            self.show_up()
        self.world.assert_complete()


def _source(file: EmulatedFile) -> str:
    """The value of _sdc_source_file."""
    moment = parse_generation(file.generated_at)
    return ExportFile(file.stream, file.id, file.file_name, file.generated_at, moment).source


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses before something is tried again, STATE often, and no log."""
    monkeypatch.setattr(http, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(streams, "SLICE", SLICE)
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)


@pytest.mark.usefixtures("quick")
def test_every_row_leaves_once(emulator: Emulator, pytestconfig: pytest.Config) -> None:
    """Nothing is lost, and nothing repeats but what no STATE had covered."""
    ends: Counter[bool] = Counter()
    run_state_machine_as_test(
        type("Interleavings", (Interleavings,), {"emulator": emulator, "ends": ends}),
        settings=settings(
            max_examples=pytestconfig.getoption("--interleavings"),
            stateful_step_count=8,
            suppress_health_check=list(HealthCheck),
        ),
    )
    # Each machine holds the promise at its end; here, that runs came to an end, and did not.
    assert ends[True]
    assert ends[False]


@pytest.mark.usefixtures("quick")
def test_months_of_operation(emulator: Emulator, pytestconfig: pytest.Config) -> None:
    """Day by day, with faults at a twentieth of the requests and a kill in every third run.

    Files come every four hours and stay for seven days. Nothing is lost or doubled, and the state
    stays below 64 KB.
    """
    dice = random.Random(pytestconfig.getoption("--seed"))
    world = World(emulator)
    ended = 0
    for number in range(pytestconfig.getoption("--days") * 6):
        world.moment += INTERVAL
        for stream in KEYS:
            world.add(stream, world.generation, dice.randint(0, 12), fits=dice.random() < 0.9)
        world.expire(KEPT)
        emulator.heal()
        for _ in range(20):  # requests of a run, about
            if dice.random() < 0.05:
                emulator.fail(**FAULTS[dice.choice(sorted(FAULTS))], skip=dice.randint(0, 6))
        ended += world.run(dice.randint(1, 60) if number % 3 == 0 else None) is not None
        assert len(json.dumps(world.state)) < 64 << 10
    assert ended > number / 6
    world.assert_complete()
