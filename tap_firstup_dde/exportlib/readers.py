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
import json
import re
import zipfile
from datetime import date, datetime
from datetime import time as time_of_day
from functools import partial
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Protocol

import polars as pl

from tap_firstup_dde.exportlib.compression import (
    HIGHEST_RATIO,
    PIECE,
    Gunzip,
    decompress,
    is_gzip,
)
from tap_firstup_dde.exportlib.exceptions import FormatError
from tap_firstup_dde.exportlib.formats import MALFORMED_HINT, Batch, CSVReader, Malformed
from tap_firstup_dde.exportlib.json_objects import ROWS, JSONReader
from tap_firstup_dde.exportlib.names import column_names, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from tap_firstup_dde.exportlib.json_objects import Cell

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
        if self.cut:
            # An archive's contents are listed at its end: it says nothing yet.
            return CSVReader((), self.what, self.reserved)
        return self._of_archive()

    def _pieces(self) -> Iterator[bytes]:
        """The decompressed bytes, from the beginning."""
        self.stored.seek(0)
        return decompress(self.stored, self.most)

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
        # Nothing may go out of a file before all of it is proven.
        for member in members:
            for _ in self._unpack(archive, member):
                pass
        if "xl/workbook.xml" in archive.namelist():
            return WorkbookReader(self)
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


class _Rows:
    """Rows that come one by one, made into batches."""

    labels: Sequence[str] = ()
    columns: list[str]

    def __init__(self, source: Source) -> None:
        self._source = source

    def _rows(self) -> Iterator[tuple[str, Sequence[Cell], str]]:
        """Each row: its text, its cells, and what is wrong with it."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Batch]:
        """The rows in batches of at most `ROWS`.

        Raises:
            FormatError: A row cannot be read, and none is diverted.
        """
        cells: list[Sequence[Cell]] = []
        numbers: list[int] = []
        malformed: list[Malformed] = []
        for number, (raw, row, fault) in enumerate(self._rows(), start=1):
            if not fault:
                numbers.append(number)
                cells.append(row)
            elif self._source.divert:
                malformed.append(Malformed(number, raw, fault))
            else:
                msg = f"{self._source.what}: row {number}: {fault}"
                raise FormatError(msg, MALFORMED_HINT)
            if len(cells) + len(malformed) == ROWS:
                yield self._batch(cells, numbers, malformed)
                cells, numbers, malformed = [], [], []
        if cells or malformed:
            yield self._batch(cells, numbers, malformed)

    def _batch(
        self, cells: list[Sequence[Cell]], numbers: list[int], malformed: list[Malformed]
    ) -> Batch:
        frame = pl.DataFrame(cells, dict.fromkeys(self.columns, pl.String), orient="row")
        return Batch(frame, pl.Series(numbers, dtype=pl.Int64), malformed)


class WorkbookReader(_Rows):
    """The first sheet of a workbook (XLSX)."""

    def __init__(self, source: Source) -> None:
        """Read the header row.

        Raises:
            FormatError: The workbook cannot be read.
        """
        super().__init__(source)
        try:
            from openpyxl import load_workbook  # noqa: PLC0415 - of the extra xlsx
        except ImportError:
            msg = f"{source.what}: the file is a workbook"
            raise FormatError(msg, "install the extra xlsx, or ask for exports as CSV") from None
        source.stored.seek(0)
        try:
            # Twice: with the results that are stored, and with the formulas they are of.
            sheets = [
                load_workbook(source.stored, read_only=True, data_only=results).worksheets[0]
                for results in (True, False)
            ]
            for sheet in sheets:
                sheet.reset_dimensions()
            self._cells = zip(*(sheet.iter_rows() for sheet in sheets), strict=True)
            header, _ = next(self._cells, ((), ()))
        except Exception as error:  # noqa: BLE001 - openpyxl raises what it likes
            msg = f"{source.what}: the workbook cannot be read ({type(error).__name__})"
            raise FormatError(msg, "report the file to its vendor") from None
        labels = [_shown(cell) or "" for cell in header]
        while labels and not labels[-1]:
            labels.pop()
        self.columns = column_names(labels, source.reserved)

    def _rows(self) -> Iterator[tuple[str, Sequence[Cell], str]]:
        width = len(self.columns)
        for row, formulas in self._read():
            cells = [_shown(cell) for cell in row]
            unknown = any(
                cell is None and formula.value is not None
                for cell, formula in zip(cells, formulas, strict=True)
            )
            if not unknown and not any(cell is not None for cell in cells):
                continue
            beyond = any(cell is not None for cell in cells[width:])
            fault = f"{len(cells)} cells instead of {width}" if beyond else ""
            fault = "a formula without a stored result" if unknown else fault
            raw = json.dumps(cells, ensure_ascii=False) if fault else ""
            yield raw, [*cells[:width], *([None] * (width - len(cells)))], fault

    def _read(self) -> Iterator[Any]:
        """The sheet's rows, with those of formulas beside them."""
        try:
            yield from self._cells
        except Exception as error:  # noqa: BLE001 - openpyxl raises what it likes
            msg = f"{self._source.what}: the workbook cannot be read ({type(error).__name__})"
            raise FormatError(msg, "report the file to its vendor") from None


def _shown(cell: Any) -> Cell:
    """A workbook's cell as text: dates as ISO 8601 has them, numbers without an exponent."""
    value = cell.value
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        has_time = value.time() != time_of_day() or "h" in str(cell.number_format).lower()
        return value.isoformat(sep="T") if has_time else value.date().isoformat()
    if isinstance(value, date | time_of_day):
        return value.isoformat()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value)
