"""The differences between Spark versions (3.5 and 4, classic and Connect), in one place. Driver only."""

from __future__ import annotations

import pickle
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from server_utils.errors import ConfigurationError
from server_utils.validation import did_you_mean

_GPU = "spark.executor.resource.gpu.amount"
_CANCEL_S = 10.0  # a session that is gone may never answer
_REFERENCE = re.compile(r"(`([^`]|``)*`|[^`.]+)(\.(`([^`]|``)*`|[^`.]+))*")  # as col() reads it


@dataclass(frozen=True)
class ExecutorPlan:
    """How to reach every executor.

    barrier: whether the tasks run together, one on each executor. profile: their resources, None for the default.
    why: one sentence for the log.
    """

    master: str
    tasks: int
    barrier: bool
    profile: Any
    why: str


def active() -> Any:
    """The active session, None where there is none."""
    from pyspark.sql import SparkSession

    return SparkSession.getActiveSession()


def session(spark: Any = None) -> Any:
    """The given session, else the active one. Raises ConfigurationError when neither runs."""
    chosen = active() if spark is None or is_stopped(spark) else spark
    if chosen is None or is_stopped(chosen):
        raise ConfigurationError("there is no active Spark session; make one first, or pass spark=...")
    return chosen


def is_stopped(spark: Any) -> bool:
    """Whether a session was stopped, and runs no jobs any more."""
    if is_connect(spark):
        return bool(spark.is_stopped)
    return spark.sparkContext._jsc is None  # noqa: SLF001 - no public way in Python


def is_connect(spark: Any) -> bool:
    """Whether the session is a Spark Connect client, which has no SparkContext."""
    return type(spark).__module__.startswith("pyspark.sql.connect")


def conf(spark: Any, key: str) -> str | None:
    """A setting of the application; None where it is not set."""
    value = spark.conf.get(key, None) if is_connect(spark) else spark.sparkContext.getConf().get(key)
    return None if value is None else str(value)


def application(spark: Any) -> str:
    """The application's id."""
    return str(conf(spark, "spark.app.id") or spark.sparkContext.applicationId)


def gpus_per_executor(spark: Any) -> int:
    """GPUs that Spark assigns to each executor; 0 where it assigns none."""
    return int(float(conf(spark, _GPU) or 0))


def on_this_host(spark: Any) -> bool:
    """Whether all executors run on the driver's host, so that the driver can read their servers' state."""
    return (conf(spark, "spark.master") or "").startswith("local")


def named(name: str) -> Any:
    """The column of exactly this name: a dot in it leads into no struct."""
    from pyspark.sql import functions

    return functions.col(_quoted(name))


def column(given: Any) -> Any:
    """What a user means by a column: a text is read as Spark's `col()` does, with dots into structs and backticks.

    Raises ConfigurationError for a text that names no single column.
    """
    if not isinstance(given, str):
        return given
    from pyspark.sql import functions

    if not _REFERENCE.fullmatch(given) or given.split(".")[-1] == "*":
        raise ConfigurationError(
            f"{given!r} names no single column: dots lead into structs, backticks keep what they hold as it is; "
            f"write {_quoted(given or 'my.column')}"
        )
    return functions.col(given)


def column_of(frame: Any, given: Any) -> Any:
    """The column of this very name where the frame has it; else as `column`.

    Raises ConfigurationError where the frame has none.
    """
    from pyspark.errors import AnalysisException

    if isinstance(given, str) and given in frame.columns:
        return named(given)
    chosen = column(given)
    try:
        frame.select(chosen).schema  # noqa: B018 - over Connect names are resolved only now
    except AnalysisException as error:
        near = did_you_mean(str(given), frame.columns)
        raise ConfigurationError(f"the frame has no column {given!r}{near}") from error
    return chosen


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def is_case_sensitive(spark: Any) -> bool:
    """Whether names of columns may differ in case only."""
    return str(spark.conf.get("spark.sql.caseSensitive")).lower() == "true"


def slots(spark: Any) -> int:
    """How many tasks Spark runs at once by default: the partitions of a frame of numbers, which works over Connect."""
    from pyspark.sql.functions import spark_partition_id

    return int(spark.range(1_000).select(spark_partition_id()).distinct().count())


def run(spark: Any, outcome: Callable[[], bytes], plan: ExecutorPlan) -> list[Any]:
    """Run a function in every task of a plan. Returns what it pickled, one object per task.

    DataFrames where they can do it (Spark 4, and the only way over Connect), RDDs on 3.5.
    """
    if is_connect(spark) or int(spark.version.split(".")[0]) >= 4:  # noqa: PLR2004
        source = spark.range(0, plan.tasks, 1, plan.tasks)
        batches = _as_batches(outcome)
        frame = source.mapInArrow(batches, "outcome binary", barrier=plan.barrier, profile=plan.profile)
        return [pickle.loads(row.outcome) for row in frame.collect()]  # noqa: S301 - our own tasks wrote it
    rdd = spark.sparkContext.parallelize(range(plan.tasks), plan.tasks)
    rdd = rdd.withResources(plan.profile) if plan.profile else rdd
    partitions = rdd.barrier() if plan.barrier else rdd
    return [pickle.loads(row) for row in partitions.mapPartitions(lambda _: [outcome()]).collect()]  # noqa: S301


def _as_batches(outcome: Callable[[], bytes]) -> Callable[[Iterator[Any]], Iterator[Any]]:
    def batches(rows: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for _ in rows:
            pass
        yield pa.RecordBatch.from_pydict({"outcome": pa.array([outcome()], pa.binary())})

    return batches


def add_tag(spark: Any, tag: str) -> None:
    """Tag the jobs that this thread starts from now on."""
    spark.addTag(tag) if is_connect(spark) else spark.sparkContext.addJobTag(tag)


def remove_tag(spark: Any, tag: str) -> None:
    """Tag them no longer."""
    spark.removeTag(tag) if is_connect(spark) else spark.sparkContext.removeJobTag(tag)


def cancel(spark: Any, tag: str) -> None:
    """Cancel the jobs with a tag."""
    spark.interruptTag(tag) if is_connect(spark) else spark.sparkContext.cancelJobsWithTag(tag)


@contextmanager
def cancelled_on_error(spark: Any) -> Iterator[None]:
    """Cancel the jobs that this thread started in the block where it fails or is interrupted.

    A notebook's Stop button interrupts the cell alone: the kernel takes Spark's own handler away, and the job goes on.
    """
    tag = f"spark-sidecar-{uuid.uuid4().hex}"
    add_tag(spark, tag)
    try:
        yield
    except BaseException:
        # By another thread: this one may have been interrupted while it waited for the JVM's answer.
        thread = threading.Thread(target=cancel, args=(spark, tag), daemon=True)
        thread.start()
        thread.join(_CANCEL_S)
        raise
    remove_tag(spark, tag)
