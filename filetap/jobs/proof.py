"""Whether a job's file is what was promised: its length and its number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filetap.columns.added import ADDED
from filetap.download.gunzip import decompress
from filetap.errors import IntegrityError
from filetap.read.batch import ReadOptions
from filetap.read.detect import open_file
from filetap.wording import counted

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from filetap.columns.expected import Expected
    from filetap.download.spool import Spooled
    from filetap.jobs.source import MadeFile


class Proof:
    """Checks files against promises that can be read in two ways.

    A size counts the bytes as stored or decompressed; each file may fit either. A number of rows
    may include the header row, but then of every file of a run.

    Args:
        logger: The stream's.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._log = logger
        self._counts_header: bool | None = None  # None until a file with rows has shown it

    def proven(
        self, made: MadeFile, expected: Expected, download: Callable[[], Spooled]
    ) -> Spooled:
        """A file whose length and rows are as promised; downloaded once more if they are not.

        Args:
            made: What was promised.
            expected: What files of the stream hold.
            download: Downloads the file.

        Raises:
            IntegrityError: They are not, even after the second download.
        """
        fault = ""
        for _ in range(2):
            if fault:
                self._log.warning("%s: %s; downloading it again", made.file, fault)
            try:
                spooled = download()
            except IntegrityError as error:
                error.end_with(made.note)
                raise
            try:
                fault = self.fault(made, spooled, expected)
            except BaseException:
                spooled.close()
                raise
            if not fault:
                return spooled
            spooled.close()
        msg = f"{made.file}: the downloaded file is damaged: {fault}"
        hint = "run again; if it happens again, report the file to its vendor"
        raise IntegrityError(msg, f"{hint}; {made.note}" if made.note else hint)

    def fault(self, made: MadeFile, spooled: Spooled, expected: Expected) -> str:
        """What is wrong with a file, in words that follow its name; empty if nothing is.

        Args:
            made: What was promised.
            spooled: The file, complete.
            expected: What files of the stream hold.

        Raises:
            FormatError: The rows cannot be counted.
        """
        if made.size is not None and made.size != spooled.size:
            spooled.stored.seek(0)
            size = sum(len(piece) for piece in decompress(spooled.stored, str(spooled.file)))
            if made.size != size:
                return f"{counted(spooled.size, 'byte')} instead of {made.size}"
        if made.rows is None:
            return ""
        rows, has_header = rows_of(spooled, expected)
        surplus = made.rows - rows
        if surplus == 1 and self._counts_header is None and rows:
            self._log.warning(
                "%s: the stated number of rows is one more than it has, as if it counted the "
                "header row; this is accepted where it is so in every file",
                spooled.file,
            )
        allowed = {0, 1} if self._counts_header is None else {int(self._counts_header)}
        if not rows:  # whether its header counts shows nothing of the others
            allowed |= {0}
        if not has_header:
            allowed -= {1}
        if surplus not in allowed:
            return f"{counted(rows, 'row')} instead of {made.rows}"
        if rows:
            self._counts_header = bool(surplus)
        return ""


def rows_of(spooled: Spooled, expected: Expected) -> tuple[int, bool]:
    """Rows of a file, the malformed ones included, and whether it has a header row."""
    options = ReadOptions(reserved=ADDED, known=expected.names, divert=True, nulls=expected.nulls)
    last, reader = 0, open_file(spooled, options)
    for batch in reader:
        last = max(last, batch.last)
    return last, bool(reader.labels)
