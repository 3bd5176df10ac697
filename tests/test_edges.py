"""Inputs and outputs of a run: locales, odd shapes, slow readers, stream maps."""

from __future__ import annotations

import ast
import copy
import fcntl
import json
import os
import re
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from singer_sdk.exceptions import ConfigValidationError

from filetap.errors import ExportError
from filetap.output import OutputError, WholeWrites
from filetap.singer.maps import unknown_columns, unknown_streams
from filetap.testing.warm import warm
from filetap.wording import counted
from tap_firstup_dde.documented import STREAMS
from tap_firstup_dde.emulator import Emulator
from tests import ROOT
from tests.runs import IMPORTED, PEOPLE, TAP, command, run, settings, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

# A locale that is not UTF-8, and a Python that does not override it.
PLAIN_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def errors(log: str) -> list[str]:
    """The lines that say why a run failed; checks that there is no traceback."""
    assert "Traceback" not in log
    return [line for line in log.splitlines() if "| ERROR" in line or line.startswith("Error:")]


def warnings(log: str) -> list[str]:
    """The warnings in a log, without their times."""
    return [line.split("|")[3].strip() for line in log.splitlines() if "| WARNING" in line]


# Files in any locale


@pytest.mark.parametrize(("environment", "bom"), [(PLAIN_C, ""), ({}, ""), ({}, "\ufeff")])
def test_files_are_utf8_in_any_locale(
    emulator: Emulator, tmp_path: Path, environment: dict[str, str], bom: str
) -> None:
    """--state, --config and --catalog are UTF-8 whatever the locale, with or without a BOM."""
    emulator.add("users", "2026-05-14-16", "user_id,Größe\n1,17\n")
    state = {"bookmarks": {"users": {"types": {"user_id": "string", "größe": "string"}}}}
    column = {"type": ["string", "null"]}
    entry = {
        "tap_stream_id": "users",
        "schema": {"properties": {"user_id": column, "größe": column}},
        "metadata": [{"breadcrumb": [], "metadata": {"selected": True}}],
    }
    config = settings(emulator, column_types={"users": {"größe": "string"}})
    paths = []
    for name, value in (("config", config), ("state", state), ("catalog", {"streams": [entry]})):
        path = tmp_path / f"{name}.json"
        path.write_text(bom + json.dumps(value, ensure_ascii=False), encoding="utf-8")
        paths += [f"--{name}", str(path)]
    done = command(*paths, env=environment)
    assert (done.status, warnings(done.log)) == (0, [])
    (record,) = done.records("users")
    assert record["größe"] == "17"
    assert set(done.state["bookmarks"]["users"]["types"]) == {"user_id", "größe"}
    for arguments in (["files"], ["doctor"], ["report", "--to", str(tmp_path / "page.html")]):
        shown = command(*arguments, *paths[:4], env=environment, program=PEOPLE)
        assert (arguments, shown.status, errors(shown.log)) == (arguments, 0, [])


@pytest.mark.parametrize(
    ("option", "data", "says"),
    [
        ("--config", '{"größe": 1}'.encode("latin-1"), "not UTF-8 text"),
        ("--state", '{"größe": 1}'.encode("latin-1"), "not UTF-8 text"),
        ("--catalog", '{"größe": 1}'.encode("latin-1"), "not UTF-8 text"),
        ("--config", '{"a": 1}'.encode("utf-16"), "not UTF-8 text"),
        ("--state", b'{"\\ud800": 1}', "not UTF-8 text"),
        ("--catalog", b"[" * 100_000, "nested too deeply"),
        ("--config", b"{", "is not JSON"),
        ("--state", b"{", "is not JSON"),
        ("--catalog", b"", "it is empty"),
    ],
)
def test_what_is_not_json_in_utf8(
    emulator: Emulator, tmp_path: Path, option: str, data: bytes, says: str
) -> None:
    """A file that cannot be read is one line that names its option."""
    (tmp_path / "odd.json").write_bytes(data)
    good = write(tmp_path, "config.json", settings(emulator))
    done = command("--config", good, option, str(tmp_path / "odd.json"))
    (line,) = errors(done.log)
    assert done.status == 1
    assert option in line
    assert says in line


