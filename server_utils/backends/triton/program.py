"""The program of a Triton sidecar: runs the user's function in the sealed environment's interpreter.

    python program.py --folder=FOLDER --model=MODEL --http-port=PORT --grpc-port=PORT --metrics-port=PORT

FOLDER is the server's folder. It holds `function.pickle` and `modules.zip`, the user's own modules. The pickle is
(function, names of what it takes by position, names of what it takes by name), of `ports` and `model_path`, which is
MODEL, the folder on this host. The program imports nothing of this package: the sealed environment does not hold it.

It writes the readiness file `ready.json` when every bound model is ready, and touches it once a second. Triton
answers its health check while no model is loaded yet, and goes on to answer it while this process, which runs the
models, is stopped or hangs, and when the backend process between the two is dead.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cloudpickle
import engine_watch  # laid beside this file, as are the next two
import pytriton_patches
import task_context

_HEARTBEAT_S = 1.0
_BACKEND = "triton_python_backend_stub"[:15]  # the kernel keeps that much of a name
_models: list[str] = []
_stopping = threading.Event()


def _heartbeat(readiness_file: Path, http_port: int) -> None:
    """Wait until all models are ready, write what they take and give, then touch the file as long as they work."""
    while not _models or not all(
        engine_watch.get(http_port, f"/v2/models/{name}/ready") is not None for name in _models
    ):
        time.sleep(0.05)
    described = {name: json.loads(engine_watch.get(http_port, f"/v2/models/{name}/config") or "{}") for name in _models}
    engine_watch.write(readiness_file, {"models": described})
    # Triton's Python backend processes below this one: one per instance of a model.
    backends = [pid for pid, name in engine_watch.below(os.getpid()) if name == _BACKEND]
    while not _stopping.is_set():
        states = {pid: engine_watch.state(pid) for pid in backends}
        _end_without(backend for backend, state in states.items() if state in engine_watch.GONE)
        if engine_watch.STOPPED not in states.values():
            readiness_file.touch()
        time.sleep(_HEARTBEAT_S)


def _end_without(dead: Iterable[int]) -> None:
    """End this process when a backend did: Triton 2.51 says it is ready, and refuses every request from then on."""
    for pid in dead:
        if not _stopping.is_set():
            engine_watch.end(f"Triton's Python backend (process {pid}) has died, and Triton cannot replace it")


def _import_from(modules: Path) -> None:
    """Have the user's own modules found before any others, as on the driver."""
    folder = tempfile.mkdtemp(prefix="modules-")
    with zipfile.ZipFile(modules) as packed:
        packed.extractall(folder)
    sys.path.insert(0, folder)
    for ours in ("engine_watch", "pytriton_patches", "task_context"):  # theirs may have the same names
        sys.modules.pop(ours, None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", required=True)
    for port in ("http", "grpc", "metrics"):
        parser.add_argument(f"--{port}-port", type=int, required=True)
    return parser.parse_args()


def main() -> None:
    """Call the user's function with the ports; it returns when Triton was told to stop."""
    given = _arguments()
    ports = [given.http_port, given.grpc_port, given.metrics_port]
    task_context.install()
    pytriton_patches.install(
        pytriton_patches.Sidecar(
            ports=ports,
            token_file=given.folder / "token",
            heartbeat=functools.partial(_heartbeat, given.folder / "ready.json", given.http_port),
            models=_models,
            stopping=_stopping,
        )
    )
    _import_from(given.folder / "modules.zip")
    function, by_position, by_name = cloudpickle.loads((given.folder / "function.pickle").read_bytes())
    values: dict[str, Any] = {"ports": ports, "model_path": given.model}
    function(*(values[name] for name in by_position), **{name: values[name] for name in by_name})


if __name__ == "__main__":
    main()
