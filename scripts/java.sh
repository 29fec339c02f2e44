# Sourced by ./run: Spark needs Java 17 or later.

java_command() {
  echo "${JAVA_HOME:+$JAVA_HOME/bin/}java"
}

# Prints 0 where there is no Java. Java 8 calls itself 1.8, which is too old either way.
java_major() {
  local said
  said="$("$(java_command)" -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p' | head -n 1)" || true
  echo "${said:-0}"
}

# ./run may install Java only where it is root and nobody chose one by JAVA_HOME.
install_java() {
  [[ -z "${JAVA_HOME:-}" ]] || return 1
  install_by_apt openjdk-17-jre-headless || install_by_apt openjdk-21-jre-headless
}

ensure_java() {
  (($(java_major) >= 17)) && return
  install_java && (($(java_major) >= 17)) && return
  local now="there is none"
  if (($(java_major))); then now="$(java_command) is Java $(java_major)"; fi
  fail "Spark needs Java 17 or later ($now). Debian, Ubuntu: sudo apt-get update && sudo apt-get install -y" \
    "openjdk-17-jre-headless (newer releases: openjdk-21-jre-headless); Fedora: sudo dnf install -y" \
    "java-21-openjdk-headless; macOS: brew install openjdk@17 && export JAVA_HOME=\"\$(brew --prefix openjdk@17)\"." \
    "Where JAVA_HOME is set, it must name that one."
}
