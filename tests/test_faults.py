"""Faults that affect a run as a whole, which no test of a module covers."""

from __future__ import annotations

import gzip
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from awscrt.checksums import crc64nvme

from filetap.errors import ExportError, FormatError, IntegrityError
from filetap.redaction import Secrecy
from filetap.testing.runs import environment_without, run_command
from tap_firstup_dde.vendor import FIRSTUP
from tests.runs import TAP, command, run, settings, write

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

ROWS = "user_id\n" + "".join(f"{n:07}\n" for n in range(200_000))


def test_target_stops_reading(emulator: Emulator, tmp_path: Path) -> None:
    """A target that reads nothing for longer than any timeout does no harm.

    Downloads are on disk: no connection waits for the target.
    """
    for hour in ("12", "16", "20"):
        emulator.add("users", f"2026-05-14-{hour}", ROWS)
    config = write(tmp_path, "c.json", settings(emulator, request_timeout=1, max_retries=0))
    with subprocess.Popen(
        [sys.executable, "-m", "tap_firstup_dde", "--config", config],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as tap:
        assert tap.stdout
        tap.stdout.readline()
        time.sleep(4)
        lines = tap.stdout.read().splitlines()
    assert tap.returncode == 0
    assert sum(b'"RECORD"' in line for line in lines) == 600_000


def test_two_runs_at_once(emulator: Emulator, tmp_path: Path) -> None:
    """Two runs from one state do not disturb each other: both emit the same."""
    for _ in range(3):
        emulator.add_generation(rows=50)
    config = write(tmp_path, "c.json", settings(emulator, spool_dir=str(tmp_path)))
    done: list[Any] = []
    environment = environment_without(FIRSTUP.prefix)

    def go() -> None:
        done.append(run_command(TAP, "--config", config, env=environment))

    threads = [threading.Thread(target=go) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.status for one in done] == [0, 0]
    for stream in ("users", "campaigns", "activities"):
        assert done[0].rows(stream) == done[1].rows(stream)
    assert done[0].state == done[1].state


@pytest.mark.parametrize("jump", [timedelta(hours=3), timedelta(hours=-3)])
def test_clock_jumps(emulator: Emulator, jump: timedelta) -> None:
    """If clocks disagree, tokens and URLs expire unexpectedly, and the run continues."""
    emulator.add("users", "2026-05-14-12", "user_id\n1\n")
    emulator.add("users", "2026-05-14-16", "user_id\n2\n")
    before, asked = emulator.now, []

    def now() -> Any:
        asked.append(0)
        return before() + (jump if len(asked) > 4 else timedelta())

    emulator.now = now
    assert len(run(settings(emulator)).records("users")) == 2


def test_many_listed_files(emulator: Emulator) -> None:
    """Of ten thousand listed files a run reads only the new ones, and requests the list once."""
    for number in range(10_000):
        year, hour = 2000 + number // 24 // 28, number % 24
        emulator.add(
            "users", f"{year}-01-{1 + number // 24 % 28:02}-{hour:02}", "user_id\n1\n", gzip=False
        )
    files = sorted(emulator.files, key=lambda file: file.generated_at)
    state = {"bookmarks": {"users": {"replication_key_value": files[-4].generated_at}}}
    done = run(settings(emulator), state)
    assert len(done.records("users")) == 3
    assert emulator.count("list") == 3
    emulator.forget()
    assert run(settings(emulator), done.state).records("users") == []
    assert emulator.count("show") == 0


def test_list_that_shrinks_and_grows(emulator: Emulator) -> None:
    """With a list that lacks files for a while, no row is lost or repeated."""
    emulator.add_generation(rows=5)
    emulator.add_generation(rows=5)
    first = run(settings(emulator))
    files, emulator.files[:] = list(emulator.files), emulator.files[:1]
    second = run(settings(emulator), first.state)
    emulator.files[:] = [*reversed(files)]
    emulator.add("users", "2026-05-15-00", "user_id\n9\n")
    third = run(settings(emulator), second.state)
    assert [len(done.of("RECORD")) for done in (second, third)] == [0, 1]


def test_gap(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """If files expired between two runs, a warning names the hours and what fills the gap."""
    for day, hour in ((1, "00"), (1, "04")):
        emulator.add("users", f"2026-05-{day:02}-{hour}", "user_id\n1\n")
    first = run(settings(emulator))
    first.state["bookmarks"]["users"]["listed_on"] = "2026-05-01"
    emulator.files.clear()
    for hour in ("00", "04", "08"):
        emulator.add("users", f"2026-05-10-{hour}", "user_id\n1\n")
    caplog.clear()
    second = run(settings(emulator), first.state)
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "from 2026-05-01T04:00:00Z to 2026-05-10T00:00:00Z" in warning
    assert "historical export" in warning
    assert len(second.records("users")) == 3
    caplog.clear()
    run(settings(emulator), second.state)
    assert not [r for r in caplog.records if r.levelno == logging.WARNING]


def test_checksum_of_the_content(emulator: Emulator) -> None:
    """A checksum over the decompressed bytes is an error that says so."""
    file = emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    value = crc64nvme(gzip.decompress(file.body), 0).to_bytes(8, "big")
    file.checksum = b64encode(value).decode()
    with pytest.raises(IntegrityError, match="which is the checksum of its decompressed bytes"):
        run(settings(emulator))
    file.checksum = b64encode(b"12345678").decode()
    with pytest.raises(IntegrityError, match="checksum is not MTIzNDU2Nzg= but "):
        run(settings(emulator))


def test_bomb(emulator: Emulator, tmp_path: Path) -> None:
    """A small file that decompresses to no end is an error, and fills neither memory nor disk."""
    member = gzip.compress(b"x" * (64 << 20), 9)
    emulator.add("users", "2026-05-14-16", gzip.compress(b"user_id\n") + member * 40, gzip=False)
    path = write(tmp_path, "c.json", settings(emulator))
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_DATA, (1 << 30,) * 2);"
        "from tap_firstup_dde.tap import TapFirstupDDE; TapFirstupDDE.cli()"
    )
    done = command("--config", path, program=[sys.executable, "-c", code])
    assert done.status == 1
    assert "decompresses to more than 1000 times its size" in done.log.splitlines()[-1]
    assert "Traceback" not in done.log


