"""Samples of files before the first SCHEMA: their columns, and the types these allow."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from filetap.columns.added import ADDED
from filetap.columns.fit import misfitting
from filetap.columns.header import looks_like_values
from filetap.columns.infer import NO_EVIDENCE, Evidence, observe
from filetap.columns.keys import choose_key
from filetap.columns.types import MISFIT_SUFFIX
from filetap.download.pack import Pack
from filetap.errors import ExportError, FormatError, IntegrityError
from filetap.lazy import pl
from filetap.prefetch import prefetch
from filetap.read.batch import ReadOptions
from filetap.read.detect import open_file
from filetap.read.protected import ProtectedReader
from filetap.settings import NOTHING_PROTECTED
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from filetap.download.spool import Spooled
    from filetap.files import ExportFile
    from filetap.read.batch import Reader
    from filetap.settings import Protection, Settings, Tuning
    from filetap.vendor import Documented

_TOGETHER = 2 << 20  # bytes of rows, as text in memory, that are examined together
_FEW = 1 << 14  # bytes of a file that are sampled where the types are known
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
        key: The key among those to choose from that the first file with rows has; empty if it
            has none of them, None if no file was examined for one.
        protected: The names and patterns of protected columns that a file has.
    """

    columns: tuple[str, ...] = ()
    shared: frozenset[str] | None = None
    evidence: Evidence = NO_EVIDENCE
    misfits: frozenset[str] = frozenset()
    key: tuple[str, ...] | None = None
    protected: frozenset[str] = frozenset()

    def __or__(self, other: Sample) -> Sample:
        """Both together."""
        known = [shared for shared in (self.shared, other.shared) if shared is not None]
        return Sample(
            tuple(dict.fromkeys([*self.columns, *other.columns])),
            frozenset.intersection(*known) if known else None,
            self.evidence | other.evidence,
            self.misfits | other.misfits,
            other.key if self.key is None else self.key,
            self.protected | other.protected,
        )


@dataclass(frozen=True, slots=True)
class Expected:
    """What a stream's files are expected to hold.

    Attributes:
        fixed: Column → type, of those whose type is fixed.
        documented: What the vendor documents.
        before: Columns that earlier files, or a catalog, had.
        nulls: Texts that stand for null.
        choices: Keys to choose from; empty if the key is known.
        protection: Columns that are left out, or whose values become hashes.
        repeats: True if rows may share the key that is chosen.
    """

    fixed: Mapping[str, str]
    documented: Documented
    before: Collection[str] = ()
    nulls: tuple[str, ...] = ()
    choices: tuple[tuple[str, ...], ...] = ()
    protection: Protection = NOTHING_PROTECTED
    repeats: bool = False

    @property
    def names(self) -> frozenset[str]:
        """The columns that the stream documents, or is known or likely to have."""
        documented = self.documented
        return frozenset((*self.fixed, *self.before, *documented.columns, *documented.likely))

    @property
    def options(self) -> ReadOptions:
        """How such files are read."""
        nulls, nested = self.nulls, self.documented.nested
        return ReadOptions(
            reserved=ADDED, known=self.names, nulls=nulls, protection=self.protection, nested=nested
        )


@dataclass(frozen=True, slots=True)
class Sampled:
    """What sampling files leaves behind.

    Attributes:
        found: What they hold.
        kept: Verified downloads that wait to be read.
        small: Keys of the files that are known to be small.
    """

    found: Sample = Sample()
    kept: Pack = field(default_factory=Pack)
    small: frozenset[str] = frozenset()

    def downloads(
        self, files: Iterable[ExportFile], download: Callable[[ExportFile], Spooled], at_once: int
    ) -> Generator[Spooled, None, None]:
        """Yield the verified bytes of *files*, in order: kept by sampling, or downloaded ahead.

        Args:
            files: Those that were sampled.
            download: Downloads a file.
            at_once: Files that are downloaded at once, at most; one large file among them.
        """

        def fetch(file: ExportFile) -> Spooled:
            return self.kept.take(file) or download(file)

        following = prefetch(
            files,
            fetch,
            _close,
            at_once=at_once,
            is_large=lambda file: file.key not in self.small,
        )
        with closing(following):
            for _, spooled in following:
                yield spooled


