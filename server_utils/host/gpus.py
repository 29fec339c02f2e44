"""The NVIDIA GPUs and the driver of this machine, from `nvidia-smi`. Driver and executors; changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from server_utils.errors import EnvironmentMissingError

_COLUMNS = ("index", "name", "memory.total", "driver_version", "compute_cap")
# Messages of nvidia-smi have no commas: only a row has all columns.
_ROW = "^" + ", ".join([r"([^,\n]+)"] * len(_COLUMNS)) + "$"
_TIMEOUT_S = 30
# CUDA's major version -> the oldest driver that runs what was built for any of its minor versions: NVIDIA's CUDA
# release notes, "Minimum Required Driver Version for CUDA Minor Version Compatibility".
OLDEST_DRIVER = {12: "525.60.13", 13: "580.65.06"}
VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Gpu:
    """One GPU; `memory_mib` is None for boards that share the host's memory. `capability` is such as (8, 6)."""

    index: int
    name: str
    memory_mib: int | None
    driver: str
    capability: tuple[int, int]

    def __str__(self) -> str:
        memory = "shared memory" if self.memory_mib is None else f"{self.memory_mib / 1024:.1f} GiB"
        return f"{self.index}: {self.name}, {memory}, driver {self.driver}"


def gpus() -> list[Gpu]:
    """The GPUs of this machine, in the driver's order; none where there is no `nvidia-smi`.

    Raises:
        EnvironmentMissingError: if there is a driver and it does not answer; the message quotes it.
    """
    done = _nvidia_smi(f"--query-gpu={','.join(_COLUMNS)}", "--format=csv,noheader,nounits")
    if done is None:
        return []
    rows = re.findall(_ROW, done.stdout, re.MULTILINE)
    if done.returncode != 0 or not rows:
        output = (done.stdout + done.stderr).strip().splitlines() or ["nothing"]
        raise EnvironmentMissingError(f"nvidia-smi ended {done.returncode} and said: {output[-1]}")
    return [_gpu(*row) for row in rows]


def visible_gpus() -> list[str]:
    """The indices of the GPUs that this process may use, or all of the host's."""
    if chosen := os.environ.get(VISIBLE_DEVICES):
        return chosen.split(",")
    return (_answer("--query-gpu=index", "--format=csv,noheader") or "").split()


def has_gpu() -> bool:
    """Whether an NVIDIA driver answers on this machine."""
    return _answer("-L") is not None


def peer_reads() -> str | None:
    """The table of how GPUs may read each other's memory: OK, or why not (CNS, GNS, TNS, NS, DR, U); None for none."""
    table = _answer("topo", "-p2p", "r")
    return table and table.partition("Legend")[0]


def has_nvidia_smi() -> bool:
    """Whether this machine's image has NVIDIA's driver and its tool; the driver need not answer."""
    return shutil.which("nvidia-smi") is not None


def _answer(*arguments: str) -> str | None:
    """What `nvidia-smi` prints; None where there is none, or no driver that answers it."""
    try:
        done = _nvidia_smi(*arguments)
    except EnvironmentMissingError:
        return None
    return done.stdout if done is not None and done.returncode == 0 else None


def _nvidia_smi(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Run `nvidia-smi`; None where there is none. Raises EnvironmentMissingError when it cannot be run."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return None
    try:
        return subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentMissingError(f"nvidia-smi cannot be run ({error})") from error


def is_older(driver: str, than: str) -> bool:
    """Whether a driver's version comes before another."""
    return _numbers(driver) < _numbers(than)


def _gpu(index: str, name: str, memory_mib: str, driver: str, capability: str) -> Gpu:
    major, _, minor = capability.partition(".")
    # [N/A] for boards that share the host's memory.
    memory = int(memory_mib) if memory_mib.isdigit() else None
    return Gpu(int(index), name, memory, driver, (int(major), int(minor or 0)))


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]
