"""The program of a Triton sidecar: runs the user's function in the sealed environment's interpreter.

    python triton_program.py PAYLOAD ANNOUNCEMENT HTTP_PORT GRPC_PORT METRICS_PORT

PAYLOAD holds a cloudpickled (function, keyword arguments). Imports nothing of this package: the sealed environment
does not hold it. The announcement appears when every bound model is ready, and is touched once a second: Triton
answers its health check while no model is loaded yet, and goes on to answer it while this process, which runs the
models, is stopped or hangs.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
from pytriton.triton import Triton

_BEAT_S = 1.0
_models: list[str] = []


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
    while not _models or not all(_get(http_port, f"/v2/models/{name}/ready") is not None for name in _models):
        time.sleep(0.05)
    described = {name: json.loads(_get(http_port, f"/v2/models/{name}/config") or "{}") for name in _models}
    beside = announcement.with_suffix(".new")
    beside.write_text(json.dumps({"models": described}))
    beside.replace(announcement)
    while True:
        announcement.touch()
        time.sleep(_BEAT_S)


def _get(port: int, path: str) -> bytes | None:
    """The body of a 200, else None. Not urllib: it would ask a proxy for a loopback address."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read() if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def main(payload: str, announcement: str, *ports: str) -> None:
    """Call the user's function with the ports; it returns when Triton was told to stop."""
    numbers = [int(port) for port in ports]
    _remember_binds()
    for method in ("serve", "run"):
        _announce_when(method, functools.partial(_beat, Path(announcement), numbers[0]))
    _fail_at_once()
    function, arguments = cloudpickle.loads(Path(payload).read_bytes())
    function(ports=numbers, **arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
