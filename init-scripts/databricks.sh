#!/usr/bin/env bash
# Cluster-scoped init script for Databricks. It checks the spark-sidecar wheel, then prepares the node with the code in the
# wheel (server_utils/node).
# Each setting is read from the first of these places that has it: a variable of the cluster (from runtime 19 on, init
# scripts do not see these in every access mode), or a line of a settings file. That is the file that SETTINGS names, or
# else spark-sidecar.env in this script's folder.
#   FRAMEWORK=vllm                     triton, torch, tf or vllm
#   SPARK_SIDECAR_BUNDLE=/Volumes/…    folder with the wheel and SHA256SUMS, as `spark-sidecar wheelhouse build` makes it
#   SPARK_SIDECAR_LOGS=/Volumes/…      optional: folder for log and status files, by default logs/ in the bundle
#   SPARK_SIDECAR_INTO_SPARK=yes       optional: also installs what the framework needs into Spark's own Python
set -euo pipefail

# A running init script cannot find out its own path: whoever uploads it replaces this by the path of the settings file.
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

# setting NAME: prints a setting. The file is read, never sourced.
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
