"""Every byte is on the local disk and verified before it is used, and fetched once if possible."""

from __future__ import annotations

import base64
import gzip
import io
import os
import random
import resource
import stat
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from filetap.checksum import CRC64NVME, Checksum
from filetap.download.gunzip import decompress
from filetap.download.spool import Spool, Spooled
from filetap.errors import (
    ExpiredURLError,
    FileGoneError,
    IntegrityError,
    RetriableTransportError,
    SpoolError,
    TransportError,
)
from filetap.files import Body, ExportFile
from filetap.read.detect import open_file
from filetap.settings import Retries
from tests.runs import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tap_firstup_dde.api import FirstupTransport
    from tap_firstup_dde.emulator import EmulatedFile, Emulator

NOISE = random.Random(0).randbytes(700_000)  # does not compress: bytes sent are bytes stored
CSV = b"user_id,name\n" + b"".join(b"%d,Zo\xc3\xab\n" % n for n in range(5000))


def unpacked(spooled: Spooled, most: int | None = None) -> bytes:
    """The decompressed bytes, from the beginning."""
    spooled.stored.seek(0)
    return b"".join(decompress(spooled.stored, "users", most))


class Desk:
    """An emulator, a transport and a spool, and a record of the pauses."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        """Start with nothing to do at pauses."""
        self.emulator, self.folder = emulator, folder
        self.transport: FirstupTransport = connect({**emulator.settings, "max_retries": 0})
        self.pauses: list[float] = []
        self.at_pause: Callable[[], object] = lambda: None
        self.spool = Spool(folder, Retries(3, pause=self.pause))

    def pause(self, seconds: float) -> None:
        """Run immediately what should happen while the tap waits."""
        self.pauses.append(seconds)
        self.at_pause()

    def listed(self) -> ExportFile:
        """The only file in the list."""
        (file,) = self.transport.list_files("users")
        return file

    def download(self, largest: int | None = None) -> tuple[bytes, bool]:
        """Download the only file; return its bytes as stored, and True if they are all."""
        with closing(self.spool.download(self.transport, self.listed(), largest)) as spooled:
            spooled.stored.seek(0)
            stored = spooled.stored.read()
            assert spooled.size == len(stored)
            return stored, spooled.whole

    def ranges(self) -> list[str]:
        """The Range header of each download; empty if it has none."""
        return [r.headers.get("range", "") for r in self.emulator.requests if r.route == "download"]

    def fetched(self) -> int:
        """The number of bytes that S3 sent."""
        return sum(r.sent for r in self.emulator.requests if r.route == "download")


@pytest.fixture
def desk(emulator: Emulator, tmp_path: Path) -> Iterator[Desk]:
    """An emulator without files, and everything needed to download from it."""
    yield Desk(emulator, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def noise(emulator: Emulator) -> EmulatedFile:
    """Add a file of known bytes, stored as they are."""
    return emulator.add("users", "2026-05-14-16", NOISE, gzip=False)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("content", [CSV, NOISE, b"a", b""], ids=["csv", "noise", "byte", "none"])
def test_good(desk: Desk, content: bytes, zipped: bool) -> None:  # noqa: FBT001 - two tables
    """A good file is downloaded once, and can be decompressed any number of times."""
    stored = desk.emulator.add("users", "2026-05-14-16", content, gzip=zipped)
    with closing(desk.spool.download(desk.transport, desk.listed())) as spooled:
        assert spooled.whole
        assert spooled.size == len(stored.body)
        for _ in range(2):
            assert unpacked(spooled) == content
    assert desk.ranges() == [""]
    assert spooled.stored.closed


def test_pieces_of_the_begin(desk: Desk) -> None:
    """Reading the first stored bytes decompresses no more than those."""
    stored = desk.emulator.add("users", "2026-05-14-16", NOISE)
    with closing(desk.spool.download(desk.transport, desk.listed())) as spooled:
        begin = unpacked(spooled, 100_000)
        assert NOISE.startswith(begin)
        assert 50_000 < len(begin) <= 100_000
        assert unpacked(spooled, len(stored.body)) == NOISE


@pytest.mark.parametrize("after", [1, 1000, 262_144, 300_000, 699_999, 700_000])
@pytest.mark.usefixtures("noise")
def test_drop(desk: Desk, after: int) -> None:
    """After a dropped connection the download resumes, and no byte is fetched twice."""
    desk.emulator.fail("download", drop_after=after)
    assert desk.download() == (NOISE, True)
    assert desk.ranges() == ["", f"bytes={after}-"][: 1 + (after < len(NOISE))]
    assert desk.fetched() == len(NOISE)
    assert desk.emulator.count("show") == 1


@pytest.mark.usefixtures("noise")
def test_many_drops(desk: Desk) -> None:
    """New bytes reset the count of retries: a download survives any number of drops."""
    desk.emulator.fail("download", drop_after=50_000, times=None)
    assert desk.download() == (NOISE, True)
    assert len(desk.ranges()) == 14
    assert desk.fetched() == len(NOISE)


@pytest.mark.usefixtures("noise")
def test_parts(desk: Desk) -> None:
    """A server may send less than is requested: the download resumes after it."""
    desk.emulator.fail("download", part=50_000, times=None)
    assert desk.download() == (NOISE, True)
    assert desk.fetched() == len(NOISE)


@pytest.mark.parametrize(
    "fault",
    [
        {"drop_after": 0},
        {"drop_after": -1},
        {"drop_after": 1000, "ignore_range": True},
        {"drop_after": 1000, "content_range": "bytes 7-9/10"},
        {"status": 503},
        {"status": 416},
    ],
    ids=str,
)
@pytest.mark.usefixtures("noise")
def test_no_progress(desk: Desk, fault: dict[str, Any]) -> None:
    """A download that makes no progress ends after the retries."""
    desk.emulator.fail("download", times=None, **fault)
    with pytest.raises(RetriableTransportError, match="users 2026-05-14-16/000"):
        desk.download()
    first = 1 if fault.get("drop_after", 0) > 0 else 0
    assert len(desk.pauses) == 3
    assert first + 3 <= desk.emulator.count("download") <= first + 4


@pytest.mark.usefixtures("noise")
def test_wait(desk: Desk) -> None:
    """The wait that S3 asks for is obeyed."""
    desk.emulator.fail("download", status=503, headers={"Retry-After": "7"}, times=2)
    assert desk.download() == (NOISE, True)
    assert desk.pauses == [7.0, 7.0]


@pytest.mark.usefixtures("noise")
def test_wait_too_long(desk: Desk) -> None:
    """A wait longer than a run should last ends the download."""
    desk.emulator.fail("download", status=503, headers={"Retry-After": "9999"})
    with pytest.raises(TransportError, match="9999 seconds"):
        desk.download()


@pytest.mark.usefixtures("noise")
def test_expired_midway(desk: Desk) -> None:
    """When the URL expires midway, the download resumes with a new one."""
    desk.emulator.fail("download", drop_after=300_000)
    desk.at_pause = desk.emulator.expire_urls
    assert desk.download() == (NOISE, True)
    assert desk.ranges() == ["", "bytes=300000-", "bytes=300000-"]
    assert desk.emulator.count("show") == 2
    assert desk.fetched() - len(NOISE) < 1000  # S3's response if the URL has expired


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.usefixtures("noise")
def test_always_expired(desk: Desk, status: int) -> None:
    """URLs that are always refused end the download after as many new ones as retries."""
    desk.emulator.fail("download", status=status, times=None)
    with pytest.raises(ExpiredURLError, match=str(status)):
        desk.download()
    assert desk.emulator.count("show") == desk.emulator.count("download") == 4


def test_gone_midway(desk: Desk, noise: EmulatedFile) -> None:
    """A file that disappears midway is an error, not a short file."""
    desk.emulator.fail("download", drop_after=1000)
    desk.at_pause = lambda: setattr(noise, "gone", True)
    with pytest.raises(FileGoneError, match="users 2026-05-14-16/000"):
        desk.download()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size_bytes": 699_999}, "700000 bytes instead of 699999"),
        ({"size_bytes": 700_001}, "700000 bytes instead of 700001"),
        ({"checksum": "AAAAAAAAAAA="}, "its CRC64NVME checksum is not AAAAAAAAAAA="),
        ({"checksum": "no base64"}, "checksum"),
        ({"checksum": "não"}, "checksum"),
        ({"body": NOISE[:-1]}, "699999 bytes instead of 700000"),
        ({"body": NOISE[:-1] + b"?"}, "checksum"),
    ],
)
def test_damaged(
    desk: Desk,
    noise: EmulatedFile,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, Any],
    words: str,
) -> None:
    """Bytes that do not match are downloaded once more, and then are an error."""
    for name, value in change.items():
        setattr(noise, name, value)
    with pytest.raises(
        IntegrityError, match=r"users 2026-05-14-16/000\.csv/[0-9a-f]{12}"
    ) as caught:
        desk.download()
    assert words in str(caught.value)
    assert desk.ranges() == ["", ""]
    assert "downloading it again" in caplog.text


@pytest.mark.parametrize("at", [0, 350_000, 699_999])
@pytest.mark.usefixtures("noise")
def test_flipped_bit(desk: Desk, at: int) -> None:
    """A bit that flips in transit is detected, and the file is downloaded again."""
    desk.emulator.fail("download", corrupt_at=at)
    assert desk.download() == (NOISE, True)
    assert desk.ranges() == ["", ""]


@pytest.mark.usefixtures("noise")
def test_flipped_bit_after_drop(desk: Desk) -> None:
    """All parts of a resumed download are verified together."""
    desk.emulator.fail("download", drop_after=300_000, corrupt_at=5)
    assert desk.download() == (NOISE, True)
    assert desk.ranges() == ["", "bytes=300000-", ""]


@pytest.mark.usefixtures("noise")
def test_flipped_bit_always(desk: Desk) -> None:
    """A bit that always flips is an error, after two downloads."""
    desk.emulator.fail("download", corrupt_at=5, times=None)
    with pytest.raises(IntegrityError, match="checksum"):
        desk.download()
    assert desk.ranges() == ["", ""]


def _twice(data: bytes) -> bytes:
    """Flip the last bit of the CRC of gzip's data."""
    return data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]


