#!/usr/bin/env bash
# Initialization action for Dataproc: fetches our wheel and lets it make the node ready (server_utils/node). Metadata:
#   framework                triton, torch, tf or vllm
#   spark-sidecar-bundle     gs://… with our wheel and SHA256SUMS, as `spark-sidecar wheelhouse build` makes it
#   spark-sidecar-logs       optional: gs://… for log and status, by default logs/ in the bundle
#   spark-sidecar-into-spark optional: yes puts what is missing for the framework into Spark's own Python, too
# The GPU driver is the image's business: take one of the -ml images.
set -euo pipefail
readonly FETCHED="/opt/spark-sidecar/bundle"

fail() {
  printf 'error: spark-sidecar: %s\n' "$*" >&2
  exit 1
}

# Empty where the cluster has none of this name.
metadata() {
  /usr/share/google/get_metadata_value "attributes/$1" 2>/dev/null || true
}

# The Python of Spark's workers: the image's own choice, or where its images have it.
spark_python() {
  local python
  for python in "${PYSPARK_PYTHON:-}" /opt/conda/{default,miniconda3}/bin/python /usr/bin/python3; do
    if [[ -x "$python" ]]; then break; fi
  done
  echo "$python"
}

# fetch FROM: what is there already, by its SHA256SUMS, is not fetched again.
fetch() {
  local sums
  sums="$(gcloud storage cat "$1/SHA256SUMS")" || fail "$1/SHA256SUMS cannot be read; check the bucket's name and the nodes' access to it"
  [[ "$sums" != "$(cat "$FETCHED/SHA256SUMS" 2>/dev/null)" ]] || return 0
  rm -rf "$FETCHED" "$FETCHED.part"
  mkdir -p "$FETCHED.part"
  gcloud storage cp --recursive "$1/*" "$FETCHED.part/" || fail "$1 cannot be copied; check the nodes' access and disk"
  mv "$FETCHED.part" "$FETCHED"
}

main() {
  local framework bundle logs python wheel
  framework="$(metadata framework)"
  bundle="$(metadata spark-sidecar-bundle)"
  logs="$(metadata spark-sidecar-logs)"
  python="$(spark_python)"
  [[ -n "$framework" ]] || fail "the metadata has no 'framework'; set it to triton, torch, tf or vllm (--metadata framework=…)"
  [[ "$bundle" == gs://* ]] || fail "the metadata 'spark-sidecar-bundle' is '$bundle'; it names the gs://… with our wheel"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is not Python 3.11 or later; take image 2.2 or later"
  fetch "$bundle"
  (cd "$FETCHED" && sha256sum --quiet --check SHA256SUMS) || fail "$bundle is not whole: SHA256SUMS does not match; upload it again"
  wheel="$(mktemp -d)"
  "$python" -m zipfile -e "$FETCHED"/spark_sidecar-*.whl "$wheel"
  PYTHONPATH="$wheel" "$python" -m server_utils.node "$framework" --bundle "$FETCHED" --logs "${logs:-$bundle/logs}" --role "$(metadata dataproc-role)" \
    --workers "$(metadata dataproc-worker-count)" --into-spark "$(metadata spark-sidecar-into-spark)"
  rm -r "$wheel"
}

main "$@"
