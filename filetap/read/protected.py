"""Columns whose values are not read as they are: some are left out, others become hashes.

This happens where rows are read, so that no value is anywhere else: in a type that is inferred, a
misfit, a message, a batch file or a database.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import TYPE_CHECKING

from filetap.errors import SettingsError
from filetap.lazy import pl
from filetap.read.names import composed, normal_form
from filetap.settings import matching

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from filetap.read.batch import Batch, Reader
    from filetap.settings import Protection


class ProtectedReader:
    """The rows of a reader without the values of protected columns.

    A column is protected under its name and under the file's own label, so that a second column
    of the same label is protected too. Malformed rows lose their text, which may hold any value.

    Args:
        reader: The reader.
        protection: The columns.
        what: The file, as messages name it.

    Attributes:
        labels: The file's own names for the columns that are left.
        columns: Their names.
        matched: The names and patterns that match a column of the file.

    Raises:
        SettingsError: No column is left.
    """

    def __init__(self, reader: Reader, protection: Protection, what: str) -> None:
        self._reader = reader
        self._key = protection.key.encode()
        self._hashed: list[str] = []
        self.labels: Sequence[str] = ()
        self.columns: list[str] = []
        matched: set[str] = set()
        for name, label in zip(reader.columns, reader.labels, strict=True):
            spellings = (name, normal_form(label), composed(label))
            named = (*protection.dropped, *protection.hashed)
            matched.update(matching(named, spellings))
            if protection.drops(*spellings):
                continue
            self.labels = (*self.labels, label)
            self.columns.append(name)
            if protection.hashes(*spellings):
                self._hashed.append(name)
        self.matched = frozenset(matched)
        if reader.columns and not self.columns:
            msg = f"{what}: columns_to_drop leaves no column of the file"
            raise SettingsError(msg, "name fewer columns, or deselect the stream")

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*."""
        self._reader.refuse(reason)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rows in batches, in order."""
        for batch in self._reader:
            frame = batch.frame.select(self.columns)
            frame = frame.with_columns(hashes(frame[name], self._key) for name in self._hashed)
            malformed = [replace(row, raw=None) for row in batch.malformed]
            yield replace(batch, frame=frame, malformed=malformed)


def hashes(values: pl.Series, key: bytes) -> pl.Series:
    """The HMAC-SHA-256 of each value's text, in hex; null for null.

    Args:
        values: Texts, or integers.
        key: The key.
    """
    texts = values.cast(pl.String)
    once = texts.drop_nulls().unique()
    if not len(once):
        return texts
    start = hmac.new(key, digestmod="sha256")
    digests = []
    for text in once:
        own = start.copy()  # half the time of a new one
        own.update(text.encode())
        digests.append(own.hexdigest())
    return texts.replace_strict(once, digests, default=None, return_dtype=pl.String)
