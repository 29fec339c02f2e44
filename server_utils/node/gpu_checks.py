"""Check the GPUs of a node: driver, compute capability, slices, and whether they reach each other.

Driver and executors; changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from server_utils.errors import EnvironmentMissingError
from server_utils.host import gpus as host_gpus
from server_utils.host.gpus import Gpu

# bfloat16, which most language models are published in, came with Ampere.
_OLDEST_CAPABILITY = (8, 0)
_GPU_FIX = "reboot after a driver update, or install the driver again; until nvidia-smi works, models run on the CPU"
_REFUSED_PEERS = re.compile(r"\b(CNS|GNS|TNS|NS|DR|U)\b")


@dataclass(frozen=True)
class Finding:
    """The result of one check; `fix` is a command or an instruction, empty where nothing is wrong."""

    name: str
    level: Literal["ok", "warning", "error"]
    found: str
    fix: str = ""


def find(*, need_gpu: bool) -> tuple[list[Gpu], Finding]:
    """The GPUs of this machine, and what is to be said of them. need_gpu: whether none is an error."""
    try:
        gpus = host_gpus.gpus()
    except EnvironmentMissingError as err:
        return [], Finding("GPU", "error" if need_gpu else "warning", str(err), _GPU_FIX)
    if gpus:
        return gpus, Finding("GPU", "ok", "; ".join(map(str, gpus)))
    if need_gpu:
        fix = "take a node type with a GPU and an image with its driver: spark-sidecar shapes"
        return [], Finding("GPU", "error", "none: there is no nvidia-smi, so the image has no GPU driver", fix)
    return [], Finding("GPU", "ok", "none, models run on the CPU")


def driver(gpus: list[Gpu], built: str, cuda: int) -> list[Finding]:
    """Compare the driver with the CUDA that an engine was built for. built: says so; cuda: its major version."""
    if not gpus:
        return []
    needed, present = host_gpus.OLDEST_DRIVER[cuda], gpus[0].driver
    versions = f"{present}; {built}, which needs {needed} or newer"
    if not host_gpus.is_older(present, needed):
        return [Finding("GPU driver", "ok", versions)]
    fix = f"take a runtime or image with driver {needed} or newer: no package can replace a driver"
    return [Finding("GPU driver", "error", versions, fix)]


def check(gpus: list[Gpu]) -> list[Finding]:
    """What these GPUs can, and whether they reach each other."""
    return [*_capability(gpus), *_virtual(gpus), *_peers(gpus)]


def _capability(gpus: list[Gpu]) -> list[Finding]:
    old = [each for each in gpus if each.capability < _OLDEST_CAPABILITY]
    if not gpus:
        return []
    capabilities = ", ".join(sorted({f"{each.name} {'.'.join(map(str, each.capability))}" for each in old or gpus}))
    if not old:
        return [Finding("compute capability", "ok", capabilities)]
    fix = "serve in float16, as vLLM does there by itself, or take an A10, L4, A100 or H100: spark-sidecar shapes"
    return [Finding("compute capability", "warning", f"{capabilities}: no bfloat16 before 8.0", fix)]


def _virtual(gpus: list[Gpu]) -> list[Finding]:
    """Slices of GPUs, such as those of Azure's NVadsA10: their driver must fit the host's, and they have no peers."""
    slices = sorted({each.name for each in gpus if re.search(r"-\d+Q$", each.name)})
    if not slices:
        return []
    sliced = f"{', '.join(slices)}: a virtual GPU, with the driver of its host"
    if len(gpus) == 1:
        return [Finding("virtual GPU", "ok", sliced)]
    fix = "set NCCL_P2P_DISABLE=1, and for vLLM disable_custom_all_reduce=True; or take a shape with whole GPUs"
    return [Finding("virtual GPU", "warning", f"{sliced}; several of them cannot reach each other's memory", fix)]


def _peers(gpus: list[Gpu]) -> list[Finding]:
    """Whether several GPUs can read each other's memory. Over PCIe some nodes forbid it, and vLLM may not notice."""
    if len(gpus) == 1 or not gpus or (reads := host_gpus.peer_reads()) is None:
        return []
    if "OK" in reads and not _REFUSED_PEERS.search(reads):
        return [Finding("GPU peers", "ok", f"all {len(gpus)} GPUs reach each other's memory")]
    fix = "if a server over all GPUs does not start: vLLM's disable_custom_all_reduce=True, and NCCL_P2P_DISABLE=1"
    return [Finding("GPU peers", "warning", "not all GPUs of this node reach each other's memory (no NVLink)", fix)]
