"""An XLSX package: its sheets, its shared texts and its number formats."""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from array import array
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

import numpy as np
import polars as pl
from isal import isal_zlib

from filetap.errors import FormatError
from filetap.read.cells import unescaped
from filetap.read.items import Items
from filetap.read.markup import PART, Events, parse, tags
from filetap.read.names import shown
from filetap.read.workbook_parts import Book, Relations, Styles
from filetap.read.xml_text import shared_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from filetap.read.items import Block

HINT = "report the file to its vendor"
_MOST_TEXT = 256 << 20  # bytes of all shared texts
_MOST_XML = 4 << 30  # bytes of one part
_LARGE = 64 << 20  # bytes; a smaller part is harmless, whatever its ratio
_HIGHEST_RATIO = 200  # of a part; sheets with a reference in each cell stay below 50
_PIECE = 1 << 16  # bytes of XML parsed at a time
_WORKBOOK = "xl/workbook.xml"  # unless the package names another part

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A visible sheet of cells.

    Attributes:
        name: The name on its tab.
        part: Name of its part in the package.
    """

    name: str
    part: str


class Workbook:
    """A workbook, read only as far as rows need it.

    Attributes:
        what: The file, as messages name it.
        stored: The file itself; None once it is closed.
        sheets: The visible sheets of cells, in order.
        has_hidden: True if other sheets of cells are hidden.
        since_1904: True if dates count from 1904.
        texts: The shared texts.
        kinds: Style, by the number that cells use → its kind, for styles of times and durations.
    """

    def __init__(self, archive: zipfile.ZipFile, what: str) -> None:
        """Read all parts but shared texts and sheets.

        Raises:
            FormatError: A required part is missing or cannot be read.
        """
        self.what = what
        self.stored = archive.fp
        self._archive = archive
        self._members = {_key(member.filename): member for member in archive.infolist()}
        main = _WORKBOOK
        if _key(_relations_of("")) in self._members:
            main = next(iter(self._related("", "/officeDocument").values()), main)
        book = Book()
        self._parse(main, book)
        sheets = self._related(main, "/worksheet")
        others = self._related(main, "sheet")  # charts, dialogues, macros
        for name, relation, visible in book.sheets:
            if visible and relation not in others:
                raise self.error(main, f"the sheet {shown(name)} has no part")
        cells = [sheet for sheet in book.sheets if sheet[1] in sheets]
        self.sheets = [Sheet(name, sheets[at]) for name, at, visible in cells if visible]
        self.has_hidden = len(self.sheets) < len(cells)
        if not self.sheets:
            raise self.error(main, "none of its sheets is visible" if cells else "it has no sheet")
        if len({_key(sheet.part) for sheet in self.sheets}) < len(self.sheets):
            raise self.error(main, "two sheets share one part")
        self.since_1904 = book.since_1904
        styles = Styles()
        for part in self._related(main, "/styles").values():
            try:
                self._parse(part, styles)
            except FormatError:
                if not styles.is_complete:
                    raise
        self.kinds = styles.kinds()
        shared = next(iter(self._related(main, "/sharedStrings").values()), None)
        self.texts = SharedTexts(self, shared)

    def verify(self) -> None:
        """Read every part to its end, which checks its CRC.

        Raises:
            FormatError: A part is damaged.
        """
        for member in self._members.values():
            for _ in self._pieces(member.filename):
                pass

    def error(self, part: str, reason: str) -> FormatError:
        """An error that says why *part* cannot be read."""
        msg = f"{self.what}: the workbook cannot be read ({shown(part)}: {reason})"
        return FormatError(msg, HINT)

    def events(self, part: str, handler: Events) -> Iterator[None]:
        """Parse a part, yielding after each piece, when *handler* has taken its events.

        Raises:
            FormatError: The part is missing, damaged or not XML, or *handler* refuses it.
        """
        try:
            yield from parse(self._pieces(part), handler)
        except ValueError as error:
            raise self.error(part, str(error)) from None

    def items(
        self, part: str, handler: Events, names: tuple[str, str], fast: Callable[[Block], T | None]
    ) -> Iterator[T | None]:
        """Yield what *fast* makes of a block of items, or None when *handler* has taken events.

        Args:
            part: Name of the part.
            handler: Receives the events of blocks for which *fast* returns None.
            names: Local names of the element that holds the items, and of an item.
            fast: Reads a block.

        Raises:
            FormatError: The part is missing, damaged or not XML, or *handler* refuses it.
        """
        try:
            yield from Items(self._pieces(part), handler, names, _PIECE).read(fast)
        except ValueError as error:
            raise self.error(part, str(error)) from None

    def _parse(self, part: str, handler: Events) -> None:
        """Parse a whole part."""
        for _ in self.events(part, handler):
            pass

    def _pieces(self, part: str) -> Iterator[bytes]:
        """Yield the bytes of a part; at the end its CRC is checked."""
        member = self._members.get(_key(part))
        if member is None:
            raise self.error(part, "it is missing")
        if member.file_size > _MOST_XML:
            raise self.error(part, f"it is longer than {_MOST_XML} bytes")
        if member.file_size > max(_LARGE, _HIGHEST_RATIO * member.compress_size):
            msg = f"{self.what}: it decompresses to more than {_HIGHEST_RATIO} times its size"
            raise FormatError(msg, HINT)
        try:
            yield from _inflated(self._archive, member)
        except Exception as error:  # noqa: BLE001 - zipfile raises many types
            raise self.error(part, f"{error}") from None

    def _related(self, part: str, ending: str) -> Mapping[str, str]:
        """Relation's id → part, for the relations of *part* whose type has that *ending*."""
        relations = Relations()
        self._parse(_relations_of(part), relations)
        return {
            identifier: posixpath.normpath(
                posixpath.join("/", posixpath.dirname(part), unquote(target))
            ).lstrip("/")
            for identifier, kind, target in relations.found
            if kind.endswith(ending)
        }