def test_row_without_end(emulator: Emulator, tmp_path: Path) -> None:
    """A row above the maximum length is an error that names it."""
    emulator.add("users", "2026-05-14-16", b'user_id\n"' + b"x" * (280 << 20), gzip=False)
    done = command("--config", write(tmp_path, "c.json", settings(emulator)))
    assert done.status == 1
    assert "row 1 is longer than" in done.log.splitlines()[-1]


def test_secrets_in_foreign_messages(tmp_path: Path) -> None:
    """Whatever a library logs, with or without an exception, the output has no secret."""
    secrecy = Secrecy()
    handler = logging.FileHandler(tmp_path / "log")
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("tests.foreign")
    logger.addHandler(handler)
    logger.propagate = False
    handler.addFilter(secrecy)
    secrecy.guard({"client_secret": "precious", "params": [{"key": "also-precious"}], "id": "ab"})
    logger.error("sent %s to %s", "precious", {"key": "also-precious"})
    logger.error("GET /s3/file?X-Amz-Signature=abc&b=%d HTTP/1.1, Authorization: Bearer abc.def", 5)
    error = OSError("no connection to https://host/file?sig=abc with precious")
    logger.error("it failed about ab", exc_info=error)
    handler.close()
    told = (tmp_path / "log").read_text()
    for secret in ("precious", "X-Amz", "sig=", "abc"):
        assert secret not in told
    assert "it failed about ab" in told
    assert "OSError: no connection to https://host/file?… with ***" in told


def test_unforeseen_error_tells_no_secret(emulator: Emulator, tmp_path: Path) -> None:
    """Even the traceback of an unexpected error has no secret."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    path = write(tmp_path, "c.json", settings(emulator))
    code = (
        "from tap_firstup_dde import api, tap\n"
        "def broken(self, stream, since=None):\n"
        "    raise RuntimeError(f'a bug with {self._to.client_secret}')\n"
        "api.FirstupTransport.list_files = broken\n"
        "tap.TapFirstupDDE.cli()"
    )
    done = command("--config", path, program=[sys.executable, "-c", code])
    assert done.status == 1
    assert "a bug with ***" in done.log
    assert emulator.client_secret not in done.log
    assert json.loads((tmp_path / "c.json").read_text())["client_secret"] == emulator.client_secret


def test_header_without_end(emulator: Emulator) -> None:
    """A header row of millions of columns, or of many bytes, is an error."""
    for content, says in (
        (b"," * 4_000_000, "10000 columns"),
        (b"x" * (40 << 20), "16777216 bytes"),
    ):
        emulator.files.clear()
        emulator.add("users", "2026-05-14-16", content + b"\n1\n", gzip=False)
        with pytest.raises(FormatError, match=says):
            run(settings(emulator))


@pytest.mark.parametrize("target", ["http://[::1", "http://127.0.0.1:abc/", "https://" + "a" * 70])
@pytest.mark.parametrize("route", ["token", "list", "show", "download"])
def test_odd_redirects(emulator: Emulator, route: str, target: str) -> None:
    """A redirect to an invalid URL is an error with a message."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    emulator.fail(route, status=302, headers={"Location": target}, times=None)
    with pytest.raises(ExportError):
        run(settings(emulator, max_retries=0))


