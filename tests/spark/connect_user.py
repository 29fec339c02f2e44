"""A user's script on Spark Connect, in a process of its own: Connect and classic sessions do not mix in one.

Prints a JSON object a line: what it saw at each step.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile

from pyspark.sql import SparkSession

from server_utils import ServerStartError, TritonServerManager
from server_utils.process import wait_until
from spark import tiny_models


def say(**words):
    print(json.dumps(words), flush=True)  # noqa: T201 - read by the test


def infer(spark, servers, count=400):
    frame = spark.range(0, count, 1, 4).select("id", servers.tensors("id").alias("answer"))
    found = frame.collect()
    right = sorted(row.id for row in found) == list(range(count)) and all(r.answer[0] == 2 * r.id for r in found)
    return {"right": right, "servers": len({row.answer[1] for row in found})}


def runs(spark, servers):
    """What a run writes, and what the same run writes once more."""
    with tempfile.TemporaryDirectory() as folder:
        column = {"answer": servers.tensors("id")}
        done = [servers.run(spark.range(100), column, folder, key="id", parts=2) for _ in range(2)]
        return {"written": [each.written for each in done], "rows": spark.read.parquet(folder).count()}


def main():
    spark = SparkSession.builder.remote("local-cluster[2,2,1024]").getOrCreate()
    with TritonServerManager("connected") as servers:
        try:
            servers.start_servers(tiny_models.missing_package)
        except ServerStartError as error:
            say(step="failed start", message=str(error))
        servers.start_servers(tiny_models.whoami)
        say(step="start", states=[server.state.value for server in servers.status()])
        say(step="infer", **infer(spark, servers))
        say(step="run", **runs(spark, servers))
        os.kill(servers.status()[0].process.pid, signal.SIGKILL)
        say(step="after a kill", **infer(spark, servers))
        assert wait_until(lambda: sum(server.restarts for server in servers.status()) == 1, 60)
        say(step="restarted", restarts=sum(server.restarts for server in servers.status()))
    say(step="stopped", alive=[server.state.value for server in servers.status() if server.supervisor.alive()])
    spark.stop()


if __name__ == "__main__":
    main()
