"""The demo from beginning to end. Laptop: the driver of an embedded Spark cluster."""

from __future__ import annotations

import functools
import os
import time
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from server_utils import TritonServerManager
from server_utils.demo import assets, spark_cluster
from server_utils.demo.report import print_json
from server_utils.demo.reviews import QUERIES, Hit, Review, evenly, read, top_hits
from server_utils.demo.triton_model import triton_server
from server_utils.demo.triton_report import Answer, Report, Search, print_tables
from server_utils.environments import builder
from server_utils.spark import java

with spark_cluster.extras():
    from server_utils.demo import spark_cluster
    from server_utils.demo.console import Screen
    from server_utils.demo.triton_plot import Pin, draw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from pyspark.sql import SparkSession

    from server_utils.demo.reviews import Vectors

# A core embeds 90 to 110 rows a second: half a minute, and with all the rest about a minute in all.
_ROWS_PER_CORE = 3_000
_PARQUET, _PLOT = "reviews.parquet", "reviews.png"
_TASK_ROWS = 256  # few enough for a progress bar that moves


@dataclass(frozen=True)
class _Cluster:
    """What was measured while Spark ran."""

    servers: int
    restarts: int
    start_s: float
    embed_s: float
    queries: Vectors


def main(rows: int | None, output: Path | None, *, as_json: bool) -> None:
    """Embed movie reviews, search them, draw them, and say how fast it was.

    Args:
        rows: how many, evenly spread over the file; by default so many for each core that it takes about a minute.
        output: folder for the Parquet, the plot and Spark's log; default `demo` in the package's home.
        as_json: print one JSON object on standard output instead of tables.

    Raises:
        EnvironmentMissingError: Java, the sealed environment or an asset is missing.
        ConfigurationError: the folder cannot be written.
        ServerStartError: a server did not start.
    """
    began = time.monotonic()
    folder = spark_cluster.output_folder(output, "demo")
    java.require_java()
    builder.find("triton")
    everything, model = read(assets.movie_reviews_path()), assets.minilm_path()
    reviews = evenly(everything, rows or _ROWS_PER_CORE * len(os.sched_getaffinity(0)))
    cluster = _on_spark(Screen(), reviews, model, folder / _PARQUET)
    count, searches = _searched(folder, cluster.queries)
    report = Report(
        rows=count,
        total=len(everything),
        rows_per_s=round(count / cluster.embed_s, 1),
        servers=cluster.servers,
        restarts=cluster.restarts,
        start_s=round(cluster.start_s, 1),
        seconds=round(time.monotonic() - began, 1),
        parquet=folder / _PARQUET,
        plot=folder / _PLOT,
        searches=searches,
    )
    (print_json if as_json else print_tables)(report)


def _on_spark(screen: Screen, reviews: Sequence[Review], model: Path, parquet: Path) -> _Cluster:
    """All that needs Spark and the servers; both are stopped in the end."""
    with (
        spark_cluster.spark_session(screen, parquet.parent) as spark,
        _servers(screen, spark, model) as (servers, start_s),
    ):
        embed = functools.partial(_embed, spark, servers, reviews, parquet)
        embed_s = screen.rows("Embedding", spark, servers, len(reviews), embed)
        queries = _query_vectors(spark, servers)
        status = servers.status()
        return _Cluster(len(status), sum(server.restarts for server in status), start_s, embed_s, queries)


@contextmanager
def _servers(screen: Screen, spark: SparkSession, model: Path) -> Iterator[tuple[TritonServerManager, float]]:
    """Servers, and how many seconds they took to be ready."""
    with TritonServerManager("minilm", str(model), spark=spark) as servers:
        start = functools.partial(servers.start_servers, triton_server)
        doing, done = "Starting a Triton server beside each executor", "Triton servers with MiniLM are ready"
        yield servers, screen.step(doing, start, lambda _: done, cancel=spark.sparkContext.cancelAllJobs)[1]


def _embed(spark: SparkSession, servers: TritonServerManager, reviews: Sequence[Review], parquet: Path) -> None:
    tasks = max(len(reviews) // _TASK_ROWS, 2 * spark_cluster.EXECUTORS)
    rows = spark.sparkContext.parallelize([astuple(review) for review in reviews], tasks)
    frame = spark.createDataFrame(rows, "id long, score double, text string")
    frame.withColumn("vector", servers.embed("text")).write.mode("overwrite").parquet(str(parquet))


def _query_vectors(spark: SparkSession, servers: TritonServerManager) -> Vectors:
    frame = spark.createDataFrame([*enumerate(QUERIES)], "number int, text string").coalesce(1)
    rows = frame.orderBy("number").withColumn("vector", servers.embed("text")).collect()  # a sort reads its input twice
    return np.array([row.vector for row in rows], dtype=np.float32)


def _searched(folder: Path, queries: Vectors) -> tuple[int, list[Search]]:
    """Answer the queries from the Parquet alone, and draw the map. Also how many rows it holds."""
    table = pq.read_table(folder / _PARQUET)
    vectors = np.stack(table["vector"].to_numpy())
    hits = [top_hits(vectors, query) for query in queries]
    searches = [Search(query, _answers(table, best)) for query, best in zip(QUERIES, hits, strict=True)]
    pins = [
        Pin(search.query, vector, [hit.row for hit in best], search.answers[0].text)
        for search, vector, best in zip(searches, queries, hits, strict=True)
    ]
    draw(vectors, table["score"].to_numpy(), pins, folder / _PLOT)
    return len(table), searches


def _answers(table: pa.Table, hits: Sequence[Hit]) -> list[Answer]:
    rows = table.select(["id", "score", "text"]).take([hit.row for hit in hits]).to_pylist()
    return [Answer(similarity=round(hit.similarity, 3), **row) for hit, row in zip(hits, rows, strict=True)]
