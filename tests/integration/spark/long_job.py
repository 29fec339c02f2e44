"""A long job of a user: questions for a model, written part by part. Prints a JSON object a line.

With hold=True it stops for good inside its second part, when all tasks of that part but one have committed: it is there
to be killed, or to be interrupted as by a notebook's Stop button. It then says which of Spark's jobs still run.
"""

from __future__ import annotations

import json
import signal
import time
from concurrent import futures
from pathlib import Path

from pyspark.sql import functions

from integration.spark import tiny_models
from integration.spark.conftest import LOCAL, Sessions
from server_utils import TritonServerManager
from server_utils.host.processes import wait_until
from server_utils.jobs.output import part
from server_utils.spark.partitioning import evenly

ROWS, PARTS, HELD_PART = 240, 3, 1


def say(**words):
    print(json.dumps(words), flush=True)  # noqa: T201 - read by the test


def questions(spark):
    return spark.range(ROWS).withColumn("question", functions.col("id") * 10)


def held(frame, folder):
    """What `arrange` does, and one row of the second part that never gets any further."""
    (row,) = frame.sparkSession.range(ROWS).where(part(["id"], PARTS) == HELD_PART).take(1)

    @functions.udf("bigint")
    def hold(number, question):
        if number == row.id:
            (folder / "held").touch()
            time.sleep(300)  # it is killed long before
        return question

    return evenly(frame).withColumn("question", hold("id", "question"))


def running_jobs(spark):
    """By another thread: this one was interrupted while it waited for the JVM's answer."""
    with futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(spark.sparkContext.statusTracker().getActiveJobsIds).result()


def main(folder, *, hold=False):
    folder = Path(folder)
    spark = Sessions(folder / "spark").get(LOCAL)
    with TritonServerManager("long", spark=spark) as servers:
        servers.start_servers(tiny_models.many)
        say(step="started", servers=[server.process.pid for server in servers.status()])
        answer = servers.tensors("question", model="picky")
        arrange = (lambda frame: held(frame, folder)) if hold else evenly
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as a kernel does for each cell
        try:
            done = servers.run(
                questions(spark), {"answer": answer}, folder / "out", key="id", parts=PARTS, arrange=arrange
            )
        except KeyboardInterrupt:
            say(step="interrupted", ended=wait_until(lambda: not running_jobs(spark), 30))
            return
        asked = sum(server.rows for server in servers.status())
        say(step="done", rows=done.rows, already_written=done.already_written, written=done.written, asked=asked)
    spark.stop()
