"""What it gains to send prompts that begin alike one after the other: alternating, with and without `by_prefix`.

python -m benchmarks.prefix --model FOLDER [--documents N] [--questions N] [--rounds N] [--json]

Two servers, and as many documents as do not fit into their caches by far. There are several questions about each
document, in random order.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path

from pyspark.sql import SparkSession

from benchmarks.measure import progress, seconds, session, table
from server_utils import ServerManager, VLLMServerManager, by_prefix

_WORDS = 120  # of a document
_CACHE_BYTES = 64 << 20  # of each server: what a large model has for a large job is as small in proportion


def prompts(documents: int, questions: int) -> list[tuple[str]]:
    """Documents of random words, each once per question, shuffled."""
    dice = random.Random(7)  # noqa: S311 - a workload, the same each time
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    rows = []
    for number in range(documents):
        words = ("".join(dice.choices(syllables, k=2)) for _ in range(_WORDS))
        document = f"Document {number}: {' '.join(words)}"
        rows += [(f"{document}\nQuestion {each}: what does it say?\nAnswer:",) for each in range(questions)]
    dice.shuffle(rows)
    return rows


def hits(servers: ServerManager, before: dict[str, float]) -> tuple[dict[str, float], float]:
    """The counters of both caches now, and the share of tokens that came from them since."""
    time.sleep(1.0)  # the servers write their counters twice a second
    now = {name: sum(server.metrics[name] for server in servers.status()) for name in ("prefix_queries", "prefix_hits")}
    queries = now["prefix_queries"] - before.get("prefix_queries", 0.0)
    return now, (now["prefix_hits"] - before.get("prefix_hits", 0.0)) / queries if queries else 0.0


def measure(
    spark: SparkSession, servers: VLLMServerManager, rows: list[tuple[str]], rounds: int
) -> dict[str, dict[str, float]]:
    """Median rows per second and share of hits of each arm; every round runs both."""
    frame = spark.createDataFrame(rows, "prompt string").repartition(4).cache()
    frame.count()
    arms = {"as it comes": frame, "by_prefix": by_prefix(frame, "prompt")}
    times: dict[str, list[float]] = {name: [] for name in arms}
    shares: dict[str, list[float]] = {name: [] for name in arms}
    counters, _ = hits(servers, {})
    for _ in range(rounds):
        for name, arm in arms.items():
            answer = servers.generate("prompt", max_tokens=8, temperature=0, ignore_eos=True)
            times[name].append(seconds(arm.select(answer.alias("answer"))))
            counters, share = hits(servers, counters)
            shares[name].append(share)
            progress(f"{name}: {times[name][-1]:.1f} s, {share:.0%} of the tokens from the cache")
    return {
        name: {"rows/s": len(rows) / statistics.median(times[name]), "hits": statistics.median(shares[name])}
        for name in arms
    }


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="benchmarks.prefix", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a folder that vLLM reads, such as SmolLM2's")
    parser.add_argument("--documents", type=int, default=60)
    parser.add_argument("--questions", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = prompts(options.documents, options.questions)
    spark = session("local-cluster[2,1,1536]")
    with VLLMServerManager("prefix", str(options.model)) as servers:
        servers.start_servers(kv_cache_memory_bytes=_CACHE_BYTES, max_model_len=1024)
        report = measure(spark, servers, rows, options.rounds)
    spark.stop()
    print(json.dumps(report) if options.json else text(report))


def text(report: dict[str, dict[str, float]]) -> str:
    """Rows per second, and the share of tokens that was in a cache."""
    return "\n".join(table("", {name: list(each.values()) for name, each in report.items()}, "rows/s", "hits"))


if __name__ == "__main__":
    main()
