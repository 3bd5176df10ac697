"""Which rows of a file belong to a window, by each row's own time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filetap.columns.types import canonical, fits, fits_plainly
from filetap.lazy import pl
from filetap.times import format_time

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
        texts = frame[name].cast(pl.String)
        inside = self._compared(texts)
        if inside is None:
            inside = self._parsed(texts)
        self.timeless += inside.null_count()
        self.dropped += int((~inside).sum())
        return inside.fill_null(value=True)

    def _compared(self, texts: pl.Series) -> pl.Series | None:
        """True for each time in the window, null for none; None unless comparing texts tells."""
        start, end = (format_time(border) for border in (self._window.start, self._window.end))
        if "." in start + end or not texts.str.contains(fits_plainly("date-time")).all():
            return None
        seconds = texts.str.slice(0, 19).str.replace(" ", "T", literal=True)
        return (seconds >= start.removesuffix("Z")) & (seconds < end.removesuffix("Z"))

    def _parsed(self, texts: pl.Series) -> pl.Series:
        """True for each time in the window, null for what is not a time."""
        # Only microseconds are told apart.
        text = pl.first().str.replace(r"(\.[0-9]{6})[0-9]+", "$1")
        whole = pl.when(fits("date-time", text) & (text != "")).then(text)
        moment = canonical("date-time", whole).str.to_datetime(
            _FORMAT, time_unit="us", time_zone="UTC", strict=False
        )
        moments = texts.to_frame().select(moment).to_series()
        return (moments >= self._window.start) & (moments < self._window.end)
