"""What in a project's meltano.yml costs speed or data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from filetap.people.examination import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filetap.people.examination import Examination
    from filetap.vendor import Vendor

_ODD_SHAPES = (KeyError, TypeError, AttributeError)


def check_project(examination: Examination) -> Finding:
    """Look for settings that cost speed or data in the meltano.yml of the current folder."""
    path, vendor = Path("meltano.yml"), examination.tap.vendor
    if not path.is_file():
        return Finding("no meltano.yml in this folder", skipped=True)
    try:
        plugins = yaml.safe_load(path.read_text(encoding="utf-8"))["plugins"]
        doubts = [*_extractor_doubts(plugins, vendor), *_loader_doubts(plugins, vendor)]
    except (OSError, ValueError, RecursionError, yaml.YAMLError, *_ODD_SHAPES):
        return Finding("it cannot be read", "check meltano.yml")
    if doubts:
        return Finding("some settings cost speed or data", "; ".join(doubts))
    return Finding("no setting costs speed or data")


def _extractor_doubts(plugins: Any, vendor: Vendor) -> Iterator[str]:
    """What the blocks of the vendor's tap should say instead."""
    for plugin in plugins.get("extractors") or []:
        ours = str(plugin.get("executable") or plugin["name"]).startswith(vendor.program)
        if not ours or plugin.get("inherit_from"):
            continue
        if plugin.get("use_cached_catalog", True):
            yield (
                f"{plugin['name']}: use_cached_catalog: false lets select see new columns; a "
                "cached catalog cannot deselect them"
            )
        if "batch" not in (plugin.get("capabilities") or ["batch"]):
            yield f"{plugin['name']}: without the capability batch, batch_config has no effect"


def _loader_doubts(plugins: Any, vendor: Vendor) -> Iterator[str]:
    """Which settings of loaders cost speed or data, as measured."""
    for name, config in _settings_of(plugins, "loaders"):
        if name.startswith("target-postgres"):
            if config.get("validate_records", True):
                yield f"{name}: validate_records: false is faster; values already fit their types"
            if not config.get("use_copy"):
                yield f"{name}: use_copy: true is faster, and writes times in UTC"
        if name.startswith("target-snowflake") and config.get("load_method") == "overwrite":
            yield f"{name}: load_method: overwrite deletes what {vendor.name} no longer keeps"
    for plugin in plugins.get("loaders") or []:
        pins = str(plugin.get("pip_url", ""))
        if "target-duckdb" in pins and "duckdb==1.0.0" not in pins:
            yield f"{plugin['name']}: pin duckdb==1.0.0; with a newer one it loses rows"


def _settings_of(plugins: Any, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and settings of the plugins of one kind, defaults included."""
    for plugin in plugins.get(kind) or []:
        defaults = {s["name"]: s["value"] for s in plugin.get("settings") or [] if "value" in s}
        yield plugin["name"], {**defaults, **(plugin.get("config") or {})}
