"""Delivered files on an SFTP server: its host key, logins, and what it does not state."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest

from filetap.errors import RetriableTransportError, TransportError
from filetap.transports import folder as folder_module
from filetap.transports import folder_access
from tap_firstup_dde.documented import STREAMS
from tests.folders import OLD, SFTP, deliver, ids
from tests.runs import Run, command, run, tune, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SFTP]:
    """An SFTP server with a file of each stream."""
    root = tmp_path_factory.mktemp("sftp")
    for stream in STREAMS:
        deliver(root / "in", stream, "2026-05-14-16", "user_id,campaign_id\n1,1\n")
    with SFTP(root) as server:
        yield server


def test_pinned_host_key(served: SFTP) -> None:
    """A server is read if its host key has the set fingerprint."""
    done = run(served.settings(fingerprint=served.fingerprint))
    assert len(done.of("RECORD")) == 3


def test_known_host(served: SFTP, tmp_path: Path) -> None:
    """A server is also read if a known_hosts file has its key."""
    known = tmp_path / "known_hosts"
    public = served.key.export_public_key().decode()
    known.write_text(f"[127.0.0.1]:{served.port} {public}")
    assert len(run(served.settings(known_hosts=str(known))).of("RECORD")) == 3


@pytest.mark.parametrize("known", ["unknown", "changed", "other fingerprint", "null"])
def test_unknown_host_key(served: SFTP, tmp_path: Path, known: str, monkeypatch: Any) -> None:
    """An unknown or changed host key is refused, with its fingerprint and what to do."""
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "known_hosts"
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    file.write_text(f"[127.0.0.1]:{served.port} {other}" if known == "changed" else "")
    options: dict[str, Any] = {"known_hosts": str(file)}
    if known == "other fingerprint":
        options = {"fingerprint": "SHA256:nothing"}
    if known == "null":
        options = {"known_hosts": None}
    with pytest.raises(TransportError) as caught:
        run(served.settings(**options))
    assert served.fingerprint in str(caught.value)
    assert "folder.options.fingerprint" in str(caught.value)
    assert not isinstance(caught.value, RetriableTransportError)


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa"])
@pytest.mark.parametrize("passphrase", [None, "also-precious"])
def test_keys(served: SFTP, tmp_path: Path, kind: str, passphrase: str | None) -> None:
    """Keys of the usual kinds connect, encrypted ones by their passphrase."""
    path = tmp_path / "key"
    served.users[kind].write_private_key(str(path), passphrase=passphrase)
    options = {
        "password": None,
        "client_keys": [str(path)],
        "passphrase": passphrase,
        "fingerprint": served.fingerprint,
    }
    assert len(run(served.settings(**options)).of("RECORD")) == 3


RIGHT = "right-secret"


@pytest.mark.filterwarnings("ignore:.*round")  # few, for speed
@pytest.mark.parametrize(
    ("form", "passphrase"),
    [("pkcs1-pem", None), ("pkcs1-pem", "wrong-secret"), ("openssh", "wrong-secret"), ("", None)],
)
def test_key_that_cannot_be_used(
    served: SFTP, tmp_path: Path, form: str, passphrase: str | None
) -> None:
    """A file that is no key, or a key's wrong passphrase, is an error that says what to check."""
    path = tmp_path / "key"
    path.write_text("no key")
    if form:
        private = served.users["ssh-rsa"]
        path.write_bytes(private.export_private_key(form, RIGHT, rounds=1))
    options = {"client_keys": [str(path)], "passphrase": passphrase, "password": None}
    with pytest.raises(TransportError, match="the private key cannot be used") as caught:
        run(served.settings(fingerprint=served.fingerprint, **options))
    assert "check client_keys and passphrase" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"password": "wrong-secret"}, "access was denied"),
        ({"client_keys": ["/no/such/key"]}, "private key|client_keys|no longer|cannot be"),
    ],
)
def test_wrong_login(served: SFTP, options: dict[str, Any], says: str) -> None:
    """A login that is refused is an error that says what to check, without the secret."""
    with pytest.raises(TransportError, match=says) as caught:
        run(served.settings(fingerprint=served.fingerprint, **options))
    assert "secret" not in str(caught.value)


