"""The SDK's standard suite, over all records."""

from __future__ import annotations

import atexit

from singer_sdk.testing import SuiteConfig, get_tap_test_class

from tap_firstup_dde.emulator import Emulator
from tap_firstup_dde.streams import ExportStream
from tap_firstup_dde.tap import TapFirstupDDE

# The suite builds the tap while pytest collects, before any fixture is there.
_EMULATOR = Emulator()
_EMULATOR.start()
atexit.register(_EMULATOR.stop)
for _ in range(2):
    _EMULATOR.add_generation(rows=300)

# As Meltano does it: discover, then sync with the catalog.
_TAP = TapFirstupDDE(config=_EMULATOR.settings, setup_mapper=False)
for _stream in _TAP.streams.values():
    assert isinstance(_stream, ExportStream)
    _stream.discover()

# Its key test compares generators and cannot fail; test_streams has the real one.
TestTapFirstupDDE = get_tap_test_class(
    TapFirstupDDE,
    config=_EMULATOR.settings,
    suite_config=SuiteConfig(max_records_limit=None),
    parse_env_config=False,
    catalog=_TAP.catalog_dict,
)
