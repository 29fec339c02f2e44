"""Embeddings from a vLLM server by requests of 16 texts, of one text, and by the column: alternating on one engine.

python -m benchmarks.embeddings [--rows N] [--rounds N] [--json]

Real movie-review snippets and MiniLM, which vLLM serves as a pooling model. The first two arms send from this process,
eight requests at a time, so that only the size of a request differs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent import futures

import urllib3

from benchmarks.measure import alternate, seconds, session, shares, table
from server_utils import VLLMServerManager
from server_utils.demo import assets

_AT_ONCE, _MANY = 8, 16


def http_arm(url: str, texts: list[str], size: int) -> Callable[[], float]:
    """An arm: seconds for all texts, so many in a request."""
    pool = urllib3.PoolManager(maxsize=_AT_ONCE)

    def post(start: int) -> int:
        body = json.dumps({"model": "bench", "input": texts[start : start + size]})
        answer = pool.request("POST", f"{url}/v1/embeddings", body=body, headers={"Content-Type": "application/json"})
        return len(answer.json()["data"])

    def ask() -> float:
        began = time.perf_counter()
        with futures.ThreadPoolExecutor(_AT_ONCE) as threads:
            answered = sum(threads.map(post, range(0, len(texts), size)))
        if answered != len(texts):
            raise SystemExit(f"error: {answered} vectors came for {len(texts)} texts")
        return time.perf_counter() - began

    return ask


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="benchmarks.embeddings", description=__doc__)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    lines = assets.movie_reviews_path().read_text(encoding="utf-8").splitlines()[: options.rows]
    texts = [line.split("\t")[2] for line in lines]
    spark = session("local-cluster[1,2,1536]")
    frame = spark.createDataFrame([(text,) for text in texts], "text string").repartition(2).cache()
    frame.count()
    with VLLMServerManager("bench", str(assets.minilm_path())) as servers:
        servers.start_servers(runner="pooling", env={"OMP_NUM_THREADS": "1"}, max_model_len=256, enforce_eager=True)
        url = next(iter(servers.urls.values()))
        arms = {
            f"{_MANY} texts a request": http_arm(url, texts, _MANY),
            "one text a request": http_arm(url, texts, 1),
            "the column": lambda: seconds(frame.select(servers.embed("text"))),
        }
        times = alternate(arms, options.rounds, title="embeddings")
    spark.stop()
    speeds = {name: len(texts) / took for name, took in times.items()}
    best = max(speeds, key=speeds.__getitem__)
    print(json.dumps(speeds) if options.json else "\n".join(table("", shares(speeds, best), "rows/s", "of best")))


if __name__ == "__main__":
    main()
