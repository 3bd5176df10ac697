"""The docs, meltano.yml and the Hub's entry agree with tap-userpilot."""

from __future__ import annotations

from typing import Any

import yaml
from jsonschema import Draft7Validator

from tap_userpilot.documented import STREAMS
from tap_userpilot.tap import TapUserpilot
from tap_userpilot.vendor import USERPILOT
from tests import ROOT
from tests.test_docs import EXTRACTORS, HUB_SCHEMA

EXTRACTOR = EXTRACTORS["tap-userpilot"]
TapUserpilot.append_builtin_config(TapUserpilot.config_jsonschema)
PROPERTIES: dict[str, dict[str, Any]] = TapUserpilot.config_jsonschema["properties"]


def test_meltano_knows_every_setting() -> None:
    """meltano.yml offers exactly the settings that the tap has, with their defaults and secrecy."""
    offered = {s["name"]: s for s in EXTRACTOR["settings"]}
    assert set(offered) == set(PROPERTIES)
    for name, setting in offered.items():
        assert setting.get("value") == PROPERTIES[name].get("default")
        assert bool(setting.get("sensitive")) == bool(PROPERTIES[name].get("secret"))
    for name in USERPILOT.settings:
        known = PROPERTIES[name]
        described = (offered[name]["label"], offered[name]["description"])
        assert described == (known["title"], known["description"])


def test_hub_entry() -> None:
    """The entry for Meltano Hub matches its schema, and agrees with meltano.yml."""
    hub = yaml.safe_load((ROOT / "docs" / "hub" / "tap-userpilot.yml").read_text())
    assert [error.message for error in Draft7Validator(HUB_SCHEMA).iter_errors(hub)] == []
    same = {"name", "namespace", "label", "executable", "settings", "settings_group_validation"}
    assert {name: hub[name] for name in same} == {name: EXTRACTOR[name] for name in same}


def test_page() -> None:
    """The page names each setting of the tap's own with its default, and each stream."""
    text = (ROOT / "docs" / "userpilot.md").read_text()
    assert [name for name in USERPILOT.settings if f"`{name}`" not in text] == []
    assert [name for name in STREAMS if f"`{name}`" not in text] == []
    assert "userpilot-exports emulate" in text
