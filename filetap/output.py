"""Standard output and standard error, whatever they are connected to."""

from __future__ import annotations

import io
import os
import select
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from filetap.errors import ExportError

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from typing import Any

    from _typeshed import ReadableBuffer


class OutputError(ExportError):
    """Standard output is closed, or cannot be written to.

    Attributes:
        reason: The system's message; empty if it is closed.
    """

    def __init__(self, message: str, hint: str = "", reason: str = "") -> None:
        """Store the system's message beside the error's own."""
        super().__init__(message, hint)
        self.reason = reason


class WholeWrites(io.RawIOBase):
    """A file descriptor whose writes are complete, even on a non-blocking pipe.

    Python's own file objects raise BlockingIOError in the middle of a write when the reader of
    such a pipe is slow. Here a write waits for the reader.

    Args:
        descriptor: The file descriptor; it is never closed.
        lossy: Drop what cannot be written instead of raising an error.
    """

    def __init__(self, descriptor: int, *, lossy: bool) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lossy = lossy

    @override
    def fileno(self) -> int:
        return self._descriptor

    @override
    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    @override
    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of *data*.

        Raises:
            OutputError: The reader has ended, or the disk is full.
        """
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest:
                rest = rest[self._some(rest) :]
        except OSError as error:
            if self._lossy:
                return size
            # Nothing can be written any more, not even when the process flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._descriptor)
            reason = error.strerror or type(error).__name__
            msg = f"the output cannot be written ({reason})"
            raise OutputError(msg, reason=reason) from error
        return size

    def _some(self, data: memoryview) -> int:
        """Write as much as the pipe takes now; returns 0 once a slow reader has made room."""
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            select.select([], [self._descriptor], [])
            return 0


def set_up_output() -> None:
    """Make stdout and stderr wait for slow readers, and accept any text in any locale.

    Lines for a stderr that is closed or full are dropped, without an error. Streams that something
    else, such as a test, has put in place are not replaced.
    """
    out, err = sys.__stdout__, sys.__stderr__
    if sys.stderr is None:  # click would use stdout instead
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open to the end
    elif err is not None and sys.stderr is err:
        sys.stderr = _complete(err, lossy=True)
    if out is not None and sys.stdout is out:
        sys.stdout = _complete(out, lossy=False)


def _complete(stream: io.TextIOWrapper[Any], *, lossy: bool) -> io.TextIOWrapper[Any]:
    """A text stream in place of *stream*, with the same encoding and buffering."""
    return io.TextIOWrapper(
        io.BufferedWriter(WholeWrites(stream.fileno(), lossy=lossy)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=bool(stream.line_buffering),
    )


def check_output() -> None:
    """Refuse to start without a stdout.

    Raises:
        OutputError: It is closed.
    """
    if sys.stdout is None:
        msg = "stdout is closed"
        raise OutputError(msg, "pipe the output into a program or a file")
