"""What pytriton 0.7 is made to do otherwise: laid beside `program.py`, which imports it.

It runs in the sealed environment, which does not hold this package: it imports nothing of it but `engine_watch`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import engine_watch  # laid beside this file
from pytriton import triton
from pytriton.client import utils
from pytriton.models import manager
from pytriton.triton import Triton, TritonConfig
from pytriton.utils.workspace import Workspace

_NO_DEADLINE_S = 1e9


def _around(name: str) -> Callable[[Callable[..., Any]], None]:
    """Have a function called in place of a method of `Triton`, with the method before its arguments."""

    def replace(function: Callable[..., Any]) -> None:
        original = getattr(Triton, name)

        @functools.wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            return function(original, self, *args, **kwargs)

        setattr(Triton, name, method)

    return replace


def stay_on_loopback() -> None:
    """Have `Triton` listen on loopback only, whatever its TritonConfig says.

    pytriton 0.7 lets an explicit http_address win over its own PYTRITON_TRITON_CONFIG_HTTP_ADDRESS, and the endpoints
    for SageMaker and Vertex AI know no address.
    """

    @_around("__init__")
    def _(make: Any, self: Any, *, config: TritonConfig | None = None, **kwargs: Any) -> None:
        loopback = dict.fromkeys(("http_address", "grpc_address", "metrics_address"), "127.0.0.1")
        closed = dict.fromkeys(("allow_sagemaker", "allow_vertex_ai"), False)
        make(self, config=dataclasses.replace(config or TritonConfig(), **loopback, **closed), **kwargs)


def own_ports(ports: Sequence[int]) -> None:
    """Have `Triton` listen on these ports (HTTP, gRPC, metrics) where its TritonConfig names none.

    Its defaults are the same for every server. One that serves HTTP elsewhere is told of: nobody would ever ask it.
    """
    names = ("http_port", "grpc_port", "metrics_port")

    @_around("__init__")
    def _(make: Any, self: Any, *, config: TritonConfig | None = None, **kwargs: Any) -> None:
        config = config or TritonConfig()
        unsaid = {name: port for name, port in zip(names, ports, strict=True) if getattr(config, name) is None}
        make(self, config=dataclasses.replace(config, **unsaid), **kwargs)

    @_around("connect")
    def _(connect: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        connect(self, *args, **kwargs)
        if self._config.allow_http is False or self._config.http_port != ports[0]:
            where = "is off" if self._config.allow_http is False else f"is at port {self._config.http_port}"
            engine_watch.end(f"Triton's HTTP {where}, and must be at ports[0]: say TritonConfig(http_port=ports[0], …)")


def own_workspace() -> None:
    """Have each `Triton` make a workspace of its own below PYTRITON_HOME, whatever path the function gives.

    A path that is made of the time is the same for two executors of a host, and for a server that starts again.
    pytriton refuses a folder that is there already, so nobody can have prepared one; a model repository is another
    setting.
    """
    original = Workspace.__init__

    @functools.wraps(original)
    def method(self: Any, workspace_path: Any = None) -> None:
        original(self)
        if workspace_path is not None:
            sys.stderr.write(f"The workspace is {self.path}, not {workspace_path}: each server has one of its own.\n")

    Workspace.__init__ = method


def trust_configs() -> None:
    """Have Triton load bound models as pytriton describes them, which is in full.

    To complete a config, Triton 2.51 starts the model's backend once more and ends it again: 1.2 s of every start. A
    repository of the user's own may need that.
    """

    @_around("__init__")
    def _(make: Any, self: Any, *, config: TritonConfig | None = None, **kwargs: Any) -> None:
        make(self, config=config, **kwargs)
        if config is None or config.model_repository is None:
            self._triton_server_config["strict_model_config"] = True


def tell_token(file: Path) -> None:
    """Have `Triton` write down the token by which clients of this host may share memory with it; empty for none.

    The file is private, as its folder is; pytriton 0.7 itself shows the token in tritonserver's arguments.
    """

    @_around("__init__")
    def _(make: Any, self: Any, **kwargs: Any) -> None:
        make(self, **kwargs)
        file.touch(mode=0o600)
        file.write_text(self.get_access_token() or "")


def remember_binds(models: list[str]) -> None:
    """Have `Triton.bind` note the names in `models`: pytriton 0.7 restricts Triton's own list of models."""

    @_around("bind")
    def _(bind: Any, self: Any, model_name: str, *args: Any, **kwargs: Any) -> None:
        bind(self, model_name, *args, **kwargs)
        models.append(model_name)


def announce(beat: Callable[[], None]) -> None:
    """Have `Triton.serve` and `Triton.run` start the beat."""
    for method in ("serve", "run"):

        @_around(method)
        def _(serve: Any, self: Any, *args: Any, **kwargs: Any) -> None:
            threading.Thread(target=beat, daemon=True).start()
            serve(self, *args, **kwargs)


def wait_well() -> None:
    """Have pytriton look for Triton and for its models twenty times a second, and leave the deadline to the supervisor.

    0.7 sleeps a second between two looks, and gives a Triton two minutes, whatever it has to load.
    """
    utils.time = types.SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(min(seconds, 0.05)))
    for module in (triton, manager):
        module.DEFAULT_TRITON_STARTUP_TIMEOUT_S = _NO_DEADLINE_S


def begin_anew_without_an_answer() -> None:
    """End this process, so that another takes its place, when Triton is silent over a model that it is told to load.

    2.51 was, once in some thousand starts, and nobody knows why. pytriton gives it a minute for what takes a second:
    the models of the user's function are in this process. `bind` is what loads them once Triton runs, else `connect`.
    """
    for method in ("bind", "connect"):

        @_around(method)
        def _(load: Any, self: Any, *args: Any, **kwargs: Any) -> None:
            try:
                load(self, *args, **kwargs)
            except TimeoutError:
                engine_watch.end("Triton did not answer while it loaded a model", status=os.EX_TEMPFAIL)


def end_with_triton(stopping: threading.Event) -> None:
    """Have `Triton.stop` end this process when nobody asked for it: tritonserver, or a thread of a model, has exited.

    pytriton calls it from a thread of its own then, and blocks there while it waits for the server to come up: a port
    in use would be told when the time for the start is over.
    """

    @_around("stop")
    def _(stop: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            engine_watch.end("Triton has exited")
        stopping.set()  # backends end on purpose from now on
        return stop(self, *args, **kwargs)


def fail_at_once() -> None:
    """End this process when the user's `with Triton(...)` block raises, or cannot be entered.

    Triton's own way out takes seconds, and ends with errors of its own that stand below the first.
    """

    def fail(*error: Any) -> None:
        traceback.print_exception(*error)
        sys.stderr.flush()
        os._exit(1)

    @_around("__enter__")
    def _(enter: Any, self: Any) -> Any:
        try:
            return enter(self)
        except Exception:  # noqa: BLE001 - whatever it is, it is the reason
            fail(*sys.exc_info())

    @_around("__exit__")
    def _(leave: Any, self: Any, kind: Any, *args: Any) -> None:
        if kind is not None and issubclass(kind, Exception):
            fail(kind, *args)
        leave(self, kind, *args)
