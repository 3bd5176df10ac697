"""The SDK's private names that the engine uses: they exist, work so, and are in one module."""

from __future__ import annotations

import ast
import importlib
import inspect
import logging
import re
import signal
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk import Stream, Tap
from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchConfig
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers._flattening import flatten_key
from singer_sdk.helpers._util import load_json
from singer_sdk.mapper import PluginMapper, SameRecordTransform, StreamMap
from singer_sdk.plugin_base import PluginBase, SingerCommand

import filetap
import tap_firstup_dde
from filetap.singer import private
from filetap.singer.private import plain_logger
from filetap.testing.runs import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Methods that the engine calls or overrides, and their signatures without types.
METHODS: dict[tuple[type, str], str] = {
    (Stream, "_write_schema_message"): "(self)",
    (Stream, "_write_state_message"): "(self)",
    (Stream, "_write_record_message"): "(self, record)",
    (Stream, "_write_batch_message"): "(self, encoding, manifest)",
    (Stream, "_write_starting_replication_value"): "(self, context)",
    (Stream, "_increment_stream_state"): "(self, latest_record, *, context=None)",
    (Stream, "_sync_records"): "(self, context=None, *, write_messages=True)",
    (Stream, "_finalize_state"): "(self, state=None)",
    (Tap, "_validate_config"): "(self, *, raise_errors=True)",
    (Tap, "_handle_termination"): "(self, signum, frame)",
}
PROPERTIES: dict[tuple[type, str], type] = {(Tap, "_env_var_config"): classproperty}
# What instances have.
MEMBERS = {"_tap", "_stream_maps", "_input_schema", "_config"}
# Imported from modules that are private.
IMPORTED = {"BaseBatchFileEncoding", "BatchConfig", "classproperty", "flatten_key", "load_json"}

WORDS = {"type": "object", "properties": {"word": {"type": ["string", "null"]}}}
MORE = {"type": "object", "properties": {"more": {"type": ["string", "null"]}}}
BATCHES = {
    "encoding": {"format": "jsonl", "compression": "gzip"},
    "storage": {"root": "file:///nowhere"},
}


class Words(Stream):
    """A stream of the SDK's own, with two records."""

    def get_records(self, context: Any) -> Iterator[dict[str, Any]]:
        """Two records."""
        del context
        yield {"word": "a"}
        yield {"word": "b"}

    def get_batches(self, batch_config: BatchConfig, context: Any = None) -> Iterator[Any]:
        """Two batches."""
        del context
        yield batch_config.encoding, ["file:///nowhere/1"]
        yield batch_config.encoding, ["file:///nowhere/2"]


class Plain(Tap):
    """A tap of the SDK's own."""

    name = "tap-plain"
    config_jsonschema = {"type": "object", "properties": {"batch_config": {"type": "object"}}}  # noqa: RUF012

    def discover_streams(self) -> list[Stream]:
        """One stream."""
        stream = Words(self, WORDS, "words")
        stream.replication_key = "word"
        return [stream]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Restore the signal handlers, which a tap replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _tap(**config: Any) -> tuple[Plain, Stream, Collector]:
    """A tap, its stream, and what receives its messages."""
    collector = Collector()
    tap = Plain(config=config, message_writer=collector)
    return tap, tap.streams["words"], collector


