"""Check a node for an engine: GPUs, driver, environment, compiler, memory, disks. Driver and executors.

Changes nothing, and needs no Spark: init scripts run it before Spark starts.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from server_utils.clusters.cluster import runs_containers
from server_utils.environments import builder
from server_utils.environments.lock_files import cuda_of, lock_file, pins
from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.host import engine_home, library_path, scratch
from server_utils.host.gpus import Gpu
from server_utils.host.platform import home, state_root
from server_utils.node import container_checks, gpu_checks
from server_utils.node.gpu_checks import Finding

_GIB = 2**30
# Triton's Python backend takes 64 MiB when a model is loaded and grows with the batches in flight.
_SHARED_MEMORY_MIB = 256
# A sealed environment with a CPU torch, beside the wheels it is made from.
_HOME_GIB = 5
# Server logs and the named pipes beside the records.
_STATE_GIB = 1
GPU_AMOUNT = "spark.executor.resource.gpu.amount"
_YARN_CHECKS = ("yarn.nodemanager.pmem-check-enabled", "yarn.nodemanager.vmem-check-enabled")
# Triton's JIT takes the first of these, after $CC.
_COMPILERS = ("gcc", "clang")
_HEADER = "import pathlib, sysconfig; print(pathlib.Path(sysconfig.get_path('include'), 'Python.h'))"
# What an interpreter has installed, one `name version` per line.
_LIST = "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'], d.version)"


def check_node(name: str = "triton", *, need_gpu: bool = False, need_environment: bool = True) -> list[Finding]:
    """Check all that a node needs to run servers of an environment, in the order in which to fix it.

    Args:
        name: the sealed environment, or a framework whose servers are containers.
        need_gpu: whether a node without a GPU is an error, as on the workers of a GPU cluster.
        need_environment: whether a node without the environment is an error. The driver of a cluster needs none.
    """
    gpus, seen = gpu_checks.find(need_gpu=need_gpu)
    in_container = runs_containers(name)
    return [
        seen,
        *(container_checks.driver(gpus) if in_container else _driver(gpus, name)),
        *gpu_checks.check(gpus),
        *_gpu_amount(gpus),
        *_rapids(gpus),
        *_memory_watch(),
        *(container_checks.check(gpus) if in_container else _environment(gpus, name, needed=need_environment)),
        shared_memory(),
        _disk_of("home", home, need_gib=_HOME_GIB, variable="SPARK_SIDECAR_HOME"),
        _disk_of("state", state_root, need_gib=_STATE_GIB, variable="SPARK_SIDECAR_STATE"),
        scratch_folder(),
        home_folder(),
        *_other_cuda(),
    ]


def _environment(gpus: list[Gpu], name: str, *, needed: bool) -> list[Finding]:
    return [sealed_environment(name, needed=needed), *_versions(name), *_compiler(gpus, name)]


def _driver(gpus: list[Gpu], name: str) -> list[Finding]:
    lock = lock_file(name)
    cuda = cuda_of(lock)
    return gpu_checks.driver(gpus, f"{lock.name} is built for CUDA {cuda[0]}.{cuda[1]}", cuda[0]) if cuda else []


def sealed_environment(name: str, *, needed: bool = True) -> Finding:
    """Whether an environment is there, whole, of its lock, and has its libpython where its engine links that."""
    title, build = f"environment {name}", f"spark-sidecar env build {name}"
    try:
        if not needed and not builder.folder(name).exists():
            return Finding(title, "ok", "none, and none is needed: servers run beside the executors, on other nodes")
        interpreter = builder.find(name)
        library = f", {builder.require_libpython(interpreter)}" if builder.links_libpython(name) else ""
    except ConfigurationError as err:
        return Finding(title, "error", str(err), "set SPARK_SIDECAR_HOME")
    except EnvironmentMissingError as err:
        return Finding(title, "error", str(err), build)
    python = f"Python {'.'.join(map(str, interpreter.version))} ({interpreter.python}){library}"
    if builder.folder(name).exists() and not builder.is_current(name):
        return Finding(title, "warning", f"{python}: not what its lock file says", build)
    return Finding(title, "ok", python)


def _gpu_amount(gpus: list[Gpu]) -> list[Finding]:
    """Compare the GPUs of the machine with this node's own Spark settings; the last line of the file counts."""
    amounts = [amount for amount in _spark_defaults(GPU_AMOUNT) if amount.isdigit()]
    if amounts and gpus:
        where = f"{_spark_defaults_file()} (the last of {len(amounts)})"
        return [_compared(int(amounts[-1]), len(gpus), where=where)]
    return []


