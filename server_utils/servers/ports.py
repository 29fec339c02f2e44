"""Ports for servers: chosen by the kernel, leased by a lock file so that two supervisors never choose the same one.

Servers take port numbers, not bound sockets. Between the choice and the bind another program may take the port: the
supervisor checks `all_free` when a start fails, and leases another one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from server_utils.host.files import try_exclusive_lock

_LOOPBACK = "127.0.0.1"


class Lease:
    """Ports held for one server until `release` or the end of this process.

    ports: port by name, in the order of the names.
    """

    def __init__(self, folder: Path, names: Iterable[str], *, preferred: Mapping[str, int] | None = None) -> None:
        """Lease a port for each name. preferred: ports to take again where they are free: URLs then stay true."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._locks: list[int] = []
        self.ports = {name: self._take((preferred or {}).get(name)) for name in names}

    def release(self) -> None:
        """Give the ports back."""
        for descriptor in self._locks:
            os.close(descriptor)
        self._locks.clear()

    def all_free(self) -> bool:
        """Whether nobody listens on any of the ports."""
        return all(_free(port) for port in self.ports.values())

    def _take(self, preferred: int | None) -> int:
        if preferred and _free(preferred) and self._lock(preferred):
            return preferred
        while True:
            with socket.socket() as probe:
                probe.bind((_LOOPBACK, 0))
                port = int(probe.getsockname()[1])
                if self._lock(port):
                    return port

    def _lock(self, port: int) -> bool:
        descriptor = try_exclusive_lock(self._folder / str(port))
        if descriptor is None:
            return False
        self._locks.append(descriptor)
        return True


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT is no listener
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
        return True
