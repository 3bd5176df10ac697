"""XML that is parsed piece by piece, within bounds."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LONGEST_ITEM = 64 << 20  # bytes of one row or one text
PART = 64  # bytes that a piece of text takes in memory beside its characters
SEPARATOR = " "  # between the namespace and the name of a tag
_LONGEST_TAG = 4 << 20  # bytes of one tag, which the parser scans again with each piece
_SPREADSHEETS = (
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    "http://purl.oclc.org/ooxml/spreadsheetml/main",
)


class Events:
    """Takes the events of an XML part: none, unless a subclass does."""

    def start(self, name: str, attributes: dict[str, str], /) -> None:
        """Take a start tag.

        Raises:
            ValueError: It is not acceptable.
        """

    def end(self, name: str) -> None:
        """Take an end tag.

        Raises:
            ValueError: It is not acceptable.
        """

    def data(self, text: str) -> None:
        """Take a piece of text."""

    def unfinished(self) -> int:
        """Bytes, roughly, that are held for an item whose end is still to come.

        Raises:
            ValueError: It is not acceptable.
        """
        return 0


def parse(pieces: Iterable[bytes], handler: Events) -> Iterator[None]:
    """Parse a document piece by piece: *handler* takes the events of each.

    Raises:
        ValueError: It is not XML, *handler* refuses it, or it is beyond the bounds.
    """
    parser = expat.ParserCreate(namespace_separator=SEPARATOR)
    parser.buffer_text = True
    parser.buffer_size = 1 << 16
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.data
    parser.StartDoctypeDeclHandler = _refuse_document_type
    fed = 0
    for piece in chain(pieces, (b"",)):
        fed += len(piece)
        try:
            parser.Parse(piece, not piece)
        except (expat.ExpatError, LookupError) as error:
            refuse(str(error))
        if handler.unfinished() > LONGEST_ITEM:
            refuse(f"an item is longer than {LONGEST_ITEM} bytes")
        # Of a tag, the parser has passed nothing before its end.
        if fed - parser.CurrentByteIndex > _LONGEST_TAG:
            refuse(f"a tag is longer than {_LONGEST_TAG} bytes")
        yield


def tags(*names: str) -> Mapping[str, str]:
    """The tags of spreadsheets as the parser gives them → their local names."""
    prefixes = ("", *(f"{namespace}{SEPARATOR}" for namespace in _SPREADSHEETS))
    return {prefix + name: name for prefix in prefixes for name in names}


def refuse(reason: str) -> NoReturn:
    """Raise the ValueError that a part is not acceptable."""
    raise ValueError(reason)


def _refuse_document_type(*_: object) -> NoReturn:
    """Refuse a document type: no part has one, and its entities could grow without end."""
    refuse("it has a document type")
