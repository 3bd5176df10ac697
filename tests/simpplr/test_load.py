"""`load` reads what the tap reads, in the same order, into tables with the same keys."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from filetap.transports.folder_access import OpenFolder
from tests.runs import write
from tests.simpplr.tree import Loaded, deliver, path_of, users

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """A database into which four days of users are loaded."""
    made = Loaded(tmp_path)
    for day in (0, 2, 3, 4):
        deliver(made.tree, path_of("user", day), users({"a": f"A{day}", str(day): "x"}))
    assert made.load() == {"user": 4}
    return made


def names(loaded: Loaded) -> dict[str, str]:
    """Code → name of the users."""
    rows = loaded.rows("user")
    found = {row["code"]: row["name"] for row in rows}
    assert len(found) == len(rows)
    return found


def test_late_day(loaded: Loaded) -> None:
    """A late day is loaded, and all later ones again; the newest values stay."""
    deliver(loaded.tree, path_of("user", 1), users({"a": "late", "1": "x"}))
    assert loaded.load() == {"user": 4}
    assert names(loaded) == {"a": "A4", **dict.fromkeys("01234", "x")}
    assert loaded.load() == {}


def test_overwritten_day(loaded: Loaded) -> None:
    """A day that is overwritten is loaded again, and all later ones after it."""
    changed = users({"a": "old", "0": "new", "4": "old", "b": "B"})
    deliver(loaded.tree, path_of("user", 0), changed, touched=60)
    assert loaded.load() == {"user": 4}
    assert names(loaded) == {"a": "A4", "b": "B", "0": "new", **dict.fromkeys("234", "x")}
    assert loaded.load() == {}


def test_touched_day(loaded: Loaded) -> None:
    """A file that was touched without change is not loaded again, and is downloaded once."""
    os.utime(loaded.tree / path_of("user", 2))
    assert [loaded.load(), loaded.load()] == [{}, {}]


def test_parts_of_a_day(loaded: Loaded) -> None:
    """Of the files of one day, the later ones are loaded again after one that was overwritten."""
    deliver(loaded.tree, path_of("user", 4, "user_1.csv"), users({"a": "newest"}))
    loaded.load()
    deliver(loaded.tree, path_of("user", 4), users({"a": "A4 again"}), touched=60)
    assert loaded.load() == {"user": 2}
    assert names(loaded)["a"] == "newest"


def test_rows_without_a_key(loaded: Loaded) -> None:
    """Rows that lack the key are not doubled when their day is loaded again."""
    deliver(loaded.tree, path_of("user", 5), "code,name\nc,C\n,nobody\n")
    loaded.load()
    deliver(loaded.tree, path_of("user", 1), users({"1": "x"}))
    assert loaded.load() == {"user": 5}
    assert [row["name"] for row in loaded.rows("user") if not row["code"]] == ["nobody"]


def test_row_hashes(tmp_path: Path) -> None:
    """Rows without a key are merged by what they hold, equal ones of a file by their occurrence."""
    loaded = Loaded(tmp_path)
    deliver(loaded.tree, path_of("user logins", 0), "user_code,at\nu,1\nu,1\nv,2\n")
    deliver(loaded.tree, path_of("user logins", 1), "user_code,at\nu,1\nu,1\nw,3\n")
    assert loaded.load() == {"user_logins": 2}
    rows = loaded.rows("user_logins")
    found = sorted((row["user_code"], row["at"], row["_sdc_row_occurrence"]) for row in rows)
    assert found == [("u", 1, 1), ("u", 1, 2), ("v", 2, 1), ("w", 3, 1)]
    assert {len(row["_sdc_row_hash"]) for row in rows} == {32}


def test_other_folders(loaded: Loaded) -> None:
    """Folders of other names are tables, too; an unknown stream is an error with the nearest."""
    deliver(loaded.tree, path_of("polls & quizzes", 5), users({"p": "P"}))
    assert loaded.load() == {"polls_quizzes": 1}
    assert loaded.load("--stream", "polls_quizzes", "--full-refresh") == {"polls_quizzes": 1}
    with pytest.raises(AssertionError, match="no such stream; did you mean polls_quizzes"):
        loaded.load("--stream", "polls")


def test_folders_are_read_by_date(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run with nothing new reads the folders of the lookback only, for entities without too."""
    for day in (60, 61):
        deliver(loaded.tree, path_of("site", day), users({str(day): "x"}))
    loaded.load()
    reads: list[str] = []
    plain = OpenFolder.entries

    def counting(self: OpenFolder, path: str) -> Any:
        reads.append(path)
        return plain(self, path)

    monkeypatch.setattr(OpenFolder, "entries", counting)
    assert loaded.load() == {}
    assert len(reads) == len(set(reads))
    assert not [path for path in reads if path.startswith(str(tmp_path / "tree/2026/03/0"))]


def test_state_of_another_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A given state may be about any stream that has files; one that has none is a warning."""
    made = Loaded(tmp_path)
    for day in (0, 1):
        deliver(made.tree, path_of("polls", day), f"code,score\n{day},2\n")
    read = {"replication_key": "generated_at", "replication_key_value": "2026-03-02T00:00:00Z"}
    state = write(tmp_path, "state.json", {"bookmarks": {"polls": read, "pols": read}})
    assert made.load("--state-from", state) == {"polls": 1}
    says = "--state-from has a stream pols, which does not exist; did you mean polls?"
    assert [r.getMessage() for r in caplog.records if "--state-from" in r.getMessage()] == [says]
