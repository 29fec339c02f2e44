"""The limit: the model called directly in one process on all cores, without Spark or a server.

python -m benchmarks.direct start MODEL              loads, answers once, ends: what a server cannot do without
python -m benchmarks.direct encode MODEL < texts     for each line with a JSON list: seconds to encode it
"""

from __future__ import annotations

import json
import os
import sys
import time

from benchmarks.functions import load_encoder


def main(command: str, model: str) -> None:
    """Answer one JSON line per input line."""
    encode = load_encoder(model, 1 if command == "start" else os.cpu_count() or 1)
    encode(["warm"])
    for line in sys.stdin if command == "encode" else ():
        texts = json.loads(line)
        began = time.perf_counter()
        encode(texts)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