def test_environment_in_any_locale(emulator: Emulator) -> None:
    """Settings in the environment are UTF-8 too, even if the locale is not."""
    emulator.add("users", "2026-05-14-16", "user_id,Größe\n1,17\n")
    env = {f"TAP_FIRSTUP_DDE_{k.upper()}": v for k, v in emulator.settings.items()}
    types = json.dumps({"users": {"größe": "string"}}, ensure_ascii=False)
    done = command(env={**env, **PLAIN_C, "TAP_FIRSTUP_DDE_COLUMN_TYPES": types})
    assert (done.status, warnings(done.log)) == (0, [])
    assert done.records("users")[0]["größe"] == "17"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("X_NAME=größe\nX_DEPTH=two\n".encode("utf-8-sig"), "X_DEPTH is not an integer: 'two'"),
        ('X_NAME="größe"\nX_DEPTH=2\n'.encode(), "{'name': 'gr\\xf6\\xdfe', 'depth': 2}"),
        ("X_NAME=größe\n".encode("latin-1"), ".env is not UTF-8 text"),
        (b"X_NAME=a\0b\n", ".env is not UTF-8 text"),
    ],
)
def test_dotenv_in_any_locale(tmp_path: Path, data: bytes, says: str) -> None:
    """The .env file is UTF-8 too; whatever cannot be read in it is named."""
    (tmp_path / ".env").write_bytes(data)
    code = """
import sys
from types import SimpleNamespace
from filetap import environment
environment.find_spec = lambda _: SimpleNamespace(origin=sys.argv[1])
kinds = {"name": {"type": ["string"]}, "depth": {"type": ["integer"]}}
print(ascii(environment.from_environment("X_", {"properties": kinds})))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "sdk" / "__init__.py")],
        capture_output=True,
        text=True,
        env={**os.environ, **PLAIN_C},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def test_text_files_name_their_encoding() -> None:
    """The package and the demo read and write no text file in the locale's encoding."""
    root = ROOT
    modules = [
        path
        for part in ("filetap", "tap_firstup_dde", "tap_simpplr", "demo")
        for path in (root / part).rglob("*.py")
    ]
    calls = [
        (path.name, node.lineno, {keyword.arg for keyword in node.keywords})
        for path in modules
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"read_text", "write_text"}
    ]
    assert calls
    assert [call for call in calls if "encoding" not in call[2]] == []


