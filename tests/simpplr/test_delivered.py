"""What is read from a tree of Simpplr's files, in which order, and under which key."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from filetap.errors import FormatError, TransportError
from filetap.read.names import column_names
from filetap.testing.runs import run_tap
from filetap.transports import folder as folder_module
from filetap.transports.folder import FolderTransport
from filetap.transports.folder_access import OpenFolder
from tap_simpplr.delivered import ENTITIES, STREAMS, parse_path, stream_of
from tap_simpplr.tap import TapSimpplr
from tests.runs import merged
from tests.simpplr.tree import deliver, moment, names, path_of, run, settings, users

if TYPE_CHECKING:
    from pathlib import Path

    from filetap.transports.folder_walk import Found


@pytest.mark.parametrize(
    ("folder", "stream"),
    [
        ("user", "user"),
        ("user logins", "user_logins"),
        ("user_logins", "user_logins"),
        ("User-Logins", "user_logins"),
        ("user_login_events", "user_logins"),
        ("content_must_read_marked", "must_reads"),
        ("polls & quizzes", "polls_quizzes"),
    ],
)
def test_spellings(folder: str, stream: str) -> None:
    """A folder belongs to the stream of its name in snake case; two names have aliases."""
    named = parse_path(f"2026/03/02/{folder}/{folder}.csv")
    assert named
    assert named.stream == stream == stream_of(folder)


@pytest.mark.parametrize(
    ("path", "identity", "tenant"),
    [
        ("2026/03/02/user/user.csv", "2026/03/02/user/user.csv", ""),
        ("2026/3/2/user/user_1.CSV.GZ", "2026/3/2/user/user_1.CSV.GZ", ""),
        ("t1/2026/03/02/user/user.csv", "t1/2026/03/02/user/user.csv", "t1"),
        ("exports/t1/2026/03/02/user/user.csv", "t1/2026/03/02/user/user.csv", "t1"),
        ("exports/2026/03/02/user/user.csv", "2026/03/02/user/user.csv", ""),
        ("2026/02/30/user/user.csv", None, ""),
        ("2026/03/02/user/user.txt", None, ""),
        ("2026/03/02/user/.user.csv", None, ""),
        ("2026/03/02/user/._user.csv.gz", None, ""),
        ("2026/03/02/user.csv", None, ""),
        ("2026/03/02/user/more/user.csv", None, ""),
    ],
)
def test_paths(path: str, identity: str | None, tenant: str) -> None:
    """Padded or not, below any of the roots, a path states its day, tenant and identity."""
    named = parse_path(path)
    assert (named and named.id) == identity
    if named:
        assert (named.generation, named.account) == ("2026-03-02", tenant)


def test_streams() -> None:
    """There is a stream for each of the 26 entities."""
    assert len(ENTITIES) == len(STREAMS) == 26


def test_discovery(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Discovery shows all entities, with folders or without, and streams of other folders."""
    deliver(tmp_path, path_of("polls", 0), "id,score\n1,2\n")
    tap = TapSimpplr(config=settings(tmp_path), setup_mapper=False)
    tap.run_discovery()
    capsys.readouterr()
    found = {entry["tap_stream_id"]: entry for entry in tap.catalog_dict["streams"]}
    assert set(found) == {*STREAMS, "polls"}
    properties = found["polls"]["schema"]["properties"]
    assert properties["id"] == {"type": ["string", "null"]}
    assert properties["score"] == {"type": ["integer", "null"]}


@pytest.mark.parametrize("root", ["", "exports", "exports/t1"])
def test_roots(tmp_path: Path, root: str) -> None:
    """The folder above `exports`, itself, and the tenant's, are read alike."""
    deliver(tmp_path, "exports/t1/" + path_of("user", 0), users({"a": "A"}))
    (tmp_path / "incoming" / "old").mkdir(parents=True)
    done = run(settings(tmp_path / root))
    assert names(done) == [("a", "A")]
    (record,) = done.records("user")
    assert record["generated_at"] == "2026-03-02T00:00:00Z"


