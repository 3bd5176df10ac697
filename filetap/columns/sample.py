"""A look at pending files before the first SCHEMA: which columns, which types they allow."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filetap.columns.types import (
    MISFIT_SUFFIX,
    NO_EVIDENCE,
    Evidence,
    misfitting,
    observe,
)
from filetap.download.pack import Pack
from filetap.download.spool import HEAD
from filetap.errors import ExportError, FormatError, IntegrityError
from filetap.read.batch import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from filetap.columns.types import Documented
    from filetap.download.spool import Spool, Spooled
    from filetap.files import ExportFile, Transport

LOOK_WHOLE = 4 << 20  # bytes as stored; of larger files a look reads the beginning only
LOOK_KEPT = 256 << 20  # bytes as stored that a look keeps on disk until their turn comes
LOOK_ROWS = 16 << 20  # bytes of rows, as text in memory, that a look reads of a large archive
_ARCHIVE = b"PK\x03\x04"  # a zip archive or a workbook: its contents are listed at its end

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What files were seen to hold.

    Attributes:
        columns: All columns, in order of first sight.
        shared: Columns that every file with rows has; None while no file had any.
        evidence: Of the columns whose type is open.
        misfits: Columns with a value that does not fit the type they have.
    """

    columns: tuple[str, ...] = ()
    shared: frozenset[str] | None = None
    evidence: Evidence = NO_EVIDENCE
    misfits: frozenset[str] = frozenset()

    def __or__(self, other: Look) -> Look:
        """What both hold together."""
        known = [shared for shared in (self.shared, other.shared) if shared is not None]
        return Look(
            tuple(dict.fromkeys([*self.columns, *other.columns])),
            frozenset.intersection(*known) if known else None,
            self.evidence | other.evidence,
            self.misfits | other.misfits,
        )


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known of a stream's columns before a look.

    Attributes:
        settled: Column → type, of those whose type is fixed.
        documented: What the vendor says.
        reserved: Names that the files' own columns may not take.
        before: Columns that earlier files, or a catalog, had.
    """

    settled: Mapping[str, str]
    documented: Documented
    reserved: Collection[str]
    before: Collection[str] = ()

    @property
    def names(self) -> frozenset[str]:
        """The columns that the stream documents, or is known to have."""
        return frozenset((*self.settled, *self.before, *self.documented.columns))


def look_at(
    files: Sequence[ExportFile],
    transport: Transport,
    spool: Spool,
    known: Knowledge,
    *,
    whole_first: bool,
) -> tuple[Look, Pack]:
    """Read files before their turn: small ones whole, of large ones the beginning.

    Args:
        files: In the order in which they will be read.
        transport: Where they come from.
        spool: Where they are kept.
        known: What needs no look.
        whole_first: True if the first file, whose turn is next, comes whole if it is large.

    Returns:
        What they hold, and the downloads that wait until their turn comes, proven: at most
        `LOOK_KEPT` bytes beside the first one.

    Raises:
        ExportError: Not even the first file can be read. A later one's error waits for its
            turn, so that the files before it are emitted.
    """
    seen = Look()
    kept = Pack(spool.folder)
    for position, file in enumerate(files):
        first = whole_first and position == 0
        room = LOOK_KEPT - kept.size
        try:
            spooled = spool.download(transport, file, None if first else min(LOOK_WHOLE, room))
            if not spooled.whole and _is_archive(spooled):
                spooled.close()
                spooled = spool.download(transport, file)
            try:
                seen |= look_into(spooled, known)
            finally:
                if first:
                    kept.hold(file, spooled)
                elif spooled.whole and spooled.size <= room:
                    kept.add(spooled)
                else:
                    spooled.close()
        except ExportError as error:
            if position == 0:
                kept.close()
                raise
            if isinstance(error, IntegrityError):
                kept.hold(file, error)
            logger.debug("%s: not looked into: %s", file, error)
            break
    return seen, kept


def _is_archive(spooled: Spooled) -> bool:
    """True if the bytes are the beginning of a zip archive or a workbook."""
    spooled.stored.seek(0)
    return spooled.stored.read(len(_ARCHIVE)) == _ARCHIVE


def look_into(spooled: Spooled, known: Knowledge) -> Look:
    """What one file holds: every value of a small one, the first rows of a large one.

    A file without rows that can be read has nothing to say: neither columns nor types.

    Raises:
        FormatError: The header row, or a row longer than any may be, cannot be read, or the
            file is not an export of the stream.
    """
    large = spooled.size > LOOK_WHOLE
    archive = large and _is_archive(spooled)
    most = min(HEAD, LOOK_WHOLE) if large and not archive else None
    # A row that cannot be read says nothing of types; whether it is an error shows in its turn.
    options = ReadOptions(known.reserved, known.names, divert=True, most=most)
    reader = spooled.reader(options)
    check_columns(spooled.file, reader.columns, known)
    settled, documented = known.settled, known.documented
    unknown = [c for c in reader.columns if c not in settled and c not in documented.text]
    typed = {c: kind for c, kind in settled.items() if f"{c}{MISFIT_SUFFIX}" not in settled}
    evidence, misfits = NO_EVIDENCE, frozenset[str]()
    rows = size = 0
    for batch in reader:
        evidence = observe(batch.frame, unknown, documented, evidence)
        misfits |= misfitting(batch.frame, typed, documented)
        rows += batch.frame.height
        size += int(batch.frame.estimated_size())
        if archive and size >= LOOK_ROWS:
            break
    if not rows:
        return Look()
    columns = tuple(reader.columns)
    return Look(columns, frozenset(columns), evidence, misfits)


def check_columns(file: ExportFile, columns: Sequence[str], known: Knowledge) -> None:
    """Refuse a file that is not an export of its stream: a text, a page, something else's data.

    Raises:
        FormatError: It has columns, and none of them is one that the stream is known to have.
    """
    if columns and not known.names & set(columns):
        shown = ", ".join(columns[:5])[:80] + (", …" if len(columns) > 5 else "")
        msg = (
            f"{file}: the file is not an export of {file.stream}: none of its columns is one that "
            f"the stream documents or has had ({shown})"
        )
        raise FormatError(msg, "look at the file; column_types can name a column that it has")
