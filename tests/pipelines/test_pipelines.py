"""Pipelines as in production: `meltano run`, repeatedly, into real databases."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from tap_firstup_dde.emulator import Emulator
from tests import ROOT
from tests.exports import TYPES, Firstup
from tests.loaders import (
    JSONL,
    DuckDB,
    Export,
    Loader,
    Misfit,
    Postgres,
    add,
    expected,
    found,
    in_meltano,
    program,
)
from tests.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from filetap.testing.warm import Started

LONG = 8_000  # rows of the file in the middle of which a run is cut off
OPTIONS = ("--force", "--no-install")
BATCH = 1000  # rows that are loaded at a time


@pytest.fixture(params=["postgres", "postgres BATCH", "duckdb", "jsonl"])
def loader(request: pytest.FixtureRequest, tmp_path: Path) -> Loader:
    """Each loader, with empty tables."""
    if request.param == "duckdb":
        return DuckDB(tmp_path)
    if request.param == "jsonl":
        return JSONL(tmp_path)
    return Postgres(tmp_path, request.getfixturevalue("database"), in_meltano(Postgres.NAME))


@pytest.fixture
def project(
    request: pytest.FixtureRequest, loader: Loader, emulator: Emulator, tmp_path: Path
) -> Project:
    """A project that loads from the emulator with a loader."""
    tap: dict[str, Any] = {**emulator.settings, "max_retries": 0}
    if "BATCH" in request.node.callspec.id:
        storage = {"root": str(tmp_path / "batches")}
        tap["batch_config"] = {
            "encoding": {"format": "jsonl", "compression": "gzip"},
            "storage": storage,
            "batch_size": BATCH,
        }
    load = {**loader.config, "batch_size_rows": BATCH}
    made = Project(tmp_path, {"tap-firstup-dde": tap, loader.NAME: load})
    if request.node.callspec.id != "postgres":  # the other way than in meltano.yml
        extractor = made.plugin("tap-firstup-dde")
        # Meltano only caches the catalogs of plugins that it could install.
        extractor |= {"use_cached_catalog": True, "pip_url": "tap-firstup-dde"}
        made.write()
    return made


def _wait(until: Callable[[], object], meltano: Started, project: Project) -> None:
    """Wait for something that should happen before the run ends."""
    deadline = time.monotonic() + 60
    while not until():
        assert meltano.poll() is None, project.log
        assert time.monotonic() < deadline, project.log
        time.sleep(0.05)


def _cut_off(loader: Loader, emulator: Emulator, project: Project, who: str) -> None:
    """Run Meltano, and kill everything or the loader alone once it has started a long file."""
    before = len(emulator.requests)
    loaded = loader.size("activities")
    meltano = project.start("run", *OPTIONS, "tap-firstup-dde", loader.NAME)
    _wait(lambda: loader.size("activities") != loaded, meltano, project)
    if who == "all":
        os.killpg(meltano.pid, signal.SIGKILL)
    else:
        rows = subprocess.check_output(
            ["/bin/ps", "-A", "-ww", "-o", "pid=,pgid=,args="], text=True
        )
        (victim,) = (
            int(row.split()[0])
            for row in rows.splitlines()
            if int(row.split()[1]) == meltano.pid and str(loader.program) in row
        )
        os.kill(victim, signal.SIGKILL)
    assert meltano.wait(timeout=60) != 0, project.log
    assert any(request.route == "download" for request in emulator.requests[before:])


def test_ten_runs(
    request: pytest.FixtureRequest, emulator: Emulator, loader: Loader, project: Project
) -> None:
    """Whatever happens in ten runs, in the end each row is loaded, and keys have their newest.

    In append-only targets, rows of a run that was cut off may be repeated, unchanged; `make soak`
    runs one of them, too.
    ``--force``, because for five minutes Meltano treats a killed run as still active.
    New columns are added with and without a cached catalog.
    """
    if isinstance(loader, JSONL) and request.config.getoption("--pipeline-runs") == 1:
        pytest.skip("for the sake of time; see make soak")
    firstup = Firstup(emulator, seed=7)

    def run() -> None:
        status = project.run("run", *OPTIONS, "tap-firstup-dde", loader.NAME)
        assert status == 0, project.log[-6000:]
        for stream, types in TYPES.items():
            there = found(stream, types, loader, again=isinstance(loader, JSONL))
            wanted = expected(firstup.sent, stream, types, loader)
            assert dict(wanted.items() - there.items()) == {}
            assert dict(there.items() - wanted.items()) == {}

    firstup.generate(0, drop=["team", "device"])
    firstup.generate(4, drop=["team", "device"])
    run()  # 1
    firstup.generate(8, drop=["note"], drift=True)
    run()  # 2: new columns, one is gone, and values that do not fit
    run()  # 3: nothing new
    firstup.generate(12, rows=LONG)
    _cut_off(loader, emulator, project, "all")  # 4
    firstup.generate(16)
    run()  # 5
    firstup.generate(20, rows=LONG, drop=["device"])
    _cut_off(loader, emulator, project, "loader")  # 6
    run()  # 7
    # Late, of a generation that was there before, with people who are nowhere else.
    firstup.generate(10, people=range(500, 520), streams=["users", "activities"])
    firstup.generate(24, drift=True)
    firstup.generate(24, drift=True, file_name="001.csv", people=range(700, 800))
    run()  # 8
    del emulator.files[:9]  # rows that Firstup no longer has remain loaded
    run()  # 9
    firstup.generate(28)
    run()  # 10
    cached = project.folder / ".meltano" / "run" / "tap-firstup-dde" / "tap.properties.cache_key"
    is_new_each_time = request.node.callspec.id == "postgres"
    assert cached.exists() != is_new_each_time
    assert ("Running catalog discovery" in project.log) == is_new_each_time


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an S3 server of our own with the bucket `states`."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key-of-the-bucket")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-bucket")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    store = s3fs.S3FileSystem(endpoint_url=url, skip_instance_cache=True)
    store.mkdir("states")
    yield url
    server.stop()


def _checkout(folder: Path, settings: Mapping[str, Mapping[str, Any]]) -> Project:
    """What a CI job starts with: the repository's files, and nothing from earlier jobs."""
    (folder / "examples").mkdir(parents=True)
    shutil.copytree(ROOT / "examples" / "ci", folder / "examples" / "ci")
    return Project(folder, settings)


