"""The cells of a block of a sheet's rows, if its markup is proven regular.

A block is split into cells, and a cell into its start tag, its value and the tags up to the next
cell, by polars, without a Python call a cell. Of everything but values and row numbers, a block
has few distinct texts, so each of them is judged once: attributes by the parser itself, the tags
between two values by one pattern. Together they are the whole block: a block whose texts are all
accepted holds nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from filetap.read.xml_text import regular

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from filetap.read.items import Block

    Numbers = NDArray[np.int64]

_MOST_SHAPES = 1_000  # distinct texts of a block that are not known yet
_MOST_KNOWN = 10_000  # distinct texts kept for the next block
_MOST_ROW_TAGS = 20  # distinct ones between two cells
_MOST_COLUMNS = 1 << 14  # of a sheet
_DIGITS = "0123456789"
_LETTERS = re.compile(r"[A-Z]{1,3}")
# A formula counts only if it has no result, so one with a result is dropped.
_FORMULA = re.compile(
    rb'<f(?: t="(?:normal|shared|array)")?(?: ref="[A-Z0-9:]+")?(?: ca="1")?(?: si="[0-9]+")?'
    rb"(?:/>|>(?:[^<&]|&(?:amp|lt|gt|quot|apos);)*+</f>)(?=<v>[^<\s&])"
)
_TEXT = "t>"
_TEXT_WITH_BLANKS = 't xml:space="preserve">'
# What ends a cell with a value, with an inline text, without a value, and without an end tag.
_CLOSINGS = ("</v></c>", "</t></is></c>", "</c>", "")
_LONGEST_CLOSING = 13  # bytes; what is longer has the tags of rows
_ROW = r"<row((?: [^<>]*)?)>\s*"
_EMPTY = r"<row((?: [^<>]*)?)(?:/>|></row>)\s*"
_TURN = re.compile(rf"\s*(?:</row>\s*(?P<empty>(?:{_EMPTY})*)(?P<row>{_ROW})?)?")
_EMPTY_ROWS = re.compile(_EMPTY)
_ROWS = re.compile(_ROW)
_NUMBERED = r' r="[0-9]+"'
# After a cell: another cell of the row, another row, the end of the block.
_STAY, _NEXT, _END = range(3)


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of a block that have a value, in any order.

    Attributes:
        values: Their stored values.
        attributes: A number for the attributes of each one's start tag.
        rows: Each one's row, from 0; rows without a cell do not count.
        columns: Each one's column, from 0.
        height: Rows.
        elements: Row elements, with those that have no cell.
    """

    values: pl.Series
    attributes: Numbers
    rows: Numbers
    columns: Numbers
    height: int
    elements: int


class CellSplitter:
    """Splits blocks of one sheet's rows into cells.

    Args:
        number: Returns the number for the attributes of a start tag.
    """

    def __init__(self, number: Callable[[Mapping[str, str]], int]) -> None:
        self._number = number
        self._columns = _Codes()
        self._tags = _Codes()
        self._turns = tuple(_Codes() for _ in _CLOSINGS)

    def split(self, block: Block) -> Cells | None:
        """The cells of *block*; None if it is not regular."""
        text = regular(_FORMULA.sub(b"", block.data) if b"<f" in block.data else block.data)
        if text is None:
            return None
        pieces = text.str.split("<c ").explode()
        if len(pieces) == 1:
            return None
        parts = _parts(*pieces[1:].str.splitn("<", 3).struct.unnest().get_columns())
        lead = _turn(block, re.sub(_NUMBERED, ' r="0"', f"/c></row>{pieces[0]}"), _CLOSINGS[2])
        if parts is None or lead is None or lead & 3 != _NEXT:
            return None
        turns = np.empty(len(pieces) - 1, np.int64)
        tags: list[Numbers] = []
        columns: list[Numbers] = []
        for part, known, closing in zip(parts, self._turns, _CLOSINGS, strict=True):
            found = self._turn_codes(block, part.after, known, closing)
            both = self._tag_codes(block, part.tags, closes_itself=not closing)
            if found is None or both is None:
                return None
            turns[part.places] = found
            columns.append(both[0])
            tags.append(both[1])
        turn = turns & 3
        if turn[-1] != _END or np.count_nonzero(turn == _END) != 1:
            return None
        begins = turn == _NEXT
        rows = np.cumsum(begins) - begins
        with_value = parts[:2]
        return Cells(
            pl.concat([part.values for part in with_value]),
            np.concatenate(tags[:2]),
            np.concatenate([rows[part.places] for part in with_value]),
            np.concatenate(columns[:2]),
            int(rows[-1]) + 1,
            int((turns >> 2).sum()) + (lead >> 2),
        )

    def _tag_codes(
        self, block: Block, tags: pl.Series, *, closes_itself: bool
    ) -> tuple[Numbers, Numbers] | None:
        """Columns and numbers of attributes of start tags; None if one is not regular."""
        end = "/>" if closes_itself else ">"

        def judge(text: str) -> int | None:
            if not text.endswith(end):
                return None
            found = block.tags.attributes(f' r="A1"{text.removesuffix(end)}')
            return None if found is None else self._number(found)

        if not len(tags):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        first, reference, rest = tags.str.splitn('"', 3).struct.unnest().get_columns()
        if rest.has_nulls() or not (first == "r=").all():
            return None
        columns = self._columns.look_up(reference.str.strip_chars_end(_DIGITS), _column)
        numbers = self._tags.look_up(rest, judge)
        return None if columns is None or numbers is None else (columns, numbers)

    def _turn_codes(
        self, block: Block, after: pl.Series, known: _Codes, closing: str
    ) -> Numbers | None:
        """What the tags after each value do, as `_turn` returns it; None if one is not regular."""
        turns = np.empty(len(after), np.int64)
        has_rows = after.str.len_bytes() > _LONGEST_CLOSING
        for mask, texts in (
            (~has_rows, after.filter(~has_rows)),
            (has_rows, after.filter(has_rows).str.replace_all(_NUMBERED, ' r="0"')),
        ):
            codes = known.look_up(texts, lambda text: _turn(block, text, closing))
            if codes is None:
                return None
            turns[mask.to_numpy()] = codes
        return turns


