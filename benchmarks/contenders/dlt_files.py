"""Gzip CSV files of a folder as jsonl or parquet files, by dlt."""

import sys
from pathlib import Path

import dlt  # type: ignore[import-not-found]
from dlt.destinations import (  # type: ignore[import-not-found]
    filesystem as files,
)
from dlt.sources.filesystem import (  # type: ignore[import-not-found]
    filesystem,
    read_csv,
    read_csv_duckdb,
)

source, target, form = sys.argv[1:]
read = read_csv() if form == "jsonl" else read_csv_duckdb(use_pyarrow=True, chunk_size=100_000)
pipeline = dlt.pipeline(
    "bench",
    pipelines_dir=str(Path(target) / "pipelines"),
    destination=files(bucket_url=(Path(target) / "files").as_uri()),
)
rows = filesystem(bucket_url=Path(source).as_uri(), file_glob="*.csv.gz") | read
pipeline.run(rows.with_name("activities"), loader_file_format=form).raise_on_failed_jobs()
