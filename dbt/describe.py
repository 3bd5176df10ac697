"""Writes what the dictionary says into the docs and the dbt package: `make dictionary`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from tap_firstup_dde.dictionary import ADDED, COLUMNS, TABLES
from tap_firstup_dde.documented import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parent.parent

# Firstup generates files every few hours if there is data; people and campaigns may rest for days.
_FRESH: Final = {"activities": (12, 24), "users": (72, 168), "campaigns": (72, 168)}
_TYPES: Final = {
    "string": "text",
    "integer": "integer",
    "boolean": "boolean",
    "date-time": "timestamp",
}
_STAGED: Final = {
    "stg_firstup__users": ("users", "user_id", "The newest version of each user."),
    "stg_firstup__campaigns": ("campaigns", "campaign_id", "The newest version of each campaign."),
    "stg_firstup__activities": ("activities", "", "Each event once."),
    "stg_firstup__user_versions": ("users", "", "Each exported version of a user that is kept."),
}


def docs_page() -> str:
    """The table of each stream's columns in docs/columns.md."""
    parts = []
    for stream, columns in COLUMNS.items():
        types = STREAMS[stream].documented.columns
        rows = "".join(
            f"| `{name}` | {each.label} | {types[name]} | {each.note} |\n"
            for name, each in columns.items()
        )
        parts.append(
            f"## {stream}\n\n{TABLES[stream]}\n\n"
            f"| column | label | type without values | note |\n|---|---|---|---|\n{rows}"
        )
    return "\n".join(parts)


def doc_blocks() -> str:
    """The doc blocks of the dbt package, one for each column."""
    texts = {
        f"firstup_{stream}_{name}": each.text
        for stream, columns in COLUMNS.items()
        for name, each in columns.items()
    } | {f"firstup{name if name[0] == '_' else '_' + name}": text for name, text in ADDED.items()}
    return "\n".join(f"{{% docs {name} %}}{text}{{% enddocs %}}" for name, text in texts.items())


def _described(stream: str, *, types: bool, key: str = "", at: str) -> Iterator[str]:
    """The columns of a table in dbt, as YAML."""
    own = {name: f"firstup_{stream}_{name}" for name in COLUMNS[stream]}
    added = {name: f"firstup{name if name[0] == '_' else '_' + name}" for name in ADDED}
    kinds = {name: _TYPES[kind] for name, kind in STREAMS[stream].documented.columns.items()}
    kinds |= {"generated_at": "timestamp", "_sdc_source_file": "text"}
    kinds |= {"_sdc_source_lineno": "integer"}
    for name, block in (own | added).items():
        yield f"{at}- name: {name}"
        yield f"{at}  description: '{{{{ doc(\"{block}\") }}}}'"
        if types:
            yield f"{at}  data_type: {kinds[name]}"
        if name == key:
            yield f"{at}  data_tests: [unique, not_null]"


def sources() -> str:
    """The tables that are loaded, with the types that the staging models cast to."""
    lines = [
        "version: 2",
        "",
        "# Written by `make dictionary`.",
        "sources:",
        "  - name: firstup",
        "    description: Firstup's export files, as loaded.",
        "    schema: \"{{ var('firstup_schema') }}\"",
        "    tables:",
    ]
    for stream in COLUMNS:
        warn, error = _FRESH[stream]
        lines += [
            f"      - name: {stream}",
            f'        description: "{TABLES[stream]}"',
            "        config:",
            "          loaded_at_field: generated_at",
            "          freshness:",
            f"            warn_after: {{count: {warn}, period: hour}}",
            f"            error_after: {{count: {error}, period: hour}}",
            "        columns:",
            *_described(stream, types=True, at=" " * 10),
        ]
    return "\n".join(lines) + "\n"


def staging() -> str:
    """The staging models."""
    lines = ["version: 2", "", "# Written by `make dictionary`.", "models:"]
    for model, (stream, key, text) in _STAGED.items():
        lines += [
            f"  - name: {model}",
            f"    description: {text}",
            "    columns:",
            *_described(stream, types=False, key=key, at=" " * 6),
        ]
    return "\n".join(lines) + "\n"


def files() -> dict[Path, str]:
    """Each file that repeats the dictionary → what it has to contain."""
    page = ROOT / "docs" / "columns.md"
    head = page.read_text().partition("## ")[0]
    models = ROOT / "dbt" / "models" / "staging"
    return {
        page: head + docs_page(),
        models / "columns.md": doc_blocks() + "\n",
        models / "sources.yml": sources(),
        models / "staging.yml": staging(),
    }


if __name__ == "__main__":
    for file, text in files().items():
        file.write_text(text)