# Settings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("flattening_max_depth", "two", "two"),
        ("flattening_max_key_length", "1.5", 1.5),
        ("flattening_enabled", "maybe", "maybe"),
        ("stream_maps", "{", []),
        ("stream_maps", '{"users": 5}', {"users": 5}),
        ("stream_maps", '{"users": {"a": 5}}', {"users": {"a": [1]}}),
        ("stream_maps", '{"__else__": 5}', {"__else__": 5}),
        ("stream_maps", '{"users": {"__else__": "x"}}', {"users": {"__else__": 5}}),
        ("stream_maps", '{"users": {"__filter__": 5}}', {"users": {"__filter__": 5}}),
        ("stream_maps", '{"users": {"a": ""}}', {"users": {"a": ""}}),
        ("stream_maps", '{"users": {"a": "b = 1"}}', {"users": {"a": "b = 1"}}),
        ("stream_maps", '{"__what__": {}}', {"__what__": {}}),
        ("stream_map_config", "[1", "text"),
        ("faker_config", "nothing", 5),
        ("batch_config", "{'a': 1}", ["jsonl"]),
    ],
)
def test_settings_of_the_sdk(
    emulator: Emulator, tmp_path: Path, name: str, text: str, value: Any
) -> None:
    """A setting that cannot be read, in the environment or a file, is named in one line."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    env = {f"TAP_FIRSTUP_DDE_{k.upper()}": v for k, v in emulator.settings.items()}
    path = write(tmp_path, "config.json", settings(emulator, **{name: value}))
    runs = [
        command(env={**env, f"TAP_FIRSTUP_DDE_{name.upper()}": text}),
        command("--config", path),
    ]
    for done in runs:
        (line,) = errors(done.log)
        assert done.status == 1
        assert name in line.lower()


# Catalogs and states

_ENTRY = {
    "tap_stream_id": "users",
    "stream": "users",
    "key_properties": ["user_id"],
    "replication_key": "generated_at",
    "schema": {
        "type": "object",
        "properties": {
            "user_id": {"type": ["string", "null"]},
            "tenure": {"type": ["integer", "null"]},
            "generated_at": {"type": ["string", "null"], "format": "date-time"},
        },
    },
    "metadata": [
        {"breadcrumb": [], "metadata": {"selected": True, "inclusion": "available"}},
        {"breadcrumb": ["properties", "tenure"], "metadata": {"selected": True}},
    ],
}
_CATALOG = {"streams": [_ENTRY]}
_STATE = {
    "bookmarks": {
        "users": {
            "replication_key": "generated_at",
            "replication_key_value": "2026-05-14T12:00:00Z",
            "finished": ["0123456789ab"],
            "finished_at": {"0123456789ab": "2026-05-14T12:00:00Z"},
            "types": {"user_id": "string", "tenure": "integer"},
            "in_progress": {"file": "fedcba987654", "rows": 5},
            "lookback_days": 14,
            "program_id": "23552",
            "progress_markers": {"replication_key": "generated_at"},
            "partitions": [],
        }
    }
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"streams": None}, "streams is not of type array"),
        ({"streams": [_ENTRY, _ENTRY | {"stream": "other"}]}, "it has users twice"),
        ({"streams": [{}]}, "streams[0] lacks one of tap_stream_id"),
        ({"metadata": "text"}, "metadata is not of type"),
        ({"metadata": {}}, "metadata is not of type"),
        ({"metadata": [{"breadcrumb": None, "metadata": {}}]}, "breadcrumb is not of type array"),
        ({"metadata": [{"metadata": {}}]}, "lacks one of breadcrumb"),
        ({"metadata": [{"breadcrumb": 5, "metadata": {}}]}, "breadcrumb is not of type array"),
        ({"metadata": [{"breadcrumb": [], "metadata": None}]}, "metadata is not of type object"),
        ({"key_properties": [1]}, "key_properties[0] is not of type string"),
        ({"key_properties": "user_id"}, "key_properties is not of type"),
        ({"schema": []}, "schema is not of type"),
        ({"schema": {"properties": []}}, "properties is not of type"),
        ({"schema": {"properties": {"a": None}}}, "a is not described by an object"),
        ({"replication_key": 5}, "replication_key is not of type"),
        ({"metadata": None}, ""),
        ({"schema": None}, ""),
        ({"schema": {"properties": None}}, ""),
        ({"stream": None}, ""),
    ],
)
def test_odd_catalogs(emulator: Emulator, change: Any, says: str) -> None:
    """A catalog of another shape is one line that names the place, or does no harm."""
    emulator.add("users", "2026-05-14-16", "user_id,tenure\n1,2\n")
    catalog = change if "streams" in change else {"streams": [_ENTRY | change]}
    error = ""
    try:
        run(settings(emulator), catalog=catalog)
    except ExportError as caught:
        error = str(caught)
    assert ("the catalog cannot be read: " in error) == bool(says)
    assert says in error
    assert "\n" not in error


def places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to each node of a JSON document."""
    yield at
    below: Any = node.items() if isinstance(node, dict) else ()
    for step, child in enumerate(node) if isinstance(node, list) else below:
        yield from places(child, (*at, step))


