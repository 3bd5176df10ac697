"""Imports point one way, the engine names no vendor, and the lower layers stay light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest

from tests import ROOT

PACKAGES = ("filetap", "tap_firstup_dde", "tap_simpplr", "tap_hookbridge", "tap_userpilot")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
)

# A module of the engine, or a folder of it, per name. Each row may import from rows above it.
LAYERS = [
    {"redaction", "settings", "times", "wording", "checksum", "prefetch"}
    | {"allocation", "lazy", "importing"},
    {"errors", "files", "environment"},
    {"vendor", "bookmark", "output"},
    {"transports", "bookmark_state", "bookmark_listing"},
    {"download"},
    {"read"},
    {"columns"},
    {"plan", "stats", "table", "write", "jobs"},
    {"scan", "bookmark_checks", "setting_schema"},
    {"setting_checks", "arrow", "progress"},
    {"run", "summary"},
    {"listing"},
    {"load", "singer", "spark", "dlt"},
    {"people"},
    {"testing"},
]
# Packages that only some layers may import.
KEPT_TO = {
    "singer_sdk": {"singer", "people", "testing"},
    "click": {"singer", "people"},
    "rich": {"people", "progress"},
    "duckdb": {"load"},
    "psycopg": {"load"},
    "pyspark": {"spark"},
    "dlt": {"dlt"},
    "pyarrow": {"arrow", "spark", "dlt"},
    "pytest": {"testing"},
}
VENDORS = r"(?i)firstup|socialchorus|creator studio|simpplr|hookbridge|userpilot"


def imports(module: str) -> set[str]:
    """Every module that *module* imports, in any form, even if only types need it."""
    path = ROOT / module.replace(".", "/")
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        match node:
            case ast.Import(names=names):
                found |= {name.name for name in names}
            case ast.ImportFrom(module=str(base), names=names, level=0):
                found |= {base, *(f"{base}.{name.name}" for name in names)}
            case ast.Call(func=ast.Name("__import__") | ast.Attribute(attr="import_module")):
                found |= {str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)}
            case ast.ImportFrom():
                found.add(".")  # a relative import
    return found


def layer(module: str) -> str:
    """The engine's folder, or module at its top, that a module belongs to."""
    return module.split(".")[1]


ENGINE = [module for module in MODULES if module.startswith("filetap.")]


def test_every_layer_has_its_row() -> None:
    """A new folder, or module beside the folders, must be added to the table."""
    assert {layer(module) for module in ENGINE} == set().union(*LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    """A module imports only from its own folder and from lower rows, for its types too."""
    named = imports(module)
    assert "." not in named
    if not module.startswith("filetap."):
        return
    assert not [name for name in named if name.startswith("tap_")]
    (level,) = [i for i, row in enumerate(LAYERS) if layer(module) in row]
    allowed = {layer(module)}.union(*LAYERS[:level])
    assert {layer(name) for name in named if name.startswith("filetap.")} <= allowed


@pytest.mark.parametrize("module", ENGINE)
def test_outside_packages_are_kept_to_layers(module: str) -> None:
    """Other front ends can use the engine without the SDK, click, Spark and their like."""
    tops = {name.partition(".")[0] for name in imports(module)}
    assert not [top for top in tops if layer(module) not in KEPT_TO.get(top, {layer(module)})]


def test_no_module_imports_in_a_circle() -> None:
    """Modules within a folder depend on each other in one direction too."""
    graph = {module: imports(module) & {*MODULES} - {module} for module in MODULES}
    while graph:
        free = {module for module, named in graph.items() if not named & graph.keys()}
        assert free, sorted(graph)
        graph = {module: named for module, named in graph.items() if module not in free}


def test_engine_names_no_vendor() -> None:
    """Neither in code nor in a string, a hint or a docstring."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (ROOT / "filetap").rglob("*")
        if path.suffix in {".py", ".html", ".css"}
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(VENDORS, line)
    ]
    assert found == []


@pytest.mark.parametrize("module", MODULES)
def test_modules_can_be_read_in_a_sitting(module: str) -> None:
    """No module has more than 400 lines, no class more than 250."""
    path = ROOT / module.replace(".", "/")
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
    assert len(text.splitlines()) <= 400
    classes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    assert [c.name for c in classes if (c.end_lineno or 0) - c.lineno >= 250] == []


@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("tap_firstup_dde.api", {"singer_sdk", "click", "pyspark", "polars"}),
        ("tap_firstup_dde.cli", {"singer_sdk", "requests", "polars"}),
        ("tap_firstup_dde.dlt", {"singer_sdk", "click", "pyspark"}),
        ("filetap.scan", {"singer_sdk", "click", "requests", "pyspark"}),
    ],
)
def test_light_modules(module: str, without: set[str]) -> None:
    """A front end loads only what it uses."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not without & set(done.stdout.split())
