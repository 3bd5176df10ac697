"""An XLSX package: its sheets, its shared texts and its number formats."""

from __future__ import annotations

import posixpath
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from filetap.errors import FormatError
from filetap.read.cells import BUILT_IN, kind_of, unescaped
from filetap.read.markup import PART, SEPARATOR, Events, parse, refuse, tags
from filetap.read.names import shown

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Iterator, Mapping

    from filetap.read.cells import Kind

HINT = "report the file to its vendor"
_MOST_TEXT = 256 << 20  # bytes of all shared texts
_MOST_XML = 4 << 30  # bytes of one part
_LARGE = 64 << 20  # bytes; a smaller part is harmless, whatever its ratio
_HIGHEST_RATIO = 200  # of a part; sheets with a reference in each cell stay below 50
_PIECE = 1 << 18  # bytes of XML parsed at a time
_ID = tuple(
    f"{namespace}{SEPARATOR}id"
    for namespace in (
        "http://schemas.openxmlformats.org/officeDocument/2006/relationships",
        "http://purl.oclc.org/ooxml/officeDocument/relationships",
    )
)
_RELATIONSHIP = (
    f"http://schemas.openxmlformats.org/package/2006/relationships{SEPARATOR}Relationship"
)
_WORKBOOK = "xl/workbook.xml"  # unless the package names another part


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
        book = _Book()
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
        styles = _Styles()
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
            with self._archive.open(member) as file:
                yield from iter(lambda: file.read(_PIECE), b"")
        except Exception as error:  # noqa: BLE001 - zipfile raises many types
            raise self.error(part, f"{error}") from None

    def _related(self, part: str, ending: str) -> Mapping[str, str]:
        """Relation's id → part, for the relations of *part* whose type has that *ending*."""
        relations = _Relations()
        self._parse(_relations_of(part), relations)
        return {
            identifier: posixpath.normpath(
                posixpath.join("/", posixpath.dirname(part), unquote(target))
            ).lstrip("/")
            for identifier, kind, target in relations.found
            if kind.endswith(ending)
        }


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

    def _pieces(self, part: str) -> Iterator[None]:
        """Read more texts, yielding after each piece."""
        handler = _Texts()
        for _ in self._workbook.events(part, handler):
            for text in handler.found:
                self._text += unescaped(text).encode()
                self._ends.append(len(self._text))
            handler.found.clear()
            if len(self._text) + 4 * len(self._ends) > _MOST_TEXT:
                reason = f"its texts are longer than {_MOST_TEXT} bytes"
                raise self._workbook.error(part, reason)
            yield


class _Book(Events):
    """Collects the workbook's sheets: name, relation, and True if it is visible."""

    _TAGS = tags("workbook", "workbookPr", "sheet")

    def __init__(self) -> None:
        self.sheets: list[tuple[str, str, bool]] = []
        self.since_1904 = False
        self._is_workbook = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        tag = self._TAGS.get(name)
        if not self._is_workbook:
            if tag != "workbook":
                refuse("it is not a workbook")
            self._is_workbook = True
        elif tag == "workbookPr":
            self.since_1904 = attributes.get("date1904") in {"1", "true", "on"}
        elif tag == "sheet":
            relation = next((attributes[key] for key in _ID if key in attributes), "")
            is_visible = attributes.get("state", "visible") == "visible"
            self.sheets.append((attributes.get("name", ""), relation, is_visible))


class _Relations(Events):
    """Collects the relations of a part: id, type, target."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, str]] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == _RELATIONSHIP and attributes.get("TargetMode") != "External":
            get = attributes.get
            self.found.append((get("Id", ""), get("Type", ""), get("Target", "")))


class _Styles(Events):
    """Collects the number formats of styles; fonts and colours do not matter.

    Attributes:
        is_complete: True once all are known; the rest of the part may be broken.
    """

    _TAGS = tags("numFmts", "numFmt", "cellXfs", "xf")

    def __init__(self) -> None:
        self.is_complete = False
        self._within = ""
        self._codes: dict[str, str] = {}
        self._formats: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        tag = self._TAGS.get(name)
        if tag in {"numFmts", "cellXfs"}:
            self._within = tag
        elif tag == "numFmt" and self._within == "numFmts":
            self._codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
        elif tag == "xf" and self._within == "cellXfs":
            self._formats.append(attributes.get("numFmtId", ""))

    def end(self, name: str) -> None:
        tag = self._TAGS.get(name)
        if tag in {"numFmts", "cellXfs"}:
            self._within = ""
            self.is_complete = tag == "cellXfs"

    def kinds(self) -> Mapping[str, Kind]:
        """Style → its kind, for styles of times and durations."""
        known = {str(number): kind for number, kind in BUILT_IN.items()}
        own = {number: kind_of(code) for number, code in self._codes.items()}
        formats = {**known, **own}
        kinds = ((str(style), formats.get(number)) for style, number in enumerate(self._formats))
        return {style: kind for style, kind in kinds if kind}


class _Texts(Events):
    """Collects the shared texts.

    Attributes:
        found: Complete texts that the caller has not taken yet.
    """

    _TAGS = tags("si", "t", "rPh")

    def __init__(self) -> None:
        self.found: list[str] = []
        self._parts: list[str] = []
        self._is_open = self._is_phonetic = False

    def start(self, name: str, _: dict[str, str], /) -> None:
        tag = self._TAGS.get(name)
        if tag == "t":
            self._is_open = not self._is_phonetic
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
        elif tag == "rPh":
            self._is_phonetic = False

    def unfinished(self) -> int:
        return sum(len(part) + PART for part in self._parts)


def _key(name: str) -> str:
    """A part's name in the form in which names are compared: case does not count."""
    return name.replace("\\", "/").lstrip("/").lower()


def _relations_of(part: str) -> str:
    """The name of the part with the relations of *part*; of the package if that is empty."""
    folder, name = posixpath.split(part)
    return posixpath.join(folder, "_rels", f"{name}.rels")
