"""The limit: the model called directly, without Spark or a server.

python -m benchmarks.direct start MODEL 1                    loads, answers once, ends: the least that a server does
python -m benchmarks.direct encode MODEL THREADS < texts     for each line with a JSON list: seconds to encode it
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.functions import load_encoder


def main(command: str, model: str, threads: str) -> None:
    """Answer one JSON line per input line."""
    encode = load_encoder(model, int(threads))
    encode(["warm"])
    for line in sys.stdin if command == "encode" else ():
        texts = json.loads(line)
        began = time.perf_counter()
        encode(texts)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
