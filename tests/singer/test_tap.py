"""The command line: settings, one-line errors, no secret anywhere."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from filetap.setting_checks import faults
from tap_firstup_dde.vendor import FIRSTUP
from tests.runs import command, settings, write

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator


def _error(log: str) -> str:
    """The one line that says why; everything else on stderr is information."""
    assert "Traceback" not in log
    errors = [line for line in log.splitlines() if "| ERROR" in line or "| CRITICAL" in line]
    assert len(errors) == 1, log
    assert log.splitlines()[-1] == errors[0]
    return errors[0]


def test_settings_from_file_and_environment(emulator: Emulator, tmp_path: Path) -> None:
    """Settings come from --config FILE, or from the environment with --config=ENV or neither."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    env = {f"TAP_FIRSTUP_DDE_{k.upper()}": v for k, v in emulator.settings.items()}
    runs = [
        command("--config", write(tmp_path, "config.json", settings(emulator))),
        command("--config", "ENV", env=env),
        command(env=env),
    ]
    assert [(r.status, len(r.records("users"))) for r in runs] == [(0, 1)] * 3


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "no credentials"),
        ({"client_id": "a"}, "no credentials"),
        ({"client_id": "a", "client_secret": " \n"}, "no credentials"),
        ({"access_token": "\t"}, "no credentials"),
        ({"region": "mars"}, "'mars' is not one of ['us1', 'us2', 'eu']"),
        ({"access_token": "t", "api_url": "http://example.com"}, "api_url is not an https URL"),
        ({"access_token": "t", "auth_url": "ftp://example.com"}, "auth_url is not an https URL"),
        ({"access_token": "t", "api_url": "http://[::bad"}, "api_url is not an https URL"),
        ({"access_token": "t", "start_date": "soon"}, "start_date 'soon' is not a time"),
        ({"access_token": "t", "spool_dir": "/no/such/folder"}, "spool_dir"),
        ({"access_token": "t", "spool_dir": "/" + "x" * 300}, "spool_dir"),
        ({"access_token": "t", "lookback_days": -1}, "lookback_days"),
        ({"access_token": "t", "column_types": {"users": {"a": "money"}}}, "'money' is not one of"),
        ({"access_token": "t", "column_types": {"people": {}}}, "'people' is not one of"),
        ({"access_token": "t", "primary_keys": {"users": []}}, "primary_keys"),
        (
            {
                "access_token": "t",
                "stream_maps": {"users": {"a": "user_id"}},
                "batch_config": {
                    "encoding": {"format": "jsonl", "compression": "gzip"},
                    "storage": {"root": "file:///tmp"},
                },
            },
            "batch_config cannot be used with stream_maps",
        ),
    ],
)
def test_wrong_settings(tmp_path: Path, config: dict[str, Any], says: str) -> None:
    """Wrong settings end with status 1 and one line that names the setting, in a run and before."""
    path = write(tmp_path, "config.json", config)
    for arguments in ((), ("--discover",), ("--test",)):
        done = command("--config", path, *arguments)
        assert done.status == 1
        assert done.messages == []
        assert says in _error(done.log)


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ({"folder": {"url": "http://example.com/x"}}, ["folder.url"]),
        ({"folder": {"url": "simplecache::HTTP://10.0.0.1/x"}}, ["folder.url"]),
        (
            {"folder": {"url": "s3://b", "options": {"client": {"endpoint_url": "http://minio"}}}},
            ["folder.options.client.endpoint_url"],
        ),
        (
            {
                "batch_config": {
                    "encoding": {"format": "jsonl", "compression": "gzip"},
                    "storage": {"root": "file:///x", "params": {"proxy": "http://minio:9000"}},
                }
            },
            ["batch_config.storage.params.proxy"],
        ),
        ({"folder": {"url": "http://127.0.0.1:8000/x"}}, []),
        ({"folder": {"url": "s3://b", "options": {"endpoint_url": "http://localhost:9000"}}}, []),
        ({"folder": {"url": "s3://b", "options": {"endpoint_url": "https://minio"}}}, []),
        ({"folder": {"url": "/mnt/http/x"}}, []),
    ],
)
def test_plain_http_is_for_loopback_only(setting: dict[str, Any], names: list[str]) -> None:
    """No setting, at any depth, has an http URL of another host."""
    says = "is not an https URL (http is for loopback hosts only)"
    assert faults({"access_token": "t", **setting}, FIRSTUP) == [f"{n} {says}" for n in names]


