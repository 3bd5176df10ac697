"""One file's rows as typed batches of a Singer stream, with all that is counted and diverted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from filetap.scan import ScanOptions, scan
from filetap.stats import FileStats

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Generator

    import polars as pl

    from filetap.columns.identities import Identities
    from filetap.download.spool import Spooled
    from filetap.progress import Tally
    from filetap.settings import Tuning
    from filetap.singer.malformed import MalformedStream
    from filetap.singer.table import StreamTable


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """What batches look like.

    Attributes:
        most: Rows of a batch.
        fill: True to fill every batch of a file but the last.
        identities: As in `ScanOptions`.
    """

    most: int
    fill: bool = False
    identities: Identities | None = None


class RowReader:
    """Reads the files of one stream.

    Args:
        table: The stream's columns.
        tally: Counts what is read.
        malformed: Receives malformed rows; None to fail on them.
        tuning: How much is read at a time.
        logger: The stream's.
    """

    def __init__(
        self,
        table: StreamTable,
        tally: Tally,
        malformed: MalformedStream | None,
        tuning: Tuning,
        logger: logging.Logger,
    ) -> None:
        self._table = table
        self._tally = tally
        self._malformed = malformed
        self._tuning = tuning
        self._log = logger

    def frames(
        self,
        spooled: Spooled,
        batches: BatchOptions,
        *,
        skip: int,
        reach: Callable[[int], object] | None,
        keeps: Callable[[pl.DataFrame], pl.Series] | None = None,
    ) -> Generator[pl.DataFrame, None, int]:
        """One file's typed batches.

        Args:
            spooled: The file.
            batches: What they look like.
            skip: Rows that an earlier run emitted.
            reach: Called with the number of rows emitted, whenever STATE is due within the file
                or a SCHEMA follows; None if it never is.
            keeps: As in `ScanOptions`.

        Returns:
            Rows read since *reach* was called, or since the beginning.
        """
        file, table, tuning = spooled.file, self._table, self._tuning
        stats = FileStats(file, table.key)
        options = ScanOptions(
            block=tuning.block,
            most=batches.most,
            fill=batches.fill,
            divert=self._malformed is not None,
            skip=skip,
            keeps=keeps,
            identities=batches.identities,
        )
        before = since_state = 0
        last = options.skip

        def write_state() -> None:
            nonlocal since_state
            if reach and since_state:
                reach(last)
                since_state = 0

        table.before_growth = write_state
        for rows in scan(spooled, table, options, stats):
            if rows.malformed and self._malformed:
                self._malformed.write(file, rows.malformed)
            self._tally.diverted += len(rows.malformed)
            self._tally.misfits += stats.misfits.total() - before
            before = stats.misfits.total()
            since_state, last = since_state + rows.last - last, rows.last
            frame = rows.frame
            del rows
            if frame.height:
                yield frame
            self._tally.rows += frame.height
            self._tally.unread = spooled.unread
            if since_state >= tuning.slice:
                write_state()
        stats.log(self._log, table.columns.types, table.types)
        return since_state
