"""Keys that files decide: one that every row has, or the row itself."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from filetap.columns.added import ROW_HASH, ROW_OCCURRENCE
from filetap.columns.fit import key_hashes
from filetap.lazy import np, pl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy import uint64
    from numpy.typing import NDArray

    from filetap.read.batch import Batch
    from filetap.read.detect import Reader


def choose_key(
    reader: Reader, choices: Iterable[tuple[str, ...]], *, repeats: bool = False
) -> tuple[str, ...]:
    """The first key that every row of a file has, and no two rows share; empty if there is none.

    Args:
        reader: Reads the file from its beginning.
        choices: The keys.
        repeats: True if rows may share a key.
    """
    hashes = {key: list[pl.Series]() for key in choices if set(key) <= {*reader.columns}}
    if not hashes:
        return ()
    for batch in reader:
        for key, found in list(hashes.items()):
            found.append(key_hashes(batch.frame, key))
            if found[-1].null_count():
                del hashes[key]
    whole = {key: pl.concat(found) for key, found in hashes.items() if found}
    return next((key for key, each in whole.items() if repeats or each.n_unique() == len(each)), ())


def with_row_hashes(batches: Iterable[Batch]) -> Iterator[Batch]:
    """A file's batches, from its first one, with two columns more: its rows' `HASH_KEY`.

    Eight bytes a row are kept.
    """
    seen = _Seen()
    for batch in batches:
        frame = batch.frame
        digests = [hashlib.sha256(text.encode()).hexdigest() for text in _row_texts(frame)]
        occurrences = seen.count(np.array([int(d[:16], 16) for d in digests], dtype=np.uint64))
        added = (
            pl.Series(ROW_HASH, digests, dtype=pl.String),
            pl.Series(ROW_OCCURRENCE, occurrences, dtype=pl.Int64),
        )
        yield replace(batch, frame=frame.with_columns(added))


def _row_texts(frame: pl.DataFrame) -> Iterable[str]:
    """A text for each row, equal for rows of equal cells, whatever the order of their columns.

    Each cell that is not null is its column and its text, both after their length. Cells that are
    null are left out, so that a column that is added does not change the rows without it.
    """
    cells = []
    for name in sorted(frame.columns):
        text = pl.nth(frame.columns.index(name)).cast(pl.String)
        before = pl.lit(f"{len(name.encode())}:{name}")
        cells.append(pl.concat_str(before, text.str.len_bytes().cast(pl.String), pl.lit(":"), text))
    rows = pl.concat_str(cells, ignore_nulls=True) if cells else pl.lit("")
    return frame.select(rows.alias("row")).to_series()


class _Seen:
    """How often each number was seen: sorted arrays, each at least twice as long as the next."""

    def __init__(self) -> None:
        self._sorted: list[NDArray[uint64]] = []
        self._again: dict[int, int] = {}

    def count(self, numbers: NDArray[uint64]) -> Sequence[int]:
        """Which occurrence each of the next numbers is, from 1."""
        once, positions = np.unique(numbers, return_index=True)
        found = np.ones(len(numbers), dtype=np.int64)
        repeated = np.ones(len(numbers), dtype=bool)
        repeated[positions] = False
        new = np.ones(len(once), dtype=bool)
        for known in self._sorted:
            place = np.minimum(np.searchsorted(known, once), len(known) - 1)
            new &= known[place] != once
        repeated[positions[~new]] = True
        for position in np.flatnonzero(repeated):
            number = int(numbers[position])
            self._again[number] = found[position] = self._again.get(number, 1) + 1
        if new.any():
            self._sorted.append(once[new])
        while len(self._sorted) > 1 and len(self._sorted[-2]) < 2 * len(self._sorted[-1]):
            last = self._sorted.pop()
            self._sorted[-1] = np.sort(np.concatenate((self._sorted[-1], last)))
        return found.tolist()
