# Sourced by ./run: lint and types. All of them run; any failure makes the whole fail.

run_checks() {
  local failed=0
  shellcheck --shell bash run .ci/run scripts/*.sh init-scripts/*.sh server_utils/data/*.sh || failed=1
  # Not run itself: its commands are a table.
  shfmt -i 2 -d scripts/*.sh init-scripts/*.sh server_utils/data/*.sh || failed=1
  ruff check . || failed=1
  ruff format --check . || failed=1
  mypy || failed=1
  return "$failed"
}