GZIP = gzip.compress(CSV)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (GZIP[:-1], "end too early"),
        (GZIP[:-8], "end too early"),
        (GZIP[:1000], "end too early"),
        (GZIP + GZIP[:20], "end too early"),
        (GZIP[:2], "end too early"),
        (GZIP + b"garbage", "other bytes follow"),
        (GZIP + b"\0\0x", "other bytes follow"),
        (GZIP + b"\x1f", "other bytes follow"),
        (_twice(GZIP), "broken"),
        (GZIP[:500] + b"\xff" * 50 + GZIP[550:], "broken"),
    ],
)
def test_damaged_gzip(desk: Desk, stored: bytes, words: str) -> None:
    """Gzip's own check counts, even if length and checksum are as expected."""
    desk.emulator.add("users", "2026-05-14-16", stored, gzip=False)
    with pytest.raises(IntegrityError, match=words):
        desk.download()
    assert desk.ranges() == ["", ""]


@pytest.mark.parametrize(
    ("stored", "content"),
    [
        (GZIP + GZIP, CSV + CSV),
        (GZIP + b"\0" * 1000, CSV),
        (GZIP + b"\0" + GZIP + b"\0", CSV + CSV),
        (gzip.compress(b"") + GZIP, CSV),
    ],
)
def test_odd_gzip(desk: Desk, stored: bytes, content: bytes) -> None:
    """Several members, and zeros after them, are good gzip."""
    desk.emulator.add("users", "2026-05-14-16", stored, gzip=False)
    with closing(desk.spool.download(desk.transport, desk.listed())) as spooled:
        assert unpacked(spooled) == content
    assert desk.ranges() == [""]


