"""The columns of a stream that is loaded: they grow, and their types are pinned."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from filetap.columns.added import ACCOUNT, ADDED_TYPES, added_columns
from filetap.columns.resolve import Columns
from filetap.columns.sample import Sample
from filetap.columns.types import MISFIT_SUFFIX
from filetap.errors import SettingsError
from filetap.plan import plan_columns
from filetap.table import KnownTable

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection, Mapping, Sequence

    from filetap.columns.resolve import Known
    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.settings import Tuning


class LoadTable(KnownTable):
    """A stream's columns, which a file may add to; every type is pinned at once.

    Args:
        known: What is known about the columns without reading a file.
        tuning: How much of a file is sampled.
        logger: Receives each of their warnings once.

    Attributes:
        has_accounts: True if rows name the account whose file they come from.
    """

    def __init__(self, known: Known, tuning: Tuning, logger: logging.Logger) -> None:
        super().__init__(known, Columns({}, known.key), tuning)
        self._log = logger
        self._found = Sample()
        self._warned: set[str] = set()
        self._has_rows = False
        self.has_accounts = ACCOUNT in known.own_key

    @property
    @override
    def added(self) -> Collection[str]:
        others = self.known.spec.added
        return added_columns(self.columns.key, has_accounts=self.has_accounts, others=others)

    @property
    def all_types(self) -> dict[str, str]:
        """Column → type, the added columns included."""
        return {**self.columns.types, **{name: ADDED_TYPES[name] for name in self.added}}

    @property
    def pins(self) -> dict[str, Any]:
        """The members of the state that keep types and key as they are."""
        pins: dict[str, Any] = {"types": {**self.known.pinned, **self.columns.types}}
        if self._has_rows or self.known.pinned_key:
            pins["key"] = list(self.columns.key)
        return pins

    def use(self, found: Sample, state: Mapping[str, Any]) -> None:
        """Use what a state has pinned, and what files were found to hold.

        Raises:
            SettingsError: The setting ``primary_keys`` has another key than the rows loaded.
            StateError: The state's types or key cannot be read.
        """
        self._found = found
        self._has_rows = self._has_rows or bool(found.columns)
        self.known = self.known.with_state(state)
        pinned, own = self.known.pinned_key, self.known.own_key
        if own and pinned and set(own) != set(pinned):
            msg = (
                f"{self.known.spec.name}: primary_keys makes the key {', '.join(own)}, but rows "
                f"were loaded with the key {', '.join(pinned)}"
            )
            raise SettingsError(msg, "load into another --schema, or change primary_keys back")
        self._settle(plan_columns(self.known, found))

    def resume(self, state: Mapping[str, Any]) -> None:
        """Use what another loader has pinned meanwhile."""
        self.use(self._found, state)

    @override
    def extend(self, spooled: Spooled, columns: Sequence[str]) -> None:
        self._has_rows = True
        self._settle(self.known.resolve(self._with(spooled, columns)))

    @override
    def add_misfits(self, file: ExportFile, misfits: Mapping[str, int]) -> None:
        self._add_text(
            name for column in misfits if (name := column + MISFIT_SUFFIX) not in self.types
        )
        self.known = self.known.with_state(self.pins)

    def _settle(self, columns: Columns) -> None:
        """Pin these columns, and log each of their warnings once."""
        self.columns = columns
        self.known = self.known.with_state(self.pins)
        for warning in columns.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self._log.warning("%s: %s", self.known.spec.name, warning)
