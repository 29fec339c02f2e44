# Sourced by ./run: lint, types and tests. All of them run; any failure makes the whole fail.

run_checks() {
  local failed=0
  shellcheck --shell bash run .ci/run scripts/*.sh init-scripts/*.sh || failed=1
  # Not run itself: its commands are a table.
  shfmt -i 2 -d scripts/*.sh init-scripts/*.sh || failed=1
  ruff check . || failed=1
  ruff format --check . || failed=1
  mypy || failed=1
  return "$failed"
}

# spark_tests FOLDER [pytest arguments]: a selection without Spark tests (pytest's 5) is no failure here.
run_spark35_tests() {
  local code=0
  use_venv .venv-spark35
  # The other files need tools that only .venv holds; they would not even be collected.
  python -m pytest "$@" -m spark --ignore-glob 'tests/test_*.py' --ignore tests/storage --ignore tests/terraform || code=$?
  ((code == 5)) && code=0
  return "$code"
}

run_tests() {
  local failed=0
  (use_venv .venv && run_checks) || failed=1
  (use_venv .venv && python -m pytest "$@") || failed=1
  echo "The tests marked spark once more, on Spark 3.5:" >&2
  (run_spark35_tests "$@") || failed=1
  return "$failed"
}
