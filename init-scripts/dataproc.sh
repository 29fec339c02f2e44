#!/usr/bin/env bash
# Initialization action for Dataproc: downloads the wheel, then prepares the node with its server_utils/node. Metadata:
#   framework                what the node is prepared for, such as vllm: docs/nodes.md
#   spark-sidecar-bundle     gs://… with the wheel and SHA256SUMS, as `spark-sidecar wheelhouse build` makes it
# Optional: spark-sidecar-logs, -into-spark, and SETTINGS: see docs/nodes.md. GPU drivers are in the -ml images only.
set -euo pipefail
readonly FETCHED="/opt/spark-sidecar/bundle"
readonly SETTINGS=(UV_DEFAULT_INDEX UV_INDEX_URL HTTPS_PROXY NO_PROXY SSL_CERT_FILE NIM_IMAGE NGC_SECRET_NAME)

fail() {
  printf 'error: spark-sidecar: %s\n' "$*" >&2
  exit 1
}

# metadata NAME: prints a value of the metadata, or nothing.
metadata() {
  /usr/share/google/get_metadata_value "attributes/$1" 2>/dev/null || true
}

# The Python of Spark's workers: PYSPARK_PYTHON, or the first path at which an image has Python.
spark_python() {
  local python
  for python in "${PYSPARK_PYTHON:-}" /opt/conda/{default,miniconda3}/bin/python /usr/bin/python3; do [[ ! -x "$python" ]] || break; done
  echo "$python"
}

# fetch FROM: downloads the bundle but not its logs, unless one with the same SHA256SUMS was downloaded before.
fetch() {
  local sums names
  sums="$(gcloud storage cat "$1/SHA256SUMS")" || fail "$1/SHA256SUMS cannot be read; check the bucket's name and the nodes' access to it"
  [[ "$sums" != "$(cat "$FETCHED/SHA256SUMS" 2>/dev/null)" ]] || return 0
  rm -rf "$FETCHED" "$FETCHED.part"
  mkdir -p "$FETCHED.part"
  names="$(gcloud storage ls "$1/" | sed -e '/\/logs\/$/d' -e 's:/$::')"
  xargs -I{} gcloud storage cp --recursive {} "$FETCHED.part/" <<<"$names" || fail "$1 cannot be copied; check the nodes' access and disk"
  mv "$FETCHED.part" "$FETCHED"
}

main() {
  local framework bundle logs python wheel name
  framework="$(metadata framework)"
  bundle="$(metadata spark-sidecar-bundle)"
  logs="$(metadata spark-sidecar-logs)"
  python="$(spark_python)"
  [[ "$bundle" == gs://* ]] || fail "the metadata 'spark-sidecar-bundle' is '$bundle'; it names the gs://… with our wheel"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is not Python 3.11 or later; take image 2.2 or later"
  fetch "$bundle"
  (cd "$FETCHED" && sha256sum --quiet --check SHA256SUMS) || fail "$bundle is not whole: SHA256SUMS does not match; upload it again"
  for name in "${SETTINGS[@]}"; do [[ -z "$(metadata "$name")" ]] || export "$name=$(metadata "$name")"; done
  wheel="$(mktemp -d)"
  "$python" -m zipfile -e "$FETCHED"/spark_sidecar-*.whl "$wheel"
  PYTHONPATH="$wheel" "$python" -m server_utils.node "$framework" --bundle "$FETCHED" --logs "${logs:-$bundle/logs}" \
    --role "$(metadata dataproc-role)" --workers "$(metadata dataproc-worker-count)" --into-spark "$(metadata spark-sidecar-into-spark)"
  rm -r "$wheel"
}

main "$@"
