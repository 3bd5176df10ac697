"""Whatever happens between and within runs, every row is emitted once: checked by a model.

The model is the set of rows that Firstup has offered, through the API and in a folder. Runs are
cut off, requests fail, files come late, in parts, shuffled, empty, without their key, from the
future, and go; the source changes, and full refreshes die. Each run resumes from the last STATE
that got out of the one before, as Meltano has merged it. `make soak` runs twenty times as many
interleavings and ninety days; with `--hypothesis-seed` and `--seed` they are the same ones again.
"""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
import logging
import os
import random
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
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

from filetap.columns.added import ADDED
from filetap.errors import ExportError
from filetap.redaction import SECRECY
from filetap.singer.stream import ExportStream
from filetap.testing.runs import Collector, CutOffError
from filetap.times import parse_generation
from tap_firstup_dde.documented import STREAMS
from tap_firstup_dde.sample_data import INTERVAL
from tap_firstup_dde.tap import TapFirstupDDE
from tests.runs import merged, tune
from tests.runs import settings as tap_settings

if TYPE_CHECKING:
    from tap_firstup_dde.emulator import Emulator

Row = tuple[str, str]  # stream, and what the row is called in it

SLICE = 4  # rows between STATEs within a file
KEPT = timedelta(days=7)  # by Firstup

# What may go wrong with the next requests. Most of it is transient or succeeds on a retry;
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


