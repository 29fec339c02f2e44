"""A long job of a user: prompts for a language model, written part by part. Prints a JSON object a line.

With a folder named `hold` it stops for good inside its second part, when all tasks of that part but one have committed:
it is there to be killed.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from pyspark.sql import functions

from integration.spark.conftest import Sessions
from server_utils import VLLMServerManager
from server_utils.jobs.output import part
from server_utils.spark.partitioning import evenly

ROWS, PARTS, HELD_PART = 240, 3, 1


def say(**words):
    print(json.dumps(words), flush=True)  # noqa: T201 - read by the test


def prompts(spark):
    return spark.range(ROWS).withColumn("prompt", functions.format_string("say %d", "id"))


def held(frame, folder):
    """What `arrange` does, and one row of the second part that never gets any further."""
    (row,) = frame.sparkSession.range(ROWS).where(part(["id"], PARTS) == HELD_PART).take(1)

    @functions.udf("string")
    def hold(number, prompt):
        if number == row.id:
            (folder / "held").touch()
            time.sleep(300)  # it is killed long before
        return prompt

    return evenly(frame).withColumn("prompt", hold("id", "prompt"))


def main(folder, model, *, hold=False):
    folder = Path(folder)
    spark = Sessions(folder / "spark").get("local[2]")
    with VLLMServerManager("long", model) as servers:
        servers.start_servers(max_model_len=512)
        say(step="started", servers=[server.process.pid for server in servers.status()])
        answer = servers.generate("prompt", max_tokens=3, temperature=0)
        arrange = (lambda frame: held(frame, folder)) if hold else evenly
        done = servers.run(prompts(spark), {"answer": answer}, folder / "out", key="id", parts=PARTS, arrange=arrange)
        asked = sum(server.rows for server in servers.status())
        say(step="done", rows=done.rows, there=done.there, written=done.written, asked=asked)
    spark.stop()
