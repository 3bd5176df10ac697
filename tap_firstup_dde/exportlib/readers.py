"""From proven bytes to batches, whatever the file is: told by its bytes, never by its name.

================  =====================================================================
it begins with    it is
================  =====================================================================
``1f 8b``         gzip of one or several members, around CSV or JSON
``PK 03 04``      a workbook (XLSX), else a zip archive of CSV or JSON files
``fe ff, ff fe``  UTF-16, which becomes UTF-8 here
``{``             JSON objects, one after the other
``[``             a JSON array of objects
anything else     CSV
================  =====================================================================
"""

from __future__ import annotations

import codecs
import json
import re
import zipfile
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Protocol

import msgspec
import polars as pl

from tap_firstup_dde.exportlib.compression import HIGHEST_RATIO, PIECE, decompress, is_gzip
from tap_firstup_dde.exportlib.exceptions import FormatError
from tap_firstup_dde.exportlib.formats import (
    LONGEST_ROW,
    MALFORMED_HINT,
    MOST_COLUMNS,
    Batch,
    CSVReader,
    Malformed,
    column_names,
)
from tap_firstup_dde.exportlib.workbook import Workbook, is_workbook
from tap_firstup_dde.exportlib.worksheet import WorkbookReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

ROWS = 10_000  # of a batch of JSON objects or of a workbook
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_JSON = re.compile(rb'(?:\xef\xbb\xbf)?\s*+(?:\{|\[\s*+(?:[\[\]{"]|null|true|false|-?[0-9]))')
_LARGE = 256 << 20  # bytes; what an archive unpacks to below that does no harm
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?P<end>"?)|[{}\[\]]', re.DOTALL)

Cell = str | None


