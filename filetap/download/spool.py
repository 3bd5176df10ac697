"""Downloads an export file to the local disk, and verifies it as it arrives."""

from __future__ import annotations

import logging
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from os import SEEK_END
from typing import IO, TYPE_CHECKING

from filetap.checksum import HASHERS
from filetap.download.gunzip import PIECE, Gunzip, decompress
from filetap.errors import (
    ExpiredURLError,
    IntegrityError,
    RangeRefusedError,
    RetriableTransportError,
    SpoolError,
)
from filetap.settings import Retries, Tuning
from filetap.transports.retry import delay, log_retry
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from filetap.checksum import Checksum, Hasher
    from filetap.files import Body, ExportFile, Transport
    from filetap.settings import Settings

_DAMAGED_HINT = "run again; if it happens again, report the file to its vendor"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Spooled:
    """A download on the local disk: verified, unless it is only the beginning.

    Attributes:
        file: What was downloaded.
        stored: The bytes as stored. The file has no name, so the system removes it when it is
            closed, even if the process is killed.
        size: Bytes as stored.
        content: Fingerprint of the bytes as stored: their number, and a digest in hex.
        whole: True for the whole file; False for only its beginning, which is not verified.
        total: Bytes of the whole file; None if not stated.
    """

    file: ExportFile
    stored: IO[bytes]
    size: int
    content: str
    whole: bool = True
    total: int | None = None

    @property
    def unread(self) -> int:
        """Bytes that no reader has taken yet."""
        return self.size - self.stored.tell()

    def close(self) -> None:
        """Free the disk space."""
        self.stored.close()


@dataclass(frozen=True, slots=True)
class Spool:
    """Downloads files to a local folder, where they stay while they are read.

    Attributes:
        folder: Existing folder; None for the system's temporary one.
        retries: Failures in a row after which a download is given up; new bytes reset the count.
        head: Bytes that are fetched of a file too large to be sampled whole.
        fingerprint: Algorithm of the digest that is part of a file's fingerprint.
        arrived: Called with the bytes of a file received so far; fewer than before if the
            download starts over.
    """

    folder: Path | None = None
    retries: Retries = field(default_factory=Retries)
    head: int = Tuning().head
    fingerprint: str = "CRC64NVME"
    arrived: Callable[[int], object] = lambda _: None

    @classmethod
    def of(cls, settings: Settings) -> Spool:
        """The spool that settings ask for."""
        return cls(
            settings.spool,
            settings.retries,
            head=settings.tuning.head,
            fingerprint=settings.fingerprint,
        )

    def download(
        self, transport: Transport, file: ExportFile, largest: int | None = None
    ) -> Spooled:
        """Download *file* and verify it: length, checksum, gzip's own check.

        After a mismatch it is downloaded once more.

        Args:
            transport: Where the file comes from.
            file: What to download.
            largest: Bytes; of a file that is larger, or of unknown size, only the beginning is
                downloaded, and not verified. None for no limit.

        Raises:
            IntegrityError: The second download does not match either.
            TransportError: The file cannot be fetched.
            SpoolError: The local disk refused it.
        """
        try:
            return self._attempt(transport, file, largest)
        except IntegrityError as error:
            logger.warning("%s; downloading it again", error.message)
            return self._attempt(transport, file, largest)

    def download_to(self, transport: Transport, file: ExportFile, stored: IO[bytes]) -> None:
        """Download *file* into *stored* and verify it, as `download` does.

        Bytes already in *stored* are taken as the file's first ones, and not fetched again unless
        the whole does not match.

        Raises:
            IntegrityError: The second download does not match either; *stored* is empty.
            TransportError: The file cannot be fetched; *stored* keeps what has arrived.
            SpoolError: The local disk refused it.
        """
        download = _Download(file, stored, self)
        try:
            self._fill(transport, download, None)
        except IntegrityError as error:
            logger.warning("%s; downloading it again", error.message)
            download.restart()
            try:
                self._fill(transport, download, None)
            except IntegrityError:
                download.restart()  # nothing that a later download could go on with
                raise

    def _attempt(self, transport: Transport, file: ExportFile, largest: int | None) -> Spooled:
        """Download once, resuming after broken connections and lapsed URLs."""
        try:
            stored = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 - returned
        except OSError as error:
            msg = f"{file}: the spool folder cannot be written to ({error.strerror})"
            raise SpoolError(msg, "check spool_dir") from None
        try:
            return self._fill(transport, _Download(file, stored, self), largest)
        except BaseException:
            with suppress(OSError):  # closing tries to write again what the disk refused
                stored.close()
            raise

    def _fill(self, transport: Transport, download: _Download, largest: int | None) -> Spooled:
        """Fetch until all bytes are on disk, or the head of a file above *largest*."""
        file = download.file
        furthest = failures = 0
        while not download.complete:
            try:
                with transport.fetch(file, download.size, download.version) as body:
                    download.receive(body, largest, self.head)
                break
            except (RetriableTransportError, ExpiredURLError) as error:
                if isinstance(error, RetriableTransportError) and error.is_final:
                    raise  # a request for the link, say, that was repeated already
                # Only failures in a row count: bytes beyond all earlier ones are progress.
                failures = 1 if download.size > furthest else failures + 1
                furthest = max(furthest, download.size)
                # Neither a lapsed URL nor bytes that cannot be continued, perhaps of an earlier
                # process, is a failed request: each is replaced once even without retries.
                refused = isinstance(error, RangeRefusedError)
                replaced = refused or isinstance(error, ExpiredURLError)
                if failures > (max(1, self.retries.count) if replaced else self.retries.count):
                    raise
                if refused:
                    download.restart()
                if isinstance(error, RetriableTransportError) and failures <= self.retries.count:
                    seconds = delay(error, failures, self.retries)
                    log_retry(error, seconds, failures, self.retries)
                    self.retries.pause(seconds)
        if download.whole:
            download.verify()
        return Spooled(
            file,
            download.stored,
            download.size,
            download.content,
            download.whole,
            download.expected_size,
        )


