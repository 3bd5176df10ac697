"""What ``--about`` prints about a tap's streams: the columns that its vendor documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from filetap.vendor import StreamSpec


def with_streams(text: str, output_format: str, streams: Mapping[str, StreamSpec]) -> str:
    """The text that the SDK prints for ``--about``, with the documented columns of the streams.

    Args:
        text: What the SDK prints.
        output_format: ``text``, ``json`` or ``markdown``.
        streams: The tap's streams; those without descriptions are left out.
    """
    described = [spec for spec in streams.values() if spec.documented.texts]
    if not described:
        return text
    if output_format == "json":
        return json.dumps(json.loads(text) | {"streams": _as_json(described)}, indent=2)
    lines = _markdown(described) if output_format == "markdown" else _plain(described)
    return text.rstrip("\n") + "\n" + "".join(f"{line}\n" for line in lines)


def _as_json(streams: Iterable[StreamSpec]) -> dict[str, object]:
    """Stream → description and columns."""
    return {
        spec.name: {
            "description": spec.documented.about,
            "columns": {
                name: {"type": spec.documented.columns[name], "description": text}
                for name, text in spec.documented.texts.items()
            },
        }
        for spec in streams
    }


def _markdown(streams: Iterable[StreamSpec]) -> Iterable[str]:
    """A table for each stream."""
    yield from ("", "## Streams")
    for spec in streams:
        yield from ("", f"### {spec.name}", "", spec.documented.about, "")
        yield from ("| Column | Type without values | Description |", "|:--|:--|:--|")
        for name, text in spec.documented.texts.items():
            yield f"| {name} | {spec.documented.columns[name]} | {text} |"


def _plain(streams: Iterable[StreamSpec]) -> Iterable[str]:
    """A list of columns for each stream."""
    yield "Streams:"
    for spec in streams:
        yield from (f"  - Name: {spec.name}", f"    Description: {spec.documented.about}")
        yield "    Columns:"
        yield from (f"      - {name}: {text}" for name, text in spec.documented.texts.items())
