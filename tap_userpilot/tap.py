"""The Singer tap."""

from __future__ import annotations

from filetap.singer.tap import FileTap
from tap_userpilot.vendor import USERPILOT


class TapUserpilot(FileTap):
    """Userpilot's analytics events, and the lists that describe them."""

    vendor = USERPILOT
