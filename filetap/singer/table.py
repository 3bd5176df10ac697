"""The columns of a Singer stream in one run: which are selected, announced and pinned."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from filetap.columns.added import ACCOUNT, ADDED, added_columns, record_schema
from filetap.columns.mapped import is_mapped_away
from filetap.columns.resolve import ASSUMED, Columns
from filetap.columns.types import MISFIT_SUFFIX
from filetap.table import KnownTable

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from filetap.columns.resolve import Known
    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.settings import Tuning
    from filetap.singer.private import ExtractorStream
    from filetap.vendor import Vendor


class StreamTable(KnownTable):
    """A stream's columns; if a file adds some, a SCHEMA is written before its records.

    Args:
        stream: The stream; its key follows the table's.
        known: What is known about the columns without reading a file.
        vendor: The vendor, for descriptions.
        tuning: How much of a file is sampled.

    Attributes:
        known: What is known so far.
        columns: The columns so far, selected or not.
        has_accounts: True if records name the account whose file they come from.
        before_growth: Called before a SCHEMA within a file, so that the STATE after it covers the
            rows that were emitted.
    """

    def __init__(
        self, stream: ExtractorStream, known: Known, vendor: Vendor, tuning: Tuning
    ) -> None:
        columns = Columns(known.without_dropped(known.spec.documented.columns), known.key)
        super().__init__(known, columns, tuning)
        self._stream = stream
        self._vendor = vendor
        self.has_accounts = ACCOUNT in known.own_key
        self.before_growth: Callable[[], object] = lambda: None
        self._has_new_pins = False
        self._warned: set[str] = set()

    @property
    @override
    def types(self) -> dict[str, str]:
        """Column → type of the file columns that are emitted."""
        return {name: kind for name, kind in self.columns.types.items() if self._selects(name)}

    @property
    @override
    def added(self) -> list[str]:
        """The added columns that are emitted."""
        return [name for name in ADDED if self._adds(name)]

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of all columns, selected or not."""
        added = self._all_added
        schema = record_schema(self.columns.types, added, self._vendor)
        for name in self.columns.assumed.intersection(self.columns.types):
            schema["properties"][name]["description"] = ASSUMED
        return schema

    @property
    def _all_added(self) -> tuple[str, ...]:
        """The added columns of the stream, selected or not."""
        others = self.known.spec.added
        return added_columns(self.columns.key, has_accounts=self.has_accounts, others=others)

    def _selects(self, name: str) -> bool:
        """True if a column is emitted: keys always, misfit columns only with their base column."""
        if name in self.columns.key:
            return True
        mask = self._stream.mask
        origin = name.removesuffix(MISFIT_SUFFIX)
        return mask["properties", name] and mask["properties", origin]

    def _adds(self, added: str) -> bool:
        """True if an added column is emitted: a catalog may deselect it unless it is needed."""
        if added not in self._all_added:
            return False
        needed = {*self.columns.key, self._stream.replication_key}
        return added in needed or self._stream.mask["properties", added]

    def use(self, columns: Columns, *, sampled: Collection[str] = ()) -> None:
        """Use these columns from now on, and log each of their warnings once.

        Args:
            columns: The columns.
            sampled: Those of them that are in files.
        """
        self._warn_of_new(set(sampled) - set(self.known.before))
        self.columns = columns
        self.known = replace(self.known, key=columns.key)
        self._stream.primary_keys = columns.key
        for warning in columns.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                self._stream.logger.warning("%s: %s", self._stream.name, warning)

    def _warn_of_new(self, names: Collection[str]) -> None:
        """Warn about columns that are emitted although the catalog lacks them."""
        if not self._stream.input_schema:
            return  # without a catalog there is no selection either
        if added := sorted(name for name in names if self._selects(name)):
            self._stream.logger.warning(
                "%s: columns that the catalog lacks are added: %s",
                self._stream.name,
                ", ".join(added),
            )

    def announce(self, *, pin_key: bool) -> None:
        """Make the SDK's next SCHEMA describe these columns, and pin their types.

        Args:
            pin_key: True if records may be emitted with the current key.
        """
        self.register()
        state = self._stream.stream_state
        pins: dict[str, Any] = {"types": {**self.known.pinned, **self.types}}
        pins |= self.known.found_pins
        if pin_key:
            pins["key"] = list(self.columns.key)
        before = {name: state.get(name) for name in pins}
        self._has_new_pins = self._has_new_pins or before != pins
        state.update(pins)
        self.known = self.known.with_state(state)
        self._stream.state_changed()

    def register(self) -> None:
        """Apply stream maps to the columns that are emitted."""
        self._stream.register(record_schema(self.types, self.added, self._vendor))

    def write_schema(self, *, with_state: bool) -> None:
        """Write SCHEMA, and then STATE if the types are in no STATE yet.

        A run that is killed before its next STATE may have emitted records of these types.

        Args:
            with_state: True if records follow.
        """
        self._stream.write_schema()
        if with_state and self._has_new_pins:
            self._stream.write_state()
            self._has_new_pins = False

    @override
    def extend(self, spooled: Spooled, columns: Sequence[str]) -> None:
        """Add the columns of a file that has rows."""
        found = self._with(spooled, columns)
        self.use(self.known.resolve(found), sampled=found.columns)
        self.announce(pin_key=True)
        self.write_schema(with_state=True)

    @override
    def add_misfits(self, file: ExportFile, misfits: Mapping[str, int]) -> None:
        """Add misfit columns that are selected, unless a map hides their base columns."""
        spec, maps = self.known.spec, self.known.maps
        names = [column + MISFIT_SUFFIX for column in misfits]
        added = [
            name
            for name in names
            if name not in self.columns.types
            and self._selects(name)
            and not is_mapped_away(name, spec.name, maps)
        ]
        if added:
            self.before_growth()
            self._add_text(added)
            self.announce(pin_key=True)
            self.write_schema(with_state=True)
