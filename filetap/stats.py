"""Per-file row statistics, logged when the file has been read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from filetap.columns.added import ADDED, EVENT_ID, MALFORMED_SUFFIX, ROW_OCCURRENCE, SOURCE_LINE
from filetap.columns.fit import key_hashes
from filetap.columns.types import MISFIT_SUFFIX
from filetap.lazy import pl
from filetap.wording import counted

if TYPE_CHECKING:
    import logging
    from collections.abc import Collection, Mapping, Sequence

    from filetap.files import ExportFile

KEYS_COMPARED = 4_000_000  # rows of a file, eight bytes each, whose keys are compared


class FileStats:
    """Accumulates statistics while a file is read.

    Args:
        file: The file.
        key: Columns of the stream's key.

    Attributes:
        rows: Rows of the file so far.
        malformed: Malformed rows that were diverted.
        misfits: Column → values that do not fit its type.
        has_text: False if malformed rows come without their text.
    """

    def __init__(self, file: ExportFile, key: Sequence[str]) -> None:
        self._file = file
        self._key = key
        # Generation and file are the same in all rows of a file.
        self._own_key = [name for name in key if name not in ADDED]
        # Row numbers and what counts equal rows are never the same.
        self._is_compared = bool(key) and not {SOURCE_LINE, ROW_OCCURRENCE, EVENT_ID} & {*key}
        self._hashes: list[pl.Series] = []
        self._compared_all = True
        self.rows = 0
        self.malformed = 0
        self.has_text = True
        self.misfits: Counter[str] = Counter()

    def add(
        self, fitted: pl.DataFrame, misfits: Mapping[str, int], malformed: int, last: int
    ) -> None:
        """Count a batch, and remember its keys.

        Args:
            fitted: Its rows.
            misfits: Column → values that do not fit its type.
            malformed: Rows that cannot be read.
            last: Rows of the file up to its end.
        """
        self.misfits.update(misfits)
        self.malformed += malformed
        if self._is_compared and self.rows < KEYS_COMPARED:
            self._hashes.append(key_hashes(fitted, self._own_key))
        self._compared_all &= not self._is_compared or self.rows < KEYS_COMPARED
        self.rows = last

    def may_repeat(self, key: Sequence[str]) -> bool:
        """False if it is certain that no two of the file's rows share a *key*."""
        if tuple(key) != tuple(self._key) or not self._compared_all:
            return True
        keys = pl.concat(self._hashes).drop_nulls() if self._hashes else pl.Series()
        return keys.n_unique() < len(keys)

    def log(
        self, logger: logging.Logger, types: Mapping[str, str], emitted: Collection[str]
    ) -> None:
        """Log the row count, diverted rows, misfits and duplicate keys.

        Args:
            logger: Receives the lines.
            types: Column → type.
            emitted: The columns that are emitted.
        """
        logger.info("%s: %s", self._file, counted(self.rows, "row"))
        if self.malformed:
            logger.warning(
                "%s: %s cannot be read; kept %s text in %s",
                self._file,
                counted(self.malformed, "row"),
                "as" if self.has_text else "without",
                self._file.stream + MALFORMED_SUFFIX,
            )
        for name, count in self.misfits.items():
            column = name + MISFIT_SUFFIX
            logger.warning(
                "%s: %s in %s %s not %s; %s",
                self._file,
                counted(count, "value"),
                name,
                "is" if count == 1 else "are",
                types[name],
                f"kept as text in {column}"
                if column in emitted
                else "left out by a map or the catalog",
            )
        if self._hashes:
            self._log_keys(pl.concat(self._hashes), logger)

    def _log_keys(self, every: pl.Series, logger: logging.Logger) -> None:
        """Log how many rows share a key, or have none."""
        without = every.null_count()
        faults = {
            "the key of another row": len(every) - without - every.drop_nulls().n_unique(),
            "no key": without,
        }
        for fault, count in faults.items():
            if count:
                logger.warning(
                    "%s: %d of the %s compared %s %s (%s), and a loader may keep one of them; "
                    "set primary_keys to columns that tell rows apart",
                    self._file,
                    count,
                    counted(len(every), "row"),
                    "has" if count == 1 else "have",
                    fault,
                    ", ".join(self._key),
                )
