"""Which rows of a file belong to a window, by each row's own time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filetap.columns.types import canonical, fits
from filetap.lazy import pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filetap.jobs.windows import Window

_FORMAT = "%Y-%m-%dT%H:%M:%S%.fZ"


class Keeper:
    """Decides for each row whether it is in a window; rows without a readable time are.

    Args:
        window: The window.
        times: Columns of which the first that the file has is a row's own time.

    Attributes:
        timeless: Rows so far whose time cannot be read.
        dropped: Rows so far that belong to other windows.
    """

    def __init__(self, window: Window, times: Sequence[str]) -> None:
        self._window = window
        self._times = times
        self.timeless = 0
        self.dropped = 0

    def __call__(self, frame: pl.DataFrame) -> pl.Series:
        """True for each row of a batch, as text, that is in the window."""
        name = next((name for name in self._times if name in frame.columns), None)
        if name is None:
            self.timeless += frame.height
            return pl.repeat(True, frame.height, eager=True)  # noqa: FBT003 - the value
        # Only microseconds are told apart.
        text = pl.col(name).cast(pl.String).str.replace(r"(\.[0-9]{6})[0-9]+", "$1")
        whole = pl.when(fits("date-time", text) & (text != "")).then(text)
        moment = canonical("date-time", whole).str.to_datetime(
            _FORMAT, time_unit="us", time_zone="UTC", strict=False
        )
        moments = frame.select(moment).to_series()
        inside = (moments >= self._window.start) & (moments < self._window.end)
        self.timeless += moments.null_count()
        self.dropped += int((~inside).sum())
        return inside.fill_null(value=True)
