"""How far a run has come: a live line per stream on a terminal, log lines elsewhere.

Nothing here is called per row, and the clock is read only where something is shown.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Protocol, TextIO

from filetap.wording import counted

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from typing import Self

    from rich.console import Console
    from rich.table import Table

    from filetap.plan import Plan

INTERVAL = 30.0  # seconds between two log lines about a stream
REFRESH = 0.25  # seconds between two frames on a terminal
# Seconds to wait for the display thread: it may need a lock that the interrupted main thread holds.
_PATIENCE = 1.0


@dataclass(eq=False)
class Tally:
    """What a run has read of one stream so far.

    Attributes:
        stream: Its name.
        files: Files to read.
        files_begun: Files whose reading has begun.
        files_done: Files that have been read.
        rows: Rows emitted.
        misfits: Values that did not fit their column's type.
        diverted: Malformed rows, emitted to a stream of their own.
        bytes: Stored bytes of the files whose reading has begun.
        unread: Those of them that are still to be read.
        warnings: Warnings logged.
        begun: When the stream was started, by the monotonic clock; None before that.
        ended: When it ended; None until then.
        newest: The newest generation that is listed; None without files.
        state_from: The newest generation that had been read before; None for none.
        state_to: The newest generation that has been read by now; None for none.
    """

    stream: str
    files: int = 0
    files_begun: int = 0
    files_done: int = 0
    rows: int = 0
    misfits: int = 0
    diverted: int = 0
    bytes: int = 0
    unread: int = 0
    warnings: int = 0
    begun: float | None = None
    ended: float | None = None
    newest: datetime | None = None
    state_from: datetime | None = None
    state_to: datetime | None = None

    def plan(self, plan: Plan) -> None:
        """Note what is to be read."""
        regular = (file.generated_at for file in plan.listed if not file.historical)
        self.files = len(plan.files)
        self.newest = max(regular, default=None)
        self.state_from = self.state_to = plan.bookmark.generated_at

    def open_file(self, size: int) -> None:
        """Count a file of *size* bytes whose reading begins."""
        self.files_begun += 1
        self.bytes += size
        self.unread = size

    def close_file(self) -> None:
        """Count a file that has been read."""
        self.files_done += 1
        self.unread = 0

    @property
    def seconds(self) -> float:
        """How long the stream has taken."""
        if self.begun is None:
            return 0.0
        return (time.monotonic() if self.ended is None else self.ended) - self.begun

    @property
    def pace(self) -> int:
        """Rows per second."""
        return round(self.rows / seconds) if (seconds := self.seconds) else 0

    @property
    def share(self) -> float:
        """Share of the bytes read, from 0 to 1, assuming that later files are as large as these."""
        if not self.bytes:
            return 0.0
        return (self.bytes - self.unread) / self.bytes * self.files_begun / self.files

    @property
    def remaining(self) -> str:
        """The estimated time left, in words; empty while it is not known."""
        share = self.share
        if not 0 < share < 1:
            return ""
        minutes, seconds = divmod(round(self.seconds * (1 / share - 1)), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left"

    def standing(self) -> str:
        """How far the stream has come, in one line."""
        files, rows = counted(self.files, "file"), counted(self.rows, "row", ",")
        pace = counted(self.pace, "row", ",")
        return f"{self.files_done} of {files}, {rows}, {_size(self.bytes)}, {pace}/s"

    def figures(self) -> dict[str, str]:
        """The figures of the summary: heading → figure."""
        return {
            "files": f"{self.files_done} of {self.files}",
            "rows": f"{self.rows:,}",
            "misfits": f"{self.misfits:,}",
            "diverted rows": f"{self.diverted:,}",
            "bytes": f"{self.bytes:,}",
            "seconds": f"{self.seconds:,.1f}",
            "rows/s": f"{self.pace:,}",
            "warnings": f"{self.warnings:,}",
        }

    def summary(self) -> str:
        """The same in one line."""
        parts = (
            f"{self.files_done} of {counted(self.files, 'file')}",
            counted(self.rows, "row", ","),
            counted(self.misfits, "misfit", ","),
            counted(self.diverted, "diverted row", ","),
            counted(self.bytes, "byte", ","),
            f"{self.seconds:,.1f} seconds",
            f"{counted(self.pace, 'row', ',')}/s",
            counted(self.warnings, "warning", ","),
        )
        return f"{self.stream}: {', '.join(parts)}"


def _size(count: int) -> str:
    """A number of bytes in words, to about three digits."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            return f"{count / 10**power:.{int(count < 10 ** (power + 1))}f} {unit}"
    return counted(count, "byte")


class Display(Protocol):
    """Where a run's tallies are shown."""

    def start(self) -> None:
        """Start to show them."""

    def stop(self) -> None:
        """Show the summary, and nothing after it; a signal handler may call it."""


class LogDisplay:
    """Shows tallies in the log, at intervals and at the end."""

    def __init__(self, tallies: Sequence[Tally], logger: logging.Logger) -> None:
        self._tallies = tallies
        self._logger = logger
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                return self._ended.get(timeout=INTERVAL)
            except Empty:
                for tally in self._tallies[-1:]:
                    self._log(tally, f"{tally.stream}: {tally.standing()}")

    def stop(self) -> None:
        """Log a line for each stream."""
        self._ended.put(None)
        self._thread.join(_PATIENCE)
        for tally in self._tallies:
            self._log(tally, tally.summary())

    def _log(self, tally: Tally, line: str) -> None:
        self._logger.getChild(tally.stream).info("%s", line, extra={"stream_name": tally.stream})


