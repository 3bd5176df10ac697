"""The Singer tap."""

from __future__ import annotations

from filetap.singer.tap import FileTap
from tap_simpplr.vendor import SIMPPLR


class TapSimpplr(FileTap):
    """Singer tap for Simpplr's analytics exports."""

    vendor = SIMPPLR