def replaced(node: Any, at: tuple[Any, ...], value: Any) -> Any:
    """A copy of a document with one node replaced."""
    if not at:
        return value
    changed = copy.copy(node)
    changed[at[0]] = replaced(node[at[0]], at[1:], value)
    return changed


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(["users", "generated_at", "2026-05-14T12:00:00Z"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5) | st.sampled_from(["type", "properties", "users"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def served() -> Iterator[Mapping[str, Any]]:
    """Settings for an emulator with one small file."""
    with Emulator() as emulator:
        emulator.add("users", "2026-05-14-16", "user_id,tenure\n1,2\n")
        yield settings(emulator)


def ending(config: Mapping[str, Any], **more: Any) -> str:
    """The outcome of a run that may be refused."""
    try:
        run(config, **more)
    except ExportError as error:
        return "one line" if str(error) and "\n" not in str(error) else str(error)
    return "done"


@examples(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(at=st.sampled_from(list(places(_CATALOG))), value=_JSON)
def test_any_catalog(served: Mapping[str, Any], at: tuple[Any, ...], value: Any) -> None:
    """Whatever is in a catalog, a run succeeds or ends with one of the tap's own errors."""
    assert ending(served, catalog=replaced(_CATALOG, at, value)) in {"done", "one line"}


@examples(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(at=st.sampled_from(list(places(_STATE))), value=_JSON)
def test_any_state(served: Mapping[str, Any], at: tuple[Any, ...], value: Any) -> None:
    """Whatever is in a state, a run succeeds or ends with one of the tap's own errors."""
    assert ending(served, state=replaced(_STATE, at, value)) in {"done", "one line"}


# Warnings


def test_each_warning_once(emulator: Emulator, tmp_path: Path) -> None:
    """Discovery leaves a run's warnings to the run, which logs each once."""
    emulator.add("users", "2026-05-14-16", "user_id,tenure\n1,2\n")
    config = settings(
        emulator,
        start_dat="2026-01-01",
        access_token=emulator.issue_token(),
        column_types={"users": {"zzz": "integer"}},
        primary_keys={"users": ["nope"]},
        stream_maps={"usres": {"user_id": "user_id"}, "users": {"tenur": None}},
    )
    path = write(tmp_path, "config.json", config)
    found = command("--config", path, "--discover")
    assert (found.status, warnings(found.log)) == (0, [])
    done = command("--config", path)
    logged = warnings(done.log)
    assert len(logged) == len(set(logged)) == 7
    for part in ("start_dat", "client_id", "client_secret", "usres", "tenur", "zzz", "nope"):
        assert sum(part in line for line in logged) == 1, part


def test_warnings_before_an_error(tmp_path: Path) -> None:
    """A misspelt setting is named beside the error that it causes, in discovery too."""
    path = write(tmp_path, "config.json", {"clientid": "a", "client_secret": "b"})
    for arguments in ((), ("--discover",)):
        done = command("--config", path, *arguments)
        assert done.status == 1
        assert warnings(done.log) == [
            "the setting clientid is not known and has no effect; did you mean client_id?"
        ]
        assert len(errors(done.log)) == 1


# Stream maps


@pytest.mark.parametrize(
    ("maps", "says"),
    [
        ({"usres": {}}, "there is no stream usres; did you mean users?"),
        ({"zzz*": None}, "there is no stream zzz*"),
        ({"copy": {"__source__": "campaign"}}, "no stream campaign; did you mean campaigns?"),
        ({"users": {}, "u*": {}, "users_malformed": {}, "__else__": None}, ""),
        ({"copy": {"__source__": "users"}}, ""),
    ],
)
def test_unknown_streams(maps: dict[str, Any], says: str) -> None:
    """A map of a stream that does not exist is reported, with the nearest name."""
    assert bool(unknown_streams(maps, STREAMS)) == bool(says)
    assert says in "".join(unknown_streams(maps, STREAMS))


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"emial": None}, "no column emial; did you mean email?"),
        ({"emial": "__NULL__"}, "no column emial; did you mean email?"),
        ({"x": "emial + 'a'"}, "no column emial"),
        ({"x": "record['emial']"}, "no column emial"),
        ({"x": "_.get('emial', 'a')"}, "no column emial"),
        ({"emial": "self.upper()"}, "no column emial"),
        ({"__filter__": "emial != 'a'"}, "no column emial"),
        ({"Email": None}, "no column Email; did you mean email?"),
        ({"full_name": "first_name + last_name"}, ""),
        ({"email": None, "tenure__text": None, "generated_at": None, "last_name": None}, ""),
        ({"x": "[word for word in email.split('@')][0]", "y": "md5(config['salt'] + email)"}, ""),
        ({"__else__": None, "__alias__": "people", "__key_properties__": ["user_id"]}, ""),
        ({"__source__": "campaigns", "emial": None}, ""),
    ],
)
def test_unknown_columns(members: dict[str, Any], says: str) -> None:
    """A removal or a use of a column that does not exist is reported; an addition is fine."""
    documented = STREAMS["users"].documented
    maps = {"users": members, "*": {"what": None}}
    found = unknown_columns(maps, "users", ["email", "tenure"], documented)
    assert bool(found) == bool(says)
    assert says in "".join(found)


@pytest.mark.parametrize(
    ("expression", "reason", "divert"),
    [
        ("tenure > 5", "null or has the wrong type", False),
        ("tenure > 5", "null or has the wrong type", True),
        ("1 / (0 if tenure else 0)", "divides by zero", False),
        ("int(first_name)", "cannot be converted", True),
        ("nope(first_name)", "no function nope", False),
        ("frist_name", "there is no column frist_name; did you mean first_name?", False),
        ("record['nope']", "a member that does not exist", False),
        ("first_name.nope", "AttributeDoesNotExist", False),
    ],
)
def test_expression_fails(
    emulator: Emulator, tmp_path: Path, expression: str, reason: str, *, divert: bool
) -> None:
    """An expression that fails on a row is one line: stream, expression, row, and no value."""
    emulator.add("users", "2026-05-14-16", "user_id,first_name,tenure\n1,Precious,\n")
    maps = {"users": {"x": expression}}
    more = {"malformed_rows": "divert"} if divert else {}
    path = write(tmp_path, "config.json", settings(emulator, stream_maps=maps, **more))
    done = command("--config", path)
    (line,) = errors(done.log)
    assert done.status == 1
    assert f"stream_maps: users: the expression {expression} fails on" in line
    assert "000.csv" in line
    assert "row 1" in line
    assert reason in line
    assert "Precious" not in done.log


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("tenure > 0", "null or has the wrong type"),
        ("1 / (0 if tenure else 0)", "divides by zero"),
        ("int(first_name) > 1", "cannot be converted"),
    ],
)
def test_filter_fails(emulator: Emulator, expression: str, reason: str) -> None:
    """The same with a filter."""
    emulator.add("users", "2026-05-14-16", "user_id,first_name,tenure\n1,Precious,\n")
    maps = {"users": {"__filter__": expression}}
    with pytest.raises(ExportError, match=reason) as caught:
        run(settings(emulator, stream_maps=maps))
    assert f"users: the expression {expression} fails on" in str(caught.value)
    assert "Precious" not in str(caught.value)


