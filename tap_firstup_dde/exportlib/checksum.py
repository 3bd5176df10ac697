"""Checksums of export files, over the bytes as stored."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Protocol

from awscrt import checksums


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


HASHERS: dict[str, type[Hasher]] = {"CRC64NVME": CRC64NVME}


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file's checksum ought to be.

    Attributes:
        algorithm: Firstup's ``checksum_function``, for example ``"CRC64NVME"``.
        value: Base64 of the digest, as listed.
    """

    algorithm: str
    value: str

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
