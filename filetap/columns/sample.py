"""Samples of files before the first SCHEMA: their columns, and the types these allow."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filetap.columns.added import ADDED
from filetap.columns.fit import misfitting
from filetap.columns.infer import NO_EVIDENCE, Evidence, observe
from filetap.columns.types import MISFIT_SUFFIX
from filetap.download.pack import Pack
from filetap.errors import ExportError, FormatError, IntegrityError
from filetap.read.batch import ReadOptions
from filetap.read.detect import open_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from filetap.download.spool import Spool, Spooled
    from filetap.files import ExportFile, Transport
    from filetap.settings import Tuning
    from filetap.vendor import Documented

_ARCHIVE = b"PK\x03\x04"  # a zip archive or a workbook, whose contents are listed at its end

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """What some files were found to hold.

    Attributes:
        columns: All columns, in order of first sight.
        shared: Columns that every file with rows has; None while no file had any.
        evidence: About the columns whose type is open.
        misfits: Columns with a value that does not fit the type they have.
    """

    columns: tuple[str, ...] = ()
    shared: frozenset[str] | None = None
    evidence: Evidence = NO_EVIDENCE
    misfits: frozenset[str] = frozenset()

    def __or__(self, other: Sample) -> Sample:
        """Both together."""
        known = [shared for shared in (self.shared, other.shared) if shared is not None]
        return Sample(
            tuple(dict.fromkeys([*self.columns, *other.columns])),
            frozenset.intersection(*known) if known else None,
            self.evidence | other.evidence,
            self.misfits | other.misfits,
        )


@dataclass(frozen=True, slots=True)
class Expected:
    """What a stream's files are expected to hold.

    Attributes:
        fixed: Column → type, of those whose type is fixed.
        documented: What the vendor documents.
        before: Columns that earlier files, or a catalog, had.
    """

    fixed: Mapping[str, str]
    documented: Documented
    before: Collection[str] = ()

    @property
    def names(self) -> frozenset[str]:
        """The columns that the stream documents, or is known to have."""
        return frozenset((*self.fixed, *self.before, *self.documented.columns))


def sample_files(  # noqa: PLR0913 - what is sampled, and how
    files: Sequence[ExportFile],
    transport: Transport,
    spool: Spool,
    expected: Expected,
    tuning: Tuning,
    *,
    whole_first: bool,
) -> tuple[Sample, Pack]:
    """Sample files before they are read: small ones whole, of large ones the beginning.

    Args:
        files: In the order in which they will be read.
        transport: Where they come from.
        spool: Downloads them.
        expected: What needs no sample.
        tuning: How much is sampled, and kept.
        whole_first: True to download the first file, which is read next, whole even if large.

    Returns:
        What they hold, and the verified downloads that wait to be read: at most ``tuning.kept``
        bytes beside the first one.

    Raises:
        ExportError: Not even the first file can be read. A later file's error is raised when
            that file is read, so that the files before it are emitted.
    """
    found = Sample()
    kept = Pack(spool.folder)
    for position, file in enumerate(files):
        first = whole_first and position == 0
        room = tuning.kept - kept.size
        try:
            spooled = spool.download(transport, file, None if first else min(tuning.whole, room))
            if not spooled.whole and _is_archive(spooled):
                spooled.close()
                spooled = spool.download(transport, file)
            try:
                found |= sample(spooled, expected, tuning)
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
            logger.debug("%s: not sampled: %s", file, error)
            break
    return found, kept


def _is_archive(spooled: Spooled) -> bool:
    """True if the bytes are the beginning of a zip archive or a workbook."""
    spooled.stored.seek(0)
    return spooled.stored.read(len(_ARCHIVE)) == _ARCHIVE


def sample(spooled: Spooled, expected: Expected, tuning: Tuning) -> Sample:
    """One file's sample: every value of a small one, the first rows of a large one.

    A file without rows decides neither columns nor types: its sample is empty.

    Raises:
        FormatError: The header row, or a row longer than any may be, cannot be read, or the
            file is not an export of the stream.
    """
    large = spooled.size > tuning.whole
    archive = large and _is_archive(spooled)
    most = min(tuning.head, tuning.whole) if large and not archive else None
    # Malformed rows do not affect types; they are reported when the file is read.
    options = ReadOptions(reserved=ADDED, known=expected.names, divert=True, most=most)
    reader = open_file(spooled, options)
    check_columns(spooled.file, reader.columns, expected)
    fixed, documented = expected.fixed, expected.documented
    unknown = [c for c in reader.columns if c not in fixed and c not in documented.text]
    typed = {c: kind for c, kind in fixed.items() if f"{c}{MISFIT_SUFFIX}" not in fixed}
    evidence, misfits = NO_EVIDENCE, frozenset[str]()
    rows = size = 0
    for batch in reader:
        evidence = observe(batch.frame, unknown, documented, evidence)
        misfits |= misfitting(batch.frame, typed, documented)
        rows += batch.frame.height
        size += int(batch.frame.estimated_size())
        if archive and size >= tuning.unpacked:
            break
    if not rows:
        return Sample()
    columns = tuple(reader.columns)
    return Sample(columns, frozenset(columns), evidence, misfits)


def check_columns(file: ExportFile, columns: Sequence[str], expected: Expected) -> None:
    """Refuse a file that is not an export of its stream: a text, a page, other data.

    Raises:
        FormatError: It has columns, and the stream is not known to have any of them.
    """
    if columns and not expected.names & set(columns):
        listed = ", ".join(columns[:5])[:80] + (", …" if len(columns) > 5 else "")
        msg = (
            f"{file}: the file is not an export of {file.stream}: none of its columns is one that "
            f"the stream documents or has had ({listed})"
        )
        raise FormatError(msg, "look at the file; column_types can name a column that it has")
