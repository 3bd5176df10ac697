"""Slips of people who set the tap up: none passes without an error or a warning."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from filetap.environment import unknown_variables
from filetap.errors import ExportError, StateError
from filetap.jobs.state import read_job_state
from filetap.vendor import Documented, StreamSpec
from tests.runs import command, run, settings, write

if TYPE_CHECKING:
    from pathlib import Path

    from tap_firstup_dde.emulator import Emulator

PREFIX = "TAP_FIRSTUP_DDE_"


def test_another_taps_files(emulator: Emulator) -> None:
    """A catalog or a state with other streams only is refused; one stream is enough."""
    orders = {"tap_stream_id": "orders", "schema": {"properties": {}}, "metadata": []}
    with pytest.raises(ExportError, match="the catalog has none of the streams campaigns, users"):
        run(settings(emulator), catalog={"streams": [orders]})
    with pytest.raises(StateError, match="the state is about orders, and none of the streams"):
        run(settings(emulator), {"bookmarks": {"orders": {}}})
    run(settings(emulator), {"bookmarks": {"orders": {}, "users": {}}})


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"replication_key_value": "garbage"}, "the state cannot be read: 'garbage' is not a time"),
        ({"in_progress": {"file": "a"}}, "the state cannot be read: a member is missing"),
        ({"types": {"user_id": "money"}}, "the state's types cannot be read"),
        ({"key": 5}, "the state's key cannot be read"),
        ({"replication_key": "updated_at"}, "the state's replication key is updated_at, not gene"),
    ],
)
def test_a_state_that_cannot_be_read(
    emulator: Emulator, tmp_path: Path, part: dict[str, Any], words: str
) -> None:
    """It ends the run before the first row of any stream, and the message names the stream."""
    emulator.add("campaigns", "2026-05-14-08", "campaign_id\n1\n")
    emulator.add("users", "2026-05-14-08", "user_id\n1\n")
    config = write(tmp_path, "config.json", settings(emulator))
    state = write(tmp_path, "state.json", {"bookmarks": {"users": part, "campaigns": {}}})
    done = command("--config", config, "--state", state)
    assert (done.status, done.of("RECORD")) == (1, [])
    assert f"users: {words}" in done.log


def test_another_taps_stream_of_the_same_name() -> None:
    """A job stream's replication key may be each of its times, and no other."""
    spec = StreamSpec("users", ("id",), Documented({}), times=("created_at", "received_at"))
    for key in (*spec.times, None):
        assert read_job_state({"replication_key": key}, spec).bookmark is None
    with pytest.raises(StateError, match="key is generated_at, not created_at or received_at"):
        read_job_state({"replication_key": "generated_at"}, spec)


def test_slips_in_files(emulator: Emulator, tmp_path: Path) -> None:
    """A catalog that selects nothing or has a strange stream, and quotes, are warnings."""
    top = {"breadcrumb": [], "metadata": {"selected": False}}
    users = {"tap_stream_id": "users", "schema": {"properties": {}}, "metadata": [top]}
    other = {**users, "tap_stream_id": "campaign"}
    catalog = write(tmp_path, "catalog.json", {"streams": [users, other]})
    config = write(tmp_path, "config.json", settings(emulator, hash_key="'k'"))
    done = command("--config", config, "--catalog", catalog)
    for words in (
        "the catalog selects no stream, so nothing is read",
        "the catalog has a stream campaign, which does not exist; did you mean campaigns?",
        "hash_key is in quotes, which are part of its value",
    ):
        assert (done.status, done.log.count(words)) == (0, 1), done.log


def test_which_file_is_not_json(emulator: Emulator, tmp_path: Path) -> None:
    """The message names the option and the file."""
    config, bad = write(tmp_path, "config.json", settings(emulator)), tmp_path / "bad.json"
    bad.write_text("{")
    for option in ("--config", "--catalog", "--state"):
        done = command("--config", config, option, str(bad))
        assert done.status == 1
        assert f"{option} {bad}: the file is not JSON" in done.log


def test_the_environment(emulator: Emulator) -> None:
    """Quotes and unknown levels are errors; misspelt variables and the like are warnings, once."""
    texts = {f"{PREFIX}{name.upper()}": value for name, value in settings(emulator).items()}
    for variable, text, status, says in [
        (f"{PREFIX}CLIENT_SECRET", '"quoted-secret"', 1, "CLIENT_SECRET is in quotes"),
        ("LOGLEVEL", "chatty", 1, "ERROR: LOGLEVEL is not one of DEBUG, INFO"),
        (f"{PREFIX}LOOKBACK", "3", 0, f"not a setting and has no effect; did you mean {PREFIX}LOO"),
        (f"{PREFIX}START_DATE", "2999-01-01", 0, "start_date 2999-01-01 lies in the future"),
        (f"{PREFIX}CLIENT_SECRET", f" {emulator.client_secret}\n", 0, "client_secret has white sp"),
    ]:
        done = command(env={**texts, variable: text})
        assert (done.status, done.log.count(says)) == (status, 1), (variable, done.log)
        assert "Traceback" not in done.log
        assert text.strip(' "\n') not in done.log or status == 0
        assert emulator.client_secret not in done.log


def test_variables_that_are_no_slips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, the SDK's variables and Meltano's cause no warning."""
    for name in ("CLIENT_ID", "LOGLEVEL", "_SELECT", "FOLDER_URL", "CLEINT_ID"):
        monkeypatch.setenv(f"TAP_TOYS_{name}", "1")
    assert [
        line.partition("; did you mean ")[2]
        for line in unknown_variables("TAP_TOYS_", ["client_id", "folder"])
    ] == [
        "TAP_TOYS_CLIENT_ID?",
        "TAP_TOYS_FOLDER?",
    ]


def test_checksums_are_comparable(emulator: Emulator) -> None:
    """A wrong checksum is shown beside that of the bytes, as md5sum prints it."""
    emulator.add("users", "2026-05-14-08", "user_id\n1\n")
    file = emulator.files[0]
    file.checksum, file.checksum_function = "1B2M2Y8AsgTpgAmY7PhCfg==", "MD5"
    digest = hashlib.md5(file.body, usedforsecurity=False).hexdigest()
    words = f"MD5 checksum is not d41d8cd98f00b204e9800998ecf8427e but {digest}"
    with pytest.raises(ExportError, match=words):
        run(settings(emulator, max_retries=0))
