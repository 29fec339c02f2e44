"""Run on a node by the Python of a notebook, whose environment is deleted while its server runs. Prints JSON."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import psutil
from pyspark.sql import SparkSession
from serve import triton_server

from server_utils import TritonServerManager
from server_utils.host.processes import wait_until
from server_utils.servers import lifecycle, state_dir
from server_utils.servers.launch import State


def main():
    """Start, delete the environment, kill the server, and wait for the next one."""
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    servers = TritonServerManager("double", spark=spark)
    servers.start_servers(triton_server, timeout_s=120)
    (server,) = servers.status()
    folder = Path(server.log).parent
    shutil.rmtree(sys.prefix)
    os.kill(server.process.pid, signal.SIGKILL)
    wait_until(lambda: (now := state_dir.read(folder)).state is State.READY and now.restarts == 1, 120)
    now = state_dir.read(folder)
    supervisor = psutil.Process(now.supervisor.pid).cmdline()[0]
    sys.stdout.write(json.dumps({"state": now.state.value, "restarts": now.restarts, "supervisor": supervisor}) + "\n")
    sys.stdout.flush()
    lifecycle.stop(folder)
    os._exit(0)  # without the job that a stop of the manager runs: its workers' Python is gone


if __name__ == "__main__":
    main()
