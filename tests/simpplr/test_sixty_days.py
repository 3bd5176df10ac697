"""Sixty days of deliveries, with everything that happens to them: the tables equal the truth."""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING, Any

from filetap.load.store import Store
from filetap.testing.runs import Collector, CutOffError, Run, run_tap
from tap_simpplr.delivered import stream_of
from tap_simpplr.sample_data import Company
from tap_simpplr.schedule import Schedule
from tap_simpplr.tap import TapSimpplr
from tests.runs import merged
from tests.simpplr.tree import Loaded, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pytest

BEGIN = date(2026, 1, 14)
ENTITIES = ("user", "user logins", "section instance", "content", "site")
Table = dict[tuple[Any, ...], dict[str, Any]]


class Warehouse:
    """Tables that take the newest record of each key, as loaders do."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self._keys: dict[str, list[str]] = {}

    def load(self, run: Run) -> None:
        """Upsert a run's records."""
        for message in run.messages:
            stream = message.get("stream", "")
            if message["type"] == "SCHEMA":
                assert self._keys.setdefault(stream, message["key_properties"]) == message[
                    "key_properties"
                ] or not self.tables.get(stream)
                self._keys[stream] = message["key_properties"]
            elif message["type"] == "RECORD":
                record = message["record"]
                key = tuple(record[name] for name in self._keys[stream])
                assert None not in key
                self.tables.setdefault(stream, {})[key] = record


def truth(schedule: Schedule, entity: str) -> list[dict[str, str]]:
    """The rows of an entity as its last delivery left them."""
    upto = schedule.exports[entity].delivered
    assert upto
    return sorted(map(own, schedule.company.rows_of(entity, None, upto)), key=str)


def own(row: Mapping[str, Any]) -> dict[str, str]:
    """A row's own columns as Simpplr writes them."""
    texts = {name: value for name, value in row.items() if not name.startswith("_sdc_")}
    texts.pop("generated_at", None)
    return {
        name: str(value).lower()
        if isinstance(value, bool)
        else str(value).replace("T", " ").removesuffix("Z").removesuffix("+00:00")
        if name.endswith("_datetime")
        else str(value)
        for name, value in sorted(texts.items())
    }


def simulate(
    folder: Path, seed: int, read: Callable[[random.Random, int | None], None], every: int = 1
) -> Schedule:
    """Let sixty days pass, with everything that happens to deliveries.

    Args:
        folder: Where they are delivered.
        seed: Seed of everything.
        read: Reads what was delivered; the second argument is after how many steps it is killed.
        every: Days from one run to the next.
    """
    chance = random.Random(seed)
    schedule = Schedule(folder, BEGIN, Company(seed, rows=8), padded=bool(seed % 2), keeps=50)
    schedule.register(ENTITIES, "daily")
    schedule.exports["content"].frequency = "weekly"
    schedule.exports["site"].frequency = "monthly"
    for number in range(60):
        # The first file of all decides the key: it is complete.
        hold = [entity for entity in ENTITIES if number > 3 and chance.random() < 0.06]
        if chance.random() < 0.4:
            schedule.release()
        if chance.random() < 0.1:
            schedule.queue_full_load([chance.choice(ENTITIES)])
        schedule.next_day(hold=hold)
        if number > 3:
            _happen(schedule, chance)
        if number % every == 0:
            read(chance, chance.randint(4, 60) if number // every % 3 == 2 else None)
    schedule.release()
    for _ in range(2):
        read(chance, None)
    return schedule


def test_sixty_days(tmp_path: Path) -> None:
    """Full loads, overwrites, late days, touched files, purges, and a kill in every third run."""
    warehouse, state = Warehouse(), dict[str, Any]()
    catalog = _catalog(ENTITIES)
    done = Run()

    def read(chance: random.Random, most: int | None) -> None:
        nonlocal state, done
        done = run_tap(TapSimpplr, settings(tmp_path), state, catalog, Collector(most))
        received = done if done.status == 0 else _delivered(done, chance)
        warehouse.load(received)
        state = merged(state, received.state) if done.status else received.state or state

    schedule = simulate(tmp_path, 1, read)
    assert done.of("RECORD") == []
    for entity in ENTITIES:
        table = warehouse.tables[stream_of(entity)]
        assert sorted(map(own, table.values()), key=str) == truth(schedule, entity), entity


def test_sixty_days_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same by `load`, into a database that keeps the state."""
    loaded = Loaded(tmp_path)
    streams = [word for entity in ENTITIES for word in ("--stream", stream_of(entity))]
    save, done = Store.save_state, dict[str, int]()

    def read(_: random.Random, most: int | None) -> None:
        nonlocal done
        left = [sys.maxsize if most is None else most % 13]

        def saved(store: Store, stream: str, state: Mapping[str, Any]) -> None:
            if left[0] == 0:
                raise CutOffError
            left[0] -= 1
            save(store, stream, state)

        monkeypatch.setattr(Store, "save_state", saved)
        with suppress(CutOffError):
            done = loaded.load(*streams)

    schedule = simulate(loaded.tree, 2, read, every=3)
    assert done == {}
    for entity in ENTITIES:
        rows = loaded.rows(stream_of(entity))
        assert sorted(map(own, rows), key=str) == truth(schedule, entity), entity


def _delivered(cut: Run, chance: random.Random) -> Run:
    """What a loader has written of a run that was cut off: to its last STATE, or more."""
    covered, lost = cut.at_state()
    return Run([*covered.messages, *lost.messages[: chance.randint(0, 20)]])


def _happen(schedule: Schedule, chance: random.Random) -> None:
    """Overwrite or touch a file of one of the last days."""
    entity = chance.choice(ENTITIES)
    days = sorted(
        date(*(int(part) for part in path.parts[-3:])) for path in schedule.folder.glob("*/*/*")
    )
    day = chance.choice(days[-10:])
    if not schedule.path(entity, day).exists():
        return
    if chance.random() < 0.3:
        schedule.deliver_again(entity, day)  # a delta becomes a full load
    elif chance.random() < 0.3:
        schedule.touch(entity, day)


def _catalog(entities: Sequence[str]) -> dict[str, Any]:
    """A catalog of these streams only."""
    streams = [
        {
            "tap_stream_id": stream_of(entity),
            "stream": stream_of(entity),
            "schema": {"properties": {}},
            "metadata": [{"breadcrumb": [], "metadata": {"selected": True}}],
        }
        for entity in entities
    ]
    return {"streams": streams}
