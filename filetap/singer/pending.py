"""The pending files of a Singer stream: sampled, then read in order."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from filetap.bookmark_checks import is_unchanged_copy, rows_read
from filetap.columns.sample import Sample, Sampled, sample_files
from filetap.errors import ExportError
from filetap.singer.rows import RowReader

if TYPE_CHECKING:
    import logging
    from collections.abc import Generator, Sequence

    import polars as pl

    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.progress import Tally
    from filetap.run import Run
    from filetap.singer.checkpoint import Checkpoint
    from filetap.singer.malformed import MalformedStream
    from filetap.singer.rows import BatchOptions
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
        self._rows = RowReader(table, tally, malformed, run.settings.tuning, logger)
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
        self, batches: BatchOptions, *, incremental: bool
    ) -> Generator[pl.DataFrame, None, None]:
        """Typed batches of the pending files; STATE is written between them.

        A batch counts as emitted when the next one is requested; only then does the bookmark move.

        Args:
            batches: What batches look like.
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
                        yield from self._file_frames(spooled, batches)
                following = next(iter(self.files[position : position + 1]), None)
                self._checkpoint.finish(spooled, following)
                self._tally.close_file()
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
        self, spooled: Spooled, batches: BatchOptions
    ) -> Generator[pl.DataFrame, None, None]:
        """One file's typed batches, from where an earlier run stopped."""
        reach = partial(self._checkpoint.reach, spooled) if self._incremental else None
        skip = self._rows_read(spooled)
        since_state = yield from self._rows.frames(spooled, batches, skip=skip, reach=reach)
        self._checkpoint.count(since_state)
