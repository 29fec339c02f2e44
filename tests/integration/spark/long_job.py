"""A long job of a user: questions for a model, written part by part. Prints a JSON object a line.

With a folder named `hold` it stops for good inside its second part, when all tasks of that part but one have committed:
it is there to be killed.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from pyspark.sql import functions

from integration.spark import tiny_models
from integration.spark.conftest import LOCAL, Sessions
from server_utils import TritonServerManager
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


def main(folder, *, hold=False):
    folder = Path(folder)
    spark = Sessions(folder / "spark").get(LOCAL)
    with TritonServerManager("long", spark=spark) as servers:
        servers.start_servers(tiny_models.many)
        say(step="started", servers=[server.process.pid for server in servers.status()])
        answer = servers.tensors("question", model="picky")
        arrange = (lambda frame: held(frame, folder)) if hold else evenly
        done = servers.run(questions(spark), {"answer": answer}, folder / "out", key="id", parts=PARTS, arrange=arrange)
        asked = sum(server.rows for server in servers.status())
        say(step="done", rows=done.rows, already_written=done.already_written, written=done.written, asked=asked)
    spark.stop()
