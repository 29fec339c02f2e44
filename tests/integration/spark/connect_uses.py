"""`uses` on Spark Connect, in a process of its own. Prints JSON: by use, how many rows were asked, and are wrong."""

from __future__ import annotations

import json
from pathlib import Path

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from integration.spark import tiny_models, uses
from server_utils import TritonServerManager

# One of each kind: the server's optimizer is that of a classic session, and each use takes a second of a processor.
NAMES = {
    "a filter on it",
    "the Python object twice in one `select`",
    "a left join to it, then a filter on it",
    "a join by it",
    "a union of two such frames, then a filter (of 400 rows)",
    "a view in SQL, with a filter",
    "`count` of all rows",
    "an input of null",
    '`where("id < 20")` before the column',
    "`limit(10)` after the column",
    "`orderBy` it",
    "`cache`, then `orderBy` it",
}
COUNTED = [use for use in uses.COUNTED if use.name in NAMES]


def is_refused(use, frame, ask):
    try:
        use.rows(frame, ask).collect()
    except AnalysisException:
        return True
    return False


def main(port, folder):
    spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    asked = uses.counter(Path(folder))
    with TritonServerManager("chance", folder, spark=spark) as servers:
        servers.start_servers(tiny_models.chance)
        found = {use.name: uses.asked_and_broken(spark, servers.tensors, use, asked) for use in COUNTED}
        refused = [use.name for use in uses.REFUSED if is_refused(use, spark.range(5), servers.tensors)]
    print(json.dumps({"found": found, "refused": refused}))  # noqa: T201 - read by the test
    spark.stop()