@pytest.mark.parametrize("function", ["SHA999", "SHA256", "MD5", "", None])
def test_unknown_checksum(
    desk: Desk, noise: EmulatedFile, caplog: pytest.LogCaptureFixture, function: Any
) -> None:
    """An unknown checksum function is a warning, and the length is still verified."""
    noise.checksum_function, noise.checksum = function, "AAAAAAAAAAA="
    assert desk.download() == (NOISE, True)
    assert "unknown checksum function" in caplog.text
    noise.size_bytes += 1
    with pytest.raises(IntegrityError, match="700001"):
        desk.download()


def test_nothing_promised(
    desk: Desk, noise: EmulatedFile, caplog: pytest.LogCaptureFixture
) -> None:
    """Without length and checksum a download is accepted, with a warning."""
    promised: Any = None
    noise.size_bytes = noise.checksum = promised
    desk.emulator.fail("download", drop_after=1000)
    assert desk.download() == (NOISE, True)
    assert "no checksum is available" in caplog.text
    assert desk.ranges() == ["", "bytes=1000-"]


@pytest.mark.usefixtures("noise")
def test_ignored_range(desk: Desk) -> None:
    """A server that ignores ranges sends the whole file, which replaces the part."""
    desk.emulator.fail("download", drop_after=1000)
    desk.emulator.fail("download", ignore_range=True)
    assert desk.download() == (NOISE, True)
    assert desk.ranges() == ["", "bytes=1000-"]


