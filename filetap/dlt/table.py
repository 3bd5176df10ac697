"""The columns of a stream in one extraction: they grow with its files, and are pinned."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from filetap.columns.added import added_columns
from filetap.columns.protection import check_protected
from filetap.columns.resolve import Columns, Known
from filetap.table import KnownTable

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence

    from filetap.columns.sample import Sample
    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.settings import Settings
    from filetap.vendor import StreamSpec


class PinnedTable(KnownTable):
    """A stream's columns; the types of those that were loaded are pinned in the state.

    Args:
        spec: The stream.
        settings: Types and keys that are set.
        state: The stream's part of the state; receives the types.
        logger: Receives warnings about columns.

    Attributes:
        has_accounts: True if rows name the account whose file they come from.
    """

    def __init__(
        self,
        spec: StreamSpec,
        settings: Settings,
        state: MutableMapping[str, Any],
        logger: logging.Logger,
    ) -> None:
        known = Known.of(spec, settings, state)
        super().__init__(known, Columns({}, known.key), settings.tuning)
        self.has_accounts = False
        self._state = state
        self._log = logger
        self._warned: set[str] = set()

    @property
    @override
    def added(self) -> Collection[str]:
        """The added columns that rows have."""
        return added_columns(self.key, has_accounts=self.has_accounts)

    def check(self, found: Sample) -> None:
        """Check the names of protected columns against what files hold.

        Raises:
            SettingsError: One of them is misspelt.
        """
        self.known, doubts = check_protected(self.known, found)
        self._warn(doubts)

    def use(self, columns: Columns) -> None:
        """Use these columns from now on, and log each of their warnings once."""
        self.columns = columns
        self.known = replace(self.known, key=columns.key)
        self._warn(columns.warnings)

    def _warn(self, warnings: Iterable[str]) -> None:
        """Log each warning once."""
        for warning in warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self._log.warning("%s: %s", self.known.spec.name, warning)

    def pin(self) -> None:
        """Note the types and the key in the state: rows of them follow."""
        self._state["types"] = {**self.known.pinned, **self.columns.types}
        self._state["key"] = list(self.columns.key)
        self._state.update(self.known.found_pins)
        self.known = self.known.with_state(self._state)

    @override
    def extend(self, spooled: Spooled, columns: Sequence[str]) -> None:
        self.use(self.known.resolve(self._with(spooled, columns)))
        self.pin()

    @override
    def add_misfits(self, file: ExportFile, misfits: Mapping[str, int]) -> None:
        super().add_misfits(file, misfits)
        self.pin()
