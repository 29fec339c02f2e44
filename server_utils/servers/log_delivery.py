"""Copies the log of a server to a folder that outlives its node, such as a volume. In the supervisor; no Spark.

The end of the log goes there once a minute where it has changed, and once more when the server has ended. Such folders
may take whole files only, so the copy is written anew. A folder that hangs must not hold the supervisor up: a thread of
its own writes, and is waited for a few seconds at the end.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server_utils.host import platform

logger = logging.getLogger(__name__)
FOLDER = "servers"  # below the folder of logs
_LAST_BYTES = 1 << 20
_PERIOD_S = 60.0
_PATIENCE_S = 2.0


@contextmanager
def delivered(server: Path) -> Iterator[None]:
    """Deliver the log of a server while the block runs, if this node has a folder for logs.

    server: its folder, as `state_dir.folder` lays it out: APPLICATION/NAME/OWNER.
    """
    logs = platform.log_folder()
    if logs is None:
        yield
        return
    application, name, owner = server.parts[-3:]
    copy = logs / FOLDER / application / name / f"{socket.gethostname()}-{owner}.log"
    ended = threading.Event()
    thread = threading.Thread(target=_deliver, args=(server / "server.log", copy, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_PATIENCE_S)


def _deliver(log: Path, copy: Path, ended: threading.Event) -> None:
    copied, last = -1, False
    while not last:
        last = ended.wait(_PERIOD_S)
        size = log.stat().st_size if log.exists() else copied  # nothing is logged yet
        try:
            if size != copied:
                _copy(log, copy, size)
                copied = size
        except OSError as error:  # the server goes on without its copy
            logger.warning("the log could not be copied to %s: %s", copy, error)


def _copy(log: Path, copy: Path, size: int) -> None:
    with log.open("rb") as file:
        file.seek(max(0, size - _LAST_BYTES), os.SEEK_SET)
        content = file.read(_LAST_BYTES)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(content)
