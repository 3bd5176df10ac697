"""Ids of rows that have none: a hash of what identifies a row, and which of the equal ones it is.

Rows that are alike in all that identifies them are counted in the order of another column's text,
over all files that are read together. So a row gets the same id whenever it is exported, whatever
the order of the rows and of the files.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from filetap.columns.added import EVENT_ID
from filetap.columns.types import canonical, fits
from filetap.lazy import np, pl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy import uint64
    from numpy.typing import NDArray

    from filetap.download.spool import Spooled
    from filetap.read.batch import Batch
    from filetap.vendor import Documented

_DIGITS: Final = 32  # of a hash


class Identities:
    """Adds the column `EVENT_ID` to the rows of some files; eight bytes a row are kept meanwhile.

    Args:
        documented: Which columns identify a row, and which one orders equal ones.
        files: Files that are read together.
        read: Returns the batches of a file, from its beginning.
    """

    def __init__(
        self,
        documented: Documented,
        files: Sequence[Spooled],
        read: Callable[[Spooled], Iterable[Batch]],
    ) -> None:
        self._documented = documented
        # Row of a file, by its key, which is not the first of the equal ones → which one it is.
        self._ordinals: dict[str, dict[int, int]] = {}
        repeated = _repeated([self._numbers(read(spooled)) for spooled in files])
        if len(repeated):
            self._count(files, read, repeated)

    def add(self, spooled: Spooled, batches: Iterable[Batch]) -> Iterator[Batch]:
        """A file's batches, from its first one, with the column more."""
        ordinals: Mapping[int, int] = self._ordinals.get(spooled.file.key, {})
        position = 0
        for batch in batches:
            ids = [
                f"{digest[:_DIGITS]}-{ordinals.get(n, 1)}"
                for n, digest in enumerate(self._digests(batch.frame), start=position)
            ]
            position += len(ids)
            column = pl.Series(EVENT_ID, ids, dtype=pl.String)
            yield replace(batch, frame=batch.frame.with_columns(column))

    def _numbers(self, batches: Iterable[Batch]) -> NDArray[uint64]:
        """The first eight bytes of each row's hash."""
        parts = [_as_numbers(self._digests(batch.frame)) for batch in batches]
        return np.concatenate(parts) if parts else np.array([], dtype=np.uint64)

    def _count(
        self,
        files: Sequence[Spooled],
        read: Callable[[Spooled], Iterable[Batch]],
        repeated: NDArray[uint64],
    ) -> None:
        """Find out which of the equal ones each row is that is not the first."""
        found: list[tuple[str, str, int, int]] = []
        for number, spooled in enumerate(files):
            position = 0
            for batch in read(spooled):
                digests = self._digests(batch.frame)
                alike = np.flatnonzero(np.isin(_as_numbers(digests), repeated))
                texts = self._order(batch.frame)
                found += [
                    (digests[n], texts[n] or "", number, position + n) for n in alike.tolist()
                ]
                position += len(digests)
        found.sort()
        before, ordinal = "", 1
        for digest, _, number, position in found:
            ordinal = ordinal + 1 if digest == before else 1
            before = digest
            if ordinal > 1:
                key = files[number].file.key
                self._ordinals.setdefault(key, {})[position] = ordinal

    def _order(self, frame: pl.DataFrame) -> pl.Series:
        """The text that orders rows which are alike."""
        order = self._documented.order
        if order in frame.columns:
            return frame[order].cast(pl.String)
        return pl.repeat(None, frame.height, dtype=pl.String, eager=True)

    def _digests(self, frame: pl.DataFrame) -> list[str]:
        """The hash of each row."""
        cells = [self._cell(frame, name) for name in self._documented.identity]
        texts = frame.select(pl.concat_str(cells).alias("row")).to_series()
        return [hashlib.sha256(text.encode()).hexdigest() for text in texts]

    def _cell(self, frame: pl.DataFrame, name: str) -> pl.Expr:
        """One of the columns, each text after its length; nothing but a comma for null."""
        if name not in frame.columns:
            return pl.repeat(",", pl.len(), dtype=pl.String)
        text = pl.col(name).cast(pl.String)
        if self._documented.columns.get(name) == "date-time":  # also if it is written differently
            is_time = fits("date-time", text) & (text != "")
            text = pl.when(is_time).then(canonical("date-time", text)).otherwise(text)
        whole = pl.concat_str(text.str.len_bytes().cast(pl.String), pl.lit(":"), text, pl.lit(","))
        return whole.fill_null(",")


def _as_numbers(digests: Sequence[str]) -> NDArray[uint64]:
    """The first eight bytes of hashes."""
    return np.array([int(digest[:16], 16) for digest in digests], dtype=np.uint64)


def _repeated(numbers: Sequence[NDArray[uint64]]) -> NDArray[uint64]:
    """The numbers that are there more than once."""
    if not numbers:
        return np.array([], dtype=np.uint64)
    once, counts = np.unique(np.concatenate(numbers), return_counts=True)
    repeated: NDArray[uint64] = once[counts > 1]
    return repeated