@pytest.mark.parametrize(
    "fault", [{"content_range": "bytes 7-9/10"}, {"headers_extra": {"ETag": '"newer"'}}], ids=str
)
@pytest.mark.usefixtures("noise")
def test_wrong_range(desk: Desk, fault: dict[str, Any]) -> None:
    """A range that was not requested, or of another version, makes the download start over."""
    desk.emulator.fail("download", drop_after=1000)
    desk.emulator.fail("download", **fault)
    assert desk.download() == (NOISE, True)
    assert desk.ranges() == ["", "bytes=1000-", ""]


@pytest.mark.parametrize("fresh", [True, False])
def test_changed_file(
    desk: Desk,
    noise: EmulatedFile,
    fresh: bool,  # noqa: FBT001 - a table of one column
) -> None:
    """A file that changes midway is never a mixture: the new one is downloaded completely."""
    other = desk.emulator.add("users", "2026-05-14-20", NOISE[::-1], gzip=False)
    desk.emulator.remove(other)

    def change() -> None:
        noise.body, noise.checksum = other.body, other.checksum
        if fresh:
            desk.emulator.expire_urls()

    desk.emulator.fail("download", drop_after=1000)
    desk.at_pause = change
    assert desk.download() == (NOISE[::-1], True)


def test_largest(desk: Desk) -> None:
    """Only the beginning of a file above the limit, or of unknown size, is downloaded."""
    big = NOISE * 4
    file = desk.emulator.add("users", "2026-05-14-16", big, gzip=False)
    assert desk.download(len(big)) == (big, True)
    for size in (len(big), None):
        file.size_bytes = size  # type: ignore[assignment]
        begin, whole = desk.download(len(big) - 1)
        assert not whole
        assert desk.spool.head <= len(begin) < desk.spool.head * 1.5
        assert big.startswith(begin)


@pytest.mark.usefixtures("noise")
def test_largest_of_a_small_file(desk: Desk) -> None:
    """A file above the limit but below HEAD is downloaded completely, and counts as a beginning."""
    assert desk.download(10) == (NOISE, False)
    desk.emulator.fail("download", corrupt_at=7, times=None)
    assert not desk.download(10)[1]
    with pytest.raises(IntegrityError):
        desk.download(len(NOISE))


@pytest.mark.usefixtures("noise")
def test_no_name(desk: Desk) -> None:
    """A download has no name and nobody else can read it, so a killed run leaves nothing behind."""
    seen: list[list[Path]] = []
    desk.emulator.fail("download", drop_after=1000)
    desk.at_pause = lambda: seen.append(list(desk.folder.iterdir()))
    with closing(desk.spool.download(desk.transport, desk.listed())) as spooled:
        status = os.fstat(spooled.stored.fileno())
        assert status.st_nlink == 0
        assert stat.S_IMODE(status.st_mode) & 0o077 == 0
        assert status.st_dev == desk.folder.stat().st_dev
        assert list(desk.folder.iterdir()) == []
    assert seen == [[]]


@pytest.mark.usefixtures("noise")
def test_no_folder(desk: Desk) -> None:
    """A missing spool folder is an error that names the file and the setting."""
    spool = Spool(desk.folder / "missing")
    with pytest.raises(SpoolError, match=r"users 2026.*No such file.*; check spool_dir"):
        spool.download(desk.transport, desk.listed())
    assert desk.ranges() == []


