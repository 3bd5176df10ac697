"""From a listed export file to proven bytes on the local disk, one file ahead."""

from __future__ import annotations

import logging
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from os import SEEK_END
from typing import IO, TYPE_CHECKING

from filetap.download.checksum import CRC64NVME
from filetap.download.gunzip import PIECE, Gunzip, decompress
from filetap.errors import (
    ExpiredURLError,
    IntegrityError,
    RangeRefusedError,
    RetriableTransportError,
    SpoolError,
)
from filetap.read.csv_fast import BLOCK
from filetap.read.detect import Source
from filetap.transports.retry import delay
from filetap.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from filetap.download.checksum import Checksum, Hasher
    from filetap.files import Body, ExportFile, Transport
    from filetap.read.detect import Reader
    from filetap.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Spooled:
    """An export file whose bytes are on the local disk and proven.

    Attributes:
        file: What was downloaded.
        stored: The bytes as stored. The file has no name: the system removes it when it is
            closed, and also when the process is killed.
        size: Bytes as stored.
        content: Fingerprint of the bytes as stored: their number, and their CRC-64/NVME in hex.
        whole: Whether this is the whole file; if not, it is the beginning of one too large to
            look at, and nothing is proven.
    """

    file: ExportFile
    stored: IO[bytes]
    size: int
    content: str
    whole: bool = True

    @property
    def unread(self) -> int:
        """Bytes after those that a reader has taken."""
        return self.size - self.stored.tell()

    def close(self) -> None:
        """Give the disk space back."""
        self.stored.close()

    def reader(  # noqa: PLR0913 - ways of one reading
        self,
        reserved: Iterable[str],
        known: Collection[str] = (),
        *,
        block: int = BLOCK,
        divert: bool = False,
        most: int | None = None,
        skip: int = 0,
    ) -> Reader:
        """A reader of the file's rows, from its beginning.

        Args:
            reserved: Column names that the file's own columns may not take.
            known: Names of columns that such a file may have.
            block: Bytes of CSV parsed at a time.
            divert: Whether a row that cannot be read comes as a `Malformed` one.
            most: How many of the stored bytes to read; None for all.
            skip: Rows at the beginning that the caller leaves out: they may come without values.

        Raises:
            FormatError: The file, or its header row, cannot be read.
        """
        cut = most is not None or not self.whole
        return Source(
            self.stored,
            str(self.file),
            reserved,
            block=block,
            divert=divert,
            most=most,
            cut=cut,
            known=known,
            skip=skip,
        ).open()


@dataclass(frozen=True, slots=True)
class Spool:
    """Where downloads are kept while they are read.

    Attributes:
        folder: Existing folder; None for the system's temporary one.
        retries: How often one request is tried again; bytes that arrive start the count anew.
        head: Bytes that are fetched of a file too large to be sampled whole.
        pause: Waits that many seconds.
        arrived: Is told how many bytes of a file are here; fewer than before, if it starts over.
    """

    folder: Path | None = None
    retries: int = 5
    head: int = 1 << 20
    pause: Callable[[float], object] = time.sleep
    arrived: Callable[[int], object] = lambda _: None

    @classmethod
    def of(cls, settings: Settings) -> Spool:
        """The spool that settings ask for."""
        return cls(settings.spool, settings.retries, head=settings.tuning.head)

    def download(
        self, transport: Transport, file: ExportFile, largest: int | None = None
    ) -> Spooled:
        """Fetch *file* and prove every byte: length, checksum, gzip's own check.

        A mismatch is downloaded afresh once.

        Args:
            transport: Where the file comes from.
            file: What to fetch.
            largest: Bytes; of a file that is larger, or does not say, only the beginning comes.

        Raises:
            IntegrityError: The second download differs from what was promised, too.
            TransportError: The file cannot be fetched.
            SpoolError: The local disk refused it.
        """
        try:
            return self._attempt(transport, file, largest)
        except IntegrityError as error:
            logger.warning("%s; downloading it afresh", error.message)
            return self._attempt(transport, file, largest)

    def download_to(self, transport: Transport, file: ExportFile, stored: IO[bytes]) -> None:
        """Fetch *file* into *stored* and prove every byte, as `download` does.

        What an earlier download has left in *stored* is not fetched again, unless the whole proves
        wrong.

        Raises:
            IntegrityError: The second download differs from what was promised, too.
            TransportError: The file cannot be fetched; *stored* keeps what has come.
            SpoolError: The local disk refused it.
        """
        download = _Download(file, stored, self.arrived)
        try:
            self._fill(transport, download, None)
        except IntegrityError as error:
            logger.warning("%s; downloading it afresh", error.message)
            download.restart()
            self._fill(transport, download, None)

    def _attempt(self, transport: Transport, file: ExportFile, largest: int | None) -> Spooled:
        """Download once, going on after broken connections and lapsed URLs."""
        try:
            stored = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115 - handed on
        except OSError as error:
            msg = f"{file}: no download can be kept in the spool folder ({error.strerror})"
            raise SpoolError(msg, "check spool_dir") from None
        try:
            return self._fill(transport, _Download(file, stored, self.arrived), largest)
        except BaseException:
            with suppress(OSError):  # closing writes what the disk has just refused
                stored.close()
            raise

    def _fill(self, transport: Transport, download: _Download, largest: int | None) -> Spooled:
        """Fetch until all bytes are there, or those that a look at a large file needs."""
        file = download.file
        furthest = failures = 0
        while not download.complete:
            try:
                with transport.fetch(file, download.size, download.version) as body:
                    download.receive(body, largest, self.head)
                break
            except (RetriableTransportError, ExpiredURLError) as error:
                # Bytes further than ever before are progress: only failures in a row count.
                failures = 1 if download.size > furthest else failures + 1
                furthest = max(furthest, download.size)
                # A lapsed URL is no failed request: a fresh one is asked for once in any case.
                lapsed = isinstance(error, ExpiredURLError)
                if failures > (max(1, self.retries) if lapsed else self.retries):
                    raise
                if isinstance(error, RangeRefusedError):
                    download.restart()
                if isinstance(error, RetriableTransportError):
                    self.pause(delay(error, failures, self.retries))
        if download.whole:
            download.verify()
        return Spooled(file, download.stored, download.size, download.content, download.whole)


