"""Items of an XML part, such as a sheet's rows: a fast reader's, with the parser behind it.

The parser is slow because each tag becomes a Python call. So the bytes are cut into blocks of
complete items, and a fast reader takes the blocks that it can prove to understand. The parser
gets everything else: what comes before and after the items, and the blocks that the fast reader
declines. A block is balanced, so a parser that never sees it is none the wiser, and no
declaration, entity or comment ever reaches the fast reader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from filetap.read import markup
from filetap.read.markup import Events, Parser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

LARGEST = 1 << 22  # bytes of a block
_FIRST = 1 << 18  # bytes of the first block, which may be all that is wanted
_SMALLEST = 1 << 15  # bytes of a block that the parser gets through while a fast one is read
_LONGEST_HEAD = 1 << 16  # bytes before the items
_HEAD = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:<\?xml version=[\"']1\.0[\"']"
    rb"(?: encoding=[\"'](?:utf|UTF)-8[\"'])?(?: standalone=[\"'](?:yes|no)[\"'])? ?\?>)?"
    rb"(?:[^<]++|<(?![!?]))*+"
)
# What changes the meaning of later bytes: a comment, CDATA, a declaration, a namespace.
_CONTEXT = re.compile(rb"<[!?]|xmlns")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Block:
    """Complete items, without the prefix of their namespace.

    Attributes:
        data: Their bytes.
        tags: The parser of single tags, where the items are.
    """

    data: bytes
    tags: Tags


class Tags:
    """Parses single tags where the items of a document are.

    Args:
        head: The document before its items.
    """

    def __init__(self, head: bytes) -> None:
        self._head = head
        self._handler = _LastTag()
        self._parser: Parser | None = None

    def attributes(self, text: str) -> Mapping[str, str] | None:
        """The attributes in a start tag without its name; None if the parser would refuse them.

        A tag that declares a namespace, which would change the names in it, is refused too.
        """
        if "<" in text or ">" in text or "xmlns" in text:
            return None
        # A parser that has refused a tag takes no other one.
        parser, self._parser = self._parser, None
        try:
            if parser is None:
                parser = Parser(self._handler)
                parser.feed(self._head)
            self._handler.has_ended = False
            parser.feed(f"<a{text}/>".encode())
        except ValueError:
            return None
        if not self._handler.has_ended:
            return None
        self._parser = parser
        return self._handler.attributes


class _LastTag(Events):
    """Keeps the attributes of the last tag."""

    def __init__(self) -> None:
        self.attributes: dict[str, str] = {}
        self.has_ended = False

    def start(self, _: str, attributes: dict[str, str], /) -> None:
        self.attributes = attributes

    def end(self, _: str) -> None:
        self.has_ended = True


class Items:
    """The items of a part.

    Args:
        pieces: The part's bytes.
        handler: Receives the events of what the fast reader does not take.
        names: Local names of the element that holds the items, and of an item.
        piece: Bytes to parse at a time.
    """

    def __init__(
        self, pieces: Iterable[bytes], handler: Events, names: tuple[str, str], piece: int
    ) -> None:
        self._pieces = iter(pieces)
        self._handler = handler
        self._parser = Parser(handler)
        self._piece = piece
        container, self._item = (name.encode() for name in names)
        self._start = re.compile(rb"<(?:([A-Za-z0-9]+):)?%b(?:\s[^<>]*)?(?<!/)>" % container)
        self._container = container
        # So no item of a block is longer than the parser would allow.
        self._largest = min(LARGEST, markup.LONGEST_ITEM)
        self._buffer = b""
        self._at = 0  # bytes of the buffer that are done
        self._has_ended = False

    def read(self, fast: Callable[[Block], T | None]) -> Iterator[T | None]:
        """Yield what *fast* makes of a block, and None after the handler has taken events.

        Args:
            fast: Returns None for a block that it declines.

        Raises:
            ValueError: The part is not XML, is refused, or exceeds a bound.
        """
        self._fill(_LONGEST_HEAD)
        start = self._start.search(self._buffer)
        if start and _HEAD.fullmatch(self._buffer, 0, start.end()):
            head = self._buffer[: start.end()]
            yield from self._parse(start.end())
            if self._handler.is_between:
                prefix = b"%b:" % start[1] if start[1] else b""
                yield from self._blocks(fast, head, prefix)
        yield from self._parse(len(self._buffer) - self._at)
        for piece in self._pieces:
            self._parser.feed(piece)
            yield None
        self._parser.feed(b"")
        yield None

    def _blocks(
        self, fast: Callable[[Block], T | None], head: bytes, prefix: bytes
    ) -> Iterator[T | None]:
        """Read blocks as long as the parser is between items."""
        tags = Tags(head)
        close = b"</%b%b>" % (prefix, self._item)
        last = b"</%b%b" % (prefix, self._container)
        wanted, careful = min(_FIRST, self._largest), _SMALLEST
        while True:
            self._fill(wanted)
            limit = min(len(self._buffer), self._at + wanted)
            found = self._buffer.find(last, self._at, limit)
            limit = found if found >= 0 else limit
            size = self._complete(close, limit)
            if not size:
                if found >= 0 or self._has_ended or wanted >= self._largest:
                    return  # no item ends in so many bytes
                wanted *= 2
                continue
            data = _plain(self._buffer[self._at : self._at + size], prefix)
            result = fast(Block(data, tags)) if data else None
            if result is not None:
                self._parser.skip()
                self._at += size
                yield result
                wanted, careful = min(2 * wanted, self._largest), _SMALLEST
                continue
            # An odd item is searched for in ever smaller blocks; where they are frequent, the
            # parser gets ever longer stretches.
            if size > careful and self._complete(close, self._at + size // 4):
                wanted = size // 4
                continue
            used = self._buffer.find(close, self._at + min(size, careful) - len(close))
            used += len(close) - self._at
            context = _CONTEXT.search(self._buffer, self._at, self._at + used)
            yield from self._parse(used)
            if context or not self._handler.is_between:
                return
            wanted = careful = min(2 * careful, self._largest)

    def _complete(self, close: bytes, limit: int) -> int:
        """Bytes of the complete items before *limit*."""
        place = self._buffer.rfind(close, self._at, limit)
        return place + len(close) - self._at if place >= 0 else 0

    def _parse(self, size: int) -> Iterator[None]:
        """Parse the next *size* bytes of the buffer, yielding after each piece."""
        end = self._at + size
        while self._at < end:
            start, self._at = self._at, min(end, self._at + self._piece)
            self._parser.feed(self._buffer[start : self._at])
            yield None

    def _fill(self, size: int) -> None:
        """Buffer *size* bytes that are not done, or all that are left."""
        have = len(self._buffer) - self._at
        if have >= size or self._has_ended:
            return
        parts = [self._buffer[self._at :]]
        self._at = 0
        while have < size:
            piece = next(self._pieces, b"")
            if not piece:
                self._has_ended = True
                break
            parts.append(piece)
            have += len(piece)
        self._buffer = b"".join(parts)


def _plain(data: bytes, prefix: bytes) -> bytes:
    """A block without the prefix of its tags; empty if some tags have another one."""
    if not prefix:
        return data
    opening, closing = b"<%b" % prefix, b"</%b" % prefix
    if data.count(b"<") != data.count(opening) + data.count(closing):
        return b""
    return data.replace(opening, b"<").replace(closing, b"</")