@dataclass(frozen=True, slots=True)
class _Part:
    """Cells that store their values in one way.

    Attributes:
        places: Their positions among all cells of the block.
        tags: Their start tags, without ``<c ``.
        values: Their stored values; empty if they have none.
        after: The tags after the values, without the first ``<``.
    """

    places: Numbers
    tags: pl.Series
    values: pl.Series
    after: pl.Series


def _parts(tags: pl.Series, inner: pl.Series, after: pl.Series) -> Sequence[_Part] | None:
    """Cells by their way to store values, in the order of `_CLOSINGS`.

    Args:
        tags: Each cell's text before the second ``<`` in it.
        inner: Its text up to the third; null if it has none.
        after: The rest; null if it has none.
    """
    is_value = inner.str.starts_with("v>").fill_null(value=False) & after.is_not_null()
    is_text = (inner == "is>").fill_null(value=False) & after.is_not_null()
    without = ~(is_value | is_text)
    closes = without & tags.str.ends_with("/>")
    text, after_text = after.filter(is_text).str.splitn("<", 2).struct.unnest().get_columns()
    has_blanks = text.str.starts_with(_TEXT_WITH_BLANKS)
    if not (has_blanks | text.str.starts_with(_TEXT)).all() or after_text.has_nulls():
        return None
    text = text.str.slice(len(_TEXT)).zip_with(~has_blanks, text.str.slice(len(_TEXT_WITH_BLANKS)))
    values = [inner.filter(is_value).str.slice(len("v>")), text]
    rests = [after.filter(is_value), after_text]
    for mask in (without & ~closes, closes):
        both = pl.DataFrame({"inner": inner.filter(mask), "after": after.filter(mask)})
        rest = both.select(pl.concat_str("inner", "after", separator="<", ignore_nulls=True))
        rests.append(rest.to_series())
        values.append(rests[-1].str.head(0))
    masks = (is_value, is_text, without & ~closes, closes)
    return [
        _Part(np.flatnonzero(mask.to_numpy()), tags.filter(mask), value, rest)
        for mask, value, rest in zip(masks, values, rests, strict=True)
    ]


class _Codes:
    """Codes of the few distinct texts of a column, each judged once."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def look_up(self, column: pl.Series, judge: Callable[[str], int | None]) -> Numbers | None:
        """The code of each text; None if *judge* has none for one, or they are too many."""
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        places = self._places(column)
        if places.has_nulls():
            unknown = column.filter(places.is_null()).unique()
            if len(unknown) > _MOST_SHAPES:
                return None
            for text in unknown:
                code = judge(text)
                if code is None:
                    return None
                self._known[text] = code
            places = self._places(column)
        codes = np.array(list(self._known.values()), np.int64)
        return codes.take(places.to_numpy())

    def _places(self, column: pl.Series) -> pl.Series:
        """The position of each text among the known ones; null if it is not among them."""
        return column.cast(pl.Enum(list(self._known)), strict=False).to_physical()


def _turn(block: Block, text: str, closing: str) -> int | None:
    """What the tags after a value do.

    Args:
        block: The block that they are in.
        text: The tags, without the first ``<``.
        closing: What must be first.

    Returns:
        `_STAY`, `_NEXT` or `_END`, plus four times the rows that begin; None if the tags are not
        regular.
    """
    text = f"<{text}" if text else text
    match = _TURN.fullmatch(text, len(closing)) if text.startswith(closing) else None
    if not match:
        return None
    empty = _EMPTY_ROWS.findall(match["empty"] or "")
    opened = _ROWS.findall(match["row"] or "")
    distinct = {*empty, *opened}
    if len(distinct) > _MOST_ROW_TAGS:
        return None
    if any(block.tags.attributes(attributes) is None for attributes in distinct):
        return None
    turn = _STAY if match["empty"] is None else _NEXT if opened else _END
    return turn + 4 * (len(empty) + len(opened))


def _column(letters: str) -> int | None:
    """A column's position, from 0; None if those are not the letters of one."""
    if not _LETTERS.fullmatch(letters):
        return None
    place = 0
    for letter in letters:
        place = 26 * place + ord(letter) - ord("A") + 1
    return place - 1 if place <= _MOST_COLUMNS else None
