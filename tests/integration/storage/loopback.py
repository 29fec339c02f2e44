"""Refuses every connection beyond this machine, and every question for a name's address. Imported once per process.

An audit hook, so that no client can go around it. What it has refused is noted, as a client may hide the error.
"""

from __future__ import annotations

import ipaddress
import socket
import sys

refused: list[str] = []


def _is_here(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _hook(event: str, arguments: tuple) -> None:
    if event in ("socket.connect", "socket.sendto"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None  # a path is a Unix socket
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if not _is_here(host) and host != socket.gethostname():
        refused.append(f"{event} {host}")
        raise ConnectionRefusedError(f"tests stay on this machine: {event} {host}")


sys.addaudithook(_hook)
