"""Copies the log of a server to where it outlives its node: a volume or a bucket. In the supervisor; no Spark.

The end of the log goes there once a minute where it has changed, and once more when the server has ended. Such places
may take whole files only, so the copy is written anew, and without keys and tokens: more people may read it there. A
place that hangs must not hold the supervisor up: a thread of its own writes, and is waited for some seconds at the end.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server_utils.errors import SidecarError
from server_utils.host import platform
from server_utils.host.redaction import is_secret, scrub
from server_utils.storage import urls
from server_utils.storage.stores import factory
from server_utils.storage.stores.base import ChangedError, ObjectNotFoundError, Store, TransientError

logger = logging.getLogger(__name__)
FOLDER = "servers"  # below the folder of logs
_LAST_BYTES = 1 << 20
_BEFORE_BYTES = 4 << 10  # read too, so that no half of a token is left where the copy begins
_PERIOD_S = 60.0
_PATIENCE_S = 5.0


@contextmanager
def delivered(server: Path, env: Mapping[str, str] | None = None, *, period_s: float = _PERIOD_S) -> Iterator[None]:
    """Deliver the log of a server while the block runs, if this node has a folder for logs.

    Args:
        server: its folder, as `state_dir.folder` lays it out: APPLICATION/NAME/OWNER.
        env: variables of its program; the copy does not show those that are secrets by their names.
        period_s: seconds between two copies.
    """
    logs = platform.log_address()
    if not logs:
        yield
        return
    application, name, owner = server.parts[-3:]
    key = f"{FOLDER}/{application}/{name}/{socket.gethostname()}-{owner}.log"
    ended = threading.Event()
    secrets = [value for variable, value in (env or {}).items() if is_secret(variable)]
    args = (_Log(server / "server.log", secrets), logs, key, ended)
    thread = threading.Thread(target=_deliver, args=args, kwargs={"period_s": period_s}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_PATIENCE_S)


@dataclass(frozen=True)
class _Log:
    path: Path
    secrets: Sequence[str]

    def size(self) -> int:
        """In bytes; 0 where nothing is logged yet."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def end(self, size: int) -> bytes:
        """The last bytes of so many, without secrets."""
        with self.path.open("rb") as file:
            file.seek(max(0, size - _LAST_BYTES - _BEFORE_BYTES), os.SEEK_SET)
            content = file.read(_LAST_BYTES + _BEFORE_BYTES)
        shown = scrub(content.decode(errors="surrogateescape"), secrets=self.secrets)
        return shown.encode(errors="surrogateescape")[-_LAST_BYTES:]


def _deliver(log: _Log, logs: str, key: str, ended: threading.Event, *, period_s: float) -> None:
    copied, last = 0, False
    while not last:
        last = ended.wait(period_s)
        try:
            if (size := log.size()) != copied:
                _copy(log.end(size), factory.store(urls.parse(logs)), key)
                copied = size
        except (OSError, SidecarError, TransientError, ObjectNotFoundError, ChangedError) as error:
            # The server goes on without its copy.
            logger.warning("the log could not be copied to %s: %s", f"{logs}/{key}", error)


def _copy(content: bytes, store: Store, key: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        end = Path(folder, "server.log")
        end.write_bytes(content)
        store.upload(key, end)
