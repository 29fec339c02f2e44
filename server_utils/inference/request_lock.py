"""Requests to a server beside others or alone, across all processes of a host. Executors; no Spark.

Triton merges requests that wait at the same time, and refuses all of them for one bad row. Who wants to know whether
its own row is to blame asks alone.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def together(folder: Path) -> Iterator[None]:
    """Beside others. folder: the server's; waits while somebody is alone, or wants to be."""
    turn = _lock(folder / "turn", fcntl.LOCK_SH)
    try:
        room = _lock(folder / "room", fcntl.LOCK_SH)
    finally:
        os.close(turn)
    try:
        yield
    finally:
        os.close(room)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Beside nobody: waits until all others have their answers, and lets no new ones in meanwhile."""
    turn = _lock(folder / "turn", fcntl.LOCK_EX)
    try:
        room = _lock(folder / "room", fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(room)
    finally:
        os.close(turn)


def _lock(path: Path, kind: int) -> int:
    """An open file that holds the lock, until it is closed or this process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, kind)
    return descriptor
