"""However a load ends, the database has whole files, and the next load brings the rest."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.types.json import Json

from tap_firstup_dde.cli import main
from tests.load.places import CODE, DuckDBFile, PostgresSchema
from tests.load.whole import assert_whole_files, exports
from tests.runs import run, settings, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_firstup_dde.emulator import Emulator
    from tests.load.places import Place

pytestmark = pytest.mark.usefixtures("nowhere")

# Ends the process at the given call of the database, before it or after it.
KILL = """
import os, signal, sys
point, after = int(sys.argv.pop(1)), sys.argv.pop(1) == "after"
calls = 0
def deadly(method):
    def call(self, *arguments):
        global calls
        calls += 1
        if calls == point and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(self, *arguments)
        if calls == point:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
def prepare(connection, names):
    for name in names:
        setattr(connection, name, deadly(getattr(connection, name)))
import psycopg
from filetap.load import duck
prepare(psycopg.Connection, ["execute"])
prepare(psycopg.Copy, ["write", "finish"])
prepare(psycopg.transaction.Transaction, ["__exit__"])
prepare(duck.DuckDB, ["query"])
"""


def test_killed(emulator: Emulator, place: Place, pytestconfig: pytest.Config) -> None:
    """SIGKILL at any point leaves whole files; the rerun brings the others, each row once.

    The points are picked by ``--seed``; there is one for every 75 ``--interleavings``.
    """
    total = exports(emulator, 3)
    dice, ends = random.Random(pytestconfig.getoption("--seed")), Counter[int]()
    for _ in range(pytestconfig.getoption("--interleavings") // 75):
        again = place.another(f"n{dice.random()}")
        point = [str(dice.randint(1, 60)), dice.choice(["before", "after"])]
        config, code = settings(emulator), KILL + CODE
        with again.start(config, code=code, first=point) as loading:
            ends[loading.wait(60)] += 1
        assert_whole_files(again)
        again.loaded(emulator)
        assert_whole_files(again)
        assert again.count("users") + again.count("activities") == total
    assert ends[-9]
    assert not ends - Counter({-9: ends[-9], 0: ends[0]})  # 0: it ended before the point


def test_two_at_once(emulator: Emulator, postgres: PostgresSchema) -> None:
    """Two loaders share the files: none is loaded twice, and none is left out."""
    total = exports(emulator, 8)
    loaders = [postgres.start(settings(emulator), "--output", "json") for _ in range(2)]
    for loader in loaders:
        out, log = loader.communicate(timeout=60)
        assert loader.returncode == 0, (out, log)
    assert_whole_files(postgres)
    assert postgres.count("users") + postgres.count("activities") == total
    assert postgres.loaded(emulator)["files"] == 0


def test_waits_for_the_other(emulator: Emulator, postgres: PostgresSchema) -> None:
    """A loader waits for another one's transaction, and continues from the state that it wrote."""
    emulator.add("users", "2026-05-14-12", "user_id,tenure\n1,5\n")
    postgres.loaded(emulator)
    emulator.add("users", "2026-05-14-16", "user_id,tenure\n2,6\n")
    other = postgres.another("other")
    other.loaded(emulator)  # as the other loader would
    newer = other.state()["bookmarks"]["users"]
    newer["types"]["tenure__text"] = "string"
    own, made = f'"{postgres.schema}"', f'"{other.schema}"'
    outcome: list[Any] = []
    with psycopg.connect(postgres.to) as connection:
        connection.execute(
            f"insert into {own}._firstup_files select * from {made}._firstup_files on conflict "  # noqa: S608
            f"do nothing"
        )
        connection.execute(
            f"update {own}._firstup_state set state = %s where stream = 'users'",  # noqa: S608
            [Json(newer)],
        )
        loading = threading.Thread(target=lambda: outcome.append(postgres.loaded(emulator)))
        loading.start()
        _wait_for_lock(postgres)
        connection.commit()
    loading.join(30)
    assert outcome[0]["rows"] == 0
    assert postgres.count("users") == 1  # the other one's row is in its own table here
    assert postgres.state()["bookmarks"]["users"] == newer


