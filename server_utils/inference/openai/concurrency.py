"""How many rows a task may have in flight: as many as the server can use, in equal shares. Executors; no Spark.

A server that works on everything it was sent could do more; rows that wait in its queue gain nothing.
"""

from __future__ import annotations

import time
from pathlib import Path

from server_utils.inference import request_counters
from server_utils.servers import state_dir

_START, _LEAST, _MOST = 128, 8, 4096
_ROWS = 32  # per request: more gain nothing over HTTP, fewer cost (measured)
_REQUESTS = 8  # in flight at least, so that a slow row holds up an eighth
_LOOK_S = 0.25


class Window:
    """The bound for one server and one task. Not for several threads."""

    def __init__(self, folder: Path) -> None:
        """folder: the server's."""
        self._folder, self._most, self.limit = folder, _MOST, _START
        self._seen = self._looked = 0.0
        self._was_full = False

    def at_most(self, rows: int | None) -> Window:
        """The same, which goes on from what was learnt, with a bound that is never exceeded."""
        self._most = rows or _MOST
        self.limit = min(self.limit, self._most)
        return self

    @property
    def rows_per_request(self) -> int:
        """Rows of one request, so that several are in flight."""
        return max(1, min(_ROWS, self.limit // _REQUESTS))

    def room(self, in_flight: int) -> int:
        """Rows that may be sent now; none until there is room for a whole request."""
        self._follow()
        room = self.limit - in_flight
        is_full = room < self.rows_per_request
        self._was_full |= is_full
        return 0 if is_full else room

    def _follow(self) -> None:
        """Look at what the server says of itself, which is new about twice a second."""
        if time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        found = state_dir.read_metrics(self._folder)
        if found.get("at", 0.0) > self._seen:
            self._seen = found["at"]
            self._adapt(found["running"], found["waiting"])

    def _adapt(self, running: float, waiting: float) -> None:
        """Double while nothing waits; shrink to an equal share of what is there once more waits than runs."""
        if waiting > max(running, _LEAST):
            fair = (running + waiting) / request_counters.active(self._folder)
            if self.limit > fair:
                self.limit = max(_LEAST, int(max(fair, self.limit * 0.75)))
        elif self._was_full and waiting < running / 4 + 1:
            self.limit = min(self._most, self.limit * 2)
        self._was_full = False