def sample_files(
    files: Sequence[ExportFile],
    download: Callable[[ExportFile, int | None], Spooled],
    expected: Expected,
    settings: Settings,
    *,
    whole_first: bool,
) -> Sampled:
    """Sample files before they are read: small ones whole, of large ones the beginning.

    Several are downloaded at once.

    Args:
        files: In the order in which they will be read.
        download: Downloads a file, or the beginning of one with more than that many bytes.
        expected: What needs no sample.
        settings: How much is sampled, and kept on disk.
        whole_first: True to download the first file, which is read next, whole even if large; the
            first with rows, too, if it decides the key.

    Returns:
        What they hold, and the verified downloads: ``Tuning.kept`` bytes at most, beside the first
        one.

    Raises:
        ExportError: Not even the first file can be read. A later file's error is raised when
            that file is read, so that the files before it are emitted.
    """
    tuning, kept = settings.tuning, Pack(settings.spool)
    sampler, small = Sampler(expected, tuning), set[str]()

    def with_limits() -> Iterator[tuple[ExportFile, int | None]]:
        for position, file in enumerate(files):
            first = whole_first and position == 0
            yield file, None if first else min(tuning.whole, tuning.kept - kept.size)

    attempt = partial(_attempt, download)
    downloads = prefetch(with_limits(), attempt, _close, at_once=settings.concurrency)
    with closing(downloads):
        for position, ((file, most), result) in enumerate(downloads):
            try:
                spooled = _opened(result)
                needs_all = _is_archive(spooled) or (whole_first and sampler.needs_key)
                if not spooled.whole and needs_all:
                    spooled.close()
                    spooled = download(file, None)
                if (spooled.total or tuning.whole + 1) <= tuning.whole:
                    small.add(file.key)
                try:
                    sampler.add(spooled)
                finally:
                    _put_away(spooled, kept, None if most is None else tuning.kept)
            except ExportError as error:
                if position == 0:
                    kept.close()
                    raise
                if isinstance(error, IntegrityError):
                    kept.hold(file, error)
                logger.debug("%s: not sampled: %s", file, error)
                break
    return Sampled(sampler.found(), kept, frozenset(small))


def _attempt(
    download: Callable[[ExportFile, int | None], Spooled], item: tuple[ExportFile, int | None]
) -> Spooled | ExportError:
    """A file's download, or the error that it ended with."""
    try:
        return download(*item)
    except ExportError as error:
        return error


def _opened(result: Spooled | ExportError) -> Spooled:
    """A download; raises the error that it ended with."""
    if isinstance(result, ExportError):
        raise result
    return result


def _put_away(spooled: Spooled, kept: Pack, most: int | None) -> None:
    """Keep a whole download until it is read, as long as all take *most* bytes; close others."""
    if most is None:
        kept.hold(spooled.file, spooled)
    elif spooled.whole and spooled.size <= most - kept.size:
        kept.add(spooled)
    else:
        spooled.close()


def _close(result: Spooled | ExportError) -> None:
    """Free the disk space of a download."""
    if not isinstance(result, ExportError):
        result.close()


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
    sampler = Sampler(expected, tuning)
    sampler.add(spooled)
    return sampler.found()


