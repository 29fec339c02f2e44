"""vLLM offline, upstream's way and ours, alternating on one engine's worth of cores: python -m benchmarks.llm [--json].

Needs the sealed environment `vllm` (`spark-sidecar env build vllm`) and a model folder; prints medians, and shares of
the offline engine. Each arm has one engine with the same settings; the arms in Spark have two task slots. Standard
error shows each run, and the shares of each workload as soon as it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
from pathlib import Path

import numpy as np
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql.types import StringType

from benchmarks.measure import alternate, progress, seconds, session, shares, table
from server_utils import VLLMServerManager
from server_utils.environments import builder as environments_builder

SETTINGS = {"max_model_len": 512, "max_num_seqs": 128, "block_size": 32, "kv_cache_memory_bytes": 512 << 20}
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "HF_HUB_OFFLINE": "1",
}
WORDS = ["film", "story", "actor", "scene", "music", "plot", "ending", "script", "camera", "light", "humour", "drama"]
SHORT, LONG = "Answer with one word: is '{}' about a {}?", "Write a long story about a {} and a {}, with many details."
CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


def uniform(rows: int) -> tuple[list[str], dict]:
    """Different prompts of 24 words, 32 tokens each."""
    pick = random.Random(0)  # noqa: S311 - prompts need no cryptography
    prompts = [f"{number} {' '.join(pick.choices(WORDS, k=24))}" for number in range(rows)]
    return prompts, {"max_tokens": 32, "ignore_eos": True, "temperature": 0}


def skewed(rows: int) -> tuple[list[str], dict]:
    """Answers that the model itself ends: short ones, and one in twenty as long as is allowed."""
    pick = random.Random(1)  # noqa: S311
    prompts = []
    for number in range(rows):
        question = (LONG if number % 20 == 10 else SHORT).format(*pick.choices(WORDS, k=2))  # noqa: PLR2004
        prompts.append(CHAT.format(f"{question} ({number})"))
    return prompts, {"max_tokens": 256, "temperature": 0}


def random_ends(rows: int) -> tuple[list[str], dict]:
    """For a model of random numbers: each token ends the answer with one chance in sixteen, 256 at most."""
    prompts, _ = uniform(rows)
    # No seed: a request with one kills the engine on a CPU (0.32, "CPU Generator does not use offset").
    return prompts, {"max_tokens": 256, "temperature": 1.0, "stop_token_ids": list(range(100, 164))}


class Offline:
    """The engine in a process of its own."""

    def __init__(self, model: str, threads: int) -> None:
        python = str(environments_builder.find("vllm").python)
        settings = json.dumps(SETTINGS | {"enforce_eager": True, "enable_prefix_caching": False})
        program = str(Path(__file__).with_name("offline.py"))
        environ = os.environ | ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([python, program, model, settings], text=True, env=environ, **pipes)
        self._read("ready")

    def __call__(self, prompts: list[str], sampling: dict) -> float:
        """Seconds for the whole list."""
        self.process.stdin.write(json.dumps({"prompts": prompts, "sampling": sampling}) + "\n")
        self.process.stdin.flush()
        return float(json.loads(self._read("{"))["s"])

    def _read(self, start: str) -> str:
        """The next line that starts so; the engine says other things too."""
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        raise SystemExit(f"the offline engine ended with status {self.process.wait()}; run {self.process.args} by hand")

    def close(self) -> None:
        """End it."""
        self.process.stdin.close()
        self.process.wait()


def upstream(url: str, model: str, sampling: dict):
    """A blocking request of 32 prompts per task, as the published notebooks do."""

    def make_predict_fn():
        import requests

        def predict(prompts):
            body = {"model": model, "prompt": prompts.tolist()} | sampling
            answer = requests.post(f"{url}/v1/completions", json=body, timeout=600)
            return np.array([choice["text"] for choice in answer.json()["choices"]])

        return predict

    return predict_batch_udf(make_predict_fn, return_type=StringType(), batch_size=32)


def measure(spark, servers, offline, workload, rounds, *, title) -> dict[str, float]:
    """Median rows per second by arm; the first round warms everything up and is not counted."""
    prompts, sampling = workload
    frame = spark.createDataFrame([(prompt,) for prompt in prompts], "prompt string").repartition(2).cache()
    frame.count()
    url = next(iter(servers.urls.values()))
    arms = {
        "offline": lambda: offline(prompts, sampling),
        "upstream": lambda: seconds(frame.select(upstream(url, "bench", sampling)("prompt"))),
        "ours": lambda: seconds(frame.select(servers.generate("prompt", **sampling))),
    }
    times = alternate(arms, rounds, title=title)
    frame.unpersist()
    return {name: len(prompts) / took for name, took in times.items()}


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="benchmarks.llm", description=__doc__)
    parser.add_argument("model", help="a model folder")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of each engine")
    parser.add_argument("--random", action="store_true", help="the model is of random numbers: it never ends by itself")
    parser.add_argument("--only", choices=["uniform", "skewed"], help="one workload instead of both")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    spark = session("local-cluster[1,2,1536]")  # one engine, and few tasks to keep it busy
    progress("starting the offline engine")
    offline = Offline(options.model, options.threads)
    workloads = {"uniform": uniform, "skewed": random_ends if options.random else skewed}
    with VLLMServerManager("bench", options.model) as servers:
        environ = {"OMP_NUM_THREADS": str(options.threads)}
        progress("starting the server")
        servers.start_servers(env=environ, enforce_eager=True, enable_prefix_caching=False, **SETTINGS)
        report = {}
        for name, make in workloads.items():
            if options.only not in (None, name):
                continue
            report[name] = measure(spark, servers, offline, make(options.rows), options.rounds, title=name)
            progress(text(name, report[name]))
    offline.close()
    spark.stop()
    print(json.dumps(report) if options.json else "\n".join(text(*each) for each in report.items()))


def text(workload: str, figures: dict[str, float]) -> str:
    """Rows per second, and shares of the offline engine."""
    return "\n".join(table(workload, shares(figures, "offline"), "rows/s", "share"))


if __name__ == "__main__":
    main()