def _wait_for_lock(postgres: PostgresSchema) -> None:
    """Wait until a connection waits for another one."""
    deadline = time.monotonic() + 30
    while not postgres.query("select 1 from pg_locks where not granted"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


PRECIOUS = "pass/word:of the@database"


@pytest.fixture
def role(postgres: PostgresSchema) -> Iterator[str]:
    """The name of a user who may only log in; the schema belongs to another user."""
    name = f"role_{os.getpid()}"
    postgres.query(f"create role {name} login password 'x'")
    postgres.query(f"create schema {postgres.schema}")
    yield name
    postgres.query(f"drop owned by {name}")
    postgres.query(f"drop role {name}")


def test_least_rights(emulator: Emulator, postgres: PostgresSchema, role: str) -> None:
    """The rights in the docs are enough; without them, `load` and `doctor` name what is missing."""
    exports(emulator, 2)
    user = PostgresSchema(postgres.folder, postgres.to.replace("//postgres:", f"//{role}:"))
    refused = user.try_to(emulator)
    assert refused.exit_code == 1
    assert "the database does not allow it (permission denied for schema" in refused.stderr
    assert "grant the rights that docs/load.md lists" in refused.stderr
    doubt = f"grant USAGE and CREATE on the schema {postgres.schema} to this user"
    assert doubt in user.doctor(emulator).stdout
    postgres.query(f"grant usage, create on schema {postgres.schema} to {role}")
    assert user.doctor(emulator).exit_code == 0
    user.loaded(emulator)
    exports(emulator, 1, first=2)
    user.loaded(emulator)
    assert user.loaded(emulator)["files"] == 0
    postgres.query(f"alter table {postgres.schema}.users owner to postgres")
    postgres.query(f"grant select, insert on {postgres.schema}.users to {role}")
    done = user.doctor(emulator)
    assert done.exit_code == 1
    assert "grant UPDATE, DELETE on the table users to this user" in done.stdout
    assert "make this user, or a role of which it is a member, own users" in done.stdout


def test_password_is_secret(emulator: Emulator, postgres: PostgresSchema) -> None:
    """A password is in no output, whatever is wrong with the URL or the login."""
    emulator.add("users", "2026-05-14-12", "user_id\n1\n")
    quoted = "pass%2Fword%3Aof%20the%40database"
    for url in (
        f"postgresql://postgres:{quoted}@127.0.0.1:1/postgres",
        f"postgresql://postgres:{PRECIOUS}@127.0.0.1:1/postgres",
        f"postgresql://postgres:{quoted}%ZZ@127.0.0.1:1/postgres",
        f"postgresql://postgres@127.0.0.1:1/postgres?password={quoted}",
        f"postgresql://[::1:{quoted}@x",
        "postgresql://postgres:high@zebra@127.0.0.1:1/postgres",
    ):
        done = postgres.try_to(emulator, "--to", url)
        assert done.exit_code == 1
        assert done.stderr.startswith("Error: ")
        for form in (PRECIOUS, quoted, "word:of", "zebra"):
            assert form not in done.output
    url = postgres.to.replace("//postgres:@", f"//postgres:{quoted}@")
    done = postgres.try_to(emulator, "--to", url)  # the server trusts everyone
    assert done.exit_code == 0
    assert quoted not in done.output


@pytest.mark.parametrize("to", ["duckdb::memory:", "duckdb:md:x", "duckdb:s3://x/y.duckdb"])
def test_only_files(emulator: Emulator, postgres: PostgresSchema, to: str) -> None:
    """What DuckDB would not keep in a local file is refused before anything is read."""
    done = postgres.try_to(emulator, "--to", to)
    assert done.exit_code == 2
    assert not emulator.requests


def test_nul(emulator: Emulator, place: Place) -> None:
    """PostgreSQL cannot store a NUL character: the file is refused, with its row. DuckDB can."""
    emulator.add("users", "2026-05-14-12", "user_id,first_name\n1,a\n2,b\0c\n")
    done = place.try_to(emulator)
    if isinstance(place, PostgresSchema):
        assert done.exit_code == 1
        assert "users 2026-05-14-12" in done.stderr
        assert "row 2 has a NUL character in first_name" in done.stderr
        assert place.count("users") == 0
    else:
        assert done.exit_code == 0
        names = place.query(f"select first_name from {place.schema}.users")  # noqa: S608
        assert [row["first_name"] for row in names] == ["a", "b\0c"]


@pytest.mark.parametrize("text", ["\ufffd", ""])
def test_replaced_nul(emulator: Emulator, place: Place, text: str) -> None:
    """With `--replace-nul` a text takes the place of NUL, in rows that cannot be read, too."""
    emulator.add("users", "2026-05-14-12", "user_id,first_name\n1,a\n2,b\0c\n3,\0,\0\n")
    if isinstance(place, PostgresSchema):
        refused = place.try_to(emulator, malformed_rows="divert")
        assert "row 2 has a NUL character in first_name" in refused.stderr
        assert "set --replace-nul" in refused.stderr
    place.loaded(emulator, "--replace-nul", text, malformed_rows="divert")
    rows = place.query(f"select first_name as t from {place.schema}.users order by user_id")  # noqa: S608
    rows += place.query(f"select raw as t from {place.schema}.users_malformed")  # noqa: S608
    assert [row["t"] for row in rows] == ["a", f"b{text}c", f"3,{text},{text}"]


THEIRS = """
create schema {0};
create table {0}.users (
    user_id text, first_name text, generated_at timestamp with time zone,
    _sdc_source_file text, _sdc_source_lineno bigint
);
insert into {0}.users (user_id, first_name) values ('1', 'a'), ('2', 'b'), (null, 'c'), (null, 'd')
"""


def test_taken_over(emulator: Emulator, postgres: PostgresSchema, tmp_path: Path) -> None:
    """A table that a Singer target made without an index gets one; rows that share a key do not."""
    emulator.add("users", "2026-05-14-12", "user_id,first_name\n1,a\n2,b\n")
    given = write(tmp_path, "state.json", run(settings(emulator)).state)
    emulator.add("users", "2026-05-14-16", "user_id,first_name\n2,B\n3,C\n")
    name = postgres.schema
    postgres.query(THEIRS.format(name))
    postgres.query(f"insert into {name}.users (user_id, first_name) values ('2', 'b')")  # noqa: S608
    refused = postgres.try_to(emulator, "--state-from", given)
    assert refused.exit_code == 1
    assert f'"{name}"."users": rows have the same key ("user_id") in 1 case' in refused.stderr
    assert 'SELECT "user_id" FROM' in refused.stderr
    postgres.query(f"delete from {name}.users where ctid = (select max(ctid) from {name}.users)")  # noqa: S608
    assert postgres.loaded(emulator, "--state-from", given)["rows"] == 2
    rows = postgres.query(f"select user_id, first_name from {name}.users order by 2")  # noqa: S608
    assert [tuple(row.values()) for row in rows] == [
        *(("2", "B"), ("3", "C"), ("1", "a"), (None, "c"), (None, "d"))
    ]
    found = postgres.query(f"select indexdef from pg_indexes where schemaname = '{name}'")  # noqa: S608
    assert any("UNIQUE" in row["indexdef"] and "(user_id)" in row["indexdef"] for row in found)
    emulator.add("users", "2026-05-14-20", "user_id,first_name\n1,A\n")
    postgres.loaded(emulator)
    assert postgres.count("users") == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "the state is empty"),
        ('{"bookmarks": {}}', "the state is empty"),
        ('{"client_id": "x"}', "the state cannot be read: it has no bookmarks"),
        ("[]", "the state cannot be read: it is not an object"),
    ],
)
def test_no_state(emulator: Emulator, postgres: PostgresSchema, content: str, words: str) -> None:
    """A file that holds no state is refused: with none, files would be loaded a second time."""
    path = postgres.folder / "state.json"
    path.write_text(content)
    done = postgres.try_to(emulator, "--state-from", str(path))
    assert done.exit_code == 1
    assert words in done.stderr
    assert not emulator.requests


