"""The docs, meltano.yml, the entry for Meltano Hub and the code say the same about settings."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft7Validator

from filetap.files import ExportFile
from filetap.people.inventory import Available
from filetap.setting_checks import faults
from tap_firstup_dde.cli import main
from tap_firstup_dde.dictionary import COLUMNS
from tap_firstup_dde.tap import TapFirstupDDE
from tap_firstup_dde.vendor import FIRSTUP
from tests import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SDK_OWN = {"stream_maps", "stream_map_config", "faker_config", "batch_config"}
TapFirstupDDE.append_builtin_config(TapFirstupDDE.config_jsonschema)
PROPERTIES: dict[str, dict[str, Any]] = TapFirstupDDE.config_jsonschema["properties"]
OWN = {n: p for n, p in PROPERTIES.items() if n not in SDK_OWN and "flattening" not in n}
MELTANO = yaml.safe_load((ROOT / "meltano.yml").read_text())
EXTRACTORS = {plugin["name"]: plugin for plugin in MELTANO["plugins"]["extractors"]}
EXTRACTOR = EXTRACTORS["tap-firstup-dde"]


HUB = yaml.safe_load((ROOT / "docs" / "hub" / "tap-firstup-dde.yml").read_text())
_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT, "minItems": 1, "uniqueItems": True}
# What Meltano Hub requires of the entry of an extractor.
HUB_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "namespace", "variant", "quality"],
    "properties": {
        **dict.fromkeys(
            "name namespace variant label description definition executable pip_url repo "
            "log_parser logo_url docs next_steps prereq settings_preamble usage".split(),
            _TEXT,
        ),
        "domain_url": {**_TEXT, "format": "uri", "pattern": "^https://"},
        "commands": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": _TEXT,
                "required": ["args"],
            },
        },
        "keywords": _TEXTS,
        "select": _TEXTS,
        "capabilities": {
            **_TEXTS,
            "items": {
                "enum": "properties catalog discover state about stream-maps schema-flattening "
                "activate-version batch test log-based structured-logging".split()
            },
        },
        "supported_python_versions": {**_TEXTS, "items": {"pattern": r"^3\.\d+$"}},
        "maintenance_status": {"enum": "active beta development inactive unknown".split()},
        "quality": {"enum": "gold silver bronze unknown".split()},
        "settings_group_validation": {"type": "array", "items": _TEXTS},
        "settings": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "properties": {
                    **dict.fromkeys("name label description placeholder docs env".split(), _TEXT),
                    "kind": {
                        "enum": "oauth hidden password date_iso8601 file email integer options "
                        "object array boolean string decimal".split()
                    },
                    "value": {},
                    "hidden": {"type": "boolean"},
                    "sensitive": {"type": "boolean"},
                    "options": {
                        "type": "array",
                        "items": {"required": ["label", "value"], "additionalProperties": _TEXT},
                    },
                },
            },
        },
    },
}


def _rows() -> dict[str, list[str]]:
    """Setting → the other cells of its row in the table of the docs."""
    section = (ROOT / "docs" / "settings.md").read_text()
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): [c.strip() for c in cells[1:]] for cells in lines}


def test_docs_list_every_setting() -> None:
    """The table has each setting of the tap, in the code's order."""
    assert list(_rows()) == list(OWN)


@pytest.mark.parametrize("name", OWN)
def test_docs_say_what_the_code_says(name: str) -> None:
    """A setting's description, secrecy and default are those of the code."""
    kind, default, meaning = _rows()[name]
    setting = OWN[name]
    assert setting["title"]
    assert meaning == setting["description"]
    assert (kind == "secret") == bool(setting.get("secret"))
    if "default" in setting:
        assert default == f"`{setting['default']}`"


