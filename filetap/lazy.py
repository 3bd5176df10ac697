"""polars and numpy, imported at first use: a run that finds nothing new needs neither."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["np", "pl"]


class _Lazy:
    """A module that is imported when one of its attributes is first read."""

    def __init__(self, name: str) -> None:
        self._module = name

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self._module), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import numpy as np
    import polars as pl
else:
    np, pl = _Lazy("numpy"), _Lazy("polars")
