"""Connections that a Python worker keeps between tasks. Executors.

Spark uses a Python worker for many tasks. A connection per task would cost each of them new sockets and threads. It
would lose what was learnt of a server, such as how many rows it takes at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from server_utils.servers.launch import Launch

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
