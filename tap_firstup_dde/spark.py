"""Firstup's export files as a data source of Spark."""

from __future__ import annotations

from filetap.spark.source import ExportDataSource
from tap_firstup_dde.vendor import FIRSTUP


class FirstupDataSource(ExportDataSource):
    """The format ``firstup_dde``."""

    vendor = FIRSTUP
