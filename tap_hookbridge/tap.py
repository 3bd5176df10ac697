"""The Singer tap."""

from __future__ import annotations

from filetap.singer.tap import FileTap
from tap_hookbridge.vendor import HOOKBRIDGE


class TapHookBridge(FileTap):
    """Singer tap for HookBridge's exports of messages."""

    vendor = HOOKBRIDGE
