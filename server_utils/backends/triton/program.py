"""The program of a Triton sidecar: runs the user's function in the sealed environment's interpreter.

    python program.py PAYLOAD MODULES ANNOUNCEMENT MODEL HTTP_PORT GRPC_PORT METRICS_PORT

PAYLOAD holds a cloudpickled (function, names of what it takes by position, names of what it takes by name): of `ports`
and `model_path`, which is MODEL, the folder on this host. MODULES is a zip file of the user's own modules. Imports
nothing of this package: the sealed environment does not hold it. The announcement appears when every bound model is
ready, and is touched once a second: Triton answers its health check while no model is loaded yet, and goes on to answer
it while this process, which runs the models, is stopped or hangs, and when the backend process between the two is dead.
"""

from __future__ import annotations

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
import pytriton_patches as patches
import task_context

_BEAT_S = 1.0
_BACKEND = "triton_python_backend_stub"[:15]  # the kernel keeps that much of a name
_models: list[str] = []
_stopping = threading.Event()


def _beat(announcement: Path, http_port: int) -> None:
    """Wait until all models are ready, announce what they take and give, then show engine_watch for ever."""
    while not _models or not all(
        engine_watch.get(http_port, f"/v2/models/{name}/ready") is not None for name in _models
    ):
        time.sleep(0.05)
    described = {name: json.loads(engine_watch.get(http_port, f"/v2/models/{name}/config") or "{}") for name in _models}
    engine_watch.write(announcement, {"models": described})
    # Triton's Python backend processes below this one: one per instance of a model.
    backends = [pid for pid, name in engine_watch.below(os.getpid()) if name == _BACKEND]
    while not _stopping.is_set():
        states = {pid: engine_watch.state(pid) for pid in backends}
        _end_without(backend for backend, state in states.items() if state in engine_watch.GONE)
        if engine_watch.STOPPED not in states.values():
            announcement.touch()
        time.sleep(_BEAT_S)


def _end_without(dead: Iterable[int]) -> None:
    """End this process when a backend did: Triton 2.51 says it is ready, and refuses every request from then on."""
    for pid in dead:
        if not _stopping.is_set():
            engine_watch.end(f"Triton's Python backend (process {pid}) has died, and Triton cannot replace it")


def _offer(modules: str) -> None:
    """Have the user's own modules found before any others, as on the driver."""
    folder = tempfile.mkdtemp(prefix="modules-")
    with zipfile.ZipFile(modules) as packed:
        packed.extractall(folder)
    sys.path.insert(0, folder)
    for ours in ("engine_watch", "pytriton_patches", "task_context"):  # theirs may have the same names
        sys.modules.pop(ours, None)


def main(payload: str, modules: str, announcement: str, model: str, *ports: str) -> None:
    """Call the user's function with the ports; it returns when Triton was told to stop."""
    numbers = [int(port) for port in ports]
    folder = Path(announcement).parent
    task_context.know_the_task()
    patches.stay_on_loopback()
    patches.own_ports(numbers)
    patches.own_workspace()
    patches.trust_configs()
    patches.tell_token(folder / "token")
    patches.remember_binds(_models)
    patches.announce(functools.partial(_beat, Path(announcement), numbers[0]))
    patches.wait_well()
    patches.begin_anew_without_an_answer()
    patches.end_with_triton(_stopping)
    patches.fail_at_once()
    _offer(modules)
    function, by_position, by_name = cloudpickle.loads(Path(payload).read_bytes())
    values: dict[str, Any] = {"ports": numbers, "model_path": model}
    function(*(values[name] for name in by_position), **{name: values[name] for name in by_name})


if __name__ == "__main__":
    main(*sys.argv[1:])
