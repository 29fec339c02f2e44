"""What of a node fits the engine that is to run on it: GPUs, driver, environment, disk. Driver and executors.

Changes nothing, and needs no Spark: init scripts run it before Spark starts.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from server_utils.environments import builder
from server_utils.environments.lock_files import cuda_of, lock_file, pins
from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.host import engine_home, library_path, scratch
from server_utils.host import gpus as host_gpus
from server_utils.host.gpus import Gpu
from server_utils.host.platform import home, state_root

_GIB = 2**30
# Triton's Python backend takes 64 MiB when a model is loaded and grows with the batches in flight.
_SHARED_MEMORY_MIB = 256
# A sealed environment with a CPU torch, beside the wheels it is made from.
_HOME_GIB = 5
# Server logs and the named pipes beside the records.
_STATE_GIB = 1
# bfloat16, which most language models are published in, came with Ampere.
_OLDEST_CAPABILITY = (8, 0)
GPU_AMOUNT = "spark.executor.resource.gpu.amount"
_GPU_FIX = "reboot after a driver update, or install the driver again; until nvidia-smi works, models run on the CPU"
_SPARK_DEFAULTS = "spark-defaults.conf"
# What an interpreter has installed, one `name version` per line.
_LIST = "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'], d.version)"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `fix` is a command or an order to the reader, empty where all is well."""

    name: str
    level: Literal["ok", "warning", "error"]
    found: str
    fix: str = ""


def check_node(name: str = "triton", *, need_gpu: bool = False) -> list[Finding]:
    """Everything that a node needs to run servers of an environment, in the order to put it right.

    Args:
        name: the sealed environment.
        need_gpu: whether a node without a GPU is an error, as on the workers of a GPU cluster.
    """
    gpus, seen = _gpus(need_gpu=need_gpu)
    return [
        seen,
        *_driver(gpus, name),
        *_capability(gpus),
        *_told_to_spark(gpus),
        sealed_environment(name),
        *_versions(name),
        shared_memory(),
        _disk_of("home", home, need_gib=_HOME_GIB, variable="SPARK_SIDECAR_HOME"),
        _disk_of("state", state_root, need_gib=_STATE_GIB, variable="SPARK_SIDECAR_STATE"),
        scratch_folder(),
        home_folder(),
        *_other_cuda(),
    ]


def sealed_environment(name: str) -> Finding:
    """Whether an environment is there, whole, of its lock, and has its libpython."""
    title, build = f"environment {name}", f"spark-sidecar env build {name}"
    try:
        interpreter = builder.find(name)
        library = builder.require_libpython(interpreter)
    except ConfigurationError as err:
        return Finding(title, "error", str(err), "set SPARK_SIDECAR_HOME")
    except EnvironmentMissingError as err:
        return Finding(title, "error", str(err), build)
    found = f"Python {'.'.join(map(str, interpreter.version))} ({interpreter.python}), {library}"
    if builder.folder(name).exists() and not builder.is_current(name):
        return Finding(title, "warning", f"{found}: not what its lock file says", build)
    return Finding(title, "ok", found)


def _gpus(*, need_gpu: bool) -> tuple[list[Gpu], Finding]:
    try:
        found = host_gpus.gpus()
    except EnvironmentMissingError as err:
        return [], Finding("GPU", "error" if need_gpu else "warning", str(err), _GPU_FIX)
    if found:
        return found, Finding("GPU", "ok", "; ".join(map(str, found)))
    if need_gpu:
        fix = "take a node type with a GPU and an image with its driver: spark-sidecar shapes"
        return [], Finding("GPU", "error", "none: there is no nvidia-smi, so the image has no GPU driver", fix)
    return [], Finding("GPU", "ok", "none, models run on the CPU")


def _driver(gpus: list[Gpu], name: str) -> list[Finding]:
    """The driver against the CUDA that the locked engine was built for."""
    lock = lock_file(name)
    cuda = cuda_of(lock)
    if not gpus or cuda is None:
        return []
    needed, driver = host_gpus.OLDEST_DRIVER[cuda[0]], gpus[0].driver
    found = f"{driver}; {lock.name} is built for CUDA {cuda[0]}.{cuda[1]}, which needs {needed} or newer"
    if not host_gpus.is_older(driver, needed):
        return [Finding("GPU driver", "ok", found)]
    fix = f"take a runtime or image with driver {needed} or newer: no package can replace a driver"
    return [Finding("GPU driver", "error", found, fix)]


def _capability(gpus: list[Gpu]) -> list[Finding]:
    old = [each for each in gpus if each.capability < _OLDEST_CAPABILITY]
    if not gpus:
        return []
    found = ", ".join(sorted({f"{each.name} {'.'.join(map(str, each.capability))}" for each in old or gpus}))
    if not old:
        return [Finding("compute capability", "ok", found)]
    fix = "serve in float16 (vLLM: dtype='half'), or take an A10, L4, A100 or H100: spark-sidecar shapes"
    return [Finding("compute capability", "warning", f"{found}: no bfloat16 before 8.0", fix)]


