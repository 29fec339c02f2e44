#!/usr/bin/env bash
# Made by spark-sidecar: the GPUs of this node, as spark.executor.resource.gpu.discoveryScript wants them. YARN asks it.
set -euo pipefail
addresses="$(nvidia-smi --query-gpu=index --format=csv,noheader | sed 's/.*/"&"/' | paste -sd, -)"
echo "{\"name\": \"gpu\", \"addresses\": [$addresses]}"
