# Sourced by ./run: makes .venv, .venv-spark35 and .venv-bench, each only where it is stale.

# What an environment was made from: a changed lock file or entry point makes it stale.
fingerprint() {
  cat "$REQUIREMENTS/$1.txt" pyproject.toml | sha256sum
}

# make_venv FOLDER LOCK
make_venv() {
  [[ -x "$1/bin/python" && "$(cat "$1/.made-from" 2>/dev/null)" == "$(fingerprint "$2")" ]] && return
  ensure_uv
  local links=()
  mapfile -t links < <(wheel_folders | sed 's/^/--find-links=/')
  echo "Making $1 from $2.txt." >&2
  # Synced in place where it is there: whoever is using it keeps what did not change.
  "$1/bin/python" -c '' 2>/dev/null || uv venv --quiet --clear --python "$(spark_python)" "$1"
  uv pip sync --quiet --python "$1/bin/python" --require-hashes "${links[@]}" "$REQUIREMENTS/$2.txt"
  # Nothing but the locked hatchling builds it: no network, nothing unhashed.
  uv pip install --quiet --offline --python "$1/bin/python" --no-deps --no-build-isolation --editable .
  fingerprint "$2" >"$1/.made-from"
}

# Two ./run at once must not build the same folder. The subshell keeps the lock out of the processes started later.
alone() (
  exec 9>.setup.lock
  flock 9
  "$@"
)

setup_spark4() {
  alone make_venv .venv dev
}

setup_spark35() {
  alone make_venv .venv-spark35 spark35
}

setup_bench() {
  alone make_venv .venv-bench bench
}
