"""The program of a vLLM sidecar: vLLM's own command and environment, for `openai_program`, which runs and watches it.

    python program.py READINESS_FILE PORT STALL_S ENGINE_ARGUMENTS...

vLLM's own health check stays green while its engine process is stopped or hangs, and a killed API server leaves the
engine running (0.32, measured): `openai_program` looks at the processes and at the steps of the engine.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import engine_watch  # laid beside this file, as the next two
import openai_program
from engine_settings import CPU_ENVIRONMENT, is_cpu_build, with_cpu_options, without_patterns

_PLUGIN = "spark_sidecar"
_ENTRIES = ("vllm.entrypoints.launchers.api_server.entry", "vllm.entrypoints.openai.api_server")  # 0.30 moved it


def command(arguments: Sequence[str]) -> list[str]:
    """How to start the engine: by module, as the `vllm` command of the CPU build does not work (0.32)."""
    specification = importlib.util.find_spec("vllm")
    if specification is None or not specification.submodule_search_locations:
        raise SystemExit(f"{sys.executable} has no vllm; run `spark-sidecar env build vllm`")
    root = Path(next(iter(specification.submodule_search_locations))).parent
    entry = next(name for name in _ENTRIES if (root / f"{name.replace('.', '/')}.py").exists())
    return [sys.executable, "-m", entry, *with_cpu_options(arguments)]


def environment() -> dict[str, str]:
    """The engine's variables: this process's, our plugin, and those of the CPU build unless they are set."""
    chosen = {"VLLM_PLUGINS": f"{os.environ['VLLM_PLUGINS']},{_PLUGIN}"} if "VLLM_PLUGINS" in os.environ else {}
    return (CPU_ENVIRONMENT if is_cpu_build() else {}) | dict(os.environ) | chosen


def offer_plugin(folder: Path) -> None:
    """Have vLLM call `adjust` in each of its processes; they find this program where they were started."""
    described = folder / f"{_PLUGIN}-1.dist-info"
    described.mkdir(exist_ok=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {_PLUGIN}\nVersion: 1\n")
    (described / "entry_points.txt").write_text(f"[vllm.general_plugins]\n{_PLUGIN} = program:adjust\n")


def adjust() -> None:
    """Change what a sidecar needs otherwise. vLLM calls this in each of its processes."""
    meet_in_a_file()
    if is_cpu_build() and os.environ.get("VLLM_CPU_OMP_THREADS_BIND") == CPU_ENVIRONMENT["VLLM_CPU_OMP_THREADS_BIND"]:
        fork_engines()


def fork_engines() -> None:
    """Have engine processes forked, as on a GPU: they need not import vLLM again, and a start takes half the time.

    The CPU build spawns them, because it binds threads to cores (0.32, measured: 20 s of a processor, 11 s by a fork).
    """
    launcher: Any = importlib.import_module("vllm.v1.engine.utils")
    launcher.get_mp_context = functools.partial(multiprocessing.get_context, "fork")


def meet_in_a_file() -> None:
    """Have the processes of an engine connect by a file, as newer engines do by themselves.

    0.19 has them connect by a port that is open on every interface, whatever --host and VLLM_HOST_IP say.
    """
    for name in ("uniproc_executor", "multiproc_executor"):
        executor: Any = importlib.import_module(f"vllm.v1.executor.{name}")
        if not hasattr(executor, "get_file_store_init_method"):
            executor.get_distributed_init_method = lambda *_: f"file://{tempfile.gettempdir()}/{uuid.uuid4().hex}"


def description(port: int) -> dict[str, str]:
    """What is added to the description of a model: the version of vLLM, and the device that it runs on."""
    version = json.loads(engine_watch.get(port, "/version") or b"{}").get("version", "")
    return {"version": version, "device": "cpu" if is_cpu_build() else "gpu"}


def main(readiness_file: str, port: str, stall_s: str, *arguments: str) -> None:
    """Run the engine until it ends or this process is told to stop."""
    offer_plugin(Path.cwd())
    words = command(without_patterns(arguments))
    described = functools.partial(description, int(port))
    run = functools.partial(openai_program.run, env=environment(), described=described)
    sys.exit(run(words, Path(readiness_file), int(port), float(stall_s)))


if __name__ == "__main__":
    main(*sys.argv[1:])
