"""Collectors of what the small parts of an XLSX package hold: sheets, relations, formats."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from filetap.read.cells import BUILT_IN, kind_of
from filetap.read.markup import SEPARATOR, Events, refuse, tags

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filetap.read.cells import Kind

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


class Book(Events):
    """Collects the workbook's sheets: name, relation, and True if it is visible."""

    _TAGS = tags("workbook", "workbookPr", "sheet")

    def __init__(self) -> None:
        self.sheets: list[tuple[str, str, bool]] = []
        self.since_1904 = False
        self._is_workbook = False

    @override
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


class Relations(Events):
    """Collects the relations of a part: id, type, target."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, str]] = []

    @override
    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == _RELATIONSHIP and attributes.get("TargetMode") != "External":
            get = attributes.get
            self.found.append((get("Id", ""), get("Type", ""), get("Target", "")))


class Styles(Events):
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

    @override
    def start(self, name: str, attributes: dict[str, str]) -> None:
        tag = self._TAGS.get(name)
        if tag in {"numFmts", "cellXfs"}:
            self._within = tag
        elif tag == "numFmt" and self._within == "numFmts":
            self._codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "")
        elif tag == "xf" and self._within == "cellXfs":
            self._formats.append(attributes.get("numFmtId", ""))

    @override
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