def test_state_of_another_stream(
    emulator: Emulator, postgres: PostgresSchema, caplog: pytest.LogCaptureFixture
) -> None:
    """A state with a stream that does not exist is used, and the nearest stream named."""
    path = write(postgres.folder, "state.json", {"bookmarks": {"user": {}, "campaigns": {}}})
    postgres.loaded(emulator, "--state-from", path)
    assert "a stream user, which does not exist; did you mean users?" in caplog.text


def test_reserved_schema(emulator: Emulator, postgres: PostgresSchema) -> None:
    """A schema that cannot be created is an error about it, and not about files."""
    emulator.add("users", "2026-05-14-12", "user_id\n1\n")
    done = postgres.try_to(emulator, "--schema", "pg_mine")
    assert done.exit_code == 1
    (line,) = re.findall(r"^Error: .*$", done.stderr, re.MULTILINE)
    assert "ledger and state: the database refused it (unacceptable schema name" in line
    assert line.endswith("; nothing was created")


def test_foreign_table(emulator: Emulator, place: Place) -> None:
    """A table that something else has created, with other types, is left alone."""
    emulator.add("users", "2026-05-14-12", "user_id,tenure\n1,5\n")
    place.loaded(emulator, "--stream", "activities")
    if not place.columns("_firstup_files"):
        place.query(f"create schema {place.schema}")
    place.query(f"create table {place.schema}.users (user_id varchar(9), tenure date)")
    done = place.try_to(emulator)
    assert done.exit_code == 1
    assert "is needed" in done.stderr
    assert "use another --schema" in done.stderr
    assert list(place.columns("users")) == ["user_id", "tenure"]


