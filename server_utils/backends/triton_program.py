"""The program of a Triton sidecar: runs the user's function in the sealed environment's interpreter.

    python triton_program.py PAYLOAD ANNOUNCEMENT MODEL HTTP_PORT GRPC_PORT METRICS_PORT

PAYLOAD holds a cloudpickled (function, keyword arguments), of which MODEL replaces model_path: it is the folder on this
host. Imports nothing of this package: the sealed environment
does not hold it. The announcement appears when every bound model is ready, and is touched once a second: Triton
answers its health check while no model is loaded yet, and goes on to answer it while this process, which runs the
models, is stopped or hangs, and when the backend process between the two is dead.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cloudpickle
import life  # laid beside this file
from pytriton.client import utils
from pytriton.triton import Triton, TritonConfig

_BEAT_S = 1.0
_BACKEND = "triton_python_backend_stub"[:15]  # the kernel keeps that much of a name
_models: list[str] = []
_stopping = threading.Event()


def _stay_on_loopback() -> None:
    """Have `Triton` listen on loopback only, whatever its TritonConfig says.

    pytriton 0.7 lets an explicit http_address win over its own PYTRITON_TRITON_CONFIG_HTTP_ADDRESS, and the endpoints
    for SageMaker and Vertex AI know no address.
    """
    original = Triton.__init__

    @functools.wraps(original)
    def make(self: Any, *, config: TritonConfig | None = None, **kwargs: Any) -> None:
        loopback = dict.fromkeys(("http_address", "grpc_address", "metrics_address"), "127.0.0.1")
        closed = dict.fromkeys(("allow_sagemaker", "allow_vertex_ai"), False)
        original(self, config=dataclasses.replace(config or TritonConfig(), **loopback, **closed), **kwargs)

    Triton.__init__ = make


def _trust_configs() -> None:
    """Have Triton load bound models as pytriton describes them, which is in full.

    To complete a config, Triton 2.51 starts the model's backend once more and ends it again: 1.2 s of every start. A
    repository of the user's own may need that.
    """
    original = Triton.__init__

    @functools.wraps(original)
    def make(self: Any, *, config: TritonConfig | None = None, **kwargs: Any) -> None:
        original(self, config=config, **kwargs)
        if config is None or config.model_repository is None:
            self._triton_server_config["strict_model_config"] = True

    Triton.__init__ = make


def _tell_token(file: Path) -> None:
    """Have `Triton` write down the token by which clients of this host may share memory with it; empty for none.

    The file is private, as its folder is; pytriton 0.7 itself shows the token in tritonserver's arguments.
    """
    original = Triton.__init__

    @functools.wraps(original)
    def make(self: Any, **kwargs: Any) -> None:
        original(self, **kwargs)
        file.touch(mode=0o600)
        file.write_text(self.get_access_token() or "")

    Triton.__init__ = make


def _remember_binds() -> None:
    """Have `Triton.bind` note the names: pytriton 0.7 restricts Triton's own list of models."""
    original = Triton.bind

    @functools.wraps(original)
    def bind(self: Any, model_name: str, *args: Any, **kwargs: Any) -> None:
        original(self, model_name, *args, **kwargs)
        _models.append(model_name)

    Triton.bind = bind


def _announce_when(method: str, beat: Callable[[], None]) -> None:
    """Have `Triton.serve` or `Triton.run` start the beat."""
    original = getattr(Triton, method)

    @functools.wraps(original)
    def serving(self: Any, *args: Any, **kwargs: Any) -> None:
        threading.Thread(target=beat, daemon=True).start()
        original(self, *args, **kwargs)

    setattr(Triton, method, serving)


def _look_more_often() -> None:
    """Have pytriton look for Triton and for its models twenty times a second: 0.7 sleeps a second between two looks."""
    utils.time = types.SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(min(seconds, 0.05)))


def _end_with_triton() -> None:
    """Have `Triton.stop` end this process when nobody asked for it: tritonserver, or a thread of a model, has exited.

    pytriton calls it from a thread of its own then, and blocks there while it waits for the server to come up: a port
    in use would be told after two minutes.
    """
    original = Triton.stop

    @functools.wraps(original)
    def stop(self: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            life.end("Triton has exited")
        _stopping.set()  # backends end on purpose from now on
        return original(self, *args, **kwargs)

    Triton.stop = stop


def _fail_at_once() -> None:
    """End this process when the user's `with Triton(...)` block raises: Triton's own way out takes seconds."""
    original = Triton.__exit__

    @functools.wraps(original)
    def leave(self: Any, kind: Any, *args: Any) -> None:
        if kind is not None and issubclass(kind, Exception):
            traceback.print_exception(kind, *args)
            sys.stderr.flush()
            os._exit(1)
        original(self, kind, *args)

    Triton.__exit__ = leave


def _beat(announcement: Path, http_port: int) -> None:
    """Wait until all models are ready, announce what they take and give, then show life for ever."""
    while not _models or not all(life.get(http_port, f"/v2/models/{name}/ready") is not None for name in _models):
        time.sleep(0.05)
    described = {name: json.loads(life.get(http_port, f"/v2/models/{name}/config") or "{}") for name in _models}
    life.write(announcement, {"models": described})
    # Triton's Python backend processes below this one: one per instance of a model.
    backends = [pid for pid, name in life.below(os.getpid()) if name == _BACKEND]
    while not _stopping.is_set():
        states = {pid: life.state(pid) for pid in backends}
        _end_without(backend for backend, state in states.items() if state in life.GONE)
        if life.STOPPED not in states.values():
            announcement.touch()
        time.sleep(_BEAT_S)


def _end_without(dead: Iterable[int]) -> None:
    """End this process when a backend did: Triton 2.6x says it is ready, and refuses every request from then on."""
    for pid in dead:
        if not _stopping.is_set():
            life.end(f"Triton's Python backend (process {pid}) has died, and Triton cannot replace it")


def main(payload: str, announcement: str, model: str, *ports: str) -> None:
    """Call the user's function with the ports; it returns when Triton was told to stop."""
    numbers = [int(port) for port in ports]
    _stay_on_loopback()
    _trust_configs()
    _tell_token(Path(announcement).with_name("token"))
    _remember_binds()
    for method in ("serve", "run"):
        _announce_when(method, functools.partial(_beat, Path(announcement), numbers[0]))
    _look_more_often()
    _end_with_triton()
    _fail_at_once()
    function, arguments = cloudpickle.loads(Path(payload).read_bytes())
    if "model_path" in arguments:
        arguments["model_path"] = model
    function(ports=numbers, **arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
