"""A look at pending files before the first SCHEMA: which columns, which types they allow."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_firstup_dde.exportlib.exceptions import ExportError
from tap_firstup_dde.exportlib.extract import HEAD
from tap_firstup_dde.exportlib.schema import (
    MISFIT_SUFFIX,
    NO_EVIDENCE,
    Evidence,
    misfitting,
    observe,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tap_firstup_dde.exportlib.extract import Spool, Spooled
    from tap_firstup_dde.exportlib.models import ExportFile, Transport
    from tap_firstup_dde.exportlib.schema import Documented

LOOK_WHOLE = 4 << 20  # bytes as stored; of larger files a look reads the beginning only
LOOK_KEPT = 256 << 20  # bytes as stored that a look keeps on disk until their turn comes
LOOK_FILES = 200  # files that a look keeps at most: each holds a file descriptor

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """What files were seen to hold.

    Attributes:
        columns: All columns, in order of first sight.
        shared: Columns that every file has; None while no file had any.
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
    """

    settled: Mapping[str, str]
    documented: Documented
    reserved: Collection[str]

    @property
    def names(self) -> frozenset[str]:
        """The columns that a file of the stream may have, as far as they are known."""
        return frozenset((*self.settled, *self.documented.columns))


def look_at(
    files: Sequence[ExportFile],
    transport: Transport,
    spool: Spool,
    known: Knowledge,
    *,
    whole_first: bool,
) -> tuple[Look, dict[str, Spooled]]:
    """Read files before their turn: small ones whole, of large ones the beginning.

    Args:
        files: In the order in which they will be read.
        transport: Where they come from.
        spool: Where they are kept.
        known: What needs no look.
        whole_first: Whether the first file, whose turn is next, comes whole if it is large.

    Returns:
        What they hold, and by key the files that are kept, proven, until their turn comes: at
        most `LOOK_KEPT` bytes and `LOOK_FILES` files beside the first one.

    Raises:
        ExportError: Not even the first file can be read. A later one's error waits for its
            turn, so that the files before it go out.
    """
    seen = Look()
    kept: dict[str, Spooled] = {}
    size = 0
    for position, file in enumerate(files):
        first = whole_first and position == 0
        room = LOOK_KEPT - size if len(kept) < LOOK_FILES else 0
        try:
            spooled = spool.download(transport, file, None if first else min(LOOK_WHOLE, room))
            if spooled.whole:
                kept[file.key] = spooled
                size += 0 if first else spooled.size
                seen |= look_into(spooled, known)
            else:
                with closing(spooled):
                    seen |= look_into(spooled, known)
        except ExportError as error:
            if position == 0:
                discard(kept)
                raise
            logger.debug("%s: not looked into: %s", file, error)
            break
    return seen, kept


def look_into(spooled: Spooled, known: Knowledge) -> Look:
    """What one file holds: every value of a small one, the first rows of a large one.

    Raises:
        FormatError: The header row, or a row longer than any may be, cannot be read.
    """
    most = min(HEAD, LOOK_WHOLE) if spooled.size > LOOK_WHOLE else None
    # A row that cannot be read says nothing of types; whether it is an error shows in its turn.
    reader = spooled.reader(known.reserved, known.names, divert=True, most=most)
    settled, documented = known.settled, known.documented
    unknown = [c for c in reader.columns if c not in settled and c not in documented.text]
    typed = {c: kind for c, kind in settled.items() if f"{c}{MISFIT_SUFFIX}" not in settled}
    evidence, misfits = NO_EVIDENCE, frozenset[str]()
    for batch in reader:
        evidence = observe(batch.frame, unknown, documented, evidence)
        misfits |= misfitting(batch.frame, typed, documented)
    columns = tuple(reader.columns)
    return Look(columns, frozenset(columns) if columns else None, evidence, misfits)


def discard(kept: dict[str, Spooled]) -> None:
    """Give back the disk space of files that are not read after all."""
    for spooled in kept.values():
        spooled.close()
    kept.clear()
