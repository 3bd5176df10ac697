"""Tables and progress on a terminal, plain text elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich import progress
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_UNBROKEN = 240  # characters of a line that goes to a file or a pipe


def console(*, stderr: bool = False) -> Console:
    """A console that takes text as it is; lines are broken on a terminal only."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = _UNBROKEN
    return made


@contextmanager
def progress_bar(total: int, *, quiet: bool) -> Iterator[Callable[[int], object]]:
    """Progress bar on stderr; yields a callback that takes the bytes received so far.

    Args:
        total: Bytes to come, as far as they are known.
        quiet: True for no bar, as where stderr is not a terminal.
    """
    shown = console(stderr=True)
    with progress.Progress(
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=shown,
        disable=quiet or not shown.is_terminal,
    ) as bar:
        task = bar.add_task("", total=total or None)
        yield lambda received: bar.update(task, completed=received)