def test_dropped_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that drops in mid-file is restored, and the file resumes from there."""
    tune(monkeypatch, first_pause=0.01)
    monkeypatch.setattr(folder_access, "CHUNK", 1 << 18)
    rows = "user_id\n" + "".join(f"{n:09}\n" for n in range(500_000))
    deliver(tmp_path, "users", "2026-05-14-16", rows, ending=".csv")
    with SFTP(tmp_path) as server:
        server.drop_after = 2 << 20
        done = run(server.settings(fingerprint=server.fingerprint))
        assert not server.drop_after
        assert len(set(ids(done))) == 500_000
        assert server.read < 12 << 20  # of 5 MB, once for sampling and once completely at most


TYPES = 0o170000  # of a mode, the bits that state what kind of entry it is


def no_type(attrs: asyncssh.SFTPAttrs) -> asyncssh.SFTPAttrs:
    """Permissions without the bits that state the type."""
    return asyncssh.SFTPAttrs(
        size=attrs.size, permissions=(attrs.permissions or 0) & ~TYPES, atime=OLD, mtime=attrs.mtime
    )


def no_permissions(attrs: asyncssh.SFTPAttrs) -> asyncssh.SFTPAttrs:
    """Size and times only."""
    return asyncssh.SFTPAttrs(size=attrs.size, atime=OLD, mtime=attrs.mtime)


def nothing(_: asyncssh.SFTPAttrs) -> asyncssh.SFTPAttrs:
    """Nothing at all, which the protocol allows."""
    return asyncssh.SFTPAttrs()


@pytest.mark.parametrize("stated", [no_type, no_permissions, nothing])
@pytest.mark.parametrize("ending", [".gz", ".csv"])
def test_attributes_without_a_type(
    tmp_path: Path,
    stated: Callable[[asyncssh.SFTPAttrs], asyncssh.SFTPAttrs],
    ending: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files are read, in sub-folders and behind links too, if the server states no types."""
    monkeypatch.setattr(folder_module, "RECHECK", 0.01)
    deliver(tmp_path / "in", "users", "2026-05-14-12", "user_id\n1\n", ending=ending)
    path = deliver(tmp_path / "other", "users", "2026-05-14-16", "user_id\n2\n", ending=ending)
    deep = tmp_path / "in" / "2026" / "05"
    deep.mkdir(parents=True)
    (deep / path.name).symlink_to(f"../../../other/{path.name}")
    (tmp_path / "in" / "empty").mkdir()
    for number in range(40):
        (tmp_path / "in" / f"{number}.txt").write_text("x")
    with SFTP(tmp_path) as server:
        server.stated = stated
        config = server.settings(fingerprint=server.fingerprint)
        config["folder"]["url"] += "in"
        first = run(config)
        assert ids(first) == ["1", "2"]
        assert run(config, first.state).of("RECORD") == []


