"""Jobs side by side, of which the first failure ends all. Driver and executors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait


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
        executor.shutdown(wait=False, cancel_futures=True)  # else a job that hears of the stop makes room for one
        if stop:
            stop.set()
        executor.shutdown()
