"""Counters of the requests to a server: on disk, one file per Python worker of the host. Executors; no Spark.

Each task reads how many columns use the server, and takes its share. `status()` adds up the rows and the errors.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server_utils.host.files import write_atomically
from server_utils.host.processes import ProcessId

_WRITE_EVERY_S = 0.5
_FOLDER = "workers"


@functools.cache
def of(folder: Path) -> RequestCounters:
    """The counters of this process for a server; two objects would write to one file."""
    return RequestCounters(folder)


class RequestCounters:
    """The counters of this process for one server. Safe to share by threads."""

    def __init__(self, folder: Path) -> None:
        """folder: the server's."""
        me = ProcessId.of(os.getpid())
        (folder / _FOLDER).mkdir(mode=0o700, exist_ok=True)
        self._file = folder / _FOLDER / f"{me.pid}-{me.started}.json"
        self._lock, self._written_at = threading.Lock(), 0.0
        self._active, self._rows, self._errors = 0, 0, Counter[str]()

    def begin(self) -> None:
        """A column of a task begins to send requests."""
        self._change(active=1, now=True)

    def finish(self) -> None:
        """The column has all its answers, or was cancelled."""
        self._change(active=-1, now=True)

    def add(self, rows: int, kinds: list[str]) -> None:
        """So many rows were answered, and errors of these kinds were among them."""
        self._change(rows=rows, kinds=kinds)

    def flush(self) -> None:
        """Write the counters now. Without it the file is at most half a second old while rows are answered."""
        self._change(now=True)

    def _change(self, *, active: int = 0, rows: int = 0, kinds: list[str] | None = None, now: bool = False) -> None:
        with self._lock:
            self._active += active
            self._rows += rows
            self._errors.update(kinds or [])
            if now or time.monotonic() - self._written_at > _WRITE_EVERY_S:
                self._write()

    def _write(self) -> None:
        self._written_at = time.monotonic()
        counters = {"active": self._active, "rows": self._rows, "errors": self._errors}
        write_atomically(self._file, json.dumps(counters).encode())


def active(folder: Path) -> int:
    """How many columns send requests to a server right now, this one included: at least 1."""
    return max(1, sum(int(counters["active"]) for worker, counters in _read(folder) if worker.alive()))


def totals(folder: Path) -> dict[str, Any]:
    """Rows and errors by kind since the server's folder was made, those of ended workers included."""
    rows, errors = 0, Counter[str]()
    for _, counters in _read(folder):
        rows += counters["rows"]
        errors.update(counters["errors"])
    return {"rows": rows, "errors": dict(errors)}


def _read(folder: Path) -> Iterator[tuple[ProcessId, dict[str, Any]]]:
    """Each worker of the host with its counters."""
    for file in (folder / _FOLDER).glob("*.json"):
        pid, _, started = file.stem.partition("-")
        yield ProcessId(int(pid), int(started)), json.loads(file.read_text())
