"""What of this machine fits and what does not, each finding with its exact fix. Laptop and driver; changes nothing."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from server_utils import environments, java
from server_utils.errors import EnvironmentMissingError
from server_utils.platform import home, state_root

_GIB = 2**30
_OLDEST_PYTHON = (3, 11)
_PYSPARK = "pyspark[connect,sql]>=3.5,<5"
# Spark stops at its first user look-up on a newer Java until its Hadoop has HADOOP-19212.
_NEWEST_SAFE_JAVA = 22
# Triton's Python backend takes 64 MiB when a model is loaded and grows with the batches in flight.
_SHARED_MEMORY_MIB = 256
# A sealed environment with a CPU torch, beside the wheels it is made from.
_HOME_GIB = 5
# Server logs and the named pipes beside the records.
_STATE_GIB = 1
_NVIDIA_SMI = ("--query-gpu=index,name,memory.total,driver_version", "--format=csv,noheader,nounits")
_NVIDIA_SMI_TIMEOUT_S = 30
_GPU_FIX = "reboot after a driver update, or install the driver again; until nvidia-smi works, models run on the CPU"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `fix` is a command or an order to the reader, empty where all is well."""

    name: str
    level: Literal["ok", "warning", "error"]
    found: str
    fix: str = ""


def check() -> list[Finding]:
    """Everything that a laptop or a driver needs, in the order in which it should be put right."""
    return [
        _python(),
        _java(),
        _pyspark(),
        *[_package(name) for name in ("pyarrow", "pandas", "numpy")],
        _sealed_environment("triton"),
        _gpus(),
        _shared_memory(),
        _disk("home", home(), need_gib=_HOME_GIB, variable="SPARK_SIDECAR_HOME"),
        _disk("state", state_root(), need_gib=_STATE_GIB, variable="SPARK_SIDECAR_STATE"),
        _state_folder(state_root()),
    ]


def _python() -> Finding:
    found = f"{'.'.join(map(str, sys.version_info[:3]))} ({sys.executable})"
    if sys.version_info >= _OLDEST_PYTHON:
        return Finding("Python", "ok", found)
    return Finding("Python", "error", found, "use Python 3.11 or newer: uv venv --python 3.12")


def _java() -> Finding:
    try:
        chosen = java.require_java()
    except EnvironmentMissingError as err:
        return Finding("Java", "error", str(err).removesuffix(f". {java.how_to_get()}"), java.how_to_get())
    found = f"{chosen.major} ({chosen.path})"
    if chosen.major > _NEWEST_SAFE_JAVA:
        return Finding("Java", "warning", f"{found}: not every Spark from 3.5 on starts on it", java.how_to_get())
    return Finding("Java", "ok", found)


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


def _sealed_environment(name: str) -> Finding:
    title, build = f"environment {name}", f"spark-sidecar env build {name}"
    try:
        interpreter = environments.find(name)
        library = environments.require_libpython(interpreter)
    except EnvironmentMissingError as err:
        return Finding(title, "error", str(err), build)
    found = f"Python {'.'.join(map(str, interpreter.version))} ({interpreter.python}), {library}"
    if environments.folder(name).exists() and not environments.is_current(name):
        return Finding(title, "warning", f"{found}: not what its lock file says", build)
    return Finding(title, "ok", found)


def _gpus() -> Finding:
    if (tool := shutil.which("nvidia-smi")) is None:
        return Finding("GPU", "ok", "none, models run on the CPU")
    try:
        done = subprocess.run(
            [tool, *_NVIDIA_SMI], capture_output=True, text=True, timeout=_NVIDIA_SMI_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        return Finding("GPU", "warning", f"nvidia-smi cannot be run ({err})", _GPU_FIX)
    # What it says of itself has no commas: only a row has the four columns.
    rows = re.findall(r"^([^,\n]+), ([^,\n]+), ([^,\n]+), ([^,\n]+)$", done.stdout, re.MULTILINE)
    if done.returncode != 0 or not rows:
        said = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        return Finding("GPU", "warning", f"nvidia-smi ended {done.returncode} and said: {said[-1]}", _GPU_FIX)
    return Finding("GPU", "ok", "; ".join(map(_gpu, rows)))


def _gpu(row: tuple[str, str, str, str]) -> str:
    index, name, memory_mib, driver = row
    # Boards that share the host's memory say [N/A].
    memory = f"{int(memory_mib) / 1024:.1f} GiB" if memory_mib.isdigit() else f"memory {memory_mib}"
    return f"{index}: {name}, {memory}, driver {driver}"


def _shared_memory(folder: Path = Path("/dev/shm")) -> Finding:  # noqa: S108 - looked at, not written to
    if not folder.is_dir():
        return Finding("shared memory", "ok", f"this system has no {folder}")
    usage = shutil.disk_usage(folder)
    found = f"{usage.free // 2**20} MiB free of {usage.total // 2**20} MiB in {folder}"
    if usage.free >= _SHARED_MEMORY_MIB * 2**20:
        return Finding("shared memory", "ok", found)
    fix = f"mount -o remount,size=1g {folder} (in a container: docker run --shm-size=1g)"
    return Finding("shared memory", "warning", f"{found}, Triton may need {_SHARED_MEMORY_MIB} MiB", fix)


def _disk(name: str, folder: Path, *, need_gib: int, variable: str) -> Finding:
    free = _free_bytes(folder) / _GIB
    found = f"{free:.1f} GiB free at {folder}"
    if free >= need_gib:
        return Finding(f"disk of {name}", "ok", found)
    fix = f"make room for {need_gib} GiB there, or set {variable} to a folder on a larger disk"
    return Finding(f"disk of {name}", "warning", found, fix)


def _free_bytes(folder: Path) -> int:
    # The folder is made at the first use: until then its disk is that of the nearest folder above.
    for each in (folder, *folder.absolute().parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(each).free
    return 0


def _state_folder(folder: Path) -> Finding:
    name = "state folder"
    elsewhere = "set SPARK_SIDECAR_STATE to another folder"
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return Finding(name, "ok", f"{folder} is not there yet, the first start makes it")
    except OSError as err:
        return Finding(name, "error", f"{folder} cannot be looked at ({err})", elsewhere)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        found = f"{folder} is no folder of yours (owner {status.st_uid}, {stat.filemode(status.st_mode)})"
        return Finding(name, "error", found, f"rm -r {folder} as its owner, or {elsewhere}")
    if status.st_mode & 0o077:
        found = f"{folder} is open to others (mode {stat.S_IMODE(status.st_mode):04o})"
        return Finding(name, "error", found, f"chmod 700 {folder}")
    return Finding(name, "ok", f"{folder} is private")
