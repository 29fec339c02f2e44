"""The job that asks the questions of a cluster: on the driver, and in one task on an executor. Runs on the cluster.

The cluster gets this one file, with the questions in it. So the file imports the standard library and Spark, and
nothing of ours. Its last line, or the result of the notebook, has all answers: key -> [exit status, output].
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import subprocess
import traceback

MARK = "SPARK-SIDECAR-ANSWERS "
_COMMAND_S = 120.0
# `on_cluster.py` puts the questions here.
QUESTIONS = "@QUESTIONS@"

Row = tuple[str, str, bool, bool]  # key, command, whether it is Python, whether the driver is asked


def answers(rows: list[Row]) -> dict[str, tuple[int, str]]:
    """Run the commands of the questions in this process, and return their results by key."""
    return {key: _run_python(command) if python else _run_shell(command) for key, command, python, _ in rows}


def _run_shell(command: str) -> tuple[int, str]:
    try:
        done = subprocess.run(
            ["bash", "-c", command],  # noqa: S607 - wherever the node has it
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as err:
        return 1, str(err)
    return done.returncode, done.stdout.strip()


def _run_python(command: str) -> tuple[int, str]:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(command, {})  # noqa: S102 - the questions are ours, and this process is the one they are about
    except Exception:  # noqa: BLE001 - whatever it is, it is the answer
        return 1, traceback.format_exc(limit=0).strip()
    return 0, printed.getvalue().strip()


def main() -> None:
    """Ask all questions, print the answers, and return them as the result of the notebook on Databricks."""
    from pyspark.sql import SparkSession

    rows: list[Row] = [tuple(row) for row in json.loads(base64.b64decode(QUESTIONS))]
    spark = SparkSession.builder.getOrCreate()
    driver_answers = answers([row for row in rows if row[3]])
    executor_rows = [row for row in rows if not row[3]]
    (executor_answers,) = spark.sparkContext.parallelize([executor_rows], 1).map(answers).collect()
    report = MARK + json.dumps(driver_answers | executor_answers)
    print(report)  # noqa: T201 - Dataproc shows it as the job's output
    if notebook := globals().get("dbutils"):
        notebook.notebook.exit(report)


if __name__ == "__main__":
    main()
