# Sourced by ./run: the tests, in two lanes side by side.

# some_tests LANE ARGUMENTS: pytest, which notes what failed in a cache of the lane's own.
# A selection without any test (pytest's 5) is no failure here: the arguments may mean one of the passes only.
some_tests() {
  local lane="$1" code=0
  shift
  python -m pytest -o cache_dir=".pytest_cache/$lane" "$@" || code=$?
  ((code == 5)) && code=0
  return "$code"
}

# Spark plays the same part in these on every version: they are about servers, packages and the demo.
readonly SAME_ON_EVERY_SPARK="demo demo_llm published_vllm server_faults user_modules vllm_replicas"

# The folders that are left out need tools that only .venv holds; they would not even be collected.
run_spark35_tests() {
  local name ignored=()
  for name in unit integration/engines integration/storage integration/terraform integration/init_scripts; do
    ignored+=(--ignore "tests/$name")
  done
  for name in $SAME_ON_EVERY_SPARK; do ignored+=(--ignore "tests/integration/spark/test_$name.py"); done
  use_venv .venv-spark35
  some_tests spark35 "$@" -m spark "${ignored[@]}"
}

run_spark4_tests() {
  use_venv .venv
  some_tests spark4 "$@" -m spark
}

run_plain_tests() {
  use_venv .venv
  some_tests plain "$@" -m "not spark"
}

# Tests wait for servers most of the time, so two lanes run side by side. What fails beside the other lane runs once more
# by itself: two cores may have had no time for it. What fails again has failed. Both are told.
run_tests() {
  local failed=0 lane spark4 output failing=()
  output="$(mktemp)"
  (run_spark4_tests "$@") >"$output" 2>&1 &
  spark4=$!
  (use_venv .venv && run_checks) || failed=1
  (run_plain_tests "$@") || failing+=(plain)
  (run_spark35_tests "$@") || failing+=(spark35)
  wait "$spark4" || failing+=(spark4)
  echo "The tests marked spark, on Spark 4:" && cat "$output" && rm "$output"
  for lane in "${failing[@]}"; do
    echo "What failed in the lane $lane runs once more, by itself:"
    ("run_${lane}_tests" "$@" --last-failed) || failed=1
  done
  return "$failed"
}
