"""Run on a node that an init script made ready, by Spark's Python: one model, served and asked. Prints JSON."""

from __future__ import annotations

import json
import os
import sys

from pyspark.sql import SparkSession

import server_utils
from server_utils import TritonServerManager


def triton_server(ports):
    """Doubles numbers."""
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    @batch
    def double(x):
        return {"y": x * 2}

    number = Tensor(name="x", dtype=np.float32, shape=(1,))
    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        answer = Tensor(name="y", dtype=np.float32, shape=(1,))
        triton.bind("double", double, inputs=[number], outputs=[answer], config=ModelConfig(max_batch_size=8))
        triton.serve()


def main():
    """Start, ask, stop."""
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    with TritonServerManager("double", spark=spark) as servers:
        servers.start_servers(triton_server, timeout_s=120)
        df = spark.range(5).selectExpr("cast(id as float) as x")
        rows = [row.y for row in df.withColumn("y", servers.tensors("x")).orderBy("x").collect()]
        states = [each.state.value for each in servers.status()]
    spark.stop()
    ours = os.path.realpath(server_utils.__file__)
    sys.stdout.write(json.dumps({"rows": rows, "states": states, "from": ours}) + "\n")


if __name__ == "__main__":
    main()
