"""Shows the progress of a job on the servers: in a terminal, in a notebook, or in the log. Driver.

A thread polls the servers: the job neither waits for it nor fails because of it.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from server_utils.jobs.display import Screen, screen
from server_utils.jobs.progress import Progress, Snapshot, between
from server_utils.servers.launch import ServerStatus
from server_utils.spark import session

logger = logging.getLogger(__name__)

_RECENT_S = 30.0  # rates are those of this long
_JOB_S = 10.0  # between polls that are Spark jobs
_LAST_S = 5.0  # for the last poll; where that is a job, the slots are free by then


class Servers(Protocol):
    """The part of a manager that is needed here."""

    def status(self) -> list[ServerStatus]:
        """See `ServerManager`."""


def progress(servers: Servers, total: int | None = None, *, columns: int = 1, every_s: float | None = None) -> Monitor:
    """Show the progress of the jobs of a block: `with servers.progress(total=10_000): df.write.parquet("out")`.

    One line on stderr in a terminal, a table in a notebook, else lines of the log (`server_utils`, level INFO).
    The value of the block has the figures as `latest`.

    Where executors run on other hosts each poll is a small Spark job of its own, which waits for free slots: what is
    shown is then as old as the last poll that got one.

    Args:
        servers: the manager; `servers.progress(...)` is how it is called.
        total: rows there are; tells how long it will take. Null rows are not sent and count as not answered.
        columns: of these servers, that each row passes through.
        every_s: seconds between polls; by default 1 on a screen, 30 in the log, and at least 10 where it is a job.
    """
    return Monitor(servers.status, screen(), total=total, columns=columns, every_s=every_s, spark=session.active())


class Monitor:
    """Polls the servers until the block is left, and shows their progress."""

    def __init__(
        self,
        poll: Callable[[], list[ServerStatus]],
        on: Screen,
        *,
        total: int | None = None,
        columns: int = 1,
        every_s: float | None = None,
        spark: Any = None,
    ) -> None:
        """spark: the session whose jobs `poll` starts, if it does."""
        self.latest = Progress(total=total)
        self._poll, self._screen, self._spark, self._columns = poll, on, spark, columns
        self._is_job = spark is not None and not session.on_this_host(spark)
        self._every_s = every_s or max(on.every_s, _JOB_S if self._is_job else 0.0)
        self._written, self._tag = 0, f"spark-sidecar-{uuid.uuid4().hex}"
        self._recent: deque[Snapshot] = deque()
        self._first: Snapshot | None = None
        self._over, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sidecar-progress", daemon=True)

    def __enter__(self) -> Self:
        if not self._is_job:
            _quietly(self._update)  # what is answered from now on counts
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(_LAST_S if kind is None else 0.0)
        self._ended.set()
        if self._thread.is_alive() and self._spark is not None:
            _quietly(lambda: session.cancel(self._spark, self._tag))
        _quietly(self._screen.end)

    def written(self, rows: int) -> None:
        """So many rows are done, whatever the servers counted."""
        self._written = rows

    def _watch(self) -> None:
        if self._spark is not None:
            _quietly(lambda: session.add_tag(self._spark, self._tag))
        over, pause = False, 0.0 if self._is_job else self._every_s
        while not over:
            over, pause = self._over.wait(pause), self._every_s
            if not self._ended.is_set():  # one poll more after the end, but none that nobody waits for
                _quietly(self._update)

    def _update(self) -> None:
        now = Snapshot(time.monotonic(), tuple(self._poll()), self._written)
        self._first = self._first or now
        self._recent.append(now)
        while self._recent[0].at < now.at - _RECENT_S and len(self._recent) > 2:  # noqa: PLR2004 - a rate needs two
            self._recent.popleft()
        total, recent = self.latest.total, self._recent[0]
        self.latest = between(self._first, now, total=total, columns=self._columns, recent=recent)
        if not self._ended.is_set():
            self._screen.show(self.latest, self._by_server(self._first, now))

    def _by_server(self, first: Snapshot, now: Snapshot) -> dict[str, Progress]:
        """By server, without those that were stopped."""
        alone = {server.key: Snapshot(now.at, (server,)) for server in now.servers if not server.state.final}
        return {key: between(first, one, columns=self._columns, recent=self._recent[0]) for key, one in alone.items()}


def _quietly(act: Callable[[], object]) -> None:
    """Call, and log an error instead of raising it."""
    try:
        act()
    except Exception:  # no job ends because it cannot be watched, whatever the reason
        logger.debug("cannot show progress", exc_info=True)
