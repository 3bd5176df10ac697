"""Gzip CSV files of a folder as jsonl or parquet files, by dlt."""

import sys
from pathlib import Path
from typing import Literal

import dlt
from dlt.destinations import filesystem as files
from dlt.sources.filesystem import filesystem, read_csv, read_csv_duckdb

source, target, name = sys.argv[1:]
form: Literal["jsonl", "parquet"] = "jsonl" if name == "jsonl" else "parquet"
read = read_csv() if form == "jsonl" else read_csv_duckdb(use_pyarrow=True, chunk_size=100_000)
pipeline = dlt.pipeline(
    "bench",
    pipelines_dir=str(Path(target) / "pipelines"),
    destination=files(bucket_url=(Path(target) / "files").as_uri()),
)
rows = filesystem(bucket_url=Path(source).as_uri(), file_glob="*.csv.gz") | read
pipeline.run(rows.with_name("activities"), loader_file_format=form).raise_on_failed_jobs()