def _inflated(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the bytes of a member, not more than it declares; at the end its CRC is checked.

    Zipfile would inflate with zlib, which takes almost three times as long as isal. So it is asked
    for the stored bytes, as if they were not compressed.

    Raises:
        Exception: The member is damaged; zipfile and isal raise many types.
    """
    if member.compress_type != zipfile.ZIP_DEFLATED:
        with archive.open(member) as file:
            yield from iter(lambda: file.read(_PIECE), b"")
        return
    stored = copy(member)
    stored.compress_type, stored.file_size = zipfile.ZIP_STORED, member.compress_size
    del stored.CRC  # it is that of the inflated bytes
    inflater = isal_zlib.decompressobj(-zlib.MAX_WBITS)
    size = checksum = 0
    with archive.open(stored) as file:
        while not inflater.eof:
            data = inflater.unconsumed_tail or file.read(_PIECE)
            piece = inflater.decompress(data, _PIECE)
            if not data and not piece:
                break
            size += len(piece)
            checksum = isal_zlib.crc32(piece, checksum)
            if piece and size <= member.file_size:
                yield piece
    if (size, checksum) != (member.file_size, member.CRC):
        msg = f"Bad CRC-32 for file {member.filename!r}"
        raise zipfile.BadZipFile(msg)


def is_workbook(archive: zipfile.ZipFile) -> bool:
    """True if the archive has the parts of a workbook's package."""
    names = {_key(name) for name in archive.namelist()}
    return _WORKBOOK in names or {"[content_types].xml", _relations_of("")} <= names


class SharedTexts:
    """The texts that cells refer to by number, read as far as needed.

    They are kept as UTF-8 in one buffer: a fraction of the memory of as many strings.
    """

    def __init__(self, workbook: Workbook, part: str | None) -> None:
        self._workbook = workbook
        self._text = bytearray()
        self._ends = array("I", [0])
        self._read = self._pieces(part) if part else iter(())

    def get(self, index: int) -> str | None:
        """The text with that number, from 0; None if there is no such text.

        Raises:
            FormatError: The shared texts cannot be read, or are too long.
        """
        if index + 1 >= len(self._ends):
            for _ in self._read:
                if index + 1 < len(self._ends):
                    break
            else:
                return None
        return self._text[self._ends[index] : self._ends[index + 1]].decode()

    def take(self, indices: NDArray[np.int64], most: int) -> pl.Series | None:
        """The texts with those numbers; None if one is missing, or they are longer than *most*.

        Raises:
            FormatError: The shared texts cannot be read, or are too long.
        """
        highest = int(indices.max())
        while highest + 1 >= len(self._ends):
            if next(self._read, False) is False:
                return None
        distinct, places = np.unique(indices, return_inverse=True)
        ends = self._ends
        bounds = [(ends[index], ends[index + 1]) for index in distinct.tolist()]
        sizes = np.array([end - start for start, end in bounds])
        if int(sizes[places].sum()) > most:
            return None
        texts = [self._text[start:end].decode() for start, end in bounds]
        return pl.Series(texts, dtype=pl.String).gather(places)

    def _pieces(self, part: str) -> Iterator[None]:
        """Read more texts, yielding after each piece."""
        handler = _Texts()
        for texts in self._workbook.items(part, handler, ("sst", "si"), _shared_texts):
            if texts is not None:
                self._add(texts)
            for text in handler.found:
                self._text += unescaped(text).encode()
                self._ends.append(len(self._text))
            handler.found.clear()
            if len(self._text) + 4 * len(self._ends) > _MOST_TEXT:
                reason = f"its texts are longer than {_MOST_TEXT} bytes"
                raise self._workbook.error(part, reason)
            yield

    def _add(self, texts: pl.Series) -> None:
        """Add texts that a block had."""
        ends = texts.str.len_bytes().cast(pl.Int64).cum_sum().to_numpy() + len(self._text)
        self._text += "".join(texts).encode()
        self._ends.frombytes(ends.astype(np.uintc).tobytes())


def _shared_texts(block: Block) -> pl.Series | None:
    """The texts of a block; None if it is not regular."""
    return shared_texts(block.data)


class _Texts(Events):
    """Collects the shared texts.

    Attributes:
        found: Complete texts that the caller has not taken yet.
    """

    _TAGS = tags("sst", "si", "t", "rPh")

    def __init__(self) -> None:
        self.found: list[str] = []
        self._parts: list[str] = []
        self._is_open = self._is_phonetic = self._is_within = False
        self._depth = 0  # of items

    def start(self, name: str, _: dict[str, str], /) -> None:
        tag = self._TAGS.get(name)
        if tag == "t":
            self._is_open = not self._is_phonetic
        elif tag == "si":
            self._depth += 1
        elif tag == "sst":
            self._is_within = True
        elif tag == "rPh":
            self._is_phonetic = True

    def data(self, text: str) -> None:
        if self._is_open:
            self._parts.append(text)

    def end(self, name: str) -> None:
        tag = self._TAGS.get(name)
        if tag == "t":
            self._is_open = False
        elif tag == "si":
            self.found.append("".join(self._parts))
            self._parts.clear()
            self._depth -= 1
        elif tag == "rPh":
            self._is_phonetic = False

    @property
    def is_between(self) -> bool:
        is_inside = self._depth or self._parts or self._is_open or self._is_phonetic
        return self._is_within and not is_inside

    def unfinished(self) -> int:
        return sum(len(part) + PART for part in self._parts)


def _key(name: str) -> str:
    """A part's name in the form in which names are compared: case does not count."""
    return name.replace("\\", "/").lstrip("/").lower()


def _relations_of(part: str) -> str:
    """The name of the part with the relations of *part*; of the package if that is empty."""
    folder, name = posixpath.split(part)
    return posixpath.join(folder, "_rels", f"{name}.rels")
