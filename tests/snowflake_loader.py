"""target-snowflake with fakesnow: the loader itself, except its connection and stages.

Run by the loader's own Python. Its host cannot be set, and fakesnow has no user stage: in place
of PUT and MERGE from the stage the lines of batch files are merged as values of a statement, with
the casts that the loader's own has. FAKESNOW_PORT says where fakesnow listens. One stream at
a time, since the fake keeps what it is merging in one place.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

import sqlalchemy
from target_snowflake.connector import SnowflakeConnector
from target_snowflake.sinks import SnowflakeSink
from target_snowflake.target import TargetSnowflake

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

connect_args = SnowflakeConnector.get_connect_args


def _connect_args(connector: Any) -> dict[str, Any]:
    """The loader's, and the way to fakesnow."""
    return {
        **connect_args(connector),
        "host": "127.0.0.1",
        "port": int(os.environ["FAKESNOW_PORT"]),
        "protocol": "http",
        "account": "fakesnow",
        "schema": "PUBLIC",
        "network_timeout": 30,
    }


def _lines(file: str) -> Iterator[str]:
    """The lines of a batch file, as they are."""
    with gzip.open(unquote(urlparse(file).path), "rt", encoding="utf-8", newline="\n") as lines:
        yield from lines


def _load(sink: Any, full_table_name: Any, files: Sequence[str], file_type: str = "JSON") -> int:
    """Merge batch files, line by line."""
    assert file_type == "JSON"
    connector = sink.connector
    columns = connector._get_column_selections(sink.schema)
    names = [column["clean_alias"] for column in columns]
    casts = connector._format_column_selections(columns, "json_casting")
    keys = [connector.format_identifier(key, safe=True) for key in sink.key_properties]
    lines = {}  # the last one of each key, as the loader's own statement has it
    for line in (line for file in files for line in _lines(file)):
        record = json.loads(line)
        lines[tuple(record[key] for key in sink.key_properties)] = line
    values = {f"line_{number}": line for number, line in enumerate(lines.values())}
    statement = sqlalchemy.text(
        f"merge into {full_table_name} d "  # noqa: S608 - names of our own
        f"using (select {casts.replace('$1:', 'v:')} from (select parse_json(column1) as v "
        f"from values {', '.join(f'(:{name})' for name in values)})) s "
        f"on {' and '.join(f'd.{key} = s.{key}' for key in keys)} "
        f"when matched then update set {', '.join(f'd.{name} = s.{name}' for name in names)} "
        f"when not matched then insert ({', '.join(names)}) "
        f"values ({', '.join(f's.{name}' for name in names)})"
    )
    with connector._connect() as connection, connection.begin():
        connection.execute(statement, values)
    return len(lines)


SnowflakeConnector.get_connect_args = _connect_args
SnowflakeSink.insert_batch_files_via_internal_stage = _load
TargetSnowflake.max_parallelism = 1
sys.argv[0] = "target-snowflake"
TargetSnowflake.cli()