def _told_to_spark(gpus: list[Gpu]) -> list[Finding]:
    """GPUs of the machine against what this node's own Spark settings say; the last line of a file wins."""
    file = Path(os.environ.get("SPARK_CONF_DIR") or "/etc/spark/conf") / _SPARK_DEFAULTS
    with contextlib.suppress(OSError):
        told = re.findall(rf"^\s*{re.escape(GPU_AMOUNT)}[\s=:]+(\d+)\s*$", file.read_text(), re.MULTILINE)
        if told and gpus:
            return [_compared(int(told[-1]), len(gpus), where=f"{file} (the last of {len(told)})")]
    return []


def compare_with_spark(told: int) -> list[Finding]:
    """GPUs of the machine against what Spark gave a task that asked for all of its executor's."""
    gpus, _ = _gpus(need_gpu=False)
    return [_compared(told, len(gpus), where="the session")] if gpus or told else []


def _compared(told: int, seen: int, *, where: str) -> Finding:
    found = f"{seen} in this machine, {told} by {GPU_AMOUNT} of {where}"
    if told == seen:
        return Finding("GPUs of Spark", "ok", found)
    return Finding("GPUs of Spark", "warning", found, f"set {GPU_AMOUNT} to {seen} when the session is made")


def _versions(name: str) -> list[Finding]:
    """What is installed in the environment against its lock; nothing where there is none."""
    try:
        python = builder.folder(name) / "bin" / "python"
        there = python.exists()
    except ConfigurationError:  # told with the environment itself
        return []
    if not there:
        return []
    asked = subprocess.run([python, "-I", "-c", _LIST], capture_output=True, text=True, check=False)
    locked = pins(lock_file(name))
    installed = [line.rsplit(" ", 1) for line in asked.stdout.splitlines()]
    other = [
        f"{package} {version}"
        for package, version in installed
        if version not in locked.get(re.sub(r"[-_.]+", "-", package).lower(), {version})
    ]
    title = f"packages of {name}"
    if asked.returncode or other:
        found = f"not of {lock_file(name).name}: {', '.join(other) or asked.stderr.strip()[-200:]}"
        return [Finding(title, "error", found, f"rm -r {builder.folder(name)} && spark-sidecar env build {name}")]
    return [Finding(title, "ok", f"{len(installed)}, as {lock_file(name).name} says")]


def shared_memory(folder: Path = Path("/dev/shm")) -> Finding:  # noqa: S108 - looked at, not written to
    """Whether there is room for what Triton shares between its processes."""
    if not folder.is_dir():
        return Finding("shared memory", "ok", f"this system has no {folder}")
    usage = shutil.disk_usage(folder)
    found = f"{usage.free // 2**20} MiB free of {usage.total // 2**20} MiB in {folder}"
    if usage.free >= _SHARED_MEMORY_MIB * 2**20:
        return Finding("shared memory", "ok", found)
    fix = f"mount -o remount,size=1g {folder} (in a container: docker run --shm-size=1g)"
    return Finding("shared memory", "warning", f"{found}, Triton may need {_SHARED_MEMORY_MIB} MiB", fix)


def scratch_folder() -> Finding:
    """Whether programs can be run from where servers keep their temporary files, as Triton does."""
    title, fix = "scratch folder", "set SPARK_SIDECAR_STATE to a folder that programs can be run from, without a space"
    try:
        first, chosen = scratch.roots()[0], scratch.choose()
    except ConfigurationError as err:
        return Finding(title, "error", str(err), "set SPARK_SIDECAR_STATE")
    if doubt := scratch.doubt(chosen):
        return Finding(title, "error", f"{chosen} {doubt}, and no other place serves: Triton cannot start", fix)
    if chosen != first:
        reason = scratch.doubt(first) or "has so long a path that sockets may not fit"
        return Finding(title, "warning", f"{first} {reason}: servers use {chosen} instead", fix)
    return Finding(title, "ok", str(chosen))


def home_folder() -> Finding:
    """Where engines keep what they compile: HOME, or a folder of servers' own where this user cannot write to it."""
    reason = engine_home.unusable(os.environ)
    if not reason:
        return Finding("HOME", "ok", os.environ["HOME"])
    try:
        return Finding("HOME", "ok", f"{reason}: servers use {engine_home.folder()} instead")
    except ConfigurationError as err:
        return Finding("HOME", "error", f"{reason}. {err}", "set HOME or SPARK_SIDECAR_CACHE")


def _other_cuda() -> list[Finding]:
    folders = ", ".join(library_path.cuda_folders(os.environ))
    found = f"{folders} in LD_LIBRARY_PATH: servers leave it out, and use the CUDA of their environment"
    return [Finding("CUDA of the image", "ok", found)] if folders else []


def _disk_of(name: str, folder: Callable[[], Path], *, need_gib: int, variable: str) -> Finding:
    try:
        return disk(name, folder(), need_gib=need_gib, variable=variable)
    except ConfigurationError as err:
        return Finding(f"disk of {name}", "error", str(err), f"set {variable}")


def disk(name: str, folder: Path, *, need_gib: int, variable: str) -> Finding:
    """Whether a folder has room; it need not be there yet."""
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
