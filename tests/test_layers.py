"""Imports point one way, and the lower layers stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tap_firstup_dde

PACKAGE = Path(tap_firstup_dde.__file__).parent

# Each row may import only from rows above it.
LAYERS = [
    {"exportlib.secrecy"},
    {"exportlib.exceptions", "exportlib.background", "exportlib.memory", "exportlib.connection"}
    | {"exportlib.folder_walk", "exportlib.wording"},
    {"exportlib.checksum", "exportlib.sftp", "exportlib.folder_files"}
    | {"exportlib.cells", "exportlib.markup"},
    {"exportlib.models"},
    {"exportlib.bookmark"},
    {"exportlib.http", "exportlib.compression", "exportlib.rows", "exportlib.names"}
    | {"exportlib.schema", "exportlib.storage", "exportlib.file_system"},
    {"exportlib.blocks"},
    {"exportlib.formats", "exportlib.folder", "exportlib.workbook"},
    {"exportlib.json_text", "exportlib.worksheet"},
    {"exportlib.json_objects"},
    {"exportlib.readers"},
    {"exportlib.extract", "exportlib.encoding"},
    {"exportlib.pack"},
    {"exportlib.look"},
    {"documented", "pending", "progress", "output", "environment", "inputs"},
    {"delivered"},
    {"client"},
    {"sample_data", "inventory", "charts"},
    {"coverage"},
    {"report"},
    {"columns", "emulator", "maps", "settings"},
    {"malformed", "arrow"},
    {"counts"},
    {"streams", "spark"},
    {"tap", "download"},
    {"doctor"},
    {"cli", "__main__"},
]
MODULES = [
    str(path.relative_to(PACKAGE).with_suffix("")).replace("/", ".")
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py"
]


def _imports(module: str) -> set[str]:
    """The package's own modules that *module* names, also where only types need them."""
    tree = ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_text())
    named = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    prefix = f"{PACKAGE.name}."
    return {name.removeprefix(prefix) for name in named if name.startswith(prefix)}


def test_every_module_has_its_layer() -> None:
    """A new module is put into the picture."""
    assert sorted(MODULES) == sorted(set().union(*LAYERS))


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    """A module names only modules of lower layers, for its types too."""
    (level,) = [i for i, layer in enumerate(LAYERS) if module in layer]
    below = set().union(*LAYERS[:level])
    assert _imports(module) <= below


def test_client_is_light() -> None:
    """The transport needs neither the SDK nor click: other front ends can use it alone."""
    code = "import sys, tap_firstup_dde.api; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"singer_sdk", "click", "pyspark"} & set(done.stdout.split())
