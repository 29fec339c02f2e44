"""Run transfers in threads, and count their bytes. Driver and executors.

The first failure ends all threads. The count goes to the log every few seconds, or to the caller's own function.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from server_utils.host.files import file_size

logger = logging.getLogger(__name__)
# Called with the bytes that are done and the bytes in all; from any thread, but never from two at once.
Progress = Callable[[int, int], None]
_LOG_EVERY_S, _REPORT_EVERY_S = 5.0, 0.1


def in_parallel(jobs: Iterable[Callable[[], None]], *, threads: int, stop: threading.Event | None = None) -> None:
    """Run all jobs; raise the first error once every running job has ended. stop: set as soon as there is one."""
    executor = ThreadPoolExecutor(threads, thread_name_prefix="storage")
    try:
        futures = [executor.submit(job) for job in jobs]
        wait(futures, return_when=FIRST_EXCEPTION)
        failed = next((each for each in futures if each.done() and each.exception()), None)
        if failed:
            failed.result()
    finally:  # also when the user interrupts
        executor.shutdown(wait=False, cancel_futures=True)  # else a job that sees the stop would let the next one begin
        if stop:
            stop.set()
        executor.shutdown()


class Meter:
    """Adds up the bytes that threads have transferred. what: the work, for the log: "fetching s3://…"."""

    def __init__(self, what: str, total: int, report: Progress | None = None) -> None:
        self._what, self._total, self._report = what, total, report
        self._lock, self._done = threading.Lock(), 0
        self._began = self._reported_at = time.monotonic()
        self._every_s = _REPORT_EVERY_S if report else _LOG_EVERY_S

    def add(self, count: int) -> None:
        """So many bytes more."""
        with self._lock:
            self._set(self._done + count)

    def set(self, done: int) -> None:
        """So many bytes by now; fewer than before where some must be sent again."""
        with self._lock:
            if done != self._done:
                self._set(done)

    def _set(self, done: int) -> None:
        self._done, now = done, time.monotonic()
        if now - self._reported_at > self._every_s or done == self._total:
            self._reported_at = now
            self._tell(now)

    def _tell(self, now: float) -> None:
        if self._report:
            self._report(self._done, self._total)
            return
        rate = int(self._done / max(now - self._began, 1e-3))
        logger.info("%s: %s of %s, %s/s", self._what, *map(file_size, (self._done, self._total, rate)))
