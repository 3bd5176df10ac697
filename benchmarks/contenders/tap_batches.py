"""The tap's columnar path up to typed batches: seconds, rows, peak memory (MiB), each round."""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from typing import TYPE_CHECKING

from singer_sdk.contrib.msgspec import MsgSpecWriter

from filetap.allocation import keep_freed_memory
from filetap.columns.types import to_values
from filetap.singer.rows import BatchOptions
from filetap.singer.stream import ExportStream
from tap_firstup_dde.tap import TapFirstupDDE

if TYPE_CHECKING:
    from singer_sdk.singerlib.encoding.simple import Message


class Nowhere(MsgSpecWriter):
    """Throws messages away."""

    def write_message(self, message: Message | bytes) -> None:
        """Nothing."""


logging.disable()
keep_freed_memory()
for number in range(1 + int(sys.argv[2])):  # the first does not count
    tap = TapFirstupDDE(config=json.loads(sys.argv[1]), message_writer=Nowhere())
    stream = tap.streams["activities"]
    assert isinstance(stream, ExportStream)
    stream._plan()  # noqa: SLF001 - all before the batches
    stream._files.close()  # noqa: SLF001 - downloaded in the time that is taken
    begun, rows = time.perf_counter(), 0
    for frame in stream.typed_frames(BatchOptions(tap.tuning.slice, fill=True)):
        rows += to_values(frame, stream._types).height  # noqa: SLF001
    if number:
        seconds = time.perf_counter() - begun
        print(seconds, rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