class World:
    """A program that generates files, a tap that is run now and then, and what must hold.

    Files are offered by the API and, those that are the only one of their generation, in a folder
    as well; each row has an id of its own, by which it is the same row in both.
    """

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        emulator.files.clear()
        emulator.heal()
        emulator.forget()
        self.emulator = emulator
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.delivers = False
        self.moment = emulator.first_generation
        self.state: dict[str, Any] = {}
        self.offered: dict[Row, str] = {}  # with the text of its tenure
        self.covered: set[Row] = set()  # by a STATE that was emitted
        self.keys: dict[str, list[str]] = {}  # of the records that were emitted
        self._places: dict[Row, str] = {}  # key of the file that it was last emitted from
        self._rows: dict[tuple[str, str], list[Row]] = {}  # by stream and name of the file
        self._serial = 0

    @property
    def generation(self) -> str:
        """The newest generation, as Firstup writes it."""
        return f"{self.moment:%Y-%m-%d-%H}"

    def add(
        self,
        stream: str,
        generation: str,
        rows: int,
        *,
        fits: bool,
        keyed: bool = True,
        alone: bool = False,
    ) -> None:
        """List a file, and deliver it if it is *alone* in its generation.

        Args:
            stream: The stream it belongs to.
            generation: As Firstup writes it.
            rows: Its rows; without any it may be empty in several ways.
            fits: True if its numbers are numbers.
            keyed: True if it has the key's column.
            alone: True if no other file has its generation.
        """
        self._serial += 1
        number = self._serial
        column = ("campaign_id" if stream == "campaigns" else "user_id") if keyed else "preview"
        if stream == "users" and not keyed:
            column = "preferred_name"
        names = [f"{number}-{n}" for n in range(rows)]
        texts = [f"{n}" if fits else f"A{n}" for n in range(rows)]
        lines = [f"{name},{text}" for name, text in zip(names, texts, strict=True)]
        empty = ("", "\n\n", "[]", f"{column},tenure")[number % 4]
        content = "\n".join([f"{column},tenure", *lines]) if rows else empty
        self.emulator.add(
            stream, generation, content, file_name=f"{number:03}.csv", file_id=f"id-{number}"
        )
        listed = [(stream, name) for name in names]
        self._rows[stream, f"{number:03}.csv"] = listed
        self.offered |= dict(zip(listed, texts, strict=True))
        if alone:
            year, month, day, hour = generation.split("-")
            kind = {"users": "user", "activities": "activity", "campaigns": "campaign"}[stream]
            path = self.folder / f"23552-{month}-{day}-{year}-{hour}-{kind}-incremental.gz"
            path.write_bytes(gzip.compress(content.encode()))
            self._rows[stream, path.name] = listed
            self.touch(path)

    def touch(self, path: Path) -> None:
        """Set a delivered file's time of change."""
        self._serial += 1
        os.utime(path, (1_700_000_000 + self._serial,) * 2)

    def expire(self, age: timedelta) -> None:
        """Files that old leave the list, once they were read."""
        limit = f"{self.moment - age:%Y-%m-%d-%H}"
        for file in [file for file in self.emulator.files if file.generated_at < limit]:
            if {*self._rows[file.stream, file.file_name]} <= self.covered:
                self.emulator.remove(file)

    def run(self, cut: int | None = None) -> BaseException | None:
        """Run the tap from the last STATE that was emitted, perhaps until it is killed."""
        writer, ended = self._run(self.state, cut)
        states, self.covered = self._check(writer, self.state, self.covered)
        self.state = states[-1]
        return ended

    def refresh(self, cut: int) -> None:
        """Empty the table, and read everything again without a state, until the run is killed.

        Meltano merges the state of that run into the one before. Of a stream that was read to its
        end, it cannot be told from the state of another environment: files of either are finished.
        """
        writer, _ = self._run({}, cut)
        keys, self.keys = self.keys, {}
        states, covered = self._check(writer, {}, set())
        if len(states) == 1 or any(s not in states[-1]["bookmarks"] for s in self._streams()):
            self.keys = keys  # the table was left alone
            return
        there = {(file.stream, file.file_name) for file in self.emulator.files}
        there |= {(stream, path.name) for stream, _ in self._rows for path in self.folder.iterdir()}
        rows = {row for name in there & self._rows.keys() for row in self._rows[name]}
        self.offered = {row: text for row, text in self.offered.items() if row in rows}
        self.state = merged(self.state, states[-1])
        self.covered = covered | {row for row in self.covered if self._is_finished(row)}

    def _is_finished(self, row: Row) -> bool:
        """True if a merged state counts the file of a row among those of a stream that ended."""
        bookmark = self.state["bookmarks"][row[0]]
        ended = bookmark.get("from_scratch") is False
        return ended and self._places[row] in bookmark["finished_at"]

    def _streams(self) -> set[str]:
        """The streams of the state so far that have a bookmark."""
        bookmarks = self.state.get("bookmarks", {})
        return {name for name, bookmark in bookmarks.items() if "finished" in bookmark}

    def _run(
        self, state: dict[str, Any], cut: int | None
    ) -> tuple[Collector, BaseException | None]:
        """Run the tap from *state*; what it wrote, and how it ended."""
        config = tap_settings(self.emulator, max_retries=3)
        if self.delivers:
            config = {"folder": {"url": str(self.folder)}}
        writer, ended = Collector(cut), None
        SECRECY._forms = set()  # each run is a process of its own, with few tokens
        try:
            TapFirstupDDE(
                config={**config, "malformed_rows": "divert"},
                state=copy.deepcopy(state) or None,
                message_writer=writer,
            ).sync_all()
        except (ExportError, CutOffError) as error:
            ended = error
        return writer, ended

    def _check(
        self, writer: Collector, state: dict[str, Any], covered: set[Row]
    ) -> tuple[list[dict[str, Any]], set[Row]]:
        """Compare what was emitted with the model.

        Returns:
            The states, *state* first, and the rows that the last one covers.
        """
        states = [state]
        covered = set(covered)
        since: dict[Row, tuple[str, int]] = {}
        schemas: dict[str, dict[str, Any]] = {}
        for message in writer.messages:
            if message["type"] == "SCHEMA":
                schemas[message["stream"]] = message
            elif message["type"] == "RECORD":
                row, record = self._row(message), message["record"]
                assert row in self.offered, f"{row} was never offered"
                assert row not in covered, f"{row} came again though a STATE covered it"
                assert row not in since, f"{row} came twice in one run"
                key = record["_sdc_source_file"].rpartition("/")[2]
                since[row] = (key, record["_sdc_source_lineno"])
                self._places[row] = key
                self._check_pins(message, schemas, states[-1])
            elif message["type"] == "STATE":
                states.append(message["value"])
                kept = {row: at for row, at in since.items() if not _covers(states[-1], row, *at)}
                covered |= since.keys() - kept.keys()
                since = kept
                for bookmark in states[-1]["bookmarks"].values():
                    if value := bookmark.get("replication_key_value"):
                        assert parse_generation(value) < datetime.now(UTC) + timedelta(days=1)
        return states, covered

    def _row(self, message: dict[str, Any]) -> Row:
        """The row of a record, whose values are those that were offered."""
        stream, record = message["stream"], message["record"]
        if stream.endswith("_malformed"):
            name, _, text = record["raw"].partition(",")
        else:
            columns = ("user_id", "campaign_id", "preferred_name", "preview")
            (name,) = (record[column] for column in columns if record.get(column))
            value, misfit = record["tenure"], record.get("tenure__text")
            text = str(value) if misfit is None else misfit
        row = (stream.removesuffix("_malformed"), name)
        assert text == self.offered.get(row, text), f"{row} changed"
        return row

    def _check_pins(
        self, message: dict[str, Any], schemas: dict[str, dict[str, Any]], state: dict[str, Any]
    ) -> None:
        """The types that a record needs are in a STATE before it, and all records have one key."""
        stream = message["stream"]
        if stream.endswith("_malformed"):
            return
        key = schemas[stream]["key_properties"]
        assert self.keys.setdefault(stream, key) == key, f"the key of {stream} changed"
        saved = state["bookmarks"][stream]
        own = {name for name in message["record"] if name not in ADDED}
        assert own <= saved["types"].keys()
        assert saved["key"] == key

    def assert_complete(self) -> None:
        """After two runs undisturbed of each source nothing is missing."""
        self.emulator.heal()
        for delivers in (self.delivers, not self.delivers):
            self.delivers = delivers
            assert [self.run(), self.run()] == [None, None]
        assert self.offered.keys() == self.covered


