"""Ports for servers: chosen by the kernel, leased so that two supervisors of a host never choose the same one.

Servers take port numbers, not bound sockets. Between the choice and the bind another program may take the port: the
supervisor checks `all_free` when a start fails, and leases another one.

A lease is a name in Linux's abstract namespace of Unix sockets (unix(7)), which the same processes share that share
ports, whoever's they are and wherever their files are. Two supervisors with one port would not always notice: vLLM
binds with SO_REUSEPORT, and each of the two servers then gets some of the requests.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping

_LOOPBACK = "127.0.0.1"


class Lease:
    """Ports held for one server until `release` or the end of this process.

    ports: port by name, in the order of the names.
    """

    def __init__(self, names: Iterable[str], *, preferred: Mapping[str, int] | None = None) -> None:
        """Lease a port for each name. preferred: ports to take again where they are free: URLs then stay true."""
        self._names: list[socket.socket] = []
        self.ports = {name: self._take((preferred or {}).get(name)) for name in names}

    def release(self) -> None:
        """Give the ports back."""
        for name in self._names:
            name.close()
        self._names.clear()

    def all_free(self) -> bool:
        """Whether nobody listens on any of the ports."""
        return all(_free(port) for port in self.ports.values())

    def _take(self, preferred: int | None) -> int:
        if preferred and _free(preferred) and self._claim(preferred):
            return preferred
        while True:
            with socket.socket() as probe:
                probe.bind((_LOOPBACK, 0))
                port = int(probe.getsockname()[1])
                if self._claim(port):
                    return port

    def _claim(self, port: int) -> bool:
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0spark-sidecar/port/{port}")
        except OSError as error:
            name.close()
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        self._names.append(name)
        return True


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT is no listener
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
        return True
