# Sourced by ./run: the tests, in two sequences side by side.

# A selection without any test (pytest's 5) is no failure here: the arguments may mean one of the passes only.
some_tests() {
  local code=0
  python -m pytest "$@" || code=$?
  ((code == 5)) && code=0
  return "$code"
}

# What a pass has no use for is not even collected, which takes ten seconds; and .venv-spark35 lacks tools that it needs.
readonly BESIDE_SPARK=(--ignore=tests/unit --ignore=tests/integration/{engines,storage,terraform,init_scripts,deployers,notebooks})
readonly BESIDE_NODES=(--ignore=tests/unit --ignore=tests/integration/{engines,storage,terraform,spark})
# Spark plays the same part in these on every version: they are about servers, packages and the demo.
readonly SAME_ON_EVERY_SPARK=(--ignore=tests/integration/spark/test_{demo,demo_llm,driver_faults,dynamo,life,live_checks,model_urls,nim,published_vllm,server_faults,start_places,transformers,user_modules,vllm_replicas}.py)

# Two processors run two sequences of about the same length: where one takes longer, move a part of it to the other.
readonly FIRST_SEQUENCE="lint plain spark35" SECOND_SEQUENCE="spark4 nodes_and_notebooks"

# run_part NAME: the other arguments go to pytest.
run_part() {
  local name="$1"
  shift
  echo "== $name"
  if [[ "$name" == spark35 ]]; then use_venv .venv-spark35; else use_venv .venv; fi
  case "$name" in
  lint) run_checks ;;
  plain) some_tests "$@" -m "not spark and not node and not notebook" --ignore=tests/integration/{spark,notebooks} ;;
  spark35) some_tests "$@" -m spark "${BESIDE_SPARK[@]}" "${SAME_ON_EVERY_SPARK[@]}" ;;
  spark4) some_tests "$@" -m spark "${BESIDE_SPARK[@]}" ;;
  nodes_and_notebooks) some_tests "$@" -m "node or notebook" "${BESIDE_NODES[@]}" ;;
  esac
}

# run_sequence PARTS
run_sequence() {
  local failed=0 name names="$1"
  shift
  for name in $names; do (run_part "$name" "$@") || failed=1; done
  return "$failed"
}

# The output of the sequence in the background comes when it is done.
run_tests() {
  local failed=0 second output
  output="$(mktemp)"
  run_sequence "$SECOND_SEQUENCE" "$@" >"$output" 2>&1 &
  second=$!
  run_sequence "$FIRST_SEQUENCE" "$@" || failed=1
  wait "$second" || failed=1
  cat "$output"
  rm "$output"
  return "$failed"
}
