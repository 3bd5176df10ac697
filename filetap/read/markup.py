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

    @property
    def is_between(self) -> bool:
        """True between two items of the element that holds them: what was read is of no effect."""
        return False

    def unfinished(self) -> int:
        """Approximate bytes of memory that the current, unfinished item takes.

        Raises:
            ValueError: The markup is refused.
        """
        return 0


class Parser:
    """A parser of one document, fed piece by piece.

    Args:
        handler: Receives the events.
    """

    def __init__(self, handler: Events) -> None:
        self._handler = handler
        self._expat = expat.ParserCreate(namespace_separator=SEPARATOR)
        self._expat.buffer_text = True
        self._expat.buffer_size = 1 << 16
        self._expat.StartElementHandler = handler.start
        self._expat.EndElementHandler = handler.end
        self._expat.CharacterDataHandler = handler.data
        self._expat.StartDoctypeDeclHandler = _refuse_document_type
        self._fed = 0
        self._has_skipped = False

    def feed(self, piece: bytes) -> None:
        """Parse the next bytes; none end the document.

        Raises:
            ValueError: It is not XML, the handler refuses it, or it exceeds a bound.
        """
        self._fed += len(piece)
        try:
            self._expat.Parse(piece, not piece)
        except expat.ExpatError as error:
            refuse(expat.ErrorString(error.code) if self._has_skipped else str(error))
        except LookupError as error:
            refuse(str(error))
        if self._handler.unfinished() > LONGEST_ITEM:
            refuse(f"an item is longer than {LONGEST_ITEM} bytes")
        # The parser's position stays at the start of a tag until the tag ends.
        if self._fed - self._expat.CurrentByteIndex > _LONGEST_TAG:
            refuse(f"a tag is longer than {_LONGEST_TAG} bytes")

    def skip(self) -> None:
        """Note that bytes of the document are not fed, so that positions in it are unknown."""
        self._has_skipped = True


def parse(pieces: Iterable[bytes], handler: Events) -> Iterator[None]:
    """Parse a document, yielding after each piece, when *handler* has taken its events.

    Raises:
        ValueError: It is not XML, *handler* refuses it, or it exceeds a bound.
    """
    parser = Parser(handler)
    for piece in chain(pieces, (b"",)):
        parser.feed(piece)
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
