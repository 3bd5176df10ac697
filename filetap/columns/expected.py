"""What a stream's files are expected to hold, and which files are none of the stream's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from filetap.columns.added import ADDED
from filetap.columns.header import looks_like_values
from filetap.errors import FormatError
from filetap.read.batch import ReadOptions
from filetap.redaction import SECRECY
from filetap.settings import NOTHING_PROTECTED
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from filetap.files import ExportFile
    from filetap.read.batch import Reader
    from filetap.settings import Protection
    from filetap.vendor import Documented


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
        named: Columns that only settings name: a file that has one is an export of the stream, and
            a file that has none of them may be one.
    """

    fixed: Mapping[str, str]
    documented: Documented
    before: Collection[str] = ()
    nulls: tuple[str, ...] = ()
    choices: tuple[tuple[str, ...], ...] = ()
    protection: Protection = NOTHING_PROTECTED
    repeats: bool = False
    named: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """The columns that the stream documents, is known or likely to have, or settings name."""
        documented = self.documented
        return frozenset((*self.fixed, *self.before, *documented.columns, *documented.likely))

    @property
    def options(self) -> ReadOptions:
        """How such files are read."""
        return ReadOptions(
            reserved=ADDED,
            known=self.names,
            nulls=self.nulls,
            protection=self.protection,
            nested=self.documented.nested,
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
    listed = SECRECY.scrub(", ".join(columns[:5]))[:80] + (", …" if len(columns) > 5 else "")
    if expected.protection:  # without a header row, these are values
        listed = counted(len(columns), "column")
    if expected.names - expected.named:
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
