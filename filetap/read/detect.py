"""From proven bytes to batches, whatever the file is: told by its bytes, never by its name.

================  =====================================================================
it begins with    it is
================  =====================================================================
``1f 8b``         gzip of one or several members, around CSV or JSON
``PK 03 04``      a workbook (XLSX), else a zip archive of CSV or JSON files, gzip or not
``fe ff, ff fe``  UTF-16, which becomes UTF-8 here
``{``             JSON objects, one after the other, or one with an array of them
``[``             a JSON array of objects
anything else     CSV
================  =====================================================================
"""

from __future__ import annotations

import codecs
import re
import zipfile
from functools import partial
from itertools import chain
from typing import IO, TYPE_CHECKING, Protocol

import polars as pl

from filetap.download.gunzip import (
    HIGHEST_RATIO,
    PIECE,
    Gunzip,
    decompress,
    is_gzip,
)
from filetap.errors import FormatError
from filetap.read.csv_fast import Batch, CSVReader, Malformed
from filetap.read.json_lines import JSONReader
from filetap.read.names import shown
from filetap.read.workbook import Workbook, is_workbook
from filetap.read.worksheet import WorkbookReader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_JSON = re.compile(rb'(?:\xef\xbb\xbf)?\s*+(?:\{|\[\s*+(?:[\[\]{"]|null|true|false|-?[0-9]))')
_LARGE = 256 << 20  # bytes; what an archive unpacks to below that does no harm

_LITTER = re.compile(  # that desktop systems leave in archives
    r"(?is)(?:.*[/\\])?(?:__MACOSX[/\\].*|\._[^/\\]*|\.DS_Store|Thumbs\.db|desktop\.ini)"
)
_ARCHIVE_HINT = "report the file to its vendor"