@pytest.mark.parametrize("member", ["x", "__filter__"])
def test_expression_fails_on_a_malformed_row(
    emulator: Emulator, tmp_path: Path, member: str
) -> None:
    """The same for maps of malformed rows, and for filters."""
    emulator.add("users", "2026-05-14-16", "user_id,tenure\n1,2\n1,2,Precious\n")
    maps = {"users_malformed": {member: "int(raw) > 5"}}
    config = settings(emulator, stream_maps=maps, malformed_rows="divert")
    done = command("--config", write(tmp_path, "config.json", config))
    (line,) = errors(done.log)
    assert done.status == 1
    assert "users_malformed: the expression int(raw) > 5 fails" in line
    assert "row 2" in line
    assert "Precious" not in done.log


# Flattening


@pytest.mark.parametrize("stream", ["users", "activities"])
@pytest.mark.parametrize("maps", [{}, {"users": {"x": "user_id"}}])
@pytest.mark.parametrize("length", [-1, 0, 5, 12, 13, 16, 18, 19, 40, 255])
def test_flattened_keys(emulator: Emulator, stream: str, maps: dict[str, Any], length: int) -> None:
    """With shortened names the key is still among the columns of SCHEMA and records."""
    for name, columns in (
        ("users", "user_id"),
        ("activities", "date"),
        ("campaigns", "campaign_id"),
    ):
        text = f"{columns},attribute_of_quite_some_length\n1,2\n"
        emulator.add(name, "2026-05-14-16", text)
    config = settings(
        emulator,
        flattening_enabled=True,
        flattening_max_depth=2,
        flattening_max_key_length=length,
        stream_maps=maps,
    )
    if length <= 12:
        with pytest.raises(ConfigValidationError) as caught:
            run(config)
        assert "flattening_max_key_length" in caught.value.errors[0]
        return
    done = run(config)
    schema, (record,) = done.schema(stream), done.records(stream)
    there = schema["schema"]["properties"].keys()
    assert record.keys() == there
    assert set(schema["key_properties"]) <= there
    assert set(schema["bookmark_properties"]) <= there
    assert all(record[key] for key in schema["key_properties"])


