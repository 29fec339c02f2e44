"""The demo with a language model, from beginning to end. Laptop: the driver of an embedded Spark cluster.

Two real vLLM servers label movie reviews positive or negative, and are scored against the labels of people. Then the
same servers read facts out of texts into typed columns.
"""

from __future__ import annotations

import functools
import os
import time
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from server_utils import VLLMServerManager
from server_utils.demo import assets, sentiment, spark_cluster
from server_utils.demo.llm_report import LLMReport, Person, print_tables
from server_utils.demo.report import print_json
from server_utils.demo.reviews import Review, read
from server_utils.environments import builder
from server_utils.host.processes import wait_until
from server_utils.servers.launch import ServerStatus
from server_utils.spark import java

with spark_cluster.extras():
    from server_utils.demo import spark_cluster
    from server_utils.demo.console import Screen
    from server_utils.demo.llm_plot import draw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyspark.sql import SparkSession

_ROWS_PER_CORE = 300  # a core reads about ten reviews a second: half a minute
_PARQUET, _PLOT = "opinions.parquet", "opinions.png"
_EXAMPLES = 3
_METRICS_S = 10.0  # the servers write theirs twice a second
_TASKS = 4 * spark_cluster.EXECUTORS  # two for each slot: one that is late does not leave the other server idle
_MEMORY = 512 << 20  # for the keys and values of 20,000 tokens


@dataclass(frozen=True)
class _Cluster:
    """What was measured while Spark ran. servers: as they were once the reviews were done."""

    servers: Sequence[ServerStatus]
    start_s: float
    label_s: float
    people: list[Person]


def main(rows: int | None, output: Path | None, *, as_json: bool) -> None:
    """Let a language model say of movie reviews whether they are positive, and say how often it is right.

    Args:
        rows: how many, half of them positive; by default so many for each core that it takes less than two minutes.
        output: folder for the Parquet, the plot and Spark's log; default `demo-llm` in the package's home.
        as_json: print one JSON object on standard output instead of tables.

    Raises:
        EnvironmentMissingError: Java, the sealed environment or an asset is missing.
        ConfigurationError: the folder cannot be written.
        ServerStartError: a server did not start.
    """
    began = time.monotonic()
    folder = spark_cluster.output_folder(output, "demo-llm")
    java.require_java()
    builder.find("vllm")
    reviews, model = read(assets.movie_reviews_path()), assets.smollm2_path()
    cluster = _on_spark(Screen(), reviews, rows or _ROWS_PER_CORE * _cores(), model, folder)
    judged = [sentiment.Judged(**row) for row in pq.read_table(folder / _PARQUET).to_pylist()]
    report = _report(cluster, judged, folder)
    draw(judged, report, folder / _PLOT)
    report = replace(report, seconds=round(time.monotonic() - began, 1))
    (print_json if as_json else print_tables)(report)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _on_spark(screen: Screen, reviews: Sequence[Review], rows: int, model: Path, folder: Path) -> _Cluster:
    """All that needs Spark and the servers; both are stopped in the end."""
    sample, affixes = sentiment.balanced(reviews, rows), sentiment.prompt_parts(sentiment.few_shots(reviews))
    with spark_cluster.spark_session(screen, folder) as spark, _servers(screen, spark, model) as (servers, start_s):
        label = functools.partial(_label, spark, servers, sample, affixes, folder / _PARQUET)
        label_s = screen.rows("Reading", spark, servers, len(sample), label)
        counted = _counted(servers)
        people, _ = screen.step(
            "Reading facts into typed columns", functools.partial(_people, spark, servers), lambda _: "Facts are read"
        )
        return _Cluster(counted, start_s, label_s, people)