def _rapids(gpus: list[Gpu]) -> list[Finding]:
    """The RAPIDS Accelerator, which some images switch on: it takes nearly all memory of the executor's GPU."""
    plugins = _spark_defaults("spark.plugins")
    if not gpus or not plugins or "SQLPlugin" not in plugins[-1]:
        return []
    plugin = (
        f"spark.plugins is {plugins[-1]} in {_spark_defaults_file()}: it takes most of the GPU before a server does"
    )
    return [Finding("RAPIDS", "warning", plugin, "set spark.plugins to nothing when the session is made")]


def _spark_defaults(key: str) -> list[str]:
    """The values of a setting in this node's own file, in its order."""
    with contextlib.suppress(OSError):
        line = rf"^[ \t]*{re.escape(key)}[ \t=:]+(\S*)[ \t]*$"
        return re.findall(line, _spark_defaults_file().read_text(encoding="utf-8"), re.MULTILINE)
    return []


def _spark_defaults_file() -> Path:
    return Path(os.environ.get("SPARK_CONF_DIR") or "/etc/spark/conf") / "spark-defaults.conf"


def _memory_watch() -> list[Finding]:
    """Whether YARN kills executors by their memory: a server counts as long as the Python worker that started it."""
    file = Path(os.environ.get("HADOOP_CONF_DIR") or "/etc/hadoop/conf") / "yarn-site.xml"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return []
    properties = dict(re.findall(r"<name>\s*([\w.-]+)\s*</name>\s*<value>\s*(\w+)\s*</value>", text))
    on = [key for key in _YARN_CHECKS if properties.get(key) != "false"]  # both are on unless the file says otherwise
    if not on:
        return [Finding("memory watch of YARN", "ok", f"off, as {file} says")]
    fix = f"make the cluster with the properties {', '.join(f'yarn:{key}=false' for key in on)}"
    watched = f"on ({', '.join(on)} in {file}): YARN kills an executor whose server takes more than memoryOverhead"
    return [Finding("memory watch of YARN", "warning", watched, fix)]


def compare_with_spark(assigned: int) -> list[Finding]:
    """Compare the GPUs of the machine with those that Spark assigned to the executor of a task."""
    gpus, _ = gpu_checks.find(need_gpu=False)
    return [_compared(assigned, len(gpus), where="the session")] if gpus or assigned else []


def _compared(configured: int, present: int, *, where: str) -> Finding:
    amounts = f"{present} in this machine, {configured} by {GPU_AMOUNT} of {where}"
    if configured == present:
        return Finding("GPUs of Spark", "ok", amounts)
    return Finding("GPUs of Spark", "warning", amounts, f"set {GPU_AMOUNT} to {present} when the session is made")


def _python_of(name: str) -> Path | None:
    """The Python of a sealed environment that is there."""
    try:
        python = builder.folder(name) / "bin" / "python"
        return python if python.exists() else None
    except ConfigurationError:  # reported with the environment itself
        return None


def _versions(name: str) -> list[Finding]:
    """Compare what the environment holds with its lock; nothing where there is no environment."""
    if (python := _python_of(name)) is None:
        return []
    done = subprocess.run([python, "-I", "-c", _LIST], capture_output=True, text=True, check=False)
    locked = pins(lock_file(name))
    installed = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    different = [
        f"{package} {version}"
        for package, version in installed
        if version not in locked.get(re.sub(r"[-_.]+", "-", package).lower(), {version})
    ]
    title = f"packages of {name}"
    if done.returncode or different:
        differences = f"not of {lock_file(name).name}: {', '.join(different) or done.stderr.strip()[-200:]}"
        return [Finding(title, "error", differences, f"rm -r {builder.folder(name)} && spark-sidecar env build {name}")]
    return [Finding(title, "ok", f"{len(installed)}, as {lock_file(name).name} says")]


