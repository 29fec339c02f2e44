"""Concurrency limit: the number of rows that a task may have in flight at one server. Executors; no Spark.

It is as many as the engine can use, by the length of its queue, in equal shares for all tasks. A server without a queue
could do more; rows that wait in its queue gain nothing.
"""

from __future__ import annotations

import time
from pathlib import Path

from server_utils.inference import request_counters
from server_utils.inference.openai.dialect import Dialect
from server_utils.servers import state_dir

_LEAST, _MOST = 8, 4096  # rows in flight
_REQUESTS = 8  # in flight at least, so that a slow row holds up an eighth
_READ_METRICS_S = 0.25
_SHRINK = 0.75  # at once, at most: the queue of a moment may be short in the next
_SHORT_QUEUE = 0.25  # waiting requests for each that runs, below which the engine could do more


class ConcurrencyLimit:
    """Rows that one task may have in flight at one server. Not for several threads."""

    def __init__(self, folder: Path, dialect: Dialect) -> None:
        """folder: the server's. dialect: the engine's."""
        self._folder, self._dialect = folder, dialect
        self._bound: int | None = None
        self.rows = dialect.first_limit
        self._metrics_at = self._read_at = 0.0
        self._was_reached = False

    def at_most(self, rows: int | None) -> ConcurrencyLimit:
        """The same, with what it has learnt, and a bound that is never exceeded."""
        self._bound = rows
        self.rows = min(self.rows, rows or _MOST)
        return self

    @property
    def rows_per_request(self) -> int:
        """Rows of one request, so that several are in flight."""
        return max(1, min(self._dialect.rows_per_request, self.rows // _REQUESTS))

    def capacity(self, in_flight: int) -> int:
        """Rows that may be sent now; none until there is room for a whole request."""
        self._follow()
        capacity = self.rows - in_flight
        is_reached = capacity < self.rows_per_request
        self._was_reached |= is_reached
        return 0 if is_reached else capacity

    def _follow(self) -> None:
        """Adapt to the server's metrics, which are new about twice a second, or to the number of tasks without any."""
        if time.monotonic() - self._read_at < _READ_METRICS_S:
            return
        self._read_at = time.monotonic()
        if self._dialect.metrics_path is None:
            share = max(1, self._dialect.first_limit // request_counters.active(self._folder))
            self.rows = self._bound or share
            return
        metrics = state_dir.read_metrics(self._folder)
        if metrics.get("at", 0.0) <= self._metrics_at:
            return
        self._metrics_at = metrics["at"]
        tasks = request_counters.active(self._folder)
        limit = next_limit(self.rows, metrics["running"], metrics["waiting"], tasks, was_reached=self._was_reached)
        self.rows = min(limit, self._bound or _MOST)
        self._was_reached = False


def next_limit(limit: int, running: float, waiting: float, tasks: int, *, was_reached: bool) -> int:
    """The limit after one reading of the metrics of an engine.

    Twice as many rows while nothing waits and the limit was reached. Once more waits than runs, an equal share of what
    is there for each of the tasks, in steps.
    """
    if waiting > max(running, _LEAST):
        share = (running + waiting) / tasks
        return max(_LEAST, int(max(share, limit * _SHRINK))) if limit > share else limit
    if was_reached and waiting < running * _SHORT_QUEUE + 1:
        return limit * 2
    return limit
