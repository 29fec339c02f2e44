"""What pytriton 0.7 does differently in a sidecar: laid beside `program.py`, which imports it.

`install` replaces `pytriton.triton.Triton` by a subclass, before the user's function imports it, and changes three
module-level settings of pytriton. It runs in the sealed environment, which does not hold this package: it imports
nothing of it but `engine_watch`.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import engine_watch  # laid beside this file
from pytriton import triton
from pytriton.client import utils
from pytriton.models import manager
from pytriton.triton import Triton, TritonConfig
from pytriton.utils.workspace import Workspace

_NO_DEADLINE_S = 1e9
_PORTS = ("http_port", "grpc_port", "metrics_port")
_LOOPBACK = dict.fromkeys(("http_address", "grpc_address", "metrics_address"), "127.0.0.1")
# They know no address, and would listen everywhere.
_CLOSED = dict.fromkeys(("allow_sagemaker", "allow_vertex_ai"), False)


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """What a server's program and its `Triton` share.

    Attributes:
        ports: HTTP, gRPC, metrics.
        token_file: where the token is written by which clients of this host may share memory with Triton.
        heartbeat: runs in a thread of its own once Triton serves.
        models: names of the models that were bound: pytriton 0.7 restricts Triton's own list of models.
        stopping: set once the server was told to stop.
    """

    ports: Sequence[int]
    token_file: Path
    heartbeat: Callable[[], None]
    models: list[str]
    stopping: threading.Event


def install(sidecar: Sidecar) -> None:
    """Have every `Triton` of this process serve as a sidecar."""
    SidecarTriton.sidecar = sidecar
    triton.Triton = SidecarTriton
    own_workspace()
    poll_often_without_deadline()


class SidecarTriton(Triton):  # type: ignore[misc]  # pytriton has no types
    """A `Triton` on the loopback ports of its sidecar, which ends this process as soon as it cannot serve."""

    sidecar: ClassVar[Sidecar]

    def __init__(self, *, config: TritonConfig | None = None, **kwargs: Any) -> None:
        """As `Triton`; addresses, and ports that the config does not name, are the sidecar's."""
        super().__init__(config=self._own_config(config or TritonConfig()), **kwargs)
        if config is None or config.model_repository is None:
            # To complete a config, Triton 2.51 starts the model's backend once more and ends it again: 1.2 s of every
            # start. pytriton describes bound models in full; a repository of the user's own may need it.
            self._triton_server_config["strict_model_config"] = True
        # Private, as its folder is; pytriton 0.7 itself shows the token in tritonserver's arguments.
        self.sidecar.token_file.touch(mode=0o600)
        self.sidecar.token_file.write_text(self.get_access_token() or "")

    def _own_config(self, config: TritonConfig) -> TritonConfig:
        """A config on loopback and on ports of our own: pytriton's defaults are the same for every server.

        pytriton 0.7 lets an explicit http_address win over its own PYTRITON_TRITON_CONFIG_HTTP_ADDRESS.
        """
        ports = zip(_PORTS, self.sidecar.ports, strict=True)
        missing = {name: port for name, port in ports if getattr(config, name) is None}
        return dataclasses.replace(config, **missing, **_LOOPBACK, **_CLOSED)

    def bind(self, model_name: str, *args: Any, **kwargs: Any) -> None:
        """As `Triton`; loads the model if Triton runs already."""
        with _restarting_without_answer():
            super().bind(model_name, *args, **kwargs)
        self.sidecar.models.append(model_name)

    def connect(self) -> None:
        """As `Triton`; loads the bound models. Ends this process where its HTTP is not at ports[0]."""
        with _restarting_without_answer():
            super().connect()
        port = self.sidecar.ports[0]
        if self._config.allow_http is False or self._config.http_port != port:
            where = "is off" if self._config.allow_http is False else f"is at port {self._config.http_port}"
            engine_watch.end(f"Triton's HTTP {where}, and must be at ports[0]: say TritonConfig(http_port=ports[0], …)")

    def run(self) -> None:
        """As `Triton`, with the heartbeat."""
        self._start_heartbeat()
        super().run()

    def serve(self, *args: Any, **kwargs: Any) -> None:
        """As `Triton`, with the heartbeat."""
        self._start_heartbeat()
        super().serve(*args, **kwargs)

    def _start_heartbeat(self) -> None:
        threading.Thread(target=self.sidecar.heartbeat, daemon=True).start()

    def stop(self) -> Any:
        """As `Triton`; ends this process if it was not told to stop: tritonserver, or a thread of a model, has exited.

        pytriton stops from a thread of its own then, and blocks there while it waits for the server to come up: a port
        in use would be reported when the time for the start is over.
        """
        if threading.current_thread() is not threading.main_thread():
            engine_watch.end("Triton has exited")
        self.sidecar.stopping.set()  # backends end on purpose from now on
        return super().stop()

    def __enter__(self) -> Self:
        """As `Triton`; ends this process at once if it cannot be entered."""
        try:
            super().__enter__()
        except Exception:  # noqa: BLE001 - whatever it is, it is the reason
            _fail(*sys.exc_info())
        return self

    def __exit__(self, kind: type[BaseException] | None, *args: object) -> None:
        """As `Triton`; ends this process at once if the block has raised.

        Triton's own way out takes seconds, and ends with errors of its own that stand below the first.
        """
        if kind is not None and issubclass(kind, Exception):
            _fail(kind, *args)
        super().__exit__(kind, *args)


@contextmanager
def _restarting_without_answer() -> Iterator[None]:
    """End this process, so that another takes its place, when Triton does not answer while it loads a model.

    Triton 2.51 did not answer once in some thousand starts; the cause is unknown. pytriton waits a minute for an
    answer that takes a second: the models of the user's function are in this process.
    """
    try:
        yield
    except TimeoutError:
        engine_watch.end("Triton did not answer while it loaded a model", status=os.EX_TEMPFAIL)


def _fail(*error: Any) -> None:
    traceback.print_exception(*error)
    sys.stderr.flush()
    os._exit(1)


def own_workspace() -> None:
    """Have each `Triton` make a workspace of its own below PYTRITON_HOME, whatever path the function gives.

    A path that is made of the time is the same for two executors of a host, and for a server that starts again.
    pytriton refuses a folder that is there already, so nobody can have prepared one; a model repository is another
    setting.
    """
    original = Workspace.__init__

    @functools.wraps(original)
    def make(self: Any, workspace_path: Any = None) -> None:
        original(self)
        if workspace_path is not None:
            sys.stderr.write(f"The workspace is {self.path}, not {workspace_path}: each server has one of its own.\n")

    Workspace.__init__ = make


def poll_often_without_deadline() -> None:
    """Have pytriton poll Triton and its models twenty times a second, and leave the deadline to the supervisor.

    0.7 sleeps a second between two polls, and gives a Triton two minutes, whatever it has to load.
    """
    utils.time = types.SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(min(seconds, 0.05)))
    for module in (triton, manager):
        module.DEFAULT_TRITON_STARTUP_TIMEOUT_S = _NO_DEADLINE_S
