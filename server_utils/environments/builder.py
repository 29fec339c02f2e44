"""Sealed environments: one locked virtual environment per engine, beside Spark's own Python. Driver and executors.

Finds and builds them; starts no server. `interpreters.py` chooses the interpreter that one is made with.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import shutil
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from server_utils.environments import interpreters
from server_utils.environments.interpreters import Interpreter, require_libpython
from server_utils.environments.lock_files import lock_file, pins, uv, uv_sources
from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.host import platform
from server_utils.host.files import exclusive_lock
from server_utils.validation import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Compiling", "Interpreter", "add_to_path", "build", "choose", "find", "folder", "is_current", "lacks",
    "links_libpython", "require_libpython",
]  # fmt: skip

logger = logging.getLogger(__name__)

# Environment -> the package that an interpreter must have to run its engine.
_PACKAGES = {
    "dynamo": "dynamo",
    "sglang": "sglang",
    "tf": "tensorflow",
    "torch": "torch",
    "transformers": "transformers",
    "triton": "pytriton",
    "vllm": "vllm",
    "vllm-latest": "vllm",
}
_PYTRITON = "nvidia-pytriton"
_STAMP = ".spark-sidecar-stamp"


_LACKS = """
import importlib.util, sys
def has(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # of a package that is missing as well
        return False
print(*(name for name in sys.argv[1:] if not has(name)))
"""


def folder(name: str) -> Path:
    """Where the environment is, or would be.

    Raises:
        ConfigurationError: if no environment has this name.
    """
    if name not in _PACKAGES:
        raise ConfigurationError(f"There is no environment named {name!r}{did_you_mean(name, sorted(_PACKAGES))}")
    return platform.home() / "envs" / name


def choose(name: str, choices: Sequence[str], *, engine: str) -> str:
    """The name, if it is one of the environments that have an engine. Raises ConfigurationError if it is not."""
    if name not in choices:
        raise ConfigurationError(f"no environment with {engine} is called {name!r}{did_you_mean(name, choices)}")
    return name


def find(name: str) -> Interpreter:
    """The interpreter that runs the servers of an engine.

    That of the sealed environment if there is one, else this process's own, if it has the engine's package.

    Raises:
        EnvironmentMissingError: if neither exists, or its Python is another minor version than the running one.
    """
    python = folder(name) / "bin" / "python"
    if not python.exists():
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            msg = f"The environment {name!r} is missing: there is no {python}. Run `spark-sidecar env build {name}`."
            raise EnvironmentMissingError(msg)
        python = Path(sys.executable)
    interpreter = interpreters.inspect(python)
    _require_same_minor(interpreter, name)
    return interpreter


def add_to_path(name: str) -> None:
    """Let this process import what an environment has, behind its own packages: for a model in process.

    Where a cluster's nodes were prepared with SPARK_SIDECAR_INTO_SPARK, Spark's Python has those packages by itself.

    Raises:
        EnvironmentMissingError: as `find`.
    """
    for site in sorted(find(name).python.parents[1].glob("lib/python3.*/site-packages")):
        if str(site) not in sys.path:
            sys.path.append(str(site))


def lacks(name: str, modules: Iterable[str]) -> list[str]:
    """Those of the modules that an environment does not have; none where this machine has no such environment."""
    names = sorted(modules)
    try:
        python = find(name).python if names else Path(sys.executable)
    except EnvironmentMissingError:
        return []
    done = subprocess.run([python, "-I", "-c", _LACKS, *names], capture_output=True, text=True, check=False)
    return done.stdout.split()


class Compiling(Enum):
    """When the modules of an environment are compiled: it takes longer than to install them."""

    NOW = "now"
    LATER = "later"  # in a process of its own, which outlives the caller


def build(
    name: str, *, python: Path | None = None, wheels: Path | None = None, compiling: Compiling = Compiling.NOW
) -> Interpreter:
    """Make the environment, unless it is what its lock file says; then nothing needs a network.

    A killed build leaves nothing that `find` would take: the folder is built beside and renamed when it is complete.

    Args:
        name: the environment, such as "triton".
        python: the interpreter to make it with; default: one of the running minor version, with its libpython where
            the engine links that.
        wheels: a folder that holds all of its wheels: no index is asked then.
        compiling: when its modules are compiled.

    Raises:
        EnvironmentMissingError: if no interpreter fits, uv is missing, or uv failed.
        ConfigurationError: if this user cannot write to the folder of environments.
    """
    _make(folder(name), lock_file(name), python, wheels=wheels, compiling=compiling)
    return find(name)


def links_libpython(name: str) -> bool:
    """Whether the engine of an environment links libpython: Triton's Python backend does, vLLM does not."""
    return _PYTRITON in pins(lock_file(name))


def is_current(name: str) -> bool:
    """Whether the environment is what its lock file says."""
    return _is_current(folder(name), lock_file(name), None)


def _make(
    target: Path,
    lock: Path,
    python: Path | None,
    *,
    wheels: Path | None = None,
    compiling: Compiling = Compiling.NOW,
) -> None:
    if not _is_current(target, lock, python):
        _make_anew(target, lock, python, wheels, compiling)
    if compiling is Compiling.LATER:
        _compile_in_the_background(target)


def _make_anew(target: Path, lock: Path, python: Path | None, wheels: Path | None, compiling: Compiling) -> None:
    """Build it under a lock, for which this user must be able to write to the folder."""
    platform.writable(target.parent, variable="SPARK_SIDECAR_HOME")
    with exclusive_lock(target.with_name(f".{target.name}.lock")):
        if _is_current(target, lock, python):
            return
        base = _checked(python, target.name, lock) if python else _chosen(lock)
        beside = target.with_name(f".{target.name}.building")
        _replace(target, _assemble(beside, lock, base, _sources(lock, wheels), compiling))
        logger.info("Built the environment %s in %s with %s.", target.name, target, base.python)


def _is_current(target: Path, lock: Path, python: Path | None) -> bool:
    executable = target / "bin" / "python"
    if not executable.exists() or not (target / _STAMP).exists():
        return False
    same_python = python is None or executable.resolve() == python.resolve()
    return same_python and (target / _STAMP).read_text() == _stamp(lock)


def _stamp(lock: Path) -> str:
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{lock.name} {hashlib.sha256(lock.read_bytes()).hexdigest()} python{minor}\n"


def _chosen(lock: Path) -> Interpreter:
    return interpreters.choose() if _PYTRITON in pins(lock) else interpreters.choose_any()


def _checked(python: Path, name: str, lock: Path) -> Interpreter:
    interpreter = interpreters.inspect(python)
    _require_same_minor(interpreter, name)
    if _PYTRITON in pins(lock):
        require_libpython(interpreter)
    return interpreter


def _require_same_minor(interpreter: Interpreter, name: str) -> None:
    running = sys.version_info[:2]
    if interpreter.version[:2] == running:
        return
    msg = (
        f"Spark's Python is {running[0]}.{running[1]}, but the environment {name!r} has "
        f"{'.'.join(map(str, interpreter.version))} ({interpreter.python}). Functions travel between them by "
        f"cloudpickle, which needs the same minor version. Run `spark-sidecar env build {name}` with Spark's Python."
    )
    raise EnvironmentMissingError(msg)


def _assemble(beside: Path, lock: Path, base: Interpreter, sources: Sequence[str], compiling: Compiling) -> Path:
    # What a killed build has left: the caller holds the lock, so nobody builds here now.
    shutil.rmtree(beside, ignore_errors=True)
    # Relocatable: the folder is renamed, so its scripts must find their interpreter by their own path.
    uv(["venv", "--quiet", "--relocatable", "--python", str(base.python), str(beside)], purpose=f"make {beside}")
    # Compile once, else every server start compiles torch again where the folder is read-only.
    compiled = ["--compile-bytecode"] if compiling is Compiling.NOW else []
    options = ["--require-hashes", *compiled, *sources, str(lock)]
    uv(["pip", "sync", "--python", str(beside / "bin" / "python"), *options], purpose=f"install {lock.name}")
    (beside / _STAMP).write_text(_stamp(lock))
    return beside


def _sources(lock: Path, wheels: Path | None) -> list[str]:
    return uv_sources(lock) if wheels is None else ["--no-index", "--find-links", str(wheels)]


def _compile_in_the_background(target: Path) -> None:
    # It ends by itself; imports read the sources meanwhile. -j0: all cores, which nice leaves to others.
    command = ["nice", str(target / "bin" / "python"), "-m", "compileall", "-q", "-j0", str(target / "lib")]
    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                     start_new_session=True)  # fmt: skip


def _replace(target: Path, whole: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    whole.rename(target)
    shutil.rmtree(old, ignore_errors=True)
