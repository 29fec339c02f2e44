"""Check a machine, or all machines of a session, and say how to fix what is wrong. Driver; changes nothing.

`checks.py` has the checks of a node, which `check_session` runs beside every executor.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import socket
import stat
import sys
from typing import Any

from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.host.platform import state_root
from server_utils.node.checks import GPU_AMOUNT, check_node, compare_with_spark
from server_utils.node.gpu_checks import Finding
from server_utils.spark import java, session
from server_utils.spark.executors import TaskPlacement, on_each_executor

_CHECK_S = 120.0
_OLDEST_PYTHON = (3, 11)
_PYSPARK = "pyspark[connect,sql]>=3.5,<5"
# Spark stops at its first user look-up on a newer Java until its Hadoop has HADOOP-19212.
_NEWEST_SAFE_JAVA = 22


def check(name: str = "triton", *, runs_servers: bool = True) -> list[Finding]:
    """Check all that a laptop or a driver needs, in the order in which to fix it.

    Args:
        name: the sealed environment of the servers.
        runs_servers: whether servers run on this machine; where they do not, it needs no environment.
    """
    return [
        _python(),
        _java(),
        _pyspark(),
        *[_package(name) for name in ("pyarrow", "pandas", "numpy")],
        *check_node(name, need_environment=runs_servers),
        _state_folder(),
    ]


def check_session(spark: Any, name: str = "triton") -> dict[str, list[Finding]]:
    """Check the machine of the driver, and the node of every executor of a session.

    The driver of a cluster runs no servers: an environment is not missing there.

    Returns:
        "driver" and each executor (host/pid of its JVM) -> its findings.

    Raises:
        PlacementError: if Spark cannot run the tasks that check.
    """
    check_one = functools.partial(_check_executor, name, session.conf(spark, GPU_AMOUNT))
    driver = check(name, runs_servers=session.on_this_host(spark))
    return {"driver": driver, **dict(on_each_executor(spark, check_one, timeout_s=_CHECK_S))}


def _check_executor(name: str, amount: str | None, placement: TaskPlacement) -> tuple[str, list[Finding]]:
    """Check the node of an executor. placement: the executor of the task, and its GPUs."""
    # Where Spark allows no barrier, a task has only its share: the setting says more.
    assigned = int(amount) if amount else len(placement.gpus)
    executor = f"{socket.gethostname()}/{placement.owner.pid}"
    return executor, [*check_node(name, need_gpu=assigned > 0), *compare_with_spark(assigned)]


def _python() -> Finding:
    version = f"{'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})"
    if sys.version_info >= _OLDEST_PYTHON:
        return Finding("Python", "ok", version)
    return Finding("Python", "error", version, "use Python 3.11 or newer: uv venv --python 3.12")


def _java() -> Finding:
    try:
        chosen = java.require_java()
    except EnvironmentMissingError as err:
        return Finding("Java", "error", str(err).removesuffix(f". {java.how_to_get()}"), java.how_to_get())
    version = f"{chosen.major} ({chosen.path})"
    if chosen.major > _NEWEST_SAFE_JAVA:
        return Finding("Java", "warning", f"{version}: not every Spark from 3.5 on starts on it", java.how_to_get())
    return Finding("Java", "ok", version)


def _pyspark() -> Finding:
    finding = _package("pyspark", requirement=_PYSPARK)
    if finding.level != "ok" or (3, 5) <= _major_minor(finding.found) < (5, 0):
        return finding
    return Finding("pyspark", "error", f"{finding.found}, not from 3.5 to 4.x", _install(_PYSPARK))


def _package(name: str, *, requirement: str | None = None) -> Finding:
    try:
        module = importlib.import_module(name)
    except (ImportError, ValueError) as err:
        # ValueError is how numpy says that a package was compiled against another numpy.
        return Finding(name, "error", f"cannot be imported ({err})", _install(requirement or name))
    return Finding(name, "ok", str(module.__version__))


def _install(requirement: str) -> str:
    # A venv made by uv has no pip.
    if importlib.util.find_spec("pip"):
        return f"{sys.executable} -m pip install '{requirement}'"
    return f"uv pip install --python {sys.executable} '{requirement}'"


def _major_minor(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _state_folder() -> Finding:
    name = "state folder"
    elsewhere = "set SPARK_SIDECAR_STATE to another folder"
    try:
        folder = state_root()
        status = folder.lstat()
    except ConfigurationError as err:
        return Finding(name, "error", str(err), "set SPARK_SIDECAR_STATE")
    except FileNotFoundError:
        return Finding(name, "ok", f"{folder} is not there yet, the first start makes it")
    except OSError as err:
        return Finding(name, "error", f"{folder} cannot be looked at ({err})", elsewhere)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        problem = f"{folder} is no folder of yours (owner {status.st_uid}, {stat.filemode(status.st_mode)})"
        return Finding(name, "error", problem, f"rm -r {folder} as its owner, or {elsewhere}")
    if status.st_mode & 0o077:
        problem = f"{folder} is open to others (mode {stat.S_IMODE(status.st_mode):04o})"
        return Finding(name, "error", problem, f"chmod 700 {folder}")
    return Finding(name, "ok", f"{folder} is private")
