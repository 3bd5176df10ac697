"""The promises that every tap keeps, as tests: a tap's own tests subclass `TapSuite`.

Needs pytest and the SDK's extra ``testing``; a tap that runs imports neither.
"""

from __future__ import annotations

import gzip
import json
import os
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from singer_sdk.testing import SuiteConfig
from singer_sdk.testing.runners import TapTestRunner
from singer_sdk.testing.suites import tap_stream_attribute_tests, tap_stream_tests, tap_tests
from singer_sdk.testing.tap_tests import StreamPrimaryKeysTest
from singer_sdk.testing.templates import AttributeTestTemplate, TapTestTemplate

from filetap.setting_checks import secrets
from filetap.testing.runs import (
    Collector,
    Run,
    environment_without,
    program_of,
    run_killed,
    run_program,
    run_tap,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from singer_sdk import Tap
    from singer_sdk.testing.templates import TestTemplate

    from filetap.singer.tap import FileTap

# Without the SDK's test of keys, which compares generators and cannot fail: `test_keys` is here.
_SDK_TESTS = tuple(
    template
    for suite in (tap_tests, tap_stream_tests, tap_stream_attribute_tests)
    for template in suite.tests
    if template is not StreamPrimaryKeysTest
)
_LONG_AGO = 1_700_000_000  # an old time of change: such a file is complete
_FOREIGN = "Correct-Horse-Battery"  # a secret that no vendor issued


@dataclass(frozen=True, slots=True)
class Double:
    """A test double of a vendor.

    Attributes:
        settings: Settings with which the tap reads from it.
        deliver: Makes a file available: its stream, when it was generated, and its CSV text.
        sample: Makes files of every stream available, for the SDK's own suite; None if the stream
            that the tests are about is the only one.
        secrets: Secrets that it has issued, which no output may show, besides the secret settings.
    """

    settings: Mapping[str, Any]
    deliver: Callable[[str, datetime, str], object]
    sample: Callable[[], object] | None = None
    secrets: Callable[[], Iterable[str]] = tuple


class TapSuite(ABC):
    """Tests of one tap with one double; pytest collects subclasses named ``Test…``.

    Attributes:
        tap: The tap's class.
        stream: Stream whose files are delivered.
        key: Text column that is the stream's key.
        columns: Two columns of the stream's that are inferred, not documented.
        start: When the first file is generated.
        step: Time between two files.
    """

    tap: ClassVar[type[FileTap]]
    stream: ClassVar[str]
    key: ClassVar[str]
    columns: ClassVar[tuple[str, str]] = ("points", "level")
    start: ClassVar[datetime] = datetime(2026, 5, 11, tzinfo=UTC)
    step: ClassVar[timedelta] = timedelta(days=1)

    @classmethod
    @abstractmethod
    def double(cls, folder: Path) -> AbstractContextManager[Double]:
        """Start a double that has no files yet.

        Args:
            folder: An empty folder, for a double that needs one.
        """

    @pytest.fixture
    def vendor(self, tmp_path: Path) -> Iterator[Double]:
        """A double without files."""
        folder = tmp_path / "vendor"
        folder.mkdir()
        with self.double(folder) as vendor:
            yield vendor

    @pytest.fixture(scope="class")
    @classmethod
    def sdk_runner(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TapTestRunner]:
        """The SDK's runner, after a run over all records of sample files."""
        with cls.double(tmp_path_factory.mktemp("vendor")) as vendor:
            if vendor.sample:
                vendor.sample()
            else:
                cls.deliver(vendor, 0, range(10))
            yield _sdk_runner(cls.tap, dict(vendor.settings))

    # Shared by the tests

    @classmethod
    def deliver(cls, vendor: Double, number: int, ids: Iterable[int], rest: str = "") -> None:
        """Deliver a file.

        Args:
            vendor: The double.
            number: Steps after the start.
            ids: Values of the key, one a row.
            rest: Header and value of the other columns, as in ``level,3``; by default each row's
                value in the first column is ten times its id.
        """
        header, _, value = rest.partition(",")
        header = header or cls.columns[0]
        rows = "".join(f"{one},{value or 10 * one}\n" for one in ids)
        content = f"{cls.key},{header}\n{rows}"
        vendor.deliver(cls.stream, cls.start + number * cls.step, content)

    def run(
        self, vendor: Double, state: Mapping[str, Any] | None = None, most: int | None = None
    ) -> Run:
        """Run the tap, until it has written *most* messages."""
        return run_tap(self.tap, vendor.settings, state, collector=Collector(most))

    def ids(self, run: Run) -> list[int]:
        """The ids of a run's rows, in order."""
        return [int(record[self.key]) for record in run.records(self.stream)]

    def bookmark(self, run: Run) -> str:
        """How far a run has read the stream."""
        return str(run.state["bookmarks"][self.stream]["replication_key_value"])

    def check_resumed(self, cut: Run, rest: Run, ids: Iterable[int]) -> None:
        """Check that a run that was cut off and the next one have each row, covered ones once."""
        covered, lost = map(self.ids, cut.at_state())
        assert set(lost) <= set(self.ids(rest))
        assert covered + self.ids(rest) == list(ids)

    # The promises

    def test_once(self, vendor: Double) -> None:
        """Each row is emitted once, oldest file first; a later run emits only what is new."""
        for number in range(3):
            self.deliver(vendor, number, range(10 * number, 10 * number + 10))
        first = self.run(vendor)
        assert self.ids(first) == list(range(30))
        assert len(set(first.rows(self.stream))) == 30
        again = self.run(vendor, first.state)
        assert self.ids(again) == []
        self.deliver(vendor, 3, [30, 31])
        assert self.ids(self.run(vendor, again.state)) == [30, 31]

    def test_late_file(self, vendor: Double) -> None:
        """A file that appears after newer ones is read once; the bookmark does not move back."""
        self.deliver(vendor, 0, [0])
        self.deliver(vendor, 2, [2])
        first = self.run(vendor)
        self.deliver(vendor, 1, [1])
        late = self.run(vendor, first.state)
        assert self.ids(late) == [1]
        assert self.bookmark(late) == self.bookmark(first)
        assert self.ids(self.run(vendor, late.state)) == []

    def test_resumed(self, vendor: Double, monkeypatch: pytest.MonkeyPatch) -> None:
        """A run that is cut off at any message is resumed from its last STATE."""
        tuning = replace(self.tap.tuning, slice=7, lines=3)
        monkeypatch.setattr(self.tap, "tuning", tuning)
        for number in range(3):
            self.deliver(vendor, number, range(20 * number, 20 * number + 20))
        messages = self.run(vendor).messages
        assert sum(message["type"] == "STATE" for message in messages) > 6  # within files, too
        for most in range(1, len(messages), 6):
            cut = self.run(vendor, most=most)
            assert len(cut.messages) == most
            self.check_resumed(cut, self.run(vendor, cut.state), range(60))

    @pytest.mark.parametrize("part", [0.2, 0.7])
    def test_killed(self, vendor: Double, tmp_path: Path, part: float) -> None:
        """A program that is killed (SIGKILL) while it writes is resumed from its last STATE."""
        for number in range(4):
            self.deliver(vendor, number, range(2000 * number, 2000 * number + 2000))
        config = _write(tmp_path / "config.json", vendor.settings)
        program, env = program_of(self.tap), environment_without(self.tap.vendor.prefix)
        cut = run_killed(int(8000 * part), program, "--config", config, env=env)
        state = _write(tmp_path / "state.json", cut.at_state()[0].state)
        rest = run_program(self.tap, "--config", config, "--state", state, env=env)
        assert rest.status == 0, rest.log
        self.check_resumed(cut, rest, range(8000))

    def test_drift(self, vendor: Double) -> None:
        """Columns come and go; a column's type never changes, and misfits are in its __text."""
        one, other = self.columns
        self.deliver(vendor, 0, [0, 1])
        first = self.run(vendor)
        self.deliver(vendor, 1, [2], f"{other},true")
        self.deliver(vendor, 2, [3])
        self.deliver(vendor, 3, [4], f"{one},many")
        second = self.run(vendor, first.state)
        assert self.ids(second) == [2, 3, 4]
        names = (one, other, f"{one}__text")
        values = [[r.get(name) for name in names] for r in second.records(self.stream)]
        assert values == [[None, True, None], [30, None, None], [None, None, "many"]]
        schemas = [m["schema"]["properties"] for m in first.of("SCHEMA") + second.of("SCHEMA")]
        kinds = [schema[one]["type"] for schema in schemas if one in schema]
        assert kinds == [["integer", "null"]] * len(kinds)
        final = second.schema(self.stream)["schema"]["properties"]
        assert all(set(record) <= set(final) for record in second.records(self.stream))
        third = self.run(vendor, second.state).schema(self.stream)
        assert third["schema"]["properties"] == final

    @pytest.mark.parametrize("arguments", [(), ("--discover",)], ids=["run", "discovery"])
    def test_no_secret_printed(
        self, vendor: Double, tmp_path: Path, arguments: tuple[str, ...]
    ) -> None:
        """Neither output nor log of a successful run shows a secret, at any level."""
        self.deliver(vendor, 0, range(10))
        done = self._program(tmp_path, vendor.settings, *arguments)
        assert done.status == 0, done.log
        assert "DEBUG" in done.log
        hidden = [*_texts(secrets(vendor.settings, self.tap.vendor)), *vendor.secrets()]
        assert [text for text in hidden if text in done.out + done.log] == []

    @pytest.mark.parametrize("misplaced", [{}, {"start_date": _FOREIGN}], ids=["own", "other"])
    def test_no_foreign_secret_printed(
        self, vendor: Double, tmp_path: Path, misplaced: dict[str, str]
    ) -> None:
        """Nor does a run with foreign secrets, even if one is set under a wrong name."""
        self.deliver(vendor, 0, range(10))
        done = self._program(tmp_path, self._foreign(vendor.settings) | misplaced)
        assert done.status == 1 or not misplaced
        assert _FOREIGN not in done.out + done.log
        assert "Traceback" not in done.log

    def _program(self, folder: Path, config: Mapping[str, Any], *arguments: str) -> Run:
        """Run the tap's program, which logs everything."""
        prefix = self.tap.vendor.prefix
        env = environment_without(prefix) | {f"{prefix}LOGLEVEL": "DEBUG"}
        path = _write(folder / "config.json", config)
        return run_program(self.tap, "--config", path, *arguments, env=env)

    def _foreign(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings whose secrets are all foreign."""
        known = self.tap.config_jsonschema["properties"]
        plain = [name for name in known if known[name].get("secret") and name != "folder"]
        found = {**settings, **dict.fromkeys(plain, _FOREIGN)}
        if "folder" in settings:
            found["folder"] = {**settings["folder"], "options": {"password": _FOREIGN}}
        return found

    # A column may be empty in all files.
    @pytest.mark.filterwarnings("ignore:No records were available to test:UserWarning")
    @pytest.mark.parametrize("template", _SDK_TESTS, ids=lambda template: str(template.name))
    def test_sdk_suite(self, template: type[TestTemplate[Any]], sdk_runner: TapTestRunner) -> None:
        """A test of the SDK's standard suite passes for every subject it has, over all records."""
        found = [
            _failure(template, sdk_runner, subject)
            for subject in _subjects(template, sdk_runner.new_tap())
        ]
        if not found:
            pytest.skip("no column of this kind")
        failures = [failure for failure in found if failure]
        assert not failures, failures

    def test_keys(self, vendor: Double) -> None:
        """Every record has a value in each column of the key, and no two of a file share a key."""
        for number in range(2):
            self.deliver(vendor, number, range(10))
        done = self.run(vendor)
        columns = [*done.schema(self.stream)["key_properties"], "_sdc_source_file"]
        keys = [tuple(record[name] for name in columns) for record in done.records(self.stream)]
        assert None not in {value for key in keys for value in key}
        assert len(set(keys)) == len(keys) == 20


@contextmanager
def delivered(
    folder: Path, path: Callable[[str, datetime], str], sample: Callable[[], object] | None = None
) -> Iterator[Double]:
    """A vendor that delivers files into a folder.

    Args:
        folder: The folder.
        path: Stream and time of generation → path of the file below the folder; the content is
            compressed if it ends in ``.gz``.
        sample: Delivers files of every stream, if there are several.
    """

    def deliver(stream: str, generated_at: datetime, content: str) -> None:
        file = folder / path(stream, generated_at)
        file.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode()
        file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
        os.utime(file, (_LONG_AGO, _LONG_AGO))

    yield Double({"folder": {"url": str(folder)}}, deliver, sample)


def _sdk_runner(tap: type[FileTap], config: dict[str, Any]) -> TapTestRunner:
    """The SDK's runner for a tap that is used as Meltano does: discover, then read."""
    discovering = tap(config=config, setup_mapper=False)
    discovering.run_discovery()
    runner = TapTestRunner(
        tap_class=tap,
        config=config,
        suite_config=SuiteConfig(max_records_limit=None),
        parse_env_config=False,
        catalog=discovering.catalog_dict,
    )
    runner.sync_all()
    return runner


def _subjects(template: type[TestTemplate[Any]], tap: Tap) -> Iterator[dict[str, Any]]:
    """The arguments that a test of the SDK needs: none, each stream, or matching columns."""
    for stream in tap.streams.values():
        if issubclass(template, TapTestTemplate):
            yield {}
            return
        if not issubclass(template, AttributeTestTemplate):
            yield {"stream": stream}
            continue
        columns = stream.stream_maps[-1].transformed_schema["properties"]
        for name, schema in columns.items():
            if template.evaluate(stream, name, schema):
                yield {"stream": stream, "attribute_name": name}


def _failure(
    template: type[TestTemplate[Any]], runner: TapTestRunner, subject: Mapping[str, Any]
) -> str:
    """What a test of the SDK finds wrong with its subject; empty if nothing."""
    try:
        template().run(runner.suite_config, None, runner, **subject)
    except AssertionError as error:
        return repr(error)
    return ""


def _texts(value: Any) -> Iterator[str]:
    """The texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _write(path: Path, content: Any) -> str:
    """Write *content* as JSON; returns the path."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)
