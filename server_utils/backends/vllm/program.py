"""The program of a vLLM sidecar: runs the engine's OpenAI server below itself, announces it, and watches it.

    python vllm_program.py ANNOUNCEMENT PORT STALL_S ENGINE_ARGUMENTS...

vLLM's own health check stays green while its engine process is stopped or hangs, and a killed API server leaves the
engine running (0.32, measured). So the announcement is touched only while the engine is seen to work, and this
process ends with any of the engine's: its supervisor then ends them all and starts again. Each time it looks it leaves
what the engine says of itself in `metrics.json` beside the announcement.
"""

from __future__ import annotations

import glob
import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import engine_watch  # laid beside this file

_BEAT_S = 0.5
_PLUGIN = "spark_sidecar"
_ENTRIES = ("vllm.entrypoints.launchers.api_server.entry", "vllm.entrypoints.openai.api_server")  # 0.30 moved it
_ENDPOINTS = ("/v1/completions", "/v1/chat/completions", "/v1/chat/completions/batch", "/v1/embeddings")
_SAMPLE = re.compile(r"^(vllm:\w+?)(?:\{[^}]*\})? ([-+.\deEinfNa]+)$", re.MULTILINE)
# What the CPU build needs unless the user says otherwise: without a size for the cache it wants nearly all memory;
# compiling costs more than a job gains; shared prefixes shorter than a block (128 by default) are never found again.
_CPU_ARGUMENTS = {"--kv-cache-memory-bytes": "536870912", "--block-size": "32", "--enforce-eager": None}
# One process less; threads that do not spin, and are not all bound to the first core, where several servers meet.
_CPU_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_WAIT_POLICY": "PASSIVE",
}
# The gauges are added up over the engines of one server, and so are the counters.
_METRICS = {
    "running": "vllm:num_requests_running",
    "waiting": "vllm:num_requests_waiting",
    "kv_cache_usage": "vllm:kv_cache_usage_perc",
    "tokens_in": "vllm:prompt_tokens_total",
    "tokens_out": "vllm:generation_tokens_total",
    "prefix_queries": "vllm:prefix_cache_queries_total",
    "prefix_hits": "vllm:prefix_cache_hits_total",
    "preemptions": "vllm:num_preemptions_total",
    "steps": "vllm:iteration_tokens_total_count",
}


def command(arguments: Sequence[str]) -> list[str]:
    """How to start the engine: by module, as the `vllm` command of the CPU build does not work (0.32)."""
    specification = importlib.util.find_spec("vllm")
    if specification is None or not specification.submodule_search_locations:
        raise SystemExit(f"{sys.executable} has no vllm; run `spark-sidecar env build vllm`")
    root = Path(next(iter(specification.submodule_search_locations))).parent
    entry = next(name for name in _ENTRIES if (root / f"{name.replace('.', '/')}.py").exists())
    extra = _CPU_ARGUMENTS if _is_cpu_build() else {}
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


def metrics(text: str) -> dict[str, float]:
    """What the engine says of itself, from its Prometheus page."""
    sums: dict[str, float] = {}
    for name, value in _SAMPLE.findall(text):
        sums[name] = sums.get(name, 0.0) + float(value)
    return {short: sums.get(name, 0.0) for short, name in _METRICS.items()}


def description(port: int) -> dict[str, Any]:
    """What the server offers: model name -> context length, engine's version, device, fields of each request."""
    models = json.loads(engine_watch.get(port, "/v1/models", key=os.environ.get("VLLM_API_KEY")) or b'{"data": []}')[
        "data"
    ]
    version = json.loads(engine_watch.get(port, "/version") or b"{}").get("version", "")
    openapi = json.loads(engine_watch.get(port, "/openapi.json", timeout_s=30) or b"{}")
    fields = {path: found for path in _ENDPOINTS if (found := _fields(openapi, path))}
    engine = {"version": version, "device": "cpu" if _is_cpu_build() else "gpu", "fields": fields}
    return {m["id"]: {"max_model_len": m.get("max_model_len"), **engine} for m in models}


def _fields(openapi: Mapping[str, Any], path: str) -> list[str]:
    """The names that a request to this path may hold; none where the server does not offer it."""
    try:
        schema = openapi["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    except KeyError:
        return []
    names: set[str] = set()
    schemas = [schema]
    while schemas:
        schema = schemas.pop()
        if "$ref" in schema:
            schema = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        names |= set(schema.get("properties", {}))
        schemas += [*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", [])]
    return sorted(names)


class Watch:
    """Looks after an engine that has started."""

    def __init__(self, engine: int, port: int, announcement: Path, stall_s: float) -> None:
        """engine: the id of the API server. stall_s: seconds without a step while requests wait."""
        self._port, self._stall_s = port, stall_s
        self._announcement, self._metrics = announcement, announcement.with_name("metrics.json")
        self._parts = [engine, *(pid for pid, _ in engine_watch.below(engine))]
        self._last, self._since = -1.0, time.monotonic()
        engine_watch.write(announcement, {"models": description(port)})

    def look(self) -> None:
        """One look: note the metrics, and touch the announcement if the engine works."""
        states = {pid: engine_watch.state(pid) for pid in self._parts}
        for pid, letter in states.items():
            if letter in engine_watch.GONE:
                engine_watch.end(f"a process of the engine ({pid}) has died")
        page = engine_watch.get(self._port, "/metrics")
        if page is None or engine_watch.STOPPED in states.values():
            return
        found = metrics(page.decode())
        engine_watch.write(self._metrics, found | {"at": time.time()})
        if self._works(found):
            self._announcement.touch()

    def _works(self, found: Mapping[str, float]) -> bool:
        """Whether it takes steps, or has nothing to do. A step of a large model on a CPU may take long."""
        busy = found["running"] + found["waiting"] > 0
        if not busy or found["steps"] != self._last:
            self._last, self._since = found["steps"], time.monotonic()
        return time.monotonic() - self._since < self._stall_s


def main(announcement: str, port: str, stall_s: str, *arguments: str) -> None:
    """Run the engine until it ends or this process is told to."""
    offer_plugin(Path.cwd())
    engine = subprocess.Popen(command(without_patterns(arguments)), env=environment())
    told: list[int] = []

    def stop(number: int, _: Any) -> None:
        told.append(number)
        engine.terminate()

    signal.signal(signal.SIGTERM, stop)
    watch = None
    while engine.poll() is None:
        if watch:
            watch.look()
        elif engine_watch.get(int(port), "/health") is not None:
            watch = Watch(engine.pid, int(port), Path(announcement), float(stall_s))
        try:
            engine.wait(_BEAT_S)
        except subprocess.TimeoutExpired:
            continue
    status = engine.returncode if engine.returncode >= 0 else 128 - engine.returncode
    sys.exit(status if told else status or 1)  # an API server whose engine has died ends with 0


if __name__ == "__main__":
    main(*sys.argv[1:])