def test_flattened_names_that_meet(emulator: Emulator) -> None:
    """Two columns that would get the same name are an error that names the setting."""
    names = "attribute_one_of_quite_some_length,attribute_odd_of_quite_some_length"
    emulator.add("users", "2026-05-14-16", f"user_id,{names}\n1,2,3\n")
    config = settings(
        emulator, flattening_enabled=True, flattening_max_depth=1, flattening_max_key_length=20
    )
    with pytest.raises(ExportError, match="flattening_max_key_length 20 gives the columns attr"):
        run(config)


# Output


def slow_reader(arguments: list[str], environment: Mapping[str, str]) -> tuple[bytes, str, int]:
    """A program's output on a non-blocking pipe with a slow reader, its log and its status."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    got = b""
    with subprocess.Popen(
        arguments, stdout=writing, stderr=subprocess.PIPE, env={**os.environ, **environment}
    ) as process:
        os.close(writing)
        time.sleep(1)  # the pipe is full by now
        while part := os.read(reading, 2000):
            got += part
            time.sleep(0.0005)
        os.close(reading)
        assert process.stderr
        log = process.stderr.read().decode()
    return got, log, process.returncode


@pytest.mark.parametrize(
    ("arguments", "maps"),
    [([], {}), ([], {"users": {"x": "user_id"}}), (["--discover"], {}), (["--about"], {})],
)
def test_slow_reader(
    emulator: Emulator, tmp_path: Path, arguments: list[str], maps: dict[str, Any]
) -> None:
    """The program waits for a slow reader of a non-blocking pipe, which gets every byte once."""
    rows = "".join(f"{number},Ann\n" for number in range(3000))
    emulator.add("users", "2026-05-14-16", f"user_id,first_name\n{rows}")
    path = write(tmp_path, "config.json", settings(emulator, stream_maps=maps))
    program = [sys.executable, "-m", "tap_firstup_dde", "--config", path, *arguments]
    got, log, status = slow_reader(program, {})
    assert (status, errors(log)) == (0, [])
    if arguments:
        assert got == subprocess.check_output(program, stderr=subprocess.DEVNULL)
        return
    records = [json.loads(line)["record"] for line in got.splitlines() if b'"RECORD"' in line]
    assert [record["user_id"] for record in records] == [str(number) for number in range(3000)]


def test_slow_reader_of_a_list(emulator: Emulator, tmp_path: Path) -> None:
    """The commands for people wait too."""
    for hour in range(24):
        emulator.add("users", f"2026-05-14-{hour:02}", "user_id\n1\n")
    path = write(tmp_path, "config.json", settings(emulator))
    got, log, status = slow_reader([*PEOPLE, "files", "--output", "json", "--config", path], {})
    assert (status, errors(log)) == (0, [])
    assert len(json.loads(got)) == 24


@contextmanager
def full() -> Iterator[int]:
    """A file on a disk without room."""
    with Path("/dev/full").open("wb") as file:
        yield file.fileno()


@contextmanager
def unread() -> Iterator[int]:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("sink", [full, unread, None], ids=["full", "unread", "closed"])
@pytest.mark.parametrize("arguments", [["--discover"], ["--about"], ["--about", "--format=json"]])
def test_output_that_nobody_takes(
    emulator: Emulator,
    tmp_path: Path,
    arguments: list[str],
    sink: Callable[[], AbstractContextManager[int]] | None,
) -> None:
    """A closed or full stdout is one line and status 1, for --discover and --about too."""
    emulator.add_generation(rows=20)
    line = [*TAP, "--config", write(tmp_path, "config.json", settings(emulator)), *arguments]
    if sink is None:
        done = command("-c", f"{shlex.join(line)} >&-", program=["bash"])
        log, status = done.log, done.status
    else:
        with (tmp_path / "log").open("w+") as file, sink() as out:
            started = warm(*IMPORTED).start(line[1:], os.environ, (out, file.fileno()))
            status, log = started.wait(), Path(file.name).read_text()
    (error,) = errors(log)
    assert status == 1
    assert "the output cannot be written" in error or "stdout is closed" in error
    assert "Exception ignored" not in log


LOGS = [[*TAP], [*PEOPLE, "doctor"]]


@pytest.mark.parametrize("program", LOGS, ids=["tap", "people"])
@pytest.mark.parametrize("wrong", [[], ["--nope"]], ids=["right", "wrong"])
def test_full_log(emulator: Emulator, tmp_path: Path, program: list[str], wrong: list[str]) -> None:
    """A full stderr loses its lines, but nothing else is affected."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    line = [*program, "--config", write(tmp_path, "config.json", settings(emulator)), *wrong]
    with (tmp_path / "out").open("wb") as out, full() as log:
        status = warm(*IMPORTED).start(line[1:], os.environ, (out.fileno(), log)).wait()
    assert status in ({1, 2} if wrong else {0})