class Reader(Protocol):
    """A file's rows.

    Attributes:
        columns: Names of its columns.
    """

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
            return self._of_pieces(self._pieces)
        return self._of_archive()

    def _pieces(self) -> Iterator[bytes]:
        """The decompressed bytes, from the beginning."""
        self.stored.seek(0)
        return decompress(self.stored, self.what, self.most, cut=self.cut)

    def _of_pieces(self, pieces: Callable[[], Iterator[bytes]]) -> Reader:
        """A reader of decompressed bytes."""
        text = _as_utf_8(pieces(), self.what, cut=self.cut)
        head = b""
        for piece in text:
            head += piece
            if len(head) >= 1 << 12:
                break
        if head.startswith(_ZIP):
            msg = f"{self.what}: a zip archive within gzip is not read"
            raise FormatError(msg, "ask for exports as gzip or zip")
        if is_gzip(head):
            msg = f"{self.what}: gzip within gzip is not read"
            raise FormatError(msg, "ask for exports that are compressed once")
        if _JSON.match(head):
            return JSONReader(lambda: _as_utf_8(pieces(), self.what, cut=self.cut), self)
        return CSVReader(
            chain((head,), text),
            self.what,
            self.reserved,
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
            msg = f"{self.what}: the zip archive cannot be read ({error})"
            raise FormatError(msg, "report the file to its vendor") from None
        members = [
            member
            for member in sorted(archive.infolist(), key=lambda member: member.filename)
            if not member.filename.endswith("/") and not member.filename.startswith("__MACOSX/")
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
        # Nothing may go out of a file before all of it is proven.
        for member in members:
            for _ in _member(archive, member, self.what)():
                pass
        readers = [self._of_pieces(_member(archive, member, self.what)) for member in members]
        return _Chained(readers, self.what) if readers else CSVReader((), self.what)


def _member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str
) -> Callable[[], Iterator[bytes]]:
    """The bytes of a file in an archive, from the beginning each time; its CRC is checked."""

    def pieces() -> Iterator[bytes]:
        try:
            with archive.open(member) as file:
                yield from iter(lambda: file.read(PIECE), b"")
        except Exception as error:  # noqa: BLE001 - zipfile raises what it likes
            msg = f"{what}: the zip archive cannot be read ({error})"
            raise FormatError(msg, "report the file to its vendor") from None

    return pieces


class _Chained:
    """The rows of several files of one archive, as if of one."""

    def __init__(self, readers: Sequence[Reader], what: str) -> None:
        """Raises FormatError where their columns differ."""
        self._readers = [reader for reader in readers if reader.columns]
        self.columns = self._readers[0].columns if self._readers else []
        if any(set(reader.columns) != set(self.columns) for reader in self._readers):
            msg = f"{what}: the files in the zip archive have different columns"
            raise FormatError(msg, "report the file to its vendor")

    def refuse(self, reason: str) -> None:
        for reader in self._readers:
            reader.refuse(reason)

    def __iter__(self) -> Iterator[Batch]:
        before = 0
        for reader in self._readers:
            last = before
            for batch in reader:
                malformed = [Malformed(m.number + before, m.raw, m.reason) for m in batch.malformed]
                frame = batch.frame.select(self.columns)
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

    columns: list[str]

    def __init__(self, source: Source) -> None:
        self._source = source
        self._refused = ""

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*."""
        self._refused = reason

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
        for number, (raw, row, unreadable) in enumerate(self._rows(), start=1):
            fault = unreadable or self._refused
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


class JSONReader(_Rows):
    """JSON objects, one after the other or in an array; a column for each member's name.

    Numbers are the text that stands there, nested values JSON, true and false these words.
    """

    def __init__(self, pieces: Callable[[], Iterator[bytes]], source: Source) -> None:
        """Read all objects once for their names."""
        super().__init__(source)
        self._pieces = pieces
        labels: dict[str, None] = {}
        for element in _objects(pieces(), source):
            labels.update(dict.fromkeys(_members(element) or ()))
            if len(labels) > MOST_COLUMNS:
                msg = f"{source.what}: it has more than {MOST_COLUMNS} columns"
                raise FormatError(msg, "look at the file: it is not an export")
        self._labels = list(labels)
        self.columns = column_names(self._labels, source.reserved)

    def _rows(self) -> Iterator[tuple[str, Sequence[Cell], str]]:
        for element in _objects(self._pieces(), self._source):
            members = _members(element)
            raw = element.decode(errors="backslashreplace")
            if members is None or not self._labels:
                yield raw, (), "it is no JSON object in UTF-8 with members that differ"
            else:
                yield raw, [_cell(members.get(label)) for label in self._labels], ""


def _members(element: bytes) -> dict[str, msgspec.Raw] | None:
    """An object's members, not decoded; None for what is no object."""
    try:
        json.loads(element.decode(), object_pairs_hook=_different)
        return msgspec.json.decode(element, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None


def _different(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; ValueError where two members have one name."""
    members = dict(pairs)
    if len(members) < len(pairs):
        message = "two members of one name"
        raise ValueError(message)
    return members


def _cell(value: msgspec.Raw | None) -> Cell:
    """A member's value as text."""
    text = b"null" if value is None else bytes(value)
    if text == b"null":
        return None
    return msgspec.json.decode(text, type=str) if text.startswith(b'"') else text.decode()


def _objects(pieces: Iterator[bytes], source: Source) -> Iterator[bytes]:
    """The objects of a file: its lines, where each is one, else what its brackets enclose."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= PIECE:
            break
    lines = [line for line in head.removeprefix(codecs.BOM_UTF8).split(b"\n")[:9] if line.strip()]
    follows = len(lines) > 1 and lines[1].startswith(b"{")
    by_line = lines and lines[0].startswith(b"{") and (follows or _members(lines[0]) is not None)
    pieces = chain((head,), pieces)
    yield from _lines(pieces, source) if by_line else _elements(pieces, source)


def _lines(pieces: Iterator[bytes], source: Source) -> Iterator[bytes]:
    """The lines that are not blank; a last one that is cut off is left out of a file that is."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        if len(rest) > LONGEST_ROW:
            msg = f"{source.what}: a JSON object is longer than {LONGEST_ROW} bytes"
            raise FormatError(msg, "report the file to its vendor")
        for line in whole:
            yield from _between(line)
    if not source.cut:
        yield from _between(rest)


def _elements(  # noqa: C901, PLR0912 - one pass over the brackets
    pieces: Iterator[bytes], source: Source
) -> Iterator[bytes]:
    """The elements of an array, or the objects that follow each other, as they stand.

    What stands between two of them, but for blanks and commas, is an element too, and none
    that can be read. A last one that is cut off is left out of a file that is.
    """
    data, depth, start, at = b"", 0, 0, 0
    base = -1  # depth of the elements: 1 in an array, else 0
    for piece in chain(pieces, (b"",)):
        data += piece
        if len(data) > LONGEST_ROW:
            msg = f"{source.what}: a JSON object is longer than {LONGEST_ROW} bytes"
            raise FormatError(msg, "report the file to its vendor")
        while match := _TOKEN.search(data, at):
            sign = match[0]
            if match["end"] == b"":
                at = match.start()  # the string goes on in the next piece
                break
            if match["end"] is None:
                if base < 0:
                    base = 1 if sign == b"[" else 0
                    if base:
                        depth, start, at = 1, match.end(), match.end()
                        continue
                opens = sign in b"{["
                if opens and depth == base:
                    yield from _between(data[start : match.start()])
                    start = match.start()
                depth += 1 if opens else -1
                if not opens and depth == base:
                    yield data[start : match.end()]
                    start = match.end()
                elif depth < base:
                    yield from _between(data[start : match.start()])
                    start = match.end()
                    if sign != b"]":
                        yield sign  # it closes no array
            at = match.end()
        # What is whole is not looked at again.
        data, at, start = data[start:], max(0, at - start), 0
    if not source.cut:
        yield from _between(data)
        if base == 1 and depth > 0 and not data.strip(b" \t\r\n,\xef\xbb\xbf"):
            yield b"["  # never closed


def _between(data: bytes) -> Iterator[bytes]:
    """What stands between elements, where it is more than blanks and commas."""
    if rest := data.strip(b" \t\r\n,\xef\xbb\xbf"):
        yield rest
