"""``firstup-dde emulate`` serves until it is stopped, and prints how to reach it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
import requests
from click.testing import CliRunner

from tap_firstup_dde.cli import main
from tap_firstup_dde.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = (sys.executable, "-W", "error", "-c", "from tap_firstup_dde.cli import main; main()")


@contextmanager
def emulate(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run the command; yields its process and its settings."""
    with subprocess.Popen(  # our own command
        [*COMMAND, "emulate", "--rows", "20", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def ask(settings: dict[str, str], path: str) -> Any:
    """Call the API with the credentials from the ready line."""
    form = {"grant_type": "client_credentials"}
    form |= {name: settings[name] for name in ("client_id", "client_secret")}
    with requests.Session() as session:
        token = session.post(f"{settings['auth_url']}/oauth/token", data=form).json()
        session.headers["Authorization"] = f"Bearer {token['access_token']}"
        answer = session.get(f"{settings['api_url']}/v2/data_exports/type/{path}")
        return answer.json()["data"]


def listed(settings: dict[str, str], stream: str) -> list[str]:
    """The generations of a stream's files."""
    return [file["generated_at"] for file in ask(settings, stream)["files"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ready_and_stop(number: signal.Signals) -> None:
    """One line of JSON says how to reach it; SIGTERM and SIGINT end it with status 0."""
    with emulate() as (process, settings):
        assert set(settings) == {"api_url", "auth_url", "client_id", "client_secret"}
        assert len(listed(settings, "users")) == 6
        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)
    assert (process.returncode, rest) == (0, "")
    assert "Traceback" not in errors


def test_generations() -> None:
    """The requested number of generations end at the last full four hours before now."""
    before = datetime.now(UTC)
    with emulate("--generations", "2", "--parts", "1") as (_, settings):
        files = listed(settings, "activities")
    times = [datetime.strptime(f"{file}+0000", "%Y-%m-%d-%H%z") for file in files]
    first, newest = times
    assert newest - first == timedelta(hours=4)
    assert newest.hour % 4 == 0
    assert before - timedelta(hours=4) < newest <= datetime.now(UTC)


def test_seed() -> None:
    """The same seed serves the same files, another seed others."""

    def checksums(seed: int) -> list[str]:
        with emulate("--seed", str(seed), "--generations", "1") as (_, settings):
            return [file["checksum"] for file in ask(settings, "users/latest")]

    assert checksums(1) == checksums(1) != checksums(2)


def test_new_every() -> None:
    """With --new-every further generations appear by themselves."""
    options = ("--generations", "0", "--new-every", "0.1")
    with emulate(*options) as (process, settings):
        deadline = time.monotonic() + 10
        while len(listed(settings, "users")) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(set(listed(settings, "users"))) >= 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_no_generation_of_the_future() -> None:
    """Requested generations are new, and none is later than now."""
    with emulate("--parts", "1") as (_, settings):
        for _ in range(6):
            requests.post(f"{settings['api_url']}/emulator/generations", timeout=10).close()
        files = listed(settings, "users")
    times = [datetime.strptime(f"{file}+0000", "%Y-%m-%d-%H%z") for file in files]
    assert len(set(times)) == 9
    assert max(times) <= datetime.now(UTC)


def test_port_in_use() -> None:
    """A port in use ends it with status 1 and one line that says so."""
    with Emulator() as emulator:
        run = CliRunner().invoke(main, ["emulate", "--port", str(emulator.port)])
    assert run.exit_code == 1
    assert run.stdout == ""
    assert run.stderr == (
        f"Error: cannot serve on 127.0.0.1:{emulator.port}: address already in use;"
        " try another --port\n"
    )


@pytest.mark.parametrize("command", ["", *main.program.commands])
def test_help(command: str) -> None:
    """Each command's help ends with an example."""
    run = CliRunner().invoke(main, [*command.split(), "--help"])
    assert run.exit_code == 0
    assert run.stdout.rstrip().rpartition("\n\n")[2].strip().startswith("Example: firstup-dde")


def test_version() -> None:
    """--version prints the distribution's version."""
    try:
        version = metadata.version("tap-firstup-dde")
    except metadata.PackageNotFoundError:
        pytest.skip("tap-firstup-dde is not installed")
    assert CliRunner().invoke(main, ["--version"]).stdout == f"firstup-dde, version {version}\n"


def test_help_is_light() -> None:
    """Help loads neither the tap nor the emulator nor a data library."""
    program = (
        "import sys; from tap_firstup_dde.cli import main; main(['--help'], standalone_mode=False);"
        "heavy = {'singer_sdk', 'polars', 'awscrt', 'requests'} & set(sys.modules);"
        "sys.exit(' '.join(heavy) or 0)"
    )
    run = subprocess.run(  # our own command
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