class Reader(Protocol):
    """A file's rows.

    Attributes:
        labels: What the file calls its columns.
        columns: Their names.
    """

    labels: Sequence[str]
    columns: list[str]

    def __iter__(self) -> Iterator[Batch]:
        """The rows in batches, in order."""

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*; before the first one is asked for."""


class Source:
    """A file's bytes, and how its rows are to be read.

    Args:
        stored: The bytes as stored, proven unless *cut*.
        what: The file, as messages name it.
        reserved: Column names that the file's own columns may not take.
        block: Bytes of CSV parsed at a time.
        divert: Whether a row that cannot be read comes as a `Malformed` one.
        most: How many of the stored bytes to read; None for all.
        cut: Whether the bytes may end anywhere.
        known: Names of columns that such a file may have.
        skip: Rows at the beginning that the caller leaves out: they may come without values.
    """

    def __init__(  # noqa: PLR0913 - ways of one reading
        self,
        stored: IO[bytes],
        what: str,
        reserved: Iterable[str],
        *,
        block: int,
        divert: bool,
        most: int | None = None,
        cut: bool = False,
        known: Collection[str] = (),
        skip: int = 0,
    ) -> None:
        """Nothing is read yet."""
        self.stored = stored
        self.what = what
        self.reserved = tuple(reserved)
        self.block = block
        self.divert = divert
        self.most = most
        self.cut = cut
        self.known = known
        self.skip = skip

    def open(self) -> Reader:
        """The reader that the file's first bytes ask for.

        Raises:
            FormatError: The file cannot be read, or its header row cannot.
        """
        self.stored.seek(0)
        magic = self.stored.read(len(_ZIP))
        if magic == _EMPTY_ZIP:
            return CSVReader((), self.what, self.reserved)
        if magic != _ZIP:
            return self._of_pieces(self._pieces, self.what, "gzip")
        return self._of_archive()

    def _pieces(self) -> Iterator[bytes]:
        """The decompressed bytes, from the beginning."""
        self.stored.seek(0)
        return decompress(self.stored, self.what, self.most, cut=self.cut)

    def _of_pieces(self, pieces: Callable[[], Iterator[bytes]], what: str, within: str) -> Reader:
        """A reader of decompressed bytes.

        Args:
            pieces: Gives them, from the beginning each time.
            what: The file, or the one in an archive, as messages name it.
            within: What another archive cannot be in.
        """
        text = _as_utf_8(pieces(), what, cut=self.cut)
        head = b""
        for piece in text:
            head += piece
            if len(head) >= 1 << 12:
                break
        if head.startswith(_ZIP):
            msg = f"{what}: a zip archive within {within} is not read"
            raise FormatError(msg, "ask for exports as gzip or zip")
        if is_gzip(head):
            msg = f"{what}: gzip within gzip is not read"
            raise FormatError(msg, "ask for exports that are compressed once")
        if _JSON.match(head):
            return JSONReader(
                lambda: _as_utf_8(pieces(), what, cut=self.cut),
                what,
                self.reserved,
                self.known,
                divert=self.divert,
                cut=self.cut,
            )
        return CSVReader(
            chain((head,), text),
            what,
            self.reserved,
            self.known,
            block=self.block,
            divert=self.divert,
            cut=self.cut,
        )

    def _of_archive(self) -> Reader:
        """A reader of a workbook, or of the files in a zip archive, one after the other."""
        try:
            archive = zipfile.ZipFile(self.stored)
        except Exception as error:  # noqa: BLE001 - zipfile raises what it likes
            if self.cut:
                # An archive's contents are listed at its end: it says nothing yet.
                return CSVReader((), self.what, self.reserved)
            msg = f"{self.what}: the zip archive cannot be read ({shown(str(error))})"
            raise FormatError(msg, _ARCHIVE_HINT) from None
        members = [
            member
            for member in sorted(archive.infolist(), key=lambda member: member.filename)
            if not member.filename.endswith("/") and not _LITTER.fullmatch(member.filename)
        ]
        unpacked = sum(member.file_size for member in members)
        packed = sum(member.compress_size for member in members)
        if unpacked > max(_LARGE, HIGHEST_RATIO * packed):
            msg = f"{self.what}: it decompresses to more than {HIGHEST_RATIO} times its size"
            raise FormatError(msg, "report the file to its vendor")
        if any(member.flag_bits & 1 for member in members):
            msg = f"{self.what}: the zip archive is encrypted"
            raise FormatError(msg, "ask for exports without a password")
        if is_workbook(archive):
            workbook = Workbook(archive, self.what)
            if not self.cut:
                workbook.prove()
            return WorkbookReader(
                workbook,
                self.reserved,
                divert=self.divert,
                skip=self.skip,
                beginning=self.cut,
            )
        if self.cut:
            return CSVReader((), self.what, self.reserved)
        # Nothing may be emitted from a file before all of it is proven.
        for member in members:
            for _ in self._unpack(archive, member):
                pass
        readers = {
            shown(member.filename): self._of_pieces(
                partial(self._unpack, archive, member), self._name(member), "a zip archive"
            )
            for member in members
        }
        return _Chained(readers, self.what) if readers else CSVReader((), self.what)

    def _name(self, member: zipfile.ZipInfo) -> str:
        """A file in an archive, as messages name it."""
        return f"{self.what}: {shown(member.filename)}"

    def _unpack(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """The bytes of a file in an archive, without gzip.

        Raises:
            FormatError: They, or the gzip data, are damaged.
        """
        gunzip = Gunzip()
        try:
            with archive.open(member) as file:
                for chunk in iter(lambda: file.read(PIECE), b""):
                    yield from gunzip.feed(chunk)
        except Exception as error:  # noqa: BLE001 - zipfile raises what it likes
            msg = f"{self._name(member)}: the zip archive cannot be read ({shown(str(error))})"
            raise FormatError(msg, _ARCHIVE_HINT) from None
        if gunzip.fault:
            msg = f"{self._name(member)}: the file is damaged: {gunzip.fault}"
            raise FormatError(msg, _ARCHIVE_HINT)
        yield gunzip.end()


class _Chained:
    """The rows of several files of one archive, as if of one."""

    def __init__(self, readers: Mapping[str, Reader], what: str) -> None:
        """Raises FormatError where their columns differ.

        Args:
            readers: Name of the file in the archive → its reader.
            what: The archive, as messages name it.
        """
        found = {name: reader for name, reader in readers.items() if reader.columns}
        first = next(iter(found.values()), None)
        self._readers = list(readers.values())
        self.labels = first.labels if first else []
        self.columns = first.columns if first else []
        for name, reader in found.items():
            if set(reader.columns) != set(self.columns):
                pair = f"{next(iter(found))} and {name}"
                msg = f"{what}: the files in the zip archive have different columns ({pair})"
                raise FormatError(msg, _ARCHIVE_HINT)

    def refuse(self, reason: str) -> None:
        for reader in self._readers:
            reader.refuse(reason)

    def __iter__(self) -> Iterator[Batch]:
        before = 0
        for reader in self._readers:
            last = before
            for batch in reader:
                malformed = [Malformed(m.number + before, m.raw, m.reason) for m in batch.malformed]
                if reader.columns:
                    frame = batch.frame.select(self.columns)
                else:  # each of its rows is malformed
                    frame = pl.DataFrame(schema=dict.fromkeys(self.columns, pl.String))
                yield Batch(frame, batch.numbers + before, malformed)
                last = before + batch.last
            before = last


def _as_utf_8(pieces: Iterator[bytes], what: str, *, cut: bool) -> Iterator[bytes]:
    """The same text in UTF-8, where its first two bytes say that it is UTF-16."""
    first = b""
    while len(first) < 2 and (piece := next(pieces, None)) is not None:
        first += piece
    if not first.startswith(_UTF_16):
        yield first
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder("utf-16")()
    done = 0
    for piece in chain((first,), pieces, (b"",)):
        try:
            text = decoder.decode(piece, final=not piece and not cut)
        except UnicodeDecodeError as error:
            msg = f"{what}: its bytes are not UTF-16 from byte {done + error.start} on"
            raise FormatError(msg, "ask for exports in UTF-8") from None
        done += len(piece)
        yield text.encode(errors="surrogatepass")
