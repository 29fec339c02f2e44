"""Copies the log of a server to where it outlives its node: a volume or a bucket. In the supervisor; no Spark.

The end of the log goes there once a minute where it has changed, and once more when the server has ended. Such places
may take whole files only, so the copy is written anew. A place that hangs must not hold the supervisor up: a thread of
its own writes, and is waited for a few seconds at the end.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server_utils.errors import SidecarError
from server_utils.host import platform
from server_utils.storage import urls
from server_utils.storage.stores import factory
from server_utils.storage.stores.base import ObjectNotFoundError, Store, TransientError

logger = logging.getLogger(__name__)
FOLDER = "servers"  # below the folder of logs
_LAST_BYTES = 1 << 20
_PERIOD_S = 60.0
_PATIENCE_S = 5.0


@contextmanager
def delivered(server: Path, *, period_s: float = _PERIOD_S) -> Iterator[None]:
    """Deliver the log of a server while the block runs, if this node has a folder for logs.

    server: its folder, as `state_dir.folder` lays it out: APPLICATION/NAME/OWNER.
    """
    logs = platform.log_address()
    if not logs:
        yield
        return
    application, name, owner = server.parts[-3:]
    key = f"{FOLDER}/{application}/{name}/{socket.gethostname()}-{owner}.log"
    ended = threading.Event()
    args = (server / "server.log", logs, key, ended, period_s)
    thread = threading.Thread(target=_deliver, args=args, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_PATIENCE_S)


def _deliver(log: Path, logs: str, key: str, ended: threading.Event, period_s: float) -> None:
    copied, last = -1, False
    while not last:
        last = ended.wait(period_s)
        size = log.stat().st_size if log.exists() else copied  # nothing is logged yet
        try:
            if size != copied:
                _copy(log, size, factory.store(urls.parse(logs)), key)
                copied = size
        except (OSError, SidecarError, TransientError, ObjectNotFoundError) as error:  # it goes on without its copy
            logger.warning("the log could not be copied to %s: %s", f"{logs}/{key}", error)


def _copy(log: Path, size: int, store: Store, key: str) -> None:
    with log.open("rb") as file:
        file.seek(max(0, size - _LAST_BYTES), os.SEEK_SET)
        content = file.read(_LAST_BYTES)
    with tempfile.TemporaryDirectory() as folder:
        end = Path(folder, log.name)
        end.write_bytes(content)
        store.upload(key, end)
