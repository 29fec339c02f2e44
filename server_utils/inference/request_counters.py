"""What the tasks of a host have done with a server: counts on disk, one file per Python worker. Executors; no Spark.

The tasks read how many they are, so that each takes its share; whoever looks adds the counts up.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from server_utils.host.processes import ProcessId

_EVERY_S = 0.5
_FOLDER = "workers"


@functools.cache
def of(folder: Path) -> Tally:
    """The one of this process for a server: two would write one file."""
    return Tally(folder)


class Tally:
    """The counts of this process for one server. Safe to share by threads."""

    def __init__(self, folder: Path) -> None:
        """folder: the server's."""
        me = ProcessId.of(os.getpid())
        (folder / _FOLDER).mkdir(mode=0o700, exist_ok=True)
        self._file = folder / _FOLDER / f"{me.pid}-{me.started}.json"
        self._lock, self._written = threading.Lock(), 0.0
        self._active, self._rows, self._errors = 0, 0, Counter[str]()

    def begin(self) -> None:
        """A column begins to ask."""
        self._change(active=1, now=True)

    def finish(self) -> None:
        """It has its answers, or was given up."""
        self._change(active=-1, now=True)

    def add(self, rows: int, kinds: list[str]) -> None:
        """So many rows were answered, and errors of these kinds were among them."""
        self._change(rows=rows, kinds=kinds)

    def flush(self) -> None:
        """Let the counts be seen; without it they are at most half a second old while rows are answered."""
        self._change(now=True)

    def _change(self, *, active: int = 0, rows: int = 0, kinds: list[str] | None = None, now: bool = False) -> None:
        with self._lock:
            self._active += active
            self._rows += rows
            self._errors.update(kinds or [])
            if now or time.monotonic() - self._written > _EVERY_S:
                self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps({"active": self._active, "rows": self._rows, "errors": self._errors}))
        beside.replace(self._file)


def active(folder: Path) -> int:
    """How many columns are asking a server right now, this one included: at least 1."""
    return max(1, sum(int(found["active"]) for file, found in _read(folder) if _process(file).alive()))


def totals(folder: Path) -> dict[str, Any]:
    """Rows and errors by kind since the server's folder was made, those of ended workers included."""
    rows, errors = 0, Counter[str]()
    for _, found in _read(folder):
        rows += found["rows"]
        errors.update(found["errors"])
    return {"rows": rows, "errors": dict(errors)}


def _process(file: Path) -> ProcessId:
    pid, _, started = file.stem.partition("-")
    return ProcessId(int(pid), int(started))


def _read(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    return [(file, json.loads(file.read_text())) for file in (folder / _FOLDER).glob("*.json")]
