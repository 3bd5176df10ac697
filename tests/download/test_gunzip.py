"""Gzip is decompressed exactly, and damage is reported."""

from __future__ import annotations

import gzip
import io
import random
import time
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filetap.download.gunzip import (
    LONGEST_HEADER,
    PIECE,
    Gunzip,
    decompress,
    is_gzip,
)
from filetap.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable


def cut(data: bytes, size: int) -> list[bytes]:
    """Data in chunks of one size."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def gunzip(chunks: Iterable[bytes]) -> tuple[bytes, str]:
    """The decompressed content of some chunks, and the fault."""
    unzipper = Gunzip()
    content = b"".join(piece for chunk in chunks for piece in unzipper.feed(chunk))
    return content + unzipper.end(), unzipper.fault


MEMBERS = st.lists(st.binary(max_size=200), min_size=1, max_size=4)


@given(MEMBERS, st.integers(1, 300), st.integers(0, 9), st.integers(0, 20))
def test_gunzip(members: list[bytes], size: int, level: int, zeros: int) -> None:
    """However gzip is split, with any number of members, the content is right; zeros may follow."""
    data = b"".join(gzip.compress(member, level) for member in members) + b"\0" * zeros
    assert gunzip(cut(data, size)) == (b"".join(members), "")
    assert b"".join(decompress(io.BytesIO(data), "users")) == gzip.decompress(data)


@given(MEMBERS, st.integers(1, 300), st.data())
def test_gunzip_truncated(members: list[bytes], size: int, data: st.DataObject) -> None:
    """Gzip that ends within a member is faulty, wherever it ends."""
    *whole, last = [gzip.compress(member) for member in members]
    short = last[: data.draw(st.integers(1, len(last) - 1))]
    if whole or len(short) > 1:
        _, fault = gunzip(cut(b"".join(whole) + short, size))
        assert fault


@given(MEMBERS, st.integers(1, 300), st.binary(min_size=1).filter(lambda b: b.strip(b"\0")))
def test_gunzip_garbage(members: list[bytes], size: int, garbage: bytes) -> None:
    """Bytes after gzip that are not gzip are a fault, not content."""
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
    """Bytes that are not gzip pass unchanged."""
    assert gunzip(cut(content, size)) == (content, "")
    assert b"".join(decompress(io.BytesIO(content), "users")) == content


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_gunzip_bomb(size: int) -> None:
    """A thousandfold expansion is yielded in small pieces, completely, however it is split."""
    data = gzip.compress(bytes(20 << 20))
    unzipper, sizes = Gunzip(), []
    for chunk in cut(data, size):
        sizes += [len(piece) for piece in unzipper.feed(chunk)]
    assert (sum(sizes), unzipper.fault) == (20 << 20, "")
    assert max(sizes) <= PIECE


@pytest.mark.parametrize("most", [0, 10, 5000, 10**9])
def test_decompress_most(most: int) -> None:
    """No more of the stored bytes are read than requested."""
    content = random.Random(0).randbytes(9000)
    stored = io.BytesIO(gzip.compress(content))
    begin = b"".join(decompress(stored, "users", most))
    assert content.startswith(begin)
    assert stored.tell() == min(most, len(stored.getvalue()))
    assert (begin == content) is (most > 9000)


NAMES = st.none() | st.binary(max_size=30).map(lambda b: b.replace(b"\0", b"x"))


@st.composite
def gzip_member(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A gzip member whose header has any fields, and its content."""
    extra = draw(st.none() | st.binary(max_size=40))
    name, comment = draw(NAMES), draw(NAMES)
    checked = draw(st.booleans())
    flags = draw(st.booleans()) | checked << 1 | (extra is not None) << 2
    flags |= (name is not None) << 3 | (comment is not None) << 4
    header = b"\x1f\x8b\x08" + bytes([flags]) + draw(st.binary(min_size=6, max_size=6))
    if extra is not None:
        header += len(extra).to_bytes(2, "little") + extra
    header += b"".join(text + b"\0" for text in (name, comment) if text is not None)
    if checked:
        header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little")
    content = draw(st.binary(max_size=60) | st.integers(0, 3000).map(lambda n: b"a" * n))
    plain = gzip.compress(content, draw(st.sampled_from([0, 1, 9])))
    return header + plain[10:], content