@contextmanager
def _servers(screen: Screen, spark: SparkSession, model: Path) -> Iterator[tuple[VLLMServerManager, float]]:
    """Servers, and how many seconds they took to be ready."""
    with VLLMServerManager("smollm2", str(model), spark=spark) as servers:
        start = functools.partial(
            servers.start_servers,
            max_model_len=1024,
            kv_cache_memory_bytes=_MEMORY,
            gpu_memory_utilization=0.4,  # both may have to share one GPU
            env={"OMP_NUM_THREADS": str(max(1, _cores() // spark_cluster.EXECUTORS))},
        )
        doing, done = "Starting a vLLM server beside each executor", "vLLM servers with SmolLM2 are ready"
        yield servers, screen.step(doing, start, lambda _: done, cancel=spark.sparkContext.cancelAllJobs)[1]


def _label(
    spark: SparkSession,
    servers: VLLMServerManager,
    sample: Sequence[Review],
    affixes: tuple[str, str],
    parquet: Path,
) -> None:
    """Generate one of two words after each review; the server can give no other answer."""
    from pyspark.sql import functions

    before, behind = map(functions.lit, affixes)
    labelled = [(*astuple(each), sentiment.human_label(each.score)) for each in sample]
    rows = spark.sparkContext.parallelize(labelled, _TASKS)
    frame = spark.createDataFrame(rows, "id long, score double, text string, human string")
    prompts = frame.withColumn("prompt", functions.concat(before, "text", behind))
    answer = servers.generate("prompt", max_tokens=4, temperature=0, structured_outputs={"choice": sentiment.CHOICES})
    judged = prompts.withColumn("model", functions.trim(answer)).drop("prompt")
    judged.write.mode("overwrite").parquet(str(parquet))


def _people(spark: SparkSession, servers: VLLMServerManager) -> list[Person]:
    """Facts as typed columns: every answer of the server has the type."""
    from pyspark.sql.types import IntegerType, StringType, StructField, StructType

    fields = {"name": StringType(), "age": IntegerType(), "city": StringType()}
    kind = StructType([StructField(name, each, nullable=False) for name, each in fields.items()])
    frame = spark.createDataFrame([*enumerate(text for text, _ in sentiment.PEOPLE)], "number int, text string")
    person = servers.chat("text", response_format=kind, max_tokens=64, temperature=0, on_error="struct")
    ordered = frame.coalesce(1).orderBy("number")  # before the column: a sort reads its input twice
    rows = ordered.withColumn("person", person).select("text", "person.value.*").collect()
    people = [(row.name, row.age, row.city) for row in rows]
    return [
        Person(text, *values, right=values == facts)
        for (text, facts), values in zip(sentiment.PEOPLE, people, strict=True)
    ]


def _counted(servers: VLLMServerManager) -> list[ServerStatus]:
    """The servers once they have counted all requests before this call."""
    now = time.time()
    wait_until(lambda: all(server.metrics.get("at", 0) > now for server in servers.status()), _METRICS_S)
    return servers.status()


def _report(cluster: _Cluster, judged: Sequence[sentiment.Judged], folder: Path) -> LLMReport:
    """Everything but the seconds in all."""
    names = ("tokens_in", "tokens_out", "prefix_hits", "prefix_queries")
    count = {name: int(sum(server.metrics.get(name, 0) for server in cluster.servers)) for name in names}
    return LLMReport(
        rows=len(judged),
        rows_per_s=round(len(judged) / cluster.label_s, 1),
        tokens_in=count["tokens_in"],
        tokens_out=count["tokens_out"],
        tokens_in_per_s=round(count["tokens_in"] / cluster.label_s, 1),
        tokens_out_per_s=round(count["tokens_out"] / cluster.label_s, 1),
        prefix_hits=round(count["prefix_hits"] / max(count["prefix_queries"], 1), 3),
        accuracy=round(sentiment.accuracy(judged), 3),
        servers=len(cluster.servers),
        restarts=sum(server.restarts for server in cluster.servers),
        start_s=round(cluster.start_s, 1),
        seconds=0,
        parquet=folder / _PARQUET,
        plot=folder / _PLOT,
        confusion=sentiment.confusion(judged),
        right=sentiment.clearest((each for each in judged if each.right), _EXAMPLES),
        wrong=sentiment.clearest((each for each in judged if not each.right), _EXAMPLES),
        people=cluster.people,
    )