def test_meltano_knows_every_setting() -> None:
    """meltano.yml offers exactly the settings that the tap has, secrets marked as such."""
    offered = {s["name"]: s for s in EXTRACTOR["settings"]}
    plain = {name.split(".")[0] for name in offered}
    assert plain == set(PROPERTIES)
    secret = {name for name, s in PROPERTIES.items() if s.get("secret")}
    assert {name for name, s in offered.items() if s.get("sensitive")} == secret
    for name, setting in offered.items():
        known = PROPERTIES[name]
        assert setting.get("value") == known.get("default")
        assert [option["value"] for option in setting.get("options", [])] == known.get("enum", [])
        kinds = {"options": "string", "date_iso8601": "string"}
        allowed = {*known["type"], *(["integer"] if "number" in known["type"] else [])}
        assert kinds.get(setting["kind"], setting["kind"]) in allowed
        assert (setting["kind"] == "date_iso8601") == (known.get("format") == "date-time")
        assert setting["label"]
        assert setting["description"]
        if name in OWN:
            assert (setting["label"], setting["description"]) == (
                known["title"],
                known["description"],
            )


@pytest.mark.parametrize("name", EXTRACTORS)
def test_meltano_capabilities(name: str) -> None:
    """meltano.yml, and Meltano Hub's entry, list what each tap can do, and how its log is read."""
    capabilities = {str(c.value) for c in TapFirstupDDE.capabilities}
    hub = yaml.safe_load((ROOT / "docs" / "hub" / f"{name}.yml").read_text())
    for entry in (EXTRACTORS[name], hub):
        assert set(entry["capabilities"]) == capabilities
        assert entry["log_parser"] == "singer-sdk"
        assert entry["commands"].keys() == {"doctor", "files", "report"}
    assert hub["commands"] == EXTRACTORS[name]["commands"]