class _Download:
    """A download in progress, verified as it arrives.

    Attributes:
        file: What is downloaded.
        stored: Where its bytes go; bytes already in it are taken as the file's first ones.
        size: Bytes so far.
        version: The server's name for the content that the bytes belong to.
        whole: True if all bytes are wanted, not only the beginning.
        expected_size: Bytes of the whole file; None if not stated.
    """

    def __init__(self, file: ExportFile, stored: IO[bytes], spool: Spool) -> None:
        self.file = file
        self.stored = stored
        self._arrived = spool.arrived
        self._new_hasher = HASHERS[spool.fingerprint]
        self._begin(stored.seek(0, SEEK_END))

    def restart(self) -> None:
        """Forget all bytes."""
        self.stored.seek(0)
        self.stored.truncate()
        self._begin(0)
        self._arrived(0)

    def _begin(self, size: int) -> None:
        """Reset everything but the bytes on disk, *size* of them."""
        self.size = size
        self.version = ""
        self.whole = True
        self._is_expected = False  # True once the expected size and checksum are known
        self.expected_size: int | None = None
        self._checksum: Checksum | None = None
        self._hasher: Hasher | None = None
        self._fingerprint = self._new_hasher()
        self._gunzip = Gunzip()

    @property
    def content(self) -> str:
        """Fingerprint of the bytes so far: their number, and a digest in hex."""
        return f"{self.size}-{self._fingerprint.digest().hex()}"

    @property
    def complete(self) -> bool:
        """True if the expected number of bytes has arrived; False if it is not known."""
        return self.expected_size is not None and self.size == self.expected_size > 0

    @property
    def _exceeds(self) -> bool:
        """True if more bytes have arrived than expected."""
        return self.expected_size is not None and self.size > self.expected_size

    def receive(self, body: Body, largest: int | None, head: int) -> None:
        """Store the bytes of *body*: all, or *head* bytes of a file larger than *largest*.

        Raises:
            RangeRefusedError: It does not begin where the bytes on disk end.
            SpoolError: The disk refused it.
        """
        stated = (self.expected_size if body.size is None else body.size, body.checksum)
        expected = (self.expected_size, self._checksum)
        if body.offset != self.size or (self._is_expected and self.size and stated != expected):
            self.restart()
        if body.offset != self.size:
            msg = f"{self.file}: the file changed during the download"
            raise RangeRefusedError(msg)
        self.version = body.version
        self.whole = largest is None or (body.size is not None and body.size <= largest)
        if not self.size or not self._is_expected:
            self._expect(body)
        for chunk in body.chunks:
            self._update(chunk)
            if self._exceeds or (not self.whole and self.size >= head):
                break

    def _expect(self, body: Body) -> None:
        """Record the expected size and checksum; warn if there is nothing to verify against."""
        self._is_expected = True
        self.expected_size, self._checksum = body.size, body.checksum
        self._hasher = self._checksum.hasher() if self._checksum else None
        if self.size:
            self.stored.seek(0)
            while piece := self.stored.read(PIECE):
                self._check(piece)
            self._arrived(self.size)
        if not self.whole:
            return
        if self._checksum is None and body.promises:
            logger.warning("%s: no checksum is available, so none is verified", self.file)
        elif self._checksum and self._hasher is None:
            logger.warning(
                "%s: unknown checksum function %r; the checksum is not verified",
                self.file,
                self._checksum.algorithm,
            )

    def _update(self, chunk: bytes) -> None:
        """Store and check the next bytes."""
        try:
            self.stored.write(chunk)
            self.stored.flush()
        except OSError as error:
            msg = f"{self.file}: the download cannot be written to disk ({error.strerror})"
            raise SpoolError(msg, "free some space or set spool_dir to a larger disk") from None
        self.size += len(chunk)
        self._check(chunk)
        self._arrived(self.size)

    def _check(self, chunk: bytes) -> None:
        """Add the next bytes to the checksums and gzip's own check."""
        if self._hasher:
            self._hasher.update(chunk)
        self._fingerprint.update(chunk)
        self._gunzip.check(chunk)

    def verify(self) -> None:
        """Compare with what was expected, once all bytes have arrived.

        Raises:
            IntegrityError: Length, checksum or gzip's own check do not match.
        """
        wrong = ""
        if self._exceeds:
            wrong = f"more bytes than expected: at least {counted(self.size, 'byte')} instead of "
            wrong += f"{self.expected_size}"
        elif self.expected_size is not None and self.size != self.expected_size:
            wrong = f"{counted(self.size, 'byte')} instead of {self.expected_size}"
        elif self._checksum and self._hasher:
            digest = self._hasher.digest()
            if not self._checksum.matches(digest):
                wrong = f"its {self._checksum.algorithm} checksum is not {self._checksum.shown}"
                wrong += f" but {self._checksum.with_digest(digest).shown}"
                wrong += self._also_tried(self._checksum)
        if wrong := wrong or self._gunzip.fault:
            msg = f"{self.file}: the downloaded file is damaged: {wrong}"
            raise IntegrityError(msg, _DAMAGED_HINT)

    def _also_tried(self, checksum: Checksum) -> str:
        """Words to add if the checksum is that of the decompressed bytes; empty if it is not.

        No vendor documents that, but the message would explain a reported mismatch.
        """
        if (hasher := checksum.hasher()) and not self._gunzip.fault:
            self.stored.seek(0)
            for piece in decompress(self.stored, str(self.file)):
                hasher.update(piece)
            if checksum.matches(hasher.digest()):
                return ", which is the checksum of its decompressed bytes"
        return ""
