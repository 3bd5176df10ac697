"""Opens a file with the reader its format needs; formats are detected by bytes, not by name.

================  =====================================================================
first bytes       format
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
import io
import re
import zipfile
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import IO, TYPE_CHECKING, cast

from filetap.download.gunzip import (
    HIGHEST_RATIO,
    PIECE,
    Gunzip,
    decompress,
    is_gzip,
)
from filetap.download.views import Again
from filetap.errors import FormatError
from filetap.lazy import pl
from filetap.read.batch import DEFAULTS, Batch, Malformed, ReadOptions, without_texts
from filetap.read.csv_fast import CSVReader
from filetap.read.keyed import KeyedReader
from filetap.read.names import shown
from filetap.read.protected import ProtectedReader

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from filetap.download.spool import Spooled
    from filetap.read.batch import Reader

_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# A "[" alone may begin a CSV label, so a JSON value has to follow it.
_JSON = re.compile(rb'(?:\xef\xbb\xbf)?\s*+(?:\{|\[\s*+(?:[\[\]{"]|null|true|false|-?[0-9]))')
_HEAD = 1 << 12  # bytes that distinguish JSON from CSV
_LARGE = 256 << 20  # bytes; an archive that unpacks to less is harmless, whatever its ratio
_LITTER = re.compile(  # files that desktop systems leave in archives
    r"(?is)(?:.*[/\\])?(?:__MACOSX[/\\].*|\._[^/\\]*|\.DS_Store|Thumbs\.db|desktop\.ini)"
)
_ARCHIVE_HINT = "report the file to its vendor"


def open_file(spooled: Spooled, options: ReadOptions = DEFAULTS) -> Reader:
    """Open a downloaded file's rows, from its beginning.

    Args:
        spooled: The file.
        options: How to read it; a file that is not whole is *cut* in any case.

    Raises:
        FormatError: The file, or its header row, cannot be read.
        SettingsError: Every column is to be left out.
    """
    options = replace(options, cut=options.cut or not spooled.whole, integers=_integers(options))
    what = str(spooled.file)
    reader = open_reader(spooled.stored, what, options)
    if options.nulls:
        reader = WithNulls(reader, options.nulls)
    if options.required:
        again = partial(_open_again, spooled, options)
        reader = KeyedReader(reader, again, what, options)
    if options.protection:
        reader = ProtectedReader(reader, options.protection, what)
    return reader


def _integers(options: ReadOptions) -> Sequence[str]:
    """The columns that may come as integers: those whose cells are compared with no text."""
    if any(text.removeprefix("-").isdecimal() for text in options.nulls):
        return ()
    return [name for name in options.integers if name not in options.required]


def _open_again(spooled: Spooled, options: ReadOptions) -> Reader:
    """A second reader of a file; it does not disturb the first one."""
    stored = cast("IO[bytes]", io.BufferedReader(Again(spooled.stored, spooled.size)))
    return open_reader(stored, str(spooled.file), options)


def open_reader(stored: IO[bytes], what: str, options: ReadOptions = DEFAULTS) -> Reader:
    """Open a file's rows, from its beginning.

    Args:
        stored: The bytes as stored, verified unless they are cut.
        what: The file, as messages name it.
        options: How to read it.

    Raises:
        FormatError: The file, or its header row, cannot be read.
        IntegrityError: Its gzip data are damaged.
    """
    options = replace(options, cut=options.cut or options.most is not None)
    stored.seek(0)
    magic = stored.read(len(_ZIP))
    if magic == _EMPTY_ZIP:
        return CSVReader((), what, options)
    if magic == _ZIP:
        return _archive_reader(stored, what, options)

    def pieces() -> Iterator[bytes]:
        stored.seek(0)
        return decompress(stored, what, options.most, cut=options.cut)

    return _text_reader(pieces, what, "gzip", options)


def _text_reader(
    pieces: Callable[[], Iterator[bytes]], what: str, container: str, options: ReadOptions
) -> Reader:
    """A reader of decompressed CSV or JSON.

    Args:
        pieces: Returns the bytes, from the beginning at each call: JSON is read twice.
        what: The file, or the one in an archive, as messages name it.
        container: What the bytes were in; no second archive is opened.
        options: How to read them.
    """
    text = _as_utf_8(pieces(), what, cut=options.cut)
    head = b""
    for piece in text:
        head += piece
        if len(head) >= _HEAD:
            break
    if head.startswith(_ZIP):
        msg = f"{what}: a zip archive inside {container} is not supported"
        raise FormatError(msg, "ask for exports as gzip or zip")
    if is_gzip(head):
        msg = f"{what}: gzip inside gzip is not supported"
        raise FormatError(msg, "ask for exports that are compressed once")
    if _JSON.match(head):
        from filetap.read.json_lines import JSONReader  # noqa: PLC0415 - most runs read none

        return JSONReader(lambda: _as_utf_8(pieces(), what, cut=options.cut), what, options)
    return CSVReader(chain((head,), text), what, options)


def _archive_reader(stored: IO[bytes], what: str, options: ReadOptions) -> Reader:
    """A reader of a workbook, or of the files in a zip archive, one after the other."""
    try:
        archive = zipfile.ZipFile(stored)
    except Exception as error:  # noqa: BLE001 - zipfile raises many types
        if options.cut:
            # An archive lists its contents at its end, so its beginning has no rows yet.
            return CSVReader((), what, options)
        msg = f"{what}: the zip archive cannot be read ({shown(str(error))})"
        raise FormatError(msg, _ARCHIVE_HINT) from None
    members = [
        member
        for member in sorted(archive.infolist(), key=lambda member: member.filename)
        if not member.filename.endswith("/") and not _LITTER.fullmatch(member.filename)
    ]
    _check_archive(members, what)
    from filetap.read.workbook import Workbook, is_workbook  # noqa: PLC0415 - most runs read none
    from filetap.read.worksheet import WorkbookReader  # noqa: PLC0415

    if is_workbook(archive):
        workbook = Workbook(archive, what)
        if not options.cut:
            workbook.verify()
        return WorkbookReader(workbook, options)
    if options.cut:
        return CSVReader((), what, options)
    files = [(member, f"{what}: {shown(member.filename)}") for member in members]
    # Each is unpacked to its end first, which checks its CRC: no row may be emitted from an
    # archive before all of it is verified.
    for member, name in files:
        for _ in _unpack(archive, member, name):
            pass
    readers = [
        _text_reader(partial(_unpack, archive, member, name), name, "a zip archive", options)
        for member, name in files
    ]
    names = [shown(member.filename) for member in members]
    return _Chained(names, readers, what) if readers else CSVReader((), what)


def _check_archive(members: Sequence[zipfile.ZipInfo], what: str) -> None:
    """Refuse an archive that would fill the memory, or that needs a password.

    Raises:
        FormatError: It is encrypted, or decompresses to too many times its size.
    """
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if unpacked > max(_LARGE, HIGHEST_RATIO * packed):
        msg = f"{what}: it decompresses to more than {HIGHEST_RATIO} times its size"
        raise FormatError(msg, _ARCHIVE_HINT)
    if any(member.flag_bits & 1 for member in members):
        msg = f"{what}: the zip archive is encrypted"
        raise FormatError(msg, "ask for exports without a password")


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str) -> Iterator[bytes]:
    """Decompress a file in an archive, its gzip too if it has any.

    Raises:
        FormatError: The archive, or the gzip data in it, are damaged.
    """
    gunzip = Gunzip()
    try:
        with archive.open(member) as file:
            for chunk in iter(lambda: file.read(PIECE), b""):
                yield from gunzip.feed(chunk)
    except Exception as error:  # noqa: BLE001 - zipfile raises many types
        msg = f"{what}: the zip archive cannot be read ({shown(str(error))})"
        raise FormatError(msg, _ARCHIVE_HINT) from None
    if gunzip.fault:
        msg = f"{what}: the file is damaged: {gunzip.fault}"
        raise FormatError(msg, _ARCHIVE_HINT)
    yield gunzip.end()


class WithNulls:
    """The rows of a reader, in which some texts stand for null.

    Args:
        reader: The reader.
        texts: The texts.
    """

    def __init__(self, reader: Reader, texts: Collection[str]) -> None:
        self._reader = reader
        self._texts = list(texts)
        self.labels: Sequence[str] = reader.labels
        self.columns = reader.columns

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*."""
        self._reader.refuse(reason)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rows in batches, in order."""
        for batch in self._reader:
            yield replace(batch, frame=without_texts(batch.frame, self._texts))


class _Chained:
    """The rows of several files of one archive, as if they were one file."""

    def __init__(self, names: Sequence[str], readers: Sequence[Reader], what: str) -> None:
        """Check that the files have the same columns, in any order.

        Args:
            names: The files' names in the archive, for messages.
            readers: Their readers.
            what: The archive, as messages name it.

        Raises:
            FormatError: Their columns differ.
        """
        self._readers = readers
        pairs = zip(names, readers, strict=True)
        with_columns = [(name, reader) for name, reader in pairs if reader.columns]
        self.labels: Sequence[str] = with_columns[0][1].labels if with_columns else []
        self.columns = with_columns[0][1].columns if with_columns else []
        for name, reader in with_columns:
            if set(reader.columns) != set(self.columns):
                pair = f"{with_columns[0][0]} and {name}"
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
    """Yield UTF-16 text as UTF-8 if it begins with a byte order mark; other bytes unchanged."""
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
            msg = f"{what}: its bytes are not valid UTF-16 from byte {done + error.start} on"
            raise FormatError(msg, "ask for exports in UTF-8") from None
        done += len(piece)
        yield text.encode()
