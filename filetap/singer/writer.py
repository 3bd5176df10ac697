"""Singer messages on standard output, in order, each line whole."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.singerlib import StateMessage

from filetap.output import OutputError

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    import signal

    from singer_sdk.singerlib.encoding.simple import Message


class LinesWriter(MsgSpecWriter):
    """Writes messages, and blocks of messages that are lines already.

    Attributes:
        stopped_by: The signal that ends the run once the current line is complete.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopped_by: signal.Signals | None = None
        self._writing = False
        self._last_state = b""

    @override
    def write_message(self, message: Message | bytes) -> None:
        lines = message if isinstance(message, bytes) else bytes(self.format_message(message))
        self._write(lines)
        if isinstance(message, StateMessage):
            self._last_state = lines
        if self.stopped_by:
            self._end(self.stopped_by)

    def _write(self, lines: bytes) -> None:
        """Write whole lines; returns once the reader, or the pipe, has them.

        Raises:
            OutputError: Nothing more can be written.
        """
        self._writing = True
        try:
            sys.stdout.buffer.write(lines)
            sys.stdout.buffer.flush()
        except OutputError as error:
            msg = f"messages cannot be written: {error.reason}"
            hint = "check the target's log, then run again from its last state"
            raise OutputError(msg, hint) from None
        finally:
            self._writing = False

    def stop(self, number: signal.Signals) -> None:
        """End the process with the signal's status: between lines; a second one, at once."""
        if self.stopped_by:
            sys.exit(128 + number)
        self.stopped_by = number
        if not self._writing:
            self._end(number)

    def _end(self, number: signal.Signals) -> NoReturn:
        """Repeat the last STATE as the last line, for readers that rely on it, and exit."""
        self._write(self._last_state)
        sys.exit(128 + number)