def test_commands_in_the_readme_exist() -> None:
    """Each make target that the README names is in the Makefile."""
    targets = set(re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    made = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets
    assert targets <= made


def test_tests_in_the_docs_exist() -> None:
    """Each test that the table of faults names exists, and every fault has one."""
    rows = re.findall(r"^\| .* \|$", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)
    named = [re.findall(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)`", row) for row in rows]
    assert sum(bool(found) for found in named) > 30
    for file, test in (pair for found in named for pair in found):
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file}::{test}"


def test_hub_entry_is_valid() -> None:
    """The entry for Meltano Hub matches its schema, and agrees with meltano.yml."""
    Draft7Validator.check_schema(HUB_SCHEMA)
    assert [error.message for error in Draft7Validator(HUB_SCHEMA).iter_errors(HUB)] == []
    same = {"name", "namespace", "label", "executable", "commands"}
    same |= {"settings", "settings_group_validation"}
    assert {name: HUB[name] for name in same} == {name: EXTRACTOR[name] for name in same}
    assert set(HUB["capabilities"]) == {str(c.value) for c in TapFirstupDDE.capabilities}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert HUB["pip_url"] == project["name"]
    versions = [c.rsplit(" ", 1)[1] for c in project["classifiers"] if ":: Python :: " in c]
    assert HUB["supported_python_versions"] == versions


def test_settings_groups() -> None:
    """Each group of settings that Meltano checks is enough for the tap, and no part of it is."""
    values: dict[str, Any] = {"folder": {"url": "/tmp"}}  # noqa: S108 - nothing is written
    for group in EXTRACTOR["settings_group_validation"]:
        config = {name: values.get(name, "x") for name in group}
        assert faults(config, FIRSTUP) == []
        for name in group:
            assert faults({n: v for n, v in config.items() if n != name}, FIRSTUP)


def _described(settings: dict[str, Any], at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every setting, and those within them."""
    for name, setting in settings.items():
        yield at + name, setting
        yield from _described(setting.get("properties", {}), f"{at}{name}.")


@pytest.mark.parametrize("output", ["json", "markdown", "text"])
def test_about(output: str) -> None:
    """``--about`` shows each setting's meaning and values, nested ones too, and the columns."""
    chosen = [] if output == "text" else ["--format", output]
    command = [sys.executable, "-m", "tap_firstup_dde", "--about", *chosen]
    about = subprocess.check_output(command, text=True)
    if output == "json":
        told = json.loads(about)["settings"]["properties"]
        assert told == json.loads(json.dumps(PROPERTIES))
        streams = json.loads(about)["streams"]
        found = {
            s: {n: c["description"] for n, c in streams[s]["columns"].items()} for s in COLUMNS
        }
        assert found == {s: {n: c.text for n, c in COLUMNS[s].items()} for s in COLUMNS}
    own = [pair for pair in _described(PROPERTIES) if not pair[0].startswith("stream_maps.")]
    assert len(own) > 30
    for name, setting in own:
        assert setting["title"]
        assert setting["description"]
        if output == "markdown":
            (row,) = (line for line in about.splitlines() if line.startswith(f"| {name} |"))
            assert row.endswith(f"| {setting['description']} |")
    if output != "json":
        assert COLUMNS["activities"]["opens"].text in about


PACKAGES = [
    ROOT / "filetap",
    ROOT / "tap_firstup_dde",
    ROOT / "tap_simpplr",
    ROOT / "tap_hookbridge",
    ROOT / "tap_userpilot",
]
DOCS = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / ".github" / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "recipes" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def _pattern(node: ast.expr) -> str:
    """A text, with … for its variable parts; empty for any other expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
    if isinstance(node, ast.BinOp):
        return "".join(_pattern(part) or "…" for part in (node.left, node.right))
    return ""


def _messages(module: Path) -> set[str]:
    """The messages of the errors that a module raises or passes on, with … for variable parts."""
    found = set()
    tree = ast.parse(module.read_text())
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        texts: dict[str, str] = {}
        nodes = [n for n in ast.walk(function) if isinstance(n, ast.Assign | ast.Call)]
        for node in sorted(nodes, key=lambda n: (n.lineno, n.col_offset)):
            if isinstance(node, ast.Assign):
                name = node.targets[0]
                if isinstance(name, ast.Name) and (text := _pattern(node.value)):
                    texts[name.id] = text
            elif node.args and re.search(r"(Error|ClickException)$", ast.unparse(node.func)):
                first = node.args[0]
                text = texts.get(first.id, "") if isinstance(first, ast.Name) else _pattern(first)
                if text and ast.unparse(node.func) not in {"ValueError", "TypeError"}:
                    found.add(text)
    return found


def test_every_message_is_in_the_docs() -> None:
    """Troubleshooting has each message that an error can have, and no others."""
    modules = {module for package in PACKAGES for module in package.rglob("*.py")}
    modules -= {*(ROOT / "filetap" / "testing").iterdir()}
    modules -= {package / "emulator.py" for package in PACKAGES}
    there = {message for module in modules for message in _messages(module)}
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    told = set(re.findall(r"^\| `(.*?)` \| \S", text, re.MULTILINE))
    assert len(there) > 70
    assert there - told == set()
    assert told - there == set()


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(path: Path) -> None:
    """Every link within the project has a target, headings included."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if target.startswith("https://"):
            continue
        file, _, heading = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert heading in {h.lower().replace(" ", "-") for h in headings}, target


@pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_in_the_docs(path: Path) -> None:
    """Every file of the project that a page names exists."""
    named = re.findall(
        r"`((?:filetap|tap_\w+|tests|benchmarks|demo|examples)/[\w/.]+)`", path.read_text()
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_readme_is_short() -> None:
    """The README shows the demo on the first screen, and links every page of the docs."""
    lines = (ROOT / "README.md").read_text().splitlines()
    assert any(line.startswith("make demo ") for line in lines[:25])
    assert len(lines) < 100
    for page in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{page.name})" in "\n".join(lines)


def test_pictures_fetch_nothing() -> None:
    """A picture in the docs loads no external resource."""
    for picture in (ROOT / "docs").glob("*.svg"):
        text = picture.read_text()
        assert not re.search(r"url\([^#)]|@import|href=.http|<script", text)


def test_commands_in_the_docs() -> None:
    """The docs have each command, each member of the JSON, each exit status."""
    text = (ROOT / "docs" / "commands.md").read_text()
    for name in main.program.commands:
        assert f"| `{name}` |" in text
    rows = re.findall(r"^\| (`.*?) \|", text.split("## `files")[1], re.MULTILINE)
    then = datetime(2026, 5, 14, 16, tzinfo=UTC)
    file = ExportFile("users", "id", "000.csv", "2026-05-14-16", then)
    members = set(Available(file, None, 0, None, None).as_json(then))
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == members


def test_plan_in_the_docs() -> None:
    """The planned backfill in the docs is the result of the calculation."""
    plan = [sys.executable, str(ROOT / "benchmarks" / "backfill.py")]
    told = subprocess.check_output(plan, text=True)
    assert "| activities |" in told
    assert told in (ROOT / "docs" / "spark.md").read_text()
