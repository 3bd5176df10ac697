"""Checksums verify the bytes as stored."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filetap.checksum import CRC64NVME, Checksum, parse_sidecar

REFLECTED = 0x9A6C9329AC4BC9B5  # the polynomial, lowest bit first
ONES = (1 << 64) - 1


def digest_of(*chunks: bytes) -> bytes:
    """The digest of some chunks."""
    hasher = CRC64NVME()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.digest()


def by_the_book(data: bytes) -> bytes:
    """The digest computed bit by bit, by the definition."""
    value = ONES
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (REFLECTED if value & 1 else 0)
    return (value ^ ONES).to_bytes(8, "big")


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"123456789", "rosUhgp5mIg="), (b"", "AAAAAAAAAAA="), (b"\0" * 1024, None)],
)
def test_vector(data: bytes, expected: str | None) -> None:
    """The digest is the catalogued one: 8 bytes, big-endian."""
    expected = expected or base64.b64encode(by_the_book(data)).decode()
    assert base64.b64encode(digest_of(data)).decode() == expected


@given(st.binary(max_size=64))
def test_definition(data: bytes) -> None:
    """The digest is that of the definition, bit by bit."""
    assert digest_of(data) == by_the_book(data)


@given(st.lists(st.binary(max_size=32)))
def test_chunks(chunks: list[bytes]) -> None:
    """However the bytes are split, the digest is that of all of them."""
    assert digest_of(*chunks) == digest_of(b"".join(chunks))


@given(st.binary(min_size=1, max_size=64), st.data())
def test_flipped_bit(data: bytes, draw: st.DataObject) -> None:
    """One flipped bit changes the digest."""
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    flipped = (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")
    assert digest_of(flipped) != digest_of(data)


@pytest.mark.parametrize("name", ["CRC64NVME", "crc64nvme", "CRC-64/NVME", "Crc64Nvme"])
def test_known(name: str) -> None:
    """The algorithm is recognised in every spelling."""
    hasher = Checksum(name, "rosUhgp5mIg=").hasher()
    assert hasher
    hasher.update(b"123456789")
    assert Checksum(name, "rosUhgp5mIg=").matches(hasher.digest())


@pytest.mark.parametrize("name", ["SHA3", "CRC64", "", "None"])
def test_unknown(name: str) -> None:
    """An unknown algorithm has no hasher."""
    assert Checksum(name, "rosUhgp5mIg=").hasher() is None


@pytest.mark.parametrize("value", ["rosUhgp5mIg=", "no base64", "", "00" * 32])
@pytest.mark.parametrize("name", ["MD5", "SHA-1", "SHA256", "SHA512"])
def test_undocumented(name: str, value: str) -> None:
    """A function that no vendor documents is not known if its value cannot be its digest."""
    assert Checksum(name, value).hasher() is None


@pytest.mark.parametrize("value", ["xx", "1B2M2Y8AsgTpgAmY7PhCfg=="])
def test_documented(value: str) -> None:
    """Whatever the value of CRC64NVME, it is compared."""
    checksum = Checksum("CRC64NVME", value)
    assert checksum.hasher()
    assert not checksum.matches(digest_of(b"123456789"))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "rosUhgp5mIg",
        "rosUhgp5mIg=\n",
        "ros Uhgp5mIg=",
        "AAAAAAAAAAA=",
        "rosUhgp5",
        "ae8b14860a799888",
        "não",
    ],
)
def test_mismatch(value: str) -> None:
    """Another digest, a shorter one, and text that is not base64 do not match."""
    assert not Checksum("CRC64NVME", value).matches(digest_of(b"123456789"))


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256", "sha512"])
@pytest.mark.parametrize(
    "form",
    ["{hex}", "{hex}  {name}\n", "{hex} *{name}", "{upper}", "{base64}", "X ({name}) = {hex}"],
)
def test_sidecar(kind: str, form: str) -> None:
    """A checksum file is read in any usual form; the digest's length determines its function."""
    digest = hashlib.new(kind, b"content").digest()
    words = {"hex": digest.hex(), "upper": digest.hex().upper(), "name": "a-b.gz"}
    text = form.format(**words, base64=base64.b64encode(digest).decode())
    checksum = parse_sidecar(text, "a-b.gz")
    assert checksum
    assert checksum.algorithm == kind.upper()
    hasher = checksum.hasher()
    assert hasher
    hasher.update(b"content")
    assert checksum.matches(hasher.digest())


@pytest.mark.parametrize("text", ["", "none", "abc", "0" * 33, "{0}\n{0}\n".format("0" * 32)])
def test_no_sidecar(text: str) -> None:
    """A text without a digest, or with several, has no checksum."""
    assert parse_sidecar(text, "a-b.gz") is None


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256", "sha512"])
def test_shown(kind: str) -> None:
    """A digest is printed as ``md5sum`` and similar tools do, however it was stated."""
    digest = hashlib.new(kind, b"content").digest()
    for text in (digest.hex(), base64.b64encode(digest).decode()):
        checksum = parse_sidecar(text, "a.gz")
        assert checksum
        assert checksum.shown == digest.hex()


@pytest.mark.parametrize("value", ["rosUhgp5mIg=", "no base64", "não", ""])
def test_shown_as_listed(value: str) -> None:
    """CRC64NVME, and text that is not base64, is printed as listed."""
    assert Checksum("CRC64NVME", value).shown == value