class TerminalDisplay:
    """Draws tallies on a terminal, below the log.

    One thread both draws and writes log lines above its drawing. A thread that logs therefore never
    holds a lock of the drawing, for which a signal handler could wait forever.
    """

    def __init__(self, tallies: Sequence[Tally], terminal: TextIO) -> None:
        self._tallies = tallies
        self._terminal = terminal
        self._logged: SimpleQueue[str | None] = SimpleQueue()
        self._routed: list[logging.StreamHandler[TextIO]] = []
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start drawing; log lines for the terminal are written by this class from now on."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is self._terminal:
                handler.setStream(self)
                self._routed.append(handler)
        self._thread.start()

    def stop(self) -> None:
        """Replace the drawing by a table, and let the log write to the terminal itself again."""
        self._logged.put(None)
        self._thread.join()
        for handler in self._routed:
            handler.setStream(self._terminal)
        while not self._logged.empty():
            self._terminal.write(self._logged.get() or "")

    def write(self, text: str) -> None:
        """Queue what a log handler writes."""
        self._logged.put(text)

    def flush(self) -> None:
        """Do nothing: queued text is written at once."""

    def _run(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - a tenth of a second, terminals only
        from rich.live import Live  # noqa: PLC0415

        console = Console(file=self._terminal, force_terminal=True)
        live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            get_renderable=self._drawing,
        )
        with live:
            console.show_cursor()  # SIGKILL would leave it hidden
            on = True
            while on:
                try:
                    text = self._logged.get(timeout=REFRESH)
                except Empty:
                    text = ""
                if text:
                    console.out(text.removesuffix("\n"), highlight=False)
                live.refresh()
                on = text is not None
        self._summarize(console)

    def _summarize(self, console: Console) -> None:
        """Print a table, or lines if the table would be too wide."""
        unbounded = console.options.update(width=1000)
        for padding in (1, 0) if self._tallies else ():
            table = self._table(padding)
            if console.measure(table, options=unbounded).maximum <= console.width:
                console.print(table)
                return
        for tally in self._tallies:
            console.out(tally.summary(), highlight=False)

    def _drawing(self) -> Table:
        """A line for each stream."""
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        drawing = Table.grid(padding=(0, 1))
        for _ in range(3):
            drawing.add_column(no_wrap=True)
        for tally in self._tallies:
            text = ", ".join(filter(None, (tally.standing(), tally.remaining)))
            drawing.add_row(tally.stream, ProgressBar(1, tally.share, width=10), text)
        return drawing

    def _table(self, padding: int) -> Table:
        """The summary with *padding* blanks around each figure."""
        from rich import box  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        table = Table("stream", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, padding))
        for word in self._tallies[0].figures():
            table.add_column(word.replace(" ", "\n"), justify="right")
        for column in table.columns:
            column.no_wrap = True
        for tally in self._tallies:
            table.add_row(tally.stream, *tally.figures().values())
        return table


class Progress:
    """A run's tallies, and their display.

    As a context manager it shows them; otherwise it only counts.

    Args:
        logger: The tap's.
        packages: Packages whose warnings are counted, too.

    Attributes:
        tallies: Those of the streams that were begun.
    """

    def __init__(self, logger: logging.Logger, packages: Iterable[str]) -> None:
        self._logger = logger
        self._watched = (logger, *map(logging.getLogger, packages))
        self.tallies: list[Tally] = []
        self._display: Display | None = None
        self._warnings = _Warnings(self.tallies)

    @property
    def warnings(self) -> int:
        """Warnings logged, whether about a stream or not."""
        return self._warnings.count

    def begin(self, tally: Tally) -> None:
        """Start the next stream."""
        now = time.monotonic()
        self._stop_clock(now)
        tally.begun = now
        self.tallies.append(tally)

    def _stop_clock(self, now: float) -> None:
        """Stop the clock of the current stream."""
        for tally in self.tallies[-1:]:
            tally.ended = tally.ended or now

    def __enter__(self) -> Self:
        """Start to show the tallies."""
        for logger in self._watched:
            logger.addHandler(self._warnings)
        # --quiet, which turns INFO off, turns the display off too.
        if self._logger.isEnabledFor(logging.INFO):
            self._display = self._choose()
            self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Show the summary."""
        self.end()
        for logger in self._watched:
            logger.removeHandler(self._warnings)

    def end(self) -> None:
        """Show the summary, once; whatever is logged later is below it."""
        display, self._display = self._display, None
        if display:
            self._stop_clock(time.monotonic())
            display.stop()

    def _choose(self) -> Display:
        """The display that suits stderr."""
        plain = os.environ.get("TERM", "").lower() in {"dumb", "unknown"}
        if sys.stderr is None or plain or not sys.stderr.isatty():
            return LogDisplay(self.tallies, self._logger)
        return TerminalDisplay(self.tallies, sys.stderr)


class _Warnings(logging.Handler):
    """Counts warnings for the current stream."""

    def __init__(self, tallies: Sequence[Tally]) -> None:
        super().__init__(logging.WARNING)
        self._tallies = tallies
        self.count = 0

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:
            self.count += 1
            for tally in self._tallies[-1:]:
                tally.warnings += 1
