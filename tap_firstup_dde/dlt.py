"""Firstup's export files as a dlt source."""

from __future__ import annotations

from filetap.dlt.source import source_of
from tap_firstup_dde.vendor import FIRSTUP

firstup = source_of(FIRSTUP)
