"""Run the arms in alternation in one session and print medians and ratios; standard error shows each run.

python -m benchmarks [--only WORKLOAD] [--rows N] [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from benchmarks import arms, functions
from benchmarks.measure import alternate, progress, seconds, session, shares, table
from server_utils import TritonServerManager
from server_utils.demo import assets
from server_utils.environments import builder as environments_builder

MODEL = str(assets.minilm_path())


def write_texts(spark: SparkSession, folder: Path, rows: int) -> list[str]:
    """Real movie-review snippets as Parquet, in as many files as there are cores."""
    lines = assets.movie_reviews_path().read_text(encoding="utf-8").splitlines()[:rows]
    texts = [line.split("\t")[2] for line in lines]
    spark.createDataFrame(pd.DataFrame({"text": texts})).repartition(2).write.parquet(str(folder / "texts"))
    return texts


def write_pixels(folder: Path, rows: int) -> None:
    """Random tensors as array<float>, as upstream's notebooks keep them, and the same as binary; a file per core."""
    (folder / "pixels").mkdir()
    for part in range(2):
        values = np.random.default_rng(part).random((rows // 2, functions.PIXELS), dtype=np.float32)
        # Not by Spark: rows from the driver pass through its heap, and 60,000 of these fill a gigabyte.
        columns = {"pixels": list(values), "raw": [row.tobytes() for row in values]}
        pq.write_table(pa.table(columns), folder / "pixels" / f"part-{part}.parquet")


def jobs(frame, by_name: dict) -> dict:
    """Arms that are Spark jobs over a frame."""
    return {name: functools.partial(timed, arm, frame) for name, arm in by_name.items()}


def timed(arm, frame) -> float:
    """Seconds of the job of one arm."""
    return seconds(arm(frame))


class Direct:
    """The model called directly, in so many processes that share the two cores and the texts."""

    def __init__(self, processes: int) -> None:
        command = [sys.executable, "-m", "benchmarks.direct", "encode", MODEL, str(2 // processes)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._processes = [subprocess.Popen(command, **pipes) for _ in range(processes)]

    def __call__(self, texts: list[str]) -> float:
        """Seconds until the slowest has its share."""
        for number, process in enumerate(self._processes):
            process.stdin.write(json.dumps(texts[number :: len(self._processes)]) + "\n")
            process.stdin.flush()
        return max(float(process.stdout.readline()) for process in self._processes)

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            process.stdin.close()
            process.wait()


def texts(spark: SparkSession, folder: Path, rows: int, rounds: int) -> dict[str, float]:
    """Short-text embeddings with MiniLM, and the direct limit: rows per second by arm."""
    lines = write_texts(spark, folder, rows)
    limits = {"direct, 1 process": Direct(1), "direct, 2 processes": Direct(2)}
    direct = {name: functools.partial(limit, lines) for name, limit in limits.items()}
    with TritonServerManager("encoder", MODEL) as servers:
        servers.start_servers(functions.encoder_server)
        frame = spark.read.parquet(str(folder / "texts"))
        in_spark = jobs(frame, arms.encoder_arms(servers, MODEL))
        times = alternate(in_spark | direct, rounds, title="texts")
    for limit in limits.values():
        limit.close()
    return {name: rows / took for name, took in times.items()}


def pixels(spark: SparkSession, folder: Path, rows: int, rounds: int) -> dict[str, float]:
    """Small tensors, 784 float32 -> 10: rows per second by arm. Each arm reads only its own column."""
    write_pixels(folder, rows)
    with TritonServerManager("classifier") as servers:
        servers.start_servers(functions.classifier_server)
        frame = spark.read.parquet(str(folder / "pixels"))
        # the JVM compiles its way through the rows for the first minute
        times = alternate(jobs(frame, arms.classifier_arms(servers)), 2 * rounds, title="tensors", warm=5)
    return {name: rows / took for name, took in times.items()}


def start(rounds: int) -> dict[str, float]:
    """Seconds until two servers are ready, beside two processes that only load the model and answer once."""
    python = str(environments_builder.find("triton").python)
    command = [python, "-m", "benchmarks.direct", "start", MODEL, "1"]
    times: dict[str, list[float]] = {"load": [], "start_servers": []}
    for _ in range(rounds + 1):
        began = time.perf_counter()
        for process in [subprocess.Popen(command) for _ in range(2)]:
            process.wait()
        times["load"].append(time.perf_counter() - began)
        with TritonServerManager("encoder", MODEL) as servers:
            began = time.perf_counter()
            servers.start_servers(functions.encoder_server)
            times["start_servers"].append(time.perf_counter() - began)
        progress(f"start: {', '.join(f'{name} {took[-1]:.1f} s' for name, took in times.items())}")
    return {name: statistics.median(took[1:]) for name, took in times.items()}


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=2000, help="texts; tensors are thirty times as many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=["texts", "tensors", "start"], help="one workload instead of all three")
    options = parser.parse_args()
    spark = session("local-cluster[2,1,1536]")  # as many tasks as there are cores, and a server beside each executor
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workloads = {
            "texts": ("texts, rows/s", lambda: texts(spark, folder, options.rows, options.rounds)),
            "tensors": ("tensors, rows/s", lambda: pixels(spark, folder, options.rows * 30, options.rounds)),
            "start": ("start, s", lambda: start(options.rounds)),
        }
        chosen = [workloads[options.only]] if options.only else list(workloads.values())
        report = {title: run() for title, run in chosen}
    spark.stop()
    if options.json:
        print(json.dumps(report))
        return
    for title, figures in report.items():
        name, unit = title.split(", ")
        base = "ours" if "ours" in figures else "load"
        print("\n".join(table(name, shares(figures, base), unit, f"of {base}")))


if __name__ == "__main__":
    main()