@pytest.mark.parametrize(
    ("root", "paths", "read"),
    [
        ("", ["exports/1234/2026/01/05"], 1),
        ("exports", ["exports/1234/2026/01/05"], 1),
        ("exports/1234", ["exports/1234/2026/01/05"], 1),
        ("exports", ["exports/1234/2026/1/5", "exports/2026/2026/1/5"], 2),
        ("exports", ["exports/t1/2026/01/05", "exports/2025/notes"], 1),
        ("", ["exports/t1/2026/01/05", "exports/2025/01/notes"], 1),
        ("exports", ["exports/t1/2026/01/05", "exports/2025/01/05"], 2),
        ("exports", ["exports/1234/2026/01/05", "exports/2026/01/05", "exports/2025/01/05"], 3),
        ("", ["2026/01/05", "more/t1/2026/01/05", "more/t1/deeper/2026/01/05"], 2),
    ],
)
def test_years(tmp_path: Path, root: str, paths: list[str], read: int) -> None:
    """A folder is a year's if days are in it; what is beside it may be a tenant's, down to two."""
    for path in paths:
        deliver(tmp_path, f"{path}/user/user.csv", users({path: "A"}))
    assert len(names(run(settings(tmp_path / root)))) == read


def test_no_day_of_the_calendar(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The folder of a day that does not exist is skipped, and one warning says so."""
    for path in ("2026/02/28", "2026/02/30", "2026/13/01"):
        deliver(tmp_path, f"exports/t1/{path}/user/user.csv", users({path: "A"}))
    assert names(run(settings(tmp_path))) == [("2026/02/28", "A")]
    warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    says = "the folder {} is skipped (no day of the calendar)"
    assert [text.partition(": ")[2] for text in warned] == [
        says.format("2026/13/01"),
        says.format("2026/02/30"),
    ]


@pytest.mark.parametrize(("private", "is_error"), [("t1/lost+found", False), ("t2", True)])
def test_private_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    private: str,
    *,
    is_error: bool,
) -> None:
    """A folder that cannot be read is skipped beside years, with a warning, else an error."""
    plain = OpenFolder.entries

    def refusing(self: OpenFolder, path: str) -> Any:
        if path.endswith(private):
            msg = "access was denied"
            raise TransportError(msg)
        return plain(self, path)

    deliver(tmp_path, "t1/" + path_of("user", 0), users({"a": "A"}))
    (tmp_path / private).mkdir()
    monkeypatch.setattr(OpenFolder, "entries", refusing)
    if is_error:
        with pytest.raises(TransportError, match="access was denied"):
            run(settings(tmp_path))
        return
    assert names(run(settings(tmp_path))) == [("a", "A")]
    assert "the folder lost+found is skipped (access was denied)" in caplog.text


@pytest.mark.parametrize(
    ("before", "after", "days"),
    [
        ("", "exports", []),
        ("exports", "", []),
        ("exports", "exports/t1", ["60", "61"]),
        ("exports/t1", "", ["60", "61"]),
    ],
)
def test_moved_root(tmp_path: Path, before: str, after: str, days: list[str]) -> None:
    """With another root, the lookback is read again if the tenant's folder was or is the root."""
    for day in (0, 60, 61):
        deliver(tmp_path, "exports/t1/" + path_of("user", day), users({str(day): "A"}))
    state = run(settings(tmp_path / before)).state
    moved = run(settings(tmp_path / after), state)
    assert [code for code, _ in names(moved)] == days
    assert run(settings(tmp_path / after), moved.state).of("RECORD") == []


def test_missing_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder that does not exist is one error; one without years is warned about."""
    with pytest.raises(TransportError, match="does not exist"):
        run(settings(tmp_path / "nowhere"))
    assert not caplog.records
    assert run(settings(tmp_path)).of("RECORD") == []
    assert "no folder of a year was found" in caplog.text


def test_folder_newer_than_the_catalog(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A warning names a stream that has files and is in no catalog, as a cached one may be."""
    deliver(tmp_path, path_of("user", 0), users({"a": "A"}))
    tap = TapSimpplr(config=settings(tmp_path), setup_mapper=False)
    tap.run_discovery()
    capsys.readouterr()
    deliver(tmp_path, path_of("polls", 0), "id,score\n1,2\n")
    done = run_tap(TapSimpplr, settings(tmp_path), catalog=tap.catalog_dict)
    assert (len(done.records("user")), done.records("polls")) == (1, [])
    says = "polls: the catalog lacks the stream, so its files are not read; create one"
    assert [r.getMessage()[: len(says)] for r in caplog.records if r.levelname == "WARNING"] == [
        says
    ]


def test_parts(tmp_path: Path) -> None:
    """Every file in an entity's folder is a file of its own."""
    deliver(tmp_path, path_of("user", 0), users({"a": "A"}))
    deliver(tmp_path, path_of("user", 0, "user_1.csv.gz"), users({"b": "B"}))
    assert names(run(settings(tmp_path))) == [("a", "A"), ("b", "B")]


# Versions, and the order in which days are read


def _days(folder: Path, *days: int) -> None:
    """Deliver users; the same ones each day, named after it."""
    for day in days:
        deliver(folder, path_of("user", day), users({"a": f"A{day}", str(day): "x"}))


def test_late_day(tmp_path: Path) -> None:
    """After a day that comes late, all later days of its entity are read again, and only then."""
    _days(tmp_path, 0, 2, 3)
    deliver(tmp_path, path_of("site", 2), users({"s": "S"}))
    first = run(settings(tmp_path))
    _days(tmp_path, 1)
    late = run(settings(tmp_path), first.state)
    assert names(late) == [
        ("a", "A1"),
        ("1", "x"),
        ("a", "A2"),
        ("2", "x"),
        ("a", "A3"),
        ("3", "x"),
    ]
    assert late.records("site") == []
    assert run(settings(tmp_path), late.state).of("RECORD") == []


def test_late_day_of_events(tmp_path: Path) -> None:
    """Events do not change, so that a late day is read by itself."""
    for day in (0, 2):
        deliver(tmp_path, path_of("user logins", day), f"code,at\n{day},x\n")
    first = run(settings(tmp_path))
    deliver(tmp_path, path_of("user logins", 1), "code,at\n1,x\n")
    late = run(settings(tmp_path), first.state)
    assert [record["code"] for record in late.records("user_logins")] == ["1"]


def test_overwritten_day(tmp_path: Path) -> None:
    """A day that is overwritten is read again, and all later ones of its entity after it."""
    _days(tmp_path, 0, 1, 2)
    first = run(settings(tmp_path))
    deliver(tmp_path, path_of("user", 1), users({"a": "new", "b": "B"}), touched=60)
    again = run(settings(tmp_path), first.state)
    assert names(again) == [("a", "new"), ("b", "B"), ("a", "A2"), ("2", "x")]
    assert run(settings(tmp_path), again.state).of("RECORD") == []


def test_touched_day(tmp_path: Path) -> None:
    """A file that was touched without change is not read again, nor is any later one."""
    _days(tmp_path, 0, 1, 2)
    first = run(settings(tmp_path))
    os.utime(tmp_path / path_of("user", 1))
    again = run(settings(tmp_path), first.state)
    assert again.of("RECORD") == []
    versions = {
        name: run.state["bookmarks"]["user"]["versions"]
        for name, run in (("first", first), ("again", again))
    }
    assert versions["first"] != versions["again"]
    contents = first.state["bookmarks"]["user"]["contents"]
    assert {len(content.partition("-")[2]) for content in contents.values()} == {64}


def test_killed_while_reading_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a run is cut off after a late day, the next one leaves the newest values.

    So it does from a state that Meltano has merged.
    """
    monkeypatch.setattr("filetap.singer.checkpoint.is_state_due", lambda *_: True)
    _days(tmp_path, 0, 2, 3)
    first = run(settings(tmp_path))
    _days(tmp_path, 1)
    whole = run(settings(tmp_path), first.state)
    begin = [message["type"] for message in whole.messages].index("RECORD")
    for most in range(begin, begin + 14):
        cut = run(settings(tmp_path), first.state, most)
        received, _ = cut.at_state()
        states: tuple[Any, ...] = (cut.state or first.state, merged(first.state, cut.state))
        for state in states[: 1 + (states[0] != states[1])]:
            rest = run(settings(tmp_path), state)
            table: dict[str, str] = {}
            for records in (names(first), names(received), names(cut), names(rest)):
                table.update(records)
            assert table == {"a": "A3", **dict.fromkeys("0123", "x")}, most
            assert run(settings(tmp_path), rest.state).of("RECORD") == []


def _cut_off(tree: Path) -> dict[str, Any]:
    """The state of a run that was cut off in a file, after more than three of its rows."""
    parts = (run(settings(tree), None, most).state for most in range(30, 200))
    return next(
        state
        for state in parts
        if state
        if state["bookmarks"].get("user", {}).get("in_progress", {}).get("rows", 0) > 3
    )


def test_resumed_file_after_a_late_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a run was cut off in starts again at its first row if an older day comes late."""
    monkeypatch.setattr(TapSimpplr, "tuning", TapSimpplr.tuning.__class__(slice=2, lines=1))
    rows = {f"{i}": "new" for i in range(9)}
    deliver(tmp_path, path_of("user", 0), users({"0": "first"}))
    deliver(tmp_path, path_of("user", 2), users(rows))
    state = _cut_off(tmp_path)
    deliver(tmp_path, path_of("user", 1), users(dict.fromkeys(rows, "old")))
    rest = run(settings(tmp_path), state)
    assert dict(names(rest)) == rows


def test_resumed_file_that_was_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that a run was cut off in goes on at its row if only its time has changed."""
    monkeypatch.setattr(TapSimpplr, "tuning", TapSimpplr.tuning.__class__(slice=2, lines=1))
    rows = {f"{i}": "new" for i in range(9)}
    deliver(tmp_path, path_of("user", 0), users(rows))
    state = _cut_off(tmp_path)
    read = state["bookmarks"]["user"]["in_progress"]["rows"]
    deliver(tmp_path, path_of("user", 0), users(rows), touched=60)
    assert names(run(settings(tmp_path), state)) == [*rows.items()][read:]
    assert "was replaced" not in caplog.text


def test_later_days_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a day that is still being written, later days of its entity wait; events do not."""

    def check(self: FolderTransport, before: Found) -> bool:
        for file in growing:
            if str(file) == before.path:
                file.write_text(file.read_text() + "z,Z\n")
        return has_changed(self, before)

    has_changed = FolderTransport._has_changed
    monkeypatch.setattr(FolderTransport, "_has_changed", check)
    monkeypatch.setattr(folder_module, "RECHECK", 0.01)
    growing: list[Path] = []
    for entity in ("user", "user logins", "site"):
        for day in (0, 1, 2):
            deliver(tmp_path, path_of(entity, day), users({"a": f"A{day}"}))
    deliver(tmp_path, path_of("theme", 90), users({}))  # the lookback begins after all of them
    growing = [tmp_path / path_of(entity, 1) for entity in ("user", "user logins")]
    for file in growing:
        os.utime(file)
    first = run(settings(tmp_path))
    assert names(first) == [("a", "A0")]
    assert names(first, "user_logins") == [("a", "A0"), ("a", "A2")]
    assert len(first.records("site")) == 3
    growing.clear()
    second = run(settings(tmp_path), first.state)
    assert names(second) == [("a", "A1"), ("z", "Z"), ("a", "A2")]
    assert names(second, "user_logins") == [("a", "A1"), ("z", "Z")]
    assert run(settings(tmp_path), second.state).of("RECORD") == []


def test_nothing_is_deleted(tmp_path: Path) -> None:
    """Neither a purged day nor a row that a later file lacks is reported as deleted."""
    _days(tmp_path, 0, 1)
    first = run(settings(tmp_path))
    (tmp_path / path_of("user", 0)).unlink()
    _days(tmp_path, 2)
    second = run(settings(tmp_path), first.state)
    assert names(second) == [("a", "A2"), ("2", "x")]
    assert {message["type"] for message in second.messages} == {"SCHEMA", "RECORD", "STATE"}


# Directory reads


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are read."""
    found: list[str] = []
    plain = OpenFolder.entries

    def counting(self: OpenFolder, path: str) -> Any:
        found.append(path)
        return plain(self, path)

    monkeypatch.setattr(OpenFolder, "entries", counting)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of 70 days with folders of two entities; there are files every third week."""
    for day in range(70):
        for entity in ("user", "site"):
            path = path_of(entity, day)
            (tmp_path / path).parent.mkdir(parents=True)
            if day % 23 == 0:
                deliver(tmp_path, path, users({str(day): "x"}))
    return tmp_path


def _discover(config: dict[str, Any]) -> object:
    return TapSimpplr(config=config, setup_mapper=False).run_discovery()


@pytest.mark.parametrize("lookback", [0, 35])
def test_folders_are_read_by_date(tree: Path, reads: list[str], lookback: int) -> None:
    """A run with nothing new reads the folders of the lookback and those above; once each."""
    config = settings(tree, lookback_days=lookback)
    state = run(config).state
    assert len(reads) == len(set(reads))
    reads.clear()
    assert run(config, state).of("RECORD") == []
    assert len(reads) == len(set(reads))
    days = {moment(69) - timedelta(days) for days in range(lookback + 1)}
    months = {(day.year, day.month) for day in days}
    assert len(reads) <= 2 + len(months) + 3 * len(days)


def test_discovery_reads_the_lookback(
    tree: Path, reads: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Discovery, which has no state, reads no more folders than such a run."""
    _discover(settings(tree, lookback_days=3))
    assert len(reads) <= 3 + 3 * 4
    capsys.readouterr()


# Keys


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("code,name\na,1\nb,2\n", ["code"]),
        ("code,tenant_code,name\na,t,1\nb,t,2\n", ["code", "tenant_code"]),
        ("code,tenant_code,name\na,t,1\nb,,2\n", ["code"]),
        ("code,active_date\na,2026-01-01\na,2026-01-02\n", ["code", "active_date"]),
        ("code,name\na,1\na,2\n", ["_sdc_row_hash", "_sdc_row_occurrence"]),
        ("code,name\na,1\n,2\n", ["_sdc_row_hash", "_sdc_row_occurrence"]),
        ('code,name\na,1\n"",2\n', ["_sdc_row_hash", "_sdc_row_occurrence"]),
        ('code,tenant_code,name\na,t,1\nb,"",2\n', ["code"]),
        ("id,name\n1,1\n2,2\n", ["_sdc_row_hash", "_sdc_row_occurrence"]),
    ],
)
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("hashed", [[], ["code*", "tenant_*"]], ids=["plain", "hashed"])
def test_key(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    key: list[str],
    hashed: list[str],
    *,
    large: bool,
) -> None:
    """The key is what every row of the first file has, no two alike, hashed or not; it stays."""
    size = len(content) - 1 if large else 1 << 20
    monkeypatch.setattr(TapSimpplr, "tuning", TapSimpplr.tuning.__class__(whole=size, head=size))
    deliver(tmp_path, path_of("user", 0), "code,name\n")
    deliver(tmp_path, path_of("user", 1), content)
    config = settings(tmp_path, columns_to_hash={"user": hashed}, hash_key="k")
    done = run(config)
    assert done.schema("user")["key_properties"] == key
    deliver(tmp_path, path_of("user", 2), content + content.partition("\n")[2])
    later = run(config, done.state)
    assert later.schema("user")["key_properties"] == key
    properties = later.schema("user")["schema"]["properties"]
    assert {properties[name]["type"][0] for name in key} <= {"string", "integer"}
    assert all(record[name] is not None for record in done.records("user") for name in key)


def test_key_is_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key is text whatever a setting wants, and its values are no misfits."""
    deliver(tmp_path, path_of("user", 0), "code,score\na,1\nb,2\n")
    done = run(settings(tmp_path, column_types={"user": {"code": "integer"}}))
    assert "code is a key and stays a string" in caplog.text
    properties = done.schema("user")["schema"]["properties"]
    assert [name for name in properties if "code" in name] == ["code"]
    assert [record["code"] for record in done.records("user")] == ["a", "b"]


def test_key_that_a_file_lacks(tmp_path: Path) -> None:
    """Where not every file of the first run has the first one's key, rows are their own key."""
    deliver(tmp_path, path_of("user", 0), users({"a": "A"}))
    deliver(tmp_path, path_of("user", 1), "id,name\n1,B\n")
    done = run(settings(tmp_path))
    assert done.schema("user")["key_properties"] == ["_sdc_row_hash", "_sdc_row_occurrence"]
    assert len(done.records("user")) == 2


def test_setting_of_no_stream(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key or a type of a stream that does not exist is warned about, with the nearest name."""
    deliver(tmp_path, path_of("user", 0), users({"a": "A"}))
    deliver(tmp_path, path_of("badges", 0), "id\n1\n")
    keys, types = {"usr": ["name"], "badges": ["id"]}, {"badge": {"id": "string"}}
    done = run(settings(tmp_path, primary_keys=keys, column_types=types))
    assert names(done) == [("a", "A")]
    for words in (
        "primary_keys names the stream usr, which is unknown; did you mean user?",
        "column_types names the stream badge, which is unknown; did you mean badges?",
    ):
        assert caplog.text.count(words) == 1
    assert caplog.text.count("which is unknown") == 2


@pytest.mark.parametrize(
    ("setting", "value", "warning"),
    [
        ("column_types", {"badge": "integer"}, "column_types names columns that do not exist"),
        ("primary_keys", ["badge"], "the key column badge is not in every file; the key is _sdc_r"),
        ("primary_keys", ["code", "badge"], "the key column badge is not in every file"),
    ],
)
def test_setting_that_names_no_column(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, setting: str, value: object, warning: str
) -> None:
    """Where nothing is documented, a name that no file has is warned about in the first run."""
    deliver(tmp_path, path_of("user", 0), users({"a": "A"}))
    done = run(settings(tmp_path, **{setting: {"user": value}}))
    assert names(done) == [("a", "A")]
    assert warning in caplog.text


def test_discovered_key_is_not_final(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The catalog's key is what the newest file has; the first file decides nevertheless."""
    deliver(tmp_path, path_of("user", 0), "code,name\na,1\na,2\n")
    deliver(tmp_path, path_of("user", 1), "code,name\na,3\n")
    tap = TapSimpplr(config=settings(tmp_path), setup_mapper=False)
    tap.run_discovery()
    capsys.readouterr()
    catalog = tap.catalog_dict
    done = run_tap(TapSimpplr, settings(tmp_path), catalog=catalog)
    assert done.schema("user")["key_properties"] == ["_sdc_row_hash", "_sdc_row_occurrence"]
    assert len(done.records("user")) == 3


def test_row_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal rows of two files have one key, equal rows of one file have several."""
    monkeypatch.setattr(TapSimpplr, "tuning", TapSimpplr.tuning.__class__(block=16, slice=2))
    deliver(tmp_path, path_of("user", 0), "a,b\n1,x\n1,x\n2,\n1,x\n")
    deliver(tmp_path, path_of("user", 1), "b,a,c\nx,1,\nx,1,\n,2,new\n")
    done = run(settings(tmp_path))
    keys = [(r["_sdc_row_hash"], r["_sdc_row_occurrence"]) for r in done.records("user")]
    assert [number for _, number in keys] == [1, 2, 1, 3, 1, 2, 1]
    assert keys[4:6] == keys[:2]
    assert len(set(keys)) == 5
    begin = [message["type"] for message in done.messages].index("RECORD")
    for most in range(begin, begin + 12):
        cut = run(settings(tmp_path), None, most)
        covered, _ = cut.at_state()
        rest = run(settings(tmp_path), cut.state)
        rows = covered.records("user") + rest.records("user")
        assert {(r["_sdc_row_hash"], r["_sdc_row_occurrence"]) for r in rows} == set(keys)
        assert len(rows) >= len(keys)


@pytest.mark.parametrize(
    ("line", "is_header"),
    [
        ("a1,Ann,2026-01-02 10:00:00", False),
        ("8f14e45f-ceea-4672-9c3b-0a3d5d1e2f60,Ann", False),
        ("US001,ann@example.com,true", False),
        ("7,\\N,Ann", False),
        ("Code,Full Name,2026", True),
        ("user_id,2026-01-01", True),
        ("site_name,1,2", True),
        ("name,e-mail,status", True),
    ],
)
def test_header(tmp_path: Path, line: str, *, is_header: bool) -> None:
    """A first line that can only be a row is an error, unless `column_types` names a column."""
    deliver(tmp_path, path_of("user", 0), f"{line}\n{line}\n")
    if is_header:
        assert len(run(settings(tmp_path)).records("user")) == 1
        return
    with pytest.raises(FormatError, match="the first line does not look like a header"):
        run(settings(tmp_path))
    column = column_names(line.split(","))[0]
    types = {"user": {column: "string"}}
    assert len(run(settings(tmp_path, column_types=types)).records("user")) == 1


# Types


@pytest.mark.parametrize(
    ("nulls", "values"),
    [
        (None, ["\\N", None, "x"]),
        ([], ["\\N", "", "x"]),
        (["\\N"], [None, "", "x"]),
        (["", "\\N"], [None, None, "x"]),
    ],
)
def test_null_values(tmp_path: Path, nulls: list[str] | None, values: list[str | None]) -> None:
    """Some texts stand for null; a cell that is empty without quotes is null in any case."""
    deliver(tmp_path, path_of("user", 0), 'code,name,n\n1,\\N,1\n2,"",\n3,x,2\n')
    more = {} if nulls is None else {"null_values": nulls}
    done = run(settings(tmp_path, **more))
    assert [record["name"] for record in done.records("user")] == values
    assert [record["n"] for record in done.records("user")] == [1, None, 2]


def test_null_values_in_typed_columns(tmp_path: Path) -> None:
    r"""A number column with ``\N`` is a number column."""
    deliver(tmp_path, path_of("user", 0), "code,n,at\n1,\\N,\\N\n2,7,2026-01-02\n")
    done = run(settings(tmp_path, null_values=["\\N"]))
    assert [(r["n"], r["at"]) for r in done.records("user")] == [(None, None), (7, "2026-01-02")]


@pytest.mark.parametrize("form", ["csv", "json"])
@pytest.mark.parametrize(
    ("nulls", "values"),
    [
        (["0"], [None, -1, 7, 10]),
        (["-1", "0"], [None, None, 7, 10]),
        (["00", "x"], [0, -1, 7, 10]),
        (["07"], [0, -1, 7, 10]),
    ],
)
def test_null_values_that_are_integers(
    tmp_path: Path, form: str, nulls: list[str], values: list[int | None]
) -> None:
    """A number that stands for null is null in a number column, too."""
    numbers = (0, -1, 7, 10)
    rows = [f"u{place},{number}" for place, number in enumerate(numbers)]
    objects = [{"code": f"u{place}", "n": number} for place, number in enumerate(numbers)]
    text = "\n".join(["code,n", *rows, ""]) if form == "csv" else json.dumps(objects)
    deliver(tmp_path, path_of("user", 0), text)
    done = run(settings(tmp_path, null_values=nulls))
    assert [record["n"] for record in done.records("user")] == values


def test_hash_of_a_quoted_empty_cell(tmp_path: Path) -> None:
    """The hash of a row does not depend on the other rows that are parsed together with it."""
    rows = ['n,t\n1,a\n"",b\n3,c\n', 'n,t\n1,a\n"",b\n007,d\n', 'n,t\n"",b\n"",b\n']
    hashes = []
    for place, text in enumerate(rows):
        folder = tmp_path / str(place)
        deliver(folder, path_of("zz", 0), text)
        done = run(settings(folder, null_values=[], column_types={"zz": {"n": "integer"}}))
        found = [r for r in done.records("zz") if r["t"] == "b"]
        assert [record["n"] for record in found] == [None] * len(found)
        hashes += [record["_sdc_row_hash"] for record in found]
    assert len(hashes) == 4
    assert len(set(hashes)) == 1


def test_codes_are_text(tmp_path: Path) -> None:
    """Columns that identify something are text, whatever they look like."""
    deliver(tmp_path, path_of("user", 0), "code,site_code,id,file_id,size,is_x\n1,2,3,4,5,true\n")
    done = run(settings(tmp_path))
    (record,) = done.records("user")
    found = {n: record[n] for n in ("code", "site_code", "id", "file_id", "size", "is_x")}
    assert found == {
        "code": "1",
        "site_code": "2",
        "id": "3",
        "file_id": "4",
        "size": 5,
        "is_x": True,
    }


def test_file_without_rows_pins_no_key(tmp_path: Path) -> None:
    """A header alone decides neither key nor types."""
    deliver(tmp_path, path_of("user", 0), "id,name\n")
    first = run(settings(tmp_path))
    deliver(tmp_path, path_of("user", 1), users({"a": "A"}))
    second = run(settings(tmp_path), first.state)
    assert second.schema("user")["key_properties"] == ["code"]
