"""JSON values one by one, from text that arrives in pieces and may be broken.

This is the careful reader; regular objects are decoded many at a time instead (`json_fast`). A
row's numbers and nested values are emitted as they are written, and a broken object must cost no
other one. No streaming parser offers either. So Python's own parser is run over a window of text,
which doubles until a value ends within it, and where it fails, regular expressions look for the
end of the broken value: a bracket outside strings, or the end of the line.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from filetap.errors import FormatError
from filetap.read.batch import LONGEST_ROW
from filetap.read.json_source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_HEAD = 1 << 16  # characters that show if each line holds an object
_LONGEST_SPAN = 1 << 24  # characters of an object on several lines, where lines hold objects
# Possessive quantifiers (`++`, `*+`) never backtrack: an unclosed string costs one pass, not many.
_BLANKS = re.compile("[ \t\r\n,\N{ZERO WIDTH NO-BREAK SPACE}]*")  # commas, too
_REST_OF_LINE = re.compile("[ \t\r,]*")
_BETWEEN = re.compile(r'[^"{}\[\]:\n]+(?=\{)')  # text that cannot be part of the next object
# A string or a bracket. A string is one token, so that brackets in it do not count; its `end` is
# empty if no quote closes it.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?P<end>"?)|[{}\[\]]', re.DOTALL)
_JUNK = re.compile(r".[^{}\[\]]*", re.DOTALL)
_DEEP = 1000  # characters, at least, of a value that is nested too deeply
_LONGEST_WORD = 10  # characters; an error so near to the end may only mean that more follows
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # an escape for half of a surrogate pair

_DOUBLED = "two of its members have one name"

Element = tuple[str, Any, str]  # its text, its value, and why it is not an object with a row


class JSONText:
    """JSON that arrives in pieces, and a position in it.

    Attributes:
        by_line: True if each line should hold complete objects: a broken one ends with its line.
        closed: True if a bracket ended the array that was read last.

    Args:
        pieces: Bytes in UTF-8, except where they are damaged.
        what: The file, as messages name it.
        cut: True if *pieces* may end within a value, which is dropped.
        nested: True if two members of an object within a row may have one name.
    """

    def __init__(
        self, pieces: Iterable[bytes], what: str, *, cut: bool, nested: bool = False
    ) -> None:
        """Read the first lines to see if each holds an object."""
        self._source = Source(pieces)
        self._what = what
        self._cut = cut
        self._text = ""
        self._at = 0
        self._dropped = 0  # characters of the file before the text
        self._ended = False
        self._alone = 0  # character of the file up to which each line is parsed alone
        self._parser = _Parser(nested=nested)
        self.closed = False
        while self.peek() and len(self._text) - self._at < _HEAD and self._more():
            pass
        first, *others = self._text[self._at : self._at + _HEAD].split("\n", 2)
        follows = any(line.startswith("{") for line in others[:1])
        self.by_line = first.startswith("{") and (follows or first.rstrip().endswith("}"))

    @property
    def position(self) -> int:
        """Characters of the file before the position."""
        return self._dropped + self._at

    @property
    def is_clear(self) -> bool:
        """True if no error ahead makes each line be parsed alone."""
        return self.position >= self._alone

    def ahead(self, size: int) -> bytes:
        """The next *size* bytes, or all that are left; the position stays."""
        self._put_back()
        return self._source.ahead(size)

    def move(self, count: int) -> None:
        """Move *count* bytes on within what `ahead` returned last."""
        self._source.skip(count)
        self._dropped += count

    def offset(self) -> int:
        """Bytes of the file before the position."""
        self._put_back()
        return self._source.offset

    def move_to(self, offset: int) -> None:
        """Move on to an offset, unless the position is there or past it."""
        self._put_back()
        self._dropped += self._source.skip_to(offset)

    def _put_back(self) -> None:
        """Have the text after the position read once more."""
        self._source.put_back(self._text[self._at :])
        self._ended = False
        self._dropped += self._at
        self._text, self._at = "", 0

    def peek(self, after: int = 0) -> str:
        """Move to the next character that is neither blank nor a comma, and return it.

        Args:
            after: Characters to look past first; the position then does not move.

        Returns:
            The character; empty at the end of the file.
        """
        while True:
            blanks = _BLANKS.match(self._text, self._at + after)
            place = blanks.end() if blanks else len(self._text)
            if not after:
                self._at = place
            if place < len(self._text):
                return self._text[place]
            if not self._more():
                return ""

    def skip(self, character: str) -> bool:
        """Move past *character* if it comes next; return True if it did."""
        found = self.peek() == character
        self._at += found
        return found

    def value(self) -> tuple[Any, bool]:
        """Read the next value; False with it if there is none, or it is broken."""
        while self.peek():
            value, end, _ = self._value()
            # A number that ends with the text may have more digits in the next piece.
            if end < len(self._text) or not self._more():
                self._at = end or self._at
                return value, bool(end)
        return None, False

    def elements(self, *, array: bool) -> Iterator[Element]:
        """Yield each value up to the end of the array around the position, or of the file.

        Broken text is an element too: up to the end of its line where lines hold objects, else
        as far as its brackets reach.

        Args:
            array: True if the position is within an array.
        """
        self.closed = False
        while first := self.peek():
            if array and first == "]":
                self._at += 1
                self.closed = True
                return
            value, end, fault = self._value()
            if end:
                rest = _REST_OF_LINE.match(self._text, end)
                next_one = rest.end() if rest else end
                # A number that ends with the text may have more digits in the next piece.
                if _needs_more(self._text, next_one, by_line=self.by_line) and self._more():
                    continue
                if not self.by_line or _is_followed_by_object(self._text, next_one):
                    yield self._take(end), value, fault
                    continue
                fault = "something else follows the object in its line"
            elif not fault:
                return
            yield self._take(self._end_of_broken()), None, fault
        if array and not self._cut:
            yield "[", None, "the array is never closed"

    def _take(self, end: int) -> str:
        """Move to *end* and return the text up to it."""
        start, self._at = self._at, end
        return self._text[start:end]

    def _more(self) -> bool:
        """Read until the text after the position has doubled; False at the end of the file.

        Doubling keeps the time linear: a long value is parsed again from its start each time.

        Raises:
            FormatError: A value is longer than `LONGEST_ROW`.
        """
        if self._ended:
            return False
        rest = self._text[self._at :]
        if len(rest) > LONGEST_ROW:
            msg = f"{self._what}: a JSON object is longer than {LONGEST_ROW} bytes"
            raise FormatError(msg, "report the file to its vendor")
        texts, size = [rest], 0
        while size <= len(rest) and not self._ended:
            texts.append(self._source.read())
            self._ended = not texts[-1]
            size += len(texts[-1])
        self._dropped += self._at
        self._text, self._at = "".join(texts), 0
        return True

    def _value(self) -> tuple[Any, int, str]:
        """Parse the value at the position.

        Returns:
            The value, where it ends, and what is wrong with it. A broken one ends at 0; without
            a fault it is only cut off.
        """
        while True:
            self._parser.faults.clear()
            alone = self.by_line and self._dropped + self._at < self._alone
            end_of_line = self._line_end() if alone else 0
            text = self._text[self._at : end_of_line] if alone else self._text
            start = 0 if alone else self._at
            try:
                value, end = self._parser.decode(text, start)
            except RecursionError:
                self._alone = self._dropped + self._at + _DEEP
                return None, 0, "it is nested too deeply"
            except json.JSONDecodeError as error:
                near = error.pos + _LONGEST_WORD > len(text)
                unfinished = not alone and (near or error.msg.startswith("Unterminated"))
                if unfinished and self._may_span() and self._more():
                    continue
                # The lines up to the error are parsed alone from here on. Otherwise each of them
                # could run into the same error, and the time would be quadratic.
                self._alone = max(self._alone, self._dropped + self._at + error.pos - start)
                if unfinished and self._cut and self._ended:
                    return None, 0, ""
                words = error.msg.removesuffix(" at").removesuffix(" starting")
                return None, 0, f"it is not valid JSON ({words[0].lower()}{words[1:]})"
            fault = _fault(value, text[start:end], self._parser.faults)
            return value, end - start + self._at, fault

    def _may_span(self) -> bool:
        """True if a value may continue on the lines that follow."""
        return (
            not self.by_line
            or len(self._text) - self._at < _LONGEST_SPAN
            or self._text.find("\n", self._at) < 0
        )

    def _line_end(self) -> int:
        """The end of the line at the position; reads on until there is one."""
        while (end := self._text.find("\n", self._at)) < 0:
            if not self._more():
                return len(self._text)
        return end

    def _end_of_broken(self) -> int:
        """The end of the broken value at the position."""
        if self.by_line:
            limit = self._line_end()
            place = self._balanced(limit)
            if place and _is_followed_by_object(self._text, place):
                return place
            between = _BETWEEN.match(self._text, self._at)
            return between.end() if between else limit
        while True:
            place = self._balanced(len(self._text))
            if not place and self._text[self._at] not in "{[":
                junk = _JUNK.match(self._text, self._at)
                place = junk.end() if junk else 0
                place = place if place < len(self._text) else 0
            if place or not self._more():
                return place or len(self._text)

    def _balanced(self, limit: int) -> int:
        """Find where the bracket at the position is closed.

        Returns:
            The place after the closing bracket; 0 if it is not before *limit*, or if no bracket
            is at the position.
        """
        depth, place = 0, self._at
        while self._text[self._at] in "{[" and (match := _TOKEN.search(self._text, place, limit)):
            place = match.end()
            if match["end"] is None:
                depth += 1 if match[0] in "{[" else -1
            elif not match["end"]:
                return 0  # a string that does not end here
            if not depth:
                return place
        return 0


class _Parser:
    """Python's parser, which notes what it should not accept.

    Args:
        nested: True if only the members of the outermost object must have names of their own.

    Attributes:
        faults: What was wrong with the values parsed since the list was cleared.
        decode: Returns the value at a place of some text, and where it ends.
    """

    def __init__(self, *, nested: bool) -> None:
        self.faults: list[str] = []
        self._nested = nested
        self.decode = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_constant=self._constant,
            parse_int=str,  # however many digits
            parse_float=str,
        ).raw_decode

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """An object from the parser's pairs; notes a name that appears twice."""
        members = dict(pairs)
        if self._nested and self.faults:  # the outermost object comes last
            self.faults[:] = [fault for fault in self.faults if fault != _DOUBLED]
        if len(members) < len(pairs):
            self.faults.append(_DOUBLED)
        return members

    def _constant(self, word: str) -> None:
        """Note a word that Python's parser accepts as a number, such as NaN."""
        self.faults.append(f"{word} is not a JSON value")


def _fault(value: Any, text: str, noted: Sequence[str]) -> str:
    """Why a parsed value is not an object with a row; empty if it is one.

    Args:
        value: The value.
        text: Its JSON.
        noted: What was wrong while it was parsed.
    """
    if not isinstance(value, dict):
        return "it is not a JSON object"
    if not value:
        return "the object has no members"
    if noted:
        return noted[0]
    if not text.isascii() and not _is_text(text):
        return "bytes that are not UTF-8"
    if _HALF.search(text) and not _is_text(json.dumps(value, ensure_ascii=False)):
        return "half of a surrogate pair, which is not a character"
    return ""


def _is_text(text: str) -> bool:
    """True if *text* holds complete characters only, no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _needs_more(text: str, place: int, *, by_line: bool) -> bool:
    """True if *text* ends too early to show what follows the value before *place*."""
    if not by_line or place == len(text) or text[place] in "\n{":
        return place == len(text)
    return text.find("\n", place) < 0


def _is_followed_by_object(text: str, place: int) -> bool:
    """True if the rest of the line is blank, or has another object in it."""
    rest = _REST_OF_LINE.match(text, place)
    after = rest.end() if rest else place
    return text[after : after + 1] in "\n{" or bool(_BETWEEN.match(text, after))
