#!/usr/bin/env bash
# Cluster-scoped init script for Databricks: checks the spark-sidecar wheel, then prepares the node with its code
# (server_utils/node). Each setting is a variable of the cluster (from runtime 19 on, init scripts do not see these in
# every access mode), or a line of a settings file: the one that SETTINGS names, or else spark-sidecar.env beside this script.
#   FRAMEWORK=vllm                     what the node is prepared for: docs/nodes.md
#   SPARK_SIDECAR_BUNDLE=/Volumes/…    folder with the wheel and SHA256SUMS, as `spark-sidecar wheelhouse build` makes it
# Optional: SPARK_SIDECAR_LOGS, _INTO_SPARK, _WORKERS and how the package index is reached (DOWNLOADS): see docs/nodes.md
set -euo pipefail

# A running init script cannot find out its own path: whoever uploads it replaces this by the path of the settings file.
readonly SETTINGS="@SETTINGS@"
readonly PYTHON="/databricks/python3/bin/python"
readonly DOWNLOADS=(UV_DEFAULT_INDEX UV_INDEX_URL HTTPS_PROXY NO_PROXY SSL_CERT_FILE)

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
  local framework bundle logs wheel name
  framework="$(setting FRAMEWORK)"
  bundle="$(setting SPARK_SIDECAR_BUNDLE)"
  logs="$(setting SPARK_SIDECAR_LOGS)"
  [[ -d "$bundle" ]] || fail "SPARK_SIDECAR_BUNDLE is '$bundle', which is no folder; it names the one with our wheel"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$PYTHON is not Python 3.11 or later; take runtime 15.4 or later"
  (cd "$bundle" && sha256sum --quiet --check SHA256SUMS) || fail "$bundle is not whole: SHA256SUMS is missing or does not match; upload it again"
  for name in "${DOWNLOADS[@]}"; do [[ -z "$(setting "$name")" ]] || export "$name=$(setting "$name")"; done
  wheel="$(mktemp -d)"
  "$PYTHON" -m zipfile -e "$bundle"/spark_sidecar-*.whl "$wheel"
  PYTHONPATH="$wheel" "$PYTHON" -m server_utils.node "$framework" --bundle "$bundle" --logs "${logs:-$bundle/logs}" \
    --driver "${DB_IS_DRIVER:-}" --workers "$(setting SPARK_SIDECAR_WORKERS)" --into-spark "$(setting SPARK_SIDECAR_INTO_SPARK)"
  rm -r "$wheel"
}

main "$@"