def _elt(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script of the example, with Meltano on the PATH as the job has it."""
    return subprocess.run(
        [project.folder / "examples" / "ci" / "elt.sh", *arguments],
        cwd=project.folder,
        env=project.env | {"PATH": f"{program('meltano').parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_ci_job(emulator: Emulator, database: str, bucket: str, tmp_path: Path) -> None:
    """A job whose only memory is its state, in a bucket, loads each file once despite failures.

    It does not start without a bucket, nor while another job runs.
    """
    loader = Postgres(tmp_path, database, in_meltano(Postgres.NAME))
    firstup = Firstup(emulator, seed=11)
    tap = {**emulator.settings, "max_retries": 0}
    settings = {"tap-firstup-dde": tap, "target-postgres": loader.config}

    def job(number: int) -> tuple[Project, subprocess.CompletedProcess[str]]:
        project = _checkout(tmp_path / f"job-{number}", settings)
        project.env |= {
            "MELTANO_STATE_BACKEND_URI": "s3://states/firstup",
            "AWS_ENDPOINT_URL_S3": bucket,
            "GITHUB_STEP_SUMMARY": str(project.folder / "step.md"),
        }
        return project, _elt(project)

    firstup.generate(0)
    project, done = job(1)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["status"] == "succeeded"

    firstup.generate(4)
    damage = emulator.fail("download", corrupt_at=50, times=None)
    project, done = job(2)
    assert done.returncode == 1
    assert "CRC64NVME" in done.stderr
    assert "CRC64NVME" in json.loads(done.stdout)["error"]
    log = (project.folder / "elt.log").read_text()
    for secret in (emulator.client_secret, "secret-of-the-bucket", "X-Amz-"):
        assert secret not in log + done.stderr

    damage.times = 0
    project, done = job(3)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| users | 1 | " in (project.folder / "step.md").read_text()
    log = (project.folder / "elt.log").read_text()
    for stream, types in TYPES.items():
        assert f"{stream}: 1 of 2 files to read" in log
        assert found(stream, types, loader) == expected(firstup.sent, stream, types, loader)

    with (project.folder / ".elt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert _elt(project).returncode == 75
    del project.env["MELTANO_STATE_BACKEND_URI"]
    done = _elt(project)
    assert done.returncode not in {0, 75}
    assert "MELTANO_STATE_BACKEND_URI" in done.stderr


def test_several_programs(emulator: Emulator, database: str, tmp_path: Path) -> None:
    """Two programs in one project each have their schema and state; a token mix-up is refused."""
    loader = Postgres(tmp_path, database, in_meltano(Postgres.NAME))
    with Emulator(program_id="777", client_id="emea", client_secret="of-emea") as other:  # noqa: S106
        programs = {"emea": other, "us": emulator}
        project = Project(tmp_path, {"target-postgres": {"sqlalchemy_url": loader.url}})
        for name, firstup in programs.items():
            firstup.add("users", "2026-05-14-00", f"user_id,first_name\n1,{name}\n")
            project.description["plugins"]["extractors"].append(
                {
                    "name": f"tap-firstup-dde--{name}",
                    "inherit_from": "tap-firstup-dde",
                    "load_schema": f"{loader.schema}_{name}",
                }
            )
            project.set(f"tap-firstup-dde--{name}", firstup.settings)
        project.write()

        def run(name: str) -> int:
            return project.run("run", f"tap-firstup-dde--{name}", "target-postgres")

        def names(name: str) -> list[Any]:
            query = f"select first_name from {loader.schema}_{name}.users order by 1"  # noqa: S608
            return [row["first_name"] for row in loader.query(query)]

        for name, firstup in programs.items():
            assert run(name) == 0, project.log
            assert names(name) == [name]
            again = f"user_id,first_name\n2,{name} again\n"
            firstup.add("users", "2026-05-14-04", again).checksum = ""
            assert run(name) == 0, project.log
            # Each warning once, at its level, though discovery reads the file too.
            (line,) = (x for x in project.log.splitlines() if "no checksum is available" in x)
            assert "[warning" in line
            assert names(name) == [name, f"{name} again"]
            assert "users: 1 of 2 files to read" in project.log
        project.set("tap-firstup-dde--us", other.settings)
        assert run("us") == 1
        (line,) = (x for x in project.log.splitlines() if "the state belongs to program" in x)
        assert "[error" in line
        assert names("us") == ["us", "us again"]


def test_full_refresh(emulator: Emulator, database: str, tmp_path: Path) -> None:
    """A full refresh keeps rows that Firstup no longer has; differently inferred types are refused.

    It starts without a state, and so without the types that were emitted: the loader fails and
    leaves the table alone, until `column_types` names them.
    """
    loader = Postgres(tmp_path, database, in_meltano(Postgres.NAME))
    tap = emulator.settings
    project = Project(tmp_path, {"tap-firstup-dde": tap, "target-postgres": loader.config})
    types = {"user_id": "string", "tenure": "integer"}
    sent = {}
    for export in (
        Export("users", "2026-05-14-00", {"user_id": ["1"], "tenure": ["5"]}),
        Export("users", "2026-05-14-04", {"user_id": ["2"], "tenure": [Misfit("A123")]}),
    ):
        sent[add(emulator, export)] = export
        assert project.run("run", "tap-firstup-dde", "target-postgres") == 0, project.log
    before = found("users", types, loader)
    assert before == expected(sent, "users", types, loader)
    del emulator.files[0]
    assert project.run("run", "--full-refresh", "tap-firstup-dde", "target-postgres") == 1
    assert found("users", types, loader) == before
    project.set("tap-firstup-dde", {"column_types": {"users": {"tenure": "integer"}}})
    assert project.run("run", "--full-refresh", "tap-firstup-dde", "target-postgres") == 0
    assert found("users", types, loader) == before