def _unreachable() -> str:
    """A URL on loopback where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    ("prepare", "config", "says"),
    [
        (lambda e: None, {"api_url": _unreachable()}, "connection was refused"),
        (lambda e: None, {"auth_url": _unreachable()}, "connection was refused"),
        (lambda e: None, {"api_url": "https://firstup.invalid"}, "cannot be resolved"),
        (lambda e: None, {"client_secret": "wrong"}, "check client_id, client_secret"),
        (lambda e: None, {"access_token": "stale"}, "invalid or expired (401)"),
        (lambda e: setattr(e, "scope", "other"), {}, "data_exports.read"),
        (lambda e: e.fail("list", status=400, times=None), {}, "refused the request (400)"),
        (lambda e: e.fail("list", status=418, times=None), {}, "answered 418"),
        (lambda e: e.fail("list", status=503, times=None), {}, "answered 503"),
        (lambda e: e.fail("list", status=200, body="<html>", times=None), {}, "not a JSON object"),
        (lambda e: setattr(e.files[0], "gone", True), {}, "expired between list and download"),
        (lambda e: setattr(e.files[0], "size_bytes", 1), {}, "instead of 1"),
        (lambda e: setattr(e.files[0], "generated_at", "noon"), {}, "'noon' is not YYYY-MM-DD-HH"),
        (lambda e: e.fail("download", status=403, times=None), {}, "URL was refused (403)"),
    ],
)
def test_foreseen_failures(
    emulator: Emulator, tmp_path: Path, prepare: Any, config: dict[str, Any], says: str
) -> None:
    """External failures end the run with status 1 and one line; no record, no secret."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    prepare(emulator)
    merged = {**settings(emulator, max_retries=1), **config}
    path = write(tmp_path, "config.json", merged)
    done = command("--config", path, env={"TAP_FIRSTUP_DDE_LOGLEVEL": "DEBUG"})
    assert done.status == 1
    assert done.of("RECORD") == []
    assert says in _error(done.log)
    _assert_no_secret(done.log, emulator, merged)


def _assert_no_secret(log: str, emulator: Emulator, config: dict[str, Any]) -> None:
    """Neither secrets nor tokens nor presigned queries are in *log*."""
    tokens = [r.headers.get("authorization", "Bearer -----").split()[1] for r in emulator.requests]
    secrets = {config["client_secret"], config.get("access_token", "-----"), *tokens}
    for secret in (*secrets, "X-Amz-", "Signature"):
        assert secret not in log


def test_no_secret_in_a_good_run(emulator: Emulator, tmp_path: Path) -> None:
    """Not even DEBUG logs of a successful run contain a secret or a presigned query."""
    emulator.add_generation(rows=20)
    emulator.fail("download", drop_after=50)
    emulator.fail("download", status=503)
    path = write(tmp_path, "config.json", settings(emulator))
    done = command("--config", path, env={"TAP_FIRSTUP_DDE_LOGLEVEL": "DEBUG"})
    assert done.status == 0
    assert "DEBUG" in done.log
    _assert_no_secret(done.log, emulator, settings(emulator))


def test_secret_of_the_wrong_type_is_not_shown(tmp_path: Path) -> None:
    """A secret that fails validation is redacted in the message."""
    path = write(tmp_path, "config.json", {"client_id": "a", "client_secret": 987654321})
    done = command("--config", path)
    assert "987654321" not in done.log
    assert "client_secret" in _error(done.log)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--config", "no-such-file.json"), "no-such-file.json"),
        (("--config", "GOOD", "--state", "no-such-file.json"), "no-such-file.json"),
        (("--config", "BROKEN"), "not JSON"),
        (("--config", "LIST"), "is not a JSON object"),
        (("--config", "GOOD", "--catalog", "LIST"), "catalog cannot be read"),
        (("--config", "GOOD", "--state", "LIST"), "state cannot be read"),
        (("--config", "GOOD", "--state", "BROKEN"), "not JSON"),
        (("--config", "GOOD", "--catalog", "BROKEN"), "not JSON"),
        (("--config", "GOOD", "--state", "ODD"), "the state cannot be read"),
    ],
)
def test_wrong_files(
    emulator: Emulator, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    """A missing or broken settings, state or catalog file is one clear line."""
    odd = {"bookmarks": {"activities": {"replication_key_value": "yesterday"}}}
    files = {
        "GOOD": write(tmp_path, "good.json", settings(emulator)),
        "ODD": write(tmp_path, "odd.json", odd),
        "LIST": write(tmp_path, "list.json", ["a", "b"]),
        "BROKEN": str(tmp_path / "broken.json"),
    }
    (tmp_path / "broken.json").write_text("{")
    done = command(*(files.get(argument, argument) for argument in arguments))
    assert done.status == 1
    assert says in _error(done.log)


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("LOOKBACK_DAYS", "abc", "TAP_FIRSTUP_DDE_LOOKBACK_DAYS is not an integer"),
        ("COLUMN_TYPES", "{", "TAP_FIRSTUP_DDE_COLUMN_TYPES is not JSON"),
        ("REQUEST_TIMEOUT", "soon", "request_timeout"),
        ("REQUEST_TIMEOUT", "0", "request_timeout"),
        ("ACCESS_TOKEN", "two words", "access_token contains spaces"),
        ("BATCH_CONFIG", '{"encoding": {"format": "jsonl"}}', "batch_config needs"),
        ("STREAM_MAPS", '{"users": {"x": "nope(("}}', "stream_maps:"),
        ("STREAM_MAPS", '{"users": {"x": "zzz"}}', "stream_maps:"),
    ],
)
def test_wrong_environment(emulator: Emulator, variable: str, value: str, says: str) -> None:
    """A setting in the environment that cannot be used is named in one line."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    env = {f"TAP_FIRSTUP_DDE_{k.upper()}": v for k, v in emulator.settings.items()}
    done = command(env={**env, f"TAP_FIRSTUP_DDE_{variable}": value})
    assert done.status == 1
    assert says in _error(done.log)


def test_odd_but_usable_settings(emulator: Emulator) -> None:
    """A token with a line end, a fraction of a second, an API URL with /v2 are understood."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    env = {
        "TAP_FIRSTUP_DDE_API_URL": f"{emulator.url}/v2/",
        "TAP_FIRSTUP_DDE_ACCESS_TOKEN": f"{emulator.issue_token()}\r\n",
        "TAP_FIRSTUP_DDE_REQUEST_TIMEOUT": "7.5",
    }
    done = command(env=env)
    assert (done.status, len(done.records("users"))) == (0, 1)


