"""The Singer tap."""

from __future__ import annotations

from filetap.singer.tap import FileTap
from tap_firstup_dde.vendor import FIRSTUP


class TapFirstupDDE(FileTap):
    """Singer tap for Firstup Direct Data Export v2."""

    vendor = FIRSTUP
