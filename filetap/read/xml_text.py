"""Text of an XML block, and columns of texts out of it, as a parser would report them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from filetap.read.cells import unescaped

if TYPE_CHECKING:
    from collections.abc import Callable

_BLANK = 0x20
_REFERENCE = re.compile(r"&(?:(?P<name>[a-z]+)|#(?P<number>[0-9]+)|#x(?P<hex>[0-9A-Fa-f]+));|&")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_NO_CHARACTER = re.compile("[^\t\n\r\\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HIGHEST = 0x10FFFF


def regular(data: bytes) -> pl.Series | None:
    """The one text of a block of XML, with LF for every line end; None if a parser may refuse it.

    A parser refuses control characters, two that are none, the end of CDATA, and broken UTF-8.
    """
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    controls = int(np.count_nonzero(np.frombuffer(data, np.uint8) < _BLANK))
    if controls and controls != data.count(b"\n") + data.count(b"\t"):
        return None
    # Single bytes first: looking for more than one takes many times as long.
    if b"]" in data and b"]]>" in data:
        return None
    if b"\xef" in data and (b"\xef\xbf\xbe" in data or b"\xef\xbf\xbf" in data):
        return None
    try:
        return pl.Series([data]).cast(pl.String)
    except pl.exceptions.PolarsError:
        return None


def without_references(text: str) -> str | None:
    """*text* with its character and entity references replaced; None if one is not valid."""
    try:
        return _REFERENCE.sub(_character, text)
    except ValueError:
        return None


def _character(match: re.Match[str]) -> str:
    """The character of a reference.

    Raises:
        ValueError: It is not a valid reference.
    """
    if match["name"] in _NAMED:
        return _NAMED[match["name"]]
    code = int(match["number"] or int(match["hex"] or "", 16))
    if code > _HIGHEST or _NO_CHARACTER.match(chr(code)):
        raise ValueError
    return chr(code)


def texts(stored: pl.Series) -> pl.Series | None:
    """Stored texts without references and escapes; None if one cannot be read."""
    return mapped(stored, stored.str.contains("&|_x"), _text)


def _text(stored: str) -> str | None:
    """One stored text without references and escapes; None if it cannot be read."""
    text = without_references(stored)
    return None if text is None else unescaped(text)


def mapped(
    stored: pl.Series, odd: pl.Series, convert: Callable[[str], str | None]
) -> pl.Series | None:
    """Texts, with those that are *odd* converted, each only once; None if one cannot be."""
    if not odd.any():
        return stored
    distinct = stored.filter(odd).unique()
    converted = [convert(value) for value in distinct]
    if None in converted:
        return None
    return stored.replace(distinct, pl.Series(converted, dtype=pl.String))


def shared_texts(data: bytes) -> pl.Series | None:
    """The texts of a block of ``<si>`` items; None if one has more than one plain ``<t>``."""
    data = data.replace(b'<t xml:space="preserve">', b"<t>").replace(b"<t/>", b"<t></t>")
    text = regular(data)
    if text is None:
        return None
    first, *_ = pieces = text.str.split("<si><t>").explode().str.strip_chars_end(" \t\n")
    pieces = pieces[1:]
    stored = pieces.str.strip_suffix("</t></si>")
    # Four tags of each: so there is none in a text.
    if first or data.count(b"<") != 4 * len(stored) or not pieces.str.ends_with("</t></si>").all():
        return None
    return texts(stored)