@st.composite
def gzip_file(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """A gzip file of several members with zeros between them, cut anywhere, and its content."""
    members = draw(st.lists(gzip_member(), min_size=1, max_size=3))
    data = b"".join(member + b"\0" * draw(st.integers(0, 3)) for member, _ in members)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=30)))
    chunks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    if draw(st.booleans()):
        chunks = cut(data, draw(st.integers(1, 9)))
    return chunks, b"".join(content for _, content in members)


@given(gzip_file())
def test_gunzip_any_header(file: tuple[list[bytes], bytes]) -> None:
    """Whatever its headers and wherever chunks end, the content is that of Python's own gzip."""
    chunks, content = file
    assert gzip.decompress(b"".join(chunks)) == content
    assert gunzip(chunks) == (content, "")


@given(gzip_file(), st.data())
def test_gunzip_any_truncation(file: tuple[list[bytes], bytes], data: st.DataObject) -> None:
    """Truncated gzip has a fault, unless the rest is complete gzip itself."""
    whole = b"".join(file[0])
    short = whole[: data.draw(st.integers(2, len(whole) - 1))]
    content, fault = gunzip(cut(short, data.draw(st.integers(1, 50))))
    try:
        assert (gzip.decompress(short), "") == (content, fault)
    except (EOFError, gzip.BadGzipFile):
        assert fault


@given(gzip_file(), st.data())
def test_gunzip_any_damage(file: tuple[list[bytes], bytes], data: st.DataObject) -> None:
    """However it is split, damaged gzip has the same content and the same fault."""
    damaged = bytearray(b"".join(file[0]))
    at = data.draw(st.integers(2, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    together = gunzip([bytes(damaged)])
    apart = gunzip(cut(bytes(damaged), data.draw(st.integers(1, 20))))
    assert bool(apart[1]) == bool(together[1])
    if not together[1]:
        assert apart == together


def _header(flags: int, fields: bytes, method: int = 8) -> bytes:
    """A gzip member with that header."""
    return bytes([0x1F, 0x8B, method, flags, *bytes(6)]) + fields + gzip.compress(b"x")[10:]


@pytest.mark.parametrize("size", [1, 11, 1000, 1 << 18])
@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (_header(1, b""), ""),
        (_header(0x20, b""), "an unknown method or flag"),
        (_header(0x80, b""), "an unknown method or flag"),
        (_header(0, b"", method=7), "an unknown method or flag"),
        (_header(2, b"??"), "the checksum of a header"),
        (_header(4, b"\xff\xff" + b"e" * 65535), ""),
        (_header(16, b"c" * 300_000 + b"\0"), ""),
        (_header(8, b"n" * LONGEST_HEADER)[:-20], "a header longer than 1048576 bytes"),
    ],
    ids=["text", "reserved", "reserved 7", "method", "crc", "extra", "comment", "endless"],
)
def test_gunzip_header(data: bytes, fault: str, size: int) -> None:
    """Headers are read to their end, in time linear in their size; a faulty one is a fault."""
    began = time.process_time()
    content, found = gunzip(cut(data, size))
    assert time.process_time() - began < 10
    assert (content, fault in found, bool(found)) == (b"" if fault else b"x", True, bool(fault))


# Without the time of day: cases are named after these bytes, alike in every process.
GOOD = gzip.compress(b"user_id\n1\n", mtime=0)


@pytest.mark.parametrize(
    "data", [GOOD[:-1], GOOD[:8], GOOD[:2], GOOD + b"x", GOOD + GOOD[:9], GOOD[:-8] + bytes(8)]
)
def test_decompress_damaged(data: bytes) -> None:
    """Reading all of damaged gzip is an error that names the file; reading a part is not."""
    with pytest.raises(IntegrityError, match=r"^users 000\.csv: the file is damaged: "):
        list(decompress(io.BytesIO(data), "users 000.csv"))
    for part in (
        decompress(io.BytesIO(data), "users 000.csv", 1000),
        decompress(io.BytesIO(data), "users 000.csv", cut=True),
    ):
        assert b"user_id\n1\n".startswith(b"".join(part)[:10])
