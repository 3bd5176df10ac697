"""Checksums of export files, over the bytes as stored."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Hasher(Protocol):
    """A running checksum."""

    def update(self, chunk: bytes) -> None:
        """Add the next bytes."""

    def digest(self) -> bytes:
        """Return the checksum of all bytes so far."""


class CRC64NVME:
    """Running CRC-64/NVME; the digest is 8 bytes, big-endian.

    Polynomial 0xad93d23594c93659, reflected, initial value and final XOR all ones.
    """

    def __init__(self) -> None:
        """Start with no bytes."""
        from awscrt.checksums import crc64nvme  # noqa: PLC0415 - a run without new files needs none

        self._crc64nvme = crc64nvme
        self._value = 0

    def update(self, chunk: bytes) -> None:
        """Add the next bytes."""
        self._value = self._crc64nvme(chunk, self._value)

    def digest(self) -> bytes:
        """Return the checksum of all bytes so far."""
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
    """A file's expected checksum.

    Attributes:
        algorithm: Its function as the vendor names it, for example ``"CRC64NVME"``.
        value: Base64 of the digest, as listed.
    """

    algorithm: str
    value: str

    @property
    def shown(self) -> str:
        """The digest as tools print it: in hex, as ``md5sum`` does; CRC64NVME as listed."""
        try:
            digest = base64.b64decode(self.value, validate=True)
        except ValueError:
            return self.value
        return digest.hex() if len(digest) > _CRC_LENGTH else self.value

    def with_digest(self, digest: bytes) -> Checksum:
        """The same function's checksum of other bytes."""
        return Checksum(self.algorithm, base64.b64encode(digest).decode())

    def hasher(self) -> Hasher | None:
        """A new hasher of this algorithm; None if the value cannot be checked.

        That is so if the algorithm is not known, or if the value is not as long as its digests.
        CRC64NVME, the only one that a vendor documents, is checked whatever the value.
        """
        name = self.algorithm.upper().replace("-", "").replace("/", "")
        if name not in HASHERS or (name != "CRC64NVME" and _function_of(self.value) != name):
            return None
        return HASHERS[name]()

    def matches(self, digest: bytes) -> bool:
        """True if *digest* is the expected one; False also if that is not base64."""
        try:
            return base64.b64decode(self.value, validate=True) == digest
        except ValueError:
            return False


def _function_of(value: str) -> str | None:
    """The function whose digests are as long as *value*, in base64; None if none is."""
    try:
        return _LENGTHS.get(len(base64.b64decode(value, validate=True)))
    except ValueError:
        return None


def parse_sidecar(text: str, name: str) -> Checksum | None:
    """Parse the file of a checksum that is delivered beside a data file.

    Args:
        text: Its content: a digest in hex or base64, alone, or on a line with the data file's
            name as md5sum and similar tools write it (``<hex>  <name>``, ``MD5 (<name>) =
            <hex>``).
        name: The data file's name.

    Returns:
        The checksum, its function inferred from the digest's length; None if the text has no
        digest, or several and none with the name.
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
    """Decode a digest from hex or base64; b"" if *word* is not one."""
    try:
        digest = bytes.fromhex(word) if re.fullmatch(r"[0-9a-fA-F]+", word) else b""
        digest = digest or base64.b64decode(word, validate=True)
    except ValueError:
        return b""
    return digest if len(digest) in _LENGTHS else b""
