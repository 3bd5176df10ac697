"""Into a database by dlt: gzip CSV files of a folder, or the tap's own dlt source."""

import json
import sys
from pathlib import Path

import dlt
from dlt.destinations import postgres
from dlt.sources.filesystem import filesystem, read_csv_duckdb

uri, schema, given = sys.argv[1:]
if given.endswith(".json"):
    from tap_firstup_dde.dlt import firstup

    source = firstup(**json.loads(Path(given).read_text(encoding="utf-8")))
    rows = source.resources["activities"]
else:
    files = filesystem(bucket_url=Path(given).as_uri(), file_glob="*.csv.gz")
    read = read_csv_duckdb(use_pyarrow=True, chunk_size=100_000)
    rows = (files | read).with_name("activities")
pipeline = dlt.pipeline(
    "bench",
    pipelines_dir="pipelines",
    # It wants a password and a host, although the server listens on a socket file only.
    destination=postgres(credentials=uri.replace(":@/", ":none@localhost/")),
    dataset_name=schema,
)
pipeline.run(rows).raise_on_failed_jobs()