def test_entries_that_cannot_be_opened(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Entries that are neither file nor folder are counted and named; other files are read."""
    deliver(tmp_path, "users", "2026-05-14-12", "user_id\n1\n")
    name = "23552-05-14-2026-16-user-incremental.gz"
    (tmp_path / name).symlink_to("nowhere")
    with SFTP(tmp_path) as server:
        for server.stated in (no_permissions, lambda attrs: attrs):
            caplog.clear()
            assert ids(run(server.settings(fingerprint=server.fingerprint))) == ["1"]
            (line,) = [r.getMessage() for r in caplog.records if "skipped 1 path" in r.getMessage()]
            assert line.endswith(f": {name}")


def test_unknown_entry_that_may_not_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sub-folder that may not be listed is an error, though the server states no types."""
    deliver(tmp_path / "secret", "users", "2026-05-14-12", "user_id\n1\n")
    before = asyncssh.SFTPServer.scandir

    def scandir(self: Any, path: bytes) -> Any:
        if path.endswith(b"secret"):
            raise PermissionError(13, "Permission denied")
        return before(self, path)

    with SFTP(tmp_path) as server:
        server.stated = no_permissions
        monkeypatch.setattr(asyncssh.SFTPServer, "scandir", scandir)
        with pytest.raises(TransportError, match="access was denied"):
            run(server.settings(fingerprint=server.fingerprint))


def test_names_that_are_not_utf_8(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One such name affects no other file, and the log names it."""
    deliver(tmp_path, "users", "2026-05-14-12", "user_id\n1\n")
    Path(os.fsdecode(bytes(tmp_path) + b"/pr\xe9nom")).mkdir()
    with SFTP(tmp_path) as server:
        assert ids(run(server.settings(fingerprint=server.fingerprint))) == ["1"]
    assert any("name): pr\ufffdnom" in r.getMessage() for r in caplog.records)


@pytest.mark.parametrize("scheme", ["sftp", "ssh"])
def test_encoded_login(tmp_path: Path, scheme: str) -> None:
    """A login in the URL is decoded and is in no log line; a percent sign in the path stays."""
    deliver(tmp_path / "in%20box", "users", "2026-05-14-12", "user_id\n1\n")
    with SFTP(tmp_path) as server:
        server.login = ("user@corp", "p/w:precious")
        url = f"{scheme}://user%40corp:p%2Fw%3Aprecious@127.0.0.1:{server.port}/in%20box"
        options = {"fingerprint": server.fingerprint}
        path = write(tmp_path, "c.json", {"folder": {"url": url, "options": options}})
        done = command("--config", path, env={"TAP_FIRSTUP_DDE_LOGLEVEL": "DEBUG"})
        assert ids(done) == ["1"]
        assert "precious" not in done.log
        server.login = ("user@corp", "another")
        done = command("--config", path, env={"TAP_FIRSTUP_DDE_LOGLEVEL": "DEBUG"})
        assert done.status == 1
        assert "access was denied" in done.log.splitlines()[-1]
        assert "precious" not in done.log


def test_connections_are_not_logged(tmp_path: Path) -> None:
    """At the usual level no line of the SSH library is in the log, of the tap or of a command."""
    deliver(tmp_path, "users", "2026-05-14-12", "user_id\n1\n")
    with SFTP(tmp_path) as server:
        config = server.settings(fingerprint=server.fingerprint)
        path = write(tmp_path, "c.json", config)
        done = command("--config", path)
        assert ids(done) == ["1"]
        code = "from tap_firstup_dde.cli import main; main(prog_name='firstup-dde')"
        checked = command("doctor", "--config", path, program=(sys.executable, "-c", code))
    assert checked.status == 0
    for log in (done.log, checked.log):
        assert "asyncssh" not in log
        assert "conn=" not in log


def test_rewritten_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A young CSV that is rewritten in place with the same size is refused, and read next time."""
    monkeypatch.setattr(folder_access, "CHUNK", 1 << 14)
    old, new = ("user_id\n" + "".join(f"{c}{n:06}\n" for n in range(40_000)) for c in "ab")
    path = deliver(tmp_path, "users", "2026-05-14-12", old, ending=".csv")
    os.utime(path)
    with SFTP(tmp_path) as server:

        def rewrite(offset: int) -> None:
            if offset >= 1 << 17 and path.read_text() != new:
                path.write_text(new)

        server.before_read = rewrite
        config = server.settings(fingerprint=server.fingerprint)
        with pytest.raises(TransportError, match="the file changed") as caught:
            run(config)
        done: Run = caught.value.run  # type: ignore[attr-defined]
        assert done.of("RECORD") == []
        read = ids(run(config, done.state))
    assert {name[0] for name in read} == {"b"}
    assert len(read) == 40_000


@pytest.mark.parametrize("rows", [1, 20_000])
def test_no_request_beyond_the_file(tmp_path: Path, rows: int) -> None:
    """A file is requested up to its listed size, and one more byte to see that it ends there."""
    content = "user_id\n" + "".join(f"{number}\n" for number in range(rows))
    path = deliver(tmp_path, "users", "2026-05-14-12", content)
    offsets: list[int] = []
    with SFTP(tmp_path) as server:
        server.before_read = offsets.append
        assert len(ids(run(server.settings(fingerprint=server.fingerprint)))) == rows
        assert server.read == path.stat().st_size + 1
    assert max(offsets) == path.stat().st_size
