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
_ZONE = r"^([^ ]+[T ][^ ]+) ([+-][0-9]{2}:?[0-9]{2})(?: [A-Z]{2,5})?$"  # +0000 UTC, after a space
_SINCE_1970 = r"^([0-9]{9,10}|[0-9]{12,13})$"  # 1973 to 2286
_REMEMBERED = 1_000_000  # rows, eight bytes each
_LEAST_MILLISECONDS = 10**11


class Keeper:
    """Decides for each row of a run whether it is in the window that is being read.

    A row without a readable time is, unless an earlier window of the run had it, too.

    Args:
        times: Columns of which the first in which a row has a readable time is the row's own.

    Attributes:
        timeless: Rows of the window so far whose time cannot be read.
        dropped: Rows so far that belong to other windows.
    """

    def __init__(self, times: Sequence[str]) -> None:
        self._times = times
        self._before: list[pl.Series] = []  # hashes of rows without a time, of earlier windows
        self._own: list[pl.Series] = []

    def begin(self, window: Window) -> Keeper:
        """Begin a window; returns itself."""
        self._window = window
        self._before += self._own
        self._own = []
        self.timeless = 0
        self.dropped = 0
        return self

    def __call__(self, frame: pl.DataFrame) -> pl.Series:
        """True for each row of a batch, as read, that is in the window."""
        inside = pl.repeat(None, frame.height, dtype=pl.Boolean, eager=True)
        for name in self._times:
            if name in frame.columns and inside.null_count():
                texts = frame[name].cast(pl.String)
                found = self._compared(texts)
                inside = inside.zip_with(
                    inside.is_not_null(), self._parsed(texts) if found is None else found
                )
        timeless = inside.is_null()
        if timeless.any():
            inside = inside.zip_with(~timeless, self._is_new(frame, timeless))
            self.timeless += int((inside & timeless).sum())
        self.dropped += int((~inside).sum())
        return inside

    def _is_new(self, frame: pl.DataFrame, timeless: pl.Series) -> pl.Series:
        """True for each row that no earlier window had; those without a time are remembered."""
        hashes = frame.cast(pl.String).hash_rows()  # integers in one batch, text in another
        if sum(map(len, (*self._before, *self._own))) < _REMEMBERED:
            self._own.append(hashes.filter(timeless))
        if not self._before:
            return pl.repeat(value=True, n=len(hashes), eager=True)
        return ~hashes.is_in(pl.concat(self._before).implode())

    def _compared(self, texts: pl.Series) -> pl.Series | None:
        """True for each time in the window, null for none; None unless comparing texts tells."""
        start, end = (format_time(border) for border in (self._window.start, self._window.end))
        if "." in start + end or not texts.str.contains(fits_plainly("date-time")).all():
            return None
        seconds = texts.str.slice(0, 19).str.replace(" ", "T", literal=True)
        return (seconds >= start.removesuffix("Z")) & (seconds < end.removesuffix("Z"))

    def _parsed(self, texts: pl.Series) -> pl.Series:
        """True for each time in the window, null for what is not a time.

        Besides times of columns, it reads those that Go prints, and seconds or milliseconds.
        """
        # Further digits than microseconds are ignored.
        text = pl.first().str.replace(r"(\.[0-9]{6})[0-9]+", "$1")
        text = text.str.replace(_ZONE, "$1$2").str.replace(r" (?:UTC|GMT)$", "Z")
        whole = pl.when(fits("date-time", text) & (text != "")).then(text)
        moment = canonical("date-time", whole).str.to_datetime(
            _FORMAT, time_unit="us", time_zone="UTC", strict=False
        )
        since = pl.first().str.extract(_SINCE_1970).cast(pl.Int64)
        micros = since * pl.when(since < _LEAST_MILLISECONDS).then(1_000_000).otherwise(1000)
        epoch = micros.cast(pl.Datetime("us", "UTC"))
        moments = texts.to_frame().select(pl.coalesce(moment, epoch)).to_series()
        return (moments >= self._window.start) & (moments < self._window.end)