def test_another_key(emulator: Emulator, place: Place) -> None:
    """The key of rows that were loaded does not change."""
    emulator.add("users", "2026-05-14-12", "user_id,email\n1,a\n")
    place.loaded(emulator)
    emulator.add("users", "2026-05-14-16", "user_id,email\n1,a\n")
    done = place.try_to(emulator, primary_keys={"users": ["email"]})
    assert done.exit_code == 1
    assert "primary_keys makes the key email, but rows were loaded with the key user_id" in (
        done.stderr
    )


@pytest.mark.parametrize(
    ("to", "status", "words"),
    [
        ("mysql://host/database", 2, "it must be postgresql://… or duckdb:FILE"),
        ("duckdb:", 2, "it must be postgresql://… or duckdb:FILE"),
        ("duckdb:pipe", 1, "the database pipe is not a regular file"),
        ("duckdb:no/such/folder/file", 1, "the database no/such/folder/file cannot be opened"),
        ("postgresql://127.0.0.1:1/x", 1, "the database cannot be reached (connection failed"),
    ],
)
def test_wrong_database(
    emulator: Emulator, postgres: PostgresSchema, to: str, status: int, words: str
) -> None:
    """What is wrong with a database is reported in one line."""
    os.mkfifo("pipe")
    done = postgres.try_to(emulator, "--to", to)
    assert done.exit_code == status
    assert words in done.stderr
    assert "Traceback" not in done.output


def test_stream_maps(emulator: Emulator, place: Place) -> None:
    """Maps may hide values, so a load that would not apply them is refused."""
    emulator.add("users", "2026-05-14-12", "user_id,email\n1,a\n")
    done = place.try_to(emulator, stream_maps={"users": {"email": None}})
    assert done.exit_code == 1
    assert "load does not apply stream maps" in done.stderr


