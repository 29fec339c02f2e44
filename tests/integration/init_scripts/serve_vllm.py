"""Run on a node that an init script made ready, by Spark's Python: a tiny language model, served and asked."""

from __future__ import annotations

import json
import sys

from pyspark.sql import SparkSession

from server_utils import VLLMServerManager


def main(model):
    """Start, ask, stop. Prints JSON."""
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    with VLLMServerManager("tiny", model, spark=spark) as servers:
        servers.start_servers(max_model_len=256, max_num_seqs=4, timeout_s=300)
        df = spark.createDataFrame([("one",), ("two",), (None,)], "prompt string")
        rows = [row.answer for row in df.withColumn("answer", servers.generate("prompt", max_tokens=4)).collect()]
    spark.stop()
    sys.stdout.write(json.dumps({"answers": [row is not None for row in rows]}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
