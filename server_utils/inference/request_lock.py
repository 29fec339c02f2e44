"""A reader-writer lock around the requests to a server, for all processes of a host. Executors; no Spark.

Triton merges requests that wait at the same time, and refuses all of them for one bad row; an engine that crashes fails
all requests that it works on. So requests are shared by default: any number runs at once. One that must know whether
its own row is to blame is exclusive: it runs while no other does.

An exclusive request goes first: once it waits, no new shared request begins. Else it could wait for ever.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from server_utils.host import files

_ADMISSION = "admission.lock"  # shared for a moment by each that begins; an exclusive one keeps it until its end
_RUNNING = "requests.lock"


@contextmanager
def shared_request(folder: Path) -> Iterator[None]:
    """Run beside other shared requests. folder: the server's. Waits while an exclusive request runs, or waits."""
    admission = files.shared_lock(folder / _ADMISSION)
    try:
        running = files.shared_lock(folder / _RUNNING)
    finally:
        os.close(admission)
    try:
        yield
    finally:
        os.close(running)


@contextmanager
def exclusive_request(folder: Path) -> Iterator[None]:
    """Run beside no other request. folder: the server's. Waits for those that run, and lets none begin meanwhile."""
    with files.exclusive_lock(folder / _ADMISSION), files.exclusive_lock(folder / _RUNNING):
        yield


def of_request(folder: Path, *, exclusive: bool) -> AbstractContextManager[None]:
    """The lock of a request: exclusive or shared. folder: the server's."""
    return exclusive_request(folder) if exclusive else shared_request(folder)
