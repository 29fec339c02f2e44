"""The program of an OpenAI-compatible sidecar: runs the engine's server below itself, and watches it.

    python program.py READINESS_FILE PORT STALL_S COMMAND...

It writes the readiness file, with a description of the model, once the engine takes requests. An engine's own health
check may stay green while a process of it is stopped, hangs or has died. So this program touches that file, its
heartbeat, only while the engine works. It ends with any process of the engine: its supervisor then ends them all and
starts again. With each heartbeat it writes the engine's metrics to `metrics.json` beside the readiness file.

It runs where this package is not: standard library only. `engine.json` beside it has what the manager knows of the
engine (`Settings`). A backend whose engine needs more has a program of its own that calls `run`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import engine_watch  # laid beside this file

_INTERVAL_S = 0.5
_ENDPOINTS = ("/v1/completions", "/v1/chat/completions", "/v1/chat/completions/batch", "/v1/embeddings")
_SAMPLE = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{[^}]*\})? ([-+.\deEinfNa]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Settings:
    """What the manager knows of the engine.

    Attributes:
        model: the name that the model is served by.
        health: path that answers 200 once the model takes requests.
        metrics: what the package follows -> the engine's name of it. Samples of one name are added up.
        metrics_path: where they are; None where there are none.
        key_variable: the environment variable that holds the server's API key, where it may have one.
    """

    model: str
    health: str = "/health"
    metrics: Mapping[str, str] = field(default_factory=dict)
    metrics_path: str | None = None
    key_variable: str | None = None

    @property
    def key(self) -> str | None:
        """The server's API key."""
        return os.environ.get(self.key_variable) if self.key_variable else None


def read_settings() -> Settings:
    """The settings beside this program."""
    return Settings(**json.loads(Path(__file__).with_name("engine.json").read_text()))


def read_metrics(page: str, names: Mapping[str, str]) -> dict[str, float]:
    """The values of a Prometheus page by the names that the package uses."""
    sums: dict[str, float] = {}
    for name, value in _SAMPLE.findall(page):
        sums[name] = sums.get(name, 0.0) + float(value)
    return {short: sums.get(name, 0.0) for short, name in names.items()}


def describe(settings: Settings, port: int, engine: Mapping[str, Any]) -> dict[str, Any]:
    """Model name -> context length, and the fields that each endpoint takes; None where the server does not say.

    engine: what the backend adds to each.
    """
    page = engine_watch.get(port, "/v1/models", key=settings.key)
    models = {each["id"]: each for each in json.loads(page or b"{}").get("data", [])}
    openapi = json.loads(engine_watch.get(port, "/openapi.json", timeout_s=30) or b"{}")
    fields = {path: each for path in _ENDPOINTS if (each := _fields(openapi, path)) is not None} if openapi else None
    if settings.model not in models:  # it knows its only model by another name
        models = {settings.model: next(iter(models.values()), {})}
    lengths = {name: each.get("max_model_len") for name, each in models.items()}
    return {name: {"max_model_len": length, "fields": fields, **engine} for name, length in lengths.items()}


def _fields(openapi: Mapping[str, Any], path: str) -> list[str] | None:
    """The names that a request to this path may hold, none where any may; None where the path is not offered."""
    operation = openapi.get("paths", {}).get(path, {}).get("post")
    if operation is None:
        return None
    content = operation.get("requestBody", {}).get("content", {})
    schemas = [content.get("application/json", {}).get("schema", {})]
    names: set[str] = set()
    while schemas:
        schema = schemas.pop()
        if "$ref" in schema:
            schema = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        names |= set(schema.get("properties", {}))
        schemas += [*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", [])]
    return sorted(names)


class Watch:
    """Follows an engine that is ready."""

    def __init__(
        self, settings: Settings, pids: Sequence[int], ports: Sequence[int], readiness_file: Path, stall_s: float
    ) -> None:
        """pids: its processes. ports: where its metrics are. stall_s: seconds without a step while requests wait."""
        self._settings, self._pids, self._ports, self._stall_s = settings, pids, ports, stall_s
        self._readiness_file, self._metrics_file = readiness_file, readiness_file.with_name("metrics.json")
        self._last_steps, self._last_progress = -1.0, time.monotonic()

    def check(self) -> None:
        """Send a heartbeat, or end this process if one of the engine's has died."""
        for pid in self._pids:
            if engine_watch.state(pid) in engine_watch.GONE:
                engine_watch.end(f"a process of the engine ({pid}) has died")
        self.send_heartbeat()

    def send_heartbeat(self) -> None:
        """Write the metrics, and touch the readiness file if the engine works."""
        path = self._settings.metrics_path or self._settings.health
        pages = [engine_watch.get(port, path) for port in self._ports]
        if None in pages or any(engine_watch.state(pid) == engine_watch.STOPPED for pid in self._pids):
            return
        if self._settings.metrics_path is None:
            self._readiness_file.touch()
            return
        metrics = read_metrics("\n".join(page.decode() for page in pages if page), self._settings.metrics)
        if "kv_cache_usage" in metrics:  # a share, not a count
            metrics["kv_cache_usage"] /= len(pages)
        engine_watch.write(self._metrics_file, metrics | {"at": time.time()})
        if self._makes_progress(metrics):
            self._readiness_file.touch()

    def _makes_progress(self, metrics: Mapping[str, float]) -> bool:
        """Whether it takes steps, or has nothing to do. A step of a large model on a CPU may take long."""
        busy = metrics.get("running", 0.0) + metrics.get("waiting", 0.0) > 0
        steps = metrics.get("steps")
        if not busy or steps is None or steps != self._last_steps:
            self._last_steps, self._last_progress = -1.0 if steps is None else steps, time.monotonic()
        return time.monotonic() - self._last_progress < self._stall_s


def run(
    command: Sequence[str],
    readiness_file: Path,
    port: int,
    stall_s: float,
    *,
    env: Mapping[str, str] | None = None,
    described: Callable[[], Mapping[str, Any]] = dict,
) -> int:
    """Run the engine until it ends or this process is told to stop. Returns the exit status.

    described: called once the engine is ready; returns what the backend adds to the description of each model.
    """
    settings = read_settings()
    if shutil.which(command[0]) is None:
        engine_watch.end(f"there is no command {command[0]!r} on this host: install it on every node, or correct PATH")
    engine = subprocess.Popen(command, env=None if env is None else dict(env))
    stop_signals: list[int] = []

    def stop(number: int, _: Any) -> None:
        stop_signals.append(number)
        engine.terminate()

    signal.signal(signal.SIGTERM, stop)
    watch = None
    while engine.poll() is None:
        if watch:
            watch.check()
        elif engine_watch.get(port, settings.health) is not None:
            pids = [engine.pid, *(pid for pid, _ in engine_watch.below(engine.pid))]
            watch = Watch(settings, pids, [port], readiness_file, stall_s)
            engine_watch.write(readiness_file, {"models": describe(settings, port, described())})
        try:
            engine.wait(_INTERVAL_S)
        except subprocess.TimeoutExpired:
            continue
    status = engine.returncode if engine.returncode >= 0 else 128 - engine.returncode
    return status if stop_signals else status or 1  # a front end whose engine has died may end with 0


if __name__ == "__main__":
    _readiness_file, _port, _stall_s, *_command = sys.argv[1:]
    sys.exit(run(_command, Path(_readiness_file), int(_port), float(_stall_s)))
