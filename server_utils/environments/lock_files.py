"""The lock files in the wheel, and uv, which installs them. Driver and executors; decides nothing about folders."""

from __future__ import annotations

import logging
import os
import platform as machine
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from server_utils.errors import EnvironmentMissingError
from server_utils.host.gpus import has_gpu

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).parents[1] / "data" / "requirements"
_ENGINES = ("dynamo", "sglang", "tf", "torch", "transformers", "triton", "vllm", "vllm-latest")
_PIN = re.compile(r"^([\w.-]+)==([\w.+!]+)", re.MULTILINE)
_REQUIREMENT = re.compile(r"^([\w.-]+)==([\w.+!]+)[^\n]*((?:\n +--hash=[^\n]+)+)", re.MULTILINE)
_CUDA_RUNTIME = re.compile(r"nvidia-cuda-runtime(-cu\d+)?")
_CPU_LOCKS = {"vllm-latest": "vllm"}  # without a GPU there is no driver to fit: both are the newest version
_GPU_ONLY = ("sglang",)


def lock_file(name: str) -> Path:
    """The lock file of an environment on this machine: engines have one for CUDA and one for the CPU."""
    if name not in _ENGINES:
        return FOLDER / f"{name}.txt"
    return engine_lock(name, cpu=not has_gpu() and _cpu_lock_fits())


def engine_lock(name: str, *, cpu: bool) -> Path:
    """The lock file of an engine's environment for machines without or with a GPU; some have one for GPUs only."""
    for_cpu = cpu and name not in _GPU_ONLY
    return FOLDER / (f"{_CPU_LOCKS.get(name, name)}-cpu.txt" if for_cpu else f"{name}-cuda.txt")


def pins(lock: Path) -> dict[str, set[str]]:
    """Package -> the versions that a lock file pins: several where they differ by Python version or machine."""
    versions: dict[str, set[str]] = {}
    for name, version in _PIN.findall(lock.read_text(encoding="utf-8")):
        versions.setdefault(name, set()).add(version)
    return versions


def requirements(lock: Path, wanted: Callable[[str, str], bool]) -> str:
    """The lines of a lock file, hashes included and markers left out, whose package and version are wanted."""
    locked = _REQUIREMENT.findall(lock.read_text(encoding="utf-8"))
    return "".join(f"{name}=={version} \\{hashes}\n" for name, version, hashes in locked if wanted(name, version))


def cuda_of(lock: Path) -> tuple[int, int] | None:
    """The CUDA that the packages of a lock file are built for, the oldest where it differs by machine.

    None where they are for the CPU.
    """
    pinned = pins(lock).items()
    versions = [each.split(".") for name, found in pinned if _CUDA_RUNTIME.fullmatch(name) for each in found]
    return min(((int(major), int(minor)) for major, minor, *_ in versions), default=None)


def vllm_fits() -> bool:
    """Whether vLLM can run on this machine: the lock for CUDA has no kernels for a CPU."""
    return has_gpu() or _cpu_lock_fits()


def _cpu_lock_fits() -> bool:
    # The lock names one wheel of torch for the CPU, by its hash: the one for Python 3.11 on x86-64.
    fits = sys.version_info[:2] == (3, 11) and machine.machine() == "x86_64"
    if not fits:
        logger.warning("Only Python 3.11 on x86-64 has a lock with torch for the CPU; using the larger one for CUDA.")
    return fits


def uv_sources(lock: Path) -> list[str]:
    """The options that tell uv where the wheels of a lock file are, beside its default index."""
    # Both variables: with the option uv ignores its own, and it never reads pip's.
    folders = [*_entries("PIP_FIND_LINKS"), *_entries("UV_FIND_LINKS")]
    with_cpu_torch = [folder for folder in folders if next(Path(folder).glob("torch-*+cpu*.whl"), None)]
    if lock.name.endswith("-cuda.txt"):
        # 2.13.0+cpu satisfies ==2.13.0 too, and counts as newer: uv 0.13 would take it and fail on its hash.
        folders = [folder for folder in folders if folder not in with_cpu_torch]
    links = [option for folder in folders for option in ("--find-links", folder)]
    if lock.name.endswith("-cpu.txt") and not with_cpu_torch:
        return [*links, "--torch-backend", "cpu"]
    return links


def _entries(variable: str) -> list[str]:
    # pip separates with blanks, uv with commas.
    return re.findall(r"[^\s,]+", os.environ.get(variable, ""))


def find_uv() -> list[str]:
    """The command that starts uv: on PATH, in this environment, or in the one that `./run` made.

    Raises:
        EnvironmentMissingError: if there is none.
    """
    beside = Path(sys.executable).with_name("uv")
    bootstrapped = Path(sys.prefix).parent / ".uv-venv" / "bin" / "uv"
    for candidate in (shutil.which("uv"), beside, bootstrapped):
        if candidate and Path(candidate).exists():
            return [str(candidate)]
    msg = f"uv is missing: it is neither on PATH nor in {sys.prefix}. Run `{sys.executable} -m pip install uv`."
    raise EnvironmentMissingError(msg)


def uv(arguments: Sequence[str], *, purpose: str) -> None:
    """Run uv; its output goes to stderr (the real one: a notebook's replacement has no file number).

    Raises:
        EnvironmentMissingError: if it fails; the message names the purpose, such as "install triton-cpu.txt".
    """
    # Without UV_FIND_LINKS: `uv_sources` has decided which of its folders count.
    environment = os.environ | {"UV_FIND_LINKS": ""}
    code = subprocess.run([*find_uv(), *arguments], stdout=2, env=environment, check=False).returncode
    if code:
        msg = f"uv could not {purpose}: it exited with {code}, its reason is above. Repair that, then run it again."
        raise EnvironmentMissingError(msg)
