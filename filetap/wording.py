"""Words that depend on a count."""

from __future__ import annotations


def counted(count: int, noun: str, spec: str = "") -> str:
    """A count and its noun, in the plural unless there is exactly one: ``1 row``, ``2 rows``.

    Args:
        count: How many there are.
        noun: The singular; its plural ends in ``s``.
        spec: How the number is formatted, such as ``,`` for separated thousands.
    """
    return f"{count:{spec}} {noun}" if count == 1 else f"{count:{spec}} {noun}s"
