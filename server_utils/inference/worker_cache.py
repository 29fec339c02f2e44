"""Connections that a Python worker keeps between tasks, and the servers that they lead to. Executors.

Spark uses a Python worker for many tasks. To connect once per task would cost each of them new sockets and threads, and
what was learnt of a server, such as how many rows it takes at a time, would be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

from server_utils.servers import gpu_assignment, lifecycle, state_dir
from server_utils.servers.launch import Launch, Server
from server_utils.spark.executors import current_placement

T = TypeVar("T")


class WorkerCache(Generic[T]):
    """The connections of this worker: one `T` for each launch, and for each set of options. Not for several threads."""

    def __init__(self, close: Callable[[T], object] = lambda _: None) -> None:
        """close: is handed the connections that are given up."""
        self._close = close
        self._kept: dict[tuple[str, str, Hashable], T] = {}

    def get(self, launch: Launch, connect: Callable[[], T], *, options: Hashable = None) -> T:
        """The connections to the servers of a launch, made by `connect` where there are none yet.

        Those to an earlier launch of the same servers are given up.

        Args:
            launch: whose servers get the requests.
            connect: makes the connections. What it raises is raised, and nothing is kept.
            options: what else must be equal for connections to be used again.
        """
        for stale in [key for key in self._kept if key[0] == launch.name and key[1] != launch.id]:
            self._close(self._kept.pop(stale))
        key = (launch.name, launch.id, options)
        if key not in self._kept:
            self._kept[key] = connect()
        return self._kept[key]


def ready_server(launch: Launch, replica: int = 0) -> Server:
    """A server of this executor; the running task starts it where there is none.

    replica: which of the executor's servers, from 0.

    Raises:
        ServerUnavailableError, ServerStartError: it is not there and cannot be started.
    """
    placement = current_placement()
    environ = gpu_assignment.environment(placement.gpus, launch, replica) | dict(placement.environ)
    return lifecycle.ensure(launch, placement.owner, replica=replica, timeout_s=launch.start_timeout_s, environ=environ)


def server_folder(launch: Launch, replica: int = 0) -> Path:
    """The folder of a server of this executor, where it may not have been started yet."""
    return state_dir.folder(launch.application, launch.name, current_placement().owner, replica)
