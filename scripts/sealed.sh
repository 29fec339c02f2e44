# Sourced by ./run: the sealed environments and the assets, each only where it is stale.

setup() {
  ensure_java
  setup_spark4
  alone make_sealed
}

# Only what the demo needs that is asked for.
setup_demo() {
  if [[ " $* " != *" --llm "* ]]; then
    setup
    return
  fi
  ensure_java
  setup_spark4
  vllm_fits || fail "$NO_VLLM"
  alone make_sealed_vllm
}

# For the tests, which skip those with vLLM, or engines beside it, where there is none.
setup_vllm() {
  if vllm_fits; then
    alone make_sealed_vllm
    alone make_sealed_engine transformers
    alone make_sealed_engine dynamo
  else
    echo "$NO_VLLM Its tests are skipped." >&2
  fi
}

# What the notebooks need beside the demos, so that they run without a network afterwards.
setup_notebooks() {
  alone make_sealed_engine tf
  alone .venv/bin/python -c 'from server_utils.demo import assets; [*map(assets.get, ("diamonds", "efficientnet", "ocr", "scans", "speech", "translation", "whisper"))]'
}

readonly NO_VLLM="vLLM does not run here: it needs an NVIDIA GPU, or Python 3.11 on x86-64."

vllm_fits() {
  .venv/bin/python -c 'import sys; from server_utils.environments.lock_files import vllm_fits; sys.exit(not vllm_fits())'
}

make_sealed() {
  local code='from server_utils.demo import assets; from server_utils.environments.builder import build; build("triton"); assets.fetch()'
  ensure_uv
  .venv/bin/python -c "$code"
}

make_sealed_vllm() {
  local code='from server_utils.demo import assets; from server_utils.environments.builder import build; build("vllm"); assets.fetch_llm()'
  ensure_uv
  .venv/bin/python -c "$code"
}

make_sealed_engine() {
  ensure_uv
  .venv/bin/spark-sidecar env build "$1" >/dev/null
}
