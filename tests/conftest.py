"""Fixtures of all tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tap_firstup_dde.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator


# A slow machine is no fault of the code; and a change in CI is judged by the same cases twice.
settings.register_profile("tap", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("tap")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulated Firstup without files."""
    with Emulator() as serving:
        yield serving
