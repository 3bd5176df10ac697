"""Gzip is read as its bytes say, and what is wrong with it is named."""

from __future__ import annotations

import gzip
import io
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tap_firstup_dde.exportlib.compression import PIECE, Gunzip, decompress, is_gzip

if TYPE_CHECKING:
    from collections.abc import Iterable


def cut(data: bytes, size: int) -> list[bytes]:
    """Cut data into chunks of one size."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def gunzip(chunks: Iterable[bytes]) -> tuple[bytes, str]:
    """Give what chunks decompress to, and the fault."""
    unzipper = Gunzip()
    content = b"".join(piece for chunk in chunks for piece in unzipper.feed(chunk))
    return content + unzipper.end(), unzipper.fault


MEMBERS = st.lists(st.binary(max_size=200), min_size=1, max_size=4)


@given(MEMBERS, st.integers(1, 300), st.integers(0, 9), st.integers(0, 20))
def test_gunzip(members: list[bytes], size: int, level: int, zeros: int) -> None:
    """However gzip is cut, and of however many members, it gives the content; zeros may follow."""
    data = b"".join(gzip.compress(member, level) for member in members) + b"\0" * zeros
    assert gunzip(cut(data, size)) == (b"".join(members), "")
    assert b"".join(decompress(io.BytesIO(data))) == gzip.decompress(data)


@given(MEMBERS, st.integers(1, 300), st.data())
def test_gunzip_truncated(members: list[bytes], size: int, data: st.DataObject) -> None:
    """Gzip that ends inside a member has a fault, wherever it ends."""
    *whole, last = [gzip.compress(member) for member in members]
    short = last[: data.draw(st.integers(1, len(last) - 1))]
    if whole or len(short) > 1:
        _, fault = gunzip(cut(b"".join(whole) + short, size))
        assert fault


@given(MEMBERS, st.integers(1, 300), st.binary(min_size=1).filter(lambda b: b.strip(b"\0")))
def test_gunzip_garbage(members: list[bytes], size: int, garbage: bytes) -> None:
    """Bytes that follow gzip, and are no gzip, are a fault, not content."""
    garbage = garbage.lstrip(b"\0")
    if is_gzip(garbage):
        garbage = b"x" + garbage
    data = b"".join(map(gzip.compress, members)) + garbage
    assert gunzip(cut(data, size)) == (b"".join(members), "other bytes follow the gzip data")


@given(st.binary(min_size=1, max_size=300), st.integers(1, 400), st.data())
def test_gunzip_flipped_bit(content: bytes, size: int, data: st.DataObject) -> None:
    """A flipped bit in gzip's data or its check is a fault, unless it changes nothing."""
    good = gzip.compress(content)
    at = data.draw(st.integers(10 * 8, len(good) * 8 - 1))  # behind the header
    flipped = bytearray(good)
    flipped[at // 8] ^= 1 << at % 8
    unzipped, fault = gunzip(cut(bytes(flipped), size))
    assert fault or (unzipped == content and at < len(good) * 8 - 64)


@given(st.binary(max_size=300).filter(lambda b: not is_gzip(b)), st.integers(1, 400))
@example(b"\x1f", 1)
@example(b"\0\0", 1)
@example(b"", 1)
def test_plain(content: bytes, size: int) -> None:
    """Bytes that are no gzip pass unchanged."""
    assert gunzip(cut(content, size)) == (content, "")
    assert b"".join(decompress(io.BytesIO(content))) == content


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_gunzip_bomb(size: int) -> None:
    """A thousandfold expansion comes in small pieces, and whole, however it is cut."""
    data = gzip.compress(bytes(20 << 20))
    unzipper, sizes = Gunzip(), []
    for chunk in cut(data, size):
        sizes += [len(piece) for piece in unzipper.feed(chunk)]
    assert (sum(sizes), unzipper.fault) == (20 << 20, "")
    assert max(sizes) <= PIECE


@pytest.mark.parametrize("most", [0, 10, 5000, 10**9])
def test_decompress_most(most: int) -> None:
    """Of the stored bytes no more are read than asked for."""
    content = random.Random(0).randbytes(9000)
    stored = io.BytesIO(gzip.compress(content))
    begin = b"".join(decompress(stored, most))
    assert content.startswith(begin)
    assert stored.tell() == min(most, len(stored.getvalue()))
    assert (begin == content) is (most > 9000)
