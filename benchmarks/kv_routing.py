"""What Dynamo's router gains by what workers have in their caches: router="kv" against round-robin, alternating.

python -m benchmarks.kv_routing --model FOLDER [--documents N] [--questions N] [--rounds N] [--json]

One executor, one frontend, two workers, and several questions about each document in random order: by default as many
documents as fit into both caches together, and not into one. Each round starts new servers, so that no cache knows a
document. A round with SmolLM2 took seven minutes on two busy cores; standard error shows each workload as it ends.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Literal

from pyspark.sql import SparkSession

from benchmarks.measure import progress, seconds, session
from benchmarks.prefix import hits, prompts, text
from server_utils import DynamoServerManager

_CACHE_BYTES = 64 << 20  # of each worker
_ROUTERS: tuple[Literal["round-robin", "kv"], ...] = ("round-robin", "kv")


def measure(spark: SparkSession, model: Path, router: str, rows: list[tuple[str]]) -> tuple[float, float]:
    """Seconds for all rows, and the share of their tokens that came from a cache."""
    frame = spark.createDataFrame(rows, "prompt string").repartition(2).cache()
    frame.count()
    with DynamoServerManager("routing", str(model)) as servers:
        servers.start_servers(
            workers=2, router=router, max_model_len=1024, kv_cache_memory_bytes=_CACHE_BYTES, stop_grace_s=3
        )
        before, _ = hits(servers, {})
        answer = servers.generate("prompt", max_tokens=8, temperature=0, ignore_eos=True, window=4)
        took = seconds(frame.select(answer.alias("answer")))
        return took, hits(servers, before)[1]


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="benchmarks.kv_routing", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a folder that vLLM reads, such as SmolLM2's")
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--questions", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = prompts(options.documents, options.questions)
    spark = session("local[2]")
    measured: dict[str, list[tuple[float, float]]] = {router: [] for router in _ROUTERS}
    for number in range(options.rounds):
        for router in _ROUTERS:
            progress(f"round {number + 1} of {options.rounds}, {router}: starting")
            took, share = measure(spark, options.model, router, rows)
            measured[router].append((took, share))
            progress(f"{router}: {took:.1f} s, {share:.0%} of the tokens from a cache")
    report = {
        router: {
            "rows/s": len(rows) / statistics.median(took for took, _ in each),
            "hits": statistics.median(share for _, share in each),
        }
        for router, each in measured.items()
    }
    print(json.dumps(report) if options.json else text(report))
    spark.stop()


if __name__ == "__main__":
    main()