def test_not_installed(emulator: Emulator, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its library, a database is reached by installing the extra."""
    for name in ("psycopg", "duckdb", "filetap.load.postgres", "filetap.load.duck"):
        monkeypatch.setitem(sys.modules, name, None)
    done = place.try_to(emulator)
    assert done.exit_code == 1
    assert "is not installed; install the extra load" in done.stderr


def test_duckdb_is_open(emulator: Emulator, tmp_path: Path) -> None:
    """A DuckDB file that another process has open is left alone."""
    place = DuckDBFile(tmp_path)
    path = place.to.removeprefix("duckdb:")
    code = f"import duckdb; c = duckdb.connect({path!r}); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        done = place.try_to(emulator)
        holder.kill()
    assert done.exit_code == 1
    assert "cannot be opened" in done.stderr
    assert "close the other program" in done.stderr


def test_no_rows_of_a_file_that_failed(emulator: Emulator, place: Place) -> None:
    """What is counted was loaded; and the column and the constraint that refused it are named."""
    emulator.add("users", "2026-05-14-12", "user_id,tenure\n1,1\n2,2\n")
    place.loaded(emulator, summary_file="summary.json")
    emulator.add("users", "2026-05-14-16", "user_id\n3\n")
    place.query(f"alter table {place.schema}.users alter tenure set not null")
    done = place.try_to(emulator, summary_file="summary.json")
    assert done.exit_code == 1
    assert re.search(r"\(NotNullViolation, column tenure\)|failed: users.tenure", done.stderr)
    assert json.loads(Path("summary.json").read_text())["rows"] == 0
    assert place.count("users") == 2


def test_ledger_is_gone(emulator: Emulator, place: Place) -> None:
    """A ledger that was dropped is made again; the state still says what was loaded."""
    emulator.add("users", "2026-05-14-12", "user_id\n1\n")
    place.loaded(emulator)
    place.query(f"drop table {place.schema}._firstup_files")
    emulator.add("users", "2026-05-14-16", "user_id\n2\n")
    assert place.loaded(emulator)["rows"] == 1
    assert list(place.ledger().values()) == [1]


def test_flattening(emulator: Emulator, place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A setting that has no effect is warned about."""
    place.loaded(emulator, flattening_enabled=True, flattening_max_depth=1)
    assert "flattening_enabled has no effect" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("-c default_transaction_read_only=on", "the server is read-only"),
        ("-c search_path=nowhere", "no schema of the search_path exists"),
    ],
)
def test_doctor_of_a_server(
    emulator: Emulator, postgres: PostgresSchema, options: str, words: str
) -> None:
    """`doctor` finds what would keep every load from writing."""
    more = "&" if "?" in postgres.to else "?"
    done = postgres.doctor(
        emulator, "--to", f"{postgres.to}{more}options={quote(options)}", "--schema", ""
    )
    assert done.exit_code == 1
    assert words in done.stdout


def test_home_folder(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell expands no ~ after a colon: all commands do."""
    monkeypatch.setenv("HOME", str(Path.cwd()))
    emulator.add("users", "2026-05-14-12", "user_id\n1\n")
    config = write(Path.cwd(), "config.json", settings(emulator))
    for command in (["load", "--config", config], ["state"], ["doctor", "--config", config]):
        done = CliRunner().invoke(main, [*command, "--to", "duckdb:~/x.db"])
        assert done.exit_code == 0, done.output
    assert "1 stream loaded so far" in done.output
    assert Path("x.db").exists()


def test_doctor(emulator: Emulator, place: Place) -> None:
    """`doctor --to` shows the server's version and what was loaded; a missing one fails it."""
    exports(emulator, 1)
    before = place.doctor(emulator)
    assert before.exit_code == 0
    place.loaded(emulator)
    done = place.doctor(emulator)
    assert done.exit_code == 0
    (line,) = (line for line in done.stdout.splitlines() if " database " in line)
    assert re.search(r"(PostgreSQL|DuckDB) \d+[.]\d.*; 2 streams loaded so far$", line)
    failed = place.doctor(emulator, "--to", "postgresql://127.0.0.1:1/x")
    assert failed.exit_code == 1
    assert "the database cannot be reached" in failed.stdout


def test_doctor_of_no_folder(emulator: Emulator, tmp_path: Path) -> None:
    """`doctor --to duckdb:` fails where `load` could not create the file."""
    place = DuckDBFile(tmp_path)
    assert place.doctor(emulator).exit_code == 0
    failed = place.doctor(emulator, "--to", f"duckdb:{tmp_path}/no/such/folder/file")
    assert failed.exit_code == 1
    assert "file cannot be created in its folder" in failed.stdout


def test_state_of_no_database(tmp_path: Path) -> None:
    """The command ``state`` makes no file."""
    place = DuckDBFile(tmp_path)
    done = CliRunner().invoke(main, ["state", "--to", place.to])
    assert done.exit_code == 1
    assert "does not exist; check --to" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_full_spool(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rows on their way to DuckDB find no room, nothing of the file is loaded."""
    place = DuckDBFile(tmp_path)
    exports(emulator, 1)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("polars.DataFrame.write_parquet", refuse)
        done = place.try_to(emulator)
    assert done.exit_code == 1
    assert "rows for DuckDB cannot be written to disk (No space left on device)" in done.stderr
    assert place.ledger() == {}
    place.loaded(emulator)
    assert_whole_files(place)
