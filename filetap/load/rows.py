"""One file's rows into the tables, within a transaction of the caller's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from filetap.columns.added import MALFORMED_SUFFIX, ROW_KEY
from filetap.load.copying import MALFORMED_TYPES, Copier, encoded, malformed_frame, without_nul
from filetap.prefetch import ahead
from filetap.scan import SMALL, ScanOptions, scan
from filetap.stats import FileStats

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator

    import polars as pl

    from filetap.columns.identities import Identities
    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.load.columns import LoadTable
    from filetap.load.copying import Block
    from filetap.load.store import Store
    from filetap.progress import Tally
    from filetap.read.batch import Malformed
    from filetap.settings import Settings

_MALFORMED_HELD: Final = 10_000  # malformed rows that wait until they are copied


class RowLoader:
    """Copies the rows of one stream's files.

    Args:
        store: The tables.
        table: The stream's columns.
        settings: How much is read at a time, and what happens to malformed rows.
        tally: Counts what is loaded.
        logger: Receives what is logged about each file.

    Attributes:
        target: The table of the rows that can be read.
    """

    def __init__(
        self,
        store: Store,
        table: LoadTable,
        settings: Settings,
        tally: Tally,
        logger: logging.Logger,
    ) -> None:
        self._store = store
        self._table = table
        self._settings = settings
        self._tally = tally
        self._log = logger
        stream = table.known.spec.name
        self.target = store.table(stream)
        self._aside = store.table(stream + MALFORMED_SUFFIX)

    def load(
        self,
        spooled: Spooled,
        *,
        skip: int,
        replaces: bool = False,
        keeps: Callable[[pl.DataFrame], pl.Series] | None = None,
        identities: Identities | None = None,
    ) -> None:
        """Copy a file's rows, and enter their number into the ledger.

        Args:
            spooled: The file.
            skip: Rows that are in the table already.
            replaces: True if the rows take the place of those that the file had before, other
                than rows that are merged by a key.
            keeps: As in `ScanOptions`.
            identities: As in `ScanOptions`.
        """
        file, store, table, settings = spooled.file, self._store, self._table, self._settings
        stats = FileStats(file, table.key)
        options = ScanOptions(
            block=settings.tuning.block,
            most=settings.tuning.slice,
            divert=settings.diverts,
            skip=skip,
            keeps=keeps,
            identities=identities,
        )
        batches = scan(spooled, table, options, stats)
        if replaces:
            store.delete(self._aside, file)
        staged: dict[str, str] = {}
        held: list[Malformed] = []
        rows = 0
        blocks = encoded(batches, table, store.database, file, store.replace_nul)
        with Copier(store.database) as copier:
            for block in ahead(blocks) if spooled.size > SMALL else blocks:
                held += block.malformed
                if block.height:
                    self._copy(copier, block, staged, stages=replaces)
                if len(held) >= _MALFORMED_HELD:
                    self._set_aside(copier, held, file)
                rows += block.height
                self._tally.rows += block.height
                self._tally.diverted += len(block.malformed)
                self._tally.unread = spooled.unread
            if held:
                self._set_aside(copier, held, file)
            copier.complete()
        self._tally.misfits += stats.misfits.total()
        # Last of all: DuckDB 1.3 to 1.5 add no column to a table once rows of it were deleted.
        key = _merged_by(table)
        if replaces:
            store.delete(self.target, file, key)
        if staged:
            # Without their NUL characters, two keys may be one.
            repeats = store.replace_nul is not None or stats.may_repeat(key)
            store.merge(self.target, file, staged, key, repeats=repeats)
        store.count(file, rows)
        stats.log(self._log, table.columns.types, table.types)

    def _copy(self, copier: Copier, block: Block, staged: dict[str, str], *, stages: bool) -> None:
        """Copy rows into the table; those that are merged or replace others wait in another.

        Args:
            copier: Copies.
            block: The rows.
            staged: Column → type of those that wait so far.
            stages: True if all rows wait.
        """
        store, key = self._store, _merged_by(self._table)
        stages = stages or bool(key)
        table = store.staged if stages else self.target
        if not copier.is_open(table, block.types):
            copier.complete()
            store.ensure(self.target, block.types, key)
            if stages:
                store.stage(block.types, staged)
                staged.update(block.types)
        copier.copy(table, block.types, block.data)

    def _set_aside(self, copier: Copier, rows: list[Malformed], file: ExportFile) -> None:
        """Copy malformed rows into their own table, and forget them here."""
        copier.complete()
        store = self._store
        store.ensure(self._aside, MALFORMED_TYPES)
        frame = without_nul(malformed_frame(rows, file), store.replace_nul)
        data = store.database.encode(frame, MALFORMED_TYPES, file)
        copier.copy(self._aside, MALFORMED_TYPES, data)
        rows.clear()


@contextmanager
def all_or_nothing(tally: Tally) -> Iterator[None]:
    """Forget the rows and the files that a tally counts within if it fails."""
    before = tally.rows, tally.misfits, tally.diverted, tally.files_done
    try:
        yield
    except BaseException:
        tally.rows, tally.misfits, tally.diverted, tally.files_done = before
        raise


def _merged_by(table: LoadTable) -> tuple[str, ...]:
    """The key by which rows are merged; empty if every row is a new one."""
    return () if set(table.key) == {*ROW_KEY} else tuple(table.key)
