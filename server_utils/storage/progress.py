"""Counts bytes while a model travels, and says so now and then. Driver and executors."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

# Called with the bytes that are done and the bytes in all; from any thread, but never from two at once.
Progress = Callable[[int, int], None]

_LOG_EVERY_S, _REPORT_EVERY_S = 5.0, 0.1


class Meter:
    """Adds up what threads have done. what: the work, for the log: "fetching s3://…"."""

    def __init__(self, what: str, total: int, report: Progress | None = None) -> None:
        self._what, self._total, self._report = what, total, report
        self._lock, self._done = threading.Lock(), 0
        self._began = self._said = time.monotonic()
        self._every_s = _REPORT_EVERY_S if report else _LOG_EVERY_S

    def add(self, count: int) -> None:
        """So many bytes more."""
        with self._lock:
            self._is(self._done + count)

    def set(self, done: int) -> None:
        """So many bytes by now; fewer than before where some must travel again."""
        with self._lock:
            if done != self._done:
                self._is(done)

    def _is(self, done: int) -> None:
        self._done, now = done, time.monotonic()
        if now - self._said > self._every_s or done == self._total:
            self._said = now
            self._say(now)

    def _say(self, now: float) -> None:
        if self._report:
            self._report(self._done, self._total)
            return
        rate = self._done / max(now - self._began, 1e-3)
        logger.info("%s: %.0f of %.0f MB, %.0f MB/s", self._what, self._done / 1e6, self._total / 1e6, rate / 1e6)