def test_unusable_token_is_not_shown(emulator: Emulator) -> None:
    """A token that cannot be sent is an error that does not show it."""
    answer = json.dumps({"access_token": "precious\nthing"})
    emulator.fail("token", status=200, body=answer, times=None)
    env = {f"TAP_FIRSTUP_DDE_{k.upper()}": v for k, v in emulator.settings.items()}
    done = command(env=env)
    assert done.status == 1
    assert "no usable access_token" in _error(done.log)
    assert "precious" not in done.log


def test_unknown_setting(emulator: Emulator, tmp_path: Path) -> None:
    """A misspelt setting is only reported."""
    path = write(tmp_path, "config.json", settings(emulator, start_dat="2026-05-14"))
    done = command("--config", path)
    assert done.status == 0
    assert "the setting start_dat is not known" in done.log


def test_no_warning_about_open_files(emulator: Emulator, tmp_path: Path) -> None:
    """An error leaves no file open, about which Python would warn."""
    config = write(tmp_path, "c.json", settings(emulator, client_id="other"))
    state = write(tmp_path, "s.json", {})
    arguments = ("--config", config, "--state", state, "--discover")
    done = command(*arguments, env={"PYTHONWARNINGS": "always::ResourceWarning"})
    assert "ResourceWarning" not in done.log
    _error(done.log)


@pytest.mark.parametrize(
    "state", [{"users": {}}, {"bookmarks": {"users": None}}, {"bookmarks": []}, []]
)
def test_odd_states(emulator: Emulator, tmp_path: Path, state: Any) -> None:
    """A state of another shape is one clear line."""
    paths = [write(tmp_path, "c.json", settings(emulator)), write(tmp_path, "s.json", state)]
    done = command("--config", paths[0], "--state", paths[1])
    assert done.status == 1
    assert "state cannot be read" in _error(done.log)


@pytest.mark.parametrize("sink", ["| head -1", "> /dev/full", ">&-"])
def test_nobody_listens(emulator: Emulator, tmp_path: Path, sink: str) -> None:
    """A closed pipe, a full disk or no stdout end the run with status 1 and one line."""
    emulator.add("users", "2026-05-14-16", "user_id\n" + "1\n" * 50_000)
    path = write(tmp_path, "config.json", settings(emulator))
    script = f'set -o pipefail; "{sys.executable}" -m tap_firstup_dde --config "{path}" {sink}'
    done = command("-c", script, program=["bash"])
    assert done.status == 1
    assert "messages cannot be written" in done.log or "stdout is closed" in done.log
    _error(done.log)


def test_about_and_version() -> None:
    """--about describes every setting with a title; secrets are marked as such."""
    done = command("--about", "--format", "json")
    assert done.status == 0
    assert command("--version").status == 0


def test_discover_and_test(emulator: Emulator, tmp_path: Path) -> None:
    """--discover prints a catalog, --test reads one record per stream."""
    emulator.add_generation(rows=20)
    path = write(tmp_path, "config.json", settings(emulator))
    tested = command("--config", path, "--test")
    assert tested.status == 0
    assert [len(tested.records(s)) for s in ("activities", "campaigns", "users")] == [1, 1, 1]
    assert len(command("--config", path, "--test=schema").of("SCHEMA")) == 3
    assert json.dumps(settings(emulator)["client_secret"]) not in tested.log


def test_nothing_new_loads_little(tmp_path: Path) -> None:
    """A run that finds no files loads neither polars nor numpy; joblib can be imported later."""
    (tmp_path / "exports").mkdir()
    path = write(tmp_path, "c.json", {"folder": {"url": str(tmp_path / "exports")}})
    script = f"""
import sys
from filetap.singer.main import run_program
sys.argv[1:] = ["--config", {str(path)!r}]
try:
    run_program("tap_firstup_dde.tap:TapFirstupDDE")
finally:
    loaded = [name for name in ("polars.dataframe", "numpy", "joblib") if name in sys.modules]
    import joblib
    print(loaded, joblib.Parallel is not None, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[] True"
