"""Runs the tap: ``python -m tap_firstup_dde``."""

from tap_firstup_dde.tap import TapFirstupDDE

TapFirstupDDE.cli()
