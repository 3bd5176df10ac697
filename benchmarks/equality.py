"""Prove that a rebuild changes nothing outside: `make equality ARGS="--before REV"`.

Both builds run as `python -m tap_firstup_dde`, side by side, with the same settings, on one
emulated account: through the API, and from a folder of delivered files. SCHEMA, RECORD, BATCH with
the content of its files, STATE, catalogs, settings and exit statuses must be equal. What may differ
is the time of extraction, the UUID in the name of a batch file, the date of the run in a state, and
what is prose: log lines, and descriptions of settings and columns in documents.

The account grows in steps, and each step starts from the states of the step before: from that of
either build, so that each build continues what the other one began. Where both states are equal,
which is what is to be shown, one pair of runs covers both directions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from account import STEPS, Account, damaged, drifting, large, malformed
from builds import ROOT, Comparison, build_of, check_build

from tap_firstup_dde.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAPS: Mapping[str, Any] = {
    "users": {"first_name": None, "mail": "user_id + '@a.example'", "__filter__": "user_id != '2'"},
    "activities": {"__alias__": "events", "user_name": "md5(user_name or '')"},
    "campaigns": {"__key_properties__": ["campaign_id", "generated_at"]},
}
_KEYS_AND_TYPES: Mapping[str, Any] = {
    "primary_keys": {
        "campaigns": ["campaign_id", "generated_at"],
        "activities": ["content_id", "user_id", "date"],
    },
    "column_types": {
        "users": {"tenure": "string", "score": "integer"},
        "campaigns": {"duration": "number"},
    },
    "start_date": "2026-05-14T17:00:00Z",
    "lookback_days": 2,
}
_REFUSED_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "an impossible date": {"start_date": "2026-02-30"},
    "an unknown type": {"column_types": {"users": {"tenure": "money"}}},
    "a map that does not parse": {"stream_maps": {"users": {"a": "1 +"}}},
    "a map of an unknown column": {"stream_maps": {"users": {"a": "nothing + 'b'"}}},
    "maps and batch files": {
        "stream_maps": _MAPS,
        "batch_config": {"encoding": {"format": "jsonl"}, "storage": {"root": "batches"}},
    },
    "a missing folder": {"folder": {"url": "nowhere"}},
    "a wrong secret": {"client_secret": "wrong"},
    "no API": {"api_url": "http://127.0.0.1:9", "max_retries": 0},
}
_REFUSED_STATES: Mapping[str, Any] = {
    "a list": [],
    "no JSON": "{",
    "no bookmarks": {"users": {}},
    "a number of finished files": {"bookmarks": {"users": {"finished": 5}}},
    "no time": {"bookmarks": {"users": {"replication_key_value": "soon"}}},
    "an unknown type": {"bookmarks": {"users": {"types": {"tenure": "money"}}}},
    "a list of types": {"bookmarks": {"users": {"types": ["tenure"]}}},
    "a key that is text": {"bookmarks": {"users": {"key": "user_id"}}},
    "another program": {"bookmarks": {"users": {"program_id": "7"}}},
}
_REFUSED_CATALOGS: Mapping[str, Any] = {"a number of streams": {"streams": 5}, "no JSON": "{"}
# As any tap of the SDK leaves it.
_BARE_STATE: Mapping[str, Any] = {
    "bookmarks": {
        "users": {
            "replication_key": "generated_at",
            "replication_key_value": "2026-05-14T17:00:00Z",
        }
    }
}


@dataclass(frozen=True, slots=True)
class Form:
    """A way to run the tap.

    Attributes:
        settings: Settings beside those that reach an account.
        catalog: Makes an input catalog of the discovered one; None for runs without one.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    catalog: Callable[[Any], Any] | None = None


def edited(catalog: Any) -> Any:
    """A catalog that lacks a column, deselects another, and asks for a stream's full table."""
    catalog = json.loads(json.dumps(catalog))
    streams = {entry["tap_stream_id"]: entry for entry in catalog["streams"]}
    del streams["users"]["schema"]["properties"]["note"]
    for entry in streams["users"]["metadata"]:
        if entry["breadcrumb"][1:] == ["first_name"]:
            entry["metadata"]["selected"] = False
    streams["campaigns"]["replication_method"] = "FULL_TABLE"
    return catalog


