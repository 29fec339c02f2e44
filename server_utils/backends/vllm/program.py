"""The program of a vLLM sidecar: vLLM's own command and environment, for `openai_program`, which runs and watches it.

    python program.py ANNOUNCEMENT PORT STALL_S ENGINE_ARGUMENTS...

vLLM's own health check stays green while its engine process is stopped or hangs, and a killed API server leaves the
engine running (0.32, measured): `openai_program` looks at the processes and at the steps of the engine.
"""

from __future__ import annotations

import functools
import glob
import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import engine_watch  # laid beside this file, as the next
import openai_program

_PLUGIN = "spark_sidecar"
_ENTRIES = ("vllm.entrypoints.launchers.api_server.entry", "vllm.entrypoints.openai.api_server")  # 0.30 moved it
# What the CPU build needs unless the user says otherwise: without a size for the cache it wants nearly all memory;
# compiling costs more than a job gains; shared prefixes shorter than a block (128 by default) are never found again.
_CPU_ARGUMENTS = {"--kv-cache-memory-bytes": "536870912", "--block-size": "32", "--enforce-eager": None}
_CPU_FLAGS = re.compile(r"^(?:flags|Features)\s*:(.*)$", re.MULTILINE)
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of x86 and of ARM
# One process less; threads that do not spin, and are not all bound to the first core, where several servers meet.
_CPU_ENVIRONMENT = {
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


def command(arguments: Sequence[str]) -> list[str]:
    """How to start the engine: by module, as the `vllm` command of the CPU build does not work (0.32)."""
    specification = importlib.util.find_spec("vllm")
    if specification is None or not specification.submodule_search_locations:
        raise SystemExit(f"{sys.executable} has no vllm; run `spark-sidecar env build vllm`")
    root = Path(next(iter(specification.submodule_search_locations))).parent
    entry = next(name for name in _ENTRIES if (root / f"{name.replace('.', '/')}.py").exists())
    extra = cpu_arguments(Path("/proc/cpuinfo").read_text(), arguments) if _is_cpu_build() else {}
    missing = [word for name, value in extra.items() if name not in arguments for word in (name, value) if word]
    return [sys.executable, "-m", entry, *arguments, *missing]


def _is_cpu_build() -> bool:
    return any(found.metadata["Name"] == "vllm-cpu" for found in importlib.metadata.distributions(name="vllm-cpu"))


def environment() -> dict[str, str]:
    """This process's, with our plugin among those that were chosen, and what the CPU build wants unless said."""
    chosen = {"VLLM_PLUGINS": f"{os.environ['VLLM_PLUGINS']},{_PLUGIN}"} if "VLLM_PLUGINS" in os.environ else {}
    return (_CPU_ENVIRONMENT if _is_cpu_build() else {}) | dict(os.environ) | chosen


def without_patterns(arguments: Sequence[str]) -> list[str]:
    """The arguments, with a link in place of a model whose path the engine would take for a pattern (to 0.32)."""
    words = list(arguments)
    place = words.index("--model") + 1 if "--model" in words else 0
    if place and glob.escape(words[place]) != words[place] and Path(words[place]).is_dir():
        link = Path(tempfile.mkdtemp()) / "model"
        link.symlink_to(words[place])
        words[place] = str(link)
    return words


def offer_plugin(folder: Path) -> None:
    """Have vLLM call `meet_in_a_file` in each of its processes; they find this program where they were started."""
    described = folder / f"{_PLUGIN}-1.dist-info"
    described.mkdir(exist_ok=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {_PLUGIN}\nVersion: 1\n")
    (described / "entry_points.txt").write_text(f"[vllm.general_plugins]\n{_PLUGIN} = program:meet_in_a_file\n")


def meet_in_a_file() -> None:
    """Have the processes of an engine find one another by a file, as newer engines do by themselves.

    0.19 has them meet at a port that is open on every interface, whatever --host and VLLM_HOST_IP say.
    """
    for name in ("uniproc_executor", "multiproc_executor"):
        executor: Any = importlib.import_module(f"vllm.v1.executor.{name}")
        if not hasattr(executor, "get_file_store_init_method"):
            executor.get_distributed_init_method = lambda *_: f"file://{tempfile.gettempdir()}/{uuid.uuid4().hex}"


def description(port: int) -> dict[str, str]:
    """What vLLM adds to the description of a model: its version, and the device that it runs on."""
    version = json.loads(engine_watch.get(port, "/version") or b"{}").get("version", "")
    return {"version": version, "device": "cpu" if _is_cpu_build() else "gpu"}


def main(announcement: str, port: str, stall_s: str, *arguments: str) -> None:
    """Run the engine until it ends or this process is told to stop."""
    offer_plugin(Path.cwd())
    words = command(without_patterns(arguments))
    described = functools.partial(description, int(port))
    sys.exit(
        openai_program.run(words, Path(announcement), int(port), float(stall_s), env=environment(), described=described)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