def _covers(state: dict[str, Any], row: Row, key: str, line: int) -> bool:
    """True if the next run does not read any line of a file again."""
    bookmark = state["bookmarks"][row[0]]
    if key in bookmark["finished"]:
        return True
    parts = [bookmark["in_progress"], *bookmark.get("partly_read", ())]
    return any(part["file"] == key and part["rows"] >= line for part in parts)


class Interleavings(RuleBasedStateMachine):
    """Anything in any order."""

    emulator: Emulator
    folder: Path
    ends: Counter[bool]

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.emulator, self.folder)
        self.late: list[tuple[str, str, int, bool]] = []
        self._hours = count(1)

    @initialize(rows=st.sampled_from([3, 3, 0]), keyed=st.booleans())
    def first(self, rows: int, *, keyed: bool) -> None:
        """Begin with a file, perhaps an empty one, or one without the key."""
        self.world.add("users", self.world.generation, rows, fits=True, keyed=keyed, alone=True)

    @rule(
        stream=st.sampled_from(["users", "activities"]),
        rows=st.integers(0, 11),
        parts=st.integers(1, 3),
        fits=st.booleans(),
        keyed=st.sampled_from([True, True, True, False]),
    )
    def generate(self, stream: str, rows: int, parts: int, *, fits: bool, keyed: bool) -> None:
        """Firstup generates files, after some hours; only a single one is delivered as well."""
        self.world.moment += INTERVAL
        for _ in range(parts):
            self.world.add(
                stream, self.world.generation, rows, fits=fits, keyed=keyed, alone=parts == 1
            )

    @rule(
        stream=st.sampled_from(["users", "activities"]), rows=st.integers(1, 6), fits=st.booleans()
    )
    def hold_back(self, stream: str, rows: int, *, fits: bool) -> None:
        """A file is generated but not listed yet."""
        # Counted from the first generation, so that no two have the same one.
        earlier = self.emulator.first_generation - timedelta(days=5, hours=next(self._hours))
        self.late.append((stream, f"{earlier:%Y-%m-%d-%H}", rows, fits))

    @precondition(lambda self: self.late)
    @rule()
    def show_up(self) -> None:
        """A file that was held back is listed."""
        stream, generation, rows, fits = self.late.pop()
        self.world.add(stream, generation, rows, fits=fits, alone=True)

    @rule(stream=st.sampled_from(["users", "activities"]), rows=st.integers(0, 5))
    def misdate(self, stream: str, rows: int) -> None:
        """A file has a date far ahead of the clock."""
        generation = f"{2060 + next(self._hours)}-05-12-00"
        self.world.add(stream, generation, rows, fits=True, alone=True)

    @rule()
    def switch(self) -> None:
        """From now on the other source is read."""
        self.world.delivers = not self.world.delivers

    @rule(pick=st.randoms(use_true_random=False))
    def touch(self, pick: random.Random) -> None:
        """A delivered file whose bytes are known, since it was read, is written again unchanged."""
        bookmarks = self.world.state.get("bookmarks", {}).values()
        known = {key for bookmark in bookmarks for key in bookmark.get("contents", ())}
        paths = sorted(self.world.folder.iterdir())
        read = [p for p in paths if hashlib.sha256(p.name.encode()).hexdigest()[:12] in known]
        if read:
            self.world.touch(pick.choice(read))

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
        """Something goes wrong with the next requests."""
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
        """The tap runs, by either of its paths."""
        with pytest.MonkeyPatch.context() as patch:
            if not columnar:
                patch.setattr(ExportStream, "writes_lines", property(lambda _: False))
            end = self.world.run(cut)
        self.ends[end is None] += 1
        note(f"the run ended with {end!r}")

    @rule(cut=st.integers(1, 40))
    def refresh(self, cut: int) -> None:
        """A full refresh dies, and its state is merged into the one before."""
        self.world.refresh(cut)

    def teardown(self) -> None:
        """In the end everything appears."""
        while self.late:
            self.show_up()
        self.world.assert_complete()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses before retries, frequent STATE, and no log."""
    tune(monkeypatch, slice=SLICE, first_pause=0.0)
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)


@pytest.mark.usefixtures("quick")
def test_every_row_leaves_once(
    emulator: Emulator, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Nothing is lost, and only rows that no STATE covered are repeated."""
    ends: Counter[bool] = Counter()
    run_state_machine_as_test(
        type(
            "Interleavings",
            (Interleavings,),
            {"emulator": emulator, "folder": tmp_path, "ends": ends},
        ),
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
def test_months_of_operation(
    emulator: Emulator, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Day by day, with faults at a twentieth of the requests and a kill in every third run.

    Files come every four hours and stay for seven days. Nothing is lost or doubled, and the state
    stays below 64 KB.
    """
    dice = random.Random(pytestconfig.getoption("--seed"))
    world = World(emulator, tmp_path)
    ended = 0
    for number in range(pytestconfig.getoption("--days") * 6):
        world.moment += INTERVAL
        for stream in STREAMS:
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
