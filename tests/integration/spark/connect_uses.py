"""`uses` on Spark Connect, in a process of its own. Prints JSON: by use, how many rows were asked, and are wrong."""

from __future__ import annotations

import json
from pathlib import Path

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from integration.spark import tiny_models, uses
from server_utils import TritonServerManager

# Every fourth: the server's optimizer is that of a classic session, and each use takes a second of a processor.
COUNTED = uses.COUNTED[::4]


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
