"""Rows from JSON: objects one after the other, in an array, or in an array within one object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import polars as pl

from filetap.errors import FormatError
from filetap.read.batch import DEFAULTS, MALFORMED_HINT, MOST_COLUMNS, Batch, Malformed
from filetap.read.json_text import JSONText
from filetap.read.names import column_names, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from filetap.read.batch import ReadOptions
    from filetap.read.json_text import Element

ROWS = 10_000  # of a batch
_SIZE = 16 << 20  # bytes of a batch's objects
_NOT_JSON = "it is not valid JSON"

Cell = str | None


class JSONReader:
    """Reads JSON objects in batches; each member name is a column.

    A number becomes the text it is written as, a nested value its JSON, true and false the words.

    Attributes:
        labels: The members' names, in order of first appearance.
        columns: The column names made of them.

    Args:
        pieces: Returns the file's bytes, decompressed and in UTF-8, from the beginning at each
            call.
        what: The file, as messages name it.
        options: How to read it; *block*, *most* and *skip* have no effect.
    """

    def __init__(
        self, pieces: Callable[[], Iterator[bytes]], what: str, options: ReadOptions = DEFAULTS
    ) -> None:
        """Read all objects once to collect their names.

        Raises:
            FormatError: They have too many names, or it is not clear which array holds the rows.
        """
        self._pieces = pieces
        self._what = what
        self._options = options
        self._refused = ""
        self._envelope = _envelope(self._text(), what, options.known, cut=options.cut)
        labels: dict[str, None] = {}
        for _, value, fault in self._elements():
            if not fault:
                labels.update(dict.fromkeys(value))
            if len(labels) > MOST_COLUMNS:
                msg = f"{what}: it has more than {MOST_COLUMNS} columns"
                raise FormatError(msg, "look at the file: it is not an export")
        self.labels: Sequence[str] = list(labels)
        self.columns = column_names(self.labels, options.reserved)

    def refuse(self, reason: str) -> None:
        """Treat every row as malformed for *reason*."""
        self._refused = reason

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rows in batches of at most `ROWS`, cut where objects exceed `_SIZE` bytes.

        Raises:
            FormatError: An object cannot be read, and malformed rows are not diverted.
        """
        cells: list[Sequence[Cell]] = []
        numbers: list[int] = []
        malformed: list[Malformed] = []
        size = 0
        for number, (text, _, unreadable) in enumerate(self._elements(), start=1):
            fault = unreadable or self._refused
            stored = text.encode(errors="surrogateescape")
            size += len(stored)
            if not fault and (members := _members(stored)) is not None:
                numbers.append(number)
                cells.append([_cell(members.get(label)) for label in self.labels])
            elif self._options.divert:
                raw = stored.rstrip(b" \t\r\n,").decode(errors="backslashreplace")
                malformed.append(Malformed(number, raw, fault or _NOT_JSON))
            else:
                msg = f"{self._what}: row {number}: {fault or _NOT_JSON}"
                raise FormatError(msg, MALFORMED_HINT)
            if len(cells) + len(malformed) == ROWS or size > _SIZE:
                yield self._batch(cells, numbers, malformed)
                cells, numbers, malformed, size = [], [], [], 0
        if cells or malformed:
            yield self._batch(cells, numbers, malformed)

    def _batch(
        self, cells: list[Sequence[Cell]], numbers: list[int], malformed: list[Malformed]
    ) -> Batch:
        """Rows and malformed rows as a batch."""
        frame = pl.DataFrame(cells, dict.fromkeys(self.columns, pl.String), orient="row")
        return Batch(frame, pl.Series(numbers, dtype=pl.Int64), malformed)

    def _text(self) -> JSONText:
        """The file's text, from the beginning."""
        return JSONText(self._pieces(), self._what, cut=self._options.cut)

    def _elements(self) -> Iterator[Element]:
        """Yield each value that should be an object with a row."""
        text = self._text()
        if self._envelope is not None:
            text.by_line = False
            for name in _member_names(text):
                if name in self._envelope and text.skip("["):
                    yield from text.elements(array=True)
                    return
                text.value()
        elif text.skip("["):
            yield from text.elements(array=True)
            while text.skip("["):  # arrays one after the other
                yield from text.elements(array=True)
            for raw, _, _ in text.elements(array=False):
                yield raw, None, "it follows the end of the array"
        else:
            yield from text.elements(array=False)


def _members(element: bytes) -> dict[str, msgspec.Raw] | None:
    """An object's members, not decoded; None if msgspec, stricter than Python, refuses it."""
    try:
        return msgspec.json.decode(element, type=dict[str, msgspec.Raw])
    except (RecursionError, msgspec.MsgspecError):
        return None


def _cell(value: msgspec.Raw | None) -> Cell:
    """A member's value as text."""
    text = b"null" if value is None else bytes(value)
    if text == b"null":
        return None
    return msgspec.json.decode(text, type=str) if text.startswith(b'"') else text.decode()


def _member_names(text: JSONText) -> Iterator[str]:
    """Yield the member names of the object that *text* begins with; the caller reads each value.

    In a broken object it stops early.
    """
    text.skip("{")
    while text.peek() == '"':
        name, is_valid = text.value()
        if not is_valid or not text.skip(":"):
            return
        yield name


def _envelope(
    text: JSONText, what: str, known: Collection[str], *, cut: bool
) -> Sequence[str] | None:
    """The member that holds the rows, if the file is one object that is not itself a row.

    It is such an envelope if no member is a known column, one member is an array of objects,
    and no other one is an array, unless an empty one.

    Returns:
        The member's name; nothing if all arrays are empty; None if the object is a row like
        any other, or not the only value.

    Raises:
        FormatError: Several members are arrays of objects.
    """
    if text.peek() != "{":
        return None
    text.by_line = False
    try:
        names, arrays, is_alone = _walk(text, cut=cut)
    except FormatError:  # one value is longer than the limit
        return None
    if not is_alone or not arrays or not set(known).isdisjoint(column_names(names)):
        return None
    with_rows = [name for name, is_empty in arrays if not is_empty]
    if len(with_rows) > 1:
        msg = f"{what}: several members hold rows: {', '.join(map(shown, with_rows))}"
        raise FormatError(msg, "ask for exports that are one array of objects")
    return with_rows


def _walk(text: JSONText, *, cut: bool) -> tuple[list[str], list[tuple[str, bool]], bool]:
    """Read the object that *text* begins with, its arrays of objects element by element.

    Returns:
        The members' names; the names of its arrays of objects and empty arrays, each with True
        if it is empty; and True if it has no other array and nothing follows it in the file.
    """
    names: list[str] = []
    arrays: list[tuple[str, bool]] = []
    for name in _member_names(text):
        names.append(name)
        first = text.peek(after=1) if text.peek() == "[" else ""
        if first == "{":
            arrays.append((name, False))
            text.skip("[")
            for _ in text.elements(array=True):
                pass
            if not text.closed:
                return names, arrays, cut
        elif first not in ("", "]") or not text.value()[1]:
            return names, arrays, False
        elif first:
            arrays.append((name, True))
    return names, arrays, text.skip("}") and not text.peek()
