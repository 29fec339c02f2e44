"""A user's script on Spark Connect, in a process of its own: Connect and classic sessions do not mix in one.

Prints a JSON object a line: what it saw at each step.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from concurrent import futures
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql.functions import column

from integration.spark import tiny_models
from server_utils import ServerStartError, TritonServerManager
from server_utils.host.processes import wait_until


def say(**words):
    print(json.dumps(words), flush=True)  # noqa: T201 - read by the test


def infer(spark, servers, count=400):
    frame = spark.range(0, count, 1, 4).select("id", servers.tensors("id").alias("answer"))
    found = frame.collect()
    right = sorted(row.id for row in found) == list(range(count)) and all(r.answer[0] == 2 * r.id for r in found)
    return {"right": right, "servers": len({row.answer[1] for row in found})}


def kill_half_way(spark, servers, gate):
    """SIGKILL of a server that holds rows of a job, which then goes on."""
    with futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(infer, spark, servers)
        pids = {server.process.pid for server in servers.status()}
        assert wait_until(lambda: {int(file.name) for file in gate.iterdir()} >= pids, 60)
        os.kill(min(pids), signal.SIGKILL)
        (gate / "go").touch()
        return job.result(timeout=120)


def runs(spark, servers):
    """What a run writes, and what the same run writes once more."""
    with tempfile.TemporaryDirectory() as folder:
        column = {"answer": servers.tensors("id")}
        done = [servers.run(spark.range(100), column, folder, key="id", parts=2) for _ in range(2)]
        return {"written": [each.written for each in done], "rows": spark.read.parquet(folder).count()}


def main(port, gate):
    spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
    with TritonServerManager("connected", gate) as servers:
        try:
            servers.start_servers(tiny_models.missing_package)
        except ServerStartError as error:
            say(step="failed start", message=str(error))
        servers.start_servers(tiny_models.gated)
        say(step="start", states=[server.state.value for server in servers.status()])
        say(step="killed half-way", **kill_half_way(spark, servers, Path(gate)))
        say(step="infer", **infer(spark, servers))
        say(step="run", **runs(spark, servers))
        say(step="names", columns=spark.range(1).select(servers.tensors("id"), servers.tensors(column("id"))).columns)
        assert wait_until(lambda: sum(server.restarts for server in servers.status()) == 1, 60)
        say(step="restarted", restarts=sum(server.restarts for server in servers.status()))
    say(step="stopped", alive=[server.state.value for server in servers.status() if server.supervisor.alive()])
    spark.stop()
