"""Options and variables of vLLM that depend on the host: those of its CPU build, and paths of models.

Laid beside a backend's program, which imports it. Standard library only: the sealed environment holds no other.
"""

from __future__ import annotations

import glob
import importlib.metadata
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

# What the CPU build needs unless the user says otherwise: without a size for the cache it wants nearly all memory;
# compiling costs more than a job gains; shared prefixes shorter than a block (128 by default) are never found again.
_CPU_ARGUMENTS = {"--kv-cache-memory-bytes": "536870912", "--block-size": "32", "--enforce-eager": None}
_CPU_FLAGS = re.compile(r"^(?:flags|Features)\s*:(.*)$", re.MULTILINE)
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of x86 and of ARM
# One process less; threads that do not spin, and are not all bound to the first core, where several servers meet.
CPU_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_WAIT_POLICY": "PASSIVE",
}


def has_bfloat16(cpuinfo: str) -> bool:
    """Whether the processor computes in bfloat16, by what the kernel says of it (/proc/cpuinfo)."""
    flags = _CPU_FLAGS.search(cpuinfo)
    return flags is not None and not _BFLOAT16_FLAGS.isdisjoint(flags[1].split())


def cpu_arguments(cpuinfo: str, arguments: Sequence[str]) -> dict[str, str | None]:
    """Options that the CPU build gets unless the user says otherwise. arguments: of the engine.

    Without bfloat16 instructions the engine takes a slow path: float32 is 4.9 times as fast there (0.32, measured).
    Models that are quantized have a type of their own.
    """
    is_slow = not has_bfloat16(cpuinfo) and not _is_quantized(arguments)
    return _CPU_ARGUMENTS | ({"--dtype": "float32"} if is_slow else {})


def _is_quantized(arguments: Sequence[str]) -> bool:
    words = [*arguments, ""]
    config = Path(words[words.index("--model") + 1] if "--model" in words else "", "config.json")
    if "--quantization" in words:
        return True
    try:
        return "quantization_config" in json.loads(config.read_text())
    except (OSError, ValueError):  # a model by its name in the hub
        return False


def with_cpu_options(arguments: Sequence[str]) -> list[str]:
    """The arguments of an engine, with those that the CPU build wants unless the user says otherwise."""
    extra = cpu_arguments(Path("/proc/cpuinfo").read_text(), arguments) if is_cpu_build() else {}
    missing = [word for name, value in extra.items() if name not in arguments for word in (name, value) if word]
    return [*arguments, *missing]


def is_cpu_build() -> bool:
    """Whether this Python has the build of vLLM for the CPU."""
    return any(each.metadata["Name"] == "vllm-cpu" for each in importlib.metadata.distributions(name="vllm-cpu"))


def without_patterns(arguments: Sequence[str]) -> list[str]:
    """The arguments, with a link in place of a model whose path the engine would take for a pattern (to 0.32)."""
    words = list(arguments)
    place = words.index("--model") + 1 if "--model" in words else 0
    if place and glob.escape(words[place]) != words[place] and Path(words[place]).is_dir():
        link = Path(tempfile.mkdtemp()) / "model"
        link.symlink_to(words[place])
        words[place] = str(link)
    return words
