# Sourced by ./run: the tests, in two sequences side by side.

# A selection without any test (pytest's 5) is no failure here: the arguments may mean one of the passes only.
some_tests() {
  local code=0
  python -m pytest "$@" || code=$?
  ((code == 5)) && code=0
  return "$code"
}

# Spark plays the same part in these on every version: they are about servers, packages and the demo.
readonly SAME_ON_EVERY_SPARK="demo demo_llm driver_faults dynamo life live_checks model_urls nim published_vllm server_faults start_places transformers user_modules vllm_replicas"

# What a pass has no use for is not even collected, which takes ten seconds; and .venv-spark35 lacks tools that it needs.
readonly BESIDE_SPARK=(--ignore=tests/unit --ignore=tests/integration/{engines,storage,terraform,init_scripts,deployers,notebooks})
readonly BESIDE_NODES=(--ignore=tests/unit --ignore=tests/integration/{engines,storage,terraform,spark})

run_spark35_tests() {
  local name same=()
  for name in $SAME_ON_EVERY_SPARK; do same+=("--ignore=tests/integration/spark/test_$name.py"); done
  use_venv .venv-spark35
  some_tests "$@" -m spark "${BESIDE_SPARK[@]}" "${same[@]}"
}

run_plain_tests() {
  use_venv .venv
  some_tests "$@" -m "not spark and not node and not notebook" --ignore=tests/integration/{spark,notebooks}
}

run_spark4_node_and_notebook_tests() {
  local failed=0
  use_venv .venv
  some_tests "$@" -m spark "${BESIDE_SPARK[@]}" || failed=1
  some_tests "$@" -m "node or notebook" "${BESIDE_NODES[@]}" || failed=1
  return "$failed"
}

# Tests wait for servers most of the time, so two sequences of about the same length run side by side. The output of the one in
# the background comes when it is done.
run_tests() {
  local failed=0 spark4 output
  output="$(mktemp)"
  (run_spark4_node_and_notebook_tests "$@") >"$output" 2>&1 &
  spark4=$!
  (use_venv .venv && run_checks) || failed=1
  (run_plain_tests "$@") || failed=1
  echo "The tests marked spark, on Spark 3.5:"
  (run_spark35_tests "$@") || failed=1
  wait "$spark4" || failed=1
  echo "The tests marked spark, on Spark 4, and those of nodes and notebooks:"
  cat "$output"
  rm "$output"
  return "$failed"
}
