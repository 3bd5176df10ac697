"""Downloads wait in one unnamed file, and each is returned unchanged."""

from __future__ import annotations

import io
import os
import resource
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filetap.download.pack import Pack
from filetap.download.spool import Spooled
from filetap.errors import IntegrityError, SpoolError
from filetap.files import ExportFile
from filetap.read.detect import open_file

NOON = datetime(2026, 5, 14, 12, tzinfo=UTC)


def export(number: int = 0) -> ExportFile:
    """A file that was listed."""
    return ExportFile("users", f"id-{number}", f"{number}.csv", "2026-05-14-12", NOON)


def spooled(content: bytes, number: int = 0) -> Spooled:
    """A download of some content, read to its end."""
    stored = tempfile.TemporaryFile()  # noqa: SIM115 - a pack closes it
    stored.write(content)
    return Spooled(export(number), stored, len(content), f"{len(content)}-0")


@pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
def test_a_download_comes_back_once(size: int) -> None:
    """A packed download has the same bytes and facts; the original is closed and removed."""
    content = os.urandom(size)
    download = spooled(content)
    with closing(Pack(None)) as pack:
        pack.add(download)
        assert download.stored.closed
        assert pack.size == size
        found = pack.take(export())
        assert found
        assert (found.file, found.size, found.content) == (export(), size, download.content)
        assert found.unread == size
        assert found.stored.read() == content
        assert found.unread == 0
        assert pack.take(export()) is None


def test_a_packed_download_is_read_as_rows() -> None:
    """A reader starts at the beginning of a packed download, however far it was read before."""
    with closing(Pack(None)) as pack:
        for number in range(3):
            pack.add(spooled(b"user_id\n%d\n" % number, number))
        for number in (2, 0, 1):
            found = pack.take(export(number))
            assert found
            for _ in range(2):
                rows = [row for batch in open_file(found) for row in batch.frame.rows()]
                assert rows == [(str(number),)]


MOVES = st.tuples(
    st.integers(0, 3),
    st.sampled_from([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END]),
    st.integers(-20, 40),
    st.integers(0, 40),
)


@given(
    st.lists(st.binary(max_size=30), min_size=4, max_size=4),
    st.lists(MOVES, max_size=20),
)
def test_downloads_do_not_disturb_each_other(
    contents: list[bytes], moves: list[tuple[int, int, int, int]]
) -> None:
    """However packed downloads are read in turns, each behaves like a file of its own."""
    with closing(Pack(None)) as pack:
        for number, content in enumerate(contents):
            pack.add(spooled(content, number))
        packed = [found.stored for n in range(4) if (found := pack.take(export(n)))]
        alone = [io.BytesIO(content) for content in contents]
        for which, whence, offset, size in moves:
            place = {os.SEEK_SET: 0, os.SEEK_CUR: alone[which].tell()}.get(
                whence, len(contents[which])
            )
            if place + offset < 0:
                continue
            for file in (packed[which], alone[which]):
                file.seek(offset, whence)
            assert packed[which].tell() == alone[which].tell()
            assert packed[which].read(size) == alone[which].read(size)


def descriptors() -> int:
    """The number of files this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


def test_many_downloads_take_one_descriptor(tmp_path: Path) -> None:
    """However many downloads wait, one file is open, and it has no name."""
    with closing(Pack(tmp_path)) as pack:
        before = descriptors()
        for number in range(50):
            pack.add(spooled(b"x", number))
        assert descriptors() == before + 1
        assert list(tmp_path.iterdir()) == []
    assert descriptors() == before


def test_a_held_download_stays_as_it_is() -> None:
    """A download that is too large to copy waits unchanged, and is closed with the pack."""
    taken, left = spooled(b"a", 0), spooled(b"b", 1)
    pack = Pack(None)
    pack.hold(export(0), taken)
    pack.hold(export(1), left)
    assert pack.take(export(0)) is taken
    assert pack.size == 0
    pack.close()
    assert left.stored.closed
    assert not taken.stored.closed
    taken.close()


def test_an_error_waits_for_its_turn() -> None:
    """A damaged file is an error when it is requested, and only then."""
    with closing(Pack(None)) as pack:
        pack.hold(export(0), IntegrityError("damaged"))
        pack.add(spooled(b"good", 1))
        assert pack.take(export(1))
        with pytest.raises(IntegrityError, match="damaged"):
            pack.take(export(0))
        assert pack.take(export(0)) is None


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """A disk that takes only a part is an error that names the file and the setting to change.

    The download's own file is closed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    download = spooled(bytes(100_000))
    with closing(Pack(tmp_path)) as pack:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            with pytest.raises(SpoolError, match=r"^users .*0\.csv.* written to disk .*spool_dir"):
                pack.add(download)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert download.stored.closed