@pytest.mark.usefixtures("noise")
def test_full_disk(desk: Desk) -> None:
    """A full disk is an immediate error that names the file and says what to do."""
    file = desk.listed()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, hard))
    try:
        with pytest.raises(SpoolError, match=r"users 2026.* cannot be written to disk.*spool_dir"):
            desk.spool.download(desk.transport, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert desk.ranges() == [""]


@pytest.mark.usefixtures("noise")
def test_lapsed_url_without_retries(desk: Desk) -> None:
    """An expired presigned URL is renewed once, even if requests are not retried."""
    desk.spool = Spool(desk.folder, Retries(0))
    desk.emulator.fail("download", status=403)
    assert desk.download() == (NOISE, True)
    desk.emulator.fail("download", status=403, times=2)
    with pytest.raises(ExpiredURLError):
        desk.download()


class Memory:
    """A transport of one file in memory, whose connections break after given numbers of bytes."""

    def __init__(self, content: bytes, breaks: Sequence[int] = ()) -> None:
        self.content, self.breaks = content, list(breaks)
        self.sent = 0
        hasher = CRC64NVME()
        hasher.update(content)
        self.checksum = Checksum("CRC64NVME", base64.b64encode(hasher.digest()).decode())

    @contextmanager
    def fetch(self, _: ExportFile, offset: int = 0, version: str = "") -> Iterator[Body]:
        """The bytes from *offset* on."""
        assert version in ("", "v1")
        size = len(self.content)
        yield Body(self.chunks(offset), offset, size, self.checksum, "v1")

    def chunks(self, offset: int) -> Iterator[bytes]:
        """Send some bytes at a time, up to the next break."""
        end = offset + self.breaks.pop(0) if self.breaks else len(self.content)
        for at in range(offset, min(end, len(self.content)), 7):
            chunk = self.content[at : min(at + 7, end)]
            self.sent += len(chunk)
            yield chunk
        if end < len(self.content):
            msg = "the connection broke"
            raise RetriableTransportError(msg)


FILE = ExportFile("users", "id", "000.csv", "2026-05-14-16", datetime(2026, 5, 14, 16, tzinfo=UTC))


@given(st.binary(max_size=200), st.lists(st.integers(1, 60), max_size=8))
def test_any_breaks(content: bytes, breaks: list[int]) -> None:
    """Wherever connections break, the bytes are those of the file, and each is sent once."""
    assume(content[:2] != b"\x1f\x8b")
    transport: Any = Memory(content, breaks)
    arrived: list[int] = []
    spool = Spool(None, Retries(1, pause=lambda _: None), arrived=arrived.append)
    with closing(spool.download(transport, FILE)) as spooled:
        spooled.stored.seek(0)
        assert spooled.stored.read() == content
        assert (spooled.whole, spooled.size, spooled.unread) == (True, len(content), 0)
    assert transport.sent == len(content)
    assert arrived == sorted(arrived)
    assert arrived[-1:] == [len(content)] * bool(content)


@given(st.binary(max_size=100), st.binary(max_size=120), st.integers(0, 120), st.booleans())
def test_any_beginning(
    content: bytes,
    other: bytes,
    size: int,
    right: bool,  # noqa: FBT001 - made up by hypothesis
) -> None:
    """Whatever an earlier download left, the file is complete; right bytes are not sent again."""
    assume(content[:2] != b"\x1f\x8b")
    begin = content[:size] if right else other
    transport: Any = Memory(content)
    stored = io.BytesIO(begin)
    Spool(None, Retries(0)).download_to(transport, FILE, stored)
    assert stored.getvalue() == content
    if content.startswith(begin):
        assert transport.sent == len(content) - len(begin)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_fingerprint(one: bytes, other: bytes) -> None:
    """Two downloads have one fingerprint only if their bytes are the same."""
    assume(not {one[:2], other[:2]} & {b"\x1f\x8b"})
    prints = []
    for content in (one, other):
        transport: Any = Memory(content)
        with closing(Spool().download(transport, FILE)) as spooled:
            prints.append(spooled.content)
    assert (prints[0] == prints[1]) is (one == other)
    assert prints[0].split("-")[0] == str(len(one))


def test_a_beginning_is_read_as_cut() -> None:
    """If only the beginning of a file was downloaded, the row it ends in is not an error."""
    content = b"user_id,name\n1,a\n2,b\n3,cdefghi\n"
    with closing(Spooled(FILE, io.BytesIO(content[:-6]), len(content) - 6, "", whole=False)) as cut:
        assert [row for batch in open_file(cut) for row in batch.frame.rows()] == [
            ("1", "a"),
            ("2", "b"),
        ]