@pytest.mark.parametrize("program", LOGS, ids=["tap", "people"])
def test_closed_log(emulator: Emulator, tmp_path: Path, program: list[str]) -> None:
    """A closed stderr changes nothing else either, if all is well and if not."""
    emulator.add("users", "2026-05-14-16", "user_id\n1\n")
    line = [*program, "--config", write(tmp_path, "config.json", settings(emulator))]
    assert command("-c", f"{shlex.join(line)} 2>&-", program=["bash"]).status == 0
    assert command("-c", f"{shlex.join(line)} --nope 2>&-", program=["bash"]).status in {1, 2}


@pytest.mark.parametrize("arguments", ["--about", "--discover", "--version", "--help"])
def test_any_text_in_any_locale(emulator: Emulator, tmp_path: Path, arguments: str) -> None:
    """Printed characters that a locale lacks are not an error."""
    emulator.add("users", "2026-05-14-16", "user_id,Größe\n1,2\n")
    path = write(tmp_path, "config.json", settings(emulator))
    done = command("--config", path, arguments, env=PLAIN_C)
    assert (done.status, errors(done.log)) == (0, [])


def test_write_that_fails() -> None:
    """Text that a lossy output cannot write is dropped; any other output raises an error."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        assert WholeWrites(full.fileno(), lossy=True).write(b"lost") == 4
        with pytest.raises(OutputError, match="the output cannot be written") as caught:
            WholeWrites(full.fileno(), lossy=False).write(b"lost")
    assert caught.value.reason == os.strerror(28)


# The emulator's clock


def test_no_generation_of_the_future() -> None:
    """With up_to_now a new generation is the nearest free hour that is not in the future."""
    now = datetime(2026, 5, 14, 18, 20, tzinfo=UTC)
    emulator = Emulator(rows=2, parts=1, up_to_now=True, now=lambda: now)
    emulator.first_generation = datetime(2026, 5, 14, 12, tzinfo=UTC)
    for _ in range(7):
        emulator.add_generation()
    hours = [file.generated_at[-2:] for file in emulator.files if file.stream == "users"]
    assert hours == ["12", "16", "17", "18", "15", "14", "13"]


# Words


@pytest.mark.parametrize(
    ("count", "spec", "words"),
    [(0, "", "0 rows"), (1, "", "1 row"), (2, "", "2 rows"), (1234, ",", "1,234 rows")],
)
def test_counted(count: int, spec: str, words: str) -> None:
    """A count of one has its noun in the singular."""
    assert counted(count, "row", spec) == words


def test_one_of_each(emulator: Emulator, tmp_path: Path) -> None:
    """Log lines about a single file, row, value and warning are in the singular."""
    emulator.add("users", "2026-05-14-12", "user_id,tenure\n1,2\n")
    first = run(settings(emulator))
    emulator.add("users", "2026-05-14-16", "user_id,tenure\n1,n/a\n2,3,4\n")
    paths = [
        write(tmp_path, "config.json", settings(emulator, malformed_rows="divert")),
        write(tmp_path, "state.json", first.state),
    ]
    log = command("--config", paths[0], "--state", paths[1]).log
    for words in (
        "1 of 2 files to read",
        "1 row cannot be read; kept as text in users_malformed",
        "1 value in tenure is not integer; kept as text in tenure__text",
        "1 of 1 file, 1 row, 1 misfit, 1 diverted row",
        "2 warnings",
    ):
        assert words in log
    assert not re.search(r"\b1 (rows|files|values|misfits|diverted rows|warnings|bytes)\b", log)
