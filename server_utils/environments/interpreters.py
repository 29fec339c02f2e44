"""Interpreters: inspect one, find its libpython, and choose one to make an environment with.

Driver and executors. PyTriton's backend links libpython3.X.so.1.0. With the library of another micro version it fails
with an obscure AttributeError when the model is loaded, so this is checked before anything starts.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server_utils.environments.lock_files import find_uv
from server_utils.errors import EnvironmentMissingError
from server_utils.host import platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

logger = logging.getLogger(__name__)

# Below `platform.home()`: the Pythons that the bundle of a node brought.
PYTHONS = "pythons"
_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Interpreter:
    """A Python interpreter.

    Attributes:
        python: the executable, with symbolic links: the path in a virtual environment tells which environment it is.
        libpython: the shared library of exactly this version; None if there is none.
    """

    python: Path
    version: tuple[int, int, int]
    libpython: Path | None


def inspect(python: Path) -> Interpreter:
    """Ask an interpreter about itself: one short subprocess.

    Raises:
        EnvironmentMissingError: if it does not run.
    """
    report = _report(python)
    major, minor, micro = report["version"]
    version = (int(major), int(minor), int(micro))
    wanted = ".".join(map(str, version))
    matching = [Path(library) for library, says in report["libraries"].items() if says == wanted]
    return Interpreter(python, version, matching[0] if matching else None)


def require_libpython(interpreter: Interpreter) -> Path:
    """The shared library of an interpreter.

    Raises:
        EnvironmentMissingError: if it has none; the message names the libraries that exist and what to install.
    """
    if interpreter.libpython is not None:
        return interpreter.libpython
    report = _report(interpreter.python)
    version = ".".join(map(str, interpreter.version))
    libraries = ", ".join(f"{file} is {says or 'unreadable'}" for file, says in report["libraries"].items()) or "none"
    minor = f"{interpreter.version[0]}.{interpreter.version[1]}"
    msg = (
        f"{interpreter.python} is Python {version}, and Triton's backend needs the {report['name']} of exactly that "
        f"version; found: {libraries}. Install it (Debian, Ubuntu: `apt-get install libpython{minor}`; "
        f"Fedora: `dnf install python{minor}-libs`), or use another interpreter: "
        f"`spark-sidecar env build triton --python /usr/bin/python{minor}`."
    )
    raise EnvironmentMissingError(msg)


def choose() -> Interpreter:
    """An interpreter of the running minor version that has its libpython; the last tries install one.

    Raises:
        EnvironmentMissingError: if there is none and none could be installed.
    """
    tried: dict[Path, Interpreter] = {}
    for candidates in (_own, _system, _bundled, _managed, _installed_by_apt, _installed_by_uv):
        for python in filter(Path.exists, candidates()):
            tried[python] = inspect(python)
            if tried[python].libpython and _is_running_minor(tried[python]):
                return tried[python]
    raise EnvironmentMissingError(_none_with_libpython(tried))


def choose_any() -> Interpreter:
    """An interpreter of the running minor version, for engines that link no libpython: needs no network."""
    return next(each for offer in (_own, _system, _running) for each in map(inspect, filter(Path.exists, offer()))
                if _is_running_minor(each))  # fmt: skip


def _none_with_libpython(tried: Iterable[Path]) -> str:
    looked = ", ".join(map(str, tried)) or "none"
    return (
        f"No Python {_MINOR} with its shared library on this machine (looked at: {looked}), and none could be "
        f"installed. Debian, Ubuntu: `apt-get install python{_MINOR} libpython{_MINOR}`; "
        f"Fedora: `dnf install python{_MINOR} python{_MINOR}-libs`; "
        f"anywhere with a network: `uv python install {_MINOR}`. Then run this again."
    )


def lasting() -> tuple[Path, list[str]]:
    """The interpreter and the sys.path of processes that outlive this one, such as supervisors.

    A notebook of Databricks runs in an environment that is deleted when the notebook is detached. Servers live on, so
    what looks after them runs in the cluster's Python, unless our package itself is in the notebook's environment.
    """
    here, cluster = Path(sys.prefix), platform.cluster_python()
    entries = [entry for entry in sys.path if entry]
    if cluster is None or Path(__file__).is_relative_to(here) or not _is_other(cluster.parents[1], here):
        return Path(sys.executable), entries
    return cluster, [entry for entry in entries if not Path(entry).is_relative_to(here)]


def _is_other(cluster: Path, here: Path) -> bool:
    """Whether an environment is not this one, and of the same version of Python."""
    return cluster.resolve() != here.resolve() and (cluster / "lib" / f"python{_MINOR}").exists()


def _report(python: Path) -> dict[str, Any]:
    # -I: neither the user's packages nor PYTHONPATH (Spark sets one) may change the answer.
    script = Path(__file__).with_name("libpython.py")
    try:
        done = subprocess.run([python, "-I", script], capture_output=True, text=True, check=False)
        problem = (done.stderr.strip()[-500:] or f"ended with {done.returncode}") if done.returncode else ""
    except OSError as error:  # another user's, for another machine, or on a disk that runs no programs
        problem = str(error)
    if problem:
        msg = f"{python} does not run: {problem}. Build the environment again with another Python."
        raise EnvironmentMissingError(msg)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _is_running_minor(interpreter: Interpreter) -> bool:
    return interpreter.version[:2] == sys.version_info[:2]


def _own() -> Iterator[Path]:
    yield Path(sys.base_prefix) / "bin" / f"python{_MINOR}"


def _system() -> Iterator[Path]:
    yield Path(f"/usr/bin/python{_MINOR}")


def _bundled() -> Iterator[Path]:
    yield from (platform.home() / PYTHONS).glob(f"cpython-{_MINOR}.*/bin/python{_MINOR}")


def _running() -> Iterator[Path]:
    yield Path(sys.executable)


def _managed() -> Iterator[Path]:
    done = subprocess.run(
        [*find_uv(), "python", "find", "--managed-python", "--no-python-downloads", _MINOR],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        yield Path(done.stdout.strip())


def _installed_by_apt() -> Iterator[Path]:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    logger.warning("No Python %s with its shared library: installing it with apt-get.", _MINOR)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    # Both packages: the library alone could be newer than the installed interpreter.
    for command in (["update", "-q"], ["install", "-q", "-y", f"python{_MINOR}", f"libpython{_MINOR}"]):
        if subprocess.run(["apt-get", *command], stdout=2, env=environment, check=False).returncode:  # noqa: S607
            return
    yield from _system()


def _installed_by_uv() -> Iterator[Path]:
    logger.warning("No Python %s with its shared library: asking uv for one.", _MINOR)
    if subprocess.run([*find_uv(), "python", "install", _MINOR], stdout=2, check=False).returncode == 0:
        yield from _managed()
