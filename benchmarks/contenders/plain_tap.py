"""A tap as one would write it in an hour: csv.DictReader, int(), and the SDK for the rest."""

import csv
import gzip
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from singer_sdk import Stream, Tap
from singer_sdk import typing as th

from tap_firstup_dde.documented import STREAMS

KINDS = STREAMS["activities"].documented.columns


class Activities(Stream):
    """One file's rows."""

    name = "activities"

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The header's columns: integers, and text."""
        with gzip.open(self.config["path"], "rt", encoding="utf-8", newline="") as file:
            names = next(csv.reader(file))
        kinds = {"integer": th.IntegerType()}
        columns = [th.Property(n, kinds.get(KINDS.get(n, ""), th.StringType())) for n in names]
        return th.PropertiesList(*columns).to_dict()

    def get_records(self, context: Any) -> Iterable[dict[str, Any]]:  # noqa: ARG002 - the SDK's
        """The rows."""
        integers = [name for name in self.schema["properties"] if KINDS.get(name) == "integer"]
        with gzip.open(self.config["path"], "rt", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                record: dict[str, Any] = {name: value or None for name, value in row.items()}
                for name in integers:
                    if record[name]:
                        record[name] = int(record[name])
                yield record


class PlainTap(Tap):
    """The tap."""

    name = "tap-plain"
    config_jsonschema = th.PropertiesList(th.Property("path", th.StringType)).to_dict()

    def discover_streams(self) -> list[Stream]:
        """One stream."""
        return [Activities(self)]


PlainTap.cli()
