"""What the demo shows while it works, on standard error. Laptop.

The work is done in threads: Ctrl-C then interrupts the main thread while it waits, not during a call to the
JVM, which py4j would report with a stack trace.
"""

from __future__ import annotations

import time
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyspark.sql import SparkSession

    from server_utils.backends.server_manager import ServerManager
    from server_utils.servers.launch import ServerStatus

T = TypeVar("T")

_POLL_S = 0.5


class Screen:
    """Steps, one line each."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    def step(
        self, doing: str, work: Callable[[], T], done: Callable[[T], str], *, cancel: Callable[[], None] | None = None
    ) -> tuple[T, float]:
        """Work behind a spinner, then leave one line with what was done.

        cancel: ends the work early; called by Ctrl-C.

        Returns:
            What the work returned, and how many seconds it took.
        """
        began = time.monotonic()
        with self._console.status(f"{doing} …"):
            result = _run(work, cancel=cancel)
        took = time.monotonic() - began
        self._console.print(f"[green]✓[/] {done(result)} [dim]{took:.1f} s[/]")
        return result, took

    def rows(
        self, doing: str, spark: SparkSession, servers: ServerManager, rows: int, work: Callable[[], None]
    ) -> float:
        """Do a Spark job over rows behind a progress bar that polls the job and the servers.

        Returns:
            The seconds it took.
        """
        context = spark.sparkContext
        began = time.monotonic()

        def job() -> None:
            context.setJobGroup("rows", "rows")
            work()

        with self._bar(doing, rows) as show:
            _run(job, cancel=context.cancelAllJobs, poll=lambda: show(_share(spark), servers.status()))
            show(1.0, servers.status())
        return time.monotonic() - began

    @contextmanager
    def _bar(self, doing: str, rows: int) -> Iterator[Callable[[float, Sequence[ServerStatus]], None]]:
        count = "{task.completed:,.0f}/{task.total:,.0f} rows"
        texts = [doing, count, "[cyan]{task.fields[rate]:,.0f} rows/s", "[dim]{task.fields[health]}"]
        what, done, rate, health = [TextColumn(text, table_column=Column(no_wrap=True)) for text in texts]
        left = TimeRemainingColumn(table_column=Column(no_wrap=True))
        columns = what, BarColumn(None), done, rate, left, health
        with Progress(*columns, console=self._console, expand=True) as progress:
            task = progress.add_task("", total=rows, rate=0, health="")
            began = time.monotonic()

            def show(share: float, servers: Sequence[ServerStatus]) -> None:
                # A language model's columns count their rows; other jobs are counted by tasks.
                completed = max(share * rows, sum(server.rows for server in servers))
                # Since the start: tasks end in bursts, and rich's own recent speed jumps with them.
                speed = completed / (time.monotonic() - began)
                progress.update(task, completed=completed, rate=speed, health=_health(servers))

            yield show


def _run(work: Callable[[], T], *, cancel: Callable[[], None] | None, poll: Callable[[], None] | None = None) -> T:
    """Do the work in a thread, and poll it in another one; on Ctrl-C cancel it and wait for its end."""
    with futures.ThreadPoolExecutor(2, thread_name_prefix="demo") as threads:
        job = threads.submit(work)
        try:
            if poll:
                threads.submit(_poll_until_done, job, poll)
            return job.result()
        except KeyboardInterrupt:
            if cancel:
                cancel()
            raise


def _poll_until_done(job: futures.Future[T], poll: Callable[[], None]) -> None:
    while not job.done():
        poll()
        futures.wait([job], timeout=_POLL_S)


def _share(spark: SparkSession) -> float:
    """How much of the job is done, 0 to 1: by tasks, which hold equally many rows."""
    tracker = spark.sparkContext.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup("rows")]
    stages = [tracker.getStageInfo(stage) for job in jobs if job for stage in job.stageIds]
    tasks = sum(stage.numTasks for stage in stages if stage)
    return sum(stage.numCompletedTasks for stage in stages if stage) / max(tasks, 1)


def _health(servers: Sequence[ServerStatus]) -> str:
    up = sum(server.state.value == "ready" for server in servers)
    return f"{up}/{len(servers)} up, {sum(server.restarts for server in servers)} restarts"