class _Download:
    """Bytes on their way to the disk, held against what was promised as they arrive.

    Attributes:
        file: What is downloaded.
        stored: Where its bytes go; what is there already are the file's first ones.
        size: Bytes so far.
        version: What the server calls the content the bytes belong to.
        whole: Whether all bytes are wanted, not only the beginning.
    """

    def __init__(
        self, file: ExportFile, stored: IO[bytes], arrived: Callable[[int], object]
    ) -> None:
        self.file = file
        self.stored = stored
        self._arrived = arrived
        self._begin(stored.seek(0, SEEK_END))

    def restart(self) -> None:
        """Forget all bytes."""
        self.stored.seek(0)
        self.stored.truncate()
        self._begin(0)
        self._arrived(0)

    def _begin(self, size: int) -> None:
        """Know nothing but how many bytes are here."""
        self.size = size
        self.version = ""
        self.whole = True
        self._expects = False
        self._promised_size: int | None = None
        self._checksum: Checksum | None = None
        self._hasher: Hasher | None = None
        self._fingerprint = CRC64NVME()
        self._gunzip = Gunzip()

    @property
    def content(self) -> str:
        """Fingerprint of the bytes so far: their number, and their CRC-64/NVME in hex."""
        return f"{self.size}-{self._fingerprint.digest().hex()}"

    @property
    def complete(self) -> bool:
        """Whether as many bytes are here as were promised; False without a promise."""
        return self._promised_size is not None and self.size == self._promised_size > 0

    @property
    def _exceeds(self) -> bool:
        """Whether more bytes are here than were promised."""
        return self._promised_size is not None and self.size > self._promised_size

    def receive(self, body: Body, largest: int | None, head: int) -> None:
        """Take what *body* brings: all, or *head* bytes of a file larger than *largest*.

        Raises:
            RangeRefusedError: It goes on from where these bytes do not end.
            SpoolError: The disk refused it.
        """
        promised = (body.size, body.checksum)
        known = (self._promised_size, self._checksum)
        if body.offset != self.size or (self._expects and self.size and promised != known):
            self.restart()
        if body.offset != self.size:
            msg = f"{self.file}: the file changed during the download"
            raise RangeRefusedError(msg)
        self.version = body.version
        self.whole = largest is None or (body.size is not None and body.size <= largest)
        if not self.size or not self._expects:
            self._expect(body)
        for chunk in body.chunks:
            self._update(chunk)
            if self._exceeds or (not self.whole and self.size >= head):
                break

    def _expect(self, body: Body) -> None:
        """Take the promises; says so when there is none to hold the bytes against."""
        self._expects = True
        self._promised_size, self._checksum = body.size, body.checksum
        self._hasher = self._checksum.hasher() if self._checksum else None
        if self.size:
            self.stored.seek(0)
            while piece := self.stored.read(PIECE):
                self._prove(piece)
            self._arrived(self.size)
        if not self.whole:
            return
        if self._checksum is None and body.promises:
            logger.warning("%s: no checksum was promised, so none is verified", self.file)
        elif self._checksum and self._hasher is None:
            logger.warning(
                "%s: checksum function %r is not known; the checksum is not verified",
                self.file,
                self._checksum.algorithm,
            )

    def _update(self, chunk: bytes) -> None:
        """Take the next bytes as stored."""
        try:
            self.stored.write(chunk)
            self.stored.flush()
        except OSError as error:
            msg = f"{self.file}: the download cannot be kept on disk ({error.strerror})"
            raise SpoolError(msg, "free some space or set spool_dir to a larger disk") from None
        self.size += len(chunk)
        self._prove(chunk)
        self._arrived(self.size)

    def _prove(self, chunk: bytes) -> None:
        """Take the next bytes into the checks."""
        if self._hasher:
            self._hasher.update(chunk)
        self._fingerprint.update(chunk)
        self._gunzip.check(chunk)

    def verify(self) -> None:
        """Compare once, at the end of the bytes.

        Raises:
            IntegrityError: Something differs.
        """
        wrong = ""
        if self._exceeds:
            wrong = f"more bytes than promised: at least {counted(self.size, 'byte')} instead of "
            wrong += f"{self._promised_size}"
        elif self._promised_size is not None and self.size != self._promised_size:
            wrong = f"{counted(self.size, 'byte')} instead of {self._promised_size}"
        elif self._checksum and self._hasher:
            digest = self._hasher.digest()
            if not self._checksum.matches(digest):
                wrong = f"its {self._checksum.algorithm} checksum is not {self._checksum.shown}"
                wrong += self._also_tried(self._checksum)
        if wrong := wrong or self._gunzip.fault:
            msg = f"{self.file}: the downloaded file is damaged: {wrong}"
            raise IntegrityError(msg, "run again; if it stays, report the file to its vendor")

    def _also_tried(self, checksum: Checksum) -> str:
        """Words for a checksum that is of the decompressed bytes, which nobody documents."""
        if (hasher := checksum.hasher()) and not self._gunzip.fault:
            self.stored.seek(0)
            for piece in decompress(self.stored, str(self.file)):
                hasher.update(piece)
            if checksum.matches(hasher.digest()):
                return ", which is the checksum of its decompressed bytes"
        return ""