def _compiler(gpus: list[Gpu], name: str) -> list[Finding]:
    """A C compiler and Python's headers, which Triton's JIT needs on a GPU when a server starts."""
    python = _python_of(name)
    if not gpus or python is None or "triton" not in pins(lock_file(name)):
        return []
    compiler = os.environ.get("CC") or next(filter(None, map(shutil.which, _COMPILERS)), "")
    done = subprocess.run([python, "-I", "-c", _HEADER], capture_output=True, text=True, check=False)
    header = Path(done.stdout.strip())
    missing = [*(["a C compiler"] if not compiler else []), *([str(header)] if not header.is_file() else [])]
    if not missing:
        return [Finding("compiler", "ok", f"{compiler}, {header}")]
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    fix = f"apt-get install gcc python{minor}-dev, on every node"
    # vLLM compiles kernels in every start; a function of the user's only where it says so.
    level: Literal["error", "warning"] = "error" if "vllm" in pins(lock_file(name)) else "warning"
    return [Finding("compiler", level, f"without {' and '.join(missing)} no kernel can be compiled", fix)]


def shared_memory(folder: Path = Path("/dev/shm")) -> Finding:  # noqa: S108 - looked at, not written to
    """Whether there is room for what Triton shares between its processes."""
    if not folder.is_dir():
        return Finding("shared memory", "ok", f"this system has no {folder}")
    usage = shutil.disk_usage(folder)
    space = f"{usage.free // 2**20} MiB free of {usage.total // 2**20} MiB in {folder}"
    if usage.free >= _SHARED_MEMORY_MIB * 2**20:
        return Finding("shared memory", "ok", space)
    fix = f"mount -o remount,size=1g {folder} (in a container: docker run --shm-size=1g)"
    return Finding("shared memory", "warning", f"{space}, Triton may need {_SHARED_MEMORY_MIB} MiB", fix)


def scratch_folder() -> Finding:
    """Whether programs can be run from where servers keep their temporary files, as Triton does."""
    title, fix = "scratch folder", "set SPARK_SIDECAR_STATE to a folder that programs can be run from, without a space"
    try:
        first, chosen = scratch.roots()[0], scratch.choose()
    except ConfigurationError as err:
        return Finding(title, "error", str(err), "set SPARK_SIDECAR_STATE")
    if reason := scratch.why_unusable(chosen):
        return Finding(title, "error", f"{chosen} {reason}, and no other place serves: Triton cannot start", fix)
    if chosen != first:
        reason = scratch.why_unusable(first) or "has so long a path that sockets may not fit"
        return Finding(title, "warning", f"{first} {reason}: servers use {chosen} instead", fix)
    return Finding(title, "ok", str(chosen))


def home_folder() -> Finding:
    """Where engines keep what they compile: HOME, or a folder of servers' own where this user cannot write to it."""
    reason = engine_home.why_unusable(os.environ)
    if not reason:
        return Finding("HOME", "ok", os.environ["HOME"])
    try:
        return Finding("HOME", "ok", f"{reason}: servers use {engine_home.folder()} instead")
    except ConfigurationError as err:
        return Finding("HOME", "error", f"{reason}. {err}", "set HOME or SPARK_SIDECAR_CACHE")


def _other_cuda() -> list[Finding]:
    folders = ", ".join(library_path.cuda_folders(os.environ))
    ignored = f"{folders} in LD_LIBRARY_PATH: servers leave it out, and use the CUDA of their environment"
    return [Finding("CUDA of the image", "ok", ignored)] if folders else []


def _disk_of(name: str, folder: Callable[[], Path], *, need_gib: int, variable: str) -> Finding:
    try:
        return disk(name, folder(), need_gib=need_gib, variable=variable)
    except ConfigurationError as err:
        return Finding(f"disk of {name}", "error", str(err), f"set {variable}")


def disk(name: str, folder: Path, *, need_gib: int, variable: str) -> Finding:
    """Whether a folder has room; it need not be there yet."""
    free = _free_bytes(folder) / _GIB
    space = f"{free:.1f} GiB free at {folder}"
    if free >= need_gib:
        return Finding(f"disk of {name}", "ok", space)
    fix = f"make room for {need_gib} GiB there, or set {variable} to a folder on a larger disk"
    return Finding(f"disk of {name}", "warning", space, fix)


def _free_bytes(folder: Path) -> int:
    # The folder is made at the first use: until then its disk is that of the nearest folder above.
    for each in (folder, *folder.absolute().parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(each).free
    return 0
