"""A bounded parser of XML, piece by piece."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LONGEST_ITEM = 64 << 20  # bytes of one row or one text
PART = 64  # bytes of memory that a piece of text takes beside its characters
SEPARATOR = " "  # between the namespace and the name of a tag
# Bytes of one tag. Expat scans an unfinished tag again with each piece: unbounded, a tag of many
# megabytes would take quadratic time.
_LONGEST_TAG = 4 << 20
_SPREADSHEETS = (
    "http://schemas.openxmlformats.org/spreadsheetml/2006/main",
    "http://purl.oclc.org/ooxml/spreadsheetml/main",
)


class Events:
    """Receives the events of an XML part; ignores all that a subclass does not override."""

    def start(self, name: str, attributes: dict[str, str], /) -> None:
        """Receive a start tag.

        Raises:
            ValueError: The markup is refused.
        """

    def end(self, name: str) -> None:
        """Receive an end tag.

        Raises:
            ValueError: The markup is refused.
        """

    def data(self, text: str) -> None:
        """Receive a piece of text."""

    def unfinished(self) -> int:
        """Approximate bytes of memory that the current, unfinished item takes.

        Raises:
            ValueError: The markup is refused.
        """
        return 0


def parse(pieces: Iterable[bytes], handler: Events) -> Iterator[None]:
    """Parse a document, yielding after each piece, when *handler* has taken its events.

    Raises:
        ValueError: It is not XML, *handler* refuses it, or it exceeds a bound.
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
        # The parser's position stays at the start of a tag until the tag ends.
        if fed - parser.CurrentByteIndex > _LONGEST_TAG:
            refuse(f"a tag is longer than {_LONGEST_TAG} bytes")
        yield


def tags(*names: str) -> Mapping[str, str]:
    """Tag of a spreadsheet, as the parser names it → its local name."""
    prefixes = ("", *(f"{namespace}{SEPARATOR}" for namespace in _SPREADSHEETS))
    return {prefix + name: name for prefix in prefixes for name in names}


def refuse(reason: str) -> NoReturn:
    """Raise the ValueError that refuses a part."""
    raise ValueError(reason)


def _refuse_document_type(*_: object) -> NoReturn:
    """Refuse a document type declaration: no part needs one, and its entities can explode."""
    refuse("it has a document type declaration")
