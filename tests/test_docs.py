"""README, meltano.yml and the code say the same about settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tap_firstup_dde.tap import TapFirstupDDE

ROOT = Path(__file__).parents[1]
SDK_OWN = {"stream_maps", "stream_map_config", "faker_config", "batch_config"}
TapFirstupDDE.append_builtin_config(TapFirstupDDE.config_jsonschema)
PROPERTIES: dict[str, dict[str, Any]] = TapFirstupDDE.config_jsonschema["properties"]
OWN = {n: p for n, p in PROPERTIES.items() if n not in SDK_OWN and "flattening" not in n}
MELTANO = yaml.safe_load((ROOT / "meltano.yml").read_text())
(EXTRACTOR,) = MELTANO["plugins"]["extractors"]


def _rows() -> dict[str, list[str]]:
    """Setting → the other cells of its row in the README's table."""
    section = (ROOT / "README.md").read_text().split("## Settings")[1].split("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): [c.strip() for c in cells[1:]] for cells in lines}


def test_readme_lists_every_setting() -> None:
    """The README's table has each setting of the tap, in the code's order."""
    assert list(_rows()) == list(OWN)


@pytest.mark.parametrize("name", OWN)
def test_readme_says_what_the_code_says(name: str) -> None:
    """A setting's description, secrecy and default are those of the code."""
    kind, default, meaning = _rows()[name]
    setting = OWN[name]
    assert setting["title"]
    assert meaning == setting["description"]
    assert (kind == "secret") == bool(setting.get("secret"))
    if "default" in setting:
        assert default == f"`{setting['default']}`"


def test_meltano_knows_every_setting() -> None:
    """meltano.yml offers just the settings that the tap has, secrets as such."""
    offered = {s["name"]: s for s in EXTRACTOR["settings"]}
    plain = {name.split(".")[0] for name in offered}
    assert plain == set(PROPERTIES)
    secret = {name for name, s in PROPERTIES.items() if s.get("secret")}
    assert {name for name, s in offered.items() if s.get("sensitive")} == secret
    for name, setting in offered.items():
        if "value" in setting and name in PROPERTIES:
            assert setting["value"] == PROPERTIES[name].get("default", setting["value"])


def test_meltano_capabilities() -> None:
    """meltano.yml claims the tap's capabilities, but for the log format, which Meltano reads."""
    capabilities = {str(c.value) for c in TapFirstupDDE.capabilities}
    assert set(EXTRACTOR["capabilities"]) == capabilities - {"structured-logging"}


def test_commands_in_the_readme_exist() -> None:
    """Each make target that the README names is one of the Makefile's."""
    targets = set(re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    made = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets
    assert targets <= made


def test_tests_in_the_docs_exist() -> None:
    """Each test that the table of faults names is there, and every fault has one."""
    rows = re.findall(r"^\| .* \|$", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)
    named = [re.findall(r"`(test_\w+\.py)::(test_\w+)`", row) for row in rows]
    assert sum(bool(found) for found in named) > 30
    for file, test in (pair for found in named for pair in found):
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file}::{test}"
