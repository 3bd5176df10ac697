"""Simpplr's days through the real Meltano and target-postgres."""

from __future__ import annotations

import sys
from datetime import date
from typing import TYPE_CHECKING

from tap_simpplr.delivered import stream_of
from tap_simpplr.sample_data import Company
from tap_simpplr.schedule import Schedule
from tests import ROOT
from tests.loaders import Postgres, in_meltano
from tests.project import UNTIL_CUT, Project
from tests.simpplr.test_sixty_days import own, truth
from tests.simpplr.tree import settings

if TYPE_CHECKING:
    from pathlib import Path

ENTITIES = ("user", "user logins", "section instance")

# Starts the tap as `meltano run` does, once the next of the deliveries that wait has arrived, so
# that one process of Meltano can make several runs. A run is killed after the lines in `cut`.
TAP = f"""#!{sys.executable}
import pathlib, shutil, subprocess, sys
command = [sys.executable, "-m", "tap_simpplr", *sys.argv[1:]]
here = pathlib.Path(__file__).parent
lines = 0
if not {{"--discover", "--version"}} & set(sys.argv):
    delivery = min((here / "queue").iterdir())
    cut = delivery / "cut"
    lines = int(cut.read_text()) if cut.exists() else 0
    cut.unlink(missing_ok=True)
    shutil.copytree(delivery, here / "tree", dirs_exist_ok=True)
    shutil.rmtree(delivery)
tap = subprocess.Popen(
    command, env={{"PYTHONPATH": {str(ROOT)!r}}}, stdout=subprocess.PIPE if lines else None
)
"""


def _project(folder: Path, loader: Postgres) -> Project:
    """A project that loads three entities from a folder."""
    config = {"tap-simpplr": settings(folder / "tree"), loader.NAME: loader.config}
    project = Project(folder, config)
    (tap,) = (p for p in project.description["plugins"]["extractors"] if p["name"] == "tap-simpplr")
    program = folder / "tap"
    program.write_text(TAP + UNTIL_CUT)
    program.chmod(0o755)
    select = [f"{stream_of(entity)}.*" for entity in ENTITIES]
    # Meltano only caches the catalogs of plugins that it could install.
    cached = {"use_cached_catalog": True, "pip_url": "tap-firstup-dde"}
    tap |= {"executable": str(program), "select": select, **cached}
    project.write()
    (folder / "tree").mkdir()
    return project


def test_ten_runs(database: str, tmp_path: Path) -> None:
    """Ten runs with late, overwritten and complete days, two of them killed: tables are right."""
    loader = Postgres(tmp_path, database, in_meltano(Postgres.NAME))
    project = _project(tmp_path, loader)
    schedule = Schedule(tmp_path, date(2026, 1, 14), Company(5, rows=40))
    schedule.register(ENTITIES, "daily")
    waiting = 0

    def day(*late: str, cut: int = 0) -> None:
        """Let a day pass; its files arrive when the tap is started next."""
        nonlocal waiting
        waiting += 1
        before, schedule.folder = schedule.folder, tmp_path / "queue" / f"{waiting:02}"
        schedule.held = {
            schedule.folder / path.relative_to(before): content
            for path, content in schedule.held.items()
        }
        schedule.next_day(hold=late)
        if cut:
            (schedule.folder / "cut").write_text(str(cut))

    def run() -> int:
        """Run the pipeline once for each day that waits."""
        queue = tmp_path / "queue"
        blocks = ("tap-simpplr", loader.NAME) * len([*queue.iterdir()])
        status = project.run("run", "--force", "--no-install", *blocks)
        assert [*queue.iterdir()] == [], project.log
        return status

    def check() -> None:
        for entity in ENTITIES:
            rows = sorted(map(own, loader.rows(stream_of(entity))), key=str)
            assert rows == truth(schedule, entity), entity

    day()  # 1
    day("user", "user logins")  # 2
    day()  # 3
    schedule.release()
    schedule.queue_full_load(["user logins", "section instance"])
    day("section instance", cut=70)  # 4: killed
    assert run() == 1, project.log
    day()  # 5
    schedule.deliver_again("user", date(2026, 1, 16))
    day()  # 6
    schedule.release()
    day(cut=12)  # 7: killed
    schedule.deliver_again("user logins", date(2026, 1, 18))
    assert run() == 1, project.log
    day("user")  # 8
    day()  # 9
    schedule.release()
    day()  # 10
    assert run() == 0, project.log
    assert waiting == 10
    check()
    assert {*loader.columns("user_logins")} >= {"_sdc_row_hash", "_sdc_row_occurrence"}
