"""The SDK's standard suite, over all records: through the API, and from a folder."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

from singer_sdk.testing import SuiteConfig, get_tap_test_class

from filetap.singer.stream import ExportStream
from tap_firstup_dde.emulator import Emulator
from tap_firstup_dde.tap import TapFirstupDDE

# The suite builds the tap while pytest collects, before any fixture is there.
_FOLDER = Path(tempfile.mkdtemp(prefix="firstup-delivered-"))
_EMULATOR = Emulator(deliver=_FOLDER)
_EMULATOR.start()
atexit.register(_EMULATOR.stop)
atexit.register(shutil.rmtree, _FOLDER)
for _ in range(2):
    _EMULATOR.add_generation(rows=300)


def _suite(config: dict[str, Any]) -> type:
    """The suite for a tap that is used as Meltano does: discover, then sync with the catalog."""
    tap = TapFirstupDDE(config=config, setup_mapper=False)
    for stream in tap.streams.values():
        assert isinstance(stream, ExportStream)
        stream.discover()
    return get_tap_test_class(
        TapFirstupDDE,
        config=config,
        suite_config=SuiteConfig(max_records_limit=None),
        parse_env_config=False,
        catalog=tap.catalog_dict,
    )


# Its key test compares generators and cannot fail; test_streams has the real one.
TestAPI = _suite(dict(_EMULATOR.settings))
TestFolder = _suite({"folder": {"url": str(_FOLDER)}})
