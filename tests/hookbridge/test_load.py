"""`load` reads windows as the tap does, and keeps the state beside the rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from click.testing import CliRunner

from filetap.load.job_stream import JobLoadStream
from filetap.load.store import Store
from tap_hookbridge.cli import main
from tests.hookbridge.vendor import IN, OUT, at, emulated, ids, run, settings
from tests.runs import write

if TYPE_CHECKING:
    from pathlib import Path

    from tap_hookbridge.emulator import Emulator


class Place:
    """A database that an emulated HookBridge is loaded into."""

    def __init__(self, hookbridge: Emulator, folder: Path, uri: str) -> None:
        self._hookbridge = hookbridge
        self._folder = folder
        self.uri = uri

    def load(self, *words: str, status: int = 0, **more: Any) -> str:
        """Run ``load``; returns what it prints."""
        config = write(self._folder, "config.json", settings(self._hookbridge, **more))
        done = CliRunner().invoke(main, ["load", "--config", config, "--to", self.uri, *words])
        assert done.exit_code == status, done.output
        return done.output

    def state(self) -> Any:
        """What ``state`` prints."""
        return json.loads(CliRunner().invoke(main, ["state", "--to", self.uri]).stdout)

    def rows(self, query: str) -> list[Any]:
        """The rows of a query."""
        if self.uri.startswith("duckdb:"):
            with duckdb.connect(self.uri.removeprefix("duckdb:")) as database:
                return database.execute(query).fetchall()
        import psycopg  # noqa: PLC0415 - slow

        with psycopg.connect(self.uri) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(params=["duckdb", "postgresql"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind."""
    if request.param == "duckdb":
        return f"duckdb:{tmp_path / 'x.db'}"
    return str(request.getfixturevalue("database"))


def test_load(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message is one row with its newest values, whatever ended the runs before."""
    with emulated(3) as hookbridge:
        place = Place(hookbridge, tmp_path, uri)
        rows = [
            hookbridge.add("outbound", at(day, seconds=n), message_id=f"{day}-{n}", status="queued")
            for day in range(3)
            for n in (-1, 0, 5)
        ]
        with monkeypatch.context() as patch:
            patch.setattr(Store, "count", _fails_at(2))
            with pytest.raises(RuntimeError):
                CliRunner(catch_exceptions=False).invoke(
                    main,
                    ["load", "--config", _config(tmp_path, hookbridge), "--to", uri, "--quiet"],
                )
        requested = len(hookbridge.exports)
        assert "job" in place.state()["bookmarks"][OUT]
        place.load("--quiet", status_lookback_days=0)
        assert place.rows("select count(*), count(distinct message_id) from outbound_messages") == [
            (8, 8)  # one was created before start_date
        ]
        assert len(hookbridge.exports) == requested + 1 + 3  # the open job is used again
        for row in rows:
            row["status"] = "succeeded"
        hookbridge.now.move(hours=1)  # type: ignore[attr-defined]
        done = json.loads(place.load("--quiet", "--output", "json").splitlines()[-1])
        assert done["streams"][OUT]["rows"] == 8
        found = place.rows("select distinct status from outbound_messages")
        assert found == [("succeeded",)]
        # The state is the tap's, and the other way round.
        state = place.state()
        assert ids(run(hookbridge, state, status_lookback_days=0)) == []
        assert state["bookmarks"][IN]["replication_key_value"] == "2026-05-14T01:00:00Z"


def test_two_at_once(tmp_path: Path, postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two loads at once one ends with an error, and each message is loaded once."""
    with emulated(2) as hookbridge:
        place = Place(hookbridge, tmp_path, postgres_server)
        for n in range(2):
            hookbridge.add("outbound", at(0, seconds=n), message_id=f"{n}", status="queued")
        lock, calls = JobLoadStream._lock, iter(range(100))

        def overtaken(self: JobLoadStream) -> None:
            if next(calls) == 1:
                place.load("--schema", "two", "--quiet")
            lock(self)

        with monkeypatch.context() as patch:
            patch.setattr(JobLoadStream, "_lock", overtaken)
            failed = place.load("--schema", "two", "--quiet", status=1)
        assert f"{OUT}: another loader has loaded it meanwhile; run again, one load at" in failed
        place.load("--schema", "two", "--quiet")
        assert place.rows(f"select message_id from two.{OUT} order by 1") == [("0",), ("1",)]  # noqa: S608


def _fails_at(number: int) -> Any:
    """A method that fails when it is called so often."""
    original, calls = Store.count, []

    def count(self: Store, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == number:
            raise RuntimeError
        original(self, *arguments)

    return count


def _config(folder: Path, hookbridge: Emulator) -> str:
    """The settings as a file; only outbound messages matter."""
    return write(folder, "first.json", settings(hookbridge, status_lookback_days=0))