def grow(comparison: Comparison, name: str, account: Account, forms: Mapping[str, Form]) -> None:
    """Compare every form from both sources while an account grows.

    Args:
        comparison: Runs the builds.
        name: Name of the account.
        account: The account.
        forms: Name → form.
    """
    states: dict[tuple[str, str], list[Any]] = {}
    catalogs: dict[str, Any] = {}
    for step in range(1, STEPS + 1):
        account.show(step)
        for source, reached in account.sources.items():
            where = f"{name}, {source}, step {step}"
            found = comparison.runs(f"{where}, catalog", reached, "--discover")
            # Every step has the first one's: Meltano caches catalogs.
            catalogs.setdefault(source, json.loads(b"".join(found[0].lines)))
            for title, form in forms.items():
                config = {**reached, **form.settings}
                catalog = form.catalog(catalogs[source]) if form.catalog else None
                case, key = f"{where}, {title}", (source, title)
                states[key] = comparison.continued(
                    case, config, states.get(key, [None]), catalog=catalog
                )
                if step == STEPS:
                    comparison.runs(f"{case}, from the beginning", config, catalog=catalog)
    title, form = next(iter(forms.items()))
    for source, other in (("API", "folder"), ("folder", "API")):
        config = {**account.sources[source], **form.settings}
        case = f"{name}, {source}, from the state of the {other}"
        comparison.continued(case, config, states[other, title])


def interrupt(comparison: Comparison, account: Account, forms: Mapping[str, Form]) -> None:
    """Compare runs that are killed twice inside one file, and that then finish it."""
    account.show(1)
    for source, reached in account.sources.items():
        for title, form in forms.items():
            case, config = f"large, {source}, {title}", {**reached, **form.settings}
            states: list[Any] = [None]
            for killed in ("killed", "resumed and killed"):
                states = comparison.continued(f"{case}, {killed}", config, states, cut=True)
            comparison.continued(f"{case}, resumed", config, states)


def refuse(comparison: Comparison, account: Account) -> None:
    """Compare runs that end with an error because of what they are given."""
    account.show(1)
    reached = account.sources["API"]
    for name, settings in _REFUSED_SETTINGS.items():
        comparison.runs(f"settings: {name}", {**reached, **settings}, status=1)
    for name, state in _REFUSED_STATES.items():
        comparison.runs(f"state: {name}", reached, state=state, status=1)
    for name, catalog in _REFUSED_CATALOGS.items():
        comparison.runs(f"catalog: {name}", reached, catalog=catalog, status=1)


def _batch(file_format: str, root: Path) -> Form:
    """Batch files of a format, in the folder *root*."""
    encoding, storage = {"format": file_format}, {"root": str(root)}
    options = {"encoding": encoding, "storage": storage, "batch_size": 50_000}
    return Form({"batch_config": options})


def compare(comparison: Comparison, emulator: Emulator, scratch: Path) -> None:
    """Run all cases."""
    batches = {kind: _batch(kind, comparison.batches) for kind in ("jsonl", "parquet", "arrow")}
    records = {"RECORD": Form()}
    account = Account(emulator, scratch / "plain", drifting())
    refuse(comparison, account)
    reached = account.sources["API"]
    comparison.runs("settings", reached, "--about", "--format=json")
    comparison.runs("test", reached, "--test")
    comparison.runs("a bare state", reached, state=_BARE_STATE)
    grow(
        comparison,
        "drift",
        account,
        {
            **records,
            **batches,
            "catalog": Form(catalog=lambda catalog: catalog),
            "edited catalog": Form(catalog=edited),
            "keys and types": Form(_KEYS_AND_TYPES),
            "stream maps": Form({"stream_maps": _MAPS}),
            "flattening": Form({"flattening_enabled": True, "flattening_max_depth": 2}),
        },
    )
    divert = {"malformed_rows": "divert"}
    grow(
        comparison,
        "malformed rows",
        Account(emulator, scratch / "malformed", malformed()),
        {
            "diverted": Form(divert),
            "diverted, jsonl": Form({**divert, **batches["jsonl"].settings}),
        },
    )
    interrupt(
        comparison,
        Account(emulator, scratch / "large", large()),
        records | {kind: batches[kind] for kind in ("jsonl", "arrow")},
    )
    for name, export in damaged():
        account = Account(emulator, scratch / name, [export])
        account.show(1)
        for source, reached in account.sources.items():
            if source == "API" or not export.listed:
                comparison.runs(f"{name}, {source}", reached, status=1)


def main() -> None:
    """Compare the builds; exit with 1 if they differ."""
    parser = argparse.ArgumentParser(prog="make equality", description=__doc__.splitlines()[0])
    parser.add_argument("--before", required=True, metavar="REV", help="a git revision")
    before = parser.parse_args().before
    with tempfile.TemporaryDirectory(prefix="firstup-equality-") as folder:
        scratch = Path(folder) / "scratch"
        scratch.mkdir()
        try:
            tree = build_of(before, Path(folder) / "before")
        except subprocess.CalledProcessError:
            parser.error(f"the revision {before} cannot be extracted")
        for build in (tree, ROOT):
            check_build(build, scratch)
        comparison = Comparison(tree, scratch)
        with Emulator() as emulator:
            compare(comparison, emulator, scratch)
    failed = comparison.failed
    print(
        f"{comparison.pairs} cases, {comparison.messages:,} messages: "
        f"{f'{failed} cases failed' if failed else f'all equal to {before}'}"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
