"""The pending files of a Singer stream: sampled, then read in order."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from filetap.bookmark_checks import is_unchanged_copy, rows_read
from filetap.columns.sample import Sample, Sampled, sample_files
from filetap.errors import ExportError
from filetap.scan import ScanOptions, scan
from filetap.stats import FileStats

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Sequence

    import polars as pl

    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.progress import Tally
    from filetap.run import Run
    from filetap.singer.checkpoint import Checkpoint
    from filetap.singer.malformed import MalformedStream
    from filetap.singer.table import StreamTable


class PendingFiles:
    """The files of a stream that a run reads; the bookmark follows them.

    Args:
        run: What all streams share.
        table: The stream's columns.
        checkpoint: Moves the bookmark.
        tally: Counts what is read.
        malformed: Receives malformed rows; None to fail on them.
        logger: The stream's.

    Attributes:
        files: Those to read, in order.
    """

    def __init__(  # noqa: PLR0913 - the parts of a stream
        self,
        run: Run,
        table: StreamTable,
        *,
        checkpoint: Checkpoint,
        tally: Tally,
        malformed: MalformedStream | None,
        logger: logging.Logger,
    ) -> None:
        self.files: Sequence[ExportFile] = ()
        self._run = run
        self._table = table
        self._checkpoint = checkpoint
        self._tally = tally
        self._malformed = malformed
        self._log = logger
        self._incremental = True
        self._sampled = Sampled()

    def close(self) -> None:
        """Free the downloads that sampling has kept."""
        self._sampled.kept.close()

    def sample(self, *, whole_first: bool = True) -> Sample:
        """Sample the pending files, and keep the downloads of small ones."""
        self._sampled = sample_files(
            self.files,
            partial(self._run.spool.download, self._run.transport),
            self._table.expected,
            self._run.settings,
            whole_first=whole_first,
        )
        return self._sampled.found

    def frames(
        self, most: int, *, fill: bool, values: bool, incremental: bool
    ) -> Iterator[pl.DataFrame]:
        """Typed batches of the pending files; STATE is written between them.

        A batch counts as emitted when the next one is requested; only then does the bookmark move.

        Args:
            most: Rows of a batch.
            fill: True to fill every batch of a file but the last.
            values: True to have integers as such.
            incremental: False to read everything, whatever the bookmark says.
        """
        self._incremental = incremental
        download = partial(self._run.spool.download, self._run.transport)
        files = self._sampled.downloads(self.files, download, self._run.settings.concurrency)
        try:
            for position, spooled in enumerate(files, start=1):
                self._tally.open_file(spooled.size)
                with closing(spooled):
                    if not self._is_unchanged_copy(spooled):
                        yield from self._file_frames(spooled, most, fill=fill, values=values)
                following = next(iter(self.files[position : position + 1]), None)
                self._checkpoint.finish(spooled, following)
                self._tally.close_file()
                self._tally.state_to = self._checkpoint.bookmark.generated_at
        except ExportError:
            self._checkpoint.flush()
            raise
        finally:
            files.close()
            self.close()

    def _is_unchanged_copy(self, spooled: Spooled) -> bool:
        """True if a file was moved or touched, but still has the content that was read."""
        return self._incremental and is_unchanged_copy(
            self._checkpoint.bookmark, spooled, self._log
        )

    def _rows_read(self, spooled: Spooled) -> int:
        """Rows of a file that an earlier run emitted before it stopped."""
        if not self._incremental:
            return 0
        return rows_read(self._checkpoint.bookmark, spooled, self._log)

    def _file_frames(
        self, spooled: Spooled, most: int, *, fill: bool, values: bool
    ) -> Iterator[pl.DataFrame]:
        """One file's typed batches, from where an earlier run stopped."""
        file, table, tuning = spooled.file, self._table, self._run.settings.tuning
        stats = FileStats(file, table.key)
        options = ScanOptions(
            # Larger blocks are a tenth faster; RECORD lines would take too much memory.
            block=2 * tuning.block if fill else tuning.block,
            most=most,
            fill=fill,
            divert=self._malformed is not None,
            skip=self._rows_read(spooled),
            values=values,
        )
        before = since_state = 0
        last = options.skip
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
            if self._incremental and since_state >= tuning.slice:
                self._checkpoint.reach(spooled, last)
                since_state = 0
        self._checkpoint.count(since_state)
        stats.log(self._log, table.columns.types, table.types)
