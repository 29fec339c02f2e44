"""The limit: vLLM's own `LLM.generate` on the whole list, in the sealed environment, without HTTP or Spark.

python offline.py MODEL JSON_SETTINGS      for each line {"prompts": [...], "sampling": {...}}: seconds and tokens
"""

from __future__ import annotations

import json
import sys
import time

from vllm import LLM, SamplingParams


def main(model: str, settings: str) -> None:
    """Answer one JSON line per input line."""
    engine = LLM(model, **json.loads(settings))
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        began = time.perf_counter()
        outputs = engine.generate(job["prompts"], SamplingParams(**job["sampling"]), use_tqdm=False)
        took = time.perf_counter() - began
        print(json.dumps({"s": took, "tokens": sum(len(each.outputs[0].token_ids) for each in outputs)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
