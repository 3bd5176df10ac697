"""Keys that files decide: one that every row has, or the row itself."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from filetap.columns.added import ROW_HASH, ROW_OCCURRENCE
from filetap.columns.fit import key_hashes
from filetap.lazy import np, pl
from filetap.read.batch import without_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy import int64, uint64
    from numpy.typing import NDArray

    from filetap.read.batch import Batch, Reader

_DIGEST = 16  # bytes
_NAME_END = "\x1f"
_CELL_END = "\x1e"


def choose_key(
    reader: Reader,
    choices: Iterable[tuple[str, ...]],
    nulls: Sequence[str] = (),
    *,
    repeats: bool = False,
) -> tuple[str, ...]:
    """The first key that every row of a file has, and no two rows share; empty if there is none.

    A row whose key is empty texts only does not have it.

    Args:
        reader: Reads the file from its beginning.
        choices: The keys.
        nulls: Texts that stand for null, unless the reader knows them.
        repeats: True if rows may share a key.
    """
    hashes = {key: list[pl.Series]() for key in choices if set(key) <= {*reader.columns}}
    if not hashes:
        return ()
    columns = sorted({name for key in hashes for name in key})
    for batch in reader:
        frame = without_texts(batch.frame.select(columns), nulls)
        for key, found in list(hashes.items()):
            found.append(key_hashes(frame, key))
            blank = pl.all_horizontal(pl.col(key) == "").any()
            if found[-1].null_count() or frame.select(blank).item():
                del hashes[key]
    whole = {key: pl.concat(found) for key, found in hashes.items() if found}
    return next((key for key, each in whole.items() if repeats or each.n_unique() == len(each)), ())


def with_row_hashes(batches: Iterable[Batch]) -> Iterator[Batch]:
    """A file's batches, from its first one, with two columns more: its rows' `HASH_KEY`.

    Eight bytes a row are kept.
    """
    seen = _Seen()
    for batch in batches:
        texts = _row_texts(batch.frame).cast(pl.Binary)
        # Half of SHA-256 is unique enough, and makes records and indexes smaller.
        digests = [hashlib.sha256(text).digest()[:_DIGEST] for text in texts.to_list()]
        numbers = np.frombuffer(b"".join(digests), dtype=np.uint64)[:: _DIGEST // 8]
        hexadecimal = pl.Series(ROW_HASH, digests, dtype=pl.Binary).bin.encode("hex")
        occurrences = pl.Series(ROW_OCCURRENCE, seen.count(numbers))
        yield replace(batch, frame=batch.frame.with_columns(hexadecimal, occurrences))


def _row_texts(frame: pl.DataFrame) -> pl.Series:
    """A text for each row, equal for rows of equal cells, whatever the order of their columns.

    Each cell that is not null is its column and its text, both with a character after them that no
    column's name has; within a cell, the last one is doubled. Cells that are null are left out, so
    that a column that is added does not change the rows without it.
    """
    columns = {name: pl.nth(i).cast(pl.String) for i, name in enumerate(frame.columns)}
    found = [column.str.contains(_CELL_END, literal=True).any() for column in columns.values()]
    if found and frame.select(pl.any_horizontal(found)).item():
        columns = {
            name: column.str.replace_all(_CELL_END, 2 * _CELL_END, literal=True)
            for name, column in columns.items()
        }
    parts, end = [], ""
    for name in sorted(columns):
        column = columns[name]
        if frame[name].null_count():
            begin = pl.lit(f"{name}{_NAME_END}")
            parts += [pl.lit(end), pl.concat_str(begin, column, pl.lit(_CELL_END))]
            end = ""
        else:  # less work than above
            parts += [pl.lit(f"{end}{name}{_NAME_END}"), column]
            end = _CELL_END
    rows = pl.concat_str(*parts, pl.lit(end), ignore_nulls=True)
    return frame.select(rows.alias("row")).to_series()


class _Seen:
    """How often each number was seen: sorted arrays, each at least twice as long as the next."""

    def __init__(self) -> None:
        self._sorted: list[NDArray[uint64]] = []
        self._again: dict[int, int] = {}

    def count(self, numbers: NDArray[uint64]) -> NDArray[int64]:
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
        return found
