#!/usr/bin/env bash
# Cluster-scoped init script for Databricks: checks our wheel and lets it make the node ready (server_utils/node).
#
# Settings, the first that is there: a variable of the cluster (from runtime 19 on these do not reach init scripts in
# every access mode); a line of the file that SETTINGS names; a line of spark-sidecar.env beside this script.
#   FRAMEWORK=vllm                     triton, torch, tf or vllm
#   SPARK_SIDECAR_BUNDLE=/Volumes/…    folder with our wheel and SHA256SUMS, as `spark-sidecar wheelhouse build` makes it
#   SPARK_SIDECAR_LOGS=/Volumes/…      optional: folder for log and status, by default logs/ in the bundle
#   SPARK_SIDECAR_INTO_SPARK=yes       optional: what is missing for the framework into Spark's own Python, too
set -euo pipefail

# Whoever uploads this script puts a path here: where it came from, a running init script cannot know.
readonly SETTINGS="@SETTINGS@"
readonly PYTHON="/databricks/python3/bin/python"

fail() {
  printf 'error: spark-sidecar: %s\n' "$*" >&2
  exit 1
}

settings_file() {
  local file
  for file in "$SETTINGS" "$(dirname "${BASH_SOURCE[0]}")/spark-sidecar.env"; do
    if [[ -f "$file" ]]; then
      echo "$file"
      return
    fi
  done
}

# setting NAME: the file is read, never run.
setting() {
  local file
  file="$(settings_file)"
  if [[ -n "${!1:-}" ]]; then
    echo "${!1}"
  elif [[ -n "$file" ]]; then
    sed -n "s/^$1=//p" "$file" | tail -n 1
  fi
}

main() {
  local framework bundle logs wheel
  framework="$(setting FRAMEWORK)"
  bundle="$(setting SPARK_SIDECAR_BUNDLE)"
  logs="$(setting SPARK_SIDECAR_LOGS)"
  [[ -n "$framework" ]] || fail "FRAMEWORK is not set; set it to triton, torch, tf or vllm (a variable of the cluster, or a line of the settings file)"
  [[ -d "$bundle" ]] || fail "SPARK_SIDECAR_BUNDLE is '$bundle', which is no folder; it names the one with our wheel"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$PYTHON is not Python 3.11 or later; take runtime 15.4 or later"
  (cd "$bundle" && sha256sum --quiet --check SHA256SUMS) || fail "$bundle is not whole: SHA256SUMS is missing or does not match; upload it again"
  wheel="$(mktemp -d)"
  "$PYTHON" -m zipfile -e "$bundle"/spark_sidecar-*.whl "$wheel"
  PYTHONPATH="$wheel" "$PYTHON" -m server_utils.node "$framework" --bundle "$bundle" --logs "${logs:-$bundle/logs}" \
    --into-spark "$(setting SPARK_SIDECAR_INTO_SPARK)"
  rm -r "$wheel"
}

main "$@"
