"""Names of protected columns that no file has had: probably misspelt, so they end the run."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from filetap.columns.types import MISFIT_SUFFIX
from filetap.errors import SettingsError
from filetap.settings import PATTERN, matching

if TYPE_CHECKING:
    from filetap.columns.resolve import Known
    from filetap.columns.sample import Sample


def check_protected(known: Known, sample: Sample) -> tuple[Known, list[str]]:
    """Refuse names that are probably misspelt, once files of the stream were read.

    Args:
        known: What is known about the columns without reading a file.
        sample: What the files that are read now hold.

    Returns:
        The same with the names that these files have, and what to warn about.

    Raises:
        SettingsError: A name, which is not a pattern, is of no column of any file so far.
    """
    known = replace(known, found=known.found | sample.protected)
    if not (sample.columns or known.pinned):
        return known, []
    # A misfit column is protected by its base column's name, and not by its own.
    before = {name for name in known.before if not name.endswith(MISFIT_SUFFIX)}
    warnings = []
    for setting, names in (
        ("columns_to_drop", known.protection.dropped),
        ("columns_to_hash", known.protection.hashed),
    ):
        for name in names:
            if name in known.found or any(matching([name], [column]) for column in before):
                continue
            documented = known.spec.documented.columns
            if PATTERN.search(name) or name in documented:
                warnings.append(f"{setting}: no file has had a column {name} so far")
                continue
            near = get_close_matches(name, {*sample.columns, *before, *documented}, n=1)
            hint = f"did you mean {near[0]}?" if near else "a pattern may match nothing"
            msg = f"{known.spec.name}: {setting} names the column {name}, which no file has had"
            raise SettingsError(msg, hint)
    return known, warnings