class Sampler:
    """Samples one file after the other.

    The rows of small files are examined together: examining few rows takes as long as many.

    Args:
        expected: What needs no sample.
        tuning: How much is sampled.
    """

    def __init__(self, expected: Expected, tuning: Tuning) -> None:
        self._expected = expected
        self._tuning = tuning
        self._found = Sample()
        self._frames: list[pl.DataFrame] = []  # of the same columns, not examined yet
        self._size = 0

    @property
    def needs_key(self) -> bool:
        """True if the next file with rows decides the key, for which all its rows are needed."""
        return bool(self._expected.choices) and self._found.key is None

    def found(self) -> Sample:
        """What the files so far hold."""
        if self._frames:
            frame = pl.concat(self._frames)
            self._frames, self._size = [], 0
            self._found |= self._examined(frame, self._found.evidence)
        return self._found

    def add(self, spooled: Spooled) -> None:
        """Sample a file, as `sample` does; after an error nothing of it counts.

        Raises:
            FormatError: It cannot be read, or is not an export of the stream.
        """
        tuning = self._tuning
        fixed = self._expected.documented.fixed  # then few rows show what else there is
        whole, head = (_FEW, _FEW) if fixed else (tuning.whole, tuning.head)
        large = spooled.size > whole
        archive = large and _is_archive(spooled)
        most = min(head, whole) if large and not archive else None
        # Malformed rows do not affect types; they are reported when the file is read.
        options = replace(self._expected.options, divert=True, most=most)
        reader = open_file(spooled, options)
        check_columns(spooled.file, reader, self._expected)
        own, frames = Sample(), list[pl.DataFrame]()
        rows = size = held = 0
        for batch in reader:
            frames.append(batch.frame)
            rows += batch.frame.height
            size += int(batch.frame.estimated_size())
            if size - held > _TOGETHER:
                own |= self._examined(pl.concat(frames), own.evidence)
                frames, held = [], size
            if archive and size >= tuning.unpacked:
                break
        if not rows:
            return
        columns = tuple(reader.columns)
        if (
            held
            or self._size > _TOGETHER
            or (self._frames and self._frames[0].columns != [*columns])
        ):
            self.found()
        if held and frames:
            own |= self._examined(pl.concat(frames), own.evidence)
        elif not held:
            self._frames += frames
            self._size += size
        self._found |= own | Sample(
            columns,
            frozenset(columns),
            key=self._key_of(spooled, options),
            protected=reader.matched if isinstance(reader, ProtectedReader) else frozenset(),
        )

    def _key_of(self, spooled: Spooled, options: ReadOptions) -> tuple[str, ...] | None:
        """The key among those to choose from, of the first file with rows; None for others."""
        if not self.needs_key:
            return None
        # All columns of a large file are not searched for the sake of a few.
        plain = replace(options, most=None if spooled.whole else options.most, nulls=())
        reader, expected = open_file(spooled, plain), self._expected
        return choose_key(reader, expected.choices, expected.nulls, repeats=expected.repeats)

    def _examined(self, frame: pl.DataFrame, before: Evidence) -> Sample:
        """What the values of *frame* show, beside the evidence *before*."""
        fixed, documented = self._expected.fixed, self._expected.documented
        unknown = [c for c in frame.columns if c not in fixed and not documented.is_text(c)]
        typed = {c: kind for c, kind in fixed.items() if f"{c}{MISFIT_SUFFIX}" not in fixed}
        return Sample(
            evidence=observe(frame, unknown, documented, before),
            misfits=misfitting(frame, typed, documented),
        )


def check_columns(file: ExportFile, reader: Reader, expected: Expected) -> None:
    """Refuse a file that is not an export of its stream: a text, a page, other data.

    Raises:
        FormatError: It has columns, and none of those that the stream is known to have; or none is
            known, and its first line is a row.
    """
    columns = reader.columns
    if not columns or expected.documented.open or expected.names & {*columns}:
        return
    listed = ", ".join(columns[:5])[:80] + (", …" if len(columns) > 5 else "")
    if expected.protection:  # without a header row, these are values
        listed = counted(len(columns), "column")
    if expected.names:
        msg = (
            f"{file}: the file is not an export of {file.stream}: none of its columns is one that "
            f"the stream documents or has had ({listed})"
        )
        raise FormatError(msg, "look at the file; column_types can name a column that it has")
    is_named = any(map(expected.documented.is_text, columns))
    if looks_like_values(reader.labels) and not is_named:
        msg = f"{file}: the first line does not look like a header: it would make columns {listed}"
        raise FormatError(
            msg, "ask for files with a header; if it is one, name a column of it in column_types"
        )
