# Sourced by ./run: the tests, in parts, three of them at once.

# A selection without any test (pytest's 5) is no failure here: the arguments may mean one of the passes only.
some_tests() {
  local code=0
  python -m pytest "$@" || code=$?
  ((code == 5)) && code=0
  return "$code"
}

# What a pass has no use for is not even collected, which takes ten seconds; and .venv-spark35 lacks tools that it needs.
readonly BESIDE_SPARK=(--ignore=tests/unit --ignore=tests/integration/{engines,storage,terraform,init_scripts,deployers,notebooks})
readonly BESIDE_NODES=(--ignore=tests/unit --ignore=tests/integration/{engines,storage,terraform,spark,notebooks})
readonly BESIDE_NOTEBOOKS=(--ignore=tests/unit --ignore=tests/integration/{engines,storage,terraform,spark,init_scripts,deployers})
# Spark plays the same part in these on every version: they are about servers, packages and the demo.
readonly SAME_ON_EVERY_SPARK=(--ignore=tests/integration/spark/test_{demo,demo_llm,driver_faults,dynamo,live_checks,model_urls,nim,published_vllm,server_faults,sglang,start_and_stop,start_places,transformers,user_modules,vllm_replicas}.py)

# The longest first, behind what is quick. A part waits for servers and JVMs a third of its time: three fit two processors.
readonly PARTS=(lint spark4 plain notebooks spark35 nodes unit) AT_ONCE=3

# run_part NAME: the other arguments go to pytest.
run_part() {
  local name="$1"
  shift
  if [[ "$name" == spark35 ]]; then use_venv .venv-spark35; else use_venv .venv; fi
  case "$name" in
  lint) run_checks ;;
  unit) some_tests "$@" --ignore=tests/integration --deselect=tests/integration/ ;; # a path that is named is never ignored
  plain) some_tests "$@" -m "not spark and not node and not notebook" --ignore=tests/{unit,integration/spark,integration/notebooks} --deselect=tests/unit/ ;;
  spark35) some_tests "$@" -m spark "${BESIDE_SPARK[@]}" "${SAME_ON_EVERY_SPARK[@]}" ;;
  spark4) some_tests "$@" -m spark "${BESIDE_SPARK[@]}" ;;
  nodes) some_tests "$@" -m node "${BESIDE_NODES[@]}" ;;
  notebooks) some_tests "$@" -m notebook "${BESIDE_NOTEBOOKS[@]}" ;;
  esac
}

# show_part FOLDER NAME: its output is in the folder while it runs, and here when it is done.
show_part() {
  local output="$1/$2" result=passed
  shift
  echo "== $1: runs; to look on: tail -f $output"
  (run_part "$@") >"$output" 2>&1 || result=failed
  cat "$output"
  echo "== $1: $result, $SECONDS s after the start"
  [[ "$result" == passed ]]
}

run_tests() {
  local failed=0 folder name jobs=()
  folder="$(mktemp -d)"
  for name in "${PARTS[@]}"; do
    while (($(jobs -rp | wc -l) >= AT_ONCE)); do wait -n || true; done
    show_part "$folder" "$name" "$@" &
    jobs+=("$!")
  done
  for name in "${jobs[@]}"; do wait "$name" || failed=1; done
  rm -r "$folder"
  return "$failed"
}
