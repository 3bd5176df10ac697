"""Tests of the engine and of its taps."""

import pytest

pytest.register_assert_rewrite("filetap.testing")