@pytest.mark.parametrize(
    "entry",
    [
        '{"id": "\\ud800", "file_name": "a", "generated_at": "2026-05-14-16"}',
        '{"id": "a", "file_name": "a", "generated_at": ' + "1" * 5000 + "}",
        "[" * 100_000,
    ],
)
def test_odd_json(emulator: Emulator, entry: str) -> None:
    """JSON that Python cannot parse is an error with a message."""
    emulator.fail("list", status=200, body='{"data": {"files": [' + entry + "]}}", times=None)
    with pytest.raises(ExportError):
        run(settings(emulator, max_retries=0))


@pytest.mark.parametrize("form", [None, "jsonl", "parquet"])
def test_nothing_of_a_file_is_selected(
    emulator: Emulator, tmp_path: Path, form: str | None
) -> None:
    """Rows count even if no selected column is in the file."""
    emulator.add("activities", "2026-05-14-12", "a,b\n1,2\n")
    emulator.add("activities", "2026-05-14-16", "b\n" + "3\n" * 50)
    hidden = ["b", "_sdc_source_lineno"]
    catalog = {
        "streams": [
            {
                "tap_stream_id": "activities",
                "schema": {"type": "object", "properties": {n: {} for n in ("a", "b")}},
                "metadata": [
                    {"breadcrumb": [], "metadata": {"selected": True}},
                    *(
                        {"breadcrumb": ["properties", name], "metadata": {"selected": False}}
                        for name in hidden
                    ),
                ],
            }
        ]
    }
    config = settings(emulator, primary_keys={"activities": ["_sdc_source_file"]})
    if form:
        config["batch_config"] = {
            "encoding": {"format": form, "compression": "none"},
            "storage": {"root": str(tmp_path)},
        }
    done = run(config, None, catalog)
    if form:
        read: Any = pl.read_ndjson if form == "jsonl" else pl.read_parquet
        assert sum(read(path).height for path in tmp_path.iterdir()) == 51
    else:
        assert [r["a"] for r in done.records("activities")] == ["1", *[None] * 50]


def test_state_behind_a_batch_covers_it(emulator: Emulator, tmp_path: Path) -> None:
    """No STATE is emitted between a BATCH and the one that covers its rows."""
    emulator.add("users", "2026-05-14-12", "user_id,n\n1,1\n")
    emulator.add("users", "2026-05-14-16", "user_id,n\n1,x\n")
    batch = {"encoding": {"format": "jsonl"}, "storage": {"root": str(tmp_path)}}
    done = run(settings(emulator, batch_config=batch))
    finished: list[int] = []
    batches = 0
    for message in done.messages:
        batches += message["type"] == "BATCH"
        if message["type"] == "STATE" and "users" in message["value"]["bookmarks"]:
            bookmark = message["value"]["bookmarks"]["users"]
            assert len(bookmark.get("finished", [])) == batches
            finished.append(batches)
    assert finished[-1] == 2


def test_late_file_after_a_foreign_state(emulator: Emulator) -> None:
    """A state with replication_key_value alone is completed by the first run, files or none."""
    emulator.add("users", "2026-05-14-12", "user_id\n1\n")
    state = {"bookmarks": {"users": {"replication_key_value": "2026-05-14T16:00:00Z"}}}
    first = run(settings(emulator), state)
    emulator.add("users", "2026-05-14-14", "user_id\n2\n")
    second = run(settings(emulator), first.state)
    assert [len(done.records("users")) for done in (first, second)] == [0, 1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "module", ["filetap.redaction", "requests", "filetap.settings", "tap_firstup_dde.vendor"]
)
def test_signal_while_loading(tmp_path: Path, number: signal.Signals, module: str) -> None:
    """A signal once some module is imported, or the last one, ends the tap silently."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it never answers, so no run ends
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = write(tmp_path, "c.json", {"access_token": "a-ready-token", "api_url": url})
        with subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "tap_firstup_dde", "--config", config],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as tap:
            assert tap.stderr
            assert any(line.split()[-1:] == [module] for line in tap.stderr)
            tap.send_signal(number)
            log = tap.stderr.read()
    assert tap.returncode == 128 + number
    assert "Traceback" not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_before_anything_heavy(tmp_path: Path, number: signal.Signals) -> None:
    """Signals end a program silently before its tap is imported; nothing heavy comes earlier."""
    (tmp_path / "slow.py").write_text(
        "import os, sys, time\n"
        "print(*sys.modules, flush=True)\n"
        f"os.kill(os.getpid(), {number.value})\n"
        "time.sleep(30)\n"
    )
    code = "from filetap.singer.main import run_program; run_program('slow:Tap')"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert (done.returncode, done.stderr) == (128 + number, "")
    heavy = {"singer_sdk", "polars", "click", "requests", "jsonschema", "msgspec"}
    assert not heavy & set(done.stdout.split())
