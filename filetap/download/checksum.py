"""Checksums of export files, over the bytes as stored."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from awscrt import checksums

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Hasher(Protocol):
    """A checksum in the making."""

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """The checksum of all bytes so far."""


class CRC64NVME:
    """Running CRC-64/NVME; the digest is 8 bytes, big-endian.

    Polynomial 0xad93d23594c93659, reflected, initial value and final XOR all ones.
    """

    def __init__(self) -> None:
        """Start with no bytes."""
        self._value = 0

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._value = checksums.crc64nvme(chunk, self._value)

    def digest(self) -> bytes:
        """The checksum of all bytes so far; 8 bytes."""
        return self._value.to_bytes(8, "big")


HASHERS: Mapping[str, Callable[[], Hasher]] = {
    "CRC64NVME": CRC64NVME,
    "MD5": lambda: hashlib.md5(usedforsecurity=False),
    "SHA1": lambda: hashlib.sha1(usedforsecurity=False),
    "SHA256": hashlib.sha256,
    "SHA512": hashlib.sha512,
}
_CRC_LENGTH = 8  # bytes
_LENGTHS = {8: "CRC64NVME", 16: "MD5", 20: "SHA1", 32: "SHA256", 64: "SHA512"}  # bytes of a digest


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file's checksum ought to be.

    Attributes:
        algorithm: Firstup's ``checksum_function``, for example ``"CRC64NVME"``.
        value: Base64 of the digest, as listed.
    """

    algorithm: str
    value: str

    @property
    def shown(self) -> str:
        """The digest as people compare it: in hex as ``md5sum`` prints it; CRC64NVME as listed."""
        try:
            digest = base64.b64decode(self.value, validate=True)
        except ValueError:
            return self.value
        return digest.hex() if len(digest) > _CRC_LENGTH else self.value

    def hasher(self) -> Hasher | None:
        """A fresh hasher of this algorithm; None when the algorithm is not known."""
        kind = HASHERS.get(self.algorithm.upper().replace("-", "").replace("/", ""))
        return kind() if kind else None

    def matches(self, digest: bytes) -> bool:
        """Whether *digest* is the promised one; False when the promise is not base64."""
        try:
            return base64.b64decode(self.value, validate=True) == digest
        except ValueError:
            return False


def parse_sidecar(text: str, name: str) -> Checksum | None:
    """The checksum that a file beside another one states.

    Args:
        text: Its content: a digest in hex or base64, alone, or in a line with the other file's
            name as md5sum and its kind write it (``<hex>  <name>``, ``MD5 (<name>) = <hex>``).
        name: The other file's name.

    Returns:
        The checksum, its function told by the digest's length; None when it states none, or
        several without the name.
    """
    lines = [line.strip() for line in text.lstrip("\ufeff").splitlines() if line.strip()]
    if len(lines) > 1:
        lines = [line for line in lines if name in line]
    if len(lines) != 1:
        return None
    words = re.split(r"[\s*()]+|(?:^|\s)=(?:\s|$)", lines[0].replace(name, " "))
    digests = [digest for word in words if word and (digest := _digest(word))]
    if len(digests) != 1:
        return None
    return Checksum(_LENGTHS[len(digests[0])], base64.b64encode(digests[0]).decode())


def _digest(word: str) -> bytes:
    """The digest that a word is, in hex or in base64; nothing when it is none."""
    try:
        digest = bytes.fromhex(word) if re.fullmatch(r"[0-9a-fA-F]+", word) else b""
        digest = digest or base64.b64decode(word, validate=True)
    except ValueError:
        return b""
    return digest if len(digest) in _LENGTHS else b""
