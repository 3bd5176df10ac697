"""The docs, meltano.yml and the Hub's entry agree with tap-hookbridge."""

from __future__ import annotations

from typing import Any

import yaml
from jsonschema import Draft7Validator

from filetap.setting_checks import faults
from tap_hookbridge.cli import main
from tap_hookbridge.tap import TapHookBridge
from tap_hookbridge.vendor import HOOKBRIDGE
from tests import ROOT
from tests.test_docs import EXTRACTORS, HUB_SCHEMA

EXTRACTOR = EXTRACTORS["tap-hookbridge"]
TapHookBridge.append_builtin_config(TapHookBridge.config_jsonschema)
PROPERTIES: dict[str, dict[str, Any]] = TapHookBridge.config_jsonschema["properties"]
OWN = (
    "api_key",
    "api_url",
    "start_date",
    "window_hours",
    "settle_minutes",
    "status_lookback_days",
    "lookback_days",
    "poll_seconds",
    "job_timeout",
)


def test_meltano_knows_every_setting() -> None:
    """meltano.yml offers exactly the settings that the tap has, with their defaults and secrecy."""
    offered = {s["name"]: s for s in EXTRACTOR["settings"]}
    assert set(offered) == set(PROPERTIES)
    for name, setting in offered.items():
        assert setting.get("value") == PROPERTIES[name].get("default")
        assert bool(setting.get("sensitive")) == bool(PROPERTIES[name].get("secret"))
    for name in OWN:
        known = PROPERTIES[name]
        described = (offered[name]["label"], offered[name]["description"])
        assert described == (known["title"], known["description"])
    assert faults({"api_key": "hb_test_1"}, HOOKBRIDGE) == []
    assert faults({}, HOOKBRIDGE)


def test_hub_entry() -> None:
    """The entry for Meltano Hub matches its schema, and agrees with meltano.yml."""
    hub = yaml.safe_load((ROOT / "docs" / "hub" / "tap-hookbridge.yml").read_text())
    assert [error.message for error in Draft7Validator(HUB_SCHEMA).iter_errors(hub)] == []
    same = {"name", "namespace", "label", "executable", "settings", "settings_group_validation"}
    assert {name: hub[name] for name in same} == {name: EXTRACTOR[name] for name in same}


def test_page() -> None:
    """The page names each setting and each command of its own."""
    text = (ROOT / "docs" / "hookbridge.md").read_text()
    assert [name for name in OWN if f"`{name}`" not in text] == []
    own = {"emulate", "doctor"}
    assert own <= set(main.program.commands)
    assert [name for name in own if f"hookbridge-exports {name}" not in text] == []
