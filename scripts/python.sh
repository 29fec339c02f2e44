# Sourced by ./run: finds uv and a Python that Spark can use. What these functions answer goes to stdout.

readonly REQUIREMENTS=server_utils/data/requirements

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Prints the folders of wheels that pip and uv are told of: uv does not read pip's, and the option hides its own.
wheel_folders() {
  tr ', ' '\n' <<<"${PIP_FIND_LINKS:-} ${UV_FIND_LINKS:-}" | sed '/^$/d'
}

# install_by_apt PACKAGE: false where we may not, or where there is no such package.
install_by_apt() {
  [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null || return 1
  echo "Installing $1 with apt-get." >&2
  apt-get update -q >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$1" >&2
}

# Any Python 3 that can make a virtual environment will do for uv; Debian's cannot without python3-venv.
python_with_venv() {
  local name
  for name in python3 /usr/bin/python3 python3.12 python3.11; do
    "$name" -c 'import ensurepip, venv' 2>/dev/null && command -v "$name" && return
  done
  return 1
}

# Puts uv on PATH: the user's own, or a pinned one, checked by hash, in .uv-venv.
ensure_uv() {
  command -v uv >/dev/null && return
  if [[ ! -x .uv-venv/bin/uv ]]; then
    python_with_venv >/dev/null || install_by_apt python3-venv ||
      fail "this Python cannot make virtual environments; run: sudo apt-get update && sudo apt-get install -y python3-venv"
    "$(python_with_venv)" -m venv --clear .uv-venv
    .uv-venv/bin/pip install --quiet --require-hashes --only-binary :all: -r "$REQUIREMENTS/uv.txt"
  fi
  export PATH="$PWD/.uv-venv/bin:$PATH"
}

# is_python MINOR NAME: prints the path if that is a Python of this minor version (a pyenv shim may be a dead one).
is_python() {
  "$2" -c "import sys; sys.exit(sys.version_info[:2] != (3, $1))" 2>/dev/null && command -v "$2"
}

# The system's own first: its libpython, which PyTriton's backend needs, comes from the same package manager.
# 3.11 first: only for 3.11 is there a lock with torch for the CPU; 3.12 downloads several GB more.
spark_python() {
  local name
  for name in /usr/bin/python3.11 python3.11 python3; do is_python 11 "$name" && return; done
  if ! nvidia-smi -L >/dev/null 2>&1 && uv python install --quiet 3.11 >&2; then
    echo 3.11 && return
  fi
  for name in /usr/bin/python3.12 python3.12 python3; do is_python 12 "$name" && return; done
  echo 3.12 # uv fetches it
}
