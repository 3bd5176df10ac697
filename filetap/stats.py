"""What the rows of one file turned out to be, in the log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from filetap.columns.types import MISFIT_SUFFIX, key_hashes
from filetap.wording import counted
from tap_firstup_dde.vendor import ADDED, MALFORMED_SUFFIX, SOURCE_LINE

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection, Mapping, Sequence

    from filetap.files import ExportFile
    from filetap.singer.progress import Tally

KEYS_COMPARED = 4_000_000  # rows of a file, eight bytes each, whose keys are compared


class FileCounts:
    """Counts while a file is read, and tells when it is.

    Args:
        file: The file.
        key: The columns of the stream's key.
        tally: Takes the same figures for the whole stream.
        logger: Takes the lines.
    """

    def __init__(
        self, file: ExportFile, key: Sequence[str], tally: Tally, logger: logging.Logger
    ) -> None:
        self._file = file
        self._key = key
        # Generation and file are the same in all rows of a file.
        self._own_key = [name for name in key if name not in ADDED]
        self._tally = tally
        self._logger = logger
        self._malformed = 0
        self._misfits: Counter[str] = Counter()
        self._hashes: list[pl.Series] = []

    def divert(self, count: int) -> None:
        """Count rows that cannot be read."""
        self._malformed += count
        self._tally.diverted += count

    def add(self, fitted: pl.DataFrame, misfits: Mapping[str, int], before: int) -> None:
        """Count a batch's misfits, and keep its keys.

        Args:
            fitted: The rows.
            misfits: Column → values that do not fit.
            before: Rows of the file before these.
        """
        self._misfits.update(misfits)
        self._tally.misfits += sum(misfits.values())
        if SOURCE_LINE not in self._key and before < KEYS_COMPARED:
            self._hashes.append(key_hashes(fitted, self._own_key))

    def tell(self, rows: int, types: Mapping[str, str], out: Collection[str]) -> None:
        """Say that the file is read, what stands elsewhere, and what its keys are worth.

        Args:
            rows: All rows of the file.
            types: Column → type.
            out: The columns that go out.
        """
        self._logger.info("%s: %s", self._file, counted(rows, "row"))
        if self._malformed:
            self._logger.warning(
                "%s: %s cannot be read and %s whole in %s",
                self._file,
                counted(self._malformed, "row"),
                "stands" if self._malformed == 1 else "stand",
                self._file.stream + MALFORMED_SUFFIX,
            )
        for name, count in self._misfits.items():
            column = name + MISFIT_SUFFIX
            be, stand = ("is", "stands") if count == 1 else ("are", "stand")
            left_out = f"{be} left out by the map or the catalog"
            self._logger.warning(
                "%s: %s of %s %s not %s and %s",
                self._file,
                counted(count, "value"),
                name,
                be,
                types[name],
                f"{stand} in {column}" if column in out else left_out,
            )
        if self._hashes:
            self._tell_keys(pl.concat(self._hashes))

    def _tell_keys(self, every: pl.Series) -> None:
        """Say how many rows share a key, or have none."""
        without = every.null_count()
        faults = {
            "have the key of another row": len(every) - without - every.drop_nulls().n_unique(),
            "have no key": without,
        }
        for fault, count in faults.items():
            if count:
                self._logger.warning(
                    "%s: %d of the %s compared %s (%s), and a loader may keep one of them; "
                    "set primary_keys to columns that tell rows apart",
                    self._file,
                    count,
                    counted(len(every), "row"),
                    fault,
                    ", ".join(self._key),
                )