def _calls(monkeypatch: pytest.MonkeyPatch, stream: Stream) -> list[str]:
    """The private methods that a run calls, in order, without immediate repetitions."""
    called = []

    def recorded(name: str) -> Any:
        original = getattr(stream, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return original(*args, **kwargs)

        return call

    for owner, name in METHODS:
        if owner is Stream:
            monkeypatch.setattr(stream, name, recorded(name))
    stream.sync()
    return [name for name, _ in groupby(called)]


# The contract


@pytest.mark.parametrize(("owner", "name"), METHODS, ids=[name for _, name in METHODS])
def test_signature(owner: type, name: str) -> None:
    """A method has the parameters that the engine's calls and overrides rely on."""
    signature = inspect.signature(getattr(owner, name))
    parameters = [
        parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()
    ]
    bare = signature.replace(parameters=parameters, return_annotation=signature.empty)
    assert str(bare) == METHODS[owner, name]


def test_records_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """SCHEMA is written first; the bookmark moves after a record; STATE comes at the end."""
    _, stream, collector = _tap()
    assert _calls(monkeypatch, stream) == [
        "_write_schema_message",
        "_sync_records",
        "_write_starting_replication_value",
        *["_write_record_message", "_increment_stream_state"] * 2,
        "_finalize_state",
        "_write_state_message",
    ]
    kinds = [message["type"] for message in collector.messages]
    assert kinds == ["SCHEMA", "RECORD", "RECORD", "STATE"]


def test_batches_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """SCHEMA is written first; STATE follows each batch."""
    _, stream, _ = _tap(batch_config=BATCHES)
    assert _calls(monkeypatch, stream) == [
        "_write_schema_message",
        *["_write_batch_message", "_write_state_message"] * 2,
    ]


def test_schema_is_written_by_one_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """No SCHEMA is written if that method is replaced."""
    _, stream, collector = _tap()
    monkeypatch.setattr(stream, "_write_schema_message", lambda: None)
    stream.sync()
    assert {message["type"] for message in collector.messages} == {"RECORD", "STATE"}


@pytest.mark.parametrize("change", ["record", "batch", "state"])
def test_state_waits_for_a_change(change: str) -> None:
    """STATE is written if it is not flushed: by a record, by a batch, or because it is set so."""
    _, stream, collector = _tap()
    stream.stream_state["changed"] = True
    stream.state_manager.is_flushed = True
    stream._write_state_message()
    assert collector.messages == []
    if change == "record":
        stream._write_record_message({"word": "a"})
    elif change == "batch":
        stream._write_batch_message(BaseBatchFileEncoding("jsonl"), [])
    else:
        stream.state_manager.is_flushed = False
    collector.messages.clear()
    stream._write_state_message()
    stream._write_state_message()
    assert [message["type"] for message in collector.messages] == ["STATE"]


def test_stream_maps_are_cached() -> None:
    """Stream maps start from what is registered last, once the cache is emptied."""
    tap, stream, _ = _tap()
    (before,) = stream.stream_maps
    assert type(before) is SameRecordTransform
    assert not before.flattening_enabled
    tap.mapper.register_raw_stream_schema("words", MORE, ["more"])
    assert stream.stream_maps == [before]
    stream._stream_maps = None
    (after,) = stream.stream_maps
    assert after.transformed_schema == MORE


def test_members() -> None:
    """A stream has its tap, and the schema of the input catalog; a tap has its settings."""
    tap, stream, _ = _tap(batch_config=BATCHES)
    assert stream._tap is tap
    assert stream._input_schema is None
    catalog = tap.catalog_dict
    given = Plain(catalog=catalog).streams["words"]._input_schema
    assert given
    assert given["properties"] == WORDS["properties"]
    assert tap._config["batch_config"] == BATCHES


def test_settings_are_checked_by_one_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tap's settings are checked once, by a method that may change them before."""
    asked = []

    def checked(tap: Plain, *, raise_errors: bool = True) -> list[str]:
        asked.append(raise_errors)
        tap._config["batch_config"] = BATCHES
        return []

    monkeypatch.setattr(Plain, "_validate_config", checked)
    assert _tap()[0].config["batch_config"] == BATCHES
    assert asked == [True]


def test_environment_is_asked_for() -> None:
    """The environment is one property of the class, and accessed only if it is to be read."""

    class Surroundings(Plain):
        """Has a setting in its environment."""

        @classproperty
        def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - the SDK's decorator
            return {"batch_config": BATCHES}

    for (owner, name), kind in PROPERTIES.items():
        (static,) = {inspect.getattr_static(base, name, None) for base in owner.__mro__} - {None}
        assert isinstance(static, kind)
    assert "batch_config" not in Surroundings().config
    assert Surroundings(parse_env_config=True).config["batch_config"] == BATCHES


def test_signals_end_in_one_method() -> None:
    """A tap has its method called for signals."""
    tap, _, _ = _tap()
    for number in (signal.SIGINT, signal.SIGTERM):
        assert signal.getsignal(number) == tap._handle_termination


def test_functions() -> None:
    """What is imported from private modules does what the engine needs."""
    assert flatten_key("a", [], "__", max_key_length=9) == "a"
    assert len(flatten_key("many letters", [], "__", max_key_length=9)) <= 9
    assert load_json('{"a": 1}') == {"a": 1}
    with pytest.raises(ValueError, match="line 1"):
        load_json("{")
    config = BatchConfig.from_dict(BATCHES)
    assert (config.encoding.format, config.encoding.compression) == ("jsonl", "gzip")
    assert (config.storage.root, config.storage.prefix or "") == ("file:///nowhere", "")
    assert not config.storage.params
    assert config.batch_size > 0
    assert BaseBatchFileEncoding("jsonl", "gzip") == config.encoding


def test_logger() -> None:
    """A stream's logger is, or wraps, one of the standard library's."""
    _, stream, _ = _tap()
    assert isinstance(plain_logger(stream.logger), logging.Logger)
    assert plain_logger(stream.logger).name.startswith("tap-plain")


# One module has them all


def _modules() -> list[Path]:
    """The modules of the engine and of its taps that have anything of the SDK in hand."""
    packages = (Path(str(package.__file__)).parent for package in (filetap, tap_firstup_dde))
    modules = sorted(path for package in packages for path in package.rglob("*.py"))
    return [path for path in modules if re.search(r"singer_sdk|filetap\.singer", path.read_text())]


def _is_private(name: str) -> bool:
    """True for names with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def _private_names() -> set[str]:
    """The private names of the SDK's classes and of their instances."""
    tap, stream, _ = _tap()
    owners: Iterable[type] = (Tap, Stream, PluginBase, SingerCommand, PluginMapper, StreamMap)
    instances = (tap, stream, tap.mapper, stream.state_manager, *stream.stream_maps)
    found = {name for owner in owners for name in dir(owner)}
    found |= {name for instance in instances for name in dir(instance)}
    return {name for name in found if _is_private(name)}


def _uses(path: Path) -> tuple[set[str], set[str]]:
    """The private names that a module touches or defines, and what it imports of private ones."""
    touched, imported = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(attr=name) | ast.FunctionDef(name=name) if _is_private(name):
                touched.add(name)
            case ast.Constant(value=str(name)) if _is_private(name):
                touched.add(name)  # as in getattr and setattr
            case ast.ImportFrom(module=str(module), names=names) if "singer_sdk" in module:
                private_module = any(map(_is_private, module.split(".")))
                imported |= {n.name for n in names if private_module or _is_private(n.name)}
            case ast.Import(names=names):
                modules = [n.name for n in names if n.name.startswith("singer_sdk")]
                imported |= {m for m in modules if any(map(_is_private, m.split(".")))}
    return touched & _private_names(), imported


def test_contract_is_complete() -> None:
    """What `private` touches of the SDK's private names is what the tests above are about."""
    touched, imported = _uses(Path(private.__file__))
    assert touched == {name for _, name in (*METHODS, *PROPERTIES)} | MEMBERS
    assert imported == IMPORTED


@pytest.mark.parametrize(
    "path", _modules(), ids=[f"{path.parent.name}/{path.stem}" for path in _modules()]
)
def test_no_other_module(path: Path) -> None:
    """No other module touches a private name of the SDK, or has one like it."""
    if path != Path(private.__file__):
        assert _uses(path) == (set(), set())


def test_private_modules_exist() -> None:
    """Each private module is still where it is imported from."""
    for name in ("_batch", "_classproperty", "_flattening", "_util"):
        assert importlib.import_module(f"singer_sdk.helpers.{name}")
